/* SPDX-License-Identifier: Apache-2.0 */
/* A device as it is while it is free: what the daemon keeps as its baseline. Reads only. */
#pragma once

#include "base/err.h"
#include "ipamd/proto/proto.h"
#include "wire/wire.h"

/*
 * Looks up the device of @key ("net:NAME", "pci:ADDRESS", "aux:NAME") in the namespace of @rt.
 * Refused with ERR_DEVICE: not there, the loopback device, one with a master or with global
 * addresses, which a move would lose. @sysfs_fd is the root for pci and aux. The caller frees
 * *@ret_device with baseline_free().
 */
int device_observe(struct wire *rt, int sysfs_fd, const char *key, struct baseline *ret_device,
		   struct err *err);
