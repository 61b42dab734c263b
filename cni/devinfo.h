/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device-info file (k8snetworkplumbingwg device-info-spec 1.1.0) at
 * runtimeConfig.CNIDeviceInfoFile, from which Multus tells the pod what it got.
 */
#pragma once

#include "base/err.h"
#include "ipamd/proto/proto.h"

/*
 * What the record of a PCI function ("pci:…") says, and no look at the host: the function's devices
 * are in the pod by now. @rdma: its RDMA device by the name in the pod, "" for none. The file is
 * whole or as before; a former one is replaced.
 */
int devinfo_write(const char *path, const struct attachment *record, const char *rdma,
		  struct err *err);
/* A file that cannot be removed is not worth a device: the next ADD replaces it. */
void devinfo_remove(const char *path);
