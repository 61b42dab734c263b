/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GUID of an InfiniBand VF. The driver reads it when it probes the VF: a VF that has a driver
 * must be bound to it anew, and its netdev and RDMA device are others afterwards.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "cni/rebind.h"
#include "wire/wire.h"

/*
 * Sets node and port GUID of the VF at @vf through its PF, and has the driver probe it again if its
 * IPoIB netdev does not have that GUID yet. Returns when the netdev and the RDMA device that it
 * had are back, found by the PCI address: until @deadline_ms (CLOCK_BOOTTIME), else -ETIMEDOUT with
 * ERR_AGAIN. @guid 0 is what a fresh VF has: nothing can be verified then. @host and @sysfs_fd
 * are of the host's namespace, and so must both devices be.
 */
int guid_bind(struct wire *host, int sysfs_fd, const struct pci_addr *vf, uint64_t guid,
	      int64_t deadline_ms, struct err *err);
/*
 * The same for a VF that no record owns. What the host uses itself (a master, a global address)
 * keeps its driver: -EBUSY. One without a driver is probed for it, unless the host is set up to
 * leave it so (sysfs_may_probe()); that none takes it is no failure.
 */
int guid_bind_free(struct wire *host, int sysfs_fd, const struct pci_addr *vf, uint64_t guid,
		   int64_t deadline_ms, struct err *err);

/* Through the PF alone: node and port GUID of the VF that rebind_look() has found. */
int guid_set(const struct rebind *rebind, struct err *err);
