/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger holds, counted: for the metrics page. To count takes a look at every index that
 * rests and every GUID, so it is done in the thread pool, on a snapshot.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ipamd/ledger.h"

struct rail_figures {
	char pool[PROTO_POOL_MAX + 1], rail[PROTO_POOL_MAX + 1];
	struct rail_usage usage;
	uint64_t guid_base, guids, guids_assigned; /* of its block */
};

struct figures {
	struct rail_figures *rails;
	size_t rail_count;
};

/* All rails of the pools of @ledger, in their order, then those that have left them and drain.
 * figures_free() what it gives. */
int figures_count(struct ledger *ledger, struct figures *ret_figures, struct err *err);
void figures_free(struct figures *figures); /* empties it */
