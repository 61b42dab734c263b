/* SPDX-License-Identifier: Apache-2.0 */
/* What happened to whom, in the store: a ring of the last 65,536 events. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

enum { HISTORY_MAX = 65536 };

/* Adds an event to the transaction that makes it true. @reason may be "". Errors stick. */
void history_add(struct store *store, const char *event, const struct attachment *a,
		 const char *reason);

/* Events with a sequence above @after, oldest first, at most @limit. */
int history_read(struct store *store, uint64_t after, size_t limit, json_t **ret_array,
		 struct err *err);
