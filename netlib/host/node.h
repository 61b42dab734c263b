/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of the node as a whole. */
#pragma once

#include "base/err.h"

enum { BOOT_ID_TEXT = 37 };

/* /proc/sys/kernel/random/boot_id: another after each boot. */
int node_boot_id(char ret_id[BOOT_ID_TEXT], struct err *err);
