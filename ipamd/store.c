/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB, and nobody else sees it. Each value begins with the CRC-32C of its table, key and bytes:
 * LMDB itself has no checksums, and would hand out a flipped bit as truth.
 *
 * The lock on the file "lock" comes first: LMDB's own locks do not keep a second daemon out.
 */
#include "ipamd/store.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>

#include "base/cleanup.h"
#include "base/hook.h"
#include "ipamd/crc32c.h"
#include "ipamd/verify.h"

enum {
	STORE_CRC = sizeof(uint32_t),
	STORE_LOCK_TRIES = 50,
	STORE_LOCK_PAUSE_US = 20000,
	STORE_FILL_PERCENT = 75, /* of the map; a batch writes far less than the rest */
	STORE_URGENT_PERCENT = 85,
	STORE_PATIENCE_NS = 100000000, /* with readers, when it is urgent */
	STORE_ROOM = 4 << 20,          /* kept allocated behind the last page */
};

static const size_t store_map_min = (size_t)1 << 30;

static const struct {
	const char *name;
	uint32_t schema; /* the first that has it */
} tables[STORE_TABLES] = {
	[STORE_RECORD] = { "record", 1 },       [STORE_BY_KEY] = { "by_key", 1 },
	[STORE_BY_DEVICE] = { "by_device", 1 }, [STORE_BY_POD] = { "by_pod", 1 },
	[STORE_BY_NETNS] = { "by_netns", 1 },   [STORE_BY_INDEX] = { "by_index", 1 },
	[STORE_FREE_Q] = { "free_q", 1 },       [STORE_HISTORY] = { "history", 1 },
	[STORE_META] = { "meta", 1 },           [STORE_BY_GUID] = { "by_guid", 2 },
	[STORE_CLAIM] = { "claim", 3 },         [STORE_STICKY] = { "sticky", 3 },
	[STORE_STICKY_Q] = { "sticky_q", 3 },   [STORE_GUID_OF] = { "guid_of", 3 },
	[STORE_BY_LAST] = { "by_last", 4 },     [STORE_BY_IDENTITY] = { "by_identity", 4 },
	[STORE_REBIND] = { "rebind", 5 },
};

const char *store_table_name(enum store_table table)
{
	return tables[table].name;
}

struct store {
	char *path;
	struct store *owner; /* of env, path and gate: itself, but for a reader */
	int lock_fd;
	MDB_env *env;
	pthread_rwlock_t gate; /* shared while a reader reads, held alone while the map moves */
	MDB_dbi dbis[STORE_TABLES];
	MDB_txn *txn; /* NULL = none is open */
	MDB_cursor *cursors[STORE_TABLES];
	enum store_mode mode;
	bool changed;
	uint32_t schema;
	uint64_t used;       /* up to the last page */
	uint64_t room_end;   /* the file has its blocks up to there */
	bool tight;          /* and could not get more */
	struct err lost;     /* of a commit whose fate nobody knows: written once… */
	atomic_bool is_lost; /* …and then told to readers in other threads */
	int r;               /* of this transaction: 0 or the first -errno */
	struct err err;
};

/* One byte too many makes LMDB refuse the key (MDB_BAD_VALSIZE): better than a cut one. */
static void key_bytes(struct store_key *key, const void *bytes, size_t len)
{
	if (len > sizeof(key->bytes) - key->len) {
		key->len = sizeof(key->bytes);
		return;
	}
	memcpy(key->bytes + key->len, bytes, len);
	key->len += len;
}

void store_key_text(struct store_key *key, const char *text)
{
	key_bytes(key, text, strlen(text) + 1);
}

void store_key_u32(struct store_key *key, uint32_t number)
{
	number = htobe32(number);
	key_bytes(key, &number, sizeof(number));
}

void store_key_u64(struct store_key *key, uint64_t number)
{
	number = htobe64(number);
	key_bytes(key, &number, sizeof(number));
}

void store_key_next(struct store_key *key)
{
	key_bytes(key, "", 1);
}

void store_key_set(struct store_key *key, const struct store_view *found)
{
	key->len = 0;
	key_bytes(key, found->data, found->len);
}

uint32_t store_view_u32(const struct store_view *view, size_t offset)
{
	uint32_t number;

	memcpy(&number, view->data + offset, sizeof(number));
	return be32toh(number);
}

uint64_t store_view_u64(const struct store_view *view, size_t offset)
{
	uint64_t number;

	memcpy(&number, view->data + offset, sizeof(number));
	return be64toh(number);
}

bool store_view_text(const struct store_view *view, size_t *at, char *buf, size_t size)
{
	size_t len = strnlen((const char *)view->data + *at, view->len - *at);

	if (*at + len >= view->len || len >= size)
		return false;
	memcpy(buf, view->data + *at, len + 1);
	*at += len + 1;
	return true;
}

/* LMDB's codes are positive errnos, or negative ones of its own. */
static int mdb_errno(int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return ENOSPC;
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
		return EINVAL;
	case MDB_CORRUPTED: /* what it has read, which is one request's trouble */
	case MDB_PAGE_NOTFOUND:
		return EUCLEAN;
	default: /* MDB_PANIC among them: a write of the head has failed */
		return rc > 0 ? rc : EIO;
	}
}

static int store_error(const struct store *store, int rc, const char *what, struct err *err)
{
	(void)err_set(err, mdb_errno(rc), ERR_STORE, "%s store %s: %s", what, store->path,
		      mdb_strerror(rc));
	if (rc == ENOSPC)
		err_details(err, "the file system of %s is full", store->path);
	if (rc == MDB_MAP_FULL)
		err_details(err, "a reader keeps its map from growing: try again");
	return -err->errnum;
}

static void store_stick(struct store *store, int rc, const char *what)
{
	if (store->r == 0)
		store->r = store_error(store, rc, what, &store->err);
}

static void format_key(const struct store_view *key, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < key->len && n + 5 < size; i++) {
		bool plain = key->data[i] > ' ' && key->data[i] < 0x7f;

		n += (size_t)snprintf(buf + n, size - n, plain ? "%c" : "\\x%02x", key->data[i]);
	}
}

static void store_damaged(struct store *store, enum store_table table, const struct store_view *key)
{
	char text[160];

	if (store->r < 0)
		return;
	format_key(key, text, sizeof(text));
	store->r = err_set(&store->err, EUCLEAN, ERR_STORE,
			   "read store %s: table %s, key %s: value is damaged", store->path,
			   tables[table].name, text);
	verify_recipe(store->path, &store->err);
}

void store_fail(struct store *store, enum store_table table, const char *why)
{
	if (store->r == 0)
		store->r = err_set(&store->err, EUCLEAN, ERR_STORE, "store %s: table %s: %s",
				   store->path, tables[table].name, why);
}

int store_check(const struct store *store, struct err *err)
{
	if (store->r < 0)
		*err = store->err;
	return store->r;
}

/* The directory, and the name of it in its parent, survive a power cut. */
static int store_make_dir(const char *path, struct err *err)
{
	CLEANUP_FREE char *copy = NULL;
	CLEANUP_CLOSE int parent_fd = -1;

	if (mkdir(path, 0700) < 0) {
		if (errno == EEXIST)
			return 0;
		return err_sys(err, errno, ERR_STORE, "make directory %s", path);
	}
	copy = strdup(path);
	if (!copy)
		return err_nomem(err);
	parent_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd < 0 || fsync(parent_fd) < 0)
		return err_sys(err, errno, ERR_STORE, "sync the parent of %s", path);
	return 0;
}

/*
 * Not refused at once: when a daemon is killed while its reader is being started (verify.c), that
 * has the lock open for a moment longer.
 */
static int store_lock(struct store *store, int dir_fd, struct err *err)
{
	int r;

	store->lock_fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->lock_fd < 0)
		return err_sys(err, errno, ERR_STORE, "open %s/lock", store->path);
	for (int left = STORE_LOCK_TRIES; (r = flock(store->lock_fd, LOCK_EX | LOCK_NB)) < 0;
	     left--) {
		if (errno != EWOULDBLOCK || left == 0)
			break;
		(void)usleep(STORE_LOCK_PAUSE_US);
	}
	if (r == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return err_sys(err, errno, ERR_STORE, "lock %s/lock", store->path);
	return err_set(err, EBUSY, ERR_STORE, "lock %s/lock: another spur-ipamd has this store",
		       store->path);
}

static int store_open_env(struct store *store, const char *path, unsigned int flags,
			  struct err *err)
{
	mdb_filehandle_t fd;
	int rc;

	rc = mdb_env_create(&store->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(store->env, STORE_TABLES);
	if (rc == 0)
		rc = mdb_env_set_mapsize(store->env, store_map_min);
	if (rc == 0)
		rc = mdb_env_open(store->env, path, MDB_NOTLS | flags, 0600);
	if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH)
		return err_set(err, EINVAL, ERR_STORE, "open store %s: data.mdb is not a ledger",
			       store->path);
	/* LMDB opens its other files close-on-exec, but not the data file. */
	if (rc == 0)
		rc = mdb_env_get_fd(store->env, &fd);
	if (rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		rc = errno;
	return rc ? store_error(store, rc, "open", err) : 0;
}

uint32_t store_schema(const struct store *store)
{
	return store->schema;
}

void store_set_schema(struct store *store)
{
	uint32_t schema = htobe32(STORE_SCHEMA);
	struct store_key key = { 0 };

	store_key_text(&key, "schema");
	store_put(store, STORE_META, &key, &schema, sizeof(schema));
	store->schema = STORE_SCHEMA;
}

/* In a new store all; in one of an older schema those that it lacks, and it stays of that schema.
 */
static int store_make_tables(struct store *store, bool is_new, struct err *err)
{
	int r;

	r = store_begin(store, STORE_WRITE, err);
	if (r < 0)
		return r;
	for (int i = 0; i < STORE_TABLES && store->r == 0; i++) {
		int rc = mdb_dbi_open(store->txn, tables[i].name, MDB_CREATE, &store->dbis[i]);

		if (rc)
			store_stick(store, rc, "create");
	}
	if (is_new)
		store_set_schema(store);
	return store_commit(store, err);
}

/* A new store gets its name when it is whole: LMDB alone would leave half a one if power failed
 * between its first writes, and would not open that again. */
static int store_create(struct store *store, int dir_fd, struct err *err)
{
	CLEANUP_FREE char *path = NULL;
	int r;

	if (faccessat(dir_fd, "data.mdb", F_OK, 0) == 0)
		return 0;
	if (unlinkat(dir_fd, "new.mdb", 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, ERR_STORE, "remove %s/new.mdb", store->path);
	if (asprintf(&path, "%s/new.mdb", store->path) < 0)
		return err_nomem(err);
	r = store_open_env(store, path, MDB_NOSUBDIR | MDB_NOLOCK, err);
	if (r == 0)
		r = store_make_tables(store, true, err);
	if (r < 0)
		return r;
	mdb_env_close(TAKE_PTR(store->env));
	if (renameat(dir_fd, "new.mdb", dir_fd, "data.mdb") < 0)
		return err_sys(err, errno, ERR_STORE, "rename %s to data.mdb", path);
	return 0;
}

static int store_verify(const struct store *store, struct err *err)
{
	CLEANUP_FREE char *path = NULL;

	if (asprintf(&path, "%s/data.mdb", store->path) < 0)
		return err_nomem(err);
	return verify_file(path, err);
}

static int store_open_table(struct store *store, enum store_table table, struct err *err)
{
	int rc = mdb_dbi_open(store->txn, tables[table].name, 0, &store->dbis[table]);

	if (rc == 0)
		return 0;
	if (rc != MDB_NOTFOUND && rc != MDB_INCOMPATIBLE)
		return store_error(store, rc, "open", err);
	(void)err_set(err, EINVAL, ERR_STORE,
		      "open store %s: data.mdb is not a ledger: it has no table %s", store->path,
		      tables[table].name);
	verify_recipe(store->path, err); /* or a bit of the name is another: it has no checksum */
	return -EINVAL;
}

static int store_open_tables(struct store *store, struct err *err)
{
	struct store_key key = { 0 };
	struct store_view value;
	uint32_t schema = 0;
	int r;

	r = store_open_table(store, STORE_META, err);
	if (r < 0)
		return r;
	store_key_text(&key, "schema");
	if (store_get(store, STORE_META, &key, &value) && value.len == sizeof(schema))
		schema = store_view_u32(&value, 0);
	r = store_check(store, err);
	if (r < 0)
		return r;
	if (schema < 1 || schema > STORE_SCHEMA)
		return err_set(err, EPROTONOSUPPORT, ERR_STORE,
			       "open store %s: its schema is %u, this program knows 1 to %d",
			       store->path, schema, STORE_SCHEMA);
	for (int i = 0; r == 0 && i < STORE_TABLES; i++) {
		if (tables[i].schema <= schema)
			r = store_open_table(store, (enum store_table)i, err);
	}
	store->schema = schema;
	return r;
}

/* A store in which nothing was ever committed is new. */
static int store_is_new(struct store *store, bool *ret_new, struct err *err)
{
	MDB_stat stat;
	MDB_dbi root;
	int rc;

	rc = mdb_dbi_open(store->txn, NULL, 0, &root);
	if (rc == 0)
		rc = mdb_stat(store->txn, root, &stat);
	if (rc)
		return store_error(store, rc, "open", err);
	*ret_new = stat.ms_entries == 0;
	return 0;
}

static int store_load(struct store *store, struct err *err)
{
	bool is_new = false;
	int r;

	r = store_begin(store, STORE_READ, err);
	if (r < 0)
		return r;
	r = store_is_new(store, &is_new, err);
	if (r == 0 && !is_new)
		r = store_open_tables(store, err);
	/* A commit, also of a read transaction, is what keeps the handles. */
	if (r == 0)
		r = store_commit(store, err);
	store_abort(store);
	if (r == 0 && (is_new || store->schema < STORE_SCHEMA))
		r = store_make_tables(store, is_new, err);
	return r;
}

static void store_closep(struct store **store)
{
	store_close(*store);
}

/* Readers that come while the owner waits for others wait for it. */
static void gate_init(pthread_rwlock_t *gate)
{
	pthread_rwlockattr_t attr;

	(void)pthread_rwlockattr_init(&attr);
	(void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	(void)pthread_rwlock_init(gate, &attr);
	(void)pthread_rwlockattr_destroy(&attr);
}

int store_open(const char *path, struct store **ret_store, struct err *err)
{
	CLEANUP(store_closep) struct store *store = calloc(1, sizeof(*store));
	CLEANUP_CLOSE int dir_fd = -1;
	int r;

	if (!store)
		return err_nomem(err);
	store->owner = store;
	store->lock_fd = -1;
	gate_init(&store->gate);
	store->path = strdup(path);
	if (!store->path)
		return err_nomem(err);
	r = store_make_dir(path, err);
	if (r < 0)
		return r;
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return err_sys(err, errno, ERR_STORE, "open store %s", path);
	r = store_lock(store, dir_fd, err);
	if (r == 0)
		r = store_create(store, dir_fd, err);
	if (r == 0)
		r = store_verify(store, err);
	if (r == 0)
		r = store_open_env(store, store->path, 0, err);
	if (r == 0)
		r = store_load(store, err);
	if (r < 0)
		return r;
	if (fsync(dir_fd) < 0)
		return err_sys(err, errno, ERR_STORE, "sync store %s", path);
	*ret_store = TAKE_PTR(store);
	return 0;
}

int store_fork(struct store *store, struct store **ret_reader, struct err *err)
{
	struct store *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return err_nomem(err);
	reader->owner = store;
	reader->path = store->path;
	reader->env = store->env;
	reader->schema = store->schema;
	memcpy(reader->dbis, store->dbis, sizeof(reader->dbis));
	*ret_reader = reader;
	return 0;
}

static void store_close_env(struct store *store)
{
	if (store->env)
		mdb_env_close(store->env);
	if (store->lock_fd >= 0)
		(void)close(store->lock_fd);
	(void)pthread_rwlock_destroy(&store->gate);
	free(store->path);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	store_abort(store);
	if (store->owner == store)
		store_close_env(store);
	free(store);
}

static bool gate_close(pthread_rwlock_t *gate, bool is_urgent)
{
	struct timespec until;

	if (pthread_rwlock_trywrlock(gate) == 0)
		return true;
	if (!is_urgent || clock_gettime(CLOCK_MONOTONIC, &until) < 0)
		return false;
	until.tv_nsec += STORE_PATIENCE_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_rwlock_clockwrlock(gate, CLOCK_MONOTONIC, &until) == 0;
}

/* The map may move while nobody reads it. It waits for no reader, who may take long, as long as
 * there is room for many a batch. */
static int store_move(struct store *store, size_t size, bool is_urgent)
{
	int rc;

	if (!gate_close(&store->gate, is_urgent))
		return 0;
	rc = mdb_env_set_mapsize(store->env, size);
	(void)pthread_rwlock_unlock(&store->gate);
	return rc ? EIO : 0; /* the old map has gone */
}

/*
 * Blocks are there before pages are written to them. So a full disk is noticed while releases,
 * which write too, have room left; once LMDB can use again what they free they need no more. A file
 * system that cannot promise blocks (ZFS, NFS before 4.2) is full when it says so.
 */
static void store_keep_room(struct store *store, uint64_t used)
{
	mdb_filehandle_t fd;

	if (store->room_end >= used + STORE_ROOM / 2 || mdb_env_get_fd(store->env, &fd) != 0)
		return;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)store->room_end,
		      (off_t)(used + STORE_ROOM - store->room_end)) == 0)
		store->room_end = used + STORE_ROOM;
	else if (errno != ENOSPC && errno != EDQUOT && errno != EINTR)
		store->room_end = UINT64_MAX;
	else
		store->tight = store->tight || errno != EINTR;
	if (store->room_end >= used + STORE_ROOM / 2)
		store->tight = false;
}

/* Doubles the map when it is three quarters full; only between transactions. */
static int store_grow(struct store *store, struct err *err)
{
	MDB_envinfo info;
	MDB_stat stat;
	size_t used, percent;
	int rc;

	rc = mdb_env_info(store->env, &info);
	if (rc == 0)
		rc = mdb_env_stat(store->env, &stat);
	if (rc == 0) {
		used = (info.me_last_pgno + 1) * stat.ms_psize;
		store->used = used;
		store_keep_room(store, used);
		percent = used / (info.me_mapsize / 100);
		if (percent >= STORE_FILL_PERCENT)
			rc = store_move(store, info.me_mapsize * 2,
					percent >= STORE_URGENT_PERCENT);
	}
	return rc ? store_error(store, rc, "grow", err) : 0;
}

/* At the end of a transaction: the map may move again. */
static void store_leave(struct store *store)
{
	if (store->owner != store)
		(void)pthread_rwlock_unlock(&store->owner->gate);
}

int store_begin(struct store *store, enum store_mode mode, struct err *err)
{
	int rc;

	if (atomic_load(&store->owner->is_lost)) {
		*err = store->owner->lost;
		return -err->errnum;
	}
	if (mode == STORE_WRITE && store_grow(store, err) < 0)
		return -err->errnum;
	if (store->owner != store)
		(void)pthread_rwlock_rdlock(&store->owner->gate);
	rc = mdb_txn_begin(store->env, NULL, mode == STORE_READ ? MDB_RDONLY : 0, &store->txn);
	if (rc) {
		store_leave(store);
		return store_error(store, rc, "read", err);
	}
	store->mode = mode;
	store->changed = false;
	store->r = 0;
	return 0;
}

static void store_close_cursors(struct store *store)
{
	for (int i = 0; i < STORE_TABLES; i++) {
		if (store->cursors[i])
			mdb_cursor_close(store->cursors[i]);
		store->cursors[i] = NULL;
	}
}

/* Each change, and either side of a commit, is a step that a test may fail, kill or stall. 0 or an
 * errno, as LMDB has it. */
static int store_step(void)
{
	static int number;

	return -hook_step("store", ++number);
}

static int txn_commit(MDB_txn *txn, bool changed)
{
	int rc = changed ? store_step() : 0;

	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	return rc == 0 && changed ? store_step() : rc;
}

/* To LMDB a write that was cut short, as on a disk that has just filled up, is an EIO. */
static bool disk_is_full(const char *path)
{
	struct statvfs disk;

	return statvfs(path, &disk) == 0 && disk.f_bfree == 0;
}

int store_commit(struct store *store, struct err *err)
{
	MDB_txn *txn = store->txn;
	int rc;

	if (store_check(store, err) < 0) {
		store_abort(store);
		return -err->errnum;
	}
	store_close_cursors(store);
	store->txn = NULL; /* gone, whatever the commit says */
	rc = txn_commit(txn, store->changed);
	store_leave(store);
	if (rc == EIO && disk_is_full(store->path))
		rc = ENOSPC;
	if (rc == 0)
		return 0;
	if (mdb_errno(rc) == EIO) {
		(void)store_error(store, rc, "commit to", &store->lost);
		atomic_store(&store->is_lost, true);
	}
	return store_error(store, rc, "commit to", err);
}

void store_abort(struct store *store)
{
	store_close_cursors(store);
	if (store->txn) {
		mdb_txn_abort(store->txn);
		store_leave(store);
	}
	store->txn = NULL;
	store->r = 0;
}

bool store_is_open(const struct store *store, enum store_mode mode)
{
	return store->txn && store->mode == mode;
}

const char *store_path(const struct store *store)
{
	return store->path;
}

bool store_is_there(const struct store *store)
{
	CLEANUP_FREE char *path = NULL;
	struct stat open, there;
	mdb_filehandle_t fd;

	if (asprintf(&path, "%s/data.mdb", store->path) < 0) {
		path = NULL;
		return true; /* nobody knows */
	}
	return mdb_env_get_fd(store->env, &fd) == 0 && fstat(fd, &open) == 0 &&
	       stat(path, &there) == 0 && open.st_dev == there.st_dev &&
	       open.st_ino == there.st_ino;
}

uint64_t store_size(const struct store *store)
{
	return store->used;
}

bool store_is_tight(const struct store *store)
{
	return store->tight;
}

bool store_is_changed(const struct store *store)
{
	return store->changed;
}

static MDB_val key_val(const struct store_key *key)
{
	return (MDB_val) { .mv_size = key->len, .mv_data = (void *)key->bytes };
}

/* What a value holds behind its checksum; false (and the transaction failed) if that is wrong. */
static bool value_open(struct store *store, enum store_table table, const MDB_val *key,
		       const MDB_val *value, struct store_view *ret_value)
{
	struct store_view whole = { value->mv_data, value->mv_size };
	struct store_view name = { key->mv_data, key->mv_size };

	if (whole.len < STORE_CRC ||
	    store_view_u32(&whole, 0) != crc32c_value((uint8_t)table, name.data, name.len,
						      whole.data + STORE_CRC,
						      whole.len - STORE_CRC)) {
		store_damaged(store, table, &name);
		return false;
	}
	*ret_value = (struct store_view) { whole.data + STORE_CRC, whole.len - STORE_CRC };
	return true;
}

bool store_get(struct store *store, enum store_table table, const struct store_key *key,
	       struct store_view *ret_value)
{
	MDB_val k = key_val(key), value;
	int rc;

	if (store->r < 0)
		return false;
	rc = mdb_get(store->txn, store->dbis[table], &k, &value);
	if (rc == 0)
		return value_open(store, table, &k, &value, ret_value);
	if (rc != MDB_NOTFOUND)
		store_stick(store, rc, "read");
	return false;
}

static MDB_cursor *store_cursor(struct store *store, enum store_table table)
{
	int rc;

	if (store->r == 0 && !store->cursors[table]) {
		rc = mdb_cursor_open(store->txn, store->dbis[table], &store->cursors[table]);
		if (rc)
			store_stick(store, rc, "read");
	}
	return store->r == 0 ? store->cursors[table] : NULL;
}

bool store_seek(struct store *store, enum store_table table, const struct store_key *key,
		size_t prefix, struct store_view *ret_key, struct store_view *ret_value)
{
	MDB_cursor *cursor = store_cursor(store, table);
	MDB_val k = key_val(key), value;
	int rc;

	if (!cursor)
		return false;
	rc = mdb_cursor_get(cursor, &k, &value, key->len ? MDB_SET_RANGE : MDB_FIRST);
	if (rc == MDB_NOTFOUND)
		return false;
	if (rc) {
		store_stick(store, rc, "read");
		return false;
	}
	if (k.mv_size < prefix || memcmp(k.mv_data, key->bytes, prefix) != 0)
		return false;
	*ret_key = (struct store_view) { k.mv_data, k.mv_size };
	return value_open(store, table, &k, &value, ret_value);
}

bool store_last(struct store *store, enum store_table table, struct store_view *ret_key)
{
	MDB_cursor *cursor = store_cursor(store, table);
	MDB_val key, value;
	int rc;

	if (!cursor)
		return false;
	rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
	if (rc && rc != MDB_NOTFOUND)
		store_stick(store, rc, "read");
	if (rc)
		return false;
	*ret_key = (struct store_view) { key.mv_data, key.mv_size };
	return true;
}

uint64_t store_count(struct store *store, enum store_table table)
{
	MDB_stat stat = { 0 };
	int rc;

	if (store->r < 0)
		return 0;
	rc = mdb_stat(store->txn, store->dbis[table], &stat);
	if (rc)
		store_stick(store, rc, "read");
	return stat.ms_entries;
}

static void store_write(struct store *store, enum store_table table, const struct store_key *key,
			const void *data, size_t len, unsigned int flags)
{
	MDB_val k = key_val(key), value = { .mv_size = STORE_CRC + len };
	uint32_t crc = htobe32(crc32c_value((uint8_t)table, key->bytes, key->len, data, len));
	int rc;

	if (store->r < 0)
		return;
	rc = store_step();
	if (rc == 0)
		rc = mdb_put(store->txn, store->dbis[table], &k, &value, MDB_RESERVE | flags);
	if (rc) {
		store_stick(store, rc, "write to");
		return;
	}
	store->changed = true;
	memcpy(value.mv_data, &crc, sizeof(crc));
	if (len > 0)
		memcpy((uint8_t *)value.mv_data + STORE_CRC, data, len);
}

void store_put(struct store *store, enum store_table table, const struct store_key *key,
	       const void *data, size_t len)
{
	store_write(store, table, key, data, len, 0);
}

void store_append(struct store *store, enum store_table table, const struct store_key *key,
		  const void *data, size_t len)
{
	store_write(store, table, key, data, len, MDB_APPEND);
}

void store_delete(struct store *store, enum store_table table, const struct store_key *key)
{
	MDB_val k = key_val(key);
	int rc;

	if (store->r < 0)
		return;
	rc = store_step();
	if (rc == 0)
		rc = mdb_del(store->txn, store->dbis[table], &k, NULL);
	store->changed = true;
	if (rc && rc != MDB_NOTFOUND)
		store_stick(store, rc, "write to");
}
