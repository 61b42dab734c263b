/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving a device back: finding it, wherever it is by now and whatever it is called, and making it
 * again what its baseline says. Every way out of an attachment ends here; it can be called any
 * number of times.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "cni/site.h"
#include "ipamd/proto/proto.h"
#include "rt/link.h"

/*
 * Is @link the device that @record owns? By kind, parent and permanent address; where it has none
 * of its own, by address (its old one or the @wished), or, if it was found @in_pod, by its number
 * there and its peer's.
 */
bool device_is(const struct link_info *link, const struct attachment *record,
	       const struct mac *wished, bool in_pod);

/*
 * In the pod, whatever it is called there, and whatever looks like it: by its PCI function, by the
 * other end of a veth, else by the number that the kernel gave it. Only where a record has none of
 * these, by its looks. 1 found, 0 not there, or -errno.
 */
int device_find_in_pod(struct site *site, struct link_info *ret_link, struct err *err);

/*
 * Where is it by now? Sets site->link and site->in_pod. A netdev that is being made anew is waited
 * for: -ETIMEDOUT with ERR_AGAIN.
 */
int device_await(struct site *site, struct err *err);

/*
 * The device of site->record comes home, its RDMA device first, and its PF is told of it what it
 * was. Sets site->outcome in any case; returns 0 only if it is
 * restored, or gone for good.
 */
int device_return(struct site *site, struct err *err);
