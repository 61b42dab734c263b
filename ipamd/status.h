/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says of itself: for STATUS, spurctl and the metrics page. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

struct daemon;

/* Records by enum attachment_state, counted in the ledger. */
struct status_counts {
	uint64_t unfinished, attached, dirty;
};
int status_count(struct daemon *d, struct status_counts *ret_counts, struct err *err);

/* Results of node.status and pool.list (@pool NULL: all); new references. */
int status_node(struct daemon *d, json_t **ret_json, struct err *err);
int status_pools(struct daemon *d, const char *pool, json_t **ret_json, struct err *err);

/* The alarm: too many attachments looked dead at once. */
bool status_mass_death(const struct daemon *d);
