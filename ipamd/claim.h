/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod has claimed and not bound yet: on each rail an index, and perhaps a VF. The table
 * claim, and the entries of by_device that keep such a VF away from others. Called inside a
 * transaction; errors of the store stick in the store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

struct claim_rail {
	struct rail_ref rail;          /* name and index */
	int64_t since_ms;              /* ledger time: that it rests from, if nobody binds it */
	char device[PROTO_DEVICE_MAX]; /* "" = none */
};

struct claim {
	uint64_t id;       /* of the same sequence as records */
	int64_t expiry_ms; /* ledger time */
	struct claim_rail rails[PROTO_RAILS_MAX];
	size_t count; /* 0: there is no claim */
};

/* Can this container claim of that pool? Not if their names are too long for a key. */
bool claim_is_possible(const char *container_id, const char *pool);
/* Without a claim *@ret_claim has none of the rails. */
bool claim_get(struct store *store, const char *container_id, const char *pool,
	       struct claim *ret_claim);
/* Without rails it goes. */
void claim_put(struct store *store, const char *container_id, const char *pool,
	       const struct claim *claim);
/* The value of the table; false: it is malformed. */
bool claim_decode(const struct store_view *value, struct claim *ret_claim);
/* The place on a rail, or -1. */
int claim_find(const struct claim *claim, const char *rail);
void claim_remove(struct claim *claim, int place);

/* A VF is the claim's, or nobody's again. */
void claim_take_device(struct store *store, const char *container_id, const char *pool,
		       const char *device_key);
void claim_free_device(struct store *store, const char *device_key);

/* Whose claim a device is of; false: of none. */
struct claim_name {
	char container_id[PROTO_KEY_MAX + 1], pool[PROTO_POOL_MAX + 1];
};
bool claim_of_device(struct store *store, const char *device_key, struct claim_name *ret_name);
/* The first claim whose key is not below *@key; moves *@key past it. Begin with an empty key. */
bool claim_next(struct store *store, struct store_key *key, struct claim_name *ret_name,
		struct claim *ret_claim);
