/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PFs and VFs of a node in memory: what a reading (scan.h) changes in it, what has drifted, and
 * which VF is the next to be given away. Pure: no I/O, no clock, no ledger.
 *
 * Baseline: what the PF said of the VF when it was last seen free and untouched. While a record
 * owns the VF it stays as it is; after the release it is compared with what is read then, and a
 * difference is *drift*: the baseline is kept until the VF is again as it was, or is made anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/settings.h"
#include "base/text.h"
#include "base/vf.h"

enum { PICTURE_NAME_MAX = 64, PICTURE_WHY_MAX = 160 };

enum vf_use {
	VF_FREE,
	VF_HELD,      /* a record owns it */
	VF_USERSPACE, /* free, bound to vfio-pci or the like */
	VF_DRIVERLESS,
	VF_AWAY,      /* it has a driver, and its netdev is not here; or it cannot be read */
	VF_PREPARING, /* its GUID or its driver is being bound, or is about to be */
	VF_BROKEN,    /* that failed: trouble says what happened */
	VF_CLAIMED,   /* free, and kept for a pod that is to come for it */
	VF_USES,
};

/* --- one reading --- */

struct scan_vf {
	struct pci_addr addr;
	int index;                 /* N of the PF's virtfnN */
	char why[PICTURE_WHY_MAX]; /* why nothing else is known of it, or "" */
	bool said;                 /* the PF's list has it: state */
	struct vf_state state;
	struct ethtool_settings ethtool; /* of its netdev, where it is here and was asked */
	enum rdma_moderation moderation; /* likewise of its RDMA device */
	char netdev[IFNAME_MAX + 1], rdma[PICTURE_NAME_MAX], driver[PICTURE_NAME_MAX];
	bool userspace; /* the driver is one of user space */
	struct mac mac; /* of its netdev; only of InfiniBand */
	int numa_node;
};

struct scan_pf {
	struct pci_addr addr;
	char netdev[IFNAME_MAX + 1];
	int ifindex; /* 0: it has no netdev here */
	int64_t mtu;
	struct mac mac;
	bool infiniband;
	bool listed;               /* its VF list was asked for, and came if why is empty */
	char why[PICTURE_WHY_MAX]; /* why not */
	bool unread;               /* for that reason nothing is known of it, or not all VFs */
	struct scan_vf *vfs;       /* in the order of their numbers; none: it has gone */
	size_t vf_count;
};

struct scan {
	bool all;          /* what is not in it has gone */
	uint64_t begun_ns; /* by the clock of picture_release() */
	struct scan_pf *pfs;
	size_t pf_count;
};

/* --- the picture --- */

struct vf_entry {
	struct pci_addr addr;
	int index;
	struct vf_state baseline, now;
	struct ethtool_settings ethtool, ethtool_now; /* likewise */
	enum rdma_moderation moderation, moderation_now;
	enum vf_use use;
	char netdev[IFNAME_MAX + 1], rdma[PICTURE_NAME_MAX], driver[PICTURE_NAME_MAX];
	bool userspace;
	struct mac mac;
	int numa_node;
	uint64_t owner; /* id of the record, 0 = none */
	bool claimed;   /* by a pod that has not bound it yet */
	bool fresh;     /* nobody has asked the ledger for its owner yet */
	bool touched;   /* owned since the baseline was taken, and not seen clean again */
	bool unseen;    /* it has changed hands, or GUID, since the last reading */
	bool drifted;
	bool rebound;                 /* its driver was bound anew since the baseline was taken */
	uint64_t changed_ns;          /* of that change */
	char why[PICTURE_WHY_MAX];    /* of its drift */
	char unread[PICTURE_WHY_MAX]; /* why the rest is as it was read before, or "" */

	/* inventory.c, from the ledger */
	bool to_rebind; /* its driver is to be bound anew before it is given out */
	bool renumbered;

	/* prepare.c */
	uint64_t guid;  /* that it is to carry, 0 = none of ours */
	uint64_t bound; /* that was bound last */
	bool preparing, broken, unconfirmed;
	bool settled; /* seen with a driver, or probed for one: if it has none, somebody wants so */
	int64_t failed_ms;             /* BOOTTIME */
	char trouble[PICTURE_WHY_MAX]; /* why it is broken */
};

struct pf_entry {
	struct pci_addr addr;
	char netdev[IFNAME_MAX + 1];
	int ifindex;
	int64_t mtu;
	struct mac mac; /* of its netdev, as long as it was here */
	bool infiniband;
	char why[PICTURE_WHY_MAX]; /* its VF list cannot be read */
	struct vf_entry *vfs;
	size_t vf_count;
};

struct picture {
	struct pf_entry *pfs; /* by address */
	size_t pf_count;
};

bool pci_same(const struct pci_addr *a, const struct pci_addr *b);

/*
 * Makes the reading part of the picture; what it holds is taken, also on failure. *@ret_fresh:
 * there are VFs that were not there before, whose owners have to be looked up. @tell is called when
 * a VF begins to drift (or drifts otherwise), when it is again as it was (why ""), or when a PF's
 * list stops or starts being readable (@vf NULL). A PF that was not read stays as it was. -ENOMEM:
 * part of the reading is in the picture; read all again.
 */
int picture_take(struct picture *picture, struct scan *scan, bool *ret_fresh,
		 void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf));
void scan_free(struct scan *scan); /* empties it */
void picture_free(struct picture *picture);

/* NULL: no such one. Valid until the next picture_take(). */
struct pf_entry *picture_pf(const struct picture *picture, const struct pci_addr *addr);
/* *@ret_pf may be NULL. */
struct vf_entry *picture_vf(const struct picture *picture, const struct pci_addr *addr,
			    struct pf_entry **ret_pf);

/* The VF has gone, and may be made anew: what was known of it counts no more. */
void picture_forget(struct picture *picture, const struct pci_addr *addr);

/*
 * A record owns it. @baseline, @ethtool: as the record has them, for a VF that was never seen free;
 * or NULL.
 */
void picture_own(struct vf_entry *vf, uint64_t id, const struct vf_state *baseline,
		 const struct ethtool_settings *ethtool);
/* It has been given back, or given its GUID: what was read before @now_ns shows it no more. */
void picture_release(struct vf_entry *vf, uint64_t now_ns);

/*
 * Its driver was bound anew: likewise. What the driver makes anew (its address where the PF has set
 * none, features, queues, moderation) is taken as the next reading finds it; what the PF was told
 * stays, and is compared.
 */
void picture_rebound(struct vf_entry *vf, uint64_t now_ns);

/* A pod keeps it from others, or does not any more: the VF itself is as it was. */
void picture_claim(struct vf_entry *vf, bool claimed);

/* What is wrong with one that is broken, in the words before its trouble. */
const char *picture_trouble(const struct vf_entry *vf);

/* Brings vf->use up to date after a change of its other members. */
void picture_judge(struct vf_entry *vf);

/*
 * The free VFs in the order in which they are to be given away: of the PF with the fewest in use
 * first, there by number. @take returns 0 to go on; anything else ends it and is returned.
 * -ENOMEM, else 0 when all were offered.
 */
int picture_offer(const struct picture *picture,
		  int (*take)(const struct pf_entry *pf, const struct vf_entry *vf, void *arg),
		  void *arg);

/*
 * Does the VF show another GUID than the one that it is to carry (or none, and was given none)? One
 * without a driver that is not settled may have lost it when a GUID was bound: it needs it anew.
 */
bool picture_needs_guid(const struct vf_entry *vf);
/* It has a driver that makes a netdev, and none is here; or it cannot be read. */
bool picture_is_away(const struct vf_entry *vf);
