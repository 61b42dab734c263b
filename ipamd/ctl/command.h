/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of spurctl: each asks the daemon and prints what it says. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "ipamd/client/client.h"

struct ctl {
	struct client client;
	bool json, wide, force, yes;
	bool plugin_restarted;               /* vfs: device plugins know what the VFs have */
	const char *argument;                /* NULL: none */
	const char *diff;                    /* pools: a file to compare with; NULL: none */
	const char *at, *from, *to, *reason; /* of history; NULL: not given */
	long last;                           /* so many events; -1: not given */
};

enum {
	COMMAND_DECLINED = 1, /* the question was not answered with yes */
	COMMAND_FOUND = 2,    /* what was looked for, and should not be there */
};

enum argument { ARGUMENT_NONE, ARGUMENT_OPTIONAL, ARGUMENT_NEEDED };

struct command {
	const char *name;
	enum argument takes;
	/* 0, -errno with @err, or one of COMMAND_*. */
	int (*run)(struct ctl *ctl, struct err *err);
};

/* NULL: unknown. */
const struct command *command_find(const char *name);
