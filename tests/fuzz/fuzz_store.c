/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the store with a good checksum, whatever they hold: put over those of a good ledger,
 * audited, and then served from. Nothing may go wrong but with an error.
 *
 * The look over the whole file before it is opened is left out (--wrap=verify_file): the file is
 * good.
 *
 * An entry of an input: table, length of the key, length of the value (2 bytes, big-endian), key,
 * value. An entry without a value deletes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "ipamd/audit.h"
#include "ipamd/ledger.h"
#include "ipamd/store.h"
#include "ipamd/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ENTRY_HEAD = 4, WALK_MAX = 64, BASE_MAX = 4 * 1024 * 1024 };

static const char pools_text[] = "[{\"name\":\"train\",\"cooldown_s\":60,\"rails\":["
				 "{\"name\":\"rail0\",\"cidr\":\"10.0.0.0/"
				 "28\",\"gatewayIndex\":1,\"match\":{\"pf\":[\"pf0\"]},"
				 "\"guidBase\":\"02:00:00:00:00:00:00:00\"},"
				 "{\"name\":\"rail1\",\"cidr\":\"10.1.0.0/"
				 "28\",\"gatewayIndex\":1,\"match\":{\"pf\":[\"pf1\"]}}]}]";

static char dir[] = "/dev/shm/spur-fuzz-XXXXXX";
static char *base; /* data.mdb of a ledger with a bit of everything */
static size_t base_len;
static json_t *request_env, *request_netconf;

int __wrap_verify_file(const char *path, struct err *err);
int __wrap_verify_file(const char *path, struct err *err)
{
	(void)path;
	(void)err;
	return 0;
}

static void must(int r)
{
	if (r < 0)
		abort();
}

/* What fails says why, but for what is not there. */
static bool worked(int r, const struct err *err)
{
	if (r < 0 && r != -ENOENT && !err->msg[0])
		abort();
	return r == 0;
}

static void remove_dir(void)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0) /* NOLINT: a string of this file */
		perror(dir);
	free(base);
	json_decref(request_env);
	json_decref(request_netconf);
}

static struct reserve_request request_of(const char *container, const char *rail)
{
	return (struct reserve_request) {
		.key = { "net", container, "net1" },
		.pod = { (char *)"ns", (char *)"pod", (char *)container },
		.netns = { .path = (char *)"/run/netns/x", .cookie = 1, .nsid = 3 },
		.program = "spur",
		.env = request_env,
		.netconf = request_netconf,
		.pool = "train",
		.rail = rail,
	};
}

static struct baseline device_of(const char *key, const char *pf)
{
	struct baseline device = { .ifindex = 7, .name = "eth5", .mtu = 1500, .vf.is_vf = true };

	(void)snprintf(device.key, sizeof(device.key), "%s", key);
	(void)snprintf(device.vf.pf_netdev, sizeof(device.vf.pf_netdev), "%s", pf);
	return device;
}

/* A pod that claims both rails, binds one, and has an identity. */
static int reserve_claim(struct ledger *ledger, const char *container)
{
	struct reserve_request request = request_of(container, "rail0");
	struct attachment a = { 0 };
	struct err err;
	int r;

	request.claim_all = true;
	request.sticky = "job/worker-3";
	r = ledger_reserve(ledger, &request, NULL, &a, &err);
	attachment_free(&a);
	return r;
}

/* 0 if it was reserved; what it cannot have is its own affair. */
static int reserve(struct ledger *ledger, const char *container, const char *rail,
		   const char *device_key)
{
	struct reserve_request request = request_of(container, rail);
	struct baseline device = device_of(device_key, rail[4] == '0' ? "pf0" : "pf1");
	struct attachment a = { 0 };
	struct err err;
	int r = ledger_reserve(ledger, &request, &device, &a, &err);

	attachment_free(&a);
	return r;
}

static void release(struct ledger *ledger, const struct attachment *a, bool restored)
{
	struct attachment_key key = attachment_key(a);
	struct facts facts = { 0 };
	struct err done = { 0 }, released = { 0 };
	bool gone;

	(void)worked(ledger_done(ledger, &key, a->generation, &facts, &done), &done);
	(void)worked(ledger_release(ledger, &key, a->generation,
				    &(struct release) { .left = true,
							.restored = restored,
							.never_up = !restored,
							.reason = "DEL" },
				    NULL, &gone, &released),
		     &released);
}

static void release_next(struct ledger *ledger, uint64_t after, bool restored)
{
	struct attachment a = { 0 };
	struct err err;

	if (ledger_next(ledger, after, &a, &err) < 0)
		return;
	release(ledger, &a, restored);
	attachment_free(&a);
}

static int set_pools(struct ledger *ledger)
{
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	CLEANUP_JSON json_t *json = json_loads(pools_text, 0, NULL);
	struct err err;

	must(pool_set_read(json, &set, &err));
	return ledger_set_pools(ledger, &set, &err);
}

/* Attached, unfinished, dirty, of an earlier boot, resting; GUIDs; history. */
static void fill(const char *boot_id, const char *prefix)
{
	struct ledger *ledger;
	struct err err;
	uint64_t guid;
	char name[16], device[24];

	must(ledger_open(dir, boot_id, &ledger, &err));
	must(set_pools(ledger));
	must(ledger_begin(ledger, &err));
	must(ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[0].rails[0],
				"pci:0000:01:00.1", &guid, &err));
	for (int i = 0; i < 4; i++) {
		(void)snprintf(name, sizeof(name), "%s%d", prefix, i);
		(void)snprintf(device, sizeof(device), "net:%s%d", prefix, i);
		must(reserve(ledger, name, i % 2 ? "rail1" : "rail0", device));
	}
	(void)snprintf(name, sizeof(name), "%sc", prefix);
	must(reserve_claim(ledger, name));
	release_next(ledger, 0, true);
	release_next(ledger, 2, false);
	must(ledger_commit(ledger, &err));
	ledger_close(ledger);
}

static void make_base(void)
{
	CLEANUP_CLOSE int fd = -1;
	char path[64];

	if (!mkdtemp(dir))
		abort();
	(void)atexit(remove_dir);
	request_env = json_pack("{s:s}", "CNI_COMMAND", "ADD");
	request_netconf = json_pack("{s:s}", "name", "net");
	fill("old", "o");
	fill("new", "n");
	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd);
	must(fs_read_all(fd, BASE_MAX, &base, &base_len));
}

static void restore_base(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	must(fd);
	must(ftruncate(fd, 0));
	must(fs_write_all(fd, base, base_len));
}

static void put_entries(struct store *store, const uint8_t *data, size_t size)
{
	while (size > ENTRY_HEAD) {
		enum store_table table = data[0] % STORE_TABLES;
		size_t key_len = data[1], value_len = (size_t)data[2] << 8 | data[3];
		struct store_key key = { 0 };

		data += ENTRY_HEAD;
		size -= ENTRY_HEAD;
		if (key_len > size)
			key_len = size;
		if (value_len > size - key_len)
			value_len = size - key_len;
		store_key_set(&key, &(struct store_view) { data, key_len });
		if (key_len > 0 && value_len > 0)
			store_put(store, table, &key, data + key_len, value_len);
		else if (key_len > 0)
			store_delete(store, table, &key);
		data += key_len + value_len;
		size -= key_len + value_len;
	}
}

/* False: the store took none of it. */
static bool change(const uint8_t *data, size_t size)
{
	struct audit audit;
	struct store *store;
	struct err err;
	bool taken;

	restore_base();
	must(store_open(dir, &store, &err));
	must(store_begin(store, STORE_WRITE, &err));
	put_entries(store, data, size);
	if (store_check(store, &err) == 0 && audit_store(store, NULL, &audit, &err) == 0)
		audit_free(&audit);
	taken = store_check(store, &err) == 0 && store_commit(store, &err) == 0;
	store_close(store);
	return taken;
}

static void carry_out(struct ledger *ledger)
{
	struct ledger *reader;
	struct dump *dump = NULL;
	struct err err;
	char *line;

	if (ledger_fork(ledger, &reader, &err) < 0)
		return;
	if (ledger_dump(reader, "n", &dump, &err) == 0) {
		for (int i = 0; i < WALK_MAX && dump_next(dump, &line, &err) == 0; i++)
			free(line);
	}
	dump_free(dump);
	ledger_close(reader);
}

static void look_at(struct ledger *ledger, const struct attachment_key *key)
{
	struct attachment head = { 0 }, whole = { 0 };
	struct err err = { 0 }, err_whole = { 0 };

	if (worked(ledger_find(ledger, key, &head, &err), &err))
		attachment_free(&head);
	if (worked(ledger_find_whole(ledger, key, &whole, &err_whole), &err_whole))
		attachment_free(&whole);
}

static void look(struct ledger *ledger)
{
	struct ledger_brief brief = { 0 };
	struct attachment a = { 0 };
	struct ledger_counts counts;
	struct rails_held held = { 0 };
	struct history_query query = { .limit = WALK_MAX, .bytes = 65536, .to_ms = INT64_MAX };
	struct history_page page;
	struct err err;

	for (uint64_t id = 0, i = 0; i < WALK_MAX && ledger_next(ledger, id, &a, &err) == 0; i++) {
		struct attachment_key key = attachment_key(&a);

		id = a.id;
		look_at(ledger, &key);
		attachment_free(&a);
	}
	for (int i = 0; i < WALK_MAX && ledger_next_brief(ledger, &brief, &err) == 0; i++)
		;
	if (ledger_find_device(ledger, "net:n0", &a, &err) == 0)
		attachment_free(&a);
	(void)ledger_counts(ledger, &counts, &err);
	(void)ledger_draining(ledger, &held, &err);
	rails_held_free(&held);
	if (ledger_history(ledger, &query, &page, &err) == 0)
		free(page.events);
	carry_out(ledger);
}

/* Who has the identity, for a pod that has its name. */
static void look_for_namesake(struct ledger *ledger)
{
	struct reserve_request request = request_of("successor", "rail0");
	struct attachment a = { 0 };
	struct err err = { 0 };

	request.sticky = "job/worker-3";
	if (worked(ledger_find_namesake(ledger, &request, &a, &err), &err))
		attachment_free(&a);
}

static void batch(struct ledger *ledger)
{
	size_t dropped;
	uint64_t guid;
	struct err err;

	if (ledger_begin(ledger, &err) < 0)
		return;
	look_for_namesake(ledger);
	(void)reserve(ledger, "o0", "rail0", "net:o0");
	(void)reserve(ledger, "f0", "rail0", "pci:0000:01:00.1");
	(void)reserve(ledger, "nc", "rail1", "net:f1"); /* what it has claimed */
	(void)reserve_claim(ledger, "fc");
	release_next(ledger, 4, true);
	release_next(ledger, 5, false);
	(void)ledger_drop_rebooted(ledger, WALK_MAX, &dropped, &err);
	(void)ledger_claims_sweep(ledger, &dropped, &err);
	if (ledger_pools(ledger)->count > 0)
		(void)ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[0].rails[0],
					 "pci:0000:01:00.2", &guid, &err);
	(void)ledger_commit(ledger, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ledger *ledger;
	struct err err;

	if (!base)
		make_base();
	if (!change(data, size) || ledger_open(dir, "new", &ledger, &err) < 0)
		return 0;
	look(ledger);
	batch(ledger);
	(void)set_pools(ledger);
	ledger_close(ledger);
	return 0;
}
