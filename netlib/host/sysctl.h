/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/sys/net/<family>/conf/<ifname>/<key> of the calling task's network namespace. */
#pragma once

#include "base/err.h"

/*
 * Writes one value. @family is "ipv4" or "ipv6". -ENOENT when the kernel has no such family, device
 * or key (ipv6.disable=1).
 */
int sysctl_write_if(const char *family, const char *ifname, const char *key, const char *value,
		    struct err *err);
