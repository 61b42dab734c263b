/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon's file would do to the pools, before it is taken. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/ledger.h"

/*
 * @file: the whole configuration. *@ret_json, a new reference, is
 * { "verdict": "unchanged" | "taken" | "refused", "error"?, "details"?, "changes": [ … ], "more"? }
 * with each pool and rail that is added, removed or changed; "more" of them did not fit into
 * @max bytes. Nothing is changed. An error: memory or the store.
 */
int preview_file(struct ledger *ledger, json_t *file, size_t max, json_t **ret_json,
		 struct err *err);
