/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rest keeps an index from other pods than the one that had it, and only if a packet can have left:
 * peers may have cached whose the address was.
 */
#include "ledger_kit.h"

/* One address on each /31, 13 on the /28; 120 s of rest. */
static const char pools[] = "[{'name':'p','claim_s':8,'sticky_s':1000,'rails':["
			    "{'name':'r0','cidr':'10.0.0.0/31','gatewayIndex':0},"
			    "{'name':'r1','cidr':'10.0.1.0/31','gatewayIndex':0}]},"
			    "{'name':'q','sticky_s':1000,'rails':["
			    "{'name':'r0','cidr':'10.1.0.0/28','gatewayIndex':1},"
			    "{'name':'r1','cidr':'10.1.1.0/28','gatewayIndex':1}]}]";

enum { ALL = 13 /* of q's rails */, SECOND = 1000, REST = 120 * SECOND };

static const struct release del = { .left = true, .restored = true, .reason = "DEL" };
static const struct release never_up = {
	.left = true, .restored = true, .never_up = true, .reason = "ADD failed"
};

static struct ledger *ledger;

static void open_ledger(void)
{
	ledger = kit_open("boot-1");
	kit_set_pools(ledger, pools);
}

static void close_ledger(void)
{
	ledger_close(ledger);
	kit_check();
}

/* Each container is another sandbox, of whatever pod. */
struct ask {
	const char *pool, *rail;
	const char *namespace, *name, *uid;
	const char *ip, *sticky;
	bool claims;
};

static int try(const struct ask *ask, struct attachment *ret_a)
{
	static int count;
	char container[16];
	struct reserve_request request;

	(void)snprintf(container, sizeof(container), "c%d", ++count);
	request = kit_request(container, ask->pool);
	request.rail = ask->rail ? ask->rail : "r0";
	request.key.ifname = request.rail;
	request.pod = (struct pod_ref) { (char *)(ask->namespace ? ask->namespace : ""),
					 (char *)(ask->name ? ask->name : ""),
					 (char *)(ask->uid ? ask->uid : "") };
	request.sticky = ask->sticky;
	request.claim_all = ask->claims;
	if (ask->ip) {
		assert_int_equal(cidr_parse(ask->ip, &request.ips[0]), 0);
		request.ip_count = 1;
	}
	return kit_reserve(ledger, &request, NULL, ret_a);
}

/* The index, which is given up at once in the way of @how; NULL: it is kept. */
static int take(const struct release *how, struct ask ask)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	int r = try(&ask, &a);

	if (r == 0 && how)
		(void)kit_end(ledger, &a, how);
	return r < 0 ? r : (int)a.rail.index;
}

#define ask(...) ((struct ask) { __VA_ARGS__ })

/* --- the same pod --- */

static void test_same_pod_gets_its_index_at_once(void **state)
{
	static const struct {
		struct ask first, second;
		bool same;
	} rows[] = {
		{ { "p", .uid = "u1" }, { "p", .uid = "u1" }, true },
		{ { "p", .namespace = "ns", .name = "a", .uid = "u1" },
		  { "p", .namespace = "ns", .name = "a", .uid = "u1" },
		  true },
		{ { "p", .namespace = "ns", .name = "a" },
		  { "p", .namespace = "ns", .name = "a" },
		  true },
		{ { "p", .namespace = "ns", .name = "a", .uid = "u1" },
		  { "p", .namespace = "ns", .name = "a", .uid = "u2" },
		  false }, /* its successor: peers know the other one */
		{ { "p", .namespace = "ns", .name = "a", .uid = "u1" },
		  { "p", .namespace = "ns", .name = "a" },
		  false },
		{ { "p", .namespace = "ns", .name = "a" },
		  { "p", .namespace = "other", .name = "a" },
		  false },
		{ { "p", .name = "a" }, { "p", .name = "a" }, false }, /* not a whole name */
		{ { "p" }, { "p" }, false },                           /* who knows */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)kit_setup(state);
		open_ledger();
		assert_int_equal(take(&del, rows[i].first), 1);
		if (take(NULL, rows[i].second) != (rows[i].same ? 1 : -EAGAIN))
			fail_msg("row %zu", i);
		close_ledger();
	}
}

/* What rests of several pods, and of one on several rails. */
static void test_each_pod_its_own(void **state)
{
	(void)state;
	open_ledger();
	for (int i = 2; i < 8; i++) {
		char uid[8];

		(void)snprintf(uid, sizeof(uid), "u%d", i);
		assert_int_equal(take(&del, ask("q", .uid = uid)), i);
	}
	assert_int_equal(take(&del, ask("q", .uid = "u5")), 5);
	assert_int_equal(take(&del, ask("q", .uid = "u3")), 3);
	assert_int_equal(take(NULL, ask("q", .uid = "new")), 8);
	/* On another rail nothing rests of it. */
	assert_int_equal(take(NULL, ask("q", "r1", .uid = "u5")), 2);
	/* Held by another: then any. */
	assert_int_equal(take(NULL, ask("q", .uid = "other", .ip = "10.1.0.5")), 5);
	assert_int_equal(take(NULL, ask("q", .uid = "u5")), 9);
	close_ledger();
}

/* Of an earlier boot, whether its record is met or dropped behind. */
static void test_after_a_reboot(void **state)
{
	size_t dropped;

	(void)state;
	open_ledger();
	assert_int_equal(take(&del, ask("q", .uid = "u1")), 2);
	assert_int_equal(take(NULL, ask("q", .uid = "u2")), 3);
	assert_int_equal(take(NULL, ask("p", .uid = "u2")), 1);
	ledger_close(ledger);
	kit_check();
	kit_now_ms = 5 * SECOND; /* the node has just booted */
	ledger = kit_open("boot-2");
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_drop_rebooted(ledger, 100, &dropped, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_int_equal(dropped, 2);
	assert_int_equal(take(NULL, ask("p", .uid = "u1")), -EAGAIN);
	assert_int_equal(take(NULL, ask("p", .uid = "u2")), 1);
	assert_int_equal(take(NULL, ask("q", .uid = "new")), 4);
	assert_int_equal(take(NULL, ask("q", .uid = "u2")), 3);
	assert_int_equal(take(NULL, ask("q", .uid = "u1")), 2);
	close_ledger();
}

static void test_all_rails_of_the_same_pod(void **state)
{
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };
	struct reserve_request request = kit_request("c", "p");

	(void)state;
	open_ledger();
	for (int i = 0; i < 3; i++) { /* its sandboxes */
		char container[8];

		(void)snprintf(container, sizeof(container), "box%d", i);
		request.key.container_id = container;
		request.claim_all = true;
		request.rail = request.key.ifname = "r0";
		assert_ok(kit_reserve(ledger, &request, NULL, &a));
		assert_int_equal(a.rail.index, 1);
		request.claim_all = false;
		request.rail = request.key.ifname = "r1";
		assert_ok(kit_reserve(ledger, &request, NULL, &b));
		assert_int_equal(b.rail.index, 1);
		assert_true(kit_end(ledger, &b, &del));
		assert_true(kit_end(ledger, &a, &del));
		attachment_free(&a);
		attachment_free(&b);
	}
	close_ledger();
}

/* Another index on each rail: no common one is the pod's own. */
static void test_own_index_of_each_rail(void **state)
{
	(void)state;
	open_ledger();
	for (int i = 2; i < 2 + ALL; i++) {
		char ip[16], uid[8];

		(void)snprintf(ip, sizeof(ip), "10.1.0.%d", i);
		(void)snprintf(uid, sizeof(uid), "u%d", i);
		assert_int_equal(take(&del, ask("q", .uid = uid, .ip = ip)), i);
		(void)snprintf(uid, sizeof(uid), "u%d", 2 + (i + 1) % ALL);
		(void)snprintf(ip, sizeof(ip), "10.1.1.%d", i);
		assert_int_equal(take(&del, ask("q", "r1", .uid = uid, .ip = ip)), i);
	}
	assert_int_equal(take(NULL, ask("q", .uid = "new")), -EAGAIN);
	assert_int_equal(take(NULL, ask("q", .uid = "u6", .claims = true)), 6);
	close_ledger();
}

/* --- before any packet --- */

static void test_retries_empty_no_rail(void **state)
{
	(void)state;
	open_ledger();
	kit_now_ms = 5; /* of a node and a ledger that are young */
	for (int i = 0; i < 3 * ALL; i++) {
		assert_int_equal(take(&never_up, ask("q")), 2); /* of nobody that is known */
		assert_int_equal(take(&never_up, ask("p", .uid = "u")), 1);
		assert_int_equal(take(&never_up, ask("p", .uid = "u")), 1);
	}
	for (int i = 0; i < ALL; i++)
		assert_int_equal(take(NULL, ask("q")), 2 + i);
	assert_int_equal(take(NULL, ask("q")), -EAGAIN);
	close_ledger();
}

/* One that comes up and fails then keeps others off; but it takes no more than one index. */
static void test_retries_of_one_pod(void **state)
{
	(void)state;
	open_ledger();
	for (int i = 0; i < 3 * ALL; i++)
		assert_int_equal(take(&del, ask("q", .uid = "u")), 2);
	for (int i = 1; i < ALL; i++)
		assert_int_equal(take(NULL, ask("q")), 2 + i);
	assert_int_equal(take(NULL, ask("q")), -EAGAIN);
	assert_int_equal(take(NULL, ask("q", .uid = "u")), 2);
	close_ledger();
}

static void test_earlier_rest_goes_on(void **state)
{
	const struct ask by_name = { "p", .uid = "b", .ip = "10.0.0.1" };

	(void)state;
	open_ledger();
	assert_int_equal(take(&del, ask("p", .uid = "a")), 1);
	kit_now_ms += REST / 2;
	assert_int_equal(take(&never_up, by_name), 1);
	assert_int_equal(take(&never_up, by_name), 1);
	/* It rests of the first one, for as long as it would have. */
	assert_int_equal(take(NULL, ask("p", .uid = "b")), -EAGAIN);
	assert_int_equal(take(&never_up, ask("p", .uid = "a")), 1);
	kit_now_ms += REST / 2 - 1;
	assert_int_equal(take(NULL, ask("p", .uid = "b")), -EAGAIN);
	assert_non_null(strstr(kit_err.msg, "has rested in 1 s"));
	kit_now_ms += 1;
	assert_int_equal(take(NULL, ask("p", .uid = "b")), 1);
	close_ledger();
}

/* A claim that is bound, and one that is not. */
static void test_claimed(void **state)
{
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };
	struct reserve_request request = kit_request("box", "p");

	(void)state;
	open_ledger();
	kit_now_ms = 5;
	request.rail = request.key.ifname = "r0";
	request.claim_all = true;
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_true(kit_end(ledger, &a, &never_up)); /* the claim ends with it */
	assert_int_equal(take(NULL, ask("p", "r1", .uid = "x")), 1);
	assert_int_equal(take(&never_up, ask("p", .uid = "x")), 1);
	attachment_free(&a);
	close_ledger();

	(void)kit_setup(state);
	open_ledger();
	assert_int_equal(take(&del, ask("p", "r1", .namespace = "ns", .name = "box")), 1);
	kit_now_ms += SECOND;
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	request.rail = request.key.ifname = "r1";
	request.claim_all = false;
	assert_ok(kit_reserve(ledger, &request, NULL, &b));
	assert_true(kit_end(ledger, &b, &never_up));
	kit_now_ms += REST - SECOND - 1;
	assert_int_equal(take(NULL, ask("p", "r1", .uid = "x")), -EAGAIN);
	kit_now_ms += 1;
	assert_int_equal(take(NULL, ask("p", "r1", .uid = "x")), 1);
	close_ledger();
}

/* The device left, but is not as it was: the record stays, and its index goes. */
static void test_dirty(void **state)
{
	struct release dirty = { .left = true, .never_up = true, .reason = "ADD failed" };
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };
	struct reserve_request request = kit_request("c", "p");
	struct baseline device = kit_device("net:eth5");

	(void)state;
	open_ledger();
	request.rail = "r0";
	request.sticky = "job/worker-3";
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	assert_false(kit_end(ledger, &a, &dirty));
	assert_int_equal(take(&never_up, ask("p", .uid = "x")), 1);
	assert_true(kit_end(ledger, &a, &del));

	dirty.never_up = false;
	request.key.container_id = "c2";
	assert_ok(kit_reserve(ledger, &request, &device, &b));
	assert_false(kit_end(ledger, &b, &dirty));
	assert_int_equal(take(NULL, ask("p", .uid = "x")), -EAGAIN);
	assert_true(kit_end(ledger, &b, &del)); /* which has no index any more */
	assert_int_equal(take(NULL, ask("p", .namespace = "ns", .name = "c")), 1);
	close_ledger();
}

/* Whom an identity's index rests of is told by the moment, which stays. */
static void test_identity_keeps_what_it_had(void **state)
{
	const struct ask worker = { "p", .uid = "a", .sticky = "w" };
	const struct ask next = { "p", .uid = "b", .sticky = "w" };

	(void)state;
	open_ledger();
	assert_int_equal(take(&del, worker), 1);
	kit_now_ms += SECOND;
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(&never_up, next), 1);
	assert_int_equal(take(NULL, ask("p", .uid = "c")), -EAGAIN);
	assert_int_equal(take(NULL, next), 1);
	close_ledger();
}

/* Another tenant's pod may call itself as it likes. */
static void test_identity_is_of_its_namespace(void **state)
{
	(void)state;
	open_ledger();
	assert_int_equal(take(&del, ask("q", .namespace = "a", .uid = "a", .sticky = "w")), 2);
	assert_int_equal(take(NULL, ask("q", .namespace = "b", .uid = "b", .sticky = "w")), 3);
	assert_int_equal(take(NULL, ask("q", .uid = "c", .sticky = "w")), 4);
	assert_int_equal(take(NULL, ask("q", .namespace = "a", .uid = "d", .sticky = "w")), 2);
	close_ledger();
}

/* An older daemon has taken it, and no key has room for it: nothing is remembered, nothing fails.
 */
static void test_identity_of_an_endless_namespace(void **state)
{
	char namespace[PROTO_NAMESPACE_MAX * 8];
	struct ask worker = ask("q", .namespace = namespace, .uid = "a", .sticky = "w");

	(void)state;
	memset(namespace, 'n', sizeof(namespace));
	namespace[sizeof(namespace) - 1] = '\0';
	open_ledger();
	assert_int_equal(take(&del, worker), 2);
	worker.uid = "b";
	assert_int_equal(take(NULL, worker), 3);
	close_ledger();
}

/* --- asked for by name --- */

#define REST_FOR(who) \
	"[{'name':'p','restFor':'" who "','rails':[{'name':'r0','cidr':'10.0.0.0/28'}]}]"

static void test_by_name_while_it_rests(void **state)
{
	static const char any[] = REST_FOR("any"), namespace[] = REST_FOR("namespace"),
			  pod[] = REST_FOR("pod");
	static const struct {
		const char *pools;
		struct ask first, second;
		const char *refusal; /* "": it is given */
	} rows[] = {
		{ any, { .namespace = "a", .uid = "u1" }, { .namespace = "b", .uid = "u2" }, "" },
		{ namespace,
		  { .namespace = "a", .uid = "u1" },
		  { .namespace = "a", .uid = "u2" },
		  "" },
		{ namespace,
		  { .namespace = "a", .uid = "u1" },
		  { .namespace = "b", .uid = "u2" },
		  "requested address 10.0.0.5: rests on rail \"r0\" for 117 s more, of a pod of "
		  "namespace \"a\"" },
		{ namespace,
		  { .namespace = "a", .name = "x" },
		  { .namespace = "b", .name = "x" },
		  "of a pod of namespace \"a\"" },
		{ namespace, { .uid = "u1" }, { .uid = "u2" }, "" }, /* as podman's */
		{ namespace,
		  { .uid = "u1" },
		  { .namespace = "a", .uid = "u2" },
		  "of a pod of no namespace" },
		{ namespace,
		  { .namespace = "a", .uid = "u1" },
		  { .uid = "u2" },
		  "namespace \"a\"" },
		{ pod, { .namespace = "a", .uid = "u1" }, { .namespace = "a", .uid = "u1" }, "" },
		{ pod,
		  { .namespace = "a", .uid = "u1" },
		  { .namespace = "a", .uid = "u2" },
		  "namespace \"a\"" },
		{ pod,
		  { .namespace = "a", .uid = "u1", .sticky = "s" },
		  { .namespace = "a", .uid = "u2", .sticky = "s" },
		  "" },
		{ pod,
		  { .namespace = "a", .uid = "u1", .sticky = "s" },
		  { .namespace = "b", .uid = "u2", .sticky = "s" },
		  "namespace \"a\"" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ask first = rows[i].first, second = rows[i].second;
		int expected = rows[i].refusal[0] ? -EAGAIN : 5;

		first.pool = second.pool = "p";
		first.ip = second.ip = "10.0.0.5";
		(void)kit_setup(state);
		ledger = kit_open("boot-1");
		kit_set_pools(ledger, rows[i].pools);
		assert_int_equal(take(&del, first), 5);
		kit_now_ms += 3 * SECOND;
		if (take(&never_up, second) != expected || !strstr(kit_err.msg, rows[i].refusal))
			fail_msg("row %zu: %s", i, kit_err.msg);
		assert_int_equal(kit_err.code, expected < 0 ? ERR_AGAIN : 0);
		kit_now_ms += REST;
		assert_int_equal(take(NULL, second), 5);
		close_ledger();
	}
}

/* --- a pod that was forced away, and its successor --- */

static int find_namesake(const struct reserve_request *request)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	int r;

	assert_ok(ledger_begin(ledger, &kit_err));
	r = ledger_find_namesake(ledger, request, &a, &kit_err);
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_int_equal(r == 0, a.id > 0);
	return r == 0 ? (int)a.id : r;
}

static void test_namesake(void **state)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct reserve_request request = kit_request("c1", "q"), asked;
	struct baseline device = kit_device("net:eth5");

	(void)state;
	open_ledger();
	request.rail = "r0";
	request.pod = (struct pod_ref) { (char *)"ns", (char *)"worker-3", (char *)"u1" };
	request.sticky = "w3";
	assert_int_equal(find_namesake(&request), -ENOENT);
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	asked = request;
	asked.key.container_id = "c2";
	asked.pod.uid = (char *)"u2";
	assert_int_equal(find_namesake(&asked), 1);
	asked.rail = "r1"; /* whatever the rail */
	assert_int_equal(find_namesake(&asked), 1);
	asked.pool = "p";
	assert_int_equal(find_namesake(&asked), 1);
	asked.pod.uid = request.pod.uid = (char *)"";
	assert_int_equal(find_namesake(&asked), 1);
	asked.pod.uid = (char *)"u1"; /* the same pod: it is superseded */
	assert_int_equal(find_namesake(&asked), -ENOENT);
	asked.pod.uid = (char *)"u2";
	asked.pod.name = (char *)"worker-4";
	assert_int_equal(find_namesake(&asked), -ENOENT);
	asked.pod.name = (char *)"worker-3";
	asked.sticky = "w4";
	assert_int_equal(find_namesake(&asked), -ENOENT);
	asked.sticky = "w3";
	asked.pod.namespace = (char *)"other";
	assert_int_equal(find_namesake(&asked), -ENOENT);
	asked.pod.namespace = (char *)"ns";
	asked.has_index = true;
	assert_int_equal(find_namesake(&asked), -ENOENT);
	asked.has_index = false;
	/* One rail of the container stands: it has waited. */
	asked.key.container_id = "c1";
	assert_int_equal(find_namesake(&asked), -ENOENT);
	asked.key.container_id = "c2";
	/* Its index has gone, the device is dirty. */
	assert_false(kit_end(ledger, &a, &(struct release) { .left = true, .reason = "DEL" }));
	assert_int_equal(find_namesake(&asked), -ENOENT);
	close_ledger();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_same_pod_gets_its_index_at_once, kit_setup),
		cmocka_unit_test_setup(test_each_pod_its_own, kit_setup),
		cmocka_unit_test_setup(test_after_a_reboot, kit_setup),
		cmocka_unit_test_setup(test_all_rails_of_the_same_pod, kit_setup),
		cmocka_unit_test_setup(test_own_index_of_each_rail, kit_setup),
		cmocka_unit_test_setup(test_retries_empty_no_rail, kit_setup),
		cmocka_unit_test_setup(test_retries_of_one_pod, kit_setup),
		cmocka_unit_test_setup(test_earlier_rest_goes_on, kit_setup),
		cmocka_unit_test_setup(test_claimed, kit_setup),
		cmocka_unit_test_setup(test_dirty, kit_setup),
		cmocka_unit_test_setup(test_identity_keeps_what_it_had, kit_setup),
		cmocka_unit_test_setup(test_identity_is_of_its_namespace, kit_setup),
		cmocka_unit_test_setup(test_identity_of_an_endless_namespace, kit_setup),
		cmocka_unit_test_setup(test_by_name_while_it_rests, kit_setup),
		cmocka_unit_test_setup(test_namesake, kit_setup),
	};

	return cmocka_run_group_tests_name("ledger rest", tests, kit_make_root, kit_remove_root);
}
