/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VF is taken from its driver and given to it anew: what stood on its netdev, in whatever
 * namespace, ends; netdev and RDMA device are others afterwards, found by the PCI address.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "host/sysfs.h"
#include "rt/link.h"
#include "wire/wire.h"

enum { REBIND_POLL_MS = 5 /* devices come back within 20 ms to some seconds */ };

/* Made with the first four; rebind_look() reads the rest. */
struct rebind {
	struct wire *host;
	int sysfs_fd; /* both of the host's namespace, and so must the devices be */
	const struct pci_addr *vf;
	uint64_t guid;                /* that its netdev is to have afterwards; 0: any */
	bool is_free;                 /* no record owns it */
	struct pci_function function; /* as last seen */
	struct link_info link;        /* of its netdev; ifindex 0: it has none here */
};

/* Refused with ERR_DEVICE: no VF, or one whose PF has no netdev here. */
int rebind_look(struct rebind *rebind, struct err *err);

bool rebind_has_guid(const struct rebind *rebind);

/*
 * 1: it may be done. 0: there is nothing to be done: a driver of user space (a guest reads a GUID
 * itself, and nothing can stand on what has no netdev), or none and the host is set up to leave it
 * so (sysfs_may_probe()). -EBUSY with ERR_DEVICE: its netdev is not here, so it may be in a pod; or
 * it is free and the host uses it itself (a master, an upper device, a global address).
 */
int rebind_may(const struct rebind *rebind, struct err *err);

/*
 * Returns when the netdev and the RDMA device that it had (or @has_rdma) are back: until
 * @deadline_ms (CLOCK_BOOTTIME), else -ETIMEDOUT with ERR_AGAIN. Of one without a driver it is no
 * failure that none takes it.
 */
int rebind_run(struct rebind *rebind, bool has_rdma, int64_t deadline_ms, struct err *err);
