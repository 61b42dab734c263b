/* SPDX-License-Identifier: Apache-2.0 */
/* Routes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/wire.h"

/*
 * rtm_protocol / FRA_PROTOCOL of what we add, so that it can be told from the pod's own. Not in the
 * kernel's list (linux/rtnetlink.h RTPROT_*) nor in iproute2's rt_protos of Debian 12.
 */
enum { RT_PROTOCOL_SPUR = 115 };

struct route_spec {
	struct cidr dst;
	struct ip gw;  /* family 0 = on link */
	struct ip src; /* preferred source, family 0 = none */
	int ifindex;
	uint32_t table;                 /* 0 = main */
	bool any_table;                 /* whatever the table: route_exists() only */
	uint32_t priority, mtu, advmss; /* 0 = not set */
	int scope;                      /* RT_SCOPE_*; -1 = universe with a gateway, link without */
};

/*
 * Already there: success. -EEXIST: another route to that destination with that priority is, and
 * ours was not added.
 */
int route_add(struct wire *rt, const struct route_spec *route, struct err *err);
/* Already gone: success. Deletes only a route of RT_PROTOCOL_SPUR. */
int route_del(struct wire *rt, const struct route_spec *route, struct err *err);
/* Is there a unicast route with this destination, gateway, device and table? */
int route_exists(struct wire *rt, const struct route_spec *route, bool *ret_exists,
		 struct err *err);
/*
 * The destination of a route over this device that somebody made: none of the kernel's own (of an
 * address), none of a router's advertisement, none to fe80::/64 or to multicast. In any table, of
 * either family. *@ret_dst has family 0 if there is none.
 */
int route_find_made(struct wire *rt, int ifindex, struct cidr *ret_dst, struct err *err);
