/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random batches against a model in plain arrays, which foretells every answer: the index chosen,
 * each refusal, each state. Some batches are aborted, the store is reopened, the node reboots; and
 * in forked children the same is killed at a random moment: every batch that was acknowledged is
 * there, the one after it whole or absent, and every table agrees with every other.
 *
 * SPUR_SEED=N repeats a run.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "ledger_kit.h"

enum {
	KEYS = 48,
	DEVICES = 20,
	RAILS = 2,
	INDEXES = 16, /* of each rail, a /28 */
	GUIDS = 72,   /* of each rail's block: more than VFs and records can ever have */
	COOLDOWN = 5000,
	BATCH = 6,
	STEPS = 1500,
	KILLS = 30,
};

static const char pools_text[] =
	"[{'name': 'p', 'cooldown_s': 5, 'rails': ["
	"  {'name': 'r0', 'cidr': '10.0.0.0/28', 'cidr6': 'fd00::/64', 'gatewayIndex': 1,"
	"   'guidBase': '02:00:00:00:00:00:00:00'},"
	"  {'name': 'r1', 'cidr': '10.0.1.0/28', 'exclude': ['10.0.1.3-10.0.1.5'],"
	"   'guidBase': '02:00:00:00:00:01:00:00'}]}]";
static const uint64_t guid_bases[RAILS] = { 0x0200000000000000, 0x0200000000010000 };

enum { OF_VF = 1 << 30 }; /* + the device's number: an owner that is no record */

struct slot {
	enum lease_state state;
	uint64_t id;
	int64_t since_ms; /* ledger time */
};

struct tenant {
	bool live;
	uint64_t id;
	enum attachment_state state;
	int index; /* -1 = none */
	uint64_t guid;
	int boot;
};

struct model {
	unsigned int seed;
	int64_t boot_ms, offset_ms; /* BOOTTIME, and ledger time above it */
	int boot;
	uint64_t next_id, events;
	struct slot slots[RAILS][INDEXES];
	uint64_t owners[RAILS][GUIDS]; /* a record's id, OF_VF + a device, 0 = nobody */
	struct tenant tenants[KEYS];
};

static int64_t model_now(const struct model *m)
{
	return m->offset_ms + m->boot_ms;
}

static int model_random(struct model *m, int below)
{
	return rand_r(&m->seed) % below;
}

static int tenant_rail(int key)
{
	return key % 7 == 0 ? -1 : key % RAILS; /* -1: asks for no address */
}

static int tenant_device(int key)
{
	return key % 5 == 0 ? -1 : key % DEVICES; /* -1: as spur-ipam, without one */
}

static bool slot_is_given(int rail, int index)
{
	if (rail == 0)
		return index >= 2 && index <= 14;
	return index >= 1 && index <= 14 && !(index >= 3 && index <= 5);
}

/* The index that a reservation must get, or the error that it must meet. */
static int model_choose(const struct model *m, int rail, int wanted)
{
	int oldest = -1;

	if (wanted >= 0) {
		if (!slot_is_given(rail, wanted))
			return -EINVAL;
		return m->slots[rail][wanted].state == LEASE_HELD ? -EBUSY : wanted;
	}
	for (int i = 0; i < INDEXES; i++) {
		const struct slot *slot = &m->slots[rail][i];

		if (slot->state == LEASE_RESTING && slot->since_ms + COOLDOWN <= model_now(m) &&
		    (oldest < 0 || slot->since_ms < m->slots[rail][oldest].since_ms))
			oldest = i;
	}
	if (oldest >= 0)
		return oldest;
	for (int i = 0; i < INDEXES; i++) {
		if (slot_is_given(rail, i) && m->slots[rail][i].state == LEASE_UNUSED)
			return i;
	}
	return -EAGAIN;
}

/* Where @owner's GUID is; NULL: it has none. Nobody has two. */
static uint64_t *model_guid(struct model *m, uint64_t owner, uint64_t *ret_guid)
{
	uint64_t *at = NULL;

	*ret_guid = 0;
	for (int rail = 0; owner && rail < RAILS; rail++) {
		for (int i = 0; i < GUIDS; i++) {
			if (m->owners[rail][i] != owner)
				continue;
			assert_null(at);
			at = &m->owners[rail][i];
			*ret_guid = guid_bases[rail] + (uint64_t)i;
		}
	}
	return at;
}

static bool device_is_held(const struct model *m, int device)
{
	for (int i = 0; i < KEYS; i++) {
		if (m->tenants[i].live && tenant_device(i) == device)
			return true;
	}
	return false;
}

/* Its index rests, its own GUID is free. */
static void model_forget(struct model *m, int key)
{
	struct tenant *tenant = &m->tenants[key];
	uint64_t guid;

	if (tenant->index >= 0)
		m->slots[tenant_rail(key)][tenant->index] =
			(struct slot) { LEASE_RESTING, 0, model_now(m) };
	if (model_guid(m, tenant->id, &guid))
		*model_guid(m, tenant->id, &guid) = 0;
	*tenant = (struct tenant) { .index = -1 };
	m->events++;
}

static bool tenant_is_rebooted(const struct model *m, int key)
{
	return m->tenants[key].live && m->tenants[key].boot != m->boot;
}

/* Whoever meets a record of an earlier boot drops it. */
static void model_meet(struct model *m, int key)
{
	if (tenant_is_rebooted(m, key))
		model_forget(m, key);
}

static void model_meet_device(struct model *m, int device)
{
	for (int i = 0; i < KEYS; i++) {
		if (tenant_device(i) == device)
			model_meet(m, i);
	}
}

static bool model_is_free(struct model *m, int key)
{
	model_meet(m, key);
	if (m->tenants[key].live)
		return false;
	if (tenant_device(key) < 0)
		return true;
	model_meet_device(m, tenant_device(key));
	return !device_is_held(m, tenant_device(key));
}

/* The name that a key has in the ledger: it lives as long as the next call. */
static const char *tenant_name(int key)
{
	static char name[16];

	(void)snprintf(name, sizeof(name), "c%d", key);
	return name;
}

static struct attachment_key tenant_key(int key)
{
	return (struct attachment_key) { "net", tenant_name(key), "net1" };
}

static struct reserve_request tenant_request(int key, int wanted)
{
	int rail = tenant_rail(key);
	struct reserve_request request = kit_request(tenant_name(key), rail < 0 ? NULL : "p");
	char text[64];

	request.rail = rail < 0 ? NULL : rail == 0 ? "r0" : "r1";
	request.netns.nsid = key % 3 - 1;
	if (key % 4 == 0)
		request.pod.uid = (char *)"uid";
	if (rail >= 0 && wanted >= 0) {
		(void)snprintf(text, sizeof(text), "10.0.%d.%d", rail, wanted);
		assert_int_equal(cidr_parse(text, &request.ips[0]), 0);
		request.ip_count = 1;
	}
	return request;
}

static void step_reserve(struct model *m, struct ledger *ledger)
{
	int key = model_random(m, KEYS), rail = tenant_rail(key);
	int wanted = model_random(m, 4) == 0 ? model_random(m, INDEXES) : -1;
	int asked = model_random(m, 4) == 0 ? model_random(m, GUIDS / 2) : -1;
	uint64_t vf = tenant_device(key) < 0 ? 0 : OF_VF + (uint64_t)tenant_device(key);
	uint64_t guid, *owner = asked < 0 ? NULL : &m->owners[key % RAILS][asked];
	bool is_free = model_is_free(m, key);
	int expected = -1;

	(void)model_guid(m, vf, &guid);
	if (owner)
		guid = guid_bases[key % RAILS] + (uint64_t)asked;
	if (!is_free || (owner && *owner && *owner != vf))
		expected = -EEXIST;
	else if (rail >= 0)
		expected = model_choose(m, rail, wanted);
	if (ledger) {
		struct reserve_request request = tenant_request(key, wanted);
		CLEANUP(attachment_free) struct attachment a = { 0 };
		struct baseline device;
		char name[16];
		int r;

		request.guid = owner ? guid : 0;
		(void)snprintf(name, sizeof(name), "net:d%d", tenant_device(key));
		device = kit_device(name);
		r = ledger_reserve(ledger, &request, tenant_device(key) < 0 ? NULL : &device, &a,
				   &kit_err);
		assert_int_equal(r, expected < -1 ? expected : 0);
		if (r == 0)
			assert_true(a.id == m->next_id && a.guid == guid);
		if (r == 0 && rail >= 0)
			assert_int_equal(a.rail.index, expected);
	}
	if (expected < -1)
		return;
	m->tenants[key] = (struct tenant) { true,     m->next_id, ATTACHMENT_UNFINISHED,
					    expected, guid,       m->boot };
	if (owner && !*owner)
		*owner = m->next_id;
	if (rail >= 0)
		m->slots[rail][expected] = (struct slot) { LEASE_HELD, m->next_id, 0 };
	m->next_id++;
	m->events++;
}

static void step_guid(struct model *m, struct ledger *ledger)
{
	int device = model_random(m, DEVICES), rail = model_random(m, RAILS), i = 0;
	uint64_t guid, *own = model_guid(m, OF_VF + (uint64_t)device, &guid);
	bool keeps;

	model_meet_device(m, device);
	keeps = own && (device_is_held(m, device) ||
			(own >= m->owners[rail] && own < m->owners[rail] + GUIDS));

	if (!keeps) {
		while (m->owners[rail][i])
			i++;
		if (own)
			*own = 0;
		m->owners[rail][i] = OF_VF + (uint64_t)device;
		guid = guid_bases[rail] + (uint64_t)i;
	}
	if (ledger) {
		uint64_t given;
		char name[16];

		(void)snprintf(name, sizeof(name), "net:d%d", device);
		assert_ok(ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[0].rails[rail],
					     name, &given, &kit_err));
		assert_true(given == guid);
	}
}

static void step_done(struct model *m, struct ledger *ledger)
{
	int key = model_random(m, KEYS);
	struct tenant *tenant = &m->tenants[key];
	bool stale = model_random(m, 8) == 0, works;

	model_meet(m, key);
	works = tenant->live && tenant->state != ATTACHMENT_DIRTY && !stale;

	if (ledger) {
		struct attachment_key name = tenant_key(key);
		struct facts facts = { .ifindex = key + 1 };

		assert_int_equal(ledger_done(ledger, &name, tenant->id + stale, &facts, &kit_err),
				 works ? 0 : -ESTALE);
	}
	if (!works)
		return;
	tenant->state = ATTACHMENT_ATTACHED;
	m->events++;
}

static void step_release(struct model *m, struct ledger *ledger)
{
	int key = model_random(m, KEYS), rail = tenant_rail(key);
	bool stale = model_random(m, 8) == 0, left = model_random(m, 5) > 0;
	bool restored = model_random(m, 5) > 0;
	struct tenant *tenant = &m->tenants[key];
	bool works, goes;

	model_meet(m, key);
	works = tenant->live && !stale;
	goes = works && left && (restored || tenant_device(key) < 0);
	if (ledger) {
		struct attachment_key name = tenant_key(key);
		bool gone;

		assert_ok(ledger_release(ledger, &name, tenant->id + stale, left, restored, "test",
					 &gone, &kit_err));
		assert_int_equal(gone, !works || goes);
	}
	if (!works)
		return;
	if (goes) {
		model_forget(m, key);
		return;
	}
	if (tenant->state != ATTACHMENT_DIRTY || (left && tenant->index >= 0))
		m->events++;
	if (left && tenant->index >= 0) {
		m->slots[rail][tenant->index] = (struct slot) { LEASE_RESTING, 0, model_now(m) };
		tenant->index = -1;
	}
	tenant->state = ATTACHMENT_DIRTY;
}

/* Behind the requests: the oldest first. */
static void step_reap(struct model *m, struct ledger *ledger)
{
	size_t dropped, expected = 0;
	int oldest = -1;

	for (int key = 0; key < KEYS; key++) {
		if (tenant_is_rebooted(m, key) &&
		    (oldest < 0 || m->tenants[key].id < m->tenants[oldest].id))
			oldest = key;
	}
	if (oldest >= 0) {
		model_forget(m, oldest);
		expected = 1;
	}
	if (ledger) {
		assert_ok(ledger_drop_rebooted(ledger, 1, &dropped, &kit_err));
		assert_int_equal(dropped, expected);
	}
}

static void step_any(struct model *m, struct ledger *ledger)
{
	switch (model_random(m, 6)) {
	case 0:
	case 1:
		step_reserve(m, ledger);
		break;
	case 2:
		step_release(m, ledger);
		break;
	case 3:
		step_guid(m, ledger);
		break;
	case 4:
		step_reap(m, ledger);
		break;
	default:
		step_done(m, ledger);
	}
}

/* One batch, committed or aborted. Without a ledger only the model moves. */
static void model_batch(struct model *m, struct ledger *ledger)
{
	int steps = 1 + model_random(m, BATCH);
	bool aborts = model_random(m, 10) == 0;
	struct model before;

	m->boot_ms += model_random(m, COOLDOWN / 4);
	kit_now_ms = m->boot_ms;
	before = *m;
	if (ledger)
		assert_ok(ledger_begin(ledger, &kit_err));
	for (int i = 0; i < steps; i++)
		step_any(m, ledger);
	if (ledger && aborts)
		ledger_abort(ledger);
	else if (ledger)
		assert_ok(ledger_commit(ledger, &kit_err));
	if (aborts) {
		before.seed = m->seed;
		*m = before;
	}
}

static const char *boot_name(const struct model *m)
{
	static char name[16];

	(void)snprintf(name, sizeof(name), "boot-%d", m->boot);
	return name;
}

static bool tenant_matches(struct ledger *ledger, const struct model *m, int key)
{
	const struct tenant *tenant = &m->tenants[key];
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct attachment_key name = tenant_key(key);
	int r = ledger_find(ledger, &name, &a, &kit_err);

	if (r == -ENOENT)
		return !tenant->live || tenant_is_rebooted(m, key);
	assert_int_equal(r, 0);
	return tenant->live && !tenant_is_rebooted(m, key) && a.id == tenant->id &&
	       a.state == tenant->state && a.guid == tenant->guid &&
	       (a.net.ip_count > 0) == (tenant->index >= 0) &&
	       (tenant->index < 0 || a.rail.index == (uint32_t)tenant->index) &&
	       (a.state != ATTACHMENT_ATTACHED || a.facts.ifindex == key + 1);
}

/* Each change is one event: what leaves no other trace is in the history. */
static bool history_matches(struct ledger *ledger, const struct model *m)
{
	CLEANUP_JSON json_t *last = NULL;

	assert_ok(kit_history(ledger, m->events ? m->events - 1 : 0, 2, &last));
	return json_array_size(last) == (m->events ? 1 : 0);
}

struct guid_check {
	struct model m;
	bool matches;
};

static void check_guid(uint64_t guid, const char *owner, void *arg)
{
	struct guid_check *check = arg;
	uint64_t expected, *at;
	unsigned int device;

	if (sscanf(owner, "net:d%u", &device) == 1)
		at = model_guid(&check->m, OF_VF + (uint64_t)device, &expected);
	else
		at = model_guid(&check->m, strtoull(owner + strlen("record:"), NULL, 10),
				&expected);
	if (at && expected == guid)
		*at = 0;
	else
		check->matches = false;
}

static bool guids_match(struct ledger *ledger, const struct model *m)
{
	static const uint64_t none[RAILS][GUIDS];
	struct guid_check check = { *m, true };

	assert_ok(ledger_guid_each(ledger, check_guid, &check, &kit_err));
	return check.matches && memcmp(check.m.owners, none, sizeof(none)) == 0;
}

static bool model_matches(struct ledger *ledger, const struct model *m)
{
	uint64_t live = 0;

	if (!history_matches(ledger, m) || !guids_match(ledger, m))
		return false;
	for (int key = 0; key < KEYS; key++) {
		if (!tenant_matches(ledger, m, key))
			return false;
		live += m->tenants[key].live && !tenant_is_rebooted(m, key);
	}
	return kit_count(ledger) == live;
}

static void model_init(struct model *m, unsigned int seed)
{
	*m = (struct model) { .seed = seed, .boot_ms = 1000, .next_id = 1 };
	for (int key = 0; key < KEYS; key++)
		m->tenants[key].index = -1;
	kit_now_ms = m->boot_ms;
}

static unsigned int seed_of_run(void)
{
	const char *text = getenv("SPUR_SEED");
	unsigned int seed = text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);

	print_message("SPUR_SEED=%u\n", seed);
	return seed;
}

/* Boot: a change is committed at this very moment, so that the model knows what the clock says. */
static void model_reboot(struct model *m, struct ledger **ledger)
{
	struct reserve_request request = kit_request("clock", NULL);
	CLEANUP(attachment_free) struct attachment a = { 0 };

	assert_ok(kit_reserve(*ledger, &request, NULL, &a));
	assert_true(kit_release(*ledger, &a, true, true));
	m->next_id++;
	m->events += 2;
	m->offset_ms = model_now(m);
	m->boot_ms = model_random(m, 1000);
	m->boot++;
	kit_now_ms = m->boot_ms;
	ledger_close(*ledger);
	*ledger = kit_open(boot_name(m));
	kit_set_pools(*ledger, pools_text);
}

static void test_random_batches(void **state)
{
	(void)state;
	unsigned int seed = seed_of_run();
	struct ledger *ledger = kit_open("boot-0");
	struct model m;

	model_init(&m, seed);
	kit_set_pools(ledger, pools_text);
	for (int i = 0; i < STEPS; i++) {
		model_batch(&m, ledger);
		if (i % 100 == 99) {
			assert_true(model_matches(ledger, &m));
			ledger_close(ledger);
			kit_check();
			ledger = kit_open(boot_name(&m));
			kit_set_pools(ledger, pools_text);
		}
		if (i % 250 == 249)
			model_reboot(&m, &ledger);
	}
	assert_true(model_matches(ledger, &m));
	ledger_close(ledger);
	kit_check();
}

/* The child: batches without end, one byte down the pipe for each that is on disk. */
static void run_until_killed(struct model *m, int fd)
{
	struct ledger *ledger = kit_open("boot-0");

	kit_set_pools(ledger, pools_text);
	for (;;) {
		model_batch(m, ledger);
		if (write(fd, "", 1) != 1)
			_exit(1);
	}
}

/* Starts a child on the model as it is, kills it, and returns how many batches it acknowledged. */
static int kill_after(struct model *m, useconds_t wait_us)
{
	int fds[2], status, acknowledged = 0;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		run_until_killed(m, fds[1]);
	}
	(void)close(fds[1]);
	(void)usleep(wait_us);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status)) /* an assertion failed in it */
		fail_msg("the child ended by itself");
	while (read(fds[0], &byte, 1) == 1)
		acknowledged++;
	(void)close(fds[0]);
	return acknowledged;
}

static void test_killed_at_a_random_moment(void **state)
{
	(void)state;
	unsigned int seed = seed_of_run();
	int total = 0, beyond = 0;
	struct model m, next;

	model_init(&m, seed);
	for (int i = 0; i < KILLS; i++) {
		int count = kill_after(&m, (useconds_t)rand_r(&seed) % 30000);
		struct ledger *ledger;

		for (int k = 0; k < count; k++)
			model_batch(&m, NULL);
		next = m;
		model_batch(&next, NULL);
		kit_check();
		ledger = kit_open("boot-0");
		if (!model_matches(ledger, &m)) {
			assert_true(model_matches(ledger, &next));
			m = next;
			beyond++;
		}
		ledger_close(ledger);
		total += count;
	}
	print_message("%d batches acknowledged, %d times one more was on disk\n", total, beyond);
	assert_true(total > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_random_batches, kit_setup),
		cmocka_unit_test_setup(test_killed_at_a_random_moment, kit_setup),
	};

	return cmocka_run_group_tests(tests, kit_make_root, kit_remove_root);
}
