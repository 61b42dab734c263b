/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random edits of small pools under random tenants. What is refused, and what drains, is foretold
 * address by address, without the short ways of edit.c; the audit proves the store. Run with a
 * number to repeat one seed.
 */
#include "ledger_kit.h"

enum { ROUNDS = 500, TENANTS = 10, CHECK_EVERY = 50 };

static unsigned int seed = 2; /* of the first, one that an index drains twice in */

static int at_random(int below)
{
	return rand_r(&seed) % below;
}

static json_t *rail_at_random(const char *name)
{
	json_t *rail = json_pack("{s:s}", "name", name);
	int families = 1 + at_random(3), plen = 27 + at_random(3);
	int start = at_random(1 << (plen - 26)) << (32 - plen);

	if (families & 1)
		json_object_set_new(rail, "cidr", json_sprintf("10.0.0.%d/%d", start, plen));
	if (families & 2)
		json_object_set_new(rail, "cidr6", json_sprintf("fd00::%x/%d", start, plen + 96));
	if (families & 1 && at_random(3) == 0)
		json_object_set_new(rail, "exclude",
				    json_pack("[o]", json_sprintf("10.0.0.%d/31", start + 2)));
	if (at_random(3) == 0)
		json_object_set_new(rail, "gatewayIndex", json_integer(1));
	return rail;
}

static json_t *pool_at_random(const char *name)
{
	json_t *pool = json_pack("{s:s, s:i, s:[]}", "name", name, "cooldown_s", 0, "rails");
	json_t *rails = json_object_get(pool, "rails");

	json_array_append_new(rails, rail_at_random("a"));
	if (at_random(2))
		json_array_append_new(rails, rail_at_random("b"));
	if (at_random(4) == 0) {
		json_object_set_new(pool, "blockBits", json_integer(2));
		json_object_set_new(pool, "reservedSlots", json_pack("[i]", 1));
		if (at_random(2))
			json_object_set_new(pool, "subnet", json_string("slot"));
	}
	return pool;
}

/* Most that are drawn have rails that overlap. */
static void pools_at_random(struct pool_set *ret_set)
{
	int r;

	do {
		CLEANUP_JSON json_t *pools = json_array();

		if (at_random(8))
			json_array_append_new(pools, pool_at_random("p"));
		if (at_random(2))
			json_array_append_new(pools, pool_at_random("q"));
		r = pool_set_read(pools, ret_set, &kit_err);
	} while (r < 0);
}

static bool is_of(const struct attachment *a, const struct pool *pool, const struct rail *rail)
{
	return strcmp(a->pool, pool->name) == 0 && strcmp(a->rail.name, rail->name) == 0;
}

static bool moves(const struct attachment *a, const struct pool *pool, const struct rail *rail)
{
	for (size_t i = 0; i < a->net.ip_count; i++) {
		uint64_t index;
		bool inside = rail_index_of(rail, &a->net.ips[i].cidr.ip, &index);

		if (inside && !(is_of(a, pool, rail) && index == a->rail.index))
			return true;
		if (!inside && is_of(a, pool, rail) && a->rail.index <= rail->last)
			return true;
	}
	return false;
}

static bool is_refused(const struct attachment *tenants, const struct pool_set *set)
{
	for (int t = 0; t < TENANTS; t++) {
		for (size_t p = 0; tenants[t].id && p < set->count; p++) {
			for (size_t x = 0; x < set->pools[p].rail_count; x++) {
				if (moves(&tenants[t], &set->pools[p], &set->pools[p].rails[x]))
					return true;
			}
		}
	}
	return false;
}

static bool drains(const struct attachment *a, const struct pool_set *set)
{
	const struct pool *pool = pool_find(set, a->pool);
	const struct rail *rail = pool ? pool_rail(pool, a->rail.name) : NULL;

	return a->id && !(rail && rail_has_index(rail, a->rail.index));
}

static uint64_t count_draining(const struct attachment *tenants, const struct pool_set *set)
{
	uint64_t count = 0;

	for (int t = 0; t < TENANTS; t++)
		count += drains(&tenants[t], set);
	return count;
}

static uint64_t sum_draining(const struct rails_held *held)
{
	uint64_t count = 0;

	for (size_t i = 0; i < held->count; i++)
		count += held->at[i].draining;
	return count;
}

static void step_tenant(struct ledger *ledger, struct attachment *tenant, int number)
{
	const struct pool_set *set = ledger_pools(ledger);
	char name[] = { 'c', (char)('0' + number), '\0' };
	struct reserve_request request = kit_request(name, NULL);
	const struct pool *pool;

	if (tenant->id) {
		assert_true(kit_release(ledger, tenant, true, true));
		attachment_free(tenant);
		*tenant = (struct attachment) { 0 };
	} else if (set->count > 0) {
		pool = &set->pools[at_random((int)set->count)];
		request.pool = pool->name;
		request.rail = pool->rails[at_random((int)pool->rail_count)].name;
		if (kit_reserve(ledger, &request, NULL, tenant) < 0)
			*tenant = (struct attachment) { 0 }; /* full */
	}
}

static void check_draining(struct ledger *ledger, const struct attachment *tenants)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };

	assert_ok(ledger_draining(ledger, &held, &kit_err));
	assert_int_equal(sum_draining(&held), count_draining(tenants, ledger_pools(ledger)));
}

static int step_edit(struct ledger *ledger, const struct attachment *tenants)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	int expected, r;

	pools_at_random(&set);
	expected = is_refused(tenants, &set) ? -EBUSY : 0;
	r = ledger_try_pools(ledger, &set, &held, &kit_err);
	if (r != expected)
		fail_msg("foretold %d, is %d: %s", expected, r, r < 0 ? kit_err.msg : "");
	assert_int_equal(sum_draining(&held), count_draining(tenants, &set));
	assert_int_equal(ledger_set_pools(ledger, &set, &kit_err), expected);
	return expected;
}

static void test_random_edits(void **state)
{
	(void)state;
	struct attachment tenants[TENANTS] = { 0 };
	struct ledger *ledger = kit_open("boot-1");
	int taken = 0;

	for (int round = 1; round <= ROUNDS; round++) {
		for (int i = at_random(3); i >= 0; i--) {
			int t = at_random(TENANTS);

			step_tenant(ledger, &tenants[t], t);
		}
		taken += step_edit(ledger, tenants) == 0;
		check_draining(ledger, tenants);
		if (round % CHECK_EVERY)
			continue;
		ledger_close(ledger);
		kit_check();
		ledger = kit_open("boot-1");
	}
	ledger_close(ledger);
	assert_true(taken > ROUNDS / 10 && taken < ROUNDS * 9 / 10);
	for (int t = 0; t < TENANTS; t++)
		attachment_free(&tenants[t]);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_random_edits, kit_setup),
	};

	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	return cmocka_run_group_tests(tests, kit_make_root, kit_remove_root);
}
