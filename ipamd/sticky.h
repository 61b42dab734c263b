/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which index an identity had: the tables sticky and sticky_q, inside a transaction of the store.
 * An identity is a name within a Kubernetes namespace ("": that of pods that have none). An entry
 * is written when an attachment ends that names one, one for each rail; at most STICKY_MAX, the
 * oldest goes first. Errors of the store stick in the store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

enum { STICKY_MAX = 16384 };

struct identity {
	const char *namespace, *name;
};

struct sticky {
	uint32_t index;
	int64_t last_ms; /* ledger time: when it was released on that rail */
	bool here;       /* on the rail that was asked for, else on another of the pool */
};

/* What is known of an identity: on this rail, else on any of the pool. */
bool sticky_find(struct store *store, const char *pool, const char *rail,
		 const struct identity *identity, struct sticky *ret_sticky);
/* On this rail, the identity has just given up @index. */
void sticky_put(struct store *store, const char *pool, const char *rail,
		const struct identity *identity, uint32_t index, int64_t now_ms);

/* Before schema 5 an entry knew no namespace: @tell says which one had the index, or NULL. Of whom
 * that is not known nothing is remembered. */
int sticky_migrate(struct store *store,
		   const char *(*tell)(const char *pool, const char *rail, const char *name,
				       const struct sticky *had, void *arg),
		   void *arg, struct err *err);
