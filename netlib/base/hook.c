/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hook.h"

#ifdef SPUR_HOOKS
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool hook_matches(const char *variable, const char *phase, int number)
{
	const char *want = getenv(variable);
	char here[64];

	(void)snprintf(here, sizeof(here), "%s:%d", phase, number);
	return want && strcmp(want, here) == 0;
}

int hook_step(const char *phase, int number)
{
	if (hook_matches("SPUR_KILL_STEP", phase, number))
		(void)raise(SIGKILL);
	if (hook_matches("SPUR_STALL_STEP", phase, number))
		(void)raise(SIGSTOP);
	return hook_matches("SPUR_FAIL_STEP", phase, number) ? -EIO : 0;
}

const char *hook_sysfs_root(void)
{
	const char *root = getenv("SPUR_SYSFS");

	return root ? root : "/sys";
}

const char *hook_text(const char *variable, const char *otherwise)
{
	const char *text = getenv(variable);

	return text ? text : otherwise;
}

int64_t hook_number(const char *variable, int64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoll(text, NULL, 10) : otherwise;
}
#else
typedef int hook_unit_is_not_empty; /* ISO C wants a declaration */
#endif
