/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be done, in which order. Pure: the same wishes, record and view give the same plan,
 * in ADD, in DEL (which walks it backwards) and in CHECK (which compares it with the kernel).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "base/vf.h"
#include "cni/netconf.h"
#include "cni/view.h"
#include "ipamd/proto/proto.h"

/* The closed list. step.c has one row a kind. */
enum step_kind {
	STEP_GUID,    /* through the PF: another GUID than its own; its driver is bound again */
	STEP_VF,      /* through the PF: one attribute */
	STEP_VF_MAC,  /* through the PF, and its netdev's */
	STEP_DOWN,    /* in the host: the device goes down, so that its address can be set */
	STEP_ALTNAME, /* in the host: its own altname, equal to the pod's name, goes */
	STEP_MAC, /* in the host, before the move: after a failure the kernel keeps what it did */
	STEP_NETDEV, /* find it again: an IPoIB device is made anew with its RDMA device */
	STEP_MOVE,   /* into the pod, under its new name, with its MTU and IPv4 settings */
	STEP_RDMA,   /* the RDMA device into the pod */
	STEP_CONF6,  /* in the pod: one IPv6 setting */
	STEP_ADDRESS,
	STEP_UP,
	STEP_CARRIER, /* wait for it; if it came late, tell the neighbours */
	STEP_ROUTE,
	STEP_RULE,
	STEP_DAD,     /* wait until no address is tentative */
	STEP_READY,   /* wait until the RDMA device can be used with its address */
	STEP_DEVINFO, /* the device-info file */
	STEP_KINDS,
};

enum {
	PLAN_MAX = 20 + PROTO_ROUTES_MAX + 4 * PROTO_IPS_MAX + 2 * PROTO_IPS_MAX,
	RULE_PRIORITY = 1000, /* of all our rules: each has an address of its own */
};

struct step {
	enum step_kind kind;
	union {
		const char *altname;
		struct mac mac;
		uint64_t guid;
		struct {
			enum vf_attr attr;
			struct vf_state state;
		} vf;
		struct {
			const char *name;
			uint32_t mtu;        /* 0: keep */
			bool strict_arp;     /* arp_ignore, arp_announce */
			bool source_routing; /* rp_filter */
		} move;
		struct {
			const char *name; /* below /proc/sys/net/ipv6/conf/DEVICE */
			const char *value;
		} conf6;
		struct {
			struct cidr cidr;
			bool nodad;
		} address;
		struct {
			int64_t wait_ms;
			bool required;
		} carrier;
		struct {
			struct route route;
			int given; /* its place among the given ones; -1: of `routing` */
		};
		struct {
			struct ip from;
			uint32_t table;
		} rule;
		const char *rdma_name; /* in the pod; NULL: the one it has */
		struct {
			struct ip ip; /* family 0: of a port without RoCE GIDs */
			int64_t wait_ms;
			bool required;
		} ready;
		const char *path;
	};
};

struct plan {
	struct step steps[PLAN_MAX];
	size_t count;
	uint32_t table; /* of `routing`; 0: none */
};

/* Is another GUID asked for than the VF's own? Then its driver is bound again, there and back. */
bool plan_binds_guid(const struct netconf *conf, const struct attachment *record);

/*
 * @net: the addresses and routes, from the pool or from another IPAM. @view NULL: plan what has
 * been done, refuse nothing. Borrows from @conf and @record.
 */
int plan_make(const struct netconf *conf, const struct attachment *record,
	      const struct ip_config *net, const struct view *view, struct plan *ret_plan,
	      struct err *err);
