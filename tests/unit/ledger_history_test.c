/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the ring: what they find, and how much of it one of them looks at. */
#include "ledger_kit.h"

static const char pools[] =
	"[{'name':'p','cooldown_s':0,'rails':[{'name':'r','cidr':'10.0.0.0/24'}]}]";

static int64_t wall_ms;

int64_t __wrap_clock_wall_ms(void);
int64_t __wrap_clock_wall_ms(void)
{
	return wall_ms;
}

/* @count pods come and go, a second each: events 2n+1 and 2n+2. */
static struct ledger *scene(int count)
{
	struct ledger *ledger = kit_open("boot");

	kit_set_pools(ledger, pools);
	for (int i = 0; i < count; i++) {
		char container[16];
		struct reserve_request request;
		struct attachment a;

		wall_ms = i * 1000;
		(void)snprintf(container, sizeof(container), "c%d", i);
		request = kit_request(container, "p");
		assert_ok(kit_reserve(ledger, &request, NULL, &a));
		assert_true(kit_release(ledger, &a, true, true));
		attachment_free(&a);
	}
	return ledger;
}

static struct history_page ask(struct ledger *ledger, struct history_query query)
{
	struct history_page page;

	query.limit = query.limit ? query.limit : 1000000;
	query.bytes = query.bytes ? query.bytes : SIZE_MAX;
	query.to_ms = query.to_ms ? query.to_ms : INT64_MAX;
	assert_ok(ledger_history(ledger, &query, &page, &kit_err));
	return page;
}

static void expect(struct ledger *ledger, struct history_query query, size_t count, uint64_t next)
{
	struct history_page page = ask(ledger, query);
	json_t *events = json_loads(page.events, 0, NULL);

	assert_int_equal(page.count, count);
	assert_int_equal(json_array_size(events), count);
	assert_int_equal(page.next, next);
	json_decref(events);
	free(page.events);
}

static void test_questions(void **state)
{
	struct ledger *ledger = scene(10);

	(void)state;
	expect(ledger, (struct history_query) { 0 }, 20, 0);
	expect(ledger, (struct history_query) { .after = 20 }, 0, 0);
	expect(ledger, (struct history_query) { .after = 1000 }, 0, 0);
	expect(ledger, (struct history_query) { .limit = 3 }, 3, 3);
	expect(ledger, (struct history_query) { .after = 3, .limit = 17 }, 17, 0);
	expect(ledger, (struct history_query) { .match = "\"c7\"" }, 2, 0);
	expect(ledger, (struct history_query) { .match = "\"c7\"", .limit = 1 }, 1, 15);
	expect(ledger, (struct history_query) { .match = "nobody" }, 0, 0);
	expect(ledger, (struct history_query) { .from_ms = 8000 }, 4, 0);
	expect(ledger, (struct history_query) { .to_ms = 1999 }, 4, 0);
	expect(ledger, (struct history_query) { .from_ms = 3000, .to_ms = 4000 }, 4, 0);
	/* At least one event, however long it is. */
	expect(ledger, (struct history_query) { .bytes = 1 }, 1, 1);
	ledger_close(ledger);
}

static void test_slices(void **state)
{
	struct ledger *ledger = scene(HISTORY_SLICE / 2 + 5);

	(void)state;
	expect(ledger, (struct history_query) { .match = "nobody" }, 0, HISTORY_SLICE);
	expect(ledger, (struct history_query) { .match = "nobody", .after = HISTORY_SLICE }, 0, 0);
	expect(ledger, (struct history_query) { .after = 9 }, HISTORY_SLICE, HISTORY_SLICE + 9);
	ledger_close(ledger);
}

static void test_nothing_has_happened(void **state)
{
	struct ledger *ledger = kit_open("boot");
	struct history_page page = ask(ledger, (struct history_query) { 0 });

	(void)state;
	assert_string_equal(page.events, "[]");
	assert_int_equal(page.last, 0);
	free(page.events);
	ledger_close(ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_questions, kit_setup),
		cmocka_unit_test_setup(test_slices, kit_setup),
		cmocka_unit_test_setup(test_nothing_has_happened, kit_setup),
	};

	return cmocka_run_group_tests_name("ledger history", tests, kit_make_root, kit_remove_root);
}
