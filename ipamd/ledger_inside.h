/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the ledger share, and nobody else sees. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/era.h"
#include "ipamd/ledger.h"
#include "ipamd/record.h"
#include "ipamd/store.h"

struct ledger {
	struct store *store;
	char *boot_id;
	struct pool_set pools;
	int64_t clock_offset_ms;          /* ledger time - BOOTTIME */
	int64_t clock_offset_then_ms;     /* as the last batch left it; likewise below */
	struct era era, stored;           /* of this batch, and as the last one left it */
	uint64_t rebooted, rebooted_then; /* records dropped: likewise */
	const struct ledger_vfs *vfs;
	int64_t claim_due_ms; /* ledger time: no claim ends before it */
};

int64_t ledger_now_ms(const struct ledger *ledger); /* ledger time */
/* Is this the id of a record, or claim, of an earlier boot? */
bool ledger_is_rebooted(const struct ledger *ledger, uint64_t id);

/* A read outside a batch has a transaction of its own, which ledger_read_end() ends. */
int ledger_read_begin(struct ledger *ledger, bool *ret_own, struct err *err);
void ledger_read_end(struct ledger *ledger, bool own);

/* As ledger_find(), by an entry of another table. */
int ledger_lookup(struct ledger *ledger, enum store_table table, const struct store_key *key,
		  enum record_part part, struct attachment *ret_a, struct err *err);

/* The id of the record of this boot that an entry leads to; 0 if there is none. Inside a batch. */
uint64_t ledger_owner(struct ledger *ledger, enum store_table table, const struct store_key *key);

/*
 * Inside a batch. drop: a record of an earlier boot, of whose pods nothing is left, and whose
 * devices are as the kernel has made them. store_pools: see ledger_set_pools().
 */
void ledger_drop(struct ledger *ledger, const struct attachment *a);
int ledger_store_pools(struct ledger *ledger, const struct pool_set *set, struct err *err);

/* Inside a batch: by this release its VF may have to be bound to its driver anew. */
void ledger_note_rebind(struct ledger *ledger, const struct attachment *a,
			const struct release *how);

/* Claims: they end with the last attachment of their container on its pool, and with its boot. */
void ledger_end_claim_if_last(struct ledger *ledger, const struct attachment *gone);
void ledger_drop_claim(struct ledger *ledger, const char *container_id, const char *pool);
