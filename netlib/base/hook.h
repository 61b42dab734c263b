/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test hooks, present only in a build with -DSPUR_HOOKS=ON; otherwise each is an empty inline.
 *
 * The phases are apply, revert, done, print, release (spur) and store (spur-ipamd: each change of
 * the store, and either side of each commit).
 *
 *   SPUR_FAIL_STEP=apply:3   the third step that is applied fails with EIO
 *   SPUR_KILL_STEP=apply:3   the process kills itself with SIGKILL before the third step
 *   SPUR_STALL_STEP=apply:3  the process stops (SIGSTOP) before the third step
 *   SPUR_SYSFS=DIR           the root that stands for /sys
 *   SPUR_BOOT_ID=TEXT        what spur-ipamd takes for the boot id
 *   SPUR_YOUNG_MS=N          how young a record is that reconcile does not look at
 */
#pragma once

#include <stdint.h>

#ifdef SPUR_HOOKS
/* Called at step @number (from 1) of @phase ("apply", "revert", …). Returns 0 or -EIO. */
int hook_step(const char *phase, int number);
const char *hook_sysfs_root(void);
const char *hook_text(const char *variable, const char *otherwise);
int64_t hook_number(const char *variable, int64_t otherwise);
#else
static inline int hook_step(const char *phase, int number)
{
	(void)phase;
	(void)number;
	return 0;
}

static inline const char *hook_sysfs_root(void)
{
	return "/sys";
}

static inline const char *hook_text(const char *variable, const char *otherwise)
{
	(void)variable;
	return otherwise;
}

static inline int64_t hook_number(const char *variable, int64_t otherwise)
{
	(void)variable;
	return otherwise;
}
#endif
