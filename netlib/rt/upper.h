/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that stand upon another one: VLAN, macvlan, macvtap, ipvlan and the like. They go on
 * through it wherever either of them moves.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "rt/link.h"
#include "wire/wire.h"

enum { UPPERS_MAX = 1024 }; /* at once: whoever finds as many looks again */

struct upper_list {
	int count;
	struct {
		int ifindex;
		int32_t nsid; /* of the namespace of its lower, as it is known here; -1 = this one
			       */
	} uppers[UPPERS_MAX];
};

/*
 * Those in the namespace of @rt that stand upon @lower. That is in the same one, or @elsewhere:
 * upper_keep() then drops those whose lower has the same number in a third. What stands upon an
 * upper is not asked for: the kernel deletes it with that. The other end of a pair (veth) is none.
 * Also after an error the list has those that were found before.
 */
int upper_find(struct wire *rt, const struct link_info *lower, bool elsewhere,
	       struct upper_list *ret_uppers, struct err *err);
void upper_keep(struct upper_list *uppers, int32_t nsid);

/*
 * Deletes them, many in one message: the kernel waits for RCU and for their last users once, in
 * place of 15 ms for each. One that has gone meanwhile is no error.
 */
int upper_delete(struct wire *rt, const struct upper_list *uppers, struct err *err);

/*
 * Has something claimed the receive hook of a device of this namespace: a macvlan, ipvlan or MACsec
 * device, or a master, in whatever namespace it is? A VLAN does not claim it. The kernel is asked
 * for a macvlan with the name of another device: macvlan_common_newlink() claims the hook, refuses
 * the name (EEXIST) and lets go of the hook again, or refuses a hook that is claimed (EINVAL by
 * macvlan, else EBUSY). Loads macvlan where it is a module. Of what cannot be asked so, as a device
 * that is no Ethernet or itself a macvlan, or by a kernel without macvlan, the answer is no.
 */
int upper_claims(struct wire *rt, const struct link_info *link, bool *ret_claimed, struct err *err);
