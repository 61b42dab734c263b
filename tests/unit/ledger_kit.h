/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the ledger share: a directory, a clock that stands still, requests, and the
 * audit of what they have left in the store. Link with --wrap=clock_boot_ms.
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
#include "ipamd/audit.h"
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

/* Of a pod of the container's name. */
static inline struct reserve_request kit_request(const char *container, const char *pool)
{
	return (struct reserve_request) {
		.key = { "net", container, "net1" },
		.pod = { (char *)"ns", (char *)container, (char *)"" },
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
	return counts.unfinished + counts.attached + counts.dirty + counts.unconfirmed;
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

static inline bool kit_end(struct ledger *ledger, const struct attachment *a,
			   const struct release *how)
{
	struct attachment_key key = attachment_key(a);
	bool gone;

	assert_ok(ledger_begin(ledger, &kit_err));
	assert_ok(ledger_release(ledger, &key, a->generation, how, NULL, &gone, &kit_err));
	assert_ok(ledger_commit(ledger, &kit_err));
	return gone;
}

static inline bool kit_release(struct ledger *ledger, const struct attachment *a, bool left,
			       bool restored)
{
	return kit_end(ledger, a,
		       &(struct release) { .left = left, .restored = restored, .reason = "DEL" });
}

/* Events with a sequence above @after, at most @limit. */
static inline int kit_history(struct ledger *ledger, uint64_t after, size_t limit,
			      json_t **ret_events)
{
	struct history_query query = {
		.after = after, .limit = limit, .bytes = SIZE_MAX, .to_ms = INT64_MAX
	};
	struct history_page page;
	int r = ledger_history(ledger, &query, &page, &kit_err);

	if (r < 0)
		return r;
	*ret_events = json_loads(page.events, 0, NULL);
	assert_non_null(*ret_events);
	assert_int_equal(json_array_size(*ret_events), page.count);
	free(page.events);
	return 0;
}

/* The proof: every table agrees with every other. The ledger must be closed. */
static inline void kit_check(void)
{
	struct audit audit;
	struct store *store;

	assert_ok(store_open(kit_dir, &store, &kit_err));
	assert_ok(store_begin(store, STORE_READ, &kit_err));
	assert_ok(audit_store(store, NULL, &audit, &kit_err));
	if (audit.found)
		fail_msg("%llu findings: %s", (unsigned long long)audit.found, audit.findings[0]);
	audit_free(&audit);
	store_close(store);
}
