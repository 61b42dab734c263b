/* SPDX-License-Identifier: Apache-2.0 */
/* What a restart of the daemon would change, or why it would fail: what was edited in its file. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/config.h"

struct daemon;

/*
 * The keys that @file has otherwise than the daemon runs with, and that only a restart takes: a new
 * array of { "key", "old", "new", "why"? }. "why": a start would be refused, for there is no ledger
 * in the new "state". NULL: out of memory.
 */
json_t *restart_changes(const struct daemon *d, const struct config *file);

/*
 * The same of the file as it lies there now: { "changes": [ … ], "error"? }, a new reference.
 * "error": no daemon would start with it. The file is read when it has changed.
 */
struct restart;
int restart_open(struct daemon *d, struct restart **ret_restart, struct err *err);
void restart_free(struct restart *restart); /* NULL is fine */
json_t *restart_look(struct restart *restart);
