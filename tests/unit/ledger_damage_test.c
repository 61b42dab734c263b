/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that lived for a while is proved good, again and again; then its file is damaged, in a
 * copy, in every way a disk knows. Each copy is refused, or it reads as before: what was hit means
 * nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "ipamd/crc32c.h"
#include "ipamd/pages.h"
#include "ipamd/store.h"
#include "ipamd/verify.h"

enum { BATCHES = 200, PER_BATCH = 12, KEYS = 400, BIG = 12000, COPIES = 400, WALKS = 4000 };
enum { PAGE = 4096, TXN = 16 + 128 /* where a head has its number */ };

static char root[] = "/tmp/spur-damage-XXXXXX";
static unsigned int seed;
static struct err err;

static struct {
	char *bytes;
	size_t len;
	uint32_t digest;
	uint64_t txns[2]; /* the numbers of its heads */
} whole;

static int below(int limit)
{
	return rand_r(&seed) % limit;
}

static void path_of(char *buf, size_t size, const char *dir, const char *name)
{
	(void)snprintf(buf, size, "%s/%s/%s", root, dir, name);
}

static void put_any(struct store *store)
{
	static char big[BIG];
	enum store_table table = (enum store_table)below(STORE_META);
	struct store_key key = { 0 };
	char text[100];

	memset(text, 'a' + below(26), sizeof(text));
	text[below(sizeof(text) - 1) + 1] = '\0';
	store_key_text(&key, text);
	store_key_u32(&key, (uint32_t)below(KEYS));
	memset(big, rand_r(&seed), sizeof(big));
	if (below(3) == 0)
		store_delete(store, table, &key);
	else
		store_put(store, table, &key, big, (size_t)below(below(8) ? 200 : BIG));
}

/* A good part of a table goes, so that pages are merged and freed. */
static void delete_many(struct store *store)
{
	enum store_table table = (enum store_table)below(STORE_META);
	struct store_view found, value;
	struct store_key key = { 0 };

	for (int i = below(300); i > 0; i--) {
		if (!store_seek(store, table, &key, 0, &found, &value))
			return;
		store_key_set(&key, &found);
		store_delete(store, table, &key);
	}
}

static void verify(const char *path)
{
	if (verify_file(path, &err) < 0)
		fail_msg("%s", err.msg);
}

static void live(struct store *store, const char *path)
{
	struct store *reader;

	assert_int_equal(store_fork(store, &reader, &err), 0);
	for (int batch = 0; batch < BATCHES; batch++) {
		/* An old snapshot keeps pages from being used again. */
		if (batch % 40 == 10)
			assert_int_equal(store_begin(reader, STORE_READ, &err), 0);
		if (batch % 40 == 30)
			store_abort(reader);
		assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
		for (int i = 0; i < PER_BATCH; i++)
			put_any(store);
		if (below(10) == 0)
			delete_many(store);
		if (below(10) == 0)
			store_abort(store);
		else
			assert_int_equal(store_commit(store, &err), 0);
		verify(path);
	}
	store_close(reader);
}

/* Of all that a store holds, in order; a wrong value is damage, too. */
static void digest(struct store *store, uint32_t *ret_digest)
{
	struct store_view found, value;

	*ret_digest = 0;
	assert_int_equal(store_begin(store, STORE_READ, &err), 0);
	for (int table = 0; table < STORE_TABLES; table++) {
		struct store_key key = { 0 };

		while (store_seek(store, (enum store_table)table, &key, 0, &found, &value)) {
			*ret_digest = crc32c(*ret_digest, found.data, found.len);
			*ret_digest = crc32c(*ret_digest, value.data, value.len);
			store_key_set(&key, &found);
			/* The way down finds it as well. */
			assert_true(store_get(store, (enum store_table)table, &key, &value));
			store_key_next(&key);
		}
		*ret_digest = crc32c(*ret_digest, &table, sizeof(table));
	}
	store_abort(store);
}

static void heads_of(const char *bytes, uint64_t ret_txns[2])
{
	memcpy(&ret_txns[0], bytes + TXN, sizeof(ret_txns[0]));
	memcpy(&ret_txns[1], bytes + PAGE + TXN, sizeof(ret_txns[1]));
}

/* A head is chosen by its number alone: a bit of it could bring back what was before the last
 * commit, which looks whole. One such bit is beyond proof: with it, the file is what a kill before
 * the last write of a commit leaves. */
static bool is_as_after_a_kill(const char *bytes)
{
	int last = whole.txns[1] > whole.txns[0];
	uint64_t txns[2];

	heads_of(bytes, txns);
	return txns[last] + 2 == whole.txns[last];
}

static int make_whole(void **state)
{
	const char *text = getenv("SPUR_SEED");
	char dir[64], path[64];
	struct store *store;
	int fd;

	(void)state;
	seed = text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);
	print_message("SPUR_SEED=%u\n", seed);
	if (!mkdtemp(root))
		return -1;
	path_of(dir, sizeof(dir), "whole", "");
	path_of(path, sizeof(path), "whole", "data.mdb");
	assert_int_equal(store_open(dir, &store, &err), 0);
	live(store, path);
	digest(store, &whole.digest);
	store_close(store);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fs_read_all(fd, 1 << 28, &whole.bytes, &whole.len), 0);
	(void)close(fd);
	heads_of(whole.bytes, whole.txns);
	print_message("%zu bytes\n", whole.len);
	return 0;
}

static int remove_root(void **state)
{
	char command[128];

	(void)state;
	free(whole.bytes);
	(void)snprintf(command, sizeof(command), "rm -rf --one-file-system %s", root);
	return system(command);
}

/* Damages @bytes in one way; returns the length that is left. */
static size_t damage(char *bytes, size_t len, char *ret_what, size_t size)
{
	size_t page = (size_t)below((int)(len / 4096)) * 4096, at = (size_t)below((int)len);
	int kind = below(16);

	if (kind == 0) {
		(void)snprintf(ret_what, size, "page %zu is zero", page / 4096);
		memset(bytes + page, 0, 4096);
	} else if (kind == 1) {
		(void)snprintf(ret_what, size, "cut to %zu", at);
		return at;
	} else if (kind == 2) {
		(void)snprintf(ret_what, size, "sector at %zu is as page 2's", at & ~511UL);
		memmove(bytes + (at & ~511UL), bytes + 8192, 512);
	} else {
		/* As often in the heads of file and pages as anywhere. */
		at = kind < 5 ? (size_t)below(8192) & ~0xf00UL : kind < 9 ? page + at % 64 : at;
		(void)snprintf(ret_what, size, "a bit at %zu", at);
		bytes[at] = (char)(bytes[at] ^ 1 << below(8));
	}
	return len;
}

static void save_copy(const char *bytes, size_t len)
{
	char path[64];
	int fd;

	path_of(path, sizeof(path), "copy", "data.mdb");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	(void)close(fd);
}

/* Whether a copy that holds @bytes is refused, which is well. If it is not it must read as before.
 */
static bool is_refused(const char *bytes, size_t len, const char *what)
{
	struct store *store;
	uint32_t found;
	char dir[64];
	int r;

	path_of(dir, sizeof(dir), "copy", "");
	(void)mkdir(dir, 0700);
	save_copy(bytes, len);
	r = store_open(dir, &store, &err);
	if (r < 0) {
		if ((r != -EUCLEAN && r != -EINVAL && r != -EPROTONOSUPPORT) ||
		    err.code != ERR_STORE || !strstr(err.details, "restore"))
			fail_msg("%s: %s", what, err.msg);
		return true;
	}
	digest(store, &found);
	store_close(store);
	if (found != whole.digest)
		fail_msg("%s: it was opened, and is not what it was", what);
	return false;
}

static void test_damaged_copy_is_refused_or_harmless(void **state)
{
	char what[64];
	int refused = 0;
	(void)state;

	for (int i = 0; i < COPIES; i++) {
		CLEANUP_FREE char *bytes = malloc(whole.len);
		size_t len;

		memcpy(bytes, whole.bytes, whole.len);
		len = damage(bytes, whole.len, what, sizeof(what));
		if (!is_as_after_a_kill(bytes))
			refused += is_refused(bytes, len, what);
	}
	print_message("%d of %d refused\n", refused, COPIES);
	assert_true(refused > COPIES / 8); /* the rest hit free pages */
}

static void test_old_head_does_not_come_back(void **state)
{
	CLEANUP_FREE char *bytes = malloc(whole.len);
	int refused = 0;
	char what[64];
	(void)state;

	for (int bit = 0; bit < 2 * 64; bit++) {
		int head = bit / 64;
		uint64_t txn = whole.txns[head] ^ UINT64_C(1) << bit % 64;

		(void)snprintf(what, sizeof(what), "bit %d of head %d's number", bit % 64, head);
		memcpy(bytes, whole.bytes, whole.len);
		memcpy(bytes + (size_t)head * PAGE + TXN, &txn, sizeof(txn));
		if (is_as_after_a_kill(bytes))
			continue;
		if (!is_refused(bytes, whole.len, what))
			fail_msg("%s: it was opened", what);
		refused++;
	}
	assert_true(refused >= 2 * 64 - 1);
}

/* Nothing reads the head of a table that is empty, until something is put there: by its flags LMDB
 * would sort it otherwise. */
static void test_head_of_an_empty_table(void **state)
{
	static const char name[] = "sticky_q";
	enum { HEAD = 48, NAME = sizeof(name) - 1 };
	CLEANUP_FREE char *bytes = malloc(whole.len);
	char what[64];
	(void)state;

	for (int bit = 0; bit < HEAD * 8; bit++) {
		(void)snprintf(what, sizeof(what), "bit %d of an empty table's head", bit);
		memcpy(bytes, whole.bytes, whole.len);
		/* In each page that the table of tables ever had: one of them counts. */
		for (size_t at = 2 * PAGE; at + NAME + HEAD < whole.len; at++) {
			char *head = bytes + at + NAME;

			if (memcmp(whole.bytes + at, name, NAME) == 0)
				head[bit / 8] = (char)(head[bit / 8] ^ 1 << bit % 8);
		}
		if (!is_refused(bytes, whole.len, what))
			fail_msg("%s: it was opened", what);
	}
}

static void test_name_of_a_table(void **state)
{
	static const char name[] = "guid_of";
	CLEANUP_FREE char *bytes = malloc(whole.len);
	(void)state;

	memcpy(bytes, whole.bytes, whole.len);
	for (size_t at = 2 * PAGE; at + sizeof(name) < whole.len; at++) {
		if (memcmp(bytes + at, name, strlen(name)) == 0)
			bytes[at + strlen(name) - 1] ^= 1;
	}
	assert_true(is_refused(bytes, whole.len, "a bit of a table's name"));
}

/* Kills the children of the thread that opens, as somebody might who is short of memory. */
static void *kill_children(void *arg)
{
	const atomic_bool *enough = arg;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	while (!atomic_load(enough)) {
		CLEANUP_FILE FILE *children = fopen(path, "re");
		int pid;

		while (children && fscanf(children, "%d", &pid) == 1)
			(void)kill(pid, SIGKILL);
	}
	return NULL;
}

/* That nobody could read the store to its end says nothing of the store. */
static void test_killed_reader_is_no_damage(void **state)
{
	atomic_bool enough = false;
	char path[64], children[64];
	pthread_t thread;
	int r = 0;
	(void)state;

	(void)snprintf(children, sizeof(children), "/proc/self/task/%d/children", (int)getpid());
	if (access(children, R_OK) < 0)
		skip(); /* this kernel does not tell */
	path_of(path, sizeof(path), "whole", "data.mdb");
	assert_int_equal(pthread_create(&thread, NULL, kill_children, &enough), 0);
	for (int i = 0; r == 0 && i < 1000; i++)
		r = verify_file(path, &err);
	atomic_store(&enough, true);
	(void)pthread_join(thread, NULL);
	assert_int_equal(r, -EINTR);
	assert_non_null(strstr(err.msg, "it cannot be read to its end (Killed)"));
	assert_non_null(strstr(err.details, "start the daemon again"));
	verify(path);
}

static void test_another_format(void **state)
{
	enum { VERSION = 16 + 4 };
	CLEANUP_FREE char *bytes = malloc(whole.len);
	(void)state;

	memcpy(bytes, whole.bytes, whole.len);
	bytes[VERSION] = 2;
	bytes[PAGE + VERSION] = 2;
	assert_true(is_refused(bytes, whole.len, "version 2"));
	assert_non_null(strstr(err.msg, "another format"));
}

/* The walk stays within the bytes, whatever they are (a build with sanitizers sees it). */
static void test_walk_stays_inside(void **state)
{
	(void)state;
	for (int i = 0; i < WALKS; i++) {
		static struct pages_part begin, part;
		struct pages pages;
		char what[64];
		size_t len = whole.len;
		CLEANUP_FREE char *bytes = malloc(len), *cut = NULL;

		memcpy(bytes, whole.bytes, len);
		for (int hits = 1 + below(3); hits > 0 && len > 4096; hits--)
			len = damage(bytes, len, what, sizeof(what));
		cut = malloc(len ? len : 1); /* a sanitizer sees a look behind its end */
		memcpy(cut, bytes, len);
		if (pages_begin(&pages, cut, len, &begin) == 0) {
			part = (struct pages_part) { .pages = &pages, .parts = 1 };
			(void)(pages_walk(&part) && pages_end(&begin, &part, 1));
		}
		pages_free(&pages);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_old_head_does_not_come_back),
		cmocka_unit_test(test_head_of_an_empty_table),
		cmocka_unit_test(test_damaged_copy_is_refused_or_harmless),
		cmocka_unit_test(test_name_of_a_table),
		cmocka_unit_test(test_killed_reader_is_no_damage),
		cmocka_unit_test(test_another_format),
		cmocka_unit_test(test_walk_stays_inside),
	};

	return cmocka_run_group_tests(tests, make_whole, remove_root);
}
