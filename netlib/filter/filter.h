/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of system calls, of libseccomp's making. Each is a list of what there is; everything
 * else, and every call of another architecture (x32 is one), ends with ENOSYS, as if the kernel
 * were older: libraries know what to do then.
 */
#pragma once

#include <stddef.h>

#include <seccomp.h>

#include "base/err.h"

/* A call of which a part is let through, by one of its arguments. Several parts of one call: any.
 */
struct filter_part {
	const char *call;
	struct scmp_arg_cmp argument; /* SCMP_A0(SCMP_CMP_EQ, …) */
};

struct filter_list {
	const char *const *calls; /* names that this machine or libseccomp does not know are none */
	size_t call_count;
	const struct filter_part *parts;
	size_t part_count;
};

/* The caller calls seccomp_release(*@ret_filter). */
int filter_make(const struct filter_list *list, scmp_filter_ctx *ret_filter, struct err *err);
