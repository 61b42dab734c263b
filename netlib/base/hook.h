/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test hooks, present only in a build with -DSPUR_HOOKS=ON; otherwise each is an empty inline.
 *
 *   SPUR_FAIL_STEP=apply:3   the third step that is applied fails with EIO
 *   SPUR_KILL_STEP=apply:3   the process kills itself with SIGKILL before the third step
 *   SPUR_STALL_STEP=apply:3  the process stops (SIGSTOP) before the third step
 *   SPUR_SYSFS=DIR           the root that stands for /sys
 */
#pragma once

#ifdef SPUR_HOOKS
/* Called at step @number (from 1) of @phase ("apply", "revert", …). Returns 0 or -EIO. */
int hook_step(const char *phase, int number);
const char *hook_sysfs_root(void);
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
#endif
