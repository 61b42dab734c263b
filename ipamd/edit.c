/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tenants with one address are what a careless edit gives; an edit that renumbers is made in
 * two steps instead, with a drain between them. Rails that stay as they are cost one comparison an
 * index, others one record.
 */
#include "ipamd/edit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "ipamd/allot.h"
#include "ipamd/proto/proto.h"
#include "ipamd/record.h"

static bool prefix_equal(const struct cidr *a, const struct cidr *b)
{
	return a->plen == b->plen && ip_compare(&a->ip, &b->ip) == 0;
}

/* The rail maps this index as it did before, so no other rail of the set can have its addresses. */
static bool edit_keeps(const struct pool_set *before, const struct pool_set *after,
		       const struct allotted *held)
{
	const struct pool *old_pool = pool_find(before, held->pool);
	const struct pool *new_pool = pool_find(after, held->pool);
	const struct rail *old_rail = old_pool ? pool_rail(old_pool, held->rail) : NULL;
	const struct rail *new_rail = new_pool ? pool_rail(new_pool, held->rail) : NULL;

	return old_rail && new_rail && prefix_equal(&old_rail->cidr, &new_rail->cidr) &&
	       prefix_equal(&old_rail->cidr6, &new_rail->cidr6) && held->index <= new_rail->last;
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
	const struct cidr *cidr = ip->family == AF_INET6 ? &rail->cidr6 : &rail->cidr;
	uint64_t index;

	if (rail_index_of(rail, ip, &index))
		return !same || index != held;
	return same && cidr->ip.family && held <= rail->last;
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

int edit_check(struct store *store, const struct pool_set *before, const struct pool_set *after,
	       struct err *err)
{
	struct store_key key = { 0 };
	struct allotted held;
	int r;

	while (allot_next_held(store, &key, &held)) {
		if (edit_keeps(before, after, &held))
			continue;
		r = edit_check_record(store, after, held.id, err);
		if (r < 0)
			return r;
	}
	return store_check(store, err);
}
