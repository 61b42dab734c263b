/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one value that every change of the ledger writes anew (meta "clock"): what time it is, which
 * boot, which id is next, and how many records there are of which state. Inside a transaction of
 * the store; errors stick there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

enum { ERA_BOOT_ID_MAX = 64 };

struct era {
	uint64_t ledger_ms; /* ledger time, when… */
	uint64_t boot_ms;   /* …BOOTTIME was this */
	uint64_t next_id;   /* of a record or claim */
	uint64_t first_id;  /* of this boot: what is below counts as gone */
	/* The records of this boot, by enum attachment_state. */
	uint64_t counts[ATTACHMENT_STATES];
};

/*
 * As of @boot_id. On another boot than the stored one none of its records is of this boot, and the
 * BOOTTIME is not known (*@ret_same_boot).
 */
struct era era_get(struct store *store, const char *boot_id, bool *ret_same_boot);
void era_put(struct store *store, const char *boot_id, const struct era *era);
