/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours. Telling them, when a carrier came late: a gratuitous ARP (RFC 5227 section 3) from
 * the namespace of @rt, or an unsolicited NA (RFC 4861 section 7.2.6) from that of the calling
 * thread. Of several IPv4 addresses in one prefix the first is told: the kernel asks in its name.
 */
#pragma once

#include "base/err.h"
#include "base/text.h"
#include "wire/wire.h"

int neigh_announce(struct wire *rt, int ifindex, const struct mac *mac, const struct ip *ip,
		   struct err *err);
/* A permanent entry of this device, of either family; *@ret_ip has family 0 if there is none. */
int neigh_find_permanent(struct wire *rt, int ifindex, struct ip *ret_ip, struct err *err);
