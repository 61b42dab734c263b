/* SPDX-License-Identifier: Apache-2.0 */
/* What happened to whom, in the store: a ring of the last 32,768 events. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

enum { HISTORY_MAX = 32768 };

/* Adds an event to the transaction that makes it true. @reason may be "". Errors stick. */
void history_add(struct store *store, const char *event, const struct attachment *a,
		 const char *reason);

/* An event of a dump, in its place behind the others. */
int history_restore(struct store *store, uint64_t seq, json_t *event, struct err *err);

enum { HISTORY_SLICE = 1024 /* events that one query looks at: two milliseconds */ };

struct history_query {
	uint64_t after;         /* only events with a higher sequence */
	size_t limit, bytes;    /* at most so many, of so much JSON */
	const char *match;      /* these bytes are in the event's JSON; NULL: any */
	int64_t from_ms, to_ms; /* wall clock, both inclusive */
};

struct history_page {
	char *events; /* a JSON array, oldest first; the caller frees it */
	size_t count;
	uint64_t next; /* go on after this sequence; 0: there are no more */
	uint64_t last; /* the newest sequence there is; 0: none */
};

/* One slice of the ring. */
int history_find(struct store *store, const struct history_query *query,
		 struct history_page *ret_page, struct err *err);
