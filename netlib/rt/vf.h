/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual functions of a PF, as the PF's network device sets and shows them (IFLA_VFINFO_LIST,
 * do_setvfinfo() and rtnl_fill_vf() in net/core/rtnetlink.c).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vf.h"
#include "wire/wire.h"

/*
 * Sets one attribute of VF @vf of the PF with this ifindex to what @state says. -EOPNOTSUPP: the
 * driver cannot; -EBUSY, -EAGAIN: not yet.
 */
int vf_set(struct wire *rt, int pf_ifindex, int vf, enum vf_attr attr, const struct vf_state *state,
	   struct err *err);

/*
 * All VFs of a PF, in the order of their numbers. The kernel holds the RTNL lock for 1-2 ms a VF:
 * never on the path of ADD or DEL. @each returns 0 to go on, >0 to stop well: returns 1. A VF that
 * the driver has nothing to say of is left out.
 * -EMSGSIZE: more VFs than the kernel can show. The list is one attribute, its length a u16, with
 * 200 to 380 bytes a VF; and before Linux 6.15 the kernel leaves no room for GUIDs.
 */
int vf_list(struct wire *rt, int pf_ifindex,
	    int (*each)(int vf, const struct vf_state *state, void *arg), void *arg,
	    struct err *err);
