/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each change of the ledger, killed before its first step in the store, before its second, … until
 * it survives; and the same with a disk that fails there. What is there afterwards is the store as
 * it was, or as it is after the whole change, in every byte; and the change can be made then.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../unit/ledger_kit.h"
#include "digest.h"

static const char pools_text[] =
	"[{'name': 'p', 'cooldown_s': 5, 'rails': ["
	" {'name': 'r0', 'cidr': '10.0.0.0/28', 'guidBase': '02:00:00:00:00:00:00:00'},"
	" {'name': 'r1', 'cidr': '10.0.1.0/28'}]}]";
static const char edited_text[] =
	"[{'name': 'p', 'cooldown_s': 5, 'rails': ["
	" {'name': 'r0', 'cidr': '10.0.0.0/28', 'exclude': ['10.0.0.9'],"
	"  'guidBase': '02:00:00:00:00:00:00:00'},"
	" {'name': 'r1', 'cidr': '10.0.1.0/28'}, {'name': 'r2', 'cidr': '10.0.2.0/28'}]}]";

static pid_t test_pid;
static struct digest *shared; /* with children */

/* The same in every run: it is in records and in the history. */
int64_t __wrap_clock_wall_ms(void);
int64_t __wrap_clock_wall_ms(void)
{
	return 1700000000000;
}

/* --- the changes: each 0 or -errno, in a batch of its own unless it has one --- */

static int reserve(struct ledger *ledger, const char *container, const char *device_key,
		   uint64_t guid, const char *ip)
{
	struct reserve_request request = kit_request(container, "p");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct baseline device = kit_device(device_key);

	request.rail = "r0";
	request.netns.nsid = 3;
	request.pod.uid = (char *)container;
	request.guid = guid;
	request.ip_count = ip[0] != '\0';
	if (ip[0])
		assert_int_equal(cidr_parse(ip, &request.ips[0]), 0);
	return ledger_reserve(ledger, &request, device_key[0] ? &device : NULL, &a, &kit_err);
}

static int release(struct ledger *ledger, const char *container, bool left, bool restored)
{
	struct attachment_key key = { "net", container, "net1" };
	CLEANUP(attachment_free) struct attachment a = { 0 };
	bool gone;

	if (ledger_find(ledger, &key, &a, &kit_err) < 0)
		return -1;
	return ledger_release(
		ledger, &key, a.generation,
		&(struct release) { .left = left, .restored = restored, .reason = "test" }, NULL,
		&gone, &kit_err);
}

static int done(struct ledger *ledger, const char *container)
{
	struct attachment_key key = { "net", container, "net1" };
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct facts facts = { .ifindex = 7 };

	if (ledger_find(ledger, &key, &a, &kit_err) < 0)
		return -1;
	return ledger_done(ledger, &key, a.generation, &facts, &kit_err);
}

static int change_reserve(struct ledger *ledger)
{
	return reserve(ledger, "new", "", 0, "");
}

static int change_reserve_device(struct ledger *ledger)
{
	return reserve(ledger, "new", "net:d9", 0x0200000000000abc, "");
}

static int change_reserve_static(struct ledger *ledger)
{
	return reserve(ledger, "new", "", 0, "10.0.0.9");
}

static int reserve_claim(struct ledger *ledger, const char *container)
{
	struct reserve_request request = kit_request(container, "p");
	CLEANUP(attachment_free) struct attachment a = { 0 };

	request.rail = "r0";
	request.claim_all = true;
	request.sticky = "job/0";
	return ledger_reserve(ledger, &request, NULL, &a, &kit_err);
}

static int change_claim(struct ledger *ledger)
{
	return reserve_claim(ledger, "new");
}

static int change_bind(struct ledger *ledger)
{
	struct reserve_request request = kit_request("claims", "p");
	CLEANUP(attachment_free) struct attachment a = { 0 };

	request.key.ifname = "net2";
	request.rail = "r1";
	return ledger_reserve(ledger, &request, NULL, &a, &kit_err);
}

static int change_sweep(struct ledger *ledger)
{
	size_t count;
	int r;

	kit_now_ms += 1000000;
	r = ledger_claims_sweep(ledger, &count, &kit_err);
	assert_true(r < 0 || count == 1);
	return r;
}

/* Its claim ends with it, and its identity is remembered. */
static int change_release_claim(struct ledger *ledger)
{
	return release(ledger, "claims", true, true);
}

static int change_done(struct ledger *ledger)
{
	return done(ledger, "unfinished");
}

static int change_unconfirm(struct ledger *ledger)
{
	struct attachment_key key = { "net", "unfinished", "net1" };
	CLEANUP(attachment_free) struct attachment a = { 0 };

	if (ledger_find(ledger, &key, &a, &kit_err) < 0)
		return -1;
	return ledger_unconfirm(ledger, &key, a.generation, &kit_err);
}

static int change_release(struct ledger *ledger)
{
	return release(ledger, "attached", true, true);
}

static int change_release_dirty(struct ledger *ledger)
{
	return release(ledger, "attached", true, false);
}

static int change_release_of_dirty(struct ledger *ledger)
{
	return release(ledger, "dirty", true, true);
}

static int change_guid(struct ledger *ledger)
{
	uint64_t guid;

	return ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[0].rails[0], "net:d7", &guid,
				  &kit_err);
}

static int change_many(struct ledger *ledger)
{
	int r = 0;

	for (int i = 0; i < 3 && r == 0; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "new%d", i);
		r = reserve(ledger, name, "", 0, "");
	}
	return r < 0 ? r : release(ledger, "attached", true, true);
}

/* --- what they begin with --- */

static void prepare(struct ledger *ledger)
{
	kit_set_pools(ledger, pools_text);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(reserve(ledger, "unfinished", "net:d1", 0, ""));
	assert_ok(reserve(ledger, "attached", "net:d2", 0x0200000000000def, ""));
	assert_ok(reserve(ledger, "dirty", "net:d3", 0, ""));
	assert_ok(reserve(ledger, "gone", "net:d4", 0, ""));
	assert_ok(reserve_claim(ledger, "claims"));
	assert_ok(done(ledger, "attached"));
	assert_ok(release(ledger, "dirty", false, false));
	assert_ok(release(ledger, "gone", true, true));
	assert_ok(ledger_commit(ledger, &kit_err));
}

static void prepare_nothing(struct ledger *ledger)
{
	(void)ledger;
}

struct change {
	const char *name;
	void (*prepare)(struct ledger *ledger); /* NULL: the fixture */
	int (*change)(struct ledger *ledger);
	const char *pools; /* that are set first */
	const char *fixture;
};

static const struct change changes[] = {
	{ "reserve", prepare, change_reserve, pools_text },
	{ "reserve with device and GUID", prepare, change_reserve_device, pools_text },
	{ "reserve a static address", prepare, change_reserve_static, pools_text },
	{ "claim all rails, sticky", prepare, change_claim, pools_text },
	{ "bind what is claimed", prepare, change_bind, pools_text },
	{ "sweep claims", prepare, change_sweep, pools_text },
	{ "release, its claim and its identity", prepare, change_release_claim, pools_text },
	{ "done", prepare, change_done, pools_text },
	{ "unconfirm", prepare, change_unconfirm, pools_text },
	{ "release", prepare, change_release, pools_text },
	{ "release, not restored", prepare, change_release_dirty, pools_text },
	{ "release what was dirty", prepare, change_release_of_dirty, pools_text },
	{ "assign a GUID", prepare, change_guid, pools_text },
	{ "four in one batch", prepare, change_many, pools_text },
	{ "edit the pools", prepare, NULL, edited_text },
	{ "first start", prepare_nothing, NULL, pools_text },
	{ "migrate from schema 1", NULL, NULL, NULL, "store-v1" },
	{ "migrate from schema 4", NULL, NULL, NULL, "store-v4" },
};

/* --- in children: their count of steps begins at 1 --- */

static void run_change(const struct change *change)
{
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	CLEANUP_JSON json_t *json = change->pools ? kit_json(change->pools) : NULL;
	struct ledger *ledger;

	(void)alarm(60);
	if (ledger_open(kit_dir, "boot-0", &ledger, &kit_err) < 0)
		_exit(1);
	if (change->pools) {
		assert_ok(pool_set_read(json, &set, &kit_err));
		if (ledger_set_pools(ledger, &set, &kit_err) < 0)
			_exit(1);
	}
	if (change->change && (ledger_begin(ledger, &kit_err) < 0 || change->change(ledger) < 0 ||
			       ledger_commit(ledger, &kit_err) < 0))
		_exit(1);
	ledger_close(ledger);
	_exit(0);
}

/* Runs @change in kit_dir with a hook set (NULL: none); returns the child's status. */
static int change_in_child(const struct change *change, const char *hook, int step)
{
	char text[32];
	int status;
	pid_t pid;

	(void)snprintf(text, sizeof(text), "store:%d", step);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (hook)
			(void)setenv(hook, text, 1);
		run_change(change);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

__attribute__((format(printf, 1, 2))) static void sh(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

static void make_begin(const struct change *change)
{
	pid_t pid;
	int status;

	if (!change->prepare) {
		sh("cp -r %s/%s %s/begin", SPUR_FIXTURES, change->fixture, kit_root);
		return;
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct ledger *ledger;

		(void)snprintf(kit_dir, sizeof(kit_dir), "%s/begin", kit_root);
		if (change->prepare != prepare)
			_exit(mkdir(kit_dir, 0700));
		ledger = kit_open("boot-0");
		change->prepare(ledger);
		ledger_close(ledger);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void begin_again(void)
{
	sh("rm -rf %s && cp -r %s/begin %s", kit_dir, kit_root, kit_dir);
}

/* As the next start finds it, which goes on with a migration. In a child too: steps are counted. */
static uint64_t digest_now(void)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		ledger_close(kit_open("boot-0"));
		kit_check();
		_exit(digest_read(kit_dir, shared) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return shared->sum;
}

/* Returns at how many steps it was stopped. */
static int stop_at_each_step(const struct change *change, const char *hook, uint64_t before,
			     uint64_t after)
{
	for (int step = 1;; step++) {
		uint64_t now;
		int status;

		begin_again();
		status = change_in_child(change, hook, step);
		now = digest_now();
		if (status == 0) {
			assert_true(now == after);
			return step - 1;
		}
		if (now != before && now != after)
			fail_msg("%s, %s=store:%d: neither absent nor whole", change->name, hook,
				 step);
		if (now == before && now != after) {
			assert_int_equal(change_in_child(change, NULL, 0), 0);
			assert_true(digest_now() == after);
		}
	}
}

static void test_each_step(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const struct change *change = &changes[i];
		uint64_t before, after;
		int kills, failures;

		sh("rm -rf %s/begin", kit_root);
		make_begin(change);
		begin_again();
		before = digest_now();
		begin_again();
		assert_int_equal(change_in_child(change, NULL, 0), 0);
		after = digest_now();
		kills = stop_at_each_step(change, "SPUR_KILL_STEP", before, after);
		failures = stop_at_each_step(change, "SPUR_FAIL_STEP", before, after);
		print_message("%s: %d kills, %d failures\n", change->name, kills, failures);
		assert_true(kills > 0 && failures > 0);
	}
}

static int make_root(void **state)
{
	test_pid = getpid();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return kit_make_root(state);
}

/* A child that fails an assertion comes back into the frame of the test. */
static int end_child(void **state)
{
	(void)state;
	if (getpid() != test_pid)
		_exit(3);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_step, kit_setup, end_child),
	};

	return cmocka_run_group_tests(tests, make_root, kit_remove_root);
}
