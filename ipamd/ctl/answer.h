/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon answers: how it is asked, read, and shown where more than one command shows it.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/ctl/command.h"

/* Steals @params; *@ret_result is a new reference. */
int ctl_call(struct ctl *ctl, const char *method, json_t *params, json_t **ret_result,
	     struct err *err);

/* All pages of pool.list as { "pools": [ … ] }; a new reference. */
int pools_fetch(struct ctl *ctl, json_t **ret_pools, struct err *err);

/* Members of an answer: "" and 0 where there is none. Borrowed. */
const char *text_of(json_t *obj, const char *key);
long long number_of(json_t *obj, const char *key);

/* For programs: --json. */
int print_json(json_t *json, struct err *err);
/* For people: the answer of node.status. */
void status_print(json_t *status);
/* The changes of keys that only a restart takes, a line each. */
void restart_print(json_t *changes);
