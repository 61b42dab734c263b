/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads PFs and VFs from sysfs and from the PFs' netdevs, for picture_take(). With descriptors of
 * its own, for a thread of the pool: a list of VFs holds the RTNL lock for 1-2 ms a VF.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/text.h"
#include "ipamd/picture.h"

struct scanner;

/* A function to look at: a PF, or a VF, whose PF is meant. */
struct scan_want {
	struct pci_addr addr;
	bool list; /* also what the PF says of its VFs; else only what sysfs does */
};

int scanner_open(struct scanner **ret_scanner, struct err *err);
void scanner_close(struct scanner *scanner); /* NULL is fine */

/*
 * Reads all PFs (@wants NULL), or those of @wants. A PF that has no VFs (any more) is in it,
 * without any; one that cannot be read says why. The caller fills in begun_ns, and frees *@ret_scan
 * with scan_free(). -ENOMEM is the only error.
 */
int scan_read(struct scanner *scanner, const struct scan_want *wants, size_t want_count,
	      struct scan *ret_scan, struct err *err);
