/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device-info file (k8snetworkplumbingwg device-info-spec 1.1.0) at
 * runtimeConfig.CNIDeviceInfoFile, from which Multus tells the pod what it got.
 */
#pragma once

#include "base/err.h"

/* @device_key is "pci:ADDRESS". The file is whole or as before; a former one is replaced. */
int devinfo_write(const char *path, const char *device_key, struct err *err);
/* A file that cannot be removed is not worth a device: the next ADD replaces it. */
void devinfo_remove(const char *path);
