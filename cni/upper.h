/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands upon a device: a pod can put VLANs, macvlans and the like upon its own, in its
 * namespace and in others, and the move takes none of them away.
 *
 * Both delete what they find, and return whether there was any: then @link may have changed. Both
 * set site->used_above. What fails is logged, and no error: whoever gets the device next is
 * protected by what is told of it.
 */
#pragma once

#include <stdbool.h>

#include "cni/site.h"
#include "rt/link.h"

/* @link is in the pod, and about to leave: an upper lets go best of one that is still up. */
bool upper_clear_in_pod(struct site *site, const struct link_info *link);

/*
 * @link has come home. Deletes what was made upon it while it left, and what stands in the host;
 * then sets site->claimed.
 */
bool upper_clear_in_host(struct site *site, const struct link_info *link);
