/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One CNI call: which verb, for which attachment, with which configuration. Built from the
 * environment and stdin alone; no host access. Called by main.c, read by every verb.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"
#include "cni/args.h"
#include "cni/netconf.h"
#include "ipamd/proto/proto.h"

enum { REQUEST_MAX = 1024 * 1024 }; /* bytes of stdin */

enum verb { VERB_ADD, VERB_DEL, VERB_CHECK, VERB_STATUS, VERB_GC, VERB_VERSION };

/* The CNI_* variables as they were given: NULL where absent. */
struct request_env {
	const char *command, *container_id, *ifname, *netns, *args, *path;
};

struct request {
	enum verb verb;
	bool ipam_only; /* run as spur-ipam: addresses for another main plugin */
	struct request_env env;
	struct args args;
	json_t *json;
	struct netconf conf;
};

/*
 * Reads and checks a call. Sets @ret_request->conf.version on failure too, as far as it is known:
 * an error is printed in the shape of that version. The caller calls request_free().
 */
int request_read(const struct request_env *env, bool ipam_only, const char *text, size_t len,
		 struct request *ret_request, struct err *err);
void request_free(struct request *request);

struct attachment_key request_key(const struct request *request);
const char *request_program(const struct request *request);
/* The CNI_* variables that were given, as the record keeps them. New reference, NULL: no memory. */
json_t *request_env_encode(const struct request *request);
/* The configuration without prevResult. New reference, NULL: no memory. */
json_t *request_netconf(const struct request *request);
