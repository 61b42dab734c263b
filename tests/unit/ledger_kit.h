/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the ledger share: a directory, a clock that stands still, requests, and the
 * proof that every table of a store agrees with every other. Link with --wrap=clock_boot_ms.
 */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/ledger.h"
#include "ipamd/lease.h"
#include "ipamd/store.h"

static char kit_root[] = "/tmp/spur-ledger-XXXXXX";
static char kit_dir[64];   /* of this test */
static int64_t kit_now_ms; /* CLOCK_BOOTTIME, as the ledger sees it */
static struct err kit_err;
static json_t *kit_env, *kit_netconf;

int64_t __wrap_clock_boot_ms(void);
int64_t __wrap_clock_boot_ms(void)
{
	return kit_now_ms;
}

static int kit_setup(void **state)
{
	static int count;

	(void)state;
	(void)snprintf(kit_dir, sizeof(kit_dir), "%s/%d", kit_root, ++count);
	kit_err = (struct err) { 0 };
	kit_now_ms = 1000000;
	return 0;
}

static int kit_make_root(void **state)
{
	(void)state;
	kit_env = json_pack("{s:s}", "CNI_COMMAND", "ADD");
	kit_netconf = json_pack("{s:s}", "name", "net");
	return mkdtemp(kit_root) ? 0 : -1;
}

static int kit_remove_root(void **state)
{
	char command[128];

	(void)state;
	json_decref(kit_env);
	json_decref(kit_netconf);
	(void)snprintf(command, sizeof(command), "rm -rf --one-file-system %s", kit_root);
	return system(command);
}

#define assert_ok(call)                                                                    \
	do {                                                                               \
		if ((call) < 0)                                                            \
			fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #call, kit_err.msg); \
	} while (0)

static inline struct ledger *kit_open(const char *boot_id)
{
	struct ledger *ledger;

	assert_ok(ledger_open(kit_dir, boot_id, &ledger, &kit_err));
	return ledger;
}

/* JSON with ' for ". */
static inline json_t *kit_json(const char *text)
{
	CLEANUP_FREE char *copy = strdup(text);
	json_t *json;

	for (char *p = copy; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	json = json_loads(copy, 0, NULL);
	assert_non_null(json);
	return json;
}

static inline int kit_try_pools(struct ledger *ledger, const char *text)
{
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	CLEANUP_JSON json_t *json = kit_json(text);

	assert_ok(pool_set_read(json, &set, &kit_err));
	return ledger_set_pools(ledger, &set, &kit_err);
}

static inline void kit_set_pools(struct ledger *ledger, const char *text)
{
	assert_ok(kit_try_pools(ledger, text));
}

static inline struct reserve_request kit_request(const char *container, const char *pool)
{
	return (struct reserve_request) {
		.key = { "net", container, "net1" },
		.pod = { (char *)"ns", (char *)"pod", (char *)"" },
		.netns = { .path = (char *)"/run/netns/x", .cookie = 1, .nsid = -1 },
		.program = "spur",
		.env = kit_env,
		.netconf = kit_netconf,
		.pool = pool,
	};
}

static inline struct baseline kit_device(const char *key)
{
	struct baseline device = { .ifindex = 7, .name = "eth5", .mtu = 1500, .up = true };

	(void)snprintf(device.key, sizeof(device.key), "%s", key);
	return device;
}

/* A VF of a PF, as it is found by its PCI address. */
static inline struct baseline kit_vf(const char *key, const char *pf_netdev, const char *pf)
{
	struct baseline device = kit_device(key);

	device.vf.is_vf = true;
	(void)snprintf(device.vf.pf_netdev, sizeof(device.vf.pf_netdev), "%s", pf_netdev);
	(void)pci_parse(pf, &device.vf.pf);
	return device;
}

static inline uint64_t kit_count(struct ledger *ledger)
{
	struct ledger_counts counts;

	assert_ok(ledger_counts(ledger, &counts, &kit_err));
	return counts.unfinished + counts.attached + counts.dirty;
}

/* Reserves in a batch of its own. */
static inline int kit_reserve(struct ledger *ledger, const struct reserve_request *request,
			      const struct baseline *device, struct attachment *ret_a)
{
	int r;

	assert_ok(ledger_begin(ledger, &kit_err));
	r = ledger_reserve(ledger, request, device, ret_a, &kit_err);
	if (r < 0)
		ledger_abort(ledger);
	else
		assert_ok(ledger_commit(ledger, &kit_err));
	return r;
}

static inline bool kit_release(struct ledger *ledger, const struct attachment *a, bool left,
			       bool restored)
{
	struct attachment_key key = attachment_key(a);
	bool gone;

	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_release(ledger, &key, a->generation, left, restored, "DEL", &gone,
				 &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	return gone;
}

/* The proof */

static inline void kit_get(struct store *store, enum store_table table, const struct store_key *key,
			   struct store_view *ret_value)
{
	if (!store_get(store, table, key, ret_value))
		fail_msg("table %d lacks an entry", (int)table);
}

static inline void kit_check_id(struct store *store, enum store_table table,
				const struct store_key *key, uint64_t id)
{
	struct store_view value;

	kit_get(store, table, key, &value);
	assert_int_equal(value.len, sizeof(uint64_t));
	assert_int_equal(store_view_u64(&value, 0), id);
}

struct kit_counts {
	uint64_t records, devices, pods, held, guids;
	uint64_t states[3]; /* of this boot */
};

/* The GUID of a record is its own, or that of its device. */
static inline void kit_check_guid(struct store *store, const struct attachment *a,
				  struct kit_counts *counts)
{
	struct store_key by_guid = { 0 };
	struct store_view value;
	char owner[32];

	if (!a->guid)
		return;
	assert_true(guid_is_usable(a->guid));
	store_key_u64(&by_guid, a->guid);
	kit_get(store, STORE_BY_GUID, &by_guid, &value);
	(void)snprintf(owner, sizeof(owner), "record:%llu", (unsigned long long)a->id);
	if (strcmp((const char *)value.data, owner) == 0)
		counts->guids++;
	else
		assert_string_equal((const char *)value.data, a->device.key);
}

/* No VF owns two, and no record that has gone owns any. */
static inline void kit_check_guids(struct store *store, uint64_t of_records)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	char owners[256][PROTO_DEVICE_MAX];
	size_t n = 0;

	while (store_seek(store, STORE_BY_GUID, &key, 0, &found, &value)) {
		assert_true(n < ARRAY_SIZE(owners) && value.len <= sizeof(owners[0]));
		memcpy(owners[n], value.data, value.len);
		of_records -= strncmp(owners[n], "record:", strlen("record:")) == 0;
		for (size_t i = 0; i < n; i++)
			assert_string_not_equal(owners[i], owners[n]);
		n++;
		store_key_set(&key, &found);
		store_key_next(&key);
	}
	assert_int_equal(of_records, 0);
}

/* Id, and of an index its number, pool and rail. */
static inline void kit_check_by_key(struct store *store, const struct attachment *a)
{
	struct store_key key = { 0 };
	struct store_view value;
	const char *pool, *rail;

	store_key_text(&key, a->container_id);
	store_key_text(&key, a->network);
	store_key_text(&key, a->ifname);
	kit_get(store, STORE_BY_KEY, &key, &value);
	assert_true(value.len >= sizeof(uint64_t));
	assert_int_equal(store_view_u64(&value, 0), a->id);
	if (!a->pool[0]) {
		assert_int_equal(value.len, sizeof(uint64_t));
		return;
	}
	pool = (const char *)value.data + sizeof(uint64_t) + sizeof(uint32_t);
	rail = pool + strlen(a->pool) + 1;
	assert_int_equal(value.len, sizeof(uint64_t) + sizeof(uint32_t) + strlen(a->pool) + 1 +
					    strlen(a->rail.name) + 1);
	assert_int_equal(store_view_u32(&value, sizeof(uint64_t)), a->rail.index);
	assert_string_equal(pool, a->pool);
	assert_string_equal(rail, a->rail.name);
}

static inline void kit_check_by_netns(struct store *store, const struct attachment *a)
{
	struct store_key key = { 0 };
	struct store_view value;

	store_key_u32(&key, (uint32_t)a->netns.nsid);
	store_key_u64(&key, a->id);
	kit_get(store, STORE_BY_NETNS, &key, &value);
	assert_int_equal(value.len, 1 + 2 * sizeof(uint64_t));
	assert_int_equal(value.data[0], a->state);
	assert_int_equal(store_view_u64(&value, 1), a->netns.cookie);
	assert_int_equal(store_view_u64(&value, 1 + sizeof(uint64_t)), a->boot_time_ms);
}

/* The clock counts the records of its boot, which begins with its first id. */
static inline void kit_check_clock(struct store *store, const struct kit_counts *counts)
{
	struct store_key key = { 0 };
	struct store_view value;

	store_key_text(&key, "clock");
	if (!store_get(store, STORE_META, &key, &value)) {
		assert_int_equal(counts->records, 0);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(counts->states); i++)
		assert_int_equal(store_view_u64(&value, (4 + i) * sizeof(uint64_t)),
				 counts->states[i]);
}

static inline uint64_t kit_first_id(struct store *store)
{
	struct store_key key = { 0 };
	struct store_view value;

	store_key_text(&key, "clock");
	return store_get(store, STORE_META, &key, &value)
		       ? store_view_u64(&value, 3 * sizeof(uint64_t))
		       : 1;
}

static inline void kit_check_record(struct store *store, const struct attachment *a,
				    struct kit_counts *counts)
{
	struct store_key by_device = { 0 }, by_index = { 0 };
	struct store_view value;
	struct lease lease;

	counts->records++;
	if (a->id >= kit_first_id(store))
		counts->states[a->state]++;
	kit_check_by_key(store, a);
	if (a->device.key[0]) {
		store_key_text(&by_device, a->device.key);
		kit_check_id(store, STORE_BY_DEVICE, &by_device, a->id);
		counts->devices++;
	}
	counts->pods += a->pod.uid[0] != '\0';
	kit_check_by_netns(store, a);
	kit_check_guid(store, a, counts);
	assert_int_equal(a->pool[0] != '\0', a->net.ip_count > 0);
	if (!a->pool[0])
		return;
	store_key_text(&by_index, a->pool);
	store_key_text(&by_index, a->rail.name);
	store_key_u32(&by_index, a->rail.index);
	kit_get(store, STORE_BY_INDEX, &by_index, &value);
	assert_int_equal(lease_decode(value.data, value.len, &lease), 0);
	assert_int_equal(lease.state, LEASE_HELD);
	assert_int_equal(lease.holder, a->id);
	counts->held++;
}

/* by_index against free_q; returns how many are held, counted through @pools' rails as well. */
static inline uint64_t kit_check_indexes(struct store *store)
{
	struct store_view found, value;
	uint64_t held = 0, resting = 0;
	struct store_key key = { 0 };
	struct lease lease;

	while (store_seek(store, STORE_BY_INDEX, &key, 0, &found, &value)) {
		assert_int_equal(lease_decode(value.data, value.len, &lease), 0);
		store_key_set(&key, &found);
		held += lease.state == LEASE_HELD;
		if (lease.state == LEASE_RESTING) {
			struct store_key queued = { .len = found.len - sizeof(uint32_t) };

			memcpy(queued.bytes, found.data, queued.len);
			store_key_u64(&queued, (uint64_t)lease.since_ms);
			store_key_u32(&queued,
				      store_view_u32(&found, found.len - sizeof(uint32_t)));
			kit_get(store, STORE_FREE_Q, &queued, &value);
			resting++;
		}
		store_key_next(&key);
	}
	assert_int_equal(store_count(store, STORE_FREE_Q), resting);
	return held;
}

static inline void kit_check_rail(struct store *store, const struct pool *pool,
				  const struct rail *rail)
{
	struct store_key state = { 0 }, key = { 0 };
	uint64_t held = 0, queued = 0, frontier;
	struct store_view value, entry, found;
	struct lease lease;
	size_t prefix;

	store_key_text(&state, "rail");
	store_key_text(&state, pool->name);
	store_key_text(&state, rail->name);
	if (!store_get(store, STORE_META, &state, &value))
		return;
	frontier = store_view_u64(&value, 0);
	for (uint64_t i = 0; i < frontier && rail_next_index(rail, i, &i) && i < frontier; i++) {
		key.len = 0;
		store_key_text(&key, pool->name);
		store_key_text(&key, rail->name);
		store_key_u32(&key, (uint32_t)i);
		kit_get(store, STORE_BY_INDEX, &key, &entry);
	}
	key.len = 0;
	store_key_text(&key, pool->name);
	store_key_text(&key, rail->name);
	prefix = key.len;
	while (store_seek(store, STORE_BY_INDEX, &key, prefix, &found, &entry)) {
		assert_int_equal(lease_decode(entry.data, entry.len, &lease), 0);
		held += lease.state == LEASE_HELD;
		queued += lease.state == LEASE_RESTING;
		store_key_set(&key, &found);
		store_key_next(&key);
	}
	assert_int_equal(store_view_u64(&value, 8), held);
	assert_int_equal(store_view_u64(&value, 16), queued);
}

/* Every table agrees with every other. The ledger must be closed. */
static inline void kit_check(void)
{
	CLEANUP(pool_set_free) struct pool_set pools = { 0 };
	struct store_key key = { 0 };
	struct store_view found, value;
	struct kit_counts counts = { 0 };
	struct store *store;

	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_READ, &kit_err));
	while (store_seek(store, STORE_RECORD, &key, 0, &found, &value)) {
		CLEANUP(attachment_free) struct attachment a = { 0 };
		CLEANUP_JSON json_t *json = NULL;

		store_key_set(&key, &found);
		assert_ok(json_parse((const char *)value.data, value.len, &json, &kit_err));
		assert_ok(attachment_decode(json, &a, &kit_err));
		assert_int_equal(store_view_u64(&found, 0), a.id);
		kit_check_record(store, &a, &counts);
		store_key_next(&key);
	}
	assert_int_equal(store_count(store, STORE_BY_KEY), counts.records);
	assert_int_equal(store_count(store, STORE_BY_DEVICE), counts.devices);
	assert_true(store_count(store, STORE_BY_POD) <= counts.pods);
	assert_int_equal(store_count(store, STORE_BY_NETNS), counts.records);
	kit_check_clock(store, &counts);
	assert_int_equal(kit_check_indexes(store), counts.held);
	kit_check_guids(store, counts.guids);

	key.len = 0;
	store_key_text(&key, "pools");
	if (store_get(store, STORE_META, &key, &value)) {
		CLEANUP_JSON json_t *json = NULL;

		assert_ok(json_parse((const char *)value.data, value.len, &json, &kit_err));
		assert_ok(pool_set_read(json_object_get(json, "pools"), &pools, &kit_err));
	}
	for (size_t p = 0; p < pools.count; p++) {
		for (size_t x = 0; x < pools.pools[p].rail_count; x++)
			kit_check_rail(store, &pools.pools[p], &pools.pools[p].rails[x]);
	}
	assert_ok(store_check(store, &kit_err));
	store_close(store);
}
