/* SPDX-License-Identifier: Apache-2.0 */
/* The store over real files: what is committed is there, what is wrong is refused in words. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "ipamd/crc32c.h"
#include "ipamd/store.h"

static char root[] = "/tmp/spur-store-XXXXXX";
static char dir[64]; /* of this test */
static struct err err;

static int setup(void **state)
{
	static int count;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/%d", root, ++count);
	err = (struct err) { 0 };
	return 0;
}

/* After a failure in the middle too. */
static int teardown(void **state)
{
	(void)state;
	(void)umount2(dir, MNT_DETACH);
	return 0;
}

static struct store *open_store(void)
{
	struct store *store;

	if (store_open(dir, &store, &err) < 0)
		fail_msg("%s", err.msg);
	return store;
}

static struct store_key number_key(uint64_t number)
{
	struct store_key key = { 0 };

	store_key_u64(&key, number);
	return key;
}

static void put_text(struct store *store, uint64_t number, const char *text)
{
	struct store_key key = number_key(number);

	store_put(store, STORE_RECORD, &key, text, strlen(text));
}

static void commit_text(struct store *store, uint64_t number, const char *text)
{
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	put_text(store, number, text);
	if (store_commit(store, &err) < 0)
		fail_msg("%s", err.msg);
}

/* What a record holds, or "" if there is none. */
static void read_text(struct store *store, uint64_t number, char *buf, size_t size)
{
	struct store_key key = number_key(number);
	struct store_view value = { 0 };

	assert_int_equal(store_begin(store, STORE_READ, &err), 0);
	(void)store_get(store, STORE_RECORD, &key, &value);
	assert_true(value.len < size);
	if (value.len)
		memcpy(buf, value.data, value.len);
	buf[value.len] = '\0';
	assert_int_equal(store_check(store, &err), 0);
	store_abort(store);
}

static void mount_disk(unsigned long flags, const char *size)
{
	assert_int_equal(mkdir(dir, 0700), 0);
	if (mount("none", dir, "tmpfs", flags, size) < 0) {
		print_message("SKIP: no right to mount a tmpfs (%s)\n", strerror(errno));
		(void)rmdir(dir);
		skip();
	}
}

/* A map of 1 MiB where the store asks for its first, so that growth is a matter of moments. */
int __real_mdb_env_set_mapsize(MDB_env *env, size_t size);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t size);
int __wrap_mdb_env_set_mapsize(MDB_env *env, size_t size)
{
	return __real_mdb_env_set_mapsize(env, size == (size_t)1 << 30 ? (size_t)1 << 20 : size);
}

static void test_map_grows_between_batches(void **state)
{
	enum { VALUES = 256, PER_BATCH = 4 };
	static char big[16384];
	struct store *store = open_store();
	struct store_view value;
	struct store_key key;
	(void)state;

	memset(big, 'x', sizeof(big) - 1);
	for (uint64_t n = 0; n < VALUES; n += PER_BATCH) {
		assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
		for (uint64_t i = n; i < n + PER_BATCH; i++)
			put_text(store, i, big);
		if (store_commit(store, &err) < 0)
			fail_msg("at %d: %s", (int)n, err.msg);
	}
	store_close(store);
	store = open_store(); /* what is on disk is more than the map asked for */
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	assert_int_equal(store_count(store, STORE_RECORD), VALUES);
	for (uint64_t n = 0; n < VALUES; n++) {
		key = number_key(n);
		assert_true(store_get(store, STORE_RECORD, &key, &value));
		assert_int_equal(value.len, sizeof(big) - 1);
	}
	put_text(store, VALUES, big);
	assert_int_equal(store_commit(store, &err), 0);
	store_close(store);
}

/* A reader in a thread of its own, which holds a snapshot until it may go. */
struct reading {
	struct store *reader;
	pthread_t thread;
	atomic_bool ended;
	pthread_barrier_t step; /* its transaction is open; it may look and end */
	char before[64], after[64];
	struct err err;
};

static void *read_slowly(void *arg)
{
	struct reading *reading = arg;
	struct store_key key = number_key(1);
	struct store_view value;

	if (store_begin(reading->reader, STORE_READ, &reading->err) < 0)
		return reading;
	(void)pthread_barrier_wait(&reading->step);
	(void)pthread_barrier_wait(&reading->step);
	if (!store_get(reading->reader, STORE_RECORD, &key, &value) || value.len != 3)
		return reading;
	memcpy(reading->before, value.data, value.len);
	store_abort(reading->reader);
	read_text(reading->reader, 1, reading->after, sizeof(reading->after));
	return NULL;
}

static void reading_start(struct reading *reading, struct store *store)
{
	*reading = (struct reading) { 0 };
	assert_int_equal(store_fork(store, &reading->reader, &err), 0);
	assert_int_equal(pthread_barrier_init(&reading->step, NULL, 2), 0);
	assert_int_equal(pthread_create(&reading->thread, NULL, read_slowly, reading), 0);
	(void)pthread_barrier_wait(&reading->step);
}

static void reading_end(struct reading *reading)
{
	void *failed = NULL;

	(void)pthread_barrier_wait(&reading->step);
	assert_int_equal(pthread_join(reading->thread, &failed), 0);
	assert_null(failed);
	store_close(reading->reader);
	(void)pthread_barrier_destroy(&reading->step);
}

static void test_reader_has_a_snapshot_of_its_own(void **state)
{
	struct store *store = open_store();
	struct reading reading;
	char text[64];
	(void)state;

	commit_text(store, 1, "old");
	reading_start(&reading, store);
	commit_text(store, 1, "new");
	reading_end(&reading);
	assert_string_equal(reading.before, "old");
	assert_string_equal(reading.after, "new");

	/* Closing it has closed nothing of the owner's. */
	read_text(store, 1, text, sizeof(text));
	assert_string_equal(text, "new");
	assert_int_equal(store_open(dir, &reading.reader, &err), -EBUSY);
	store_close(store);
}

/* While somebody reads the map stays where it is; then it grows, and the batch that had no room is
 * not there. */
static void test_map_waits_for_readers(void **state)
{
	static char big[16384];
	struct store *store = open_store();
	struct reading reading;
	uint64_t n = 2;
	int r = 0;
	(void)state;

	memset(big, 'x', sizeof(big) - 1);
	commit_text(store, 1, "old");
	reading_start(&reading, store);
	for (; r == 0 && n < 1000; n++) {
		assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
		put_text(store, n, big);
		r = store_commit(store, &err);
	}
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err.details, "a reader keeps its map from growing"));
	assert_true(n > 10); /* past three quarters of 1 MiB, nothing being reused */
	reading_end(&reading);
	assert_string_equal(reading.before, "old");
	for (uint64_t end = n + 100; n < end; n++)
		commit_text(store, n, big);
	store_close(store);
}

/* Readers come and go while the map doubles again and again: no batch has to wait or fails. */
static void *read_often(void *arg)
{
	struct reading *reading = arg;
	struct store_key key = number_key(1);
	struct store_view value;

	while (!atomic_load(&reading->ended)) {
		if (store_begin(reading->reader, STORE_READ, &reading->err) < 0)
			return reading;
		if (!store_get(reading->reader, STORE_RECORD, &key, &value) || value.len != 3)
			return reading;
		(void)sched_yield();
		store_abort(reading->reader);
		(void)usleep(200);
	}
	return NULL;
}

static void test_map_grows_beside_readers(void **state)
{
	enum { BATCHES_MAX = 1200 };
	struct store *store;
	struct reading reading = { 0 };
	static char big[8192];
	void *failed = NULL;
	(void)state;

	mount_disk(0, "size=64m"); /* for a disk would make it last */
	store = open_store();
	memset(big, 'x', sizeof(big) - 1);
	commit_text(store, 1, "old");
	assert_int_equal(store_fork(store, &reading.reader, &err), 0);
	assert_int_equal(pthread_create(&reading.thread, NULL, read_often, &reading), 0);
	for (uint64_t n = 2; n < BATCHES_MAX; n++)
		commit_text(store, n, big);
	atomic_store(&reading.ended, true);
	assert_int_equal(pthread_join(reading.thread, &failed), 0);
	assert_null(failed);
	store_close(reading.reader);
	store_close(store);
}

/* RFC 3720, B.4, and the check value of every CRC catalogue. */
static void test_crc32c(void **state)
{
	uint8_t bytes[32] = { 0 }, many[2000];
	(void)state;

	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, 32);
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
	for (size_t cut = 0; cut <= 32; cut++)
		assert_int_equal(crc32c(crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x46dd794e);
	/* Every processor agrees, whatever it has. */
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = (uint8_t)(i * i >> 3 ^ i);
	for (size_t len = 0; len < sizeof(many) - 8; len++)
		assert_int_equal(crc32c(7, many + len % 8, len),
				 crc32c_by_tables(7, many + len % 8, len));
}

static void test_commit_survives_reopening(void **state)
{
	(void)state;
	struct store *store = open_store();
	struct stat st;
	char text[64];

	commit_text(store, 1, "one");
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	put_text(store, 2, "two");
	store_abort(store);
	store_close(store);

	store = open_store();
	read_text(store, 1, text, sizeof(text));
	assert_string_equal(text, "one");
	read_text(store, 2, text, sizeof(text));
	assert_string_equal(text, "");
	store_close(store);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_seek_walks_in_order_of_keys(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t number;
	} entries[] = { { "a", 1 }, { "a", 256 }, { "a", 65536 }, { "ab", 0 }, { "b", 7 } };
	struct store *store = open_store();
	struct store_key key = { 0 };
	struct store_view found, value;
	size_t prefix, n = 0;

	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	for (size_t i = ARRAY_SIZE(entries); i-- > 0;) {
		struct store_key entry = { 0 };

		store_key_text(&entry, entries[i].text);
		store_key_u32(&entry, entries[i].number);
		store_put(store, STORE_BY_INDEX, &entry, NULL, 0);
	}
	while (store_seek(store, STORE_BY_INDEX, &key, 0, &found, &value)) {
		assert_string_equal((const char *)found.data, entries[n].text);
		assert_int_equal(store_view_u32(&found, found.len - 4), entries[n].number);
		assert_int_equal(value.len, 0);
		store_key_set(&key, &found);
		store_key_next(&key);
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(entries));

	/* Only what begins with "a\0"; deleting while walking is fine. */
	key = (struct store_key) { 0 };
	store_key_text(&key, "a");
	prefix = key.len;
	for (n = 0; store_seek(store, STORE_BY_INDEX, &key, prefix, &found, &value); n++) {
		struct store_key gone = { 0 };

		store_key_set(&gone, &found);
		store_delete(store, STORE_BY_INDEX, &gone);
	}
	assert_int_equal(n, 3);
	assert_int_equal(store_count(store, STORE_BY_INDEX), 2);
	assert_true(store_last(store, STORE_BY_INDEX, &found));
	assert_string_equal((const char *)found.data, "b");
	assert_false(store_last(store, STORE_FREE_Q, &found));
	assert_int_equal(store_commit(store, &err), 0);
	store_close(store);
}

static void test_only_changes_count_as_changes(void **state)
{
	(void)state;
	struct store *store = open_store();

	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	assert_true(store_is_open(store, STORE_WRITE));
	assert_false(store_is_open(store, STORE_READ));
	assert_false(store_is_changed(store));
	put_text(store, 1, "one");
	assert_true(store_is_changed(store));
	store_abort(store);
	assert_false(store_is_open(store, STORE_WRITE));
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	assert_false(store_is_changed(store));
	store_close(store);
}

/* The first error ends the transaction: nothing of it is kept, and the next one works. */
static void test_error_sticks_until_the_end(void **state)
{
	(void)state;
	struct store *store = open_store();
	struct store_key long_key = { 0 };
	struct store_view value;
	char text[64];

	memset(long_key.bytes, 'x', sizeof(long_key.bytes));
	long_key.len = sizeof(long_key.bytes);
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	put_text(store, 1, "one");
	store_put(store, STORE_RECORD, &long_key, "x", 1);
	put_text(store, 2, "two");
	assert_true(store_check(store, &err) < 0);
	assert_int_equal(err.code, ERR_STORE);
	long_key = number_key(1);
	assert_false(store_get(store, STORE_RECORD, &long_key, &value));
	assert_true(store_commit(store, &err) < 0);

	commit_text(store, 3, "three");
	read_text(store, 1, text, sizeof(text));
	assert_string_equal(text, "");
	read_text(store, 3, text, sizeof(text));
	assert_string_equal(text, "three");
	store_close(store);
}

static void test_second_opener_is_refused(void **state)
{
	static struct store *store; /* the child has it too, and must not lose it */
	struct store *second;
	pid_t pid;
	int status;
	(void)state;

	store = open_store();
	pid = fork();
	if (pid == 0)
		_exit(store_open(dir, &second, &err) == -EBUSY &&
				      strstr(err.msg, "another spur-ipamd")
			      ? 0
			      : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(store_open(dir, &second, &err), -EBUSY);
	store_close(store);
	store_close(open_store());
}

/* As a reader that outlives its killed parent by a moment. */
static void test_lock_that_is_let_go_is_waited_for(void **state)
{
	struct store *store;
	pid_t pid;
	(void)state;

	store = open_store();
	pid = fork();
	if (pid == 0) {
		(void)usleep(200000);
		_exit(0);
	}
	store_close(store);
	store_close(open_store());
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A child that the daemon starts must not inherit lock, data or LMDB's own lock file. */
static void test_files_are_closed_on_exec(void **state)
{
	(void)state;
	struct store *store = open_store();
	int found = 0;

	for (int fd = 3; fd < 256; fd++) {
		char link[64], path[256];
		ssize_t n;

		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path) - 1);
		if (n < 0)
			continue;
		path[n] = '\0';
		if (!strstr(path, dir))
			continue;
		found++;
		if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			fail_msg("%s is inherited", path);
	}
	assert_true(found >= 3);
	store_close(store);
}

static void make_file(const char *name, const char *text, size_t len)
{
	CLEANUP_CLOSE int dir_fd = -1;

	assert_int_equal(mkdir(dir, 0700), 0);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fs_write_atomic(dir_fd, name, text, len, 0600, &err), 0);
}

static void test_foreign_file_is_refused(void **state)
{
	(void)state;
	static char zeros[65536];
	struct store *store;

	make_file("data.mdb", "SQLite format 3", 15);
	assert_int_equal(store_open(dir, &store, &err), -EINVAL);
	assert_int_equal(err.code, ERR_STORE);
	assert_non_null(strstr(err.msg, "is not a ledger"));
	setup(NULL);
	make_file("data.mdb", zeros, sizeof(zeros));
	assert_int_equal(store_open(dir, &store, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "is not a ledger"));
}

static void test_file_of_another_kind_is_refused(void **state)
{
	char path[128];
	struct store *store;
	(void)state;

	make_file("data.mdb", "", 0);
	assert_int_equal(store_open(dir, &store, &err), -EUCLEAN);
	assert_non_null(strstr(err.msg, "it is empty"));
	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0); /* which nobody ever writes to */
	assert_int_equal(store_open(dir, &store, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "it is no regular file"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_int_equal(store_open(dir, &store, &err), -ELOOP);
	assert_int_equal(err.code, ERR_STORE);
}

/* Its lock may be neither a way to another file nor something that cannot be locked. */
static void test_lock_of_another_kind_is_refused(void **state)
{
	char path[128], elsewhere[128];
	struct store *store;
	(void)state;

	store_close(open_store());
	(void)snprintf(path, sizeof(path), "%s/lock", dir);
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", root);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(elsewhere, path), 0);
	assert_int_equal(store_open(dir, &store, &err), -ELOOP);
	assert_int_equal(access(elsewhere, F_OK), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(store_open(dir, &store, &err), -EISDIR);
	assert_int_equal(err.code, ERR_STORE);
	assert_non_null(strstr(err.msg, "/lock"));
}

static void test_path_that_is_no_directory_is_refused(void **state)
{
	(void)state;
	struct store *store;

	make_file("state", "", 0);
	(void)snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir), "/state");
	assert_int_equal(store_open(dir, &store, &err), -ENOTDIR);
	assert_non_null(strstr(err.msg, dir));
	(void)snprintf(dir, sizeof(dir), "%s/absent/state", root);
	assert_int_equal(store_open(dir, &store, &err), -ENOENT);
}

static void write_schema(uint8_t schema)
{
	const uint8_t value[] = { 0, 0, 0, schema };
	struct store *store = open_store();
	struct store_key key = { 0 };

	store_key_text(&key, "schema");
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	store_put(store, STORE_META, &key, value, sizeof(value));
	assert_int_equal(store_commit(store, &err), 0);
	store_close(store);
}

static void test_other_schema_is_refused(void **state)
{
	static const struct {
		uint8_t schema;
		const char *says;
	} rows[] = { { 6, "its schema is 6, this program knows 1 to 5" },
		     { 0, "its schema is 0, this program knows 1 to 5" } };
	struct store *store;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		setup(NULL);
		write_schema(rows[i].schema);
		assert_int_equal(store_open(dir, &store, &err), -EPROTONOSUPPORT);
		assert_non_null(strstr(err.msg, rows[i].says));
	}
}

/* Flips one bit in the file, under an open store too, where @text is. */
static void damage(const char *text)
{
	char path[128], *data, *at;
	size_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fs_read_all(fd, 1 << 24, &data, &len), 0);
	assert_non_null(memmem(data, len, text, strlen(text)));
	for (at = data; (at = memmem(at, len - (size_t)(at - data), text, strlen(text))); at++) {
		*at ^= 1;
		assert_int_equal(pwrite(fd, at, 1, at - data), 1);
	}
	free(data);
	(void)close(fd);
}

static void test_damaged_value_is_not_believed(void **state)
{
	(void)state;
	struct store *store = open_store();
	struct store_key key = number_key(7);
	struct store_view found, value;
	char text[64];

	commit_text(store, 6, "a neighbour");
	commit_text(store, 7, "a value that somebody wrote");
	damage("a value that somebody wrote");
	for (int way = 0; way < 2; way++) {
		assert_int_equal(store_begin(store, STORE_READ, &err), 0);
		if (way == 0)
			assert_false(store_get(store, STORE_RECORD, &key, &value));
		else
			assert_false(store_seek(store, STORE_RECORD, &key, 0, &found, &value));
		assert_int_equal(store_check(store, &err), -EUCLEAN);
		assert_int_equal(err.code, ERR_STORE);
		assert_non_null(strstr(err.msg, "table record, key \\x00\\x00\\x00\\x00\\x00\\x00"
						"\\x00\\x07: value is damaged"));
		assert_true(err.details[0]);
		store_abort(store);
	}
	read_text(store, 6, text, sizeof(text));
	assert_string_equal(text, "a neighbour");
	commit_text(store, 8, "and life goes on");
	store_close(store);
	assert_int_equal(store_open(dir, &store, &err), -EUCLEAN);
	assert_non_null(strstr(err.msg, "it is damaged: table record: page"));
	assert_non_null(strstr(err.details, "restore"));
}

/* A key is part of what the checksum covers: a value cannot pass for another one's. */
static void test_damaged_key_is_not_believed(void **state)
{
	(void)state;
	struct store *store = open_store();
	struct store_key key = { 0 };
	struct store_view found, value;

	store_key_text(&key, "the key of something");
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	store_put(store, STORE_BY_KEY, &key, "x", 1);
	assert_int_equal(store_commit(store, &err), 0);
	damage("the key of something");
	key.len = 0;
	assert_int_equal(store_begin(store, STORE_READ, &err), 0);
	assert_false(store_seek(store, STORE_BY_KEY, &key, 0, &found, &value));
	assert_int_equal(store_check(store, &err), -EUCLEAN);
	store_close(store);
}

/* The batch that does not fit is not there; what was there is, and can be given up. */
static void test_full_disk(void **state)
{
	(void)state;
	static char big[4096];
	struct store *store;
	struct store_key key;
	char text[64];
	uint64_t n = 2;
	int r = 0;

	mount_disk(0, "size=512k");
	store = open_store();
	commit_text(store, 1, "one");
	memset(big, 'x', sizeof(big) - 1);
	for (; r == 0 && n < 1000; n++) {
		assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
		put_text(store, n, big);
		r = store_commit(store, &err);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(err.code, ERR_STORE);
	assert_non_null(strstr(err.msg, "commit to store"));
	assert_non_null(strstr(err.msg, "No space left on device"));
	assert_non_null(strstr(err.details, "is full"));
	read_text(store, 1, text, sizeof(text));
	assert_string_equal(text, "one");
	store_close(store);

	store = open_store();
	read_text(store, 1, text, sizeof(text));
	assert_string_equal(text, "one");
	key = number_key(2);
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	store_delete(store, STORE_RECORD, &key);
	assert_int_equal(store_commit(store, &err), 0);
	commit_text(store, 2, "two");
	store_close(store);
}

static void test_read_only_disk(void **state)
{
	(void)state;
	struct store *store;

	mount_disk(0, "size=512k");
	store_close(open_store());
	assert_int_equal(mount("none", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(store_open(dir, &store, &err), -EROFS);
	assert_int_equal(err.code, ERR_STORE);
	assert_non_null(strstr(err.msg, "Read-only file system"));
	/* Nothing has been harmed. */
	assert_int_equal(mount("none", dir, "tmpfs", MS_REMOUNT, NULL), 0);
	store_close(open_store());
}

static void test_no_permission(void **state)
{
	(void)state;
	pid_t pid;
	int status;

	store_close(open_store());
	if (getuid() != 0)
		skip();
	assert_int_equal(chmod(root, 0755), 0);
	pid = fork();
	if (pid == 0) {
		struct store *store;
		int r;

		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(2);
		r = store_open(dir, &store, &err);
		_exit(r == -EACCES && strstr(err.msg, "Permission denied") ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf --one-file-system %s", root);
	return system(command);
}

/* What a commit that fails has written, nobody knows: here all of it. */
static bool commit_fails;

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	int rc = __real_mdb_txn_commit(txn);

	return rc == 0 && commit_fails ? EIO : rc;
}

static void test_nothing_goes_on_after_a_commit_of_unknown_fate(void **state)
{
	struct store *store = open_store();
	char text[16];
	(void)state;

	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	put_text(store, 1, "first");
	commit_fails = true;
	assert_int_equal(store_commit(store, &err), -EIO);
	commit_fails = false;
	err = (struct err) { 0 };
	assert_int_equal(store_begin(store, STORE_WRITE, &err), -EIO);
	assert_int_equal(err.code, ERR_STORE);
	assert_int_equal(store_begin(store, STORE_READ, &err), -EIO);
	store_close(store);
	store = open_store();
	read_text(store, 1, text, sizeof(text));
	assert_string_equal(text, "first");
	store_close(store);
}

/* In other threads, too, at their next transaction. */
static void test_readers_learn_of_a_commit_of_unknown_fate(void **state)
{
	struct store *store = open_store();
	struct reading reading = { 0 };
	void *failed = NULL;
	(void)state;

	commit_text(store, 1, "old");
	assert_int_equal(store_fork(store, &reading.reader, &err), 0);
	assert_int_equal(pthread_create(&reading.thread, NULL, read_often, &reading), 0);
	assert_int_equal(store_begin(store, STORE_WRITE, &err), 0);
	put_text(store, 1, "new");
	commit_fails = true;
	assert_int_equal(store_commit(store, &err), -EIO);
	commit_fails = false;
	assert_int_equal(pthread_join(reading.thread, &failed), 0);
	assert_ptr_equal(failed, &reading);
	assert_int_equal(reading.err.code, ERR_STORE);
	assert_non_null(strstr(reading.err.msg, "commit to"));
	store_close(reading.reader);
	store_close(store);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test_setup(test_nothing_goes_on_after_a_commit_of_unknown_fate, setup),
		cmocka_unit_test_setup(test_readers_learn_of_a_commit_of_unknown_fate, setup),
		cmocka_unit_test_setup(test_commit_survives_reopening, setup),
		cmocka_unit_test_setup(test_seek_walks_in_order_of_keys, setup),
		cmocka_unit_test_setup(test_only_changes_count_as_changes, setup),
		cmocka_unit_test_setup(test_error_sticks_until_the_end, setup),
		cmocka_unit_test_setup(test_second_opener_is_refused, setup),
		cmocka_unit_test_setup(test_lock_that_is_let_go_is_waited_for, setup),
		cmocka_unit_test_setup(test_files_are_closed_on_exec, setup),
		cmocka_unit_test_setup(test_map_grows_between_batches, setup),
		cmocka_unit_test_setup(test_reader_has_a_snapshot_of_its_own, setup),
		cmocka_unit_test_setup(test_map_waits_for_readers, setup),
		cmocka_unit_test_setup_teardown(test_map_grows_beside_readers, setup, teardown),
		cmocka_unit_test_setup(test_foreign_file_is_refused, setup),
		cmocka_unit_test_setup(test_file_of_another_kind_is_refused, setup),
		cmocka_unit_test_setup(test_lock_of_another_kind_is_refused, setup),
		cmocka_unit_test_setup(test_path_that_is_no_directory_is_refused, setup),
		cmocka_unit_test_setup(test_other_schema_is_refused, setup),
		cmocka_unit_test_setup(test_damaged_value_is_not_believed, setup),
		cmocka_unit_test_setup(test_damaged_key_is_not_believed, setup),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only_disk, setup, teardown),
		cmocka_unit_test_setup(test_no_permission, setup),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
