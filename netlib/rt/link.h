/* SPDX-License-Identifier: Apache-2.0 */
/* Network devices: look one up, change it, move it to another namespace. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/settings.h"
#include "base/text.h"
#include "wire/wire.h"

enum { LINK_ALTNAMES_MAX = 16 };

struct link_info {
	int ifindex;
	char name[IFNAME_MAX + 1];
	char altnames[LINK_ALTNAMES_MAX][ALTNAME_MAX + 1];
	int altname_count;
	bool more_altnames; /* than there is room for above */
	uint32_t mtu;
	struct mac mac, perm_mac;
	uint32_t flags; /* IFF_* */
	uint16_t type;  /* ARPHRD_* */
	int master;     /* ifindex, 0 = none */
	int peer;       /* of its lower device or peer, if that is in another namespace; else 0 */
	int local_peer; /* the same, if it is in this namespace */
	int32_t peer_nsid; /* of the other namespace, as it is known in this one; -1 = this one */
	bool carrier;
	char kind[32];
	char parent[64]; /* "bus/name" of IFLA_PARENT_DEV_*, "" = none */
	struct link_settings settings;
};

/*
 * A get by name (also matches an altname, as the kernel does) or by ifindex. Never asks for the VF
 * list. No such device: -ENODEV with ERR_DEVICE.
 */
int link_get(struct wire *rt, const char *name, struct link_info *ret_link, struct err *err);
int link_get_index(struct wire *rt, int ifindex, struct link_info *ret_link, struct err *err);
/*
 * All devices, but for what cannot be read; @each returns 0 to go on, >0 to stop well, and it is
 * then not called again: returns
 * 1. Else 0. When devices came or went meanwhile, one may be shown twice.
 */
int link_list(struct wire *rt, int (*each)(const struct link_info *link, void *arg), void *arg,
	      struct err *err);

/*
 * One RTM_NEWLINK. Zero-initialise, set what is wanted. The kernel applies the parts in a fixed
 * order (netns, MAC, MTU, name, af_spec, flags: do_setlink() in net/core/rtnetlink.c) and keeps
 * what it did before a failure.
 */
struct link_change {
	int ifindex;      /* which device */
	int netns_fd;     /* move there; 0 = stay (never a valid fd here) */
	const char *name; /* new name */
	const struct mac *mac;
	uint32_t mtu; /* 0 = keep */
	int up;       /* 1 up, -1 down, 0 keep */
	/* IPv4 devconf, through IFLA_AF_SPEC; -1 never: 0 = keep, else value + 1 */
	uint32_t arp_notify, arp_ignore, arp_announce, rp_filter;
	/* What differs of the first from the second is set, but for XDP. NULL: nothing. */
	const struct link_settings *settings, *settings_now;
};
int link_set(struct wire *rt, const struct link_change *change, struct err *err);
/* value + 1, so that zero-initialised means "keep" */
#define LINK_CONF(value) ((uint32_t)(value) + 1)

/* Takes the XDP program of one place away: IFLA_XDP with the file descriptor -1. */
int link_xdp_detach(struct wire *rt, int ifindex, enum settings_xdp place, struct err *err);

int link_altname_add(struct wire *rt, int ifindex, const char *altname, struct err *err);
int link_altname_del(struct wire *rt, int ifindex, const char *altname, struct err *err);
/*
 * Deletes those that @keep does not want (NULL: all), however many there are, in one message: what
 * the kernel tells of in one it takes in one. 1: some went; 0: there was none to go; or -errno.
 */
int link_altnames_prune(struct wire *rt, int ifindex,
			bool (*keep)(const char *altname, const void *arg), const void *arg,
			struct err *err);

/*
 * A non-blocking socket subscribed to RTNLGRP_LINK; the caller owns *@ret_fd. When readable,
 * link_watch_read() calls @each for every device that came or changed, or went from this namespace
 * (@deleted). -ENOBUFS: events were lost, look at all.
 */
int link_watch(int *ret_fd, struct err *err);
int link_watch_read(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
		    struct err *err);
