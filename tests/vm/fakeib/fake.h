/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fakeib: drivers for the functions of QEMU's igb that behave as other NICs do, for tests.
 *
 * Bound by driver_override as "fakeib" a function is an InfiniBand one: an RDMA device, and a
 * net_device of type ARPHRD_INFINIBAND that lives and dies with it, as IPoIB's do. Bound as
 * "fakeeth" it is an Ethernet one. VFs are real, made through sriov_numvfs, and are bound as their
 * PF is. What the PF can set of a VF, and how well that goes, is a matter of files below debugfs.
 * README.md in the directory above lists the knobs.
 *
 *   pci.c   the PCI drivers, a function's life
 *   net.c   net_devices and the fabric that joins them
 *   vf.c    what a PF sets of its VFs, and debugfs
 *   rdma.c  the RDMA device
 */
#ifndef FAKE_H
#define FAKE_H

#include <linux/if_ether.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/version.h>

#define FAKE_MAX_VFS   8
#define FAKE_RDMA_DEVS 2

/* What a PF's driver is asked to do, each with a knob and a counter. */
enum fake_op {
	FAKE_MAC,
	FAKE_VLAN,
	FAKE_QINQ, /* FAKE_VLAN with 802.1ad */
	FAKE_RATE,
	FAKE_MIN_RATE, /* FAKE_RATE with a minimum */
	FAKE_SPOOFCHK,
	FAKE_TRUST,
	FAKE_LINK_STATE,
	FAKE_GUID,
	FAKE_GET_CONFIG,
	FAKE_OPS
};

/* Under RTNL. */
struct fake_knob {
	int error;            /* positive errno; 0: works */
	unsigned int times;   /* so often, then it works; 0: always */
	unsigned int late_ms; /* accepted at once, in force later */
	unsigned long calls;
};

struct fake_vf_config {
	u8 mac[ETH_ALEN];
	u16 vlan;
	u8 qos;
	__be16 proto;
	int min_rate, max_rate;
	bool spoofchk, trust;
	int link_state;
	u64 node_guid, port_guid;
};

struct fake;
struct fake_rdma;

struct fake_vf {
	struct fake *pf;
	struct fake_vf_config now, wanted; /* under RTNL; they differ while a late answer is due */
	struct delayed_work settle;
};

/* A PCI function that is bound to us. */
struct fake {
	struct list_head list; /* in fakes; under RTNL */
	struct pci_dev *pdev;
	bool ib;
	struct fake_vf *vf;       /* how its PF sees it; NULL of a PF, or if that is not ours */
	u64 node_guid, port_guid; /* since it was bound */
	struct net_device *dev;   /* under RTNL; NULL while there is none */
	struct fake_rdma *rdma[FAKE_RDMA_DEVS];
	struct delayed_work appear;
	struct fake_knob knobs[FAKE_OPS]; /* of a PF, like the rest */
	char caller[TASK_COMM_LEN];       /* whose calls are counted; "": everybody's */
	struct fake_vf vfs[FAKE_MAX_VFS];
	struct dentry *debugfs;
};

/* private part of a net_device */
struct fake_net {
	struct net_device *dev;
	struct fake *fake;
	struct list_head list; /* in the fabric; changed under RTNL, read under RCU */
};

static inline struct fake *fake_of(struct net_device *dev)
{
	return ((struct fake_net *)netdev_priv(dev))->fake;
}

/* pci.c */
extern struct list_head fakes; /* RTNL */

/* net.c */
int fake_net_add(struct fake *fake, struct net *net);
void fake_net_remove(struct fake *fake);
void fake_net_update_carrier(struct fake *fake); /* RTNL */

/* vf.c */
int fake_set_vf_mac(struct net_device *dev, int n, u8 *mac);
int fake_set_vf_vlan(struct net_device *dev, int n, u16 vlan, u8 qos, __be16 proto);
int fake_set_vf_rate(struct net_device *dev, int n, int min, int max);
int fake_set_vf_spoofchk(struct net_device *dev, int n, bool on);
int fake_set_vf_trust(struct net_device *dev, int n, bool on);
int fake_set_vf_link_state(struct net_device *dev, int n, int state);
int fake_set_vf_guid(struct net_device *dev, int n, u64 guid, int type);
int fake_get_vf_guid(struct net_device *dev, int n, struct ifla_vf_guid *node,
		     struct ifla_vf_guid *port);
int fake_get_vf_config(struct net_device *dev, int n, struct ifla_vf_info *info);
void fake_vfs_init(struct fake *pf);
void fake_vfs_reset(struct fake *pf);
void fake_vfs_exit(struct fake *pf);
void fake_debugfs_init(void);
void fake_debugfs_exit(void);

/* rdma.c */
int fake_rdma_init(void);
void fake_rdma_exit(void);
int fake_rdma_add(struct fake *fake);
void fake_rdma_remove(struct fake *fake);
void fake_rdma_port_changed(struct fake *fake, bool up);

#endif
