/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sysfs knows of PCI functions, auxiliary devices and their netdevs, all below a root fd
 * ("/sys", or a fake tree in tests). Reads only.
 * Sources: Documentation/ABI/testing/sysfs-bus-pci (physfn, virtfnN, sriov_numvfs),
 * drivers/base/auxiliary.c (/sys/bus/auxiliary/devices).
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"

enum { SYSFS_NAME_MAX = 64 };

struct pci_function {
	struct pci_addr addr;
	bool is_vf;
	struct pci_addr pf_addr;        /* if is_vf */
	int vf_index;                   /* if is_vf: N of the PF's virtfnN */
	char pf_netdev[IFNAME_MAX + 1]; /* "" = the PF has none here */
	char driver[SYSFS_NAME_MAX];    /* "" = none bound */
	char netdev[IFNAME_MAX + 1];    /* "" = none (vfio-pci, or it is in a pod) */
	char rdma[SYSFS_NAME_MAX];      /* "" = none; the first one by name */
	int rdma_count;
	int numa_node; /* -1 = unknown */
};

/*
 * Looks up /bus/pci/devices/<addr>. No such function: -ENODEV with ERR_DEVICE. More than one
 * netdev on the function itself: -ENOTUNIQ with their names.
 */
int sysfs_pci_function(int root_fd, const struct pci_addr *addr, struct pci_function *ret_function,
		       struct err *err);

/* The netdev of /bus/auxiliary/devices/<name> and the PCI function behind it. */
struct aux_device {
	char name[SYSFS_NAME_MAX];
	char netdev[IFNAME_MAX + 1];
	struct pci_addr pci;
};
int sysfs_aux_device(int root_fd, const char *name, struct aux_device *ret_device, struct err *err);

/* Opens the root: "/sys", or what the test hook says. The caller owns *@ret_fd. */
int sysfs_open(int *ret_fd, struct err *err);
