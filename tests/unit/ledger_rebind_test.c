/* SPDX-License-Identifier: Apache-2.0 */
/* Which VFs are to be bound to their driver anew, by which release, and until when. */
#include "ledger_kit.h"

static const char pools[] =
	"[{'name':'a','rails':[{'name':'r0','cidr':'10.0.0.0/28','match':{'pf':['pf0']}}]},"
	" {'name':'b','rebind':'always','rails':[{'name':'r0','cidr':'10.1.0.0/28',"
	"  'match':{'pf':['pf1']}}]},"
	" {'name':'c','rebind':'never','rails':[{'name':'r0','cidr':'10.2.0.0/28',"
	"  'match':{'pf':['pf2']}}]}]";

static const char *const keys[] = { "pci:0000:01:10.0", "pci:0000:02:10.0", "pci:0000:03:10.0" };
static const char *const names[] = { "a", "b", "c" };

static const struct release used = {
	.left = true, .restored = true, .used_above = true, .reason = "DEL"
};
static const struct release plain = { .left = true, .restored = true, .reason = "DEL" };

static struct ledger *ledger;

static int setup(void **state)
{
	(void)kit_setup(state);
	ledger = kit_open("boot");
	kit_set_pools(ledger, pools);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ledger_close(ledger);
	kit_check();
	return 0;
}

static struct baseline vf_of(int pool, const char *uverbs)
{
	struct baseline device =
		kit_vf(keys[pool], (char[]) { 'p', 'f', (char)('0' + pool), 0 }, "0000:01:00.0");

	(void)snprintf(device.rdma.name, sizeof(device.rdma.name), "mlx5_%d", pool);
	(void)snprintf(device.rdma.uverbs, sizeof(device.rdma.uverbs), "%s", uverbs);
	return device;
}

static struct attachment reserve(const char *pool, const struct baseline *device)
{
	struct reserve_request request = kit_request("c", pool);
	struct attachment a;

	assert_ok(kit_reserve(ledger, &request, device, &a));
	return a;
}

/* One life of a VF; true: its record has gone. */
static bool live(const char *pool, const struct baseline *device, const struct release *how)
{
	struct attachment a = reserve(pool, device);
	bool gone = kit_end(ledger, &a, how);

	attachment_free(&a);
	return gone;
}

static struct rebind rebind_of(const char *key)
{
	struct rebind rebind;
	int r = ledger_rebind_of(ledger, key, &rebind, &kit_err);

	assert_true(r == 0 || r == -ENOENT);
	return rebind;
}

static void rebound(const char *key, const char *uverbs)
{
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_rebound(ledger, key, uverbs, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
}

static int plugin_restarted(const char *key)
{
	int count;

	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_plugin_restarted(ledger, key, &count, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	return count;
}

static void test_which_release_asks_for_it(void **state)
{
	(void)state;
	static const struct {
		int pool;
		const struct release *how;
		bool due;
	} rows[] = {
		{ 0, &plain, false }, { 0, &used, true },   { 1, &plain, true },
		{ 1, &used, true },   { 2, &plain, false }, { 2, &used, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct baseline device = vf_of(rows[i].pool, "");

		assert_true(live(names[rows[i].pool], &device, rows[i].how));
		assert_int_equal(rebind_of(keys[rows[i].pool]).is_due, rows[i].due);
		/* An attachment without addresses: by the rail that has its PF. */
		rebound(keys[rows[i].pool], "");
		assert_false(rebind_of(keys[rows[i].pool]).is_due);
		assert_true(live(NULL, &device, rows[i].how));
		assert_int_equal(rebind_of(keys[rows[i].pool]).is_due, rows[i].due);
		rebound(keys[rows[i].pool], "");
	}
}

static void test_what_has_no_netdev_of_ours(void **state)
{
	(void)state;
	struct baseline device = vf_of(1, "");

	device.name[0] = '\0'; /* user space drives it, or another plugin moves it */
	assert_true(live("b", &device, &used));
	assert_false(rebind_of(keys[1]).is_due);
	device = kit_device("net:eth5"); /* no VF */
	assert_true(live(NULL, &device, &used));
	device = vf_of(1, "");
	(void)snprintf(device.key, sizeof(device.key), "net:eth5"); /* a VF by its netdev */
	(void)snprintf(device.parent, sizeof(device.parent), "pci/0000:02:10.0");
	assert_true(live("b", &device, &plain));
	assert_true(rebind_of(keys[1]).is_due);
}

/* The first try sees the upper and deletes it; the last one sees none. */
static void test_a_dirty_one(void **state)
{
	(void)state;
	struct baseline device = vf_of(0, "");
	struct release dirty = used;

	dirty.restored = false;
	assert_false(live("a", &device, &dirty));
	assert_true(rebind_of(keys[0]).is_due);
	assert_string_equal(rebind_of(keys[0]).netdev, "eth5");
	{
		struct attachment_key key = { "net", "c", "net1" };
		struct attachment a;

		assert_ok(ledger_find(ledger, &key, &a, &kit_err));
		assert_true(kit_end(ledger, &a, &plain));
		attachment_free(&a);
	}
	assert_true(rebind_of(keys[0]).is_due);
}

static void test_after_a_restart_and_after_a_boot(void **state)
{
	(void)state;
	struct baseline device = vf_of(0, "uverbs3");

	assert_true(live("a", &device, &used));
	ledger_close(ledger);
	ledger = kit_open("boot");
	assert_true(rebind_of(keys[0]).is_due);
	assert_string_equal(rebind_of(keys[0]).rdma, "mlx5_0");
	ledger_close(ledger);
	ledger = kit_open("other boot");
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_false(rebind_of(keys[0]).is_due);
	assert_int_equal(plugin_restarted(NULL), 0);
}

/* What was promised is what was true before the first rebind, however many there are. */
static void test_renumbered(void **state)
{
	(void)state;
	struct baseline device = vf_of(1, "uverbs3");
	struct rebind rebind;

	assert_true(live("b", &device, &plain));
	rebound(keys[1], "uverbs3");
	assert_false(rebind_is_renumbered(&(struct rebind) { 0 }));
	assert_int_equal(ledger_rebind_of(ledger, keys[1], &rebind, &kit_err), -ENOENT);
	assert_true(live("b", &device, &plain));
	rebound(keys[1], "uverbs5");
	device = vf_of(1, "uverbs5");
	assert_true(live("b", &device, &plain));
	rebind = rebind_of(keys[1]);
	assert_true(rebind.is_due && rebind_is_renumbered(&rebind));
	rebound(keys[1], "uverbs4");
	rebind = rebind_of(keys[1]);
	assert_false(rebind.is_due);
	assert_string_equal(rebind.promised, "uverbs3");
	assert_string_equal(rebind.uverbs, "uverbs4");
	assert_int_equal(plugin_restarted("pci:0000:09:10.0"), 0);
	assert_true(rebind_is_renumbered((rebind = rebind_of(keys[1]), &rebind)));
	assert_int_equal(plugin_restarted(keys[1]), 1);
	assert_int_equal(plugin_restarted(NULL), 0);
	assert_int_equal(ledger_rebind_of(ledger, keys[1], &rebind, &kit_err), -ENOENT);
}

/* The operator speaks while it is due: what it has then is promised, and compared with. */
static void test_restarted_while_it_is_due(void **state)
{
	(void)state;
	struct baseline device = vf_of(1, "uverbs3");
	struct rebind rebind;

	assert_true(live("b", &device, &plain));
	rebound(keys[1], "uverbs5");
	device = vf_of(1, "uverbs5");
	assert_true(live("b", &device, &plain));
	assert_int_equal(plugin_restarted(NULL), 1);
	rebind = rebind_of(keys[1]);
	assert_true(rebind.is_due && !rebind_is_renumbered(&rebind));
	rebound(keys[1], "uverbs3");
	rebind = rebind_of(keys[1]);
	assert_true(rebind_is_renumbered(&rebind));
	assert_string_equal(rebind.promised, "uverbs5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_which_release_asks_for_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_has_no_netdev_of_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_dirty_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_after_a_restart_and_after_a_boot, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_renumbered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restarted_while_it_is_due, setup, teardown),
	};

	return cmocka_run_group_tests(tests, kit_make_root, kit_remove_root);
}
