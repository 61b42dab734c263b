/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another IPAM binary, called as the CNI specification has it (section 4, "Plugin Delegation"): by
 * its name from CNI_PATH, with our environment and configuration, its stderr to ours.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "cni/request.h"

struct delegation {
	const char *plugin;
	const char *command; /* "ADD" … */
	const struct request_env *env;
	json_t *netconf; /* its stdin */
	int host_fd;     /* the namespace that it runs in; -1: the one we are in */
	int64_t deadline_ms;
};

/*
 * Runs it to its end; past the deadline it is killed (ERR_AGAIN). Its own error keeps its code. Not
 * in CNI_PATH: -ENOENT (ERR_ENV), and only then; @err names the directories.
 * *@ret_answer, if not NULL, is what it printed: a new reference.
 */
int delegate_run(const struct delegation *how, json_t **ret_answer, struct err *err);
