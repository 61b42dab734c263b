/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a name of an RDMA device is. Names are unique in the node, in whatever namespace, and who
 * has NET_ADMIN in a pod may give its device any: also one that another pod's device comes home to,
 * or that another network asks for.
 */
#pragma once

#include "base/err.h"
#include "cni/site.h"
#include "rdma/rdma.h"

/* A name that no device has, and no pod foresees, with @of in it: where its own is another's. */
void rdma_name_spare(const char *of, char ret_name[RDMA_NAME_MAX + 1]);

/*
 * Of the device that has the name @name by now. 0: it has it no more, for only its pod had given it
 * that, and it was renamed to its own; or a soft one that a pod had made was renamed to a spare
 * one. -EEXIST: it is its own name, or that of its network; @err stays. -EAGAIN with ERR_AGAIN: a
 * pod's, and it cannot be reached; it may let go of it.
 */
int rdma_name_reclaim(struct site *site, const char *name, struct err *err);
