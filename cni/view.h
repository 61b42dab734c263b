/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of the pod's namespace that a plan depends on: which names are taken. Few gets, no
 * dump. What plan.c knows of the kernel, it knows from here.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct site;

struct view {
	bool ifname_taken;         /* CNI_IFNAME is a name or altname there */
	const char *altname_taken; /* the first of the device's altnames that is; NULL: none */
};

int view_read(const struct site *site, struct view *ret_view, struct err *err);
