/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which VFs are to be bound to their driver anew before they are given out again, and which ones
 * have come out of that with another RDMA character device: the table rebind, inside a transaction
 * of the store. Errors of the store stick in the store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

enum { REBIND_NAME_MAX = 64 };

struct rebind {
	uint64_t id; /* of the record whose release asked for it last: of which boot it is */
	bool is_due;
	char netdev[IFNAME_MAX + 1]; /* the names that the VF had, and is to have again */
	char rdma[REBIND_NAME_MAX];
	/* Its character device: promised to device plugins, and as it is; "" = none is known. */
	char promised[REBIND_NAME_MAX], uverbs[REBIND_NAME_MAX];
};

/* False: there is none, or it is malformed, which sticks. */
bool rebind_get(struct store *store, const char *device_key, struct rebind *ret_rebind);
/* One that says nothing any more (not due, nor renumbered) is deleted. */
void rebind_put(struct store *store, const char *device_key, const struct rebind *rebind);
void rebind_delete(struct store *store, const char *device_key);
/* The first with a device key >= *@key, which is left on it; false: there is none. */
bool rebind_next(struct store *store, struct store_key *key, char device_key[PROTO_DEVICE_MAX],
		 struct rebind *ret_rebind);
bool rebind_decode(const struct store_view *value, struct rebind *ret_rebind);

/* It has another character device than device plugins were told of. */
bool rebind_is_renumbered(const struct rebind *rebind);
