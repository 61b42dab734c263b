/* SPDX-License-Identifier: Apache-2.0 */
/* Whose name a Host header has; which caller of the HTTP server is the slowest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ipamd/http_caller.h"
#include "ipamd/http_host.h"

static const struct {
	const char *host;
	bool ours;
} hosts[] = {
	{ "127.0.0.1", true },
	{ "127.0.0.1:9469", true },
	{ "192.0.2.7:1", true },
	{ "[::1]", true },
	{ "[::1]:9469", true },
	{ "[2001:db8::1]:80", true },
	{ "localhost", true },
	{ "LOCALHOST:80", true },
	{ "node-7", true },
	{ "Node-7:80", true },
	{ "metrics.example", true },
	{ "METRICS.example:443", true },
	{ "", false },
	{ ":80", false },
	{ "evil.example", false },
	{ "node-7.evil", false },
	{ "localhost.evil", false },
	{ "127.0.0.1.evil", false },
	{ "metrics.example.", false },
	{ "metrics", false },
	{ "1.2.3", false },
	{ "1.2.3.4.5", false },
	{ "::1", false },
	{ "[::1", false },
	{ "[]", false },
	{ "[", false },
	{ "]", false },
	{ "[evil]", false },
	{ "[127.0.0.1]", false },
	{ "[::1].evil", false },
};

static void test_hosts(void **state)
{
	CLEANUP_JSON json_t *names = json_pack("[s, s]", "metrics.example", "other");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		if (http_host_is_ours(hosts[i].host, "node-7", names) != hosts[i].ours)
			fail_msg("\"%s\"", hosts[i].host);
	}
	assert_false(http_host_is_ours("metrics.example", "node-7", NULL));
}

static void test_long_hosts(void **state)
{
	char host[1024];

	(void)state;
	for (size_t len = 1; len < sizeof(host); len++) {
		memset(host, 'a', len);
		host[len] = '\0';
		assert_false(http_host_is_ours(host, "node-7", NULL));
		assert_int_equal(http_host_is_name(host), len <= 253);
		host[0] = '[';
		host[len - 1] = ']';
		assert_false(http_host_is_ours(host, "node-7", NULL));
		assert_false(http_host_is_name(host));
	}
}

enum { PATIENCE_MS = 100 };

static void test_a_deadline(void **state)
{
	struct callers callers = { 0 };
	struct caller *slow, *quick;

	(void)state;
	assert_int_equal(callers_left_ms(&callers, PATIENCE_MS, 0), -1);
	slow = caller_enter(&callers, NULL, 3, 0);
	quick = caller_enter(&callers, NULL, 4, 50);
	assert_ptr_not_equal(slow, quick);
	callers_look(&callers);
	assert_int_equal(callers_left_ms(&callers, PATIENCE_MS, 60), 40);
	assert_null(callers_slowest(&callers, PATIENCE_MS, 99));
	assert_ptr_equal(callers_slowest(&callers, PATIENCE_MS, 100), slow);
	caller_move(slow, CALLER_ENDED, 100);
	assert_null(callers_slowest(&callers, PATIENCE_MS, 100));
	assert_int_equal(callers_left_ms(&callers, PATIENCE_MS, 100), 50);
	caller_move(quick, CALLER_ANSWER, 120);
	assert_null(callers_slowest(&callers, PATIENCE_MS, 219));
	assert_ptr_equal(callers_slowest(&callers, PATIENCE_MS, 220), quick);
	assert_int_equal(callers_left_ms(&callers, PATIENCE_MS, 500), 0);
}

/* Who waits for us is not slow. */
static void test_who_waits_is_left_alone(void **state)
{
	struct callers callers = { 0 };
	struct caller *caller = caller_enter(&callers, NULL, 3, 0);

	(void)state;
	caller_move(caller, CALLER_WAITS, 0);
	assert_null(callers_slowest(&callers, PATIENCE_MS, 1000));
	caller_move(caller, CALLER_ASKED, 0);
	assert_null(callers_slowest(&callers, PATIENCE_MS, 1000));
	assert_int_equal(callers_left_ms(&callers, PATIENCE_MS, 1000), -1);
}

/* Each that comes finds a place, and the longest makes it. */
static void test_crowd(void **state)
{
	struct callers callers = { 0 };
	struct caller *first = NULL;

	(void)state;
	for (int i = 0; i < CALLERS_MAX - CALLERS_KEPT; i++) {
		struct caller *caller = caller_enter(&callers, NULL, i, i);

		first = first ? first : caller;
		callers_look(&callers);
		assert_null(callers_slowest(&callers, PATIENCE_MS, 50));
	}
	assert_non_null(caller_enter(&callers, NULL, 0, 50));
	assert_ptr_equal(callers_slowest(&callers, PATIENCE_MS, 50), first);
	caller_move(first, CALLER_ENDED, 50);
	assert_null(callers_slowest(&callers, PATIENCE_MS, 50));
	caller_move(first, CALLER_NONE, 50);
	assert_null(callers_slowest(&callers, PATIENCE_MS, 50));
}

/* Its request may have come with it: nobody has looked. */
static void test_crowd_of_new_ones(void **state)
{
	struct callers callers = { 0 };
	struct caller *first = caller_enter(&callers, NULL, 0, 0);

	(void)state;
	for (int i = 1; i < CALLERS_MAX; i++)
		assert_non_null(caller_enter(&callers, NULL, i, 1));
	assert_null(callers_slowest(&callers, PATIENCE_MS, 1000));
	callers_look(&callers);
	assert_ptr_equal(callers_slowest(&callers, PATIENCE_MS, 1), first);
}

static void test_no_place(void **state)
{
	struct callers callers = { 0 };

	(void)state;
	for (int i = 0; i < CALLERS_MAX; i++)
		assert_non_null(caller_enter(&callers, NULL, i, 0));
	assert_null(caller_enter(&callers, NULL, 99, 0));
	assert_int_equal(callers_count(&callers, CALLER_NEW), CALLERS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),      cmocka_unit_test(test_long_hosts),
		cmocka_unit_test(test_a_deadline), cmocka_unit_test(test_who_waits_is_left_alone),
		cmocka_unit_test(test_crowd),      cmocka_unit_test(test_crowd_of_new_ones),
		cmocka_unit_test(test_no_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
