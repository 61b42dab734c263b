/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CNI_ARGS: "KEY=VALUE;KEY=VALUE", read as libcni reads it (pkg/types/args.go): every pair has one
 * '=', and a key that nobody knows is an error unless IgnoreUnknown=1. Of a key
 * that comes twice the last one counts: Multus hands on the runtime's behind its own.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"
#include "ipamd/proto/proto.h"

struct args {
	char *text;         /* owned: what the rest points into */
	struct pod_ref pod; /* borrowed from text; "" where absent */
	struct mac mac;     /* len 0: absent */
	struct cidr ips[PROTO_IPS_MAX];
	size_t ip_count;
};

/* @text may be NULL. Errors have ERR_ENV. The caller calls args_free(). */
int args_parse(const char *text, struct args *ret_args, struct err *err);
void args_free(struct args *args);
