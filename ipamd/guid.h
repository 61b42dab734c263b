/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which GUID is whose: the tables by_guid and guid_of, inside a transaction of the store. A GUID
 * has one owner: a VF, by its device key, or the record that asked for it by name ("record:ID").
 * Errors of the store stick in the store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipamd/pool.h"
#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

enum { GUID_OWNER_MAX = PROTO_DEVICE_MAX };

/* The first GUID >= *@guid that has an owner. */
bool guid_next(struct store *store, uint64_t *guid, char owner[GUID_OWNER_MAX]);
/* The GUID that belongs to a VF; 0 = none. */
uint64_t guid_of(struct store *store, const char *device_key);
/* The VFs of a store before schema 3 become known by their names. */
void guid_migrate(struct store *store);

/* See ledger_guid_assign(). */
int guid_assign(struct store *store, const struct rail *rail, const char *device_key,
		uint64_t *ret_guid, struct err *err);

/*
 * May a record have @guid by name, for this device? Its own: yes. Refused: one that no port can
 * have (-EINVAL, ERR_VALUE), another's (-EEXIST, ERR_AGAIN).
 */
int guid_check(struct store *store, uint64_t guid, const char *device_key, struct err *err);
/* A record takes a GUID that guid_check() found good, and gives it up. A VF's own stays the VF's.
 */
void guid_take(struct store *store, uint64_t guid, uint64_t id);
void guid_release(struct store *store, uint64_t guid, uint64_t id);
/* An owner as a dump has it; false: the GUID has one already. */
bool guid_restore(struct store *store, uint64_t guid, const char *owner);
