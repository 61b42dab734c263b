/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an ADD that nobody has seen: the daemon was restarted meanwhile. Whoever looks at the
 * attachment next (a CHECK, a repeated ADD, the daemon by a CHECK of its own) says `done` for it,
 * if the device is in the pod. What then differs from what ADD does is drift, as in any attachment.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cni/recorded.h"
#include "cni/site.h"
#include "ipamd/client/client.h"

/* Has it got to be settled? */
bool settle_is_due(const struct attachment *record);

/*
 * Finds the device in the pod and tells the daemon, which has written it when this returns. @site
 * stands in the pod, or has not found it. An attachment without a netdev needs no more than a
 * namespace that lives, one of spur-ipam not even that (@site NULL). Writes record->facts.
 * Not there: ERR_DRIFT, and nothing has changed.
 */
int settle(struct client *client, const struct recorded *recorded, struct site *site,
	   struct attachment *record, struct err *err);
