/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and events are kept as JSON, and go out as they are. A dump that is loaded and made
 * again by the same version is the same, byte for byte, but for its head.
 */
#include "ipamd/dump.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "ipamd/allot.h"
#include "ipamd/claim.h"
#include "ipamd/crc32c.h"
#include "ipamd/guid.h"
#include "ipamd/rebind.h"
#include "ipamd/history.h"
#include "ipamd/pool.h"
#include "ipamd/record.h"
#include "ipamd/sticky.h"

enum { DUMP_FORMAT = 1, DUMP_LINE_MAX = 2 * PROTO_LINE_MAX };

/* Of ids, events and times, so that those to come are numbers of JSON as well. */
static const int64_t dump_number_max = (int64_t)1 << 53;

/* --- writing --- */

struct dump {
	struct store *store;
	char *node, *boot_id;
	size_t part; /* of dump_parts; the head is 0 */
	struct store_key key;
	uint64_t lines;
	uint32_t crc;
};

static char *print_json(json_t *json)
{
	CLEANUP_FREE char *line = json ? json_line(json) : NULL;
	char *text = NULL;

	json_decref(json);
	return line && asprintf(&text, "%s\n", line) >= 0 ? text : NULL;
}

static json_t *dump_pools(struct store *store)
{
	struct store_key key = { 0 };
	struct store_view value;
	json_t *json, *pools;

	store_key_text(&key, "pools");
	if (!store_get(store, STORE_META, &key, &value))
		return json_array();
	json = json_loadb((const char *)value.data, value.len, 0, NULL);
	pools = json_incref(json_object_get(json, "pools"));
	json_decref(json);
	return pools ? pools : json_array();
}

static char *print_head(struct dump *dump)
{
	bool same_boot;
	struct era era = era_get(dump->store, dump->boot_id, &same_boot);

	return print_json(json_pack(
		"{s:{s:i, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:o}}", "ledger", "format",
		DUMP_FORMAT, "version", SPUR_VERSION, "node", dump->node, "bootID", dump->boot_id,
		"schema", STORE_SCHEMA, "time", (json_int_t)clock_wall_ms(), "clock",
		(json_int_t)era.ledger_ms, "firstID", (json_int_t)era.first_id, "nextID",
		(json_int_t)era.next_id, "pools", dump_pools(dump->store)));
}

static char *print_end(struct dump *dump)
{
	char crc[9];

	(void)snprintf(crc, sizeof(crc), "%08" PRIx32, dump->crc);
	return print_json(json_pack("{s:{s:I, s:s}}", "end", "lines", (json_int_t)dump->lines,
				    "crc32c", crc));
}

static char *print_raw(const char *name, const struct store_view *value)
{
	char *text;

	return asprintf(&text, "{\"%s\":%.*s}\n", name, (int)value->len,
			(const char *)value->data) < 0
		       ? NULL
		       : text;
}

static char *print_record(struct store *store, const struct store_view *key,
			  const struct store_view *value)
{
	(void)store;
	(void)key;
	return print_raw("record", value);
}

static char *print_event(struct store *store, const struct store_view *key,
			 const struct store_view *value)
{
	(void)store;
	(void)key;
	return print_raw("event", value);
}

/* pool NUL rail NUL released, index */
static char *print_resting(struct store *store, const struct store_view *key,
			   const struct store_view *value)
{
	const char *pool = (const char *)key->data, *rail = pool + strlen(pool) + 1;
	size_t since = strlen(pool) + strlen(rail) + 2;
	uint32_t index = store_view_u32(key, since + sizeof(uint64_t));
	struct lease lease = allot_lease(store, pool, rail, index);
	json_t *json;

	(void)value;
	json = json_pack("{s:s, s:s, s:I, s:I}", "pool", pool, "rail", rail, "index",
			 (json_int_t)index, "since", (json_int_t)store_view_u64(key, since));
	if (json && lease.pod[0])
		(void)json_object_set_new(json, "pod", json_string(lease.pod));
	if (json && lease.has_namespace)
		(void)json_object_set_new(json, "namespace", json_string(lease.namespace));
	return print_json(json_pack("{s:o}", "resting", json));
}

static char *print_guid(struct store *store, const struct store_view *key,
			const struct store_view *value)
{
	char text[GUID_TEXT];

	(void)store;
	if (value->len == 0 || value->data[value->len - 1] != '\0')
		return NULL;
	return print_json(json_pack("{s:{s:s, s:s}}", "guid", "guid",
				    guid_format(store_view_u64(key, 0), text), "owner",
				    (const char *)value->data));
}

/* id, expiry, and of each rail its name NUL, index, rest, device NUL */
static json_t *claim_rails(const struct claim *claim)
{
	json_t *rails = json_array();

	for (size_t i = 0; i < claim->count; i++)
		(void)json_array_append_new(
			rails, json_pack("{s:s, s:I, s:I, s:s}", "rail", claim->rails[i].rail.name,
					 "index", (json_int_t)claim->rails[i].rail.index, "since",
					 (json_int_t)claim->rails[i].since_ms, "device",
					 claim->rails[i].device));
	return rails;
}

static char *print_claim(struct store *store, const struct store_view *key,
			 const struct store_view *value)
{
	const char *container = (const char *)key->data;
	struct claim claim;

	(void)store;
	if (!claim_decode(value, &claim))
		return NULL;
	return print_json(json_pack("{s:{s:s, s:s, s:I, s:I, s:o}}", "claim", "containerID",
				    container, "pool", container + strlen(container) + 1, "id",
				    (json_int_t)claim.id, "expiry", (json_int_t)claim.expiry_ms,
				    "rails", claim_rails(&claim)));
}

/* pool NUL namespace NUL identity NUL rail NUL */
static char *print_identity(struct store *store, const struct store_view *key,
			    const struct store_view *value)
{
	const char *pool = (const char *)key->data, *namespace = pool + strlen(pool) + 1;
	const char *identity = namespace + strlen(namespace) + 1;

	(void)store;
	if (value->len != sizeof(uint32_t) + sizeof(uint64_t))
		return NULL;
	return print_json(json_pack("{s:{s:s, s:s, s:s, s:s, s:I, s:I}}", "identity", "pool", pool,
				    "namespace", namespace, "identity", identity, "rail",
				    identity + strlen(identity) + 1, "index",
				    (json_int_t)store_view_u32(value, 0), "last",
				    (json_int_t)store_view_u64(value, sizeof(uint32_t))));
}

static char *print_rebind(struct store *store, const struct store_view *key,
			  const struct store_view *value)
{
	struct rebind rebind;

	(void)store;
	if (!rebind_decode(value, &rebind))
		return NULL;
	return print_json(json_pack("{s:{s:s, s:I, s:b, s:s, s:s, s:s, s:s}}", "rebind", "device",
				    (const char *)key->data, "id", (json_int_t)rebind.id, "due",
				    rebind.is_due, "netdev", rebind.netdev, "rdma", rebind.rdma,
				    "promised", rebind.promised, "uverbs", rebind.uverbs));
}

/* Each table that is dumped, in the order of the lines, and how its keys look: so many texts, so
 * many bytes. */
static const struct {
	enum store_table table;
	size_t texts, bytes;
	char *(*print)(struct store *store, const struct store_view *key,
		       const struct store_view *value);
} dump_parts[] = {
	{ STORE_RECORD, 0, sizeof(uint64_t), print_record },
	{ STORE_FREE_Q, 2, sizeof(uint64_t) + sizeof(uint32_t), print_resting },
	{ STORE_BY_GUID, 0, sizeof(uint64_t), print_guid },
	{ STORE_CLAIM, 2, 0, print_claim },
	{ STORE_STICKY, 4, 0, print_identity },
	{ STORE_REBIND, 1, 0, print_rebind },
	{ STORE_HISTORY, 0, sizeof(uint64_t), print_event },
};

static bool has_shape(const struct store_view *key, size_t texts, size_t bytes)
{
	size_t at = 0;

	for (; texts > 0 && at < key->len; texts--)
		at += strnlen((const char *)key->data + at, key->len - at) + 1;
	return texts == 0 && at + bytes == key->len;
}

/* The line of an entry; NULL: out of memory, or it is malformed. */
static char *print_entry(struct dump *dump, const struct store_view *key,
			 const struct store_view *value)
{
	size_t part = dump->part - 1;
	char *line = NULL;

	if (has_shape(key, dump_parts[part].texts, dump_parts[part].bytes))
		line = dump_parts[part].print(dump->store, key, value);
	if (!line)
		store_fail(dump->store, dump_parts[part].table, "an entry cannot be put in words");
	return line;
}

int dump_new(struct store *store, const char *node, const char *boot_id, struct dump **ret_dump,
	     struct err *err)
{
	struct dump *dump = calloc(1, sizeof(*dump));

	if (!dump)
		return err_nomem(err);
	*dump = (struct dump) { store, strdup(node), strdup(boot_id) };
	if (!dump->node || !dump->boot_id) {
		dump_free(dump);
		return err_nomem(err);
	}
	*ret_dump = dump;
	return 0;
}

void dump_free(struct dump *dump)
{
	if (!dump)
		return;
	free(dump->node);
	free(dump->boot_id);
	free(dump);
}

/* The next entry of the present part, or of a later one; false behind the last. */
static bool dump_entry(struct dump *dump, struct store_view *ret_key, struct store_view *ret_value)
{
	for (; dump->part <= ARRAY_SIZE(dump_parts); dump->part++, dump->key.len = 0) {
		if (store_seek(dump->store, dump_parts[dump->part - 1].table, &dump->key, 0,
			       ret_key, ret_value)) {
			store_key_set(&dump->key, ret_key);
			store_key_next(&dump->key);
			return true;
		}
	}
	return false;
}

int dump_next(struct dump *dump, char **ret_line, struct err *err)
{
	struct store_view key, value;
	char *line;
	int r;

	if (dump->part > ARRAY_SIZE(dump_parts) + 1)
		return -ENOENT;
	if (dump->part == 0) {
		line = print_head(dump);
		dump->part = 1;
	} else if (dump->part <= ARRAY_SIZE(dump_parts) && dump_entry(dump, &key, &value)) {
		line = print_entry(dump, &key, &value);
	} else {
		line = print_end(dump);
		dump->part++;
	}
	r = store_check(dump->store, err);
	if (r < 0) {
		free(line);
		return r;
	}
	if (!line)
		return err_nomem(err);
	dump->crc = crc32c(dump->crc, line, strlen(line));
	dump->lines++;
	*ret_line = line;
	return 0;
}

/* --- reading --- */

struct loading {
	struct store *store;
	const char *boot_id;
	struct era *era;
	struct dump_report report;
	uint64_t last_id, last_event;
	uint32_t crc;
	bool has_head, has_end;
};

static int load_head(struct loading *l, json_t *head, struct err *err)
{
	const char *text;
	int64_t format, clock = 0, first_id = 1, next_id = 1, number;
	const char *boot_id = "";
	struct json_reader r;
	json_t *pools;

	json_read(&r, head, "ledger", err);
	if (!json_int(&r, "format", DUMP_FORMAT, DUMP_FORMAT, &format))
		json_missing(&r, "format");
	if (!json_int(&r, "clock", 0, dump_number_max, &clock))
		json_missing(&r, "clock");
	if (!json_int(&r, "nextID", 1, dump_number_max, &next_id))
		json_missing(&r, "nextID");
	/* What came below it would be taken for what an earlier boot has left. */
	if (!json_int(&r, "firstID", 1, next_id, &first_id))
		json_missing(&r, "firstID");
	if (!json_str(&r, "bootID", &boot_id))
		json_missing(&r, "bootID");
	(void)json_str(&r, "version", &text);
	(void)json_str(&r, "node", &text);
	(void)json_int(&r, "schema", 1, INT32_MAX, &number);
	(void)json_int(&r, "time", 0, INT64_MAX, &number);
	(void)json_arr(&r, "pools", &pools);
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	l->report.clock_ms = (uint64_t)clock;
	l->report.next_id = (uint64_t)next_id;
	l->era->first_id = (uint64_t)(strcmp(boot_id, l->boot_id) == 0 ? first_id : next_id);
	return 0;
}

/* Ids of this boot are those from the first one on. */
static int load_id(struct loading *l, const struct attachment *a, struct err *err)
{
	bool now = strcmp(a->boot_id, l->boot_id) == 0;

	if (a->id <= l->last_id || a->id >= l->report.next_id)
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"record.id\": %" PRIu64 ": must be above %" PRIu64
			       " and below the head's nextID %" PRIu64,
			       a->id, l->last_id, l->report.next_id);
	if (now != (a->id >= l->era->first_id))
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"record.bootID\": \"%s\": the ids of this boot begin with "
			       "%" PRIu64,
			       a->boot_id, l->era->first_id);
	l->last_id = a->id;
	if (now)
		l->era->counts[a->state]++;
	else
		l->report.rebooted++;
	return 0;
}

/* Who else has what this record would be found by? */
static int load_check_free(struct loading *l, const struct attachment *a, struct err *err)
{
	struct attachment_key key = attachment_key(a);
	struct store_key by_key = record_by_key(&key);
	struct store_key by_device = record_by_device(a->device.key);
	struct store_view value;

	if (store_get(l->store, STORE_BY_KEY, &by_key, &value))
		return err_set(err, EEXIST, ERR_VALUE,
			       "attachment %" PRIu64 ": %s/%s/%s is there already", a->id,
			       a->network, a->container_id, a->ifname);
	if (a->device.key[0] && store_get(l->store, STORE_BY_DEVICE, &by_device, &value))
		return err_set(err, EEXIST, ERR_VALUE,
			       "attachment %" PRIu64 ": device %s has an owner already", a->id,
			       a->device.key);
	return store_check(l->store, err);
}

static int load_lease(struct loading *l, const char *pool, const char *rail, uint32_t index,
		      const struct lease *lease, struct err *err)
{
	if (allot_restore(l->store, pool, rail, index, lease))
		return 0;
	return store_check(l->store, err) < 0
		       ? -err->errnum
		       : err_set(err, EEXIST, ERR_VALUE,
				 "index %u of pool \"%s\" rail \"%s\": is there already", index,
				 pool, rail);
}

static int load_record(struct loading *l, json_t *json, struct err *err)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct lease lease = { .state = LEASE_HELD, .since_ms = LEASE_UNKNOWN };
	int r;

	r = attachment_decode(json, &a, err);
	if (r == 0)
		r = load_id(l, &a, err);
	if (r == 0)
		r = load_check_free(l, &a, err);
	if (r == 0)
		r = record_add(l->store, &a, err);
	lease.holder = a.id;
	if (r == 0 && a.pool[0])
		r = load_lease(l, a.pool, a.rail.name, a.rail.index, &lease, err);
	l->report.records++;
	return r;
}

static int load_resting(struct loading *l, json_t *json, struct err *err)
{
	struct lease lease = { .state = LEASE_RESTING };
	const char *pool = "", *rail = "", *pod = "", *namespace = "";
	int64_t index = 0;
	struct json_reader r;

	json_read(&r, json, "resting", err);
	if (!json_str(&r, "pool", &pool))
		json_missing(&r, "pool");
	if (!json_str(&r, "rail", &rail))
		json_missing(&r, "rail");
	if (!json_int(&r, "index", 0, UINT32_MAX, &index))
		json_missing(&r, "index");
	if (!json_int(&r, "since", 0, (int64_t)l->report.clock_ms, &lease.since_ms))
		json_missing(&r, "since");
	if (!pool[0] || strlen(pool) > PROTO_POOL_MAX)
		json_bad(&r, "pool", "must be 1 to %d bytes", PROTO_POOL_MAX);
	if (!rail[0] || strlen(rail) > PROTO_POOL_MAX)
		json_bad(&r, "rail", "must be 1 to %d bytes", PROTO_POOL_MAX);
	if (json_str(&r, "pod", &pod) && strlen(pod) > LEASE_POD_MAX)
		json_bad(&r, "pod", "must be at most %d bytes", LEASE_POD_MAX);
	lease.has_namespace = json_str(&r, "namespace", &namespace);
	if (strlen(namespace) > LEASE_NAMESPACE_MAX)
		json_bad(&r, "namespace", "must be at most %d bytes", LEASE_NAMESPACE_MAX);
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	(void)snprintf(lease.pod, sizeof(lease.pod), "%s", pod);
	(void)snprintf(lease.namespace, sizeof(lease.namespace), "%s", namespace);
	return load_lease(l, pool, rail, (uint32_t)index, &lease, err);
}

static int load_guid(struct loading *l, json_t *json, struct err *err)
{
	const char *text = "", *owner = "";
	struct json_reader r;
	uint64_t guid = 0;

	json_read(&r, json, "guid", err);
	if (!json_str(&r, "guid", &text))
		json_missing(&r, "guid");
	else if (guid_parse(text, &guid) < 0 || !guid_is_usable(guid))
		json_bad(&r, "guid", "must be a GUID that a port can have");
	if (!json_str(&r, "owner", &owner))
		json_missing(&r, "owner");
	else if (!owner[0] || strlen(owner) >= GUID_OWNER_MAX)
		json_bad(&r, "owner", "must be 1 to %d bytes", GUID_OWNER_MAX - 1);
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	if (!guid_restore(l->store, guid, owner))
		return err_set(err, EEXIST, ERR_VALUE, "GUID %s: has an owner already", text);
	return store_check(l->store, err);
}

static int load_claim_rail(struct loading *l, json_t *json, const char *container_id,
			   const char *pool, struct claim *claim, struct err *err)
{
	struct lease lease = { .state = LEASE_CLAIMED, .holder = claim->id };
	const char *rail = "", *device = "";
	struct claim_rail *own = &claim->rails[claim->count++];
	struct store_key by_device;
	struct store_view value;
	struct json_reader r;
	int64_t index = 0, since_ms = 0;

	json_read(&r, json, "claim.rails", err);
	if (!json_str(&r, "rail", &rail) || !rail[0] || strlen(rail) > PROTO_POOL_MAX)
		json_bad(&r, "rail", "must be 1 to %d bytes", PROTO_POOL_MAX);
	if (!json_int(&r, "index", 0, UINT32_MAX, &index))
		json_missing(&r, "index");
	if (!json_int(&r, "since", 0, (int64_t)l->report.clock_ms, &since_ms))
		json_missing(&r, "since");
	if (!json_str(&r, "device", &device) || strlen(device) >= PROTO_DEVICE_MAX)
		json_bad(&r, "device", "must be at most %d bytes", PROTO_DEVICE_MAX - 1);
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	*own = (struct claim_rail) { .rail.index = (uint32_t)index, .since_ms = since_ms };
	(void)snprintf(own->rail.name, sizeof(own->rail.name), "%s", rail);
	(void)snprintf(own->device, sizeof(own->device), "%s", device);
	by_device = record_by_device(device);
	if (device[0] && store_get(l->store, STORE_BY_DEVICE, &by_device, &value))
		return err_set(err, EEXIST, ERR_VALUE,
			       "claim %" PRIu64 ": device %s has an owner "
			       "already",
			       claim->id, device);
	if (device[0])
		claim_take_device(l->store, container_id, pool, device);
	lease.since_ms = since_ms;
	return load_lease(l, pool, rail, own->rail.index, &lease, err);
}

static int load_claim(struct loading *l, json_t *json, struct err *err)
{
	const char *container_id = "", *pool = "";
	struct claim claim = { 0 }, other;
	int64_t id = 0;
	json_t *rails = NULL, *rail;
	struct json_reader r;
	size_t i;

	json_read(&r, json, "claim", err);
	if (!json_str(&r, "containerID", &container_id) || !id_is_valid(container_id))
		json_bad(&r, "containerID", "must be a container's id");
	if (!json_str(&r, "pool", &pool) || !pool[0] || strlen(pool) > PROTO_POOL_MAX)
		json_bad(&r, "pool", "must be 1 to %d bytes", PROTO_POOL_MAX);
	if (!json_int(&r, "id", 1, (int64_t)l->report.next_id - 1, &id))
		json_missing(&r, "id");
	if (!json_int(&r, "expiry", 0, (int64_t)l->report.clock_ms + POOL_CLAIM_MAX_S * 1000,
		      &claim.expiry_ms))
		json_missing(&r, "expiry");
	if (!json_arr(&r, "rails", &rails) || json_array_size(rails) == 0 ||
	    json_array_size(rails) > PROTO_RAILS_MAX)
		json_bad(&r, "rails", "must be 1 to %d rails", PROTO_RAILS_MAX);
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	if (!claim_is_possible(container_id, pool) ||
	    claim_get(l->store, container_id, pool, &other))
		return err_set(
			err, EEXIST, ERR_VALUE,
			"claim of container %s on pool \"%s\": is there already, or too long",
			container_id, pool);
	claim.id = (uint64_t)id;
	json_array_foreach (rails, i, rail) {
		if (load_claim_rail(l, rail, container_id, pool, &claim, err) < 0)
			return -err->errnum;
	}
	claim_put(l->store, container_id, pool, &claim);
	return store_check(l->store, err);
}

/* Without its namespace, as an export before schema 5 has it, it is nobody's. */
static int load_identity(struct loading *l, json_t *json, struct err *err)
{
	struct identity identity = { "", "" };
	const char *pool = "", *rail = "";
	int64_t index = 0, last = 0;
	bool has_namespace;
	struct json_reader r;

	json_read(&r, json, "identity", err);
	if (!json_str(&r, "pool", &pool) || !pool[0] || strlen(pool) > PROTO_POOL_MAX)
		json_bad(&r, "pool", "must be 1 to %d bytes", PROTO_POOL_MAX);
	has_namespace = json_str(&r, "namespace", &identity.namespace);
	if (strlen(identity.namespace) > LEASE_NAMESPACE_MAX)
		json_bad(&r, "namespace", "must be at most %d bytes", LEASE_NAMESPACE_MAX);
	if (!json_str(&r, "identity", &identity.name) || !identity.name[0] ||
	    strlen(identity.name) > PROTO_STICKY_MAX)
		json_bad(&r, "identity", "must be 1 to %d bytes", PROTO_STICKY_MAX);
	if (!json_str(&r, "rail", &rail) || !rail[0] || strlen(rail) > PROTO_POOL_MAX)
		json_bad(&r, "rail", "must be 1 to %d bytes", PROTO_POOL_MAX);
	if (!json_int(&r, "index", 0, UINT32_MAX, &index))
		json_missing(&r, "index");
	if (!json_int(&r, "last", 0, (int64_t)l->report.clock_ms, &last))
		json_missing(&r, "last");
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	if (has_namespace)
		sticky_put(l->store, pool, rail, &identity, (uint32_t)index, last);
	return store_check(l->store, err);
}

static void read_rebind_name(struct json_reader *r, const char *key, char *buf, size_t size)
{
	const char *text;

	if (json_str(r, key, &text) && snprintf(buf, size, "%s", text) >= (int)size)
		json_bad(r, key, "must be at most %zu bytes", size - 1);
}

static int load_rebind(struct loading *l, json_t *json, struct err *err)
{
	struct rebind rebind = { 0 }, other;
	char key[PROTO_DEVICE_MAX], text[PCI_TEXT + 4];
	const char *device = "";
	struct json_reader r;
	struct pci_addr addr = { 0 };
	int64_t id = 0;

	json_read(&r, json, "rebind", err);
	if (!json_str(&r, "device", &device) || strncmp(device, "pci:", 4) != 0 ||
	    pci_parse(device + 4, &addr) < 0)
		json_bad(&r, "device", "must be the PCI address of a VF (pci:0000:1a:00.1)");
	if (!json_int(&r, "id", 1, (int64_t)l->report.next_id - 1, &id))
		json_missing(&r, "id");
	(void)json_bool(&r, "due", &rebind.is_due);
	read_rebind_name(&r, "netdev", rebind.netdev, sizeof(rebind.netdev));
	read_rebind_name(&r, "rdma", rebind.rdma, sizeof(rebind.rdma));
	read_rebind_name(&r, "promised", rebind.promised, sizeof(rebind.promised));
	read_rebind_name(&r, "uverbs", rebind.uverbs, sizeof(rebind.uverbs));
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&addr, text));
	if (rebind_get(l->store, key, &other))
		return err_set(err, EEXIST, ERR_VALUE, "rebind of %s: is there already", key);
	rebind.id = (uint64_t)id;
	rebind_put(l->store, key, &rebind);
	return store_check(l->store, err);
}

static int load_event(struct loading *l, json_t *json, struct err *err)
{
	int64_t seq = 0;
	struct json_reader r;

	json_read(&r, json, "event", err);
	if (!json_int(&r, "seq", (int64_t)l->last_event + 1, dump_number_max, &seq))
		json_missing(&r, "seq");
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	l->last_event = (uint64_t)seq;
	if (++l->report.events > HISTORY_MAX)
		return err_set(err, E2BIG, ERR_VALUE, "more than %d events", HISTORY_MAX);
	return history_restore(l->store, (uint64_t)seq, json, err);
}

/* @crc: of all lines before this one. */
static int load_end(struct loading *l, json_t *json, struct err *err)
{
	const char *text = "";
	struct json_reader r;
	int64_t lines = 0;
	char crc[9];

	json_read(&r, json, "end", err);
	if (!json_int(&r, "lines", 0, INT64_MAX, &lines))
		json_missing(&r, "lines");
	if (!json_str(&r, "crc32c", &text))
		json_missing(&r, "crc32c");
	if (json_finish(&r, READ_STRICT) < 0)
		return -err->errnum;
	(void)snprintf(crc, sizeof(crc), "%08" PRIx32, l->crc);
	if ((uint64_t)lines != l->report.lines - 1 || strcmp(crc, text) != 0)
		return err_set(err, EINVAL, ERR_VALUE,
			       "the end speaks of %lld lines with the sum %s, there are %" PRIu64
			       " with %s: the file was changed or is not whole",
			       (long long)lines, text, l->report.lines - 1, crc);
	l->has_end = true;
	return 0;
}

static const struct {
	const char *name;
	int (*load)(struct loading *l, json_t *json, struct err *err);
} loaders[] = {
	{ "ledger", load_head },   { "record", load_record }, { "resting", load_resting },
	{ "guid", load_guid },     { "claim", load_claim },   { "identity", load_identity },
	{ "rebind", load_rebind }, { "event", load_event },   { "end", load_end },
};

static int load_object(struct loading *l, json_t *object, struct err *err)
{
	void *member = json_object_iter(object);
	const char *name = member ? json_object_iter_key(member) : "";
	bool is_head = strcmp(name, "ledger") == 0;

	if (is_head == l->has_head)
		return err_set(err, EINVAL, ERR_VALUE, "\"ledger\" must be in the first line only");
	for (size_t i = 0; i < ARRAY_SIZE(loaders) && json_object_size(object) == 1; i++) {
		if (strcmp(loaders[i].name, name) == 0) {
			l->has_head = true;
			return loaders[i].load(l, json_object_iter_value(member), err);
		}
	}
	return err_set(err, EINVAL, ERR_KEY,
		       "must be one of ledger, record, resting, guid, claim, "
		       "identity, rebind, event, end");
}

/* @line: with its newline. */
static int load_line(struct loading *l, const char *line, size_t len, struct err *err)
{
	CLEANUP_JSON json_t *object = NULL;
	int r;

	l->report.lines++;
	if (l->has_end)
		return err_set(err, EINVAL, ERR_VALUE, "follows the end");
	if (len > DUMP_LINE_MAX || len == 0 || line[len - 1] != '\n')
		return err_set(err, EINVAL, ERR_VALUE, "is cut, or longer than %d bytes",
			       DUMP_LINE_MAX);
	r = json_parse(line, len - 1, &object, err);
	if (r == 0)
		r = load_object(l, object, err);
	l->crc = crc32c(l->crc, line, len);
	return r;
}

static int load_lines(struct loading *l, FILE *file, struct err *err)
{
	CLEANUP_FREE char *line = malloc(DUMP_LINE_MAX + 2); /* so much of a line that is longer */
	int r = 0;

	if (!line)
		return err_nomem(err);
	while (r == 0 && fgets(line, DUMP_LINE_MAX + 2, file)) {
		r = load_line(l, line, strlen(line), err);
		if (r < 0)
			err_prefix(err, "line %" PRIu64, l->report.lines);
	}
	if (r == 0 && ferror(file))
		return err_set(err, EIO, ERR_IO, "read the lines: cannot be read");
	if (r == 0 && !l->has_end)
		return err_set(err, EINVAL, ERR_VALUE,
			       "behind line %" PRIu64 ": the end is missing: the file is cut",
			       l->report.lines);
	return r;
}

/* What is there by now is of no record: GUIDs of VFs that are free, indexes that rest. */
static void forget_all(struct store *store)
{
	static const enum store_table tables[] = { STORE_BY_INDEX, STORE_FREE_Q,  STORE_BY_LAST,
						   STORE_BY_GUID,  STORE_HISTORY, STORE_STICKY,
						   STORE_STICKY_Q, STORE_REBIND };
	struct store_view found, value;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct store_key key = { 0 };

		while (store_seek(store, tables[i], &key, 0, &found, &value)) {
			store_key_set(&key, &found);
			store_delete(store, tables[i], &key);
		}
	}
	allot_forget_all(store);
}

int dump_load(struct store *store, FILE *file, const char *boot_id, struct era *era,
	      struct dump_report *ret_report, struct err *err)
{
	struct era changed = { .ledger_ms = era->ledger_ms, .boot_ms = era->boot_ms };
	struct loading l = { .store = store, .boot_id = boot_id, .era = &changed };
	int r;

	if (store_count(store, STORE_RECORD) || store_count(store, STORE_CLAIM))
		return err_set(err, EEXIST, ERR_VALUE,
			       "the ledger is not empty: %" PRIu64 " attachments stand",
			       store_count(store, STORE_RECORD));
	forget_all(store);
	r = load_lines(&l, file, err);
	if (r == 0)
		r = store_check(store, err);
	if (r < 0)
		return r;
	changed.next_id = l.report.next_id > era->next_id ? l.report.next_id : era->next_id;
	*era = changed;
	*ret_report = l.report;
	return 0;
}
