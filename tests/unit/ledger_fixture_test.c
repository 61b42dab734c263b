/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fixture/store-v1 to -v4 were written by the code of their time. Whatever the schema
 * becomes, these stores open and mean what they meant, also when the daemon is killed over it.
 *
 * With a directory as argument it writes such a store there, with the code of today.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "base/fs.h"
#include "ipamd/sticky.h"
#include "ledger_kit.h"

static const char fixture_v1[] = SPUR_FIXTURES "/store-v1/data.mdb";
static const char fixture_v2[] = SPUR_FIXTURES "/store-v2/data.mdb";
static const char fixture_v3[] = SPUR_FIXTURES "/store-v3/data.mdb";
static const char fixture_v4[] = SPUR_FIXTURES "/store-v4/data.mdb";

/* The process dies before so many puts and commits; 0: never. */
static int puts_left;

int __real_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned int flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned int flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned int flags)
{
	if (puts_left > 0 && --puts_left == 0)
		(void)raise(SIGKILL);
	return __real_mdb_put(txn, dbi, key, value, flags);
}

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	if (puts_left > 0 && --puts_left == 0)
		(void)raise(SIGKILL);
	return __real_mdb_txn_commit(txn);
}

static const char pools_text[] =
	"[{'name': 'train', 'cooldown_s': 100, 'rails': ["
	"  {'name': 'rail0', 'cidr': '10.0.0.0/24', 'cidr6': 'fd00::/64', 'gatewayIndex': 1,"
	"   'routes': [{'dst': '10.0.0.0/8'}]},"
	"  {'name': 'rail1', 'cidr': '10.0.1.0/24', 'gatewayIndex': 1}]}]";

static void write_attachment(struct ledger *ledger, const char *container, const char *rail,
			     const char *device_key, struct attachment *ret_a)
{
	struct reserve_request request = kit_request(container, "train");
	struct baseline device = kit_device(device_key);

	request.rail = rail;
	request.pod.uid = (char *)"5cd0a13d-1d5b-4e07-9f0c-2a4a3f0a6b10";
	request.netns.nsid = 3;
	request.sticky = container;
	(void)mac_parse("02:00:00:00:00:01", &device.mac);
	assert_ok(
		ledger_reserve(ledger, &request, device_key[0] ? &device : NULL, ret_a, &kit_err));
}

/* Attached, unfinished, dirty, and one that has gone and rests. */
static void write_store(struct ledger *ledger)
{
	struct attachment a[4] = { 0 };
	struct attachment_key key;
	struct facts facts = { .ifindex = 9, .mtu = 1500, .table = 100 };
	bool gone;

	assert_ok(ledger_begin(ledger, &kit_err));
	write_attachment(ledger, "attached", "rail0", "net:eth5", &a[0]);
	write_attachment(ledger, "unfinished", "rail1", "", &a[1]);
	write_attachment(ledger, "dirty", "rail0", "net:eth6", &a[2]);
	write_attachment(ledger, "gone", "rail0", "net:eth7", &a[3]);
	key = attachment_key(&a[0]);
	assert_ok(ledger_done(ledger, &key, a[0].id, &facts, &kit_err));
	key = attachment_key(&a[2]);
	assert_ok(ledger_release(
		ledger, &key, a[2].id,
		&(struct release) { .left = false, .restored = false, .reason = "DEL" }, NULL,
		&gone, &kit_err));
	key = attachment_key(&a[3]);
	assert_ok(ledger_release(
		ledger, &key, a[3].id,
		&(struct release) { .left = true, .restored = true, .reason = "DEL" }, NULL, &gone,
		&kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		attachment_free(&a[i]);
}

static void find(struct ledger *ledger, const char *container, struct attachment *ret_a)
{
	struct attachment_key key = { "net", container, "net1" };

	assert_ok(ledger_find(ledger, &key, ret_a, &kit_err));
}

/* The three that stand in every fixture. Read in their own boot: in another they count as gone. */
static void assert_meaning(struct ledger *ledger)
{
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 }, c = { 0 };
	CLEANUP_JSON json_t *events = NULL;
	struct rail_usage usage;
	char text[MAC_TEXT];

	find(ledger, "attached", &a);
	assert_int_equal(a.state, ATTACHMENT_ATTACHED);
	assert_int_equal(a.facts.table, 100);
	assert_int_equal(a.rail.index, 2);
	assert_int_equal(a.net.ip_count, 2);
	assert_string_equal(a.device.name, "eth5");
	assert_string_equal(mac_format(&a.device.mac, text), "02:00:00:00:00:01");
	assert_int_equal(a.netns.nsid, 3);
	find(ledger, "unfinished", &b);
	assert_int_equal(b.state, ATTACHMENT_UNFINISHED);
	assert_string_equal(b.device.key, "");
	assert_string_equal(b.rail.name, "rail1");
	find(ledger, "dirty", &c);
	assert_int_equal(c.state, ATTACHMENT_DIRTY);
	assert_ok(ledger_usage(ledger, &ledger_pools(ledger)->pools[0],
			       &ledger_pools(ledger)->pools[0].rails[0], &usage, &kit_err));
	assert_int_equal(usage.held, 2);
	assert_int_equal(usage.resting, 1);
	assert_ok(kit_history(ledger, 0, 100, &events));
	assert_true(json_array_size(events) >= 7);
}

static void copy_fixture(const char *path)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP_CLOSE int dir_fd = -1;
	CLEANUP_FREE char *data = NULL;
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(fs_read_all(fd, 1 << 24, &data, &len), 0);
	assert_int_equal(mkdir(kit_dir, 0700), 0);
	dir_fd = open(kit_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(fs_write_atomic(dir_fd, "data.mdb", data, len, 0600, &kit_err));
}

/* Straight from the file: the value behind the last key "schema" that was written. */
static int schema_of_file(void)
{
	CLEANUP_FREE char *data = NULL;
	char path[128], *at;
	int schema = -1;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", kit_dir);

	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fs_read_all(fd, 1 << 24, &data, &len), 0);
	for (at = data; (at = memmem(at, len - (size_t)(at - data), "schema", 7)); at++)
		schema = schema > at[14] ? schema : at[14];
	return schema;
}

/* Everything is there, in its boot; nothing but history and rest in the next one. */
static void assert_opens(const char *path, int schema, uint64_t records)
{
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct ledger_counts counts;
	struct ledger *ledger;
	size_t dropped;

	copy_fixture(path);
	assert_int_equal(schema_of_file(), schema);
	ledger = kit_open("boot-of-the-fixture");
	assert_int_equal(schema_of_file(), STORE_SCHEMA);
	assert_ok(ledger_stored_pools(ledger, &set, &kit_err));
	assert_ok(ledger_set_pools(ledger, &set, &kit_err));
	assert_meaning(ledger);
	assert_int_equal(kit_count(ledger), records);
	find(ledger, "dirty", &a);
	assert_true(kit_release(ledger, &a, true, true));
	ledger_close(ledger);
	kit_check();

	kit_now_ms = 1000; /* the node has just booted */
	ledger = kit_open("boot-of-today");
	assert_ok(ledger_counts(ledger, &counts, &kit_err));
	assert_int_equal(counts.attached + counts.unfinished + counts.dirty, 0);
	assert_int_equal(counts.unconfirmed, 0);
	assert_int_equal(counts.rebooted, records - 1);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_drop_rebooted(ledger, 100, &dropped, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	assert_int_equal(dropped, records - 1);
	ledger_close(ledger);
	kit_check();
}

static void test_store_of_the_first_schema(void **state)
{
	(void)state;
	const struct rail rail = { .guid_base = 0x0200000000010000, .guid_count = RAIL_GUIDS };
	struct ledger *ledger;
	uint64_t guid;

	assert_opens(fixture_v1, 1, 3);
	ledger = kit_open("boot-of-today");
	assert_true(ledger_guid_of(ledger, "net:eth5", &guid, &kit_err) == -ENOENT);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_guid_assign(ledger, &rail, "net:eth5", &guid, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	ledger_close(ledger);
}

/* Its VFs keep the GUIDs that the fabric knows; one that a record asked for goes with it. */
static void test_store_of_the_second_schema(void **state)
{
	(void)state;
	struct ledger *ledger;
	uint64_t guid;

	assert_opens(fixture_v2, 2, 4);
	ledger = kit_open("boot-of-today");
	assert_ok(ledger_guid_of(ledger, "net:eth5", &guid, &kit_err));
	assert_true(guid == 0x0200000000010000);
	assert_ok(ledger_guid_of(ledger, "net:eth9", &guid, &kit_err));
	assert_true(guid == 0x0200000000010001);
	ledger_close(ledger);
}

/* Its records count as what they were, one of them can become unconfirmed, and what one holds under
 * an identity is found by it. */
static void test_store_of_the_third_schema(void **state)
{
	(void)state;
	CLEANUP(attachment_free) struct attachment a = { 0 }, holder = { 0 };
	struct reserve_request successor = kit_request("successor", "train");
	struct attachment_key key = { "net", "unfinished", "net1" };
	struct ledger_counts counts;
	struct ledger *ledger;

	copy_fixture(fixture_v3);
	ledger = kit_open("boot-of-the-fixture");
	find(ledger, "unfinished", &a);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_unconfirm(ledger, &key, a.generation, &kit_err));
	successor.sticky = "attached";
	successor.pod.name = (char *)"pod"; /* as all had that were written then */
	assert_ok(ledger_find_namesake(ledger, &successor, &holder, &kit_err));
	assert_string_equal(holder.container_id, "attached");
	assert_ok(ledger_commit(ledger, &kit_err));
	ledger_close(ledger);
	kit_check();
	ledger = kit_open("boot-of-the-fixture");
	assert_ok(ledger_counts(ledger, &counts, &kit_err));
	assert_int_equal(counts.attached, 1);
	assert_int_equal(counts.unfinished, 0);
	assert_int_equal(counts.dirty, 1);
	assert_int_equal(counts.unconfirmed, 1);
	ledger_close(ledger);
	(void)kit_setup(state);
	assert_opens(fixture_v3, 3, 3);
}

/* As it was written before schema 5: without a namespace. */
static void put_old_identity(struct store *store, const char *name, uint32_t index, uint64_t last)
{
	struct store_key key = { 0 }, queued = { 0 }, value = { 0 };

	store_key_u64(&queued, last);
	for (int i = 0; i < 3; i++) {
		const char *text = (const char *const[]) { "train", name, "rail0" }[i];

		store_key_text(&key, text);
		store_key_text(&queued, text);
	}
	store_key_u32(&value, index);
	store_key_u64(&value, last);
	store_put(store, STORE_STICKY, &key, value.bytes, value.len);
	store_put(store, STORE_STICKY_Q, &queued, NULL, 0);
}

static void put_old_identities(void)
{
	struct store *store;

	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_WRITE, &kit_err));
	put_old_identity(store, "stranger", 77, 5); /* an index that has rested, and is forgotten */
	put_old_identity(store, "dirty", 3, 5);     /* its record holds it */
	put_old_identity(store, "attached", 3, 5);  /* and not this one's */
	assert_ok(store_commit(store, &kit_err));
	store_close(store);
}

static bool is_known(const char *namespace, const char *name, uint32_t index)
{
	struct sticky had;
	struct store *store;
	bool known;

	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_READ, &kit_err));
	known = sticky_find(store, "train", "rail0", &(struct identity) { namespace, name },
			    &had) &&
		had.here && had.index == index;
	store_close(store);
	return known;
}

/* Whose an identity was, and of whom an index rests, is told by what is kept; else it is nobody's.
 */
static void test_store_of_the_fourth_schema(void **state)
{
	(void)state;
	struct reserve_request other = kit_request("other", "train");
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct ledger *ledger;

	copy_fixture(fixture_v4);
	put_old_identities();
	ledger_close(kit_open("boot-of-the-fixture"));
	kit_check();
	assert_true(is_known("ns", "gone", 4)); /* its pod was known by its UID alone */
	assert_true(is_known("ns", "dirty", 3));
	assert_false(is_known("ns", "attached", 3));
	assert_false(is_known("", "gone", 4));
	for (size_t i = 0; i < 2; i++)
		assert_false(is_known((const char *const[]) { "ns", "" }[i], "stranger", 77));

	ledger = kit_open("boot-of-the-fixture");
	other.rail = "rail0";
	other.has_index = true;
	other.index = 4;
	other.pod.namespace = (char *)"other";
	assert_int_equal(kit_reserve(ledger, &other, NULL, &a), -EAGAIN);
	assert_non_null(strstr(kit_err.msg, "of a pod of namespace \"ns\""));
	other.pod.namespace = (char *)"ns";
	assert_ok(kit_reserve(ledger, &other, NULL, &a));
	ledger_close(ledger);
	(void)kit_setup(state);
	assert_opens(fixture_v4, 4, 3);
}

/* Opens the store, and is killed when it has made @step changes in it; false: there were fewer. */
static bool killed_at(int step)
{
	struct ledger *ledger;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		puts_left = step;
		_exit(ledger_open(kit_dir, "boot-of-the-fixture", &ledger, &kit_err) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status);
}

static void kill_at_each_step(void **state, const char *fixture, uint64_t records, int steps)
{
	struct ledger *ledger;
	int step;

	for (step = 1; step < 1000; step++) {
		(void)kit_setup(state);
		copy_fixture(fixture);
		if (!killed_at(step))
			break;
		ledger = kit_open("boot-of-the-fixture");
		assert_int_equal(kit_count(ledger), records);
		ledger_close(ledger);
		kit_check();
	}
	assert_true(step > steps);
}

static void test_migration_is_whole_or_absent(void **state)
{
	kill_at_each_step(state, fixture_v2, 4, 20);
	kill_at_each_step(state, fixture_v3, 3, 2);
	kill_at_each_step(state, fixture_v4, 3, 2);
}

/* What is written today means the same: the writer and the test agree. */
static void test_store_of_today(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-of-today");

	kit_set_pools(ledger, pools_text);
	write_store(ledger);
	assert_meaning(ledger);
	ledger_close(ledger);
	kit_check();
}

static void write_fixture(void **state)
{
	(void)state;
	struct ledger *ledger = kit_open("boot-of-the-fixture");

	kit_set_pools(ledger, pools_text);
	write_store(ledger);
	ledger_close(ledger);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_store_of_the_first_schema, kit_setup),
		cmocka_unit_test_setup(test_store_of_the_second_schema, kit_setup),
		cmocka_unit_test_setup(test_store_of_the_third_schema, kit_setup),
		cmocka_unit_test_setup(test_store_of_the_fourth_schema, kit_setup),
		cmocka_unit_test_setup(test_migration_is_whole_or_absent, kit_setup),
		cmocka_unit_test_setup(test_store_of_today, kit_setup),
	};
	static const struct CMUnitTest writer[] = { cmocka_unit_test(write_fixture) };

	kit_now_ms = 1000000;
	(void)snprintf(kit_dir, sizeof(kit_dir), "%s", argc > 1 ? argv[1] : "");
	if (argc > 1)
		return cmocka_run_group_tests(writer, kit_make_root, kit_remove_root);
	return cmocka_run_group_tests(tests, kit_make_root, kit_remove_root);
}
