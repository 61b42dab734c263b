/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says of itself: for STATUS, spurctl and the metrics page. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/picture.h"

struct daemon;

/* Result of node.status, a new reference. */
int status_node(struct daemon *d, json_t **ret_json, struct err *err);
/*
 * Result of pool.list (@pool NULL: all), a new reference: the pools from number @after on (0 at
 * first), so many as fit into about @max bytes, and the number to go on with; 0 = that was all.
 */
int status_pools(struct daemon *d, const char *pool, size_t after, size_t max, json_t **ret_json,
		 struct err *err);

/*
 * Result of device.list: the VFs of all PFs from number @after on (0 at first), at most @limit, and
 * in "next" where the next page begins, 0 = this was the last.
 */
int status_devices(struct daemon *d, size_t after, size_t limit, json_t **ret_json,
		   struct err *err);
const char *status_vf_use(enum vf_use use); /* "free", "held", … */
/* How many VFs have another RDMA character device than device plugins were told of. */
int status_renumbered(const struct daemon *d);
/* The rail of a PF, "" = none names it. */
const char *status_rail_of(struct daemon *d, const struct pf_entry *pf);

/* Why no ADD could be served now, or "". unwell: only a restart would mend it, or "". */
enum { STATUS_WHY_MAX = 256 };
const char *status_unready(const struct daemon *d, char buf[STATUS_WHY_MAX]);
const char *status_unwell(const struct daemon *d, char buf[STATUS_WHY_MAX]);

/* The alarm: too many attachments looked dead at once. */
bool status_mass_death(const struct daemon *d);
