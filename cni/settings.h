/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod told the stack and the driver of its device, given back: what takes a message of its
 * own, beside the one that brings the device home.
 */
#pragma once

#include "base/err.h"
#include "cni/site.h"
#include "rt/link.h"

/*
 * XDP programs that the pod attached go; @rt: of the namespace of @link. By itself only before the
 * MTU is set: with such a program many drivers refuse a large one (mlx5, ice, igb).
 */
int settings_detach_xdp(const struct site *site, struct wire *rt, const struct link_info *link,
			struct err *err);

/*
 * @link is the device of site->record, in the host. XDP programs that the pod attached go;
 * features, rings and the like are set where they differ. Returns 0, or the first -errno: it is not
 * as its baseline says.
 */
int settings_return(const struct site *site, const struct link_info *link, struct err *err);
