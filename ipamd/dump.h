/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger as lines of JSON, one object a line: a head, then records, resting indexes, owners of
 * GUIDs, claims, identities and events, and an end that counts the lines and sums them up, so that
 * a cut or changed file is noticed. What follows from these (the indexes, the counters) is not in
 * it (docs/operations.md, "Backup").
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "ipamd/era.h"
#include "ipamd/store.h"

struct dump;

/* @store: inside a transaction that stays open until dump_free(). Texts are copied. */
int dump_new(struct store *store, const char *node, const char *boot_id, struct dump **ret_dump,
	     struct err *err);
void dump_free(struct dump *dump); /* NULL is fine */
/* The next line, with its newline, for the caller to free; -ENOENT behind the last. */
int dump_next(struct dump *dump, char **ret_line, struct err *err);

/* What a dump said of the ledger that it was made of, and what came of it. */
struct dump_report {
	uint64_t lines, records, events;
	uint64_t rebooted; /* of the records: of another boot than @boot_id */
	uint64_t clock_ms, next_id;
};

/*
 * Reads a whole dump into @store, inside a write transaction; everything but the clock and the
 * pools is replaced. *@era is brought up to date, for the caller to write. On failure (ERR_VALUE,
 * ERR_JSON, with the line) the transaction is to be aborted. Whether it all fits together is for
 * audit_store() to say.
 */
int dump_load(struct store *store, FILE *file, const char *boot_id, struct era *era,
	      struct dump_report *ret_report, struct err *err);
