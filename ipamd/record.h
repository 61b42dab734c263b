/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attachments in the store, under a growing id, and the entries that lead to them: by key, device,
 * pod, identity and namespace. Called inside a transaction. Not found is -ENOENT, and sets no @err.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "ipamd/ledger.h"
#include "ipamd/proto/proto.h"
#include "ipamd/sticky.h"
#include "ipamd/store.h"

/* Keys of the tables by_key, by_device and by_pod. */
struct store_key record_by_key(const struct attachment_key *attachment);
struct store_key record_by_device(const char *device);
struct store_key record_by_pod(const char *uid, const struct attachment_key *attachment);

/* What by_key tells of a record without a look at it. pool is "" if it holds no index. */
struct record_ref {
	uint64_t id;
	char pool[PROTO_POOL_MAX + 1], rail[PROTO_POOL_MAX + 1];
	uint32_t index;
};
/*
 * The first record of a container whose entry is not below *@key; moves *@key past it. Begin with
 * an empty key.
 */
bool record_next_of(struct store *store, const char *container_id, struct store_key *key,
		    struct record_ref *ret_ref);

/* The id that an entry leads to; 0 if there is none. */
uint64_t record_id(struct store *store, enum store_table table, const struct store_key *key);

/* A head has no env and no netconf: a third of the work. */
enum record_part { RECORD_HEAD, RECORD_WHOLE };

/* The head. */
int record_get(struct store *store, uint64_t id, struct attachment *ret_a, struct err *err);
int record_find(struct store *store, enum store_table table, const struct store_key *key,
		enum record_part part, struct attachment *ret_a, struct err *err);
/* As record_find(), but the JSON text as it stands; the caller frees it. */
int record_text(struct store *store, enum store_table table, const struct store_key *key,
		char **ret_text, struct err *err);
/* Moves *@key to the first device not below it that has a record, or is claimed (id 0). */
bool record_seek_device(struct store *store, struct store_key *key, uint64_t *ret_id);
int record_next(struct store *store, uint64_t after, enum record_part part,
		struct attachment *ret_a, struct err *err);
/* The head of the next record of a pod that its UID leads to: a cursor as above. -ENOENT: none. */
int record_next_of_pod(struct store *store, const char *uid, struct store_key *key,
		       struct attachment *ret_a, struct err *err);
/* The head of the next record that holds an index under an identity: likewise. */
int record_next_of_identity(struct store *store, const struct identity *identity,
			    struct store_key *key, struct attachment *ret_a, struct err *err);
/* The whole of a record, from its text. */
int record_decode(const struct store_view *value, struct attachment *ret_a, struct err *err);
/* Does the text of a record end with what was asked for, as all do since schema 3? */
bool record_has_form(const struct store_view *value);
/* What by_netns tells of the record after *@brief, in the order of namespaces and ids. */
bool record_next_brief(struct store *store, struct ledger_brief *brief);

/*
 * Writing: -ENOMEM leaves everything as it was, errors of the store stick. record_add() wants an id
 * above all others. record_put() changes a head and its state; what leads to it stays, but for the
 * index that it may have given up. record_rewrite() writes a record, and all that leads to it,
 * anew.
 */
int record_add(struct store *store, const struct attachment *a, struct err *err);
int record_put(struct store *store, const struct attachment *a, struct err *err);
int record_rewrite(struct store *store, const struct attachment *a, struct err *err);
/* Does it lead from an identity to its index? Older daemons took a namespace of any length: of one
 * that no key has room for nothing is remembered. */
bool record_has_identity(const struct attachment *a);
/* Puts its entry of by_identity, if it has one: what a store before schema 5 lacks. */
void record_index_identity(struct store *store, const struct attachment *a);
void record_delete(struct store *store, const struct attachment *a);
