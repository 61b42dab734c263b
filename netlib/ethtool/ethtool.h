/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethtool netlink (Documentation/networking/ethtool-netlink.rst): what the driver of a network
 * device lets be set, read and given back. Never statistics, and nothing of a port that a VF only
 * shares (speed, FEC, WoL).
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/settings.h"

struct ethtool; /* opaque: a socket in the namespace that it was opened in, and the family's id */

/*
 * @family: the id of ethtool netlink, from settings that were read in this boot; 0: the kernel is
 * asked, which costs as much as all the rest. A kernel without it: -ENOENT with ERR_KERNEL. The
 * caller calls ethtool_close().
 */
int ethtool_open(uint16_t family, struct ethtool **ret_ethtool, struct err *err);
void ethtool_close(struct ethtool *ethtool); /* NULL is fine */

/*
 * The features only: one request that no driver sees. Of a device without any, ret_settings->known
 * is 0.
 */
int ethtool_read_features(struct ethtool *ethtool, int ifindex,
			  struct ethtool_settings *ret_settings, struct err *err);
/* All: a request for each kind, which a driver may hand on to its firmware. */
int ethtool_read(struct ethtool *ethtool, int ifindex, struct ethtool_settings *ret_settings,
		 struct err *err);

/*
 * Gives the device back what @was says: reads the kinds that @was knows something of, and sets what
 * differs. The first that the driver refuses is the error; the others are set nevertheless.
 */
int ethtool_restore(struct ethtool *ethtool, int ifindex, const struct ethtool_settings *was,
		    struct err *err);
