/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device-info file (k8snetworkplumbingwg device-info-spec 1.1.0) at
 * runtimeConfig.CNIDeviceInfoFile, from which Multus tells the pod what it got.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "ipamd/proto/proto.h"

/*
 * Is it below k8s.cni.cncf.io/devinfo of the run directory (/run, or /var/run), without ".."? No
 * other path is given to what follows, which takes no symbolic link below the run directory.
 */
bool devinfo_path_is_valid(const char *path);
/*
 * Before anything is changed: what is there must be device-info of the record's own function, or
 * nothing. -EEXIST (ERR_VALUE) for any other file, which stays as it is.
 */
int devinfo_check(const char *path, const struct attachment *record, struct err *err);
/*
 * What the record of a PCI function ("pci:…") says, and no look at the host: the function's devices
 * are in the pod by now. @rdma: its RDMA device by the name in the pod, "" for none. The file is
 * whole or as before; a former one of this function is replaced.
 */
int devinfo_write(const char *path, const struct attachment *record, const char *rdma,
		  struct err *err);
/*
 * Only one of the record's own function. A file that cannot be removed is not worth a device: the
 * next ADD replaces it.
 */
void devinfo_remove(const char *path, const struct attachment *record);
