/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: tables of bytes in LMDB, one transaction at a time, one thread a handle. Knows nothing
 * of what the bytes mean (docs/architecture.md, "LMDB", says what the ledger keeps in them).
 *
 * Calls inside a transaction return nothing that could fail: the first error sticks, later calls do
 * nothing and find nothing, and store_check() or store_commit() returns it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct store;

/* The checksum of a value covers its table's number: a new one goes to the end. */
enum store_table {
	STORE_RECORD,
	STORE_BY_KEY,
	STORE_BY_DEVICE,
	STORE_BY_POD,
	STORE_BY_NETNS,
	STORE_BY_INDEX,
	STORE_FREE_Q,
	STORE_HISTORY,
	STORE_META,
	STORE_BY_GUID,
	STORE_CLAIM,
	STORE_STICKY,
	STORE_STICKY_Q,
	STORE_GUID_OF,
	STORE_BY_LAST,
	STORE_BY_IDENTITY,
	STORE_REBIND,
	STORE_TABLES,
};

enum { STORE_SCHEMA = 5 };

const char *store_table_name(enum store_table table);

enum store_mode { STORE_READ, STORE_WRITE };

/* One more than a key of LMDB may have: a key that is too long fills it, and is refused. */
enum { STORE_KEY_SIZE = 512 };

/* A key is built part by part, so that byte order is the order of its parts. */
struct store_key {
	size_t len;
	uint8_t bytes[STORE_KEY_SIZE];
};

void store_key_text(struct store_key *key, const char *text); /* with its NUL */
void store_key_u32(struct store_key *key, uint32_t number);   /* big-endian */
void store_key_u64(struct store_key *key, uint64_t number);

void store_key_next(struct store_key *key); /* the lowest key above it, to go on from there */

/* Bytes inside the store: valid until the next change or the end of the transaction. */
struct store_view {
	const uint8_t *data;
	size_t len;
};

/* The key that was found. */
void store_key_set(struct store_key *key, const struct store_view *found);
/* The number @offset bytes into a view; the view must be that long. */
uint32_t store_view_u32(const struct store_view *view, size_t offset);
uint64_t store_view_u64(const struct store_view *view, size_t offset);
/* A text with its NUL at *@at, into @buf; moves *@at behind it. False: there is none, or no room.
 */
bool store_view_text(const struct store_view *view, size_t *at, char *buf, size_t size);

/*
 * Opens the store in directory @path, which is made (0700) if it is not there, and holds a lock on
 * it until store_close(): a second opener is refused (-EBUSY). A store of an older schema gets the
 * tables that it lacks; what is in the others is for the caller to bring up to date (migrate.h). A
 * newer schema is refused (-EPROTONOSUPPORT), and so is what is no store (-EINVAL) or a damaged one
 * (-EUCLEAN, see verify.h); refusing changes nothing. Errors are ERR_STORE.
 */
int store_open(const char *path, struct store **ret_store, struct err *err);
/*
 * A second handle on an open store, to read (STORE_READ) in one other thread while @store's own
 * goes on: it sees what was committed when its transaction began. Its transactions begin and end in
 * that thread, and it is closed before @store is. The map does not grow while it is in a
 * transaction, so none may last for long: a write that needs more is refused (-ENOSPC).
 */
int store_fork(struct store *store, struct store **ret_reader, struct err *err);
void store_close(struct store *store); /* NULL is fine */

const char *store_path(const struct store *store);
bool store_is_there(const struct store *store); /* its path leads to the file that is open */
uint32_t store_schema(const struct store *store);
/* Inside the transaction that makes it true: the store is of today's schema. */
void store_set_schema(struct store *store);

/* STORE_WRITE also gives the map room for what one batch can write. */
int store_begin(struct store *store, enum store_mode mode, struct err *err);
/*
 * Durable on success. On failure nothing of the transaction is there, and it has ended too; but
 * after an -EIO nobody knows, and no transaction begins any more: only a new start can tell.
 */
int store_commit(struct store *store, struct err *err);
void store_abort(struct store *store); /* outside a transaction: nothing */
bool store_is_open(const struct store *store,
		   enum store_mode mode); /* a transaction, of this mode */

/* Since the last STORE_WRITE began: the file system is full. What the store keeps allocated behind
 * its end is for giving back; nothing that takes more should be written. */
bool store_is_tight(const struct store *store);
uint64_t store_size(const struct store *store);   /* bytes of all its pages, likewise */
bool store_is_changed(const struct store *store); /* by this transaction */

/* 0, or the transaction's first error. */
int store_check(const struct store *store, struct err *err);
/* Fails the transaction, for a reason above the store's: what it holds makes no sense. */
void store_fail(struct store *store, enum store_table table, const char *why);

/* False: absent, or the transaction has failed. */
bool store_get(struct store *store, enum store_table table, const struct store_key *key,
	       struct store_view *ret_value);
/* The first entry whose key is not below @key, and begins with its first @prefix bytes. */
bool store_seek(struct store *store, enum store_table table, const struct store_key *key,
		size_t prefix, struct store_view *ret_key, struct store_view *ret_value);
bool store_last(struct store *store, enum store_table table, struct store_view *ret_key);
uint64_t store_count(struct store *store, enum store_table table);

void store_put(struct store *store, enum store_table table, const struct store_key *key,
	       const void *data, size_t len);
/* @key must be above all others of the table: pages fill up instead of splitting in half. */
void store_append(struct store *store, enum store_table table, const struct store_key *key,
		  const void *data, size_t len);
void store_delete(struct store *store, enum store_table table, const struct store_key *key);
