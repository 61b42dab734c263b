/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's verbs one by one: what each changes, what it refuses, what outlives a restart. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "ipamd/history.h"
#include "ledger_kit.h"

static const char pools_text[] =
	"[{'name': 'train', 'cooldown_s': 100, 'rails': ["
	"  {'name': 'rail0', 'cidr': '10.0.0.0/29', 'cidr6': 'fd00::/64', 'gatewayIndex': 1,"
	"   'routes': [{'dst': '10.0.0.0/8'}]},"
	"  {'name': 'rail1', 'cidr': '10.0.1.0/29', 'gatewayIndex': 1}]},"
	" {'name': 'one', 'cooldown_s': 0, 'rails': [{'name': 'r', 'cidr': '10.9.0.0/24'}]}]";

/* Reserves an address of rail0 and returns its index, or the negative error. */
static int take(struct ledger *ledger, const char *container, const char *ip,
		struct attachment *ret_a)
{
	struct reserve_request request = kit_request(container, "train");
	struct attachment a = { 0 };
	int r, index;

	request.rail = "rail0";
	if (ip) {
		assert_int_equal(cidr_parse(ip, &request.ips[0]), 0);
		request.ip_count = 1;
	}
	r = kit_reserve(ledger, &request, NULL, &a);
	if (r < 0)
		return r;
	index = (int)a.rail.index;
	if (ret_a)
		*ret_a = a;
	else
		attachment_free(&a);
	return index;
}

static void give_back(struct ledger *ledger, const char *container)
{
	struct attachment_key key = { "net", container, "net1" };
	CLEANUP(attachment_free) struct attachment a = { 0 };

	assert_ok(ledger_find(ledger, &key, &a, &kit_err));
	assert_true(kit_release(ledger, &a, true, true));
}

/* The heads; and the rest, if it was read. */
static void assert_same(const struct attachment *a, const struct attachment *b, bool whole)
{
	CLEANUP_JSON json_t *x = attachment_encode_head(a), *y = attachment_encode_head(b);
	CLEANUP_FREE char *s = json_dumps(x, JSON_SORT_KEYS), *t = json_dumps(y, JSON_SORT_KEYS);

	assert_string_equal(s, t);
	assert_true(whole == (a->env != NULL) && whole == (a->netconf != NULL));
	assert_true(!whole || (json_equal(a->env, b->env) && json_equal(a->netconf, b->netconf)));
}

static void test_reservation_is_found_by_everything(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", "train");
	struct baseline device = kit_device("net:eth5");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	char text[CIDR_TEXT];

	kit_set_pools(ledger, pools_text);
	request.rail = "rail0";
	request.pod.uid = (char *)"uid-1";
	request.netns.nsid = 4;
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	assert_int_equal(a.state, ATTACHMENT_UNFINISHED);
	assert_int_equal(a.generation, a.id);
	assert_string_equal(a.boot_id, "boot-1");
	assert_int_equal(a.boot_time_ms, kit_now_ms);
	assert_true(a.reserved_at_ms > 0);
	assert_string_equal(a.pool, "train");
	assert_int_equal(a.rail.index, 2);
	assert_int_equal(a.net.ip_count, 2);
	assert_string_equal(cidr_format(&a.net.ips[0].cidr, text), "10.0.0.2/29");
	assert_string_equal(cidr_format(&a.net.ips[1].cidr, text), "fd00::2/64");
	assert_int_equal(a.net.route_count, 1);

	for (int round = 0; round < 3; round++) {
		struct attachment found[6] = { 0 };

		if (round == 1) {
			ledger_close(ledger);
			kit_check();
			ledger = kit_open("boot-1");
		}
		if (round == 2) /* inside a batch */
			assert_ok(ledger_begin(ledger, &kit_err));
		assert_ok(ledger_find(ledger, &request.key, &found[0], &kit_err));
		assert_ok(ledger_find_id(ledger, a.id, &found[1], &kit_err));
		assert_ok(ledger_find_device(ledger, "net:eth5", &found[2], &kit_err));
		assert_ok(ledger_find_pod(ledger, "uid-1", &request.key, &found[3], &kit_err));
		assert_ok(ledger_next(ledger, 0, &found[4], &kit_err));
		assert_ok(ledger_find_whole(ledger, &request.key, &found[5], &kit_err));
		for (int i = 0; i < 6; i++) {
			assert_same(&found[i], &a, i >= 4);
			attachment_free(&found[i]);
		}
		assert_int_equal(ledger_next(ledger, a.id, &found[1], &kit_err), -ENOENT);
		assert_int_equal(ledger_find_device(ledger, "net:eth", &found[1], &kit_err),
				 -ENOENT);
		assert_int_equal(kit_count(ledger), 1);
	}
	ledger_close(ledger);
}

/* Of a batch, what was refused leaves no trace and the rest stands. */
static void test_refusal_leaves_the_batch_as_it_was(void **state)
{
	static const struct {
		const char *container, *device, *pool, *rail, *ip;
		int r, code;
		const char *says;
	} rows[] = {
		{ "c1", NULL, "one", NULL, NULL, -EEXIST, ERR_AGAIN, "attachment 1 has it" },
		{ "x", "net:d1", NULL, NULL, NULL, -EEXIST, ERR_AGAIN, "device net:d1" },
		{ "x", NULL, "none", NULL, NULL, -ENOENT, ERR_VALUE, "pool \"none\"" },
		{ "x", NULL, "train", "rail9", NULL, -ENOENT, ERR_VALUE, "no rail \"rail9\"" },
		{ "x", NULL, "train", NULL, NULL, -EINVAL, ERR_VALUE, "has 2 rails" },
		{ "x", NULL, "train", "rail0", "10.0.1.3", -EINVAL, ERR_VALUE, "is not in rail" },
		{ "x", NULL, "train", "rail0", "10.0.0.1", -EINVAL, ERR_VALUE, "is a gateway of" },
		{ "x", NULL, "train", "rail0", "10.0.0.2", -EBUSY, ERR_AGAIN,
		  "10.0.0.2: is held by attachment 1" },
	};
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request first = kit_request("c1", "train"), last = kit_request("c2", "one");
	struct baseline device = kit_device("net:d1");
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };
	(void)state;

	kit_set_pools(ledger, pools_text);
	first.rail = "rail0";
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_reserve(ledger, &first, &device, &a, &kit_err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reserve_request request = kit_request(rows[i].container, rows[i].pool);
		struct baseline its = kit_device(rows[i].device ? rows[i].device : "");
		struct attachment none;

		request.rail = rows[i].rail;
		if (rows[i].ip) {
			assert_int_equal(cidr_parse(rows[i].ip, &request.ips[0]), 0);
			request.ip_count = 1;
		}
		assert_int_equal(ledger_reserve(ledger, &request, rows[i].device ? &its : NULL,
						&none, &kit_err),
				 rows[i].r);
		assert_int_equal(kit_err.code, rows[i].code);
		if (!strstr(kit_err.msg, rows[i].says))
			fail_msg("row %zu: %s", i, kit_err.msg);
	}
	assert_ok(ledger_reserve(ledger, &last, NULL, &b, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_int_equal(b.id, a.id + 1);
	assert_int_equal(kit_count(ledger), 2);
	ledger_close(ledger);
	kit_check();
}

static void test_aborted_batch_is_not_there(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", "one");
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };

	kit_set_pools(ledger, pools_text);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_reserve(ledger, &request, NULL, &a, &kit_err));
	assert_int_equal(kit_count(ledger), 1);
	ledger_abort(ledger);
	assert_int_equal(kit_count(ledger), 0);
	assert_ok(kit_reserve(ledger, &request, NULL, &b));
	assert_int_equal(b.rail.index, a.rail.index);
	ledger_close(ledger);
	kit_check();
}

static void test_ids_are_not_used_again(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", NULL);
	uint64_t last = 0;

	for (int i = 0; i < 3; i++) {
		CLEANUP(attachment_free) struct attachment a = { 0 };

		assert_ok(kit_reserve(ledger, &request, NULL, &a));
		assert_true(a.id > last);
		last = a.id;
		assert_true(kit_release(ledger, &a, true, true));
		ledger_close(ledger);
		ledger = kit_open("boot-1");
	}
	ledger_close(ledger);
}

static void test_done(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", NULL);
	struct attachment_key other = { "net", "c2", "net1" };
	struct baseline device = kit_device("net:d1");
	CLEANUP(attachment_free) struct attachment a = { 0 }, found = { 0 };
	struct facts facts = { .ifindex = 9, .mtu = 9000, .table = 100 };

	assert_ok(kit_reserve(ledger, &request, &device, &a));
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_int_equal(ledger_done(ledger, &request.key, a.id + 1, &facts, &kit_err), -ESTALE);
	assert_int_equal(ledger_done(ledger, &other, a.id, &facts, &kit_err), -ESTALE);
	assert_ok(ledger_done(ledger, &request.key, a.id, &facts, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_ok(ledger_find(ledger, &request.key, &found, &kit_err));
	assert_int_equal(found.state, ATTACHMENT_ATTACHED);
	assert_int_equal(found.facts.ifindex, 9);
	assert_int_equal(found.facts.table, 100);
	assert_string_equal(found.device.name, "eth5");

	/* A `done` that comes after DEL does not make a dirty device look attached. */
	assert_false(kit_release(ledger, &a, false, false));
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_int_equal(ledger_done(ledger, &request.key, a.id, &facts, &kit_err), -ESTALE);
	ledger_close(ledger);
}

static uint32_t table_of(struct ledger *ledger, const char *container, const char *ifname,
			 const char *pool, const char *rail, struct attachment *ret_a)
{
	struct reserve_request request = kit_request(container, pool);

	request.key.ifname = ifname;
	request.rail = rail;
	request.auto_table = true;
	assert_ok(kit_reserve(ledger, &request, NULL, ret_a));
	return ret_a->rail.table;
}

/* The first that no other attachment of the container has: of ours, or asked for by its number. */
static void test_tables_of_a_pod(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request plain = kit_request("c1", NULL);
	struct facts facts = { .table = 1100 };
	struct attachment a[8] = { 0 };

	kit_set_pools(ledger, pools_text);
	assert_int_equal(table_of(ledger, "c1", "i0", "train", "rail0", &a[0]), 100);
	assert_int_equal(table_of(ledger, "c1", "i1", "train", "rail1", &a[1]), 101);
	assert_int_equal(table_of(ledger, "c1", "i2", "train", "rail0", &a[2]), 1000);
	assert_int_equal(table_of(ledger, "c2", "i0", "train", "rail0", &a[3]), 100);
	assert_ok(kit_reserve(ledger, &plain, NULL, &a[4]));
	assert_int_equal(a[4].rail.table, 0);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_done(ledger, &plain.key, a[4].generation, &facts, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_int_equal(table_of(ledger, "c1", "i5", "one", "r", &a[5]), 1200);
	assert_true(kit_release(ledger, &a[0], true, true));
	assert_int_equal(table_of(ledger, "c1", "i6", "one", "r", &a[6]), 100);
	ledger_close(ledger);
	kit_check();

	ledger = kit_open("boot-2"); /* what the pod of an earlier boot had is nobody's */
	assert_int_equal(table_of(ledger, "c1", "i7", "one", "r", &a[7]), 100);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		attachment_free(&a[i]);
	ledger_close(ledger);
}

/* What a head is told by stands in the texts before it as well. */
static void test_request_is_kept(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", NULL);
	struct baseline device = kit_device("net:d1");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct facts facts = { .ifindex = 9, .mtu = 9000 };

	request.pod.name = (char *)"x,\"env\":{";
	request.pod.uid = (char *)"\\\",\"env\":{\\";
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	for (int round = 0; round < 3; round++) {
		struct attachment head = { 0 }, whole = { 0 };

		if (round == 1) {
			assert_ok(ledger_begin(ledger, &kit_err));
			assert_ok(ledger_done(ledger, &request.key, a.id, &facts, &kit_err));
			assert_ok(ledger_commit(ledger, &kit_err));
		}
		if (round == 2)
			assert_false(kit_release(ledger, &a, false, false));
		assert_ok(ledger_find(ledger, &request.key, &head, &kit_err));
		assert_ok(ledger_find_whole(ledger, &request.key, &whole, &kit_err));
		assert_int_equal(whole.state, round);
		assert_true(json_equal(whole.env, a.env) && json_equal(whole.netconf, a.netconf));
		assert_string_equal(head.pod.name, request.pod.name);
		assert_string_equal(head.pod.uid, request.pod.uid);
		assert_same(&head, &whole, false);
		attachment_free(&head);
		attachment_free(&whole);
	}
	ledger_close(ledger);
}

static void test_release(void **state)
{
	static const struct {
		bool device, left, restored;
		bool gone, holds; /* then */
	} rows[] = {
		{ true, true, true, true, false },  { true, true, false, false, false },
		{ true, false, true, false, true }, { true, false, false, false, true },
		{ false, true, true, true, false }, { false, true, false, true, false },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reserve_request request = kit_request("c1", "one");
		struct baseline device = kit_device("net:d1");
		CLEANUP(attachment_free) struct attachment a = { 0 }, found = { 0 };
		struct rail_usage usage;
		struct ledger *ledger;
		const struct pool *pool;

		kit_setup(NULL);
		ledger = kit_open("boot-1");
		kit_set_pools(ledger, pools_text);
		pool = pool_find(ledger_pools(ledger), "one");
		assert_ok(kit_reserve(ledger, &request, rows[i].device ? &device : NULL, &a));
		assert_int_equal(kit_release(ledger, &a, rows[i].left, rows[i].restored),
				 rows[i].gone);
		assert_int_equal(ledger_find(ledger, &request.key, &found, &kit_err),
				 rows[i].gone ? -ENOENT : 0);
		assert_ok(ledger_usage(ledger, pool, &pool->rails[0], &usage, &kit_err));
		assert_int_equal(usage.held, rows[i].holds);
		if (!rows[i].gone) {
			assert_int_equal(found.state, ATTACHMENT_DIRTY);
			assert_string_equal(found.device.name, "eth5");
			assert_int_equal(found.net.ip_count, rows[i].holds);
			/* Later the device is restored. */
			assert_true(kit_release(ledger, &a, true, true));
			assert_int_equal(kit_count(ledger), 0);
		}
		ledger_close(ledger);
		kit_check();
	}
}

static void test_release_of_what_is_not_there(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", NULL);
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };

	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_true(kit_release(ledger, &a, true, true));
	assert_true(kit_release(ledger, &a, true, true));
	assert_ok(kit_reserve(ledger, &request, NULL, &b));
	assert_true(kit_release(ledger, &a, true, true)); /* a late DEL of the generation before */
	assert_int_equal(kit_count(ledger), 1);
	ledger_close(ledger);
}

/* Reconcile tries for ever: its tries must not fill the history. */
static void test_repeated_dirty_release_writes_nothing(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", NULL);
	struct baseline device = kit_device("net:d1");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	CLEANUP_JSON json_t *events = NULL;

	assert_ok(kit_reserve(ledger, &request, &device, &a));
	for (int i = 0; i < 5; i++)
		assert_false(kit_release(ledger, &a, true, false));
	assert_ok(kit_history(ledger, 0, 100, &events));
	assert_int_equal(json_array_size(events), 2);
	ledger_close(ledger);
}

/* After a crash of the runtime a pod has a new sandbox while the old one is being undone. */
static void test_newer_sandbox_of_a_pod_keeps_its_entry(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request old = kit_request("c1", NULL), new = kit_request("c2", NULL);
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 }, found = { 0 };

	old.pod.uid = new.pod.uid = (char *)"uid-1";
	assert_ok(kit_reserve(ledger, &old, NULL, &a));
	assert_ok(kit_reserve(ledger, &new, NULL, &b));
	assert_true(kit_release(ledger, &a, true, true));
	assert_ok(ledger_find_pod(ledger, "uid-1", &new.key, &found, &kit_err));
	assert_int_equal(found.id, b.id);
	assert_true(kit_release(ledger, &b, true, true));
	attachment_free(&found);
	assert_int_equal(ledger_find_pod(ledger, "uid-1", &new.key, &found, &kit_err), -ENOENT);
	ledger_close(ledger);
	kit_check();
}

static void test_choice_of_an_index(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");

	kit_set_pools(ledger, pools_text); /* rail0 has 2..6 */
	assert_int_equal(take(ledger, "a", NULL, NULL), 2);
	assert_int_equal(take(ledger, "b", "10.0.0.4", NULL), 4); /* before the frontier comes */
	assert_int_equal(take(ledger, "c", NULL, NULL), 3);
	give_back(ledger, "c");
	kit_now_ms += 10;
	give_back(ledger, "a");
	assert_int_equal(take(ledger, "d", NULL, NULL), 5);      /* 2 and 3 rest; 4 is held */
	assert_int_equal(take(ledger, "e", "fd00::2", NULL), 2); /* by name: need not wait */
	give_back(ledger, "e");
	kit_now_ms += 99989;
	assert_int_equal(take(ledger, "f", NULL, NULL), 6); /* one millisecond early */
	kit_now_ms += 1;
	assert_int_equal(take(ledger, "g", NULL, NULL), 3);
	assert_int_equal(take(ledger, "h", NULL, NULL), -EAGAIN);
	assert_int_equal(kit_err.code, ERR_AGAIN);
	assert_non_null(strstr(kit_err.msg, "pool \"train\" rail \"rail0\": no address is free"));
	assert_non_null(strstr(kit_err.msg, "in 1 s"));
	assert_non_null(
		strstr(kit_err.details, "of 5 addresses 4 are held, 0 claimed, and 1 rest"));
	kit_now_ms += 10;
	assert_int_equal(take(ledger, "h", NULL, NULL), 2);
	assert_int_equal(take(ledger, "i", NULL, NULL), -EAGAIN);
	assert_non_null(strstr(kit_err.msg, "all are held"));
	ledger_close(ledger);
	kit_check();
}

static void test_rest_outlives_restart_and_reboot(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");

	kit_set_pools(ledger, pools_text);
	for (int i = 2; i <= 6; i++) {
		char name[] = { 'a', (char)('0' + i), '\0' };

		assert_int_equal(take(ledger, name, NULL, NULL), i);
	}
	give_back(ledger, "a2");
	kit_now_ms += 40000;
	ledger_close(ledger);

	ledger = kit_open("boot-1"); /* a restart: BOOTTIME goes on */
	kit_set_pools(ledger, pools_text);
	kit_now_ms += 10000;
	assert_int_equal(take(ledger, "b", NULL, NULL), -EAGAIN);
	assert_non_null(strstr(kit_err.msg, "in 50 s"));
	give_back(ledger, "a3"); /* persists the clock at 50 s of rest */
	ledger_close(ledger);

	kit_now_ms = 20000; /* a reboot: 20 s since, and nobody knows how long before */
	ledger = kit_open("boot-2");
	kit_set_pools(ledger, pools_text);
	assert_int_equal(take(ledger, "b", NULL, NULL), -EAGAIN);
	assert_non_null(strstr(kit_err.msg, "in 30 s"));
	kit_now_ms += 30000;
	assert_int_equal(take(ledger, "b", NULL, NULL), 2);
	ledger_close(ledger);
	kit_check();
}

static void test_pools_are_kept(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	CLEANUP(pool_set_free) struct pool_set set = { 0 };

	assert_int_equal(ledger_pools(ledger)->count, 0);
	assert_int_equal(ledger_stored_pools(ledger, &set, &kit_err), -ENOENT);
	kit_set_pools(ledger, pools_text);
	assert_int_equal(ledger_pools(ledger)->count, 2);
	ledger_close(ledger);

	ledger = kit_open("boot-1"); /* the file is bad now */
	assert_int_equal(ledger_pools(ledger)->count, 2);
	assert_ok(ledger_stored_pools(ledger, &set, &kit_err));
	assert_int_equal(set.count, 2);
	assert_ok(ledger_set_pools(ledger, &set, &kit_err));
	assert_int_equal(set.count, 0); /* taken */
	assert_int_equal(take(ledger, "a", NULL, NULL), 2);
	ledger_close(ledger);
}

/* 10.0.0.5 is held as index 5 of rail r. */
static void test_edits_of_pools(void **state)
{
	static const struct {
		const char *pools;
		int r;
		const char *says;
	} rows[] = {
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28'}]}]", 0, "" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/16'}]}]", 0, "" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/30'}]}]", 0, "" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28', 'exclude': "
		  "['10.0.0.5']}]}]",
		  0, "" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28', 'cidr6': "
		  "'fd00::/64'}]}]",
		  0, "" },
		{ "[{'name': 'p', 'rails': [{'name': 's', 'cidr': '10.0.1.0/28'}]}]", 0, "" },
		{ "[]", 0, "" },
		/* other slots, other prefixes, the same addresses */
		{ "[{'name': 'p', 'blockBits': 2, 'subnet': 'slot', 'rails': [{'name': 'r', "
		  "'cidr': '10.0.0.0/28', 'gatewayIndex': 1}]}]",
		  0, "" },
		{ "[{'name': 'p', 'blockBits': 2, 'reservedSlots': [1], 'rails': [{'name': 'r', "
		  "'cidr': '10.0.0.0/28'}]}]",
		  0, "" },
		/* the address would be another's */
		{ "[{'name': 'p', 'rails': [{'name': 's', 'cidr': '10.0.0.0/28'}]}]", -EBUSY,
		  "rail \"s\"" },
		{ "[{'name': 'q', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28'}]}]", -EBUSY,
		  "pool \"q\"" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.4/30'}]}]", -EBUSY,
		  "10.0.0.5" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/30'}, {'name': 's', "
		  "'cidr': '10.0.0.4/30'}]}]",
		  -EBUSY, "rail \"s\"" },
		/* the index would have another address, or one more that another rail may get */
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr6': 'fd00::/64'}]}]", -EBUSY,
		  "10.0.0.5" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.1.0/28'}]}]", -EBUSY,
		  "container c1 (ns/c1)" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reserve_request request = kit_request("c1", "p");
		CLEANUP(attachment_free) struct attachment a = { 0 };
		struct ledger *ledger;
		int r;

		kit_setup(NULL);
		ledger = kit_open("boot-1");
		kit_set_pools(ledger,
			      "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28'}]}]");
		assert_int_equal(cidr_parse("10.0.0.5", &request.ips[0]), 0);
		request.ip_count = 1;
		assert_ok(kit_reserve(ledger, &request, NULL, &a));
		r = kit_try_pools(ledger, rows[i].pools);
		if (r != rows[i].r || !strstr(kit_err.msg, rows[i].says))
			fail_msg("row %zu: %d, %s", i, r, kit_err.msg);
		if (r < 0) { /* refused whole */
			assert_string_equal(ledger_pools(ledger)->pools[0].name, "p");
			assert_int_equal(ledger_pools(ledger)->pools[0].rails[0].last, 15);
		}
		/* What is held can be given back, whatever the pools are by now. */
		assert_true(kit_release(ledger, &a, true, true));
		ledger_close(ledger);
		kit_check();
	}
}

/* A rail that lost a prefix under a held index would leave its address to another rail. */
static void test_prefix_stays_under_what_is_held(void **state)
{
	(void)state;
	struct reserve_request request = kit_request("c1", "p");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct ledger *ledger = kit_open("boot-1");

	kit_set_pools(ledger, "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28', "
			      "'cidr6': 'fd00::/64'}]}]");
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(kit_try_pools(ledger, "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': "
					       "'10.0.0.0/28'}]}]"),
			 -EBUSY);
	assert_non_null(strstr(kit_err.msg, "fd00::1"));
	assert_true(kit_release(ledger, &a, true, true));
	kit_set_pools(ledger, "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28'}, "
			      "{'name': 's', 'cidr6': 'fd00::/64'}]}]");
	ledger_close(ledger);
	kit_check();
}

/* After a reboot no pod has the addresses any more, though the records are still there. */
static void test_reboot_frees_pools_to_change(void **state)
{
	(void)state;
	static const char moved[] = "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': "
				    "'10.0.0.8/29'}, {'name': 's', 'cidr': '10.0.0.0/29'}]}]";
	struct reserve_request request = kit_request("c1", "p"), next = kit_request("c2", "p");
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };
	struct ledger *ledger = kit_open("boot-1");

	kit_set_pools(ledger, "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28'}]}]");
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(kit_try_pools(ledger, moved), -EBUSY);
	ledger_close(ledger);

	ledger = kit_open("boot-2");
	kit_set_pools(ledger, moved);
	next.rail = "s";
	assert_ok(kit_reserve(ledger, &next, NULL, &b));
	assert_int_equal(b.rail.index, a.rail.index);
	ledger_close(ledger);
	kit_check();
}

static uint64_t draining(struct ledger *ledger, const char *name)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	uint64_t count = 0;

	assert_ok(ledger_draining(ledger, &held, &kit_err));
	for (size_t i = 0; i < held.count; i++) {
		assert_true(held.at[i].draining > 0 && held.at[i].draining <= held.at[i].held);
		count += !name || strcmp(held.at[i].rail, name) == 0 ? held.at[i].draining : 0;
	}
	return count;
}

/* What drains is counted, through each way that it may go and come back. */
static void test_draining_is_counted(void **state)
{
	(void)state;
	static const char whole[] = "[{'name': 'p', 'cooldown_s': 0, 'rails': [{'name': 'r', "
				    "'cidr': '10.0.0.0/28'}]}]";
	static const char slots[] = "[{'name': 'p', 'blockBits': 2, 'reservedSlots': [0], 'rails': "
				    "[{'name': 'r', 'cidr': '10.0.0.0/28'}]}]";
	struct attachment a[4] = { 0 };
	static const char *const names[] = { "c1", "c2", "c3", "c4" };
	struct ledger *ledger = kit_open("boot-1");

	kit_set_pools(ledger, whole);
	for (int i = 0; i < 4; i++) {
		struct reserve_request request = kit_request(names[i], "p");

		assert_ok(kit_reserve(ledger, &request, NULL, &a[i]));
	}
	assert_int_equal(draining(ledger, NULL), 0);
	kit_set_pools(ledger, slots); /* 1, 2 and 3 of the four */
	assert_int_equal(draining(ledger, "r"), 3);
	assert_true(kit_release(ledger, &a[0], true, true));
	assert_int_equal(draining(ledger, "r"), 2);
	assert_true(kit_release(ledger, &a[3], true, true));
	assert_int_equal(draining(ledger, "r"), 2);
	kit_set_pools(ledger, whole);
	assert_int_equal(draining(ledger, NULL), 0);
	kit_set_pools(ledger, "[]");
	assert_int_equal(draining(ledger, "r"), 2);
	ledger_close(ledger);
	kit_check();

	ledger = kit_open("boot-1"); /* before anybody sets the pools */
	assert_true(kit_release(ledger, &a[1], true, true));
	assert_int_equal(draining(ledger, "r"), 1);
	assert_true(kit_release(ledger, &a[2], true, true));
	assert_int_equal(draining(ledger, NULL), 0);
	ledger_close(ledger);
	kit_check();
	for (int i = 0; i < 4; i++)
		attachment_free(&a[i]);
}

/* A GUID that a VF owns does not come to other PFs; to the same ones by another name it does. */
static void test_guids_stay_with_their_pfs(void **state)
{
#define GUID_RAIL(name, pf, cidr, guid)                                                       \
	"{'name': '" name "', 'cidr': '" cidr "', 'match': {'pf': ['" pf "']}, 'guidBase': '" \
	"02:00:00:00:00:0" guid ":00:00'}"
	static const struct {
		const char *pools;
		int r;
	} rows[] = {
		{ "[{'name': 'p', 'rails': [" GUID_RAIL("a", "ib0", "10.0.0.0/24", "1") "]}]", 0 },
		{ "[{'name': 'p', 'rails': [" GUID_RAIL("x", "ib0", "10.0.0.0/24", "1") "]}]", 0 },
		{ "[{'name': 'p', 'rails': [" GUID_RAIL("a", "ib0", "10.0.0.0/24", "3") "]}]", 0 },
		{ "[{'name': 'p', 'rails': [" GUID_RAIL(
			  "a", "ib0", "10.0.0.0/24", "2") ", " GUID_RAIL("b", "ib1", "10.0.1.0/24",
									 "1") "]}]",
		  -EBUSY },
		{ "[{'name': 'q', 'rails': [" GUID_RAIL("a", "ib1", "10.0.0.0/24", "1") "]}]",
		  -EBUSY },
		{ "[]", 0 },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ledger *ledger;
		uint64_t guid;

		kit_setup(NULL);
		ledger = kit_open("boot-1");
		kit_set_pools(ledger,
			      "[{'name': 'p', 'rails': [" GUID_RAIL(
				      "a", "ib0", "10.0.0.0/24",
				      "1") ", " GUID_RAIL("b", "ib1", "10.0.1.0/24", "2") "]}]");
		assert_ok(ledger_begin(ledger, &kit_err));
		assert_ok(ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[0].rails[0],
					     "pci:0000:1a:00.1", &guid, &kit_err));
		assert_ok(ledger_commit(ledger, &kit_err));
		if (kit_try_pools(ledger, rows[i].pools) != rows[i].r)
			fail_msg("row %zu: %s", i, kit_err.msg);
		if (rows[i].r < 0)
			assert_non_null(strstr(kit_err.msg, "belongs to pci:0000:1a:00.1"));
		ledger_close(ledger);
		kit_check();
	}
#undef GUID_RAIL
}

/* Held when its rail shrank, it is still in the way of a rail that would take its address. */
static void test_drained_index_is_not_forgotten(void **state)
{
	(void)state;
	static const char whole[] = "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': "
				    "'10.0.0.0/28'}]}]";
	static const char half[] = "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': "
				   "'10.0.0.0/29'}]}]";
	static const char both[] = "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/29'}, "
				   "{'name': 's', 'cidr': '10.0.0.8/29'}]}]";
	struct reserve_request request = kit_request("c1", "p");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct ledger *ledger = kit_open("boot-1");

	kit_set_pools(ledger, whole);
	assert_int_equal(cidr_parse("10.0.0.9", &request.ips[0]), 0);
	request.ip_count = 1;
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	kit_set_pools(ledger, half);
	assert_int_equal(kit_try_pools(ledger, both), -EBUSY);
	assert_int_equal(kit_try_pools(ledger, whole), 0);
	assert_int_equal(kit_try_pools(ledger, half), 0);
	/* also of one that only grows */
	kit_set_pools(ledger, "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/29'}, "
			      "{'name': 's', 'cidr': '10.0.0.8/32'}]}]");
	assert_int_equal(kit_try_pools(ledger, both), -EBUSY);
	assert_true(kit_release(ledger, &a, true, true));
	assert_int_equal(kit_try_pools(ledger, both), 0);
	ledger_close(ledger);
	kit_check();
}

/* An exclusion that comes and goes neither loses indexes nor gives them out. */
static void test_exclusions_come_and_go(void **state)
{
	(void)state;
	static const char plain[] = "[{'name': 'train', 'cooldown_s': 100, 'rails': [{'name': "
				    "'rail0', 'cidr': '10.0.0.0/29'}]}]";
	static const char excluded[] =
		"[{'name': 'train', 'cooldown_s': 100, 'rails': [{'name': 'rail0', 'cidr': "
		"'10.0.0.0/29', 'exclude': ['10.0.0.1-10.0.0.3']}]}]";
	struct ledger *ledger = kit_open("boot-1");

	kit_set_pools(ledger, plain);
	assert_int_equal(take(ledger, "a", NULL, NULL), 1);
	assert_int_equal(take(ledger, "b", NULL, NULL), 2);
	give_back(ledger, "a");
	kit_set_pools(ledger, excluded); /* 1 rests, 2 is held, 3 was never used */
	kit_now_ms += 100000;
	assert_int_equal(take(ledger, "c", NULL, NULL), 4);
	give_back(ledger, "b");
	kit_now_ms += 100000;
	assert_int_equal(take(ledger, "d", NULL, NULL), 5);
	assert_int_equal(take(ledger, "e", NULL, NULL), 6);
	assert_int_equal(take(ledger, "f", NULL, NULL), -EAGAIN);
	ledger_close(ledger);
	kit_check();
	ledger = kit_open("boot-1");
	kit_set_pools(ledger, plain);
	for (int i = 1; i <= 3; i++) {
		char name[] = { 'g', (char)('0' + i), '\0' };

		assert_int_equal(take(ledger, name, NULL, NULL), i);
	}
	assert_int_equal(take(ledger, "f", NULL, NULL), -EAGAIN);
	ledger_close(ledger);
	kit_check();
}

/* What rests outside of its rail takes nothing from what may be reserved. */
static void test_usage_after_an_edit(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct rail_usage usage;
	const struct pool *pool;

	kit_set_pools(ledger, "[{'name': 'train', 'rails': [{'name': 'rail0', 'cidr': "
			      "'10.0.0.0/28'}]}]");
	for (int i = 0; i < 6; i++)
		assert_int_equal(take(ledger, (char[]) { (char)('a' + i), '\0' }, NULL, NULL),
				 i + 1);
	for (int i = 1; i < 6; i++)
		give_back(ledger, (char[]) { (char)('a' + i), '\0' });
	kit_set_pools(ledger, "[{'name': 'train', 'rails': [{'name': 'rail0', 'cidr': "
			      "'10.0.0.0/30', 'gatewayIndex': 1}]}]");
	pool = pool_find(ledger_pools(ledger), "train");
	assert_ok(ledger_usage(ledger, pool, &pool->rails[0], &usage, &kit_err));
	assert_int_equal(usage.capacity, 1); /* index 2 */
	assert_int_equal(usage.held, 1);
	assert_int_equal(usage.draining, 1);
	assert_int_equal(usage.resting, 1);
	ledger_close(ledger);
	kit_check();
}

static void test_usage(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	const struct pool *pool;
	struct rail_usage usage;

	kit_set_pools(ledger, pools_text);
	pool = pool_find(ledger_pools(ledger), "train");
	(void)take(ledger, "a", NULL, NULL);
	(void)take(ledger, "b", NULL, NULL);
	(void)take(ledger, "c", NULL, NULL);
	give_back(ledger, "a");
	kit_now_ms += 50000;
	give_back(ledger, "b");
	assert_ok(ledger_usage(ledger, pool, &pool->rails[0], &usage, &kit_err));
	assert_int_equal(usage.capacity, 5);
	assert_int_equal(usage.held, 1);
	assert_int_equal(usage.resting, 2);
	kit_now_ms += 50000;
	assert_ok(ledger_usage(ledger, pool, &pool->rails[0], &usage, &kit_err));
	assert_int_equal(usage.resting, 1);
	assert_ok(ledger_usage(ledger, pool, &pool->rails[1], &usage, &kit_err));
	assert_int_equal(usage.held + usage.resting, 0);
	ledger_close(ledger);
}

static void assert_event(json_t *events, size_t i, const char *event, const char *reason)
{
	json_t *json = json_array_get(events, i);

	assert_int_equal(json_integer_value(json_object_get(json, "seq")), i + 1);
	assert_true(json_integer_value(json_object_get(json, "time")) > 0);
	assert_string_equal(json_string_value(json_object_get(json, "event")), event);
	assert_string_equal(json_string_value(json_object_get(json, "reason")), reason);
	assert_string_equal(json_string_value(json_object_get(json, "containerID")), "c1");
	assert_string_equal(json_string_value(json_object_get(json, "device")), "net:d1");
	assert_string_equal(json_string_value(json_array_get(json_object_get(json, "ips"), 0)),
			    "10.9.0.1");
}

static void test_history(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", "one");
	struct baseline device = kit_device("net:d1");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	CLEANUP_JSON json_t *events = NULL, *rest = NULL, *none = NULL;
	struct facts facts = { .ifindex = 9 };

	kit_set_pools(ledger, pools_text);
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_done(ledger, &request.key, a.id, &facts, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_false(kit_release(ledger, &a, false, false));
	assert_true(kit_release(ledger, &a, true, true));
	ledger_close(ledger);

	ledger = kit_open("boot-1");
	assert_ok(kit_history(ledger, 0, 100, &events));
	assert_int_equal(json_array_size(events), 4);
	assert_event(events, 0, "reserved", "");
	assert_event(events, 1, "finished", "");
	assert_event(events, 2, "dirty", "DEL");
	assert_event(events, 3, "released", "DEL");
	assert_ok(kit_history(ledger, 1, 2, &rest));
	assert_int_equal(json_array_size(rest), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rest, 0), "seq")), 2);
	assert_ok(kit_history(ledger, 4, 100, &none));
	assert_int_equal(json_array_size(none), 0);
	ledger_close(ledger);
}

static void test_history_is_a_ring(void **state)
{
	(void)state;
	enum { RING = HISTORY_MAX, EXTRA = 10 };
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", NULL);
	CLEANUP(attachment_free) struct attachment a = { 0 };
	CLEANUP_JSON json_t *first = NULL, *last = NULL;
	struct facts facts = { 0 };

	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_ok(ledger_begin(ledger, &kit_err));
	for (int i = 1; i < RING + EXTRA; i++) /* the reservation was the first */
		assert_ok(ledger_done(ledger, &request.key, a.id, &facts, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_ok(kit_history(ledger, 0, 1, &first));
	assert_int_equal(json_integer_value(json_object_get(json_array_get(first, 0), "seq")),
			 EXTRA + 1);
	assert_ok(kit_history(ledger, RING + EXTRA - 1, 10, &last));
	assert_int_equal(json_array_size(last), 1);
	ledger_close(ledger);
}

/* The ring of an earlier version was twice as long. */
static void test_longer_history_is_cut(void **state)
{
	(void)state;
	enum { LONGER = 2 * HISTORY_MAX };
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", NULL);
	CLEANUP(attachment_free) struct attachment a = { 0 };
	CLEANUP_JSON json_t *first = NULL;
	struct store *store;

	ledger_close(ledger);
	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_WRITE, &kit_err));
	for (uint64_t seq = 1; seq <= LONGER; seq++) {
		struct store_key key = { 0 };

		store_key_u64(&key, seq);
		store_append(store, STORE_HISTORY, &key, "{}", 2);
	}
	assert_ok(store_commit(store, &kit_err));
	store_close(store);
	ledger = kit_open("boot-1");
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_ok(kit_history(ledger, LONGER, 1, &first));
	assert_int_equal(json_integer_value(json_object_get(json_array_get(first, 0), "seq")),
			 LONGER + 1);
	ledger_close(ledger);
	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_READ, &kit_err));
	assert_int_equal(store_count(store, STORE_HISTORY), HISTORY_MAX);
	store_close(store);
}

static void put_record(uint64_t id, const char *text, size_t len)
{
	struct store_key key = { 0 };
	struct store *store;

	store_key_u64(&key, id);
	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_WRITE, &kit_err));
	store_put(store, STORE_RECORD, &key, text, len);
	assert_ok(store_commit(store, &kit_err));
	store_close(store);
}

static void assert_audit_finds(const char *text)
{
	struct audit audit;
	struct store *store;
	bool found = false;

	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_READ, &kit_err));
	assert_ok(audit_store(store, NULL, &audit, &kit_err));
	for (size_t i = 0; i < audit.found && i < AUDIT_FINDINGS_MAX; i++)
		found = found || strstr(audit.findings[i], text);
	assert_true(found);
	audit_free(&audit);
	store_close(store);
}

/* With a checksum that is right: no request is served from it, and none changes it. */
static void test_record_of_another_form(void **state)
{
#define HEAD(id)                                                                      \
	"{\"id\":" id ",\"generation\":1,\"state\":\"attached\",\"network\":\"net\"," \
	"\"containerID\":\"c1\",\"ifname\":\"net1\",\"netns\":{\"nsid\":-1},"
#define REQUEST "\"request\":{\"program\":\"spur\",\"env\":{},\"netconf\":{}}"
#define ROW(text, why)                      \
	{                                   \
		text, sizeof(text) - 1, why \
	}
	static const struct {
		const char *text;
		size_t len;
		const char *why;
	} rows[] = {
		ROW(HEAD("1") REQUEST ",\"bootTime\":5}", "does not end with its request"),
		ROW(HEAD("1") "\"request\":{\"program\":\"spur\"", "cannot be read"),
		ROW(HEAD("1") "\"request\":{\"program\":\"spur\"\0,\"env\":{},\"netconf\":{}}}",
		    "cannot be read"),
		ROW(HEAD("7") REQUEST "}", "is not under its id"),
		ROW("}}}", "cannot be read"),
		ROW(",\"env\":{}}}", "cannot be read"),
	};
	struct reserve_request request = kit_request("c1", NULL);
	struct facts facts = { 0 };
	bool gone;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(attachment_free) struct attachment a = { 0 }, found = { 0 };
		struct ledger *ledger;

		kit_setup(NULL);
		ledger = kit_open("boot-1");
		assert_ok(kit_reserve(ledger, &request, NULL, &a));
		ledger_close(ledger);
		put_record(a.id, rows[i].text, rows[i].len);
		assert_audit_finds(rows[i].why);
		ledger = kit_open("boot-1");
		assert_true(ledger_find(ledger, &request.key, &found, &kit_err) < 0);
		assert_int_equal(kit_err.code, ERR_STORE);
		assert_ok(ledger_begin(ledger, &kit_err));
		kit_err = (struct err) { 0 };
		assert_true(ledger_done(ledger, &request.key, a.id, &facts, &kit_err) < 0);
		assert_int_equal(kit_err.code, ERR_STORE);
		kit_err = (struct err) { 0 };
		assert_true(ledger_release(ledger, &request.key, a.id,
					   &(struct release) { .left = true,
							       .restored = true,
							       .reason = "DEL" },
					   NULL, &gone, &kit_err) < 0);
		assert_int_equal(kit_err.code, ERR_STORE);
		ledger_abort(ledger);
		ledger_close(ledger);
	}
}

/* One damaged record spoils the batch that reads it, and no other. */
static void test_damaged_record_poisons_its_batch_only(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request bad = kit_request("the-damaged-one", NULL);
	struct reserve_request good = kit_request("c2", NULL), next = kit_request("c3", NULL);
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 }, found = { 0 };
	CLEANUP_FREE char *data = NULL;
	char path[128], *at;
	size_t len;
	int fd;

	assert_ok(kit_reserve(ledger, &bad, NULL, &a));
	(void)snprintf(path, sizeof(path), "%s/data.mdb", kit_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fs_read_all(fd, 1 << 24, &data, &len), 0);
	for (at = data; (at = memmem(at, len - (size_t)(at - data), "\"/run/netns/x\"", 14)); at++)
		assert_int_equal(pwrite(fd, "\"/run/netns/y\"", 14, at - data), 14);
	(void)close(fd);

	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_reserve(ledger, &good, NULL, &b, &kit_err));
	assert_int_equal(ledger_find(ledger, &bad.key, &found, &kit_err), -EUCLEAN);
	assert_int_equal(kit_err.code, ERR_STORE);
	assert_int_equal(ledger_reserve(ledger, &next, NULL, &found, &kit_err), -EUCLEAN);
	assert_int_equal(ledger_commit(ledger, &kit_err), -EUCLEAN);
	assert_int_equal(ledger_find(ledger, &good.key, &found, &kit_err), -ENOENT);
	attachment_free(&b);
	assert_ok(kit_reserve(ledger, &good, NULL, &b));
	ledger_close(ledger);
}

/* Which rail's addresses a device gets: 10.N.0.0/24, 0 to 2 those of pool "m", 3 that of "one". */
static const char matched_text[] =
	"[{'name': 'm', 'rails': ["
	"  {'name': 'rail0', 'cidr': '10.0.0.0/24', 'match': {'pf': ['ens1', 'eth5']}},"
	"  {'name': 'rail1', 'cidr': '10.1.0.0/24', 'match': {'pci': ['0000:1a:00.0']},"
	"   'pkey': '0x8001', 'guidBase': '02:00:00:00:00:01:00:00'},"
	"  {'name': 'any', 'cidr': '10.2.0.0/24', 'guidBase': '02:00:00:00:00:02:00:00'}]},"
	" {'name': 'one', 'rails': [{'name': 'r', 'cidr': '10.3.0.0/24', 'match': "
	"  {'pf': ['ens9']}}]},"
	" {'name': 'two', 'rails': [{'name': 'rail0', 'cidr': '10.4.0.0/24', 'match': "
	"  {'pf': ['ens4']}}]}]";

static void test_rail_of_a_device(void **state)
{
	static const char vf[] = "pci:0000:1a:00.2", nic[] = "pci:0000:1a:00.0";
	static const char sf[] = "aux:mlx5_core.sf.4", sf_netdev[] = "net:eth5";
	static const struct {
		const char *pool, *rail;
		const char *device, *pf_netdev, *pf; /* pf NULL: no VF */
		int net, pkey;                       /* net -1: no address */
		const char *says;
	} rows[] = {
		/* named */
		{ "m", "rail0", NULL, NULL, NULL, 0, 0, NULL },
		{ "m", "rail0", vf, "ens1", "0000:01:00.0", 0, 0, NULL },
		{ "m", "rail1", vf, "ens7", "0000:1a:00.0", 1, 0x8001, NULL },
		{ "m", "any", vf, "ens1", "0000:01:00.0", 2, 0, NULL },
		{ "m", "rail1", vf, "ens1", "0000:01:00.0", 0, 0,
		  "key \"rail\": \"rail1\": 0000:1a:00.2 is on rail0" },
		{ "m", "rail0", vf, "ens7", "0000:02:00.0", 0, 0,
		  "key \"rail\": \"rail0\": 0000:1a:00.2 is not on it" },
		{ "m", "rail9", vf, "ens1", "0000:01:00.0", 0, 0, "has no rail \"rail9\"" },
		/* by the PF; a whole NIC is its own, by address, by name, by its parent */
		{ "m", NULL, vf, "ens1", "0000:01:00.0", 0, 0, NULL },
		{ "m", NULL, vf, "ens7", "0000:1a:00.0", 1, 0x8001, NULL },
		{ "m", NULL, nic, NULL, NULL, 1, 0x8001, NULL },
		{ "m", NULL, "net:eth5", NULL, NULL, 0, 0, NULL },
		{ "m", NULL, vf, "ens7", "0000:02:00.0", 0, 0, "has 3 rails, and the request" },
		{ "m", NULL, NULL, NULL, NULL, 0, 0, "has 3 rails, and the request" },
		/* a subfunction by its PF, however it is named: what is its own has no meaning */
		{ "m", NULL, sf, "ens1", "0000:01:00.0", 0, 0, NULL },
		{ "m", NULL, sf, "", "0000:1a:00.0", 1, 0x8001, NULL },
		{ "m", "rail1", sf, "ens7", "0000:1a:00.0", 1, 0x8001, NULL },
		{ "m", "rail0", sf, "ens7", "0000:1a:00.0", 0, 0,
		  "key \"rail\": \"rail0\": mlx5_core.sf.4 is on rail1" },
		{ "m", NULL, sf, "ens7", "0000:02:00.0", 0, 0, "has 3 rails, and the request" },
		{ "m", NULL, sf_netdev, "ens7", "0000:1a:00.0", 1, 0x8001, NULL },
		{ "one", NULL, sf_netdev, "ens9", "0000:02:00.0", 3, 0, NULL },
		{ "one", NULL, sf, "ens1", "0000:02:00.0", 0, 0,
		  "pool \"one\": mlx5_core.sf.4 is on none of its rails" },
		/* the only one */
		{ "one", NULL, NULL, NULL, NULL, 3, 0, NULL },
		{ "one", NULL, vf, "ens9", "0000:02:00.0", 3, 0, NULL },
		{ "one", NULL, vf, "ens1", "0000:02:00.0", 0, 0,
		  "pool \"one\": 0000:1a:00.2 is on none of its rails" },
		/* no address: the rail is asserted all the same */
		{ NULL, "rail1", vf, "ens7", "0000:1a:00.0", -1, 0x8001, NULL },
		{ NULL, "rail0", vf, "ens7", "0000:1a:00.0", 0, 0,
		  "key \"rail\": \"rail0\": 0000:1a:00.2 is on rail1" },
		{ NULL, "rail0", vf, "ens1", "0000:02:00.0", -1, 0, NULL },
		{ NULL, "rail0", vf, "ens4", "0000:02:00.0", -1, 0, NULL },
		{ NULL, "rail0", NULL, NULL, NULL, -1, 0, NULL },
		{ NULL, "rail9", vf, "ens7", "0000:1a:00.0", 0, 0, "rail \"rail9\": no pool" },
		{ NULL, NULL, vf, "ens7", "0000:1a:00.0", -1, 0, NULL },
	};
	struct ledger *ledger = kit_open("boot-1");
	(void)state;

	kit_set_pools(ledger, matched_text);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reserve_request request = kit_request("c1", rows[i].pool);
		CLEANUP(attachment_free) struct attachment a = { 0 };
		struct baseline device = { 0 };
		int r;

		request.rail = rows[i].rail;
		if (rows[i].pf)
			device = kit_vf(rows[i].device, rows[i].pf_netdev, rows[i].pf);
		else if (rows[i].device)
			device = kit_device(rows[i].device);
		if (rows[i].device == sf || rows[i].device == sf_netdev) {
			device.vf.is_vf = false;
			(void)snprintf(device.parent, sizeof(device.parent),
				       "auxiliary/mlx5_core.sf.4");
		}
		if (rows[i].device == nic)
			(void)snprintf(device.name, sizeof(device.name), "ens7");
		r = kit_reserve(ledger, &request, rows[i].device ? &device : NULL, &a);
		if (r < 0) {
			if (!rows[i].says || !strstr(kit_err.msg, rows[i].says))
				fail_msg("row %zu: %s", i, kit_err.msg);
			assert_int_equal(kit_err.code, ERR_VALUE);
			continue;
		}
		if (rows[i].says)
			fail_msg("row %zu is served", i);
		assert_int_equal(a.net.ip_count, rows[i].net >= 0);
		if (rows[i].net >= 0)
			assert_int_equal(a.net.ips[0].cidr.ip.bytes[1], rows[i].net);
		assert_int_equal(a.pkey, rows[i].pkey);
		assert_true(kit_release(ledger, &a, true, true));
	}
	ledger_close(ledger);
	kit_check();
}

static void test_device_is_known_by_its_parent(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct reserve_request request = kit_request("c1", "m");
	struct baseline device = kit_device("net:eth7");
	CLEANUP(attachment_free) struct attachment a = { 0 };

	kit_set_pools(ledger, matched_text);
	(void)snprintf(device.name, sizeof(device.name), "eth7");
	(void)snprintf(device.parent, sizeof(device.parent), "pci/0000:1a:00.0");
	request.pkey = 0x7001; /* what is asked for beats the rail's */
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	assert_string_equal(a.rail.name, "rail1");
	assert_int_equal(a.pkey, 0x7001);
	ledger_close(ledger);
}

static void test_rail_by_name(void **state)
{
	static const struct {
		const char *pool, *rail;
		int r; /* or 0 */
		const char *found;
	} rows[] = {
		{ "m", "rail1", 0, "rail1" },       { "one", NULL, 0, "r" },
		{ NULL, "rail0", 0, "rail0" },      { NULL, "r", 0, "r" },
		{ "m", NULL, -EINVAL, NULL },       { NULL, NULL, -EINVAL, NULL },
		{ "m", "rail9", -ENOENT, NULL },    { NULL, "rail9", -ENOENT, NULL },
		{ "none", "rail0", -ENOENT, NULL },
	};
	struct ledger *ledger = kit_open("boot-1");
	(void)state;

	kit_set_pools(ledger, matched_text);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reserve_request request = kit_request("c1", rows[i].pool);
		const struct rail *rail;

		request.rail = rows[i].rail;
		assert_int_equal(ledger_find_rail(ledger, &request, &rail, &kit_err), rows[i].r);
		if (rows[i].r < 0)
			assert_int_equal(kit_err.code, ERR_VALUE);
		else
			assert_string_equal(rail->name, rows[i].found);
	}
	ledger_close(ledger);
}

/* GUIDs */

enum { GUID_TEXTS = 512 };

/* The end of each GUID with its owner: "10000=pci:a 10001=record:3". */
static void list_guid(uint64_t guid, const char *owner, void *arg)
{
	char *text = arg;
	size_t n = strlen(text);

	assert_true(guid >> 24 == UINT64_C(0x0200000000));
	(void)snprintf(text + n, GUID_TEXTS - n, "%s%llx=%s", n ? " " : "",
		       (unsigned long long)guid & 0xffffff, owner);
}

static void assert_guids(struct ledger *ledger, const char *expected)
{
	char text[GUID_TEXTS] = "";

	assert_ok(ledger_guid_each(ledger, list_guid, text, &kit_err));
	assert_string_equal(text, expected);
}

static const struct rail *guid_rail(struct ledger *ledger, const char *name)
{
	return pool_rail(pool_find(ledger_pools(ledger), "m"), name);
}

/* Returns the last bytes of the GUID, or the error. */
static int assign(struct ledger *ledger, const struct rail *rail, const char *device_key)
{
	uint64_t guid, own;
	int r;

	assert_ok(ledger_begin(ledger, &kit_err));
	r = ledger_guid_assign(ledger, rail, device_key, &guid, &kit_err);
	assert_ok(ledger_commit(ledger, &kit_err));
	if (r < 0)
		return r;
	assert_ok(ledger_guid_of(ledger, device_key, &own, &kit_err));
	assert_true(own == guid);
	return (int)(guid & 0xffffff);
}

static void test_each_vf_keeps_its_guid(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-1");
	struct rail tight;
	uint64_t guid;

	kit_set_pools(ledger, matched_text);
	assert_guids(ledger, "");
	assert_int_equal(ledger_guid_of(ledger, "pci:a", &guid, &kit_err), -ENOENT);
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail1"), "pci:a"), 0x10000);
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail1"), "pci:b"), 0x10001);
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail1"), "pci:a"), 0x10000);
	assert_int_equal(assign(ledger, guid_rail(ledger, "any"), "pci:c"), 0x20000);
	ledger_close(ledger);
	kit_check();

	ledger = kit_open("boot-2");
	kit_set_pools(ledger, matched_text);
	assert_guids(ledger, "10000=pci:a 10001=pci:b 20000=pci:c");
	/* To another rail: what it had is free. */
	assert_int_equal(assign(ledger, guid_rail(ledger, "any"), "pci:a"), 0x20001);
	assert_guids(ledger, "10001=pci:b 20000=pci:c 20001=pci:a");
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail1"), "pci:d"), 0x10000);
	/* A full block, and a rail without one. */
	tight = *guid_rail(ledger, "rail1");
	tight.guid_count = 2;
	assert_int_equal(assign(ledger, &tight, "pci:e"), -EAGAIN);
	assert_int_equal(kit_err.code, ERR_AGAIN);
	assert_non_null(strstr(kit_err.msg, "rail \"rail1\": each of its 2 GUIDs has an owner"));
	tight.guid_count = 3;
	assert_int_equal(assign(ledger, &tight, "pci:e"), 0x10002);
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail0"), "pci:f"), -ENOENT);
	assert_int_equal(kit_err.code, ERR_VALUE);
	/* What is aborted was not. */
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_guid_assign(ledger, guid_rail(ledger, "any"), "pci:g", &guid, &kit_err));
	ledger_abort(ledger);
	assert_int_equal(ledger_guid_of(ledger, "pci:g", &guid, &kit_err), -ENOENT);
	assert_guids(ledger, "10000=pci:d 10001=pci:b 10002=pci:e 20000=pci:c 20001=pci:a");
	ledger_close(ledger);
	kit_check();
}

/* Reserves a device with a GUID (0: its own); returns that of the record, or the error. */
static int take_guid(struct ledger *ledger, const char *container, const char *device_key,
		     uint64_t guid)
{
	struct reserve_request request = kit_request(container, NULL);
	struct baseline device = kit_vf(device_key, "ens7", "0000:1a:00.0");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	int r;

	request.guid = guid;
	r = kit_reserve(ledger, &request, &device, &a);
	return r < 0 ? r : (int)(a.guid & 0xffffff);
}

static void test_guid_has_one_owner(void **state)
{
	(void)state;
	static const uint64_t base = 0x0200000000010000;
	struct ledger *ledger = kit_open("boot-1");
	struct attachment_key key = { "net", "c2", "net1" };
	CLEANUP(attachment_free) struct attachment a = { 0 };

	kit_set_pools(ledger, matched_text);
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail1"), "pci:a"), 0x10000);
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail1"), "pci:b"), 0x10001);
	/* its own, unasked and by name */
	assert_int_equal(take_guid(ledger, "c1", "pci:a", 0), 0x10000);
	give_back(ledger, "c1");
	assert_int_equal(take_guid(ledger, "c1", "pci:a", base), 0x10000);
	give_back(ledger, "c1");
	assert_guids(ledger, "10000=pci:a 10001=pci:b");
	/* none */
	assert_int_equal(take_guid(ledger, "c1", "pci:z", 0), 0);
	give_back(ledger, "c1");
	/* another's */
	assert_int_equal(take_guid(ledger, "c1", "pci:a", base + 1), -EEXIST);
	assert_int_equal(kit_err.code, ERR_AGAIN);
	assert_non_null(strstr(kit_err.msg, "GUID 02:00:00:00:00:01:00:01: belongs to pci:b"));
	/* nobody's: the record's, and no VF gets it */
	assert_int_equal(take_guid(ledger, "c2", "pci:a", base + 2), 0x10002);
	assert_int_equal(take_guid(ledger, "c3", "pci:b", base + 2), -EEXIST);
	assert_int_equal(kit_err.code, ERR_AGAIN);
	assert_non_null(strstr(kit_err.msg, "00:02: is held by attachment 4"));
	assert_int_equal(assign(ledger, guid_rail(ledger, "rail1"), "pci:c"), 0x10003);
	assert_guids(ledger, "10000=pci:a 10001=pci:b 10002=record:4 10003=pci:c");
	/* In use, a VF keeps what it has. */
	assert_int_equal(assign(ledger, guid_rail(ledger, "any"), "pci:a"), 0x10000);
	ledger_close(ledger);
	kit_check();

	/* A dirty VF may still have it. */
	ledger = kit_open("boot-1");
	kit_set_pools(ledger, matched_text);
	assert_ok(ledger_find(ledger, &key, &a, &kit_err));
	assert_false(kit_release(ledger, &a, true, false));
	assert_int_equal(take_guid(ledger, "c3", "pci:b", base + 2), -EEXIST);
	give_back(ledger, "c2");
	assert_guids(ledger, "10000=pci:a 10001=pci:b 10003=pci:c");
	assert_int_equal(take_guid(ledger, "c3", "pci:b", base + 2), 0x10002);
	ledger_close(ledger);
	kit_check();
}

static void test_guid_that_no_port_can_have(void **state)
{
	static const uint64_t guids[] = { UINT64_MAX, 0x0100000000000000, 0x03000000000000ff };
	struct ledger *ledger = kit_open("boot-1");
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(guids); i++) {
		assert_int_equal(take_guid(ledger, "c1", "pci:a", guids[i]), -EINVAL);
		assert_int_equal(kit_err.code, ERR_VALUE);
	}
	assert_guids(ledger, "");
	ledger_close(ledger);
}

/* What tells a ledger from any other lives as long as it does. */
static void test_name(void **state)
{
	char none[LEDGER_NAME_TEXT], first[LEDGER_NAME_TEXT], again[LEDGER_NAME_TEXT];
	struct ledger *ledger;

	(void)state;
	assert_false(ledger_is_there(kit_dir));
	ledger = kit_open("boot-1");
	assert_true(ledger_is_there(kit_dir));
	assert_ok(ledger_name(ledger, none, &kit_err));
	assert_string_equal(none, "");
	assert_ok(ledger_give_name(ledger, first, &kit_err));
	assert_int_equal(strlen(first), LEDGER_NAME_TEXT - 1);
	ledger_close(ledger);
	ledger = kit_open("boot-1");
	assert_ok(ledger_name(ledger, again, &kit_err));
	assert_string_equal(again, first);
	ledger_close(ledger);

	(void)kit_setup(NULL);
	ledger = kit_open("boot-1");
	assert_ok(ledger_give_name(ledger, again, &kit_err));
	assert_string_not_equal(again, first);
	ledger_close(ledger);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_reservation_is_found_by_everything, kit_setup),
		cmocka_unit_test_setup(test_refusal_leaves_the_batch_as_it_was, kit_setup),
		cmocka_unit_test_setup(test_aborted_batch_is_not_there, kit_setup),
		cmocka_unit_test_setup(test_ids_are_not_used_again, kit_setup),
		cmocka_unit_test_setup(test_name, kit_setup),
		cmocka_unit_test_setup(test_done, kit_setup),
		cmocka_unit_test_setup(test_request_is_kept, kit_setup),
		cmocka_unit_test_setup(test_tables_of_a_pod, kit_setup),
		cmocka_unit_test_setup(test_record_of_another_form, kit_setup),
		cmocka_unit_test_setup(test_release, kit_setup),
		cmocka_unit_test_setup(test_release_of_what_is_not_there, kit_setup),
		cmocka_unit_test_setup(test_repeated_dirty_release_writes_nothing, kit_setup),
		cmocka_unit_test_setup(test_newer_sandbox_of_a_pod_keeps_its_entry, kit_setup),
		cmocka_unit_test_setup(test_choice_of_an_index, kit_setup),
		cmocka_unit_test_setup(test_rest_outlives_restart_and_reboot, kit_setup),
		cmocka_unit_test_setup(test_pools_are_kept, kit_setup),
		cmocka_unit_test_setup(test_edits_of_pools, kit_setup),
		cmocka_unit_test_setup(test_prefix_stays_under_what_is_held, kit_setup),
		cmocka_unit_test_setup(test_reboot_frees_pools_to_change, kit_setup),
		cmocka_unit_test_setup(test_draining_is_counted, kit_setup),
		cmocka_unit_test_setup(test_guids_stay_with_their_pfs, kit_setup),
		cmocka_unit_test_setup(test_drained_index_is_not_forgotten, kit_setup),
		cmocka_unit_test_setup(test_exclusions_come_and_go, kit_setup),
		cmocka_unit_test_setup(test_usage, kit_setup),
		cmocka_unit_test_setup(test_usage_after_an_edit, kit_setup),
		cmocka_unit_test_setup(test_history, kit_setup),
		cmocka_unit_test_setup(test_history_is_a_ring, kit_setup),
		cmocka_unit_test_setup(test_longer_history_is_cut, kit_setup),
		cmocka_unit_test_setup(test_damaged_record_poisons_its_batch_only, kit_setup),
		cmocka_unit_test_setup(test_rail_of_a_device, kit_setup),
		cmocka_unit_test_setup(test_device_is_known_by_its_parent, kit_setup),
		cmocka_unit_test_setup(test_rail_by_name, kit_setup),
		cmocka_unit_test_setup(test_each_vf_keeps_its_guid, kit_setup),
		cmocka_unit_test_setup(test_guid_has_one_owner, kit_setup),
		cmocka_unit_test_setup(test_guid_that_no_port_can_have, kit_setup),
	};

	return cmocka_run_group_tests(tests, kit_make_root, kit_remove_root);
}
