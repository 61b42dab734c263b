/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts that a plan depends on beside the record: which names are taken in the pod, and whether
 * RDMA devices can be moved. Few gets, no dump. What plan.c knows of the kernel, it knows from
 * here.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "rdma/rdma.h"

struct site;

struct view {
	bool ifname_taken;         /* CNI_IFNAME is a name or altname there */
	const char *altname_taken; /* the first of the device's altnames that is; NULL: none */
	bool infiniband;           /* in a chain: the netdev that is in the pod is IPoIB */
	enum rdma_mode rdma_mode;  /* RDMA_ABSENT if the plan has no use for it */
};

int view_read(struct site *site, struct view *ret_view, struct err *err);
