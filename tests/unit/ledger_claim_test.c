/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod claims beside what it reserves, and what an identity gets again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ipamd/sticky.h"
#include "ledger_kit.h"

static const char pools_text[] =
	"[{'name': 'train', 'cooldown_s': 100, 'sticky_s': 1000, 'claim_s': 60, 'rails': ["
	"  {'name': 'r0', 'cidr': '10.0.0.0/29', 'match': {'pf': ['p0']}},"
	"  {'name': 'r1', 'cidr': '10.0.1.0/29', 'match': {'pf': ['p1']}},"
	"  {'name': 'r2', 'cidr': '10.0.2.0/29', 'match': {'pf': ['p2']}}]}]";

/* Each rail has two VFs, "pci:0000:0R:00.1" and .2. */
static bool vf_is_claimed[3][3];
static struct ledger *vf_ledger;

static int choose_vf(const struct rail *rail, const char *not_this, char key[PROTO_DEVICE_MAX],
		     void *arg, struct err *err)
{
	int number = rail->name[1] - '0';
	bool is_free;

	(void)arg;
	for (int i = 1; i <= 2; i++) {
		(void)snprintf(key, PROTO_DEVICE_MAX, "pci:0000:0%d:00.%d", number, i);
		assert_ok(ledger_device_is_free(vf_ledger, key, &is_free, &kit_err));
		if (is_free && strcmp(key, not_this) != 0 && !vf_is_claimed[number][i])
			return 0;
	}
	return err_set(err, EBUSY, ERR_AGAIN, "rail %s: no VF is free", rail->name);
}

static void note_vf(const char *device_key, bool taken, void *arg)
{
	int number = device_key[strlen("pci:0000:0")] - '0';
	int i = device_key[strlen(device_key) - 1] - '0';

	(void)arg;
	assert_int_equal(vf_is_claimed[number][i], !taken);
	vf_is_claimed[number][i] = taken;
}

static const struct ledger_vfs vfs = { choose_vf, note_vf, NULL };

static struct ledger *open_ledger(const char *boot)
{
	struct ledger *ledger = kit_open(boot);

	ledger_set_vfs(ledger, &vfs);
	kit_set_pools(ledger, pools_text);
	vf_ledger = ledger;
	return ledger;
}

static void close_ledger(struct ledger *ledger)
{
	ledger_close(ledger);
	kit_check();
}

static int setup(void **state)
{
	memset(vf_is_claimed, 0, sizeof(vf_is_claimed));
	return kit_setup(state);
}

struct ask {
	const char *container, *rail;
	const char *claim[4]; /* "*" or rails */
	const char *ip, *sticky;
	bool choose;
	int vf; /* of the rail; 0 = no device */
};

static int try(struct ledger *ledger, const struct ask *ask, struct attachment *ret_a)
{
	struct reserve_request request = kit_request(ask->container, "train");
	struct baseline device;
	char key[PROTO_DEVICE_MAX], pf[4];

	request.key.ifname = ask->rail;
	request.rail = ask->rail;
	request.sticky = ask->sticky;
	request.choose_device = ask->choose;
	for (int i = 0; ask->claim[i]; i++) {
		request.claim_all = ask->claim[i][0] == '*';
		request.claim[request.claim_count++] = ask->claim[i];
	}
	if (request.claim_all)
		request.claim_count = 0;
	if (ask->ip) {
		assert_int_equal(cidr_parse(ask->ip, &request.ips[0]), 0);
		request.ip_count = 1;
	}
	(void)snprintf(key, sizeof(key), "pci:0000:0%c:00.%d", ask->rail[1], ask->vf);
	(void)snprintf(pf, sizeof(pf), "p%c", ask->rail[1]);
	device = kit_vf(key, pf, "0000:ff:00.0");
	return kit_reserve(ledger, &request, ask->vf ? &device : NULL, ret_a);
}

/* The index, or the error. */
static int take(struct ledger *ledger, struct ask ask)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	int r = try(ledger, &ask, &a);

	return r < 0 ? r : (int)a.rail.index;
}

static void give_back(struct ledger *ledger, const char *container, const char *rail)
{
	struct attachment_key key = { "net", container, rail };
	CLEANUP(attachment_free) struct attachment a = { 0 };

	assert_ok(ledger_find(ledger, &key, &a, &kit_err));
	assert_true(kit_release(ledger, &a, true, true));
}

static struct rail_usage usage(struct ledger *ledger, int rail)
{
	const struct pool *pool = &ledger_pools(ledger)->pools[0];
	struct rail_usage usage;

	assert_ok(ledger_usage(ledger, pool, &pool->rails[rail], &usage, &kit_err));
	return usage;
}

static size_t sweep(struct ledger *ledger)
{
	size_t count;

	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_claims_sweep(ledger, &count, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	return count;
}

static void test_claimed_rails_are_bound(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	/* Only 3 is free on every rail of the first two. */
	assert_int_equal(
		take(ledger, (struct ask) { .container = "x", .rail = "r0", .ip = "10.0.0.1" }), 1);
	assert_int_equal(
		take(ledger, (struct ask) { .container = "y", .rail = "r1", .ip = "10.0.1.2" }), 2);
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "a", .rail = "r0", .claim = { "r0", "r1" } }),
		3);
	assert_int_equal(usage(ledger, 1).claimed, 1);
	assert_int_equal(usage(ledger, 2).claimed, 0);
	assert_int_equal(
		take(ledger, (struct ask) { .container = "b", .rail = "r1", .ip = "10.0.1.3" }),
		-EBUSY);
	assert_non_null(strstr(kit_err.msg, "is claimed by another pod on rail \"r1\""));
	/* What it has already is not claimed again, by whatever list. */
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r2", .claim = { "*" } }), 3);
	assert_int_equal(usage(ledger, 1).claimed, 1);
	ledger_close(ledger);
	kit_check();
	ledger = open_ledger("boot-1");
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r1" }), 3);
	assert_int_equal(usage(ledger, 1).claimed, 0);
	assert_int_equal(usage(ledger, 1).held, 2);
	close_ledger(ledger);
}

static void test_all_rails_or_none(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	char name[8], ip[16];

	for (int i = 1; i <= 6; i++) { /* r2 is full */
		(void)snprintf(name, sizeof(name), "x%d", i);
		(void)snprintf(ip, sizeof(ip), "10.0.2.%d", i);
		assert_int_equal(
			take(ledger, (struct ask) { .container = name, .rail = "r2", .ip = ip }),
			i);
	}
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r0", .claim = { "*" } }),
		-EAGAIN);
	assert_int_equal(kit_err.code, ERR_AGAIN);
	assert_non_null(strstr(kit_err.msg, "rail \"r2\": no address is free"));
	assert_int_equal(
		usage(ledger, 0).held + usage(ledger, 0).claimed + usage(ledger, 1).claimed, 0);
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "a", .rail = "r0", .claim = { "r1", "r9" } }),
		-ENOENT);
	assert_int_equal(kit_err.code, ERR_VALUE);
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "a", .rail = "r0", .claim = { "r1", "r1" } }),
		-EINVAL);
	assert_int_equal(kit_count(ledger), 6);
	close_ledger(ledger);
}

/* No index is free on all: each rail has its own. */
static void test_no_common_index(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	char name[8], ip[16];

	for (int i = 1; i <= 6; i++) {
		(void)snprintf(name, sizeof(name), "x%d", i);
		(void)snprintf(ip, sizeof(ip), "10.0.%d.%d", i > 3, i);
		assert_int_equal(take(ledger, (struct ask) { .container = name,
							     .rail = i > 3 ? "r1" : "r0",
							     .ip = ip }),
				 i);
	}
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r0", .claim = { "r1" } }),
		4);
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r1" }), 1);
	close_ledger(ledger);
}

/* After an edit, too, the search begins where indexes are that nobody had, however many are held.
 */
static void test_common_index_after_an_edit(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	static const char rails[] = "'rails': [{'name': 'r0', 'cidr': '10.0.0.0/24'},"
				    "{'name': 'r1', 'cidr': '10.0.1.0/24'}]}]";
	char text[256], name[8];

	(void)snprintf(text, sizeof(text), "[{'name': 'train', %s", rails);
	kit_set_pools(ledger, text);
	for (int i = 1; i <= 41; i++) {
		(void)snprintf(name, sizeof(name), "x%d", i);
		if (i <= 40)
			assert_int_equal(
				take(ledger, (struct ask) { .container = name, .rail = "r0" }), i);
		assert_int_equal(take(ledger, (struct ask) { .container = name, .rail = "r1" }), i);
	}
	(void)snprintf(text, sizeof(text), "[{'name': 'train', 'cooldown_s': 7, %s", rails);
	kit_set_pools(ledger, text);
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r0", .claim = { "*" } }),
		42);
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r1" }), 42);
	/* What was passed over is given next. */
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r0" }), 41);
	assert_int_equal(take(ledger, (struct ask) { .container = "c", .rail = "r0" }), 43);
	close_ledger(ledger);
}

static void test_requested_address_is_for_all_rails(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	assert_int_equal(take(ledger, (struct ask) { .container = "a",
						     .rail = "r0",
						     .ip = "10.0.0.5",
						     .claim = { "*" } }),
			 5);
	assert_int_equal(take(ledger, (struct ask) { .container = "b",
						     .rail = "r1",
						     .ip = "10.0.1.5",
						     .claim = { "*" } }),
			 -EBUSY);
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r1" }), 5);
	/* Another one by name is taken, and what was claimed is free. */
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r2", .ip = "10.0.2.6" }), 6);
	assert_int_equal(usage(ledger, 2).claimed, 0);
	assert_int_equal(
		take(ledger, (struct ask) { .container = "c", .rail = "r2", .ip = "10.0.2.5" }), 5);
	close_ledger(ledger);
}

static void test_claimed_vfs(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	struct reserve_request request = kit_request("a", "train");
	char key[PROTO_DEVICE_MAX];
	bool is_free;

	assert_int_equal(take(ledger, (struct ask) { .container = "a",
						     .rail = "r0",
						     .vf = 1,
						     .choose = true,
						     .claim = { "*" } }),
			 1);
	assert_true(vf_is_claimed[1][1] && vf_is_claimed[2][1] && !vf_is_claimed[0][1]);
	request.rail = "r1";
	assert_ok(ledger_claimed_device(ledger, &request, key, &kit_err));
	assert_string_equal(key, "pci:0000:01:00.1");
	assert_ok(ledger_device_is_free(ledger, key, &is_free, &kit_err));
	assert_false(is_free);
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r1", .vf = 1 }),
			 -EBUSY);
	assert_non_null(strstr(kit_err.msg, "container a has claimed it"));
	/* Bound with another VF: the claimed one is free. And with the claimed one. */
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r1", .vf = 2 }), 1);
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "a", .rail = "r2", .vf = 1, .choose = true }),
		1);
	assert_false(vf_is_claimed[1][1] || vf_is_claimed[2][1]);
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r1", .vf = 1 }), 2);
	close_ledger(ledger);
}

/* A VF has two names: who asks for its netdev meets the claim of its address. */
static void test_claimed_vf_by_its_netdev(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	struct reserve_request request = kit_request("b", "train");
	struct baseline device = kit_vf("net:eth5", "p1", "0000:ff:00.0");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	bool is_free;

	(void)snprintf(device.parent, sizeof(device.parent), "pci/0000:01:00.1");
	request.rail = "r1";
	assert_int_equal(take(ledger, (struct ask) { .container = "a",
						     .rail = "r0",
						     .vf = 1,
						     .choose = true,
						     .claim = { "r1" } }),
			 1);
	assert_int_equal(kit_reserve(ledger, &request, &device, &a), -EBUSY);
	assert_non_null(strstr(kit_err.msg, "container a has claimed it"));
	/* Its own pod binds it so, and the address stands for nothing any more. */
	request.key.container_id = "a";
	assert_int_equal(kit_reserve(ledger, &request, &device, &a), 0);
	assert_false(vf_is_claimed[1][1]);
	assert_ok(ledger_device_is_free(ledger, "pci:0000:01:00.1", &is_free, &kit_err));
	assert_true(is_free);
	close_ledger(ledger);
}

static void set_many_rails(struct ledger *ledger, char letter)
{
	char text[PROTO_RAILS_MAX * 64];
	size_t at = 0;

	for (int i = 0; i < PROTO_RAILS_MAX; i++)
		at += (size_t)snprintf(
			text + at, sizeof(text) - at, "%s{'name': '%c%d', 'cidr': '10.%d.%d.0/29'}",
			i ? ", " : "[{'name': 'train', 'rails': [", letter, i, letter, i);
	(void)snprintf(text + at, sizeof(text) - at, "]}]");
	kit_set_pools(ledger, text);
}

/* What was claimed on rails that an edit has taken away counts until it ends. */
static void test_claim_of_rails_that_have_gone(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	set_many_rails(ledger, 'a');
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "a0", .claim = { "*" } }), 1);
	set_many_rails(ledger, 'b');
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "b0", .claim = { "*" } }),
		-EBUSY);
	assert_non_null(strstr(kit_err.msg, "too many rails"));
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "b0", .claim = { "b1" } }),
		1);
	kit_now_ms += 1000000;
	assert_int_equal(sweep(ledger), 1);
	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "b1", .claim = { "*" } }), 1);
	close_ledger(ledger);
}

/* What an earlier boot has left of a VF goes, and not the claim that has come since. */
static void test_claimed_vf_of_an_earlier_boot(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	size_t dropped;

	assert_int_equal(take(ledger, (struct ask) { .container = "old", .rail = "r1", .vf = 1 }),
			 1);
	close_ledger(ledger);
	ledger = open_ledger("boot-2");
	assert_true(take(ledger, (struct ask) { .container = "a",
						.rail = "r0",
						.vf = 1,
						.choose = true,
						.claim = { "*" } }) > 0);
	assert_true(vf_is_claimed[1][1]);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_drop_rebooted(ledger, 10, &dropped, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	close_ledger(ledger);
}

static void list_device(const struct attachment *a, void *arg)
{
	char *list = arg;
	size_t len = strlen(list);

	(void)snprintf(list + len, 128 - len, "%s=%s;", a->device.key, a->container_id);
}

/* Neither who has no device, nor what is only claimed, nor what an earlier boot has left. */
static void test_devices_of_records(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	char list[128] = "";

	assert_int_equal(take(ledger, (struct ask) { .container = "old", .rail = "r2", .vf = 2 }),
			 1);
	close_ledger(ledger);
	ledger = open_ledger("boot-2");
	assert_int_equal(take(ledger, (struct ask) { .container = "x", .rail = "r1" }), 1);
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r1", .vf = 2 }), 2);
	assert_true(take(ledger, (struct ask) { .container = "a",
						.rail = "r0",
						.vf = 1,
						.choose = true,
						.claim = { "r1" } }) > 0);
	assert_true(vf_is_claimed[1][1]);
	assert_ok(ledger_devices_each(ledger, list_device, list, &kit_err));
	assert_string_equal(list, "pci:0000:00:00.1=a;pci:0000:01:00.2=b;");
	close_ledger(ledger);
}

/* One rail has no VF left: none is taken on the others. */
static void test_all_vfs_or_none(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	assert_int_equal(take(ledger, (struct ask) { .container = "x", .rail = "r2", .vf = 1 }), 1);
	assert_int_equal(take(ledger, (struct ask) { .container = "y", .rail = "r2", .vf = 2 }), 2);
	assert_int_equal(take(ledger, (struct ask) { .container = "a",
						     .rail = "r0",
						     .vf = 1,
						     .choose = true,
						     .claim = { "*" } }),
			 -EBUSY);
	assert_false(vf_is_claimed[1][1] || vf_is_claimed[2][1]);
	assert_int_equal(usage(ledger, 0).held + usage(ledger, 1).claimed, 0);
	close_ledger(ledger);
}

static void test_claim_ends(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	kit_now_ms = 1000000;
	assert_false(ledger_claims_due(ledger) && sweep(ledger));
	assert_int_equal(take(ledger, (struct ask) { .container = "a",
						     .rail = "r0",
						     .vf = 1,
						     .choose = true,
						     .claim = { "*" } }),
			 1);
	kit_now_ms += 59999;
	assert_false(ledger_claims_due(ledger));
	kit_now_ms += 1;
	assert_true(ledger_claims_due(ledger));
	assert_int_equal(sweep(ledger), 1);
	assert_false(ledger_claims_due(ledger));
	assert_false(vf_is_claimed[1][1] || vf_is_claimed[2][1]);
	assert_int_equal(usage(ledger, 1).claimed, 0);
	assert_int_equal(usage(ledger, 1).resting, 0); /* nobody has used it */
	/* With the last attachment of the pod. */
	assert_int_equal(take(ledger, (struct ask) { .container = "b",
						     .rail = "r0",
						     .vf = 2,
						     .choose = true,
						     .claim = { "r1" } }),
			 2);
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r2" }), 2);
	give_back(ledger, "b", "r0");
	assert_true(vf_is_claimed[1][1]);
	give_back(ledger, "b", "r2");
	assert_false(vf_is_claimed[1][1]);
	assert_int_equal(usage(ledger, 1).claimed, 0);
	close_ledger(ledger);
}

/* An identity may break its own index's rest; if the claim ends unbound, the rest goes on. */
static void test_claim_does_not_end_a_rest(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	static const struct ask again = {
		.container = "b", .rail = "r0", .sticky = "s", .claim = { "*" }
	};

	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r1", .sticky = "s" }), 1);
	give_back(ledger, "a", "r1");
	kit_now_ms += 10000;
	assert_int_equal(take(ledger, again), 1);
	assert_int_equal(usage(ledger, 1).claimed, 1);
	kit_now_ms += 60000;
	assert_int_equal(sweep(ledger), 1);
	assert_int_equal(usage(ledger, 1).resting, 1);
	assert_int_equal(take(ledger, (struct ask) { .container = "c", .rail = "r1" }), 2);
	/* Its own rest is still no hindrance. */
	assert_int_equal(
		take(ledger, (struct ask) { .container = "d", .rail = "r1", .sticky = "s" }), 1);
	close_ledger(ledger);
}

/* A claim of an earlier boot keeps nothing from anybody. */
static void test_claim_of_another_boot(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	assert_int_equal(take(ledger, (struct ask) { .container = "a",
						     .rail = "r0",
						     .vf = 1,
						     .choose = true,
						     .claim = { "*" } }),
			 1);
	ledger_close(ledger);
	kit_now_ms = 1000;
	ledger = open_ledger("boot-2");
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r1", .vf = 1 }), 1);
	memset(vf_is_claimed, 0, sizeof(vf_is_claimed));
	ledger_close(ledger);
	kit_check();
	kit_now_ms = 1000;
	ledger = open_ledger("boot-3");
	assert_true(ledger_claims_due(ledger));
	assert_int_equal(sweep(ledger), 0); /* the one who met it has dropped it */
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r1" }), 2);
	close_ledger(ledger);
}

static void test_aborted_claim_is_not_there(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	struct reserve_request request = kit_request("a", "train");
	CLEANUP(attachment_free) struct attachment a = { 0 };

	request.rail = "r0";
	request.claim_all = true;
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_reserve(ledger, &request, NULL, &a, &kit_err));
	ledger_abort(ledger);
	assert_int_equal(usage(ledger, 1).claimed, 0);
	close_ledger(ledger);
}

/* Without any claim the rails of one pod get one index where that is free. */
static void test_siblings_share_an_index(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	assert_int_equal(take(ledger, (struct ask) { .container = "x", .rail = "r0" }), 1);
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r0" }), 2);
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r1" }), 2);
	assert_int_equal(
		take(ledger, (struct ask) { .container = "b", .rail = "r2", .ip = "10.0.2.2" }), 2);
	assert_int_equal(take(ledger, (struct ask) { .container = "a", .rail = "r2" }),
			 1); /* 2 is held */
	close_ledger(ledger);
}

static void test_identity_gets_its_index_again(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	assert_int_equal(take(ledger, (struct ask) { .container = "x", .rail = "r0" }), 1);
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "a", .rail = "r0", .sticky = "job/worker-3" }),
		2);
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "a", .rail = "r1", .sticky = "job/worker-3" }),
		2);
	give_back(ledger, "a", "r0");
	kit_now_ms += 7; /* each rail rests from its own moment on */
	give_back(ledger, "a", "r1");
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r0" }),
			 3); /* 2 rests */
	ledger_close(ledger);
	kit_check();
	ledger = open_ledger("boot-1");
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "c", .rail = "r0", .sticky = "job/worker-3" }),
		2);
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "c", .rail = "r1", .sticky = "job/worker-3" }),
		2);
	/* A second one of that name gets another, and does not take the first one's place. */
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "d", .rail = "r0", .sticky = "job/worker-3" }),
		4);
	give_back(ledger, "c", "r0");
	kit_now_ms += 7;
	give_back(ledger, "d", "r0");
	assert_int_equal(
		take(ledger,
		     (struct ask) { .container = "e", .rail = "r0", .sticky = "job/worker-3" }),
		2);
	close_ledger(ledger);
}

static void test_identity_is_kept_from_a_strangers_rest(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r0", .sticky = "s" }), 1);
	give_back(ledger, "a", "r0");
	kit_now_ms += 10;
	assert_int_equal(
		take(ledger, (struct ask) { .container = "b", .rail = "r0", .ip = "10.0.0.1" }), 1);
	give_back(ledger, "b", "r0");
	assert_int_equal(
		take(ledger, (struct ask) { .container = "c", .rail = "r0", .sticky = "s" }), 2);
	give_back(ledger, "c", "r0"); /* and that is its index from now on */
	assert_int_equal(
		take(ledger, (struct ask) { .container = "d", .rail = "r0", .sticky = "s" }), 2);
	close_ledger(ledger);
}

static void test_identity_is_forgotten(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");

	assert_int_equal(
		take(ledger, (struct ask) { .container = "a", .rail = "r0", .sticky = "s" }), 1);
	assert_int_equal(take(ledger, (struct ask) { .container = "b", .rail = "r0" }), 2);
	give_back(ledger, "b", "r0");
	kit_now_ms += 10;
	give_back(ledger, "a", "r0");
	kit_now_ms += 999999;
	assert_int_equal(
		take(ledger, (struct ask) { .container = "c", .rail = "r0", .sticky = "s" }), 1);
	give_back(ledger, "c", "r0");
	kit_now_ms += 1000000;
	assert_int_equal(
		take(ledger, (struct ask) { .container = "d", .rail = "r0", .sticky = "s" }), 2);
	close_ledger(ledger);
}

#define IDENTITY(number) ((const struct identity) { "ns", "id-" #number })

static void test_table_of_identities_is_bounded(void **state)
{
	(void)state;
	struct store_view last;
	struct sticky had;
	struct store *store;
	char name[16];
	const struct identity one = { "ns", name };

	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_WRITE, &kit_err));
	for (int i = 0; i < STICKY_MAX + 2; i++) {
		(void)snprintf(name, sizeof(name), "id-%d", i);
		sticky_put(store, "p", "r", &one, (uint32_t)i, 1000 + i);
		if (i == STICKY_MAX - 1) /* the oldest is used again, and is not the oldest now */
			sticky_put(store, "p", "r", &IDENTITY(0), 7, 500000);
	}
	assert_int_equal(store_count(store, STORE_STICKY), STICKY_MAX);
	assert_int_equal(store_count(store, STORE_STICKY_Q), STICKY_MAX);
	assert_false(sticky_find(store, "p", "r", &IDENTITY(1), &had));
	assert_false(sticky_find(store, "p", "r", &IDENTITY(2), &had));
	assert_true(sticky_find(store, "p", "r", &IDENTITY(3), &had));
	assert_true(sticky_find(store, "p", "r", &IDENTITY(0), &had) && had.index == 7 && had.here);
	assert_true(sticky_find(store, "p", "other", &IDENTITY(0), &had) && !had.here);
	assert_false(sticky_find(store, "p", "r", &(struct identity) { "other", "id-0" }, &had));
	assert_true(store_last(store, STORE_STICKY_Q, &last));
	assert_ok(store_commit(store, &kit_err));
	store_close(store);
}

static void test_request_by_number(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	struct reserve_request request = kit_request("a", "train");
	CLEANUP(attachment_free) struct attachment a = { 0 };

	request.rail = "r0";
	request.has_index = true;
	request.index = 7;
	assert_int_equal(kit_reserve(ledger, &request, NULL, &a), -EINVAL);
	assert_int_equal(kit_err.code, ERR_VALUE);
	assert_non_null(strstr(kit_err.msg, "requested index 7: "));
	request.index = UINT32_MAX;
	assert_int_equal(kit_reserve(ledger, &request, NULL, &a), -EINVAL);
	assert_string_equal(kit_err.msg, "requested index 4294967295: is beyond rail \"r0\"");
	request.index = 4;
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_int_equal(a.rail.index, 4);
	request.key.container_id = "b";
	assert_int_equal(kit_reserve(ledger, &request, NULL, NULL), -EBUSY);
	assert_non_null(strstr(kit_err.msg, "requested index 4: is held by attachment 1"));
	close_ledger(ledger);
}

/* --- anything, in any order --- */

#define RAILS_OF(cooldown, rails)                                         \
	"[{'name': 'train', 'cooldown_s': " cooldown ", 'sticky_s': 50, " \
	"'claim_s': 9, 'rails': [" rails "]}]"
#define RAIL(name, number, more)                                 \
	"{'name': 'r" name "', 'match': {'pf': ['p" name "']}, " \
	"'cidr': '10.0." number ".0/29'" more "}"

/* Refused or taken, an edit leaves each address with one owner. */
static const char *const edits[] = {
	RAILS_OF("5", RAIL("0", "0", "") "," RAIL("1", "1", "") "," RAIL("2", "2", "")),
	RAILS_OF("5", RAIL("0", "0", "") "," RAIL("2", "2", "")),
	RAILS_OF("2", RAIL("1", "0", "") "," RAIL("0", "1", "") "," RAIL("2", "2", "")),
	RAILS_OF("9", RAIL("0", "0", ", 'exclude': ['10.0.0.1-10.0.0.3']") "," RAIL(
			      "1", "1", ", 'gatewayIndex': 2")),
	"[{'name': 'other', 'rails': [{'name': 'r0', 'cidr': '10.0.0.0/28'}]}]",
};

struct owners {
	char text[64][64];
	size_t count;
};

static void own(struct owners *owners, const char *text)
{
	for (size_t i = 0; i < owners->count; i++)
		assert_string_not_equal(owners->text[i], text);
	assert_true(owners->count < ARRAY_SIZE(owners->text));
	(void)snprintf(owners->text[owners->count++], sizeof(owners->text[0]), "%s", text);
}

static void own_claimed(const char *device_key, void *arg)
{
	own(arg, device_key);
}

/* Of this boot: no address, and no VF by whatever name, has two. */
static void assert_one_owner_each(struct ledger *ledger)
{
	struct owners owners = { .count = 0 };
	struct attachment a = { 0 };
	char text[CIDR_TEXT], vf[64];

	for (uint64_t after = 0; ledger_next(ledger, after, &a, &kit_err) == 0;) {
		after = a.id;
		for (size_t i = 0; i < a.net.ip_count; i++)
			own(&owners, ip_format(&a.net.ips[i].cidr.ip, text));
		(void)snprintf(vf, sizeof(vf), "pci:%.32s", a.device.parent + strlen("pci/"));
		if (a.device.key[0])
			own(&owners, vf);
		attachment_free(&a);
	}
	assert_ok(ledger_claimed_each(ledger, own_claimed, &owners, &kit_err));
}

/* As the daemon does: the VF that is claimed here, else one that is free; a refusal is committed.
 */
static void reserve_anything(struct ledger *ledger, unsigned int *seed)
{
	static const char *const rails[] = { "r0", "r1", "r2" };
	static const char *const containers[] = { "a", "b", "c", "d", "e" };
	int number = rand_r(seed) % 3, style = rand_r(seed) % 4;
	struct reserve_request request = kit_request(containers[rand_r(seed) % 5], "train");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct rail rail = { 0 };
	struct baseline device;
	char key[PROTO_DEVICE_MAX] = "";
	int r;

	request.rail = request.key.ifname = rails[number];
	request.choose_device = style < 2;
	request.claim_all = rand_r(seed) % 3 == 0;
	if (!request.claim_all && rand_r(seed) % 2)
		request.claim[request.claim_count++] = rails[rand_r(seed) % 3];
	if (rand_r(seed) % 3 == 0)
		request.sticky = containers[rand_r(seed) % 3];
	request.has_index = rand_r(seed) % 8 == 0;
	request.index = (uint32_t)rand_r(seed) % 8;
	(void)snprintf(rail.name, sizeof(rail.name), "%s", request.rail);
	assert_ok(ledger_begin(ledger, &kit_err));
	if (request.choose_device &&
	    ledger_claimed_device(ledger, &request, key, &kit_err) == -ENOENT &&
	    choose_vf(&rail, "", key, NULL, &kit_err) < 0)
		key[0] = '\0';
	if (style == 2)
		(void)snprintf(key, sizeof(key), "pci:0000:0%d:00.%d", number,
			       1 + rand_r(seed) % 2);
	device = kit_vf(key, (char[]) { 'p', (char)('0' + number), '\0' }, "0000:ff:00.0");
	(void)snprintf(device.parent, sizeof(device.parent), "pci/%.32s", key[0] ? key + 4 : "");
	r = style < 2 && !key[0]
		    ? -EBUSY
		    : ledger_reserve(ledger, &request, key[0] ? &device : NULL, &a, &kit_err);
	if (r < 0)
		assert_int_not_equal(kit_err.code, ERR_STORE);
	assert_ok(ledger_commit(ledger, &kit_err));
}

static void release_anything(struct ledger *ledger, unsigned int *seed)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	uint64_t after = (uint64_t)rand_r(seed) % 400;

	if (ledger_next(ledger, after, &a, &kit_err) == 0 ||
	    ledger_next(ledger, 0, &a, &kit_err) == 0)
		(void)kit_release(ledger, &a, rand_r(seed) % 4 != 0, rand_r(seed) % 4 != 0);
}

static void edit_anything(struct ledger *ledger, unsigned int *seed)
{
	int r = kit_try_pools(ledger, edits[(size_t)rand_r(seed) % ARRAY_SIZE(edits)]);

	assert_true(r == 0 || r == -EBUSY);
}

static struct ledger *start_again(struct ledger *ledger, unsigned int *seed, int *boot)
{
	char name[16];
	size_t dropped;

	close_ledger(ledger);
	*boot += rand_r(seed) % 2;
	(void)snprintf(name, sizeof(name), "boot-%d", *boot);
	ledger = kit_open(name);
	ledger_set_vfs(ledger, &vfs);
	vf_ledger = ledger;
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_drop_rebooted(ledger, (size_t)rand_r(seed) % 4, &dropped, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	return ledger;
}

static void test_anything_beside_edits(void **state)
{
	(void)state;
	struct ledger *ledger = open_ledger("boot-1");
	unsigned int seed = getenv("SPUR_SEED") ? (unsigned int)atoi(getenv("SPUR_SEED")) : 1;
	int boot = 1;

	for (int i = 0; i < 3000; i++) {
		int what = rand_r(&seed) % 40;

		kit_now_ms += rand_r(&seed) % 500;
		if (what < 22)
			reserve_anything(ledger, &seed);
		else if (what < 34)
			release_anything(ledger, &seed);
		else if (what < 37)
			edit_anything(ledger, &seed);
		else if (what < 39)
			(void)sweep(ledger);
		else
			ledger = start_again(ledger, &seed, &boot);
		assert_one_owner_each(ledger);
	}
	close_ledger(ledger);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_claimed_rails_are_bound, setup),
		cmocka_unit_test_setup(test_all_rails_or_none, setup),
		cmocka_unit_test_setup(test_no_common_index, setup),
		cmocka_unit_test_setup(test_common_index_after_an_edit, setup),
		cmocka_unit_test_setup(test_requested_address_is_for_all_rails, setup),
		cmocka_unit_test_setup(test_claimed_vfs, setup),
		cmocka_unit_test_setup(test_claimed_vf_by_its_netdev, setup),
		cmocka_unit_test_setup(test_claim_of_rails_that_have_gone, setup),
		cmocka_unit_test_setup(test_claimed_vf_of_an_earlier_boot, setup),
		cmocka_unit_test_setup(test_devices_of_records, setup),
		cmocka_unit_test_setup(test_all_vfs_or_none, setup),
		cmocka_unit_test_setup(test_claim_ends, setup),
		cmocka_unit_test_setup(test_claim_does_not_end_a_rest, setup),
		cmocka_unit_test_setup(test_claim_of_another_boot, setup),
		cmocka_unit_test_setup(test_aborted_claim_is_not_there, setup),
		cmocka_unit_test_setup(test_siblings_share_an_index, setup),
		cmocka_unit_test_setup(test_identity_gets_its_index_again, setup),
		cmocka_unit_test_setup(test_identity_is_kept_from_a_strangers_rest, setup),
		cmocka_unit_test_setup(test_identity_is_forgotten, setup),
		cmocka_unit_test_setup(test_table_of_identities_is_bounded, setup),
		cmocka_unit_test_setup(test_request_by_number, setup),
		cmocka_unit_test_setup(test_anything_beside_edits, setup),
	};

	return cmocka_run_group_tests(tests, kit_make_root, kit_remove_root);
}
