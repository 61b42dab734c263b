/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host has on a netdev and a move would lose: such a device is refused, by the name of
 * what is in the way. Reads the kernel, changes nothing.
 */
#pragma once

#include "base/err.h"
#include "ipamd/device.h"
#include "rt/link.h"

/*
 * Refused with ERR_DEVICE: the loopback device, one with an upper device or a global address, and,
 * if the request names it (@key "net:…"), one with routes that somebody made or permanent
 * neighbours. (A VF that is asked for by its address is nobody's to configure in the host, and is
 * spared those two dumps.)
 */
int device_refuse_link(const struct device_view *view, const char *key,
		       const struct link_info *link, struct err *err);
