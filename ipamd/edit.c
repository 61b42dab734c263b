/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tenants with one address are what a careless edit gives; an edit that renumbers is made in
 * two steps instead, with a drain between them.
 *
 * No edit that is taken leaves a held index in its rail with other addresses than its record has.
 * So what is inside a rail of @before has the addresses that this rail says, and one look at the
 * prefixes judges all of them; only for the others a record is read, and only if some rail gains
 * addresses.
 */
#include "ipamd/edit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/allot.h"
#include "ipamd/guid.h"
#include "ipamd/proto/proto.h"
#include "ipamd/record.h"

/* One rail before and after; NULL: it was, or will be, in no pool. */
struct judge {
	const struct rail *before, *after;
	bool same_base; /* each address that an index had, it has in @after */
	bool alone;     /* no other rail of the new pools has an address of @before */
	bool gains;     /* some rail of the new pools has an address that it had not before */
};

static bool base_stays(const struct cidr *before, const struct cidr *after)
{
	return !before->ip.family || ip_compare(&before->ip, &after->ip) == 0;
}

static bool prefixes_meet(const struct cidr *a, const struct cidr *b)
{
	return a->ip.family && b->ip.family && cidr_overlaps(a, b);
}

static bool rail_is_alone(const struct rail *before, const struct rail *itself,
			  const struct pool_set *after)
{
	for (size_t p = 0; p < after->count; p++) {
		for (size_t x = 0; x < after->pools[p].rail_count; x++) {
			const struct rail *other = &after->pools[p].rails[x];

			if (other != itself && (prefixes_meet(&before->cidr, &other->cidr) ||
						prefixes_meet(&before->cidr6, &other->cidr6)))
				return false;
		}
	}
	return true;
}

static const struct rail *find_rail(const struct pool_set *set, const char *pool, const char *rail)
{
	const struct pool *found = pool_find(set, pool);

	return found ? pool_rail(found, rail) : NULL;
}

static bool base_is_new(const struct cidr *before, const struct cidr *after)
{
	return after->ip.family && (!before->ip.family || ip_compare(&before->ip, &after->ip) != 0);
}

static bool pools_gain(const struct pool_set *before, const struct pool_set *after)
{
	for (size_t p = 0; p < after->count; p++) {
		for (size_t x = 0; x < after->pools[p].rail_count; x++) {
			const struct rail *rail = &after->pools[p].rails[x];
			const struct rail *was =
				find_rail(before, after->pools[p].name, rail->name);

			if (!was || rail->last > was->last ||
			    base_is_new(&was->cidr, &rail->cidr) ||
			    base_is_new(&was->cidr6, &rail->cidr6))
				return true;
		}
	}
	return false;
}

static struct judge judge_of(const struct pool_set *before, const struct pool_set *after,
			     const char *pool, const char *rail)
{
	struct judge judge = { .before = find_rail(before, pool, rail),
			       .after = find_rail(after, pool, rail) };

	if (!judge.before)
		return judge;
	judge.same_base = judge.after && base_stays(&judge.before->cidr, &judge.after->cidr) &&
			  base_stays(&judge.before->cidr6, &judge.after->cidr6);
	judge.alone = rail_is_alone(judge.before, judge.after, after);
	return judge;
}

/* It stays as it was, or drains, and nobody else gets its addresses: seen without its record. */
static bool judge_knows(const struct judge *judge, uint32_t index)
{
	if (!judge->before || index > judge->before->last)
		return !judge->gains;
	if (judge->after && !judge->same_base)
		return false;
	return judge->alone || (judge->after && index <= judge->after->last);
}

static int edit_refuse(const struct attachment *a, const struct ip *ip, const struct pool *pool,
		       const struct rail *rail, struct err *err)
{
	char text[IP_TEXT];

	(void)err_set(err, EBUSY, ERR_VALUE,
		      "change pools: address %s is held by container %s (%s/%s) as index %u of "
		      "rail \"%s\" of pool \"%s\", and rail \"%s\" of pool \"%s\" would move it",
		      ip_format(ip, text), a->container_id, a->pod.namespace, a->pod.name,
		      a->rail.index, a->rail.name, a->pool, rail->name, pool->name);
	err_details(err, "take the rail out of the pools, so that it drains, and put it back in "
			 "its new form when nothing holds an address of it");
	return -EBUSY;
}

/* Does @rail give the address to another holder, or the held index another address? */
static bool rail_moves(const struct rail *rail, bool same, const struct ip *ip, uint32_t held)
{
	uint64_t index;

	if (rail_index_of(rail, ip, &index))
		return !same || index != held;
	return same && held <= rail->last;
}

static int edit_check_address(const struct pool_set *after, const struct attachment *a,
			      const struct ip *ip, struct err *err)
{
	for (size_t p = 0; p < after->count; p++) {
		const struct pool *pool = &after->pools[p];

		for (size_t x = 0; x < pool->rail_count; x++) {
			const struct rail *rail = &pool->rails[x];
			bool same = strcmp(pool->name, a->pool) == 0 &&
				    strcmp(rail->name, a->rail.name) == 0;

			if (rail_moves(rail, same, ip, a->rail.index))
				return edit_refuse(a, ip, pool, rail, err);
		}
	}
	return 0;
}

static int edit_check_record(struct store *store, const struct pool_set *after, uint64_t id,
			     struct err *err)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	int r;

	r = record_get(store, id, &a, err);
	if (r == -ENOENT)
		return err_set(err, EUCLEAN, ERR_STORE,
			       "read store: an index is held by "
			       "attachment %llu, which has no record",
			       (unsigned long long)id);
	for (size_t i = 0; r == 0 && i < a.net.ip_count; i++)
		r = edit_check_address(after, &a, &a.net.ips[i].cidr.ip, err);
	return r;
}

/* GUIDs */

static const struct rail *guid_rail(const struct pool_set *set, uint64_t guid,
				    const struct pool **ret_pool)
{
	for (size_t p = 0; p < set->count; p++) {
		for (size_t x = 0; x < set->pools[p].rail_count; x++) {
			const struct rail *rail = &set->pools[p].rails[x];

			*ret_pool = &set->pools[p];
			if (guid >= rail->guid_base && guid - rail->guid_base < rail->guid_count)
				return rail;
		}
	}
	return NULL;
}

/*
 * A VF gets another GUID when it is free and its own is not of its rail's block. Until then the
 * fabric knows a port by it, so it must not come into the block of other PFs. (A rail by another
 * name with the same PFs is the same for this. What no rail had before is its owner's still: nobody
 * else is given it.)
 */
static int edit_check_guid(const struct pool_set *before, const struct pool_set *after,
			   uint64_t guid, const char *owner, struct err *err)
{
	const struct pool *old_pool, *new_pool;
	const struct rail *old_rail = guid_rail(before, guid, &old_pool);
	const struct rail *new_rail = old_rail ? guid_rail(after, guid, &new_pool) : NULL;
	char text[GUID_TEXT];

	if (!new_rail || rails_share_pf(old_rail, new_rail) ||
	    (strcmp(old_pool->name, new_pool->name) == 0 &&
	     strcmp(old_rail->name, new_rail->name) == 0))
		return 0;
	(void)err_set(err, EBUSY, ERR_VALUE,
		      "change pools: GUID %s of rail \"%s\" of pool \"%s\" belongs to %s, and rail "
		      "\"%s\" of pool \"%s\" would have it",
		      guid_format(guid, text), old_rail->name, old_pool->name, owner,
		      new_rail->name, new_pool->name);
	err_details(err, "take guidBase from the one rail first, or give it another, and the block "
			 "to the other rail when spurctl vfs shows no GUID of it");
	return -EBUSY;
}

static int edit_check_guids(struct store *store, const struct pool_set *before,
			    const struct pool_set *after, struct err *err)
{
	char owner[GUID_OWNER_MAX];
	int r = 0;

	for (uint64_t guid = 0; r == 0 && guid_next(store, &guid, owner); guid++)
		r = edit_check_guid(before, after, guid, owner, err);
	return r;
}

/* What is held, rail by rail */

void rails_held_free(struct rails_held *held)
{
	free(held->at);
	*held = (struct rails_held) { 0 };
}

struct rail_held *rails_held_add(struct rails_held *held, const struct rail_held *rail)
{
	struct rail_held *at = reallocarray(held->at, held->count + 1, sizeof(*at));

	if (!at)
		return NULL;
	held->at = at;
	at[held->count] = *rail;
	return &at[held->count++];
}

/* The entry of this rail: the last, or a new one; NULL: out of memory. */
static struct rail_held *rails_held_of(struct rails_held *held, const char *pool, const char *name)
{
	struct rail_held *last = held->count ? &held->at[held->count - 1] : NULL;
	struct rail_held rail = { 0 };

	if (last && strcmp(last->pool, pool) == 0 && strcmp(last->rail, name) == 0)
		return last;
	(void)snprintf(rail.pool, sizeof(rail.pool), "%s", pool);
	(void)snprintf(rail.rail, sizeof(rail.rail), "%s", name);
	return rails_held_add(held, &rail);
}

/* After the first refusal it only counts. */
static int edit_check_held(struct store *store, uint64_t first_id, const struct pool_set *before,
			   const struct pool_set *after, struct rails_held *rails, struct err *err)
{
	struct store_key key = { 0 };
	struct allotted held;
	bool gains = pools_gain(before, after);
	struct judge judge = { 0 };
	int r = 0;

	while ((r == 0 || r == -EBUSY) && allot_next_held(store, &key, &held)) {
		size_t count = rails->count;
		struct rail_held *rail = rails_held_of(rails, held.pool, held.rail);

		if (!rail)
			return err_nomem(err);
		if (rails->count > count)
			judge = judge_of(before, after, held.pool, held.rail);
		judge.gains = gains;
		rail->held++;
		rail->draining += !judge.after || !rail_has_index(judge.after, held.index);
		if (r == 0 && held.id >= first_id && !judge_knows(&judge, held.index))
			r = edit_check_record(store, after, held.id, err);
	}
	return r;
}

int edit_load(struct store *store, struct pool_set *ret_set, struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	struct store_key key = { 0 };
	struct store_view value;
	int r;

	store_key_text(&key, "pools");
	if (!store_get(store, STORE_META, &key, &value)) {
		r = store_check(store, err);
		return r < 0 ? r : -ENOENT;
	}
	r = json_parse((const char *)value.data, value.len, &json, err);
	if (r == 0)
		r = pool_set_read(json_object_get(json, "pools"), ret_set, err);
	if (r < 0)
		err_prefix(err, "pools kept in the store");
	return r;
}

int edit_check(struct store *store, uint64_t first_id, const struct pool_set *before,
	       const struct pool_set *after, struct rails_held *ret_held, struct err *err)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	struct err trouble;
	int r;

	r = edit_check_held(store, first_id, before, after, &held, err);
	if (r == 0)
		r = edit_check_guids(store, before, after, err);
	if (r < 0 && r != -EBUSY)
		return r;
	if (store_check(store, &trouble) < 0) {
		*err = trouble;
		return -trouble.errnum;
	}
	*ret_held = held;
	held = (struct rails_held) { 0 };
	return r;
}
