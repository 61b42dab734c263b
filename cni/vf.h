/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attributes of a VF that the configuration names, set through its PF's netdev and given back
 * from the baseline. ADD and DEL ask for no list of VFs: the kernel's ack is trusted, and the
 * address is looked at on the VF's own netdev.
 *
 * Some drivers answer EBUSY or EAGAIN while the VF is not ready (i40e, ice): tried again for
 * VF_PATIENCE_MS.
 */
#pragma once

#include "base/err.h"
#include "base/vf.h"
#include "cni/site.h"

enum { VF_PATIENCE_MS = 2000 };

/* The device must still be in the host. Errors name the key. */
int vf_apply(const struct site *site, enum vf_attr attr, const struct vf_state *state,
	     struct err *err);
/*
 * Address of the netdev (if there is one) and the administrative one, until both are as wished:
 * some drivers take the netdev's only before (igb), others only after (iavf) the other is set.
 */
int vf_apply_mac(const struct site *site, const struct mac *mac, struct err *err);

/*
 * The VF is out of the pod: its netdev may have its own address again, and its own GUID is bound
 * (that a fresh VF has none is kept as well). Before the netdev is restored, which either makes new
 * or allows.
 */
int vf_release(struct site *site, struct err *err);

/*
 * What the configuration names goes back to the baseline; where that says nothing, to what a fresh
 * VF has.
 */
int vf_give_back(struct site *site, struct err *err);

/*
 * CHECK: does the PF show @attr as @should says? The list of its VFs is asked for once a call; what
 * it does not show is not judged. ERR_DRIFT says what differs.
 */
int vf_check(struct site *site, enum vf_attr attr, const struct vf_state *should, struct err *err);

/* Does the configuration name this attribute of the record's VF? */
bool vf_is_asked(const struct site *site, enum vf_attr attr);
