/* SPDX-License-Identifier: Apache-2.0 */
/* A device as it is while it is free: what the daemon keeps as its baseline. Reads only. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "ethtool/ethtool.h"
#include "ipamd/picture.h"
#include "ipamd/proto/proto.h"
#include "wire/wire.h"

struct device_view {
	struct wire *rt; /* of the host */
	struct ethtool *ethtool;
	int sysfs_fd;
	const struct picture *picture;
};

enum device_found {
	DEVICE_OBSERVED,
	DEVICE_UNREAD,    /* a VF that is not in the picture yet: *@ret_addr */
	DEVICE_PREPARING, /* its GUID or its driver is being bound */
};

/*
 * Looks up the device of @key ("net:NAME", "pci:ADDRESS", "aux:NAME"). Returns an enum device_found
 * or -errno with @err; only if it was observed the caller frees *@ret_device with baseline_free().
 *
 * Refused with ERR_DEVICE: not there, the loopback device, a PF that has VFs, a function without a
 * driver, a netdev that is elsewhere, or what device_refuse_link() says of it. With ERR_AGAIN: a VF
 * whose GUID could not be bound, unless the request brings its own (@has_guid), or whose driver
 * could not be bound anew. A VF that user space drives needs no netdev, nor does one of which only
 * the RDMA device is asked for (@rdma_only).
 */
int device_observe(const struct device_view *view, const char *key, bool rdma_only, bool has_guid,
		   struct baseline *ret_device, struct pci_addr *ret_addr, struct err *err);
