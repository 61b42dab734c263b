/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nearest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

enum { LETTERS_MAX = 32 /* longer than any key of ours; the rest of one is not compared */ };

/* What host-device, nvidia-k8s-ipam, whereabouts and host-local call it, and what we do. */
static const struct {
	const char *theirs, *ours;
} peers[] = {
	{ "hwaddr", "mac" },
	{ "kernelpath", "device" },
	{ "poolName", "pool" },
	{ "daemonSocket", "socket" },
	{ "subnet", "cidr" },
	{ "range", "cidr" },
	{ "perNodeBlockSize", "blockBits" },
	{ "perNodeNetworkPrefix", "blockBits" },
	{ "perNodeExclusions", "slotExclude" },
	{ "exclusions", "exclude" },
};

struct letters {
	char text[LETTERS_MAX];
	size_t len;
};

static struct letters letters_of(const char *key)
{
	struct letters letters = { 0 };

	for (; *key && letters.len < LETTERS_MAX; key++) {
		if (*key != '_' && *key != '-')
			letters.text[letters.len++] = (char)tolower((unsigned char)*key);
	}
	return letters;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The distance of Damerau and Levenshtein, of which no letter is moved twice: row by row. */
static size_t distance(const struct letters *a, const struct letters *b)
{
	size_t rows[3][LETTERS_MAX + 1];

	for (size_t j = 0; j <= b->len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a->len; i++) {
		size_t *now = rows[i % 3], *before = rows[(i + 2) % 3],
		       *earlier = rows[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b->len; j++) {
			now[j] = before[j - 1] + (a->text[i - 1] != b->text[j - 1]);
			now[j] = least(now[j], least(before[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a->text[i - 1] == b->text[j - 2] &&
			    a->text[i - 2] == b->text[j - 1])
				now[j] = least(now[j], earlier[j - 2] + 1);
		}
	}
	return rows[a->len % 3][b->len];
}

static const char *key_of_peer(const char *key, const char *const known[], size_t count)
{
	for (size_t p = 0; p < ARRAY_SIZE(peers); p++) {
		for (size_t i = 0; strcmp(peers[p].theirs, key) == 0 && i < count; i++) {
			if (strcmp(peers[p].ours, known[i]) == 0)
				return known[i];
		}
	}
	return NULL;
}

/* The longest known key that @key goes on from: stateDir, pciBusId where `pci` is known. */
static const char *key_inside(const char *key, const char *const known[], size_t count)
{
	const char *longest = NULL;

	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(known[i]);

		if (len < strlen(key) && strncasecmp(key, known[i], len) == 0 &&
		    (!longest || len > strlen(longest)))
			longest = known[i];
	}
	return longest;
}

const char *nearest_key(const char *key, const char *const known[], size_t count)
{
	const struct letters asked = letters_of(key);
	const char *nearest = key_of_peer(key, known, count);
	size_t best = nearest ? 0 : SIZE_MAX;

	for (size_t i = 0; i < count; i++) {
		const struct letters other = letters_of(known[i]);
		size_t far = distance(&asked, &other);

		if (far < best && 3 * far <= (asked.len > other.len ? asked.len : other.len)) {
			best = far;
			nearest = known[i];
		}
	}
	return nearest ? nearest : key_inside(key, known, count);
}
