/* SPDX-License-Identifier: Apache-2.0 */
/* Each rail's counters, its queue and its frontier say what its indexes say. */
#include <inttypes.h>
#include <string.h>

#include "ipamd/audit_inside.h"

/* --- rails --- */

struct rail_numbers {
	uint64_t frontier, held, queued, draining, claimed;
};

/* One rail while its entries of by_index pass by. */
struct rail_look {
	const char *pool, *name;
	const struct rail *rail; /* NULL: no pool of today has it */
	struct rail_numbers is;
	uint64_t next; /* the lowest index that could be given, from the last entry on */
	bool more, gap;
};

/* An index below the frontier without an entry would never be given again. */
static void look_at_gap(struct auditor *a, struct rail_look *look, uint64_t until)
{
	if (!look->more || look->next >= until || look->gap)
		return;
	look->gap = true;
	audit_find(a,
		   "pool \"%s\" rail \"%s\": index %" PRIu64 " lies below the frontier and is lost",
		   look->pool, look->name, look->next);
}

static void look_at_last(struct auditor *a, const struct rail_look *look, uint32_t index,
			 const char *pod)
{
	struct store_key key = { 0 };
	struct store_view value;

	store_key_text(&key, look->pool);
	store_key_text(&key, pod);
	store_key_text(&key, look->name);
	store_key_u32(&key, index);
	if (store_get(a->store, STORE_BY_LAST, &key, &value))
		a->accounted[STORE_BY_LAST]++;
	else
		audit_find(a,
			   "pool \"%s\" rail \"%s\": index %u rests of pod %s, and is not found "
			   "by it",
			   look->pool, look->name, index, pod);
}

static void look_at_resting(struct auditor *a, const struct rail_look *look, uint32_t index,
			    const struct lease *lease)
{
	struct store_key key = { 0 };
	struct store_view value;

	if (lease->pod[0])
		look_at_last(a, look, index, lease->pod);
	store_key_text(&key, look->pool);
	store_key_text(&key, look->name);
	store_key_u64(&key, (uint64_t)lease->since_ms);
	store_key_u32(&key, index);
	if (store_get(a->store, STORE_FREE_Q, &key, &value))
		a->accounted[STORE_FREE_Q]++;
	else
		audit_find(a, "pool \"%s\" rail \"%s\": index %u rests, and is not in the queue",
			   look->pool, look->name, index);
}

static void look_at_index(struct auditor *a, struct rail_look *look, uint32_t index,
			  const struct lease *lease)
{
	uint64_t below = index < look->is.frontier ? index : look->is.frontier;

	look_at_gap(a, look, below);
	if (look->more && index >= look->next)
		look->more = rail_next_index(look->rail, (uint64_t)index + 1, &look->next);
	if (lease->state == LEASE_HELD) {
		look->is.held++;
		look->is.draining += !look->rail || !rail_has_index(look->rail, index);
	} else if (lease->state == LEASE_CLAIMED) {
		look->is.claimed++;
	} else {
		look->is.queued++;
		look_at_resting(a, look, index, lease);
	}
}

static void check_number(struct auditor *a, const struct rail_look *look, const char *what,
			 uint64_t told, uint64_t counted)
{
	if (told != counted)
		audit_find(a,
			   "pool \"%s\" rail \"%s\": %" PRIu64
			   " indexes are %s, and its counter says "
			   "%" PRIu64,
			   look->pool, look->name, counted, what, told);
}

/* @prefix: the rail's key in by_index, without an index. */
static void check_rail(struct auditor *a, const struct store_key *prefix,
		       const struct rail_numbers *told)
{
	const char *pool_name = (const char *)prefix->bytes;
	const char *rail_name = pool_name + strlen(pool_name) + 1;
	const struct pool *pool = pool_find(&a->pools, pool_name);
	struct rail_look look = { .pool = pool_name, .name = rail_name };
	struct store_key key = *prefix;
	struct store_view found, value;
	struct lease lease;

	look.is.frontier = told->frontier;
	look.rail = pool ? pool_rail(pool, rail_name) : NULL;
	look.more = look.rail && rail_next_index(look.rail, 0, &look.next);
	while (audit_walk(a, STORE_BY_INDEX, &key, prefix->len, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
		if (found.len != prefix->len + sizeof(uint32_t) ||
		    lease_decode(value.data, value.len, &lease) < 0)
			audit_find(a, "pool \"%s\" rail \"%s\": an entry is malformed", pool_name,
				   rail_name);
		else
			look_at_index(a, &look, store_view_u32(&found, prefix->len), &lease);
	}
	look_at_gap(a, &look, told->frontier);
	check_number(a, &look, "held", told->held, look.is.held);
	check_number(a, &look, "queued", told->queued, look.is.queued);
	check_number(a, &look, "draining", told->draining, look.is.draining);
	check_number(a, &look, "claimed", told->claimed, look.is.claimed);
	a->audit->held += look.is.held;
	a->audit->draining += look.is.draining;
	a->audit->resting += look.is.queued;
	a->audit->claimed += look.is.claimed;
}

static void check_rails(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	struct rail_numbers told;
	size_t prefix;

	store_key_text(&key, "rail");
	prefix = key.len;
	while (audit_walk(a, STORE_META, &key, prefix, &found, &value)) {
		struct store_key rail = { .len = found.len - prefix };

		store_key_set(&key, &found);
		store_key_next(&key);
		memcpy(rail.bytes, found.data + prefix, rail.len);
		if (value.len != sizeof(told)) {
			audit_find(a, "table meta: the state of a rail has another length");
			continue;
		}
		told = (struct rail_numbers) {
			.frontier = store_view_u64(&value, 0),
			.held = store_view_u64(&value, 8),
			.queued = store_view_u64(&value, 16),
			.draining = store_view_u64(&value, 24),
			.claimed = store_view_u64(&value, 32),
		};
		check_rail(a, &rail, &told);
	}
}

void audit_indexes(struct auditor *a)
{
	const struct audit *audit = a->audit;

	check_rails(a);
	if (store_count(a->store, STORE_BY_INDEX) > audit->held + audit->resting + audit->claimed)
		audit_find(a,
			   "table by_index: there are entries of a rail that meta does not count");
	audit_back(a, STORE_BY_INDEX, audit->held);
	if (audit->claimed > a->claimed)
		audit_find(a, "table by_index: %" PRIu64 " indexes are claimed, by claims %" PRIu64,
			   audit->claimed, a->claimed);
	if (store_count(a->store, STORE_FREE_Q) > a->accounted[STORE_FREE_Q])
		audit_find(a, "table free_q: %" PRIu64 " indexes are queued, %" PRIu64 " rest",
			   store_count(a->store, STORE_FREE_Q), a->accounted[STORE_FREE_Q]);
	if (store_count(a->store, STORE_BY_LAST) > a->accounted[STORE_BY_LAST])
		audit_find(a, "table by_last: %" PRIu64 " indexes are of pods, %" PRIu64 " rest so",
			   store_count(a->store, STORE_BY_LAST), a->accounted[STORE_BY_LAST]);
}
