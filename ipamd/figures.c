/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/figures.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

static size_t count_rails(const struct pool_set *pools)
{
	size_t count = 0;

	for (size_t i = 0; i < pools->count; i++)
		count += pools->pools[i].rail_count;
	return count;
}

static struct rail_figures *add_rail(struct figures *figures, const char *pool, const char *rail)
{
	struct rail_figures *f = &figures->rails[figures->rail_count++];

	(void)snprintf(f->pool, sizeof(f->pool), "%s", pool);
	(void)snprintf(f->rail, sizeof(f->rail), "%s", rail);
	return f;
}

static int count_rail(struct ledger *ledger, const struct pool *pool, const struct rail *rail,
		      struct figures *figures, struct err *err)
{
	struct rail_figures *f = add_rail(figures, pool->name, rail->name);

	f->guid_base = rail->guid_base;
	f->guids = rail->guid_count;
	return ledger_usage(ledger, pool, rail, &f->usage, err);
}

static bool is_of_pools(const struct pool_set *pools, const struct rail_held *held)
{
	const struct pool *pool = pool_find(pools, held->pool);

	return pool && pool_rail(pool, held->rail);
}

/* What has left the pools and still holds something. */
static void add_left(const struct pool_set *pools, const struct rails_held *held,
		     struct figures *figures)
{
	for (size_t i = 0; i < held->count; i++) {
		const struct rail_held *at = &held->at[i];

		if (!is_of_pools(pools, at))
			add_rail(figures, at->pool, at->rail)->usage = (struct rail_usage) {
				.held = at->held,
				.draining = at->draining,
			};
	}
}

/* The blocks of the rails are disjoint. */
static void count_guid(uint64_t guid, const char *owner, void *arg)
{
	struct figures *figures = arg;

	(void)owner;
	for (size_t i = 0; i < figures->rail_count; i++) {
		struct rail_figures *f = &figures->rails[i];

		f->guids_assigned +=
			f->guids && guid >= f->guid_base && guid - f->guid_base < f->guids;
	}
}

int figures_count(struct ledger *ledger, struct figures *ret_figures, struct err *err)
{
	const struct pool_set *pools = ledger_pools(ledger);
	CLEANUP(rails_held_free) struct rails_held draining = { 0 };
	CLEANUP(figures_free) struct figures figures = { 0 };
	int r;

	r = ledger_draining(ledger, &draining, err);
	if (r < 0)
		return r;
	figures.rails = calloc(count_rails(pools) + draining.count + 1, sizeof(*figures.rails));
	if (!figures.rails)
		return err_nomem(err);
	for (size_t i = 0; r == 0 && i < pools->count; i++) {
		const struct pool *pool = &pools->pools[i];

		for (size_t j = 0; r == 0 && j < pool->rail_count; j++)
			r = count_rail(ledger, pool, &pool->rails[j], &figures, err);
	}
	add_left(pools, &draining, &figures);
	if (r == 0)
		r = ledger_guid_each(ledger, count_guid, &figures, err);
	if (r < 0)
		return r;
	*ret_figures = figures;
	figures = (struct figures) { 0 };
	return 0;
}

void figures_free(struct figures *figures)
{
	free(figures->rails);
	*figures = (struct figures) { 0 };
}
