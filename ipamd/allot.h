/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds which index of which rail: the tables by_index, free_q and by_last, and a few
 * counters a rail.
 * The ledger calls it inside its transaction; lease.c decides, pool.c does the arithmetic.
 *
 * What is held or rests is kept by the names of pool and rail, so that it outlives an edit of the
 * pools. Errors of the store stick in the store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipamd/ledger.h"
#include "ipamd/lease.h"
#include "ipamd/pool.h"
#include "ipamd/store.h"

struct allotment {
	const struct pool *pool;
	const struct rail *rail;
	uint32_t index;
	struct lease before; /* what the index was */
};

/* The rail by the names of @request alone: see ledger_find_rail(). */
int allot_find_rail(const struct pool_set *pools, const struct reserve_request *request,
		    const struct rail **ret_rail, struct err *err);
/*
 * The rail for @request and @device (NULL: none): see ledger_reserve(). NULL if the request names
 * neither pool nor rail. Pure.
 */
int allot_choose_rail(const struct pool_set *pools, const struct reserve_request *request,
		      const struct baseline *device, const struct rail **ret_rail, struct err *err);
/* The oldest rested index of this rail, else an unused one. Takes nothing yet. Refused: see
 * ledger_reserve(). */
int allot_choose(struct store *store, const struct pool *pool, const struct rail *rail,
		 int64_t now_ms, struct allotment *ret_choice, struct err *err);
/* This very index, whatever it is. */
struct allotment allot_look(struct store *store, const struct pool *pool, const struct rail *rail,
			    uint32_t index);
/* What an index is, by the names of pool and rail. */
struct lease allot_lease(struct store *store, const char *pool, const char *rail, uint32_t index);
/* May it be given to anybody? */
bool allot_is_free(const struct allotment *choice, int64_t now_ms);

/* A walk over what allot_choose() could give, in its order: at most @tries rested indexes, and as
 * many unused ones. Begin with the rest zeroed. */
struct allot_walk {
	int tries;
	bool at_unused;
	int step;
	struct store_key queue;
	uint64_t unused;
};
bool allot_next_free(struct store *store, const struct pool *pool, const struct rail *rail,
		     int64_t now_ms, struct allot_walk *walk, uint32_t *ret_index);

/* The index is held by record @id, or claimed by claim @id. */
void allot_take(struct store *store, const struct allotment *choice, enum lease_state state,
		uint64_t id);
/* The index, claimed by @id, is free; it counts as released at @since_ms. */
void allot_unclaim(struct store *store, const char *pool, const struct rail_ref *rail, uint64_t id,
		   int64_t since_ms);
/* The next index of this rail that rests of @pod (lease_pod(); of "" none does): a cursor. Begin
 * with an empty key. */
bool allot_next_of_pod(struct store *store, const struct pool *pool, const struct rail *rail,
		       const char *pod, struct store_key *key, uint32_t *ret_index);
/* Since when the index would rest if nobody used it: LEASE_NEVER if nobody ever has. */
int64_t allot_rested_since_ms(const struct allotment *choice);
/*
 * The index, held by @id, begins to rest of @pod. @pod NULL: nobody has used it, and its earlier
 * rest goes on; if that is not known, it begins now.
 */
void allot_release(struct store *store, const struct pool_set *pools, const char *pool,
		   const struct rail_ref *rail, uint64_t id, const struct pod_ref *pod,
		   int64_t now_ms);

/* The rails have changed: @held of them drain, and indexes that were left out may be given. */
void allot_edit(struct store *store, const struct rails_held *held);
/* The same, from the form before schema 3. */
void allot_migrate(struct store *store, const struct rails_held *held);
/* Before schema 5 the namespace of the pod that an index rests of was not kept: @tell says which it
 * was, or NULL. */
void allot_tell_namespaces(struct store *store, const char *(*tell)(const char *pod, void *arg),
			   void *arg);
/* The first rail with something draining, as allot_next_held(). */
bool allot_next_draining(struct store *store, struct store_key *key, struct rail_held *ret_held);

/* An index as a dump has it, with all that counts it; false: there is an entry already. */
bool allot_restore(struct store *store, const char *pool, const char *rail, uint32_t index,
		   const struct lease *lease);
/* What is counted of the rails, before a dump takes the place of what they hold. */
void allot_forget_all(struct store *store);

/* One held index; pool and rail are inside the store's own key. */
struct allotted {
	const char *pool, *rail;
	uint32_t index;
	uint64_t id;
};
/* The first held index whose key is not below *@key; moves *@key past it. Begin with an empty key.
 */
bool allot_next_held(struct store *store, struct store_key *key, struct allotted *ret_held);

void allot_usage(struct store *store, const struct pool *pool, const struct rail *rail,
		 int64_t now_ms, struct rail_usage *ret_usage);
