/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RDMA devices through NETLINK_RDMA (drivers/infiniband/core/nldev.c; rdma/rdma_netlink.h). A
 * socket sees what the namespace that it was opened in sees.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/settings.h"
#include "wire/wire.h"

enum { RDMA_NAME_MAX = 63 /* IB_DEVICE_NAME_MAX - 1 */, RDMA_CHARDEV_MAX = 63 };

enum rdma_mode {
	RDMA_ABSENT,    /* this kernel has no RDMA */
	RDMA_SHARED,    /* every namespace sees every device; none can be moved */
	RDMA_EXCLUSIVE, /* ib_core netns_mode=0 */
};

struct rdma_device {
	uint32_t index;
	char name[RDMA_NAME_MAX + 1];
	uint64_t node_guid;
	enum rdma_moderation moderation;
};

/*
 * *@ret_wire is NULL, with success, where the kernel has no RDMA (EPROTONOSUPPORT). Where it has
 * and has not loaded it, this loads ib_core (net-pf-16-proto-20).
 */
int rdma_open(struct wire **ret_wire, struct err *err);

/* Of the whole node; it can be changed only while no other namespace exists. @wire NULL: absent. */
int rdma_mode(struct wire *wire, enum rdma_mode *ret_mode, struct err *err);

/*
 * Calls @each for every device of this namespace; for one again where the list changed meanwhile.
 * @wire NULL: there are none.
 */
int rdma_list(struct wire *wire, void (*each)(const struct rdma_device *device, void *arg),
	      void *arg, struct err *err);

/*
 * By its index, which it keeps for life, through moves and renames; no other device gets it again.
 * No such device in this namespace, or no RDMA (@wire NULL): -ENODEV with ERR_DEVICE. A device that
 * is being moved is in none.
 */
int rdma_get(struct wire *wire, uint32_t index, struct rdma_device *ret_device, struct err *err);

/* By its name, which whoever has CAP_NET_ADMIN in its namespace may change. -ENODEV: likewise. */
int rdma_find(struct wire *wire, const char *name, struct rdma_device *ret_device, struct err *err);

/*
 * "uverbs3": what user space opens. -ENODEV where the device has none; -EINVAL, here and below: no
 * device in this namespace has the index.
 */
int rdma_chardev(struct wire *wire, uint32_t index, char ret_name[RDMA_CHARDEV_MAX + 1],
		 struct err *err);

/*
 * Has its port 1 a netdev in this namespace? The kernel names none that is elsewhere
 * (fill_port_info()).
 */
int rdma_has_netdev(struct wire *wire, uint32_t index, bool *ret_has, struct err *err);

/* The kernel takes it of every device, but asks for CAP_NET_ADMIN of the first user namespace. */
int rdma_set_moderation(struct wire *wire, uint32_t index, enum rdma_moderation moderation,
			struct err *err);

/* Names are unique in the node, whatever the namespace: -EEXIST. */
int rdma_rename(struct wire *wire, uint32_t index, const char *name, struct err *err);

/*
 * Into the namespace behind @netns_fd. The caller has to stand in the device's present namespace,
 * with a socket opened there. -EOPNOTSUPP: shared mode, or a driver that cannot give up its users
 * (no disassociate_ucontext). It can block in the kernel for as long as a user holds on, past every
 * deadline of the socket: let a child do it that can be given up.
 */
int rdma_move(struct wire *wire, uint32_t index, int netns_fd, struct err *err);
