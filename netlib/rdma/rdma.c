/* SPDX-License-Identifier: Apache-2.0 */
#include "rdma/rdma.h"

#include <errno.h>

#include <linux/netlink.h>

int rdma_open(struct wire **ret_wire, struct err *err)
{
	int r = wire_open(NETLINK_RDMA, ret_wire, err);

	if (r != -EPROTONOSUPPORT)
		return r;
	*ret_wire = NULL;
	return 0;
}
