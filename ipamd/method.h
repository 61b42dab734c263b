/* SPDX-License-Identifier: Apache-2.0 */
/* What each method of the socket does (docs/architecture.md, "The socket"). */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/batch.h"

struct daemon;

enum { METHOD_WAITS = 1, METHOD_COUNT = 16 };

struct method {
	const char *name;
	/*
	 * Returns 0 with a new reference in *@ret_result or with request->answer written; -errno
	 * with @err; or METHOD_WAITS with request->blocker set. May be called again for the same
	 * request, after a wait or when a commit has failed, and inside a transaction only.
	 */
	int (*serve)(struct daemon *d, struct request *request, json_t **ret_result,
		     struct err *err);
};

extern const struct method methods[METHOD_COUNT];

const struct method *method_find(const char *name); /* NULL: unknown */
bool method_is_done(const struct method *method);   /* attachment.done */

/* The connection has ended: its locks go, and what it left unfinished is undone. */
void method_end(struct daemon *d, struct conn *conn);
/* Releases what a reserve has reserved (request->reserved) and nobody has heard of. */
void method_take_back(struct daemon *d, struct request *request);
