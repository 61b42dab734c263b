/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of ./dev bench ledger have in common: clocks, latencies, the line they print.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUIET_NS = 2 * 1000 * 1000, QUIET_TRIES = 100 };

struct latencies {
	int64_t *ns;
	size_t count, max;
};

static inline _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		die("clock_gettime");
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* What a process has used, by its CPU clock, once it rests: it may have work left. */
static inline int64_t rested_ns(clockid_t process)
{
	const struct timespec quiet = { .tv_nsec = QUIET_NS };
	int64_t now = clock_ns(process), before = -1;

	for (int i = 0; i < QUIET_TRIES && now != before; i++) {
		before = now;
		nanosleep(&quiet, NULL);
		now = clock_ns(process);
	}
	return now;
}

static inline void latencies_init(struct latencies *latencies, size_t max)
{
	*latencies = (struct latencies) { .ns = calloc(max, sizeof(int64_t)), .max = max };
	if (!latencies->ns)
		die("calloc");
}

static inline void latencies_add(struct latencies *latencies, int64_t ns)
{
	if (latencies->count < latencies->max)
		latencies->ns[latencies->count++] = ns;
}

static inline int ns_compare(const void *a, const void *b)
{
	int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;

	return (one > other) - (one < other);
}

/* Sorts them. */
static inline int64_t latencies_percentile(struct latencies *latencies, size_t percent)
{
	if (!latencies->count)
		return 0;
	qsort(latencies->ns, latencies->count, sizeof(int64_t), ns_compare);
	return latencies->ns[latencies->count * percent / 100];
}

static inline void figures_print(int64_t wall_ns, int64_t cpu_ns, struct latencies *latencies)
{
	int64_t median_ns = latencies_percentile(latencies, 50);

	printf("%ld %ld %ld %ld\n", wall_ns, cpu_ns, median_ns,
	       latencies_percentile(latencies, 99));
	fflush(stdout);
}
