/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of a durable change: bare LMDB commits of the very puts and deletes that the daemon
 * made of it (puts.c), in a copy of the store that it made them in.
 *
 *	replay DIRECTORY PUTS
 *
 * For each line of stdin, a number, it commits as many transactions, the next ones, and prints
 * wall ns and CPU ns of all, and of those that write a record the median and the 99th percentile
 * in ns.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <lmdb.h>

#include "figures.h"
#include "recording.h"

enum { TABLES_MAX = 32 };

struct replay {
	MDB_env *env;
	MDB_dbi dbis[TABLES_MAX]; /* of ours, by the daemon's numbers */
	uint32_t record;          /* the daemon's number of that table */
	const char *at, *end;
};

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s\n", what, mdb_strerror(rc));
	exit(1);
}

static void puts_open(struct replay *replay, const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat stat;

	if (fd < 0 || fstat(fd, &stat) < 0)
		die(path);
	replay->at = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (replay->at == MAP_FAILED)
		die(path);
	replay->end = replay->at + stat.st_size;
}

static void store_open(struct replay *replay, const char *directory)
{
	check(mdb_env_create(&replay->env), "create");
	check(mdb_env_set_maxdbs(replay->env, TABLES_MAX), "maxdbs");
	check(mdb_env_set_mapsize(replay->env, 1UL << 30), "mapsize");
	check(mdb_env_open(replay->env, directory, MDB_NOTLS, 0600), directory);
}

static void table_open(struct replay *replay, uint32_t dbi, const char *name)
{
	MDB_txn *txn;

	if (dbi >= TABLES_MAX)
		die("too many tables");
	check(mdb_txn_begin(replay->env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, name, MDB_CREATE, &replay->dbis[dbi]), name);
	check(mdb_txn_commit(txn), "commit");
	if (strcmp(name, "record") == 0)
		replay->record = dbi;
}

/* The next put, with its key and value; false at the end. */
static bool puts_next(struct replay *replay, struct put *put, MDB_val *key, MDB_val *value)
{
	if (replay->at >= replay->end)
		return false;
	memcpy(put, replay->at, sizeof(*put));
	*key = (MDB_val) { put->key_len, (char *)replay->at + sizeof(*put) };
	*value = (MDB_val) { put->value_len, (char *)key->mv_data + put->key_len };
	replay->at = (char *)value->mv_data + put->value_len;
	return true;
}

/* The next transaction; tells whether it writes a record. */
static bool transaction(struct replay *replay)
{
	bool writes_record = false;
	MDB_txn *txn = NULL;
	MDB_val key, value;
	struct put put;

	while (puts_next(replay, &put, &key, &value) && put.kind != PUT_COMMIT) {
		if (put.kind == PUT_TABLE) {
			table_open(replay, put.dbi, key.mv_data);
			continue;
		}
		if (!txn)
			check(mdb_txn_begin(replay->env, NULL, 0, &txn), "begin");
		if (put.kind == PUT_DELETE) {
			int rc = mdb_del(txn, replay->dbis[put.dbi], &key, NULL);

			check(rc == MDB_NOTFOUND ? 0 : rc, "delete");
			continue;
		}
		writes_record = writes_record || put.dbi == replay->record;
		check(mdb_put(txn, replay->dbis[put.dbi], &key, &value, put.flags), "put");
	}
	if (txn)
		check(mdb_txn_commit(txn), "commit");
	return writes_record;
}

/* The next @count of them, and what they cost. */
static void turn(struct replay *replay, size_t count)
{
	int64_t wall_ns = clock_ns(CLOCK_MONOTONIC), cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	struct latencies latencies;

	latencies_init(&latencies, count);
	for (size_t i = 0; i < count; i++) {
		int64_t begun_ns = clock_ns(CLOCK_MONOTONIC);

		if (replay->at >= replay->end)
			die("the recording is too short");
		if (transaction(replay))
			latencies_add(&latencies, clock_ns(CLOCK_MONOTONIC) - begun_ns);
	}
	cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
	figures_print(clock_ns(CLOCK_MONOTONIC) - wall_ns, cpu_ns, &latencies);
	free(latencies.ns);
}

int main(int argc, char **argv)
{
	struct replay replay = { 0 };
	char count[32];

	if (argc != 3)
		return 2;
	store_open(&replay, argv[1]);
	puts_open(&replay, argv[2]);
	while (fgets(count, sizeof(count), stdin))
		turn(&replay, strtoul(count, NULL, 10));
	return 0;
}
