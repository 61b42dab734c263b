/* SPDX-License-Identifier: Apache-2.0 */
/* The audit finds each kind of lie that a store can tell, and says which one it is. */
#include "ledger_kit.h"

#include <endian.h>

#include "ipamd/history.h"
#include "ipamd/rebind.h"

static const char pools[] = "[{'name':'p','rails':[{'name':'r0','cidr':'10.0.0.0/28'},"
			    "{'name':'r1','cidr':'10.1.0.0/28','cidr6':'fd00::/124'}]},"
			    "{'name':'q','rails':[{'name':'r0','cidr':'10.2.0.0/28',"
			    "'guidBase':'02:00:00:00:00:00:00:00'}]}]";

/* Attachments 1 (p/r0, device), 2 (p/r1, pod), 3 (q/r0, a GUID by name); 4 has gone, its index
 * rests. And a VF that owns a GUID. */
static void scene(void)
{
	struct reserve_request request = kit_request("c1", "p");
	struct baseline device = kit_device("net:eth5");
	struct ledger *ledger = kit_open("boot");
	struct attachment a;
	uint64_t guid;

	kit_set_pools(ledger, pools);
	request.rail = "r0";
	assert_ok(kit_reserve(ledger, &request, &device, &a));
	attachment_free(&a);
	request = kit_request("c2", "p");
	request.rail = "r1";
	request.pod.uid = (char *)"u2";
	request.netns.nsid = 3;
	request.sticky = "job/worker-2";
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	attachment_free(&a);
	request = kit_request("c3", "q");
	request.guid = 0x0200000000000099;
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	attachment_free(&a);
	request = kit_request("c4", "q");
	assert_ok(kit_reserve(ledger, &request, NULL, &a));
	assert_true(kit_release(ledger, &a, true, true));
	attachment_free(&a);
	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[1].rails[0],
				     "pci:0000:01:00.1", &guid, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	ledger_close(ledger);
}

/* --- breaking it by hand --- */

static struct store *broken;

static struct store_key key_of_texts(const char *const texts[])
{
	struct store_key key = { 0 };

	for (; *texts; texts++)
		store_key_text(&key, *texts);
	return key;
}

#define key_of(...) key_of_texts((const char *const[]) { __VA_ARGS__, NULL })

static void drop(enum store_table table, struct store_key key)
{
	struct store_view value;

	assert_true(store_get(broken, table, &key, &value));
	store_delete(broken, table, &key);
}

static void put(enum store_table table, struct store_key key, struct store_key value)
{
	store_put(broken, table, &key, value.bytes, value.len);
}

static struct store_key id_key(uint64_t id)
{
	struct store_key key = { 0 };

	store_key_u64(&key, id);
	return key;
}

static struct store_key index_key(const char *pool, const char *rail, uint32_t index)
{
	struct store_key key = key_of(pool, rail);

	store_key_u32(&key, index);
	return key;
}

static struct store_key lease(enum lease_state state, uint64_t number)
{
	struct store_key value = { .len = 1, .bytes = { (uint8_t)state } };

	store_key_u64(&value, number);
	return value;
}

/* Adds to one number of the clock or of a rail's state. */
static void add_to(struct store_key key, size_t number, int64_t more)
{
	struct store_key value = { 0 };
	struct store_view now;
	uint64_t changed;

	assert_true(store_get(broken, STORE_META, &key, &now));
	store_key_set(&value, &now);
	changed = htobe64(store_view_u64(&now, number * sizeof(uint64_t)) + (uint64_t)more);
	memcpy(value.bytes + number * sizeof(uint64_t), &changed, sizeof(changed));
	put(STORE_META, key, value);
}

/* Replaces a text of a record by another. */
static void edit_record(uint64_t id, const char *was, const char *is)
{
	struct store_key key = id_key(id);
	CLEANUP_FREE char *text = NULL, *changed = NULL;
	struct store_view value;
	char *at;

	assert_true(store_get(broken, STORE_RECORD, &key, &value));
	text = strndup((const char *)value.data, value.len);
	at = strstr(text, was);
	assert_non_null(at);
	assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, is, at + strlen(was)) >
		    0);
	store_put(broken, STORE_RECORD, &key, changed, strlen(changed));
}

static void no_by_key(void)
{
	drop(STORE_BY_KEY, key_of("c1", "net", "net1"));
}

static void no_by_device(void)
{
	drop(STORE_BY_DEVICE, key_of("net:eth5"));
}

static void no_by_netns(void)
{
	struct store_key key = { 0 };

	store_key_u32(&key, 3);
	store_key_u64(&key, 2);
	drop(STORE_BY_NETNS, key);
}

static void no_by_index(void)
{
	drop(STORE_BY_INDEX, index_key("p", "r1", 1));
	add_to(key_of("rail", "p", "r1"), 1, -1);
	add_to(key_of("rail", "p", "r1"), 0, -2);
}

static void other_by_key(void)
{
	put(STORE_BY_KEY, key_of("c1", "net", "net1"), id_key(2));
}

static void other_state(void)
{
	edit_record(2, "unfinished", "attached");
	add_to(key_of("clock"), 4, -1);
	add_to(key_of("clock"), 5, 1);
}

static void stray_by_key(void)
{
	put(STORE_BY_KEY, key_of("c9", "net", "net1"), id_key(9));
}

static void stray_by_device(void)
{
	put(STORE_BY_DEVICE, key_of("net:eth6"), id_key(1));
}

static void stray_by_pod(void)
{
	put(STORE_BY_POD, key_of("u9", "net", "net1"), id_key(9));
}

static void stray_by_netns(void)
{
	struct store_key key = { 0 };

	store_key_u32(&key, 7);
	store_key_u64(&key, 1);
	put(STORE_BY_NETNS, key, (struct store_key) { 0 });
}

static void stray_by_index(void)
{
	put(STORE_BY_INDEX, index_key("p", "r0", 9), lease(LEASE_HELD, 9));
	add_to(key_of("rail", "p", "r0"), 1, 1);
}

static void uncounted_rail(void)
{
	put(STORE_BY_INDEX, index_key("z", "r0", 9), lease(LEASE_RESTING, 9));
}

static void held_counter(void)
{
	add_to(key_of("rail", "p", "r0"), 1, 1);
}

static void queued_counter(void)
{
	add_to(key_of("rail", "q", "r0"), 2, 1);
}

static void draining_counter(void)
{
	add_to(key_of("rail", "p", "r1"), 3, 1);
}

static void claimed_counter(void)
{
	add_to(key_of("rail", "q", "r0"), 4, 1);
}

static void state_counter(void)
{
	add_to(key_of("clock"), 6, 1);
}

static void frontier_ahead(void)
{
	add_to(key_of("rail", "p", "r0"), 0, 1);
}

static struct store_view resting(struct store_key *ret_key)
{
	struct store_key key = { 0 };
	struct store_view found, value;

	assert_true(store_seek(broken, STORE_FREE_Q, &key, 0, &found, &value));
	store_key_set(ret_key, &found);
	return value;
}

static void not_queued(void)
{
	struct store_key key;

	(void)resting(&key);
	drop(STORE_FREE_Q, key);
}

static void queued_twice(void)
{
	struct store_key key;

	(void)resting(&key);
	key.bytes[key.len - 1]++;
	put(STORE_FREE_Q, key, (struct store_key) { 0 });
}

static void same_address(void)
{
	edit_record(1, "10.0.0.1/28", "10.2.0.1/28");
	edit_record(1, "\"p\"", "\"q\"");
	edit_record(1, "\"index\":1", "\"index\":5");
}

static void other_address(void)
{
	edit_record(1, "10.0.0.1/28", "10.0.0.7/28");
}

static void foreign_address(void)
{
	edit_record(1, "10.0.0.1/28", "192.168.0.1/28");
}

static void next_id(void)
{
	add_to(key_of("clock"), 2, -2);
}

static void first_id(void)
{
	add_to(key_of("clock"), 3, 1000);
}

static void guid_gone(void)
{
	drop(STORE_BY_GUID, id_key(0x0200000000000099));
}

static void guid_of_another(void)
{
	put(STORE_BY_GUID, id_key(0x0200000000000099), key_of("pci:0000:01:00.2"));
}

static void guid_of_nobody(void)
{
	put(STORE_BY_GUID, id_key(0x0200000000000077), key_of("record:1"));
}

static void two_guids(void)
{
	put(STORE_BY_GUID, id_key(0x0200000000000077), key_of("pci:0000:01:00.1"));
}

static void guid_of_lost(void)
{
	drop(STORE_GUID_OF, key_of("pci:0000:01:00.1"));
}

static void guid_of_no_vf(void)
{
	put(STORE_GUID_OF, key_of("pci:0000:01:00.7"), id_key(0x0200000000000055));
}

static void claim_put(const char *container, uint64_t id, uint32_t index, const char *device)
{
	struct store_key value = id_key(id);

	store_key_u64(&value, 0);
	store_key_text(&value, "r0");
	store_key_u32(&value, index);
	store_key_u64(&value, 0);
	store_key_text(&value, device);
	put(STORE_CLAIM, key_of(container, "p"), value);
}

static void claim_without_index(void)
{
	claim_put("c9", 3, 5, "");
}

static void claim_without_device(void)
{
	claim_put("c9", 3, 5, "pci:0000:02:00.1");
	put(STORE_BY_INDEX, index_key("p", "r0", 5), lease(LEASE_CLAIMED, 3));
	add_to(key_of("rail", "p", "r0"), 4, 1);
}

static void index_without_claim(void)
{
	put(STORE_BY_INDEX, index_key("p", "r0", 5), lease(LEASE_CLAIMED, 3));
	add_to(key_of("rail", "p", "r0"), 4, 1);
}

static void identity_not_queued(void)
{
	struct store_key value = { 0 };

	store_key_u32(&value, 5);
	store_key_u64(&value, 7);
	put(STORE_STICKY, key_of("p", "ns", "job/worker-3", "r0"), value);
}

/* As a key was before schema 5. */
static void identity_without_namespace(void)
{
	struct store_key value = { 0 };

	store_key_u32(&value, 5);
	store_key_u64(&value, 7);
	put(STORE_STICKY, key_of("p", "job/worker-3", "r0"), value);
}

static void identity_queued_alone(void)
{
	struct store_key key = id_key(7);

	store_key_text(&key, "p");
	store_key_text(&key, "ns");
	store_key_text(&key, "job/worker-3");
	store_key_text(&key, "r0");
	put(STORE_STICKY_Q, key, (struct store_key) { 0 });
}

static void rebind_cut(void)
{
	struct store_key value = id_key(1);

	store_key_text(&value, "");
	put(STORE_REBIND, key_of("pci:0000:01:10.1"), value);
}

static void rebind_of_a_netdev(void)
{
	rebind_put(broken, "net:eth5", &(struct rebind) { .id = 1, .is_due = true });
}

static void rebind_of_nobody(void)
{
	rebind_put(broken, "pci:0000:01:10.1", &(struct rebind) { .id = 99, .is_due = true });
}

static struct store_key last_key(const char *pool, const char *pod, const char *rail,
				 uint32_t index)
{
	struct store_key key = key_of(pool, pod, rail);

	store_key_u32(&key, index);
	return key;
}

static void last_gone(void)
{
	drop(STORE_BY_LAST, last_key("q", "ns/c4", "r0", 2));
}

static void last_of_nobody(void)
{
	put(STORE_BY_LAST, last_key("q", "ns/c9", "r0", 2), (struct store_key) { 0 });
}

/* The rest before is behind the holder. */
static void rest_before_cut(void)
{
	struct store_key value = lease(LEASE_HELD, 1);

	store_key_u32(&value, 7);
	put(STORE_BY_INDEX, index_key("p", "r0", 1), value);
}

static struct store_key holder_key(const char *identity, uint64_t id)
{
	struct store_key key = key_of("ns", identity);

	store_key_u64(&key, id);
	return key;
}

static void holder_gone(void)
{
	drop(STORE_BY_IDENTITY, holder_key("job/worker-2", 2));
}

static void holder_of_nothing(void)
{
	put(STORE_BY_IDENTITY, holder_key("job/worker-2", 9), id_key(9));
}

static void holder_of_no_identity(void)
{
	put(STORE_BY_IDENTITY, holder_key("job/worker-2", 1), id_key(1));
}

static void history_gap(void)
{
	drop(STORE_HISTORY, id_key(2));
}

static void history_misplaced(void)
{
	put(STORE_HISTORY, id_key(3), key_of("{}"));
}

static void record_misplaced(void)
{
	edit_record(3, "\"id\":3", "\"id\":4");
}

static const struct {
	void (*lie)(void);
	const char *finding;
	uint64_t count;
} lies[] = {
	{ no_by_key, "attachment 1 (net/c1/net1): has no entry in table by_key", 1 },
	{ no_by_device, "attachment 1 (net/c1/net1): has no entry in table by_device", 1 },
	{ no_by_netns, "attachment 2 (net/c2/net1): has no entry in table by_netns", 1 },
	{ no_by_index, "attachment 2 (net/c2/net1): has no entry in table by_index", 1 },
	{ other_by_key,
	  "attachment 1 (net/c1/net1): its entry in table by_key is another's or says something "
	  "else",
	  1 },
	{ other_state,
	  "attachment 2 (net/c2/net1): its entry in table by_netns is another's or says something "
	  "else",
	  1 },
	{ stray_by_key, "table by_key: an entry leads to attachment 9, which has no record", 1 },
	{ stray_by_device, "table by_device: an entry leads to attachment 1, which is another", 1 },
	{ stray_by_pod, "table by_pod: an entry leads to attachment 9, which has no record", 1 },
	{ stray_by_netns, "table by_netns: an entry leads to attachment 1, which is another", 1 },
	{ stray_by_index, "table by_index: an entry leads to attachment 9, which has no record",
	  1 },
	{ uncounted_rail, "table by_index: there are entries of a rail that meta does not count",
	  1 },
	{ held_counter, "pool \"p\" rail \"r0\": 1 indexes are held, and its counter says 2", 1 },
	{ queued_counter, "pool \"q\" rail \"r0\": 1 indexes are queued, and its counter says 2",
	  1 },
	{ draining_counter,
	  "pool \"p\" rail \"r1\": 0 indexes are draining, and its counter says 1", 1 },
	{ claimed_counter, "pool \"q\" rail \"r0\": 0 indexes are claimed, and its counter says 1",
	  1 },
	{ state_counter, "0 attachments are dirty, and their counter says 1", 1 },
	{ frontier_ahead, "pool \"p\" rail \"r0\": index 2 lies below the frontier and is lost",
	  1 },
	{ not_queued, "pool \"q\" rail \"r0\": index 2 rests, and is not in the queue", 1 },
	{ queued_twice, "table free_q: 2 indexes are queued, 1 rest", 1 },
	{ same_address, "address 10.2.0.1: attachments 1 and 3 both have it", 5 },
	{ other_address,
	  "attachment 1 (net/c1/net1): its address 10.0.0.7 is not index 1 of pool \"p\" rail "
	  "\"r0\"",
	  1 },
	{ foreign_address,
	  "attachment 1 (net/c1/net1): its address 192.168.0.1 is not index 1 of pool \"p\" rail "
	  "\"r0\"",
	  1 },
	{ next_id, "attachment 3 (net/c3/net1): the next id is 3", 1 },
	{ first_id, "table meta: this boot begins with id 1001, the next is 5", 2 },
	{ guid_gone, "attachment 3 (net/c3/net1): its GUID 02:00:00:00:00:00:00:99 has no owner",
	  1 },
	{ guid_of_another,
	  "attachment 3 (net/c3/net1): its GUID 02:00:00:00:00:00:00:99 is owned by "
	  "pci:0000:01:00.2",
	  2 },
	{ guid_of_nobody, "table by_guid: 2 GUIDs are owned by attachments, of which 1 know of it",
	  1 },
	{ two_guids, "table by_guid: pci:0000:01:00.1 owns two GUIDs", 2 },
	{ guid_of_lost, "table guid_of: pci:0000:01:00.1 does not lead to its GUID", 1 },
	{ guid_of_no_vf, "table guid_of: 2 VFs have a GUID, by table by_guid 1", 1 },
	{ claim_without_index,
	  "claim of container c9 on pool \"p\": index 5 of rail \"r0\" is not claimed by it", 1 },
	{ claim_without_device,
	  "claim of container c9 on pool \"p\": device pci:0000:02:00.1 is not claimed by it", 1 },
	{ index_without_claim, "table by_index: 1 indexes are claimed, by claims 0", 1 },
	{ identity_not_queued, "identity \"job/worker-3\" of namespace \"ns\": is not in the queue",
	  1 },
	{ identity_without_namespace, "table sticky: an entry is malformed", 1 },
	{ identity_queued_alone, "table sticky_q: 1 identities are queued, of 0", 1 },
	{ rebind_cut, "table rebind: an entry is malformed", 1 },
	{ rebind_of_a_netdev, "table rebind: an entry is malformed", 1 },
	{ rebind_of_nobody,
	  "table rebind: pci:0000:01:10.1 is of an attachment that is not there yet", 1 },
	{ last_gone, "pool \"q\" rail \"r0\": index 2 rests of pod ns/c4, and is not found by it",
	  1 },
	{ last_of_nobody, "table by_last: 2 indexes are of pods, 1 rest so", 1 },
	{ rest_before_cut,
	  "attachment 1 (net/c1/net1): its entry in table by_index is another's or says something "
	  "else",
	  5 },
	{ holder_gone, "attachment 2 (net/c2/net1): has no entry in table by_identity", 1 },
	{ holder_of_nothing,
	  "table by_identity: an entry leads to attachment 9, which has no record", 1 },
	{ holder_of_no_identity,
	  "table by_identity: an entry leads to attachment 1, which is another", 1 },
	{ history_gap, "table history: event 3 follows event 1", 1 },
	{ history_misplaced, "table history: event 3 is not under its number", 1 },
	{ record_misplaced, "table record: attachment 4 is not under its id", 6 },
};

static void audit_now(struct audit *ret_audit)
{
	assert_ok(store_begin(broken, STORE_READ, &kit_err));
	assert_ok(audit_store(broken, NULL, ret_audit, &kit_err));
	store_abort(broken);
}

static bool has_finding(const struct audit *audit, const char *finding)
{
	for (uint64_t i = 0; i < audit->found; i++) {
		if (strcmp(audit->findings[i], finding) == 0)
			return true;
	}
	return false;
}

static void test_clean(void **state)
{
	struct audit audit;
	json_t *json;

	(void)state;
	scene();
	assert_ok(store_open(kit_dir, &broken, &kit_err));
	audit_now(&audit);
	assert_int_equal(audit.found, 0);
	assert_int_equal(audit.records, 3);
	assert_int_equal(audit.held, 3);
	assert_int_equal(audit.resting, 1);
	assert_int_equal(audit.guids, 2);
	assert_int_equal(audit.events, 5);
	json = audit_encode(&audit);
	assert_true(json_is_true(json_object_get(json, "ok")));
	json_decref(json);
	audit_free(&audit);
	store_close(broken);
}

static void test_each_lie(void **state)
{
	struct audit audit;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		(void)kit_setup(state);
		scene();
		assert_ok(store_open(kit_dir, &broken, &kit_err));
		assert_ok(store_begin(broken, STORE_WRITE, &kit_err));
		lies[i].lie();
		assert_ok(store_commit(broken, &kit_err));
		audit_now(&audit);
		if (audit.found != lies[i].count || !has_finding(&audit, lies[i].finding))
			fail_msg("%zu (%s): %llu findings: %s", i, lies[i].finding,
				 (unsigned long long)audit.found,
				 audit.found ? audit.findings[0] : "none");
		audit_free(&audit);
		store_close(broken);
	}
}

static void test_many_findings(void **state)
{
	struct audit audit;
	json_t *json;

	(void)state;
	scene();
	assert_ok(store_open(kit_dir, &broken, &kit_err));
	assert_ok(store_begin(broken, STORE_WRITE, &kit_err));
	for (uint64_t i = 0; i < 1000; i++) {
		char container[16];

		(void)snprintf(container, sizeof(container), "x%d", (int)i);
		put(STORE_BY_KEY, key_of(container, "net", "net1"), id_key(1000 + i));
	}
	assert_ok(store_commit(broken, &kit_err));
	audit_now(&audit);
	assert_int_equal(audit.found, 1000);
	json = audit_encode(&audit);
	assert_int_equal(json_array_size(json_object_get(json, "findings")), AUDIT_FINDINGS_MAX);
	json_decref(json);
	audit_free(&audit);
	store_close(broken);
}

/* One flipped bit in the file under an open store, in the middle of a record. */
static void test_damage(void **state)
{
	struct audit audit;
	char path[128];
	char *data, *at;
	size_t len;
	FILE *f;

	(void)state;
	scene();
	assert_ok(store_open(kit_dir, &broken, &kit_err));
	(void)snprintf(path, sizeof(path), "%s/data.mdb", kit_dir);
	f = fopen(path, "r+");
	assert_non_null(f);
	data = calloc(1, 1 << 20);
	len = fread(data, 1, 1 << 20, f);
	for (at = data; (at = memmem(at, len - (size_t)(at - data), "\"containerID\":\"c2\"", 18));
	     at++) {
		assert_int_equal(fseek(f, at - data + 15, SEEK_SET), 0);
		assert_int_equal(fputc('b', f), 'b');
	}
	assert_int_equal(fclose(f), 0);
	free(data);
	audit_now(&audit);
	assert_int_equal(audit.found, 1);
	assert_non_null(strstr(audit.findings[0], "is damaged"));
	assert_non_null(strstr(audit.findings[0], "the rest was not looked at"));
	audit_free(&audit);
	store_close(broken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_clean, kit_setup),
		cmocka_unit_test_setup(test_each_lie, kit_setup),
		cmocka_unit_test_setup(test_many_findings, kit_setup),
		cmocka_unit_test_setup(test_damage, kit_setup),
	};

	return cmocka_run_group_tests_name("ledger audit", tests, kit_make_root, kit_remove_root);
}
