/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PFs and VFs of this node, as sysfs and the PFs' own netdevs show them: what
 * `attachment.reserve` takes a VF's baseline from, and `device.list` shows. Read in the thread
 * pool, never on the path of an ADD or DEL: at start before anything is served, after uevents and
 * link events (inventory_note), after each release of a VF; a burst of events is one reading.
 *
 * Baseline: what the PF said of the VF when it was last seen free and untouched. While a record
 * owns the VF it stays as it is; after the release it is compared with what is read then, and a
 * difference is *drift*: the baseline is kept until the VF is again as it was, or is made anew.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "base/text.h"
#include "ipamd/proto/proto.h"

struct daemon;
struct inventory;

enum { INVENTORY_DRIFT_MAX = 128, INVENTORY_QUIET_MS = 200 };

enum vf_use {
	VF_FREE,
	VF_HELD,      /* a record owns it */
	VF_USERSPACE, /* free, bound to vfio-pci or the like */
	VF_DRIVERLESS,
	VF_AWAY,      /* it has a driver, and its netdev is not here */
	VF_PREPARING, /* its GUID is being bound */
	VF_BROKEN,    /* could not be prepared: why says what happened */
};

struct inventory_vf {
	struct pci_addr addr;
	struct vf_baseline baseline;
	struct vf_state now; /* as last read */
	enum vf_use use;
	char netdev[IFNAME_MAX + 1], rdma[64], driver[64];
	int numa_node;
	bool infiniband; /* its PF's netdev is ARPHRD_INFINIBAND */
	bool touched;    /* owned since the baseline was taken, and not seen clean again */
	bool drifted;
	uint64_t guid; /* of its rail's range, that it is to carry; 0 = none */
	char why[INVENTORY_DRIFT_MAX];
};

int inventory_open(struct daemon *d, struct inventory **ret_inventory, struct err *err);
/* The first reading; before anything is served. */
int inventory_start(struct inventory *inventory, struct err *err);
void inventory_close(struct inventory *inventory); /* NULL is fine */
void inventory_free(struct inventory *inventory);

/* Something has happened (or may have): read again when it is quiet. @pf NULL: everything. */
void inventory_note(struct inventory *inventory, const struct pci_addr *pf);
/* A record has taken, or given back, this device. */
void inventory_taken(struct inventory *inventory, const char *device_key);
void inventory_released(struct inventory *inventory, const char *device_key);

/* NULL: no VF that has been read. Valid until the loop turns. */
const struct inventory_vf *inventory_find(const struct inventory *inventory,
					  const char *device_key);
/* Whoever waits for the reading under way waits for this seat. */
#define INVENTORY_SEAT "inventory"
bool inventory_is_reading(const struct inventory *inventory);

/*
 * The free VF that a pod without a device gets: of the PFs of this rail (@matches) the one with the
 * fewest VFs in use, there the lowest number. NULL: none is free.
 */
const struct inventory_vf *
inventory_choose(const struct inventory *inventory,
		 bool (*matches)(const struct inventory_vf *vf, void *arg), void *arg);
