/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof that a store says one thing: each table agrees with each other, and nothing has two
 * owners. It reads what the ledger has written by its own understanding of the tables
 * (docs/architecture.md, "LMDB"), not by the code that wrote them.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/store.h"

enum { AUDIT_FINDINGS_MAX = 64 };

struct audit {
	uint64_t records, held, draining, resting, claimed, claims, guids, identities, events;
	uint64_t found;                     /* all findings… */
	char *findings[AUDIT_FINDINGS_MAX]; /* …and the first of them, a sentence each */
	uint64_t noted; /* no fault of the store, but to be known: who has something for nothing */
	char *notes[AUDIT_FINDINGS_MAX];
};

/*
 * Inside a transaction of @store, of either mode. 0 also if there are findings; a damaged value is
 * one, and ends the look. *@ret_audit is the caller's to free, on success. -ECANCELED as soon as
 * *@cancel is true (NULL: never). Some 30 bytes of memory a held address.
 */
int audit_store(struct store *store, const atomic_bool *cancel, struct audit *ret_audit,
		struct err *err);
void audit_free(struct audit *audit);

/* {"ok", "found", "findings": […], "notes": […], "counts": {…}}; NULL: out of memory. */
json_t *audit_encode(const struct audit *audit);
