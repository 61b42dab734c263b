/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sysfs knows of PCI functions, auxiliary devices, their netdevs and RDMA devices, all below a
 * root fd ("/sys", or a fake tree in tests). Only sysfs_rebind() writes.
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

/* The devices of /bus/auxiliary/devices/<name> and the PCI function behind it. */
struct aux_device {
	char name[SYSFS_NAME_MAX];
	char netdev[IFNAME_MAX + 1];
	char rdma[SYSFS_NAME_MAX]; /* as in pci_function */
	int rdma_count;
	struct pci_addr pci;
};
int sysfs_aux_device(int root_fd, const char *name, struct aux_device *ret_device, struct err *err);

/*
 * What the RDMA device of /bus/<bus>/devices/<name>, where @bus is "pci" or "auxiliary", is called
 * now, in whatever namespace it is: its character device tells, which sysfs shows in all. Without
 * one, the first that is visible in the namespace of @root_fd. "": none, or it is being moved. It
 * may be any bytes. No such device on the bus: -ENODEV with ERR_DEVICE.
 */
int sysfs_rdma_name(int root_fd, const char *bus, const char *name, char ret_rdma[SYSFS_NAME_MAX],
		    struct err *err);

/*
 * Has this device (as above) an RDMA device, in whatever namespace, also while that is being moved?
 * The directory "infiniband" is there for as long, though it shows only those of this namespace.
 */
bool sysfs_has_rdma(int root_fd, const char *bus, const char *name);

/*
 * Which device an RDMA device of this name hangs from, in whatever namespace it is: its name on the
 * bus; "" if from none (soft-RoCE). false: no RDMA device with a character device is called so.
 */
bool sysfs_rdma_holder(int root_fd, const char *rdma, char ret_device[SYSFS_NAME_MAX]);

/* Opens the root: "/sys", or what the test hook says. The caller owns *@ret_fd. */
int sysfs_open(int *ret_fd, struct err *err);

/*
 * A sysfs of the calling thread's network namespace, mounted nowhere (fsopen(2), fsmount(2), Linux
 * 5.2): what "/sys" shows below net and infiniband is fixed by the namespace it was mounted from.
 * It cannot be written to. The caller owns *@ret_fd; the mount ends with it.
 */
int sysfs_mount(int *ret_fd, struct err *err);

/*
 * For a daemon, at its start: as sysfs_mount(), so that the netdevs below class/net are those of
 * its own network namespace whatever is mounted on /sys; as sysfs_open() where that may not be.
 */
int sysfs_open_own(int *ret_fd, struct err *err);

/*
 * Has the netdev an upper device (bond, bridge, VLAN, macvlan, ipvlan …)? The first of them by
 * name; "" = none. The kernel shows those in the namespace of the netdev only.
 */
bool sysfs_upper(int root_fd, const char *netdev, char ret_upper[IFNAME_MAX + 1]);

/*
 * The number of a netdev's directory (kernfs_node.id, fs/kernfs/dir.c): given when the device is
 * registered, kept through renames and moves to other namespaces, never given twice in a boot, and
 * not to be chosen. So it tells a device from another that looks the same. 0: it is not here.
 */
uint64_t sysfs_netdev_inode(int root_fd, const char *netdev);
/* The netdev with this number, whatever it is called; @likely is looked at first. 1 found, 0 not
 * here, or -errno. */
int sysfs_find_netdev(int root_fd, uint64_t inode, const char *likely,
		      char ret_netdev[IFNAME_MAX + 1], struct err *err);

/*
 * Is the driver one that hands the function to user space (vfio-pci and its variants as
 * mlx5_vfio_pci, uio_pci_generic, igb_uio)?
 */
bool sysfs_driver_is_userspace(const char *driver);

/*
 * Each PF that has VFs (sriov_numvfs > 0), in the order of their addresses. @each returns 0 to go
 * on, >0 to stop well: returns 1.
 */
int sysfs_list_pfs(int root_fd, int (*each)(const struct pci_addr *pf, void *arg), void *arg,
		   struct err *err);
/* Each VF of @pf, in the order of their numbers. @each as above. No such PF: -ENODEV. */
int sysfs_list_vfs(int root_fd, const struct pci_addr *pf,
		   int (*each)(int vf, const struct pci_addr *addr, void *arg), void *arg,
		   struct err *err);

/*
 * Takes the driver away from a function and lets the bus find it again (drivers_probe, so that
 * driver_override holds). Returns when the new probe has. Its devices come with it or soon after.
 * -ENODEV: there is no such function, or no driver took it.
 */
int sysfs_rebind(int root_fd, const struct pci_addr *addr, struct err *err);

/*
 * Is a VF to be probed without being told which driver to take? Not if its PF's
 * sriov_drivers_autoprobe is 0, or its driver_override names a driver of user space.
 */
bool sysfs_may_probe(int root_fd, const struct pci_addr *vf);

/*
 * Is port 1 of the RDMA device up (/class/infiniband/<name>/ports/1/state)? The device must be
 * visible in the namespace of @root_fd: -ENODEV with ERR_DEVICE.
 */
int sysfs_rdma_port_active(int root_fd, const char *rdma, bool *ret_active, struct err *err);
/*
 * The index of the RoCE v2 GID of @ip on @netdev ("": whichever); -1 if there is none (yet).
 * Devices on top of ours may have the same address, and their GIDs stand in the same table.
 */
int sysfs_rdma_gid_index(int root_fd, const char *rdma, const struct ip *ip, const char *netdev,
			 int *ret_index, struct err *err);
/* "uverbs3", by the file ibdev of those below the device's function, or of the class. "": none. */
int sysfs_rdma_uverbs(int root_fd, const char *rdma, char ret_uverbs[SYSFS_NAME_MAX],
		      struct err *err);
