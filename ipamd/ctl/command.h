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
	const char *argument; /* NULL: none */
	const char *diff;     /* pools: a file to compare with; NULL: none */
};

enum { COMMAND_DECLINED = 1 /* the question was not answered with yes */ };

struct command {
	const char *name;
	bool takes_argument;
	/* 0, -errno with @err, or COMMAND_DECLINED. */
	int (*run)(struct ctl *ctl, struct err *err);
};

/* NULL: unknown. */
const struct command *command_find(const char *name);
