/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded into spur-ipamd (LD_PRELOAD), it writes down what the daemon puts into LMDB and deletes
 * there, transaction by transaction, in the file $SPUR_PUTS: what replay.c then does alone.
 */
#include "recording.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lmdb.h>

#define EXPORTED __attribute__((visibility("default")))

static char *puts_text;
static size_t puts_len, puts_size;
static MDB_val reserved; /* of the last put: its caller fills it in before the next call */
static size_t reserved_at;
static int fd = -1;

static void *next(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function)
		abort();
	return function;
}

static void add_bytes(const void *bytes, size_t len)
{
	if (puts_len + len > puts_size) {
		puts_size = 2 * (puts_len + len);
		puts_text = realloc(puts_text, puts_size);
		if (!puts_text)
			abort();
	}
	memcpy(puts_text + puts_len, bytes, len);
	puts_len += len;
}

static void fetch_reserved(void)
{
	if (reserved.mv_data)
		memcpy(puts_text + reserved_at, reserved.mv_data, reserved.mv_size);
	reserved.mv_data = NULL;
}

static void add(char kind, MDB_dbi dbi, unsigned int flags, const MDB_val *key,
		const MDB_val *value)
{
	struct put put = { kind, dbi, flags, (uint32_t)key->mv_size,
			   value ? (uint32_t)value->mv_size : 0 };

	fetch_reserved();
	add_bytes(&put, sizeof(put));
	add_bytes(key->mv_data, key->mv_size);
	if (value)
		add_bytes(value->mv_data, value->mv_size);
}

static void end(bool stands)
{
	const MDB_val none = { 0 };

	if (stands && puts_len > 0) {
		add(PUT_COMMIT, 0, 0, &none, NULL);
		if (fd < 0)
			fd = open(getenv("SPUR_PUTS"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
				  0600);
		if (write(fd, puts_text, puts_len) != (ssize_t)puts_len)
			abort();
	}
	reserved.mv_data = NULL;
	puts_len = 0;
}

EXPORTED int mdb_dbi_open(MDB_txn *txn, const char *name, unsigned int flags, MDB_dbi *dbi)
{
	int (*real)(MDB_txn *, const char *, unsigned int, MDB_dbi *) = next("mdb_dbi_open");
	int rc = real(txn, name, flags, dbi);

	if (rc == 0 && name) {
		const MDB_val key = { strlen(name) + 1, (void *)name };

		add(PUT_TABLE, *dbi, 0, &key, NULL);
	}
	return rc;
}

EXPORTED int mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned int flags)
{
	static int (*real)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *, unsigned int);
	int rc;

	if (!real)
		real = next("mdb_put");
	fetch_reserved();
	rc = real(txn, dbi, key, value, flags);
	if (rc)
		return rc;
	add(PUT_VALUE, dbi, flags & ~(unsigned int)MDB_RESERVE, key, value);
	if (flags & MDB_RESERVE) {
		reserved = *value;
		reserved_at = puts_len - value->mv_size;
	}
	return 0;
}

EXPORTED int mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
	static int (*real)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *);

	if (!real)
		real = next("mdb_del");
	add(PUT_DELETE, dbi, 0, key, NULL);
	return real(txn, dbi, key, value);
}

EXPORTED int mdb_txn_commit(MDB_txn *txn)
{
	static int (*real)(MDB_txn *);
	int rc;

	if (!real)
		real = next("mdb_txn_commit");
	fetch_reserved();
	rc = real(txn);
	end(rc == 0);
	return rc;
}

EXPORTED void mdb_txn_abort(MDB_txn *txn)
{
	static void (*real)(MDB_txn *);

	if (!real)
		real = next("mdb_txn_abort");
	end(false);
	real(txn);
}
