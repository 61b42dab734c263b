/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities of the calling thread, and of the threads and programs that it will start. Set by
 * capset(2), which is each thread's own affair; libcap would set those of all threads.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

#define CAPS_BIT(cap) (UINT64_C(1) << (cap))

/*
 * Keeps those of @set that the thread has as permitted, and none of them effective, inheritable or
 * ambient. No program that it starts gets another one: a root that execs has all that is in both
 * the bounding set and, under no_new_privs, the permitted one.
 */
int caps_keep(uint64_t set, struct err *err);

/* Makes none effective but those of @set. All can be raised again, and are those of a program. */
int caps_lower(uint64_t set, struct err *err);

/* The same for good. */
int caps_seal(uint64_t set, struct err *err);

/* Makes effective what is permitted, until the thread ends. */
int caps_raise(struct err *err);
