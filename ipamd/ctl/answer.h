/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon answers: how it is asked, read, and shown where more than one command shows it.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/ctl/command.h"

/* Steals @params; *@ret_result is a new reference, mended. */
int ctl_call(struct ctl *ctl, const char *method, json_t *params, json_t **ret_result,
	     struct err *err);
/* The same of what is no text for people: every byte as it came. */
int ctl_call_raw(struct ctl *ctl, const char *method, json_t *params, json_t **ret_result,
		 struct err *err);

/*
 * Makes each string in it one line of printable text (base/utf8.h): names of devices are of a pod's
 * choosing, and a terminal obeys some of what may be in them. 0 or -ENOMEM.
 */
int answer_mend(json_t *json);

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
