/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours. Telling them: a gratuitous ARP (RFC 5227 section 3) or an unsolicited NA (RFC 4861
 * section 7.2.6), sent from the calling thread's network namespace.
 * Closing the packet socket waits for an RCU grace period: only for a carrier that came late.
 */
#pragma once

#include "base/err.h"
#include "base/text.h"
#include "wire/wire.h"

int neigh_announce(int ifindex, const struct mac *mac, const struct ip *ip, struct err *err);
/* A permanent entry of this device, of either family; *@ret_ip has family 0 if there is none. */
int neigh_find_permanent(struct wire *rt, int ifindex, struct ip *ret_ip, struct err *err);
