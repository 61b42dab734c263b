/* SPDX-License-Identifier: Apache-2.0 */
/* Each record and claim has the entries that it must have, and no table has any beside them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipamd/audit_inside.h"
#include "ipamd/record.h"

/* Values are built as keys are: part by part, numbers big-endian. */
static void add_u8(struct store_key *key, uint8_t number)
{
	key->bytes[key->len++] = number;
}

/* --- what a record must have in each table --- */

static struct store_key index_key(const char *pool, const char *rail, uint32_t index)
{
	struct store_key key = { 0 };

	store_key_text(&key, pool);
	store_key_text(&key, rail);
	store_key_u32(&key, index);
	return key;
}

static struct store_key lease_value(enum lease_state state, uint64_t number)
{
	struct store_key value = { 0 };

	add_u8(&value, (uint8_t)state);
	store_key_u64(&value, number);
	return value;
}

/* False: the record has no entry in that table. */
static bool entry_key(enum store_table table, const struct attachment *rec,
		      struct store_key *ret_key)
{
	struct store_key key = { 0 };

	if (table == STORE_BY_KEY) {
		store_key_text(&key, rec->container_id);
		store_key_text(&key, rec->network);
		store_key_text(&key, rec->ifname);
	} else if (table == STORE_BY_DEVICE && rec->device.key[0]) {
		store_key_text(&key, rec->device.key);
	} else if (table == STORE_BY_POD && rec->pod.uid[0]) {
		store_key_text(&key, rec->pod.uid);
		store_key_text(&key, rec->network);
		store_key_text(&key, rec->ifname);
	} else if (table == STORE_BY_NETNS) {
		store_key_u32(&key, (uint32_t)rec->netns.nsid);
		store_key_u64(&key, rec->id);
	} else if (table == STORE_BY_IDENTITY && record_has_identity(rec)) {
		store_key_text(&key, rec->pod.namespace);
		store_key_text(&key, rec->sticky);
		store_key_u64(&key, rec->id);
	} else if (table == STORE_BY_INDEX && rec->pool[0]) {
		key = index_key(rec->pool, rec->rail.name, rec->rail.index);
	} else {
		return false;
	}
	*ret_key = key;
	return true;
}

static struct store_key entry_value(enum store_table table, const struct attachment *rec)
{
	struct store_key value = { 0 };

	if (table == STORE_BY_INDEX)
		return lease_value(LEASE_HELD, rec->id);
	if (table == STORE_BY_NETNS) {
		add_u8(&value, (uint8_t)rec->state);
		store_key_u64(&value, rec->netns.cookie);
		store_key_u64(&value, (uint64_t)rec->boot_time_ms);
		return value;
	}
	store_key_u64(&value, rec->id);
	if (table == STORE_BY_KEY && rec->pool[0]) {
		store_key_u32(&value, rec->rail.index);
		store_key_text(&value, rec->pool);
		store_key_text(&value, rec->rail.name);
	}
	return value;
}

/* Behind the holder of an index stands the rest before, which is nobody's. */
static bool entry_is(enum store_table table, const struct store_view *found,
		     const struct store_key *value)
{
	struct lease lease;

	if (table != STORE_BY_INDEX)
		return audit_view_is(found, value);
	return found->len >= value->len && memcmp(found->data, value->bytes, value->len) == 0 &&
	       lease_decode(found->data, found->len, &lease) == 0;
}

static void check_entries(struct auditor *a, const struct attachment *rec)
{
	static const enum store_table tables[] = { STORE_BY_KEY, STORE_BY_DEVICE, STORE_BY_NETNS,
						   STORE_BY_INDEX, STORE_BY_IDENTITY };
	char name[WHO_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct store_key key, value = entry_value(tables[i], rec);
		struct store_view found;

		if (!entry_key(tables[i], rec, &key))
			continue;
		if (!store_get(a->store, tables[i], &key, &found)) {
			audit_find(a, "%s: has no entry in table %s", audit_who(rec, name),
				   store_table_name(tables[i]));
			continue;
		}
		if (!entry_is(tables[i], &found, &value))
			audit_find(a,
				   "%s: its entry in table %s is another's or says something else",
				   audit_who(rec, name), store_table_name(tables[i]));
		a->accounted[tables[i]]++;
	}
}

/* The pod's next sandbox may have its entry, or have had it: so it may be another's, or none. */
static void check_pod(struct auditor *a, const struct attachment *rec)
{
	struct store_key key, value = entry_value(STORE_BY_POD, rec);
	struct store_view found;

	if (entry_key(STORE_BY_POD, rec, &key) && store_get(a->store, STORE_BY_POD, &key, &found))
		a->accounted[STORE_BY_POD] += audit_view_is(&found, &value);
}

static void check_guid(struct auditor *a, const struct attachment *rec)
{
	char owner[PROTO_DEVICE_MAX], text[GUID_TEXT], name[WHO_MAX];
	struct store_key key = { 0 };
	struct store_view value;

	if (!rec->guid)
		return;
	store_key_u64(&key, rec->guid);
	(void)snprintf(owner, sizeof(owner), "record:%" PRIu64, rec->id);
	if (!store_get(a->store, STORE_BY_GUID, &key, &value))
		audit_find(a, "%s: its GUID %s has no owner", audit_who(rec, name),
			   guid_format(rec->guid, text));
	else if (value.len == strlen(owner) + 1 && memcmp(value.data, owner, value.len) == 0)
		a->guids++;
	else if (value.len != strlen(rec->device.key) + 1 ||
		 memcmp(value.data, rec->device.key, value.len) != 0)
		audit_find(a, "%s: its GUID %s is owned by %.*s", audit_who(rec, name),
			   guid_format(rec->guid, text), (int)value.len, (const char *)value.data);
}

/* --- records --- */

/* What stays held, although nobody knows of a pod that uses it. */
static void note_unsettled(struct auditor *a, const struct attachment *rec)
{
	char name[WHO_MAX];

	if (rec->state == ATTACHMENT_UNCONFIRMED)
		audit_note(a,
			   "%s is unconfirmed: it was not found in its pod, which lives; what it "
			   "has stays its own",
			   audit_who(rec, name));
	if (rec->state == ATTACHMENT_DIRTY)
		audit_note(a, "%s is dirty: its device is not restored%s", audit_who(rec, name),
			   rec->pool[0] ? ", nor its addresses free" : "");
}

static void check_record(struct auditor *a, const struct attachment *rec)
{
	char name[WHO_MAX];

	a->audit->records++;
	if (rec->id >= a->next_id)
		audit_find(a, "%s: the next id is %" PRIu64, audit_who(rec, name), a->next_id);
	if (rec->id >= a->first_id)
		a->seen_states[rec->state]++;
	if (rec->id >= a->first_id)
		note_unsettled(a, rec);
	check_entries(a, rec);
	check_pod(a, rec);
	check_guid(a, rec);
	if ((rec->pool[0] != '\0') != (rec->net.ip_count > 0))
		audit_find(a, "%s: has a pool without addresses, or addresses without a pool",
			   audit_who(rec, name));
	/* What one of an earlier boot has is no pod's any more. */
	for (size_t i = 0; rec->id >= a->first_id && i < rec->net.ip_count; i++) {
		audit_add_address(a, &rec->net.ips[i].cidr.ip, rec->id);
		audit_mapping(a, rec, &rec->net.ips[i].cidr.ip);
	}
}

void audit_records(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	while (audit_walk(a, STORE_RECORD, &key, 0, &found, &value)) {
		CLEANUP(attachment_free) struct attachment rec = { 0 };
		struct err why;

		store_key_set(&key, &found);
		store_key_next(&key);
		if (record_decode(&value, &rec, &why) < 0)
			audit_find(a, "table record: a record cannot be read: %s", why.msg);
		else if (found.len != sizeof(uint64_t) || store_view_u64(&found, 0) != rec.id)
			audit_find(a, "table record: attachment %" PRIu64 " is not under its id",
				   rec.id);
		else if (!record_has_form(&value))
			audit_find(a, "attachment %" PRIu64 ": does not end with its request",
				   rec.id);
		else
			check_record(a, &rec);
	}
}

/* --- claims --- */

/* One text with its NUL of a value, or NULL; moves *@at behind it. */
static const char *take_text(const struct store_view *view, size_t *at)
{
	const char *text = (const char *)view->data + *at;
	size_t len = strnlen(text, view->len - *at);

	if (*at + len >= view->len)
		return NULL;
	*at += len + 1;
	return text;
}

/* An index, and perhaps a VF, that waits for the pod. */
static void check_unbound(struct auditor *a, const struct store_view *claim, uint64_t id,
			  const char *rail, uint32_t index, const char *device)
{
	const char *container = (const char *)claim->data;
	const char *pool = container + strlen(container) + 1;
	struct store_key key = index_key(pool, rail, index);
	struct store_key lease = lease_value(LEASE_CLAIMED, id);
	struct store_key owner = { 0 }, by_device = { 0 };
	struct store_view value;

	if (store_get(a->store, STORE_BY_INDEX, &key, &value) &&
	    entry_is(STORE_BY_INDEX, &value, &lease))
		a->claimed++;
	else
		audit_find(a,
			   "claim of container %s on pool \"%s\": index %u of rail \"%s\" is not "
			   "claimed by it",
			   container, pool, index, rail);
	if (!device[0])
		return;
	store_key_u64(&owner, 0);
	store_key_text(&owner, container);
	store_key_text(&owner, pool);
	store_key_text(&by_device, device);
	if (store_get(a->store, STORE_BY_DEVICE, &by_device, &value) &&
	    audit_view_is(&value, &owner))
		a->accounted[STORE_BY_DEVICE]++;
	else
		audit_find(a,
			   "claim of container %s on pool \"%s\": device %s is not claimed by it",
			   container, pool, device);
}

static bool check_claim(struct auditor *a, const struct store_view *claim,
			const struct store_view *value)
{
	size_t at = 0, rest = 2 * sizeof(uint64_t);
	const char *pool;
	uint64_t id;

	pool = take_text(claim, &at) ? take_text(claim, &at) : NULL;
	if (!pool || at != claim->len || value->len <= rest)
		return false;
	id = store_view_u64(value, 0);
	if (id >= a->next_id)
		audit_find(a, "claim %" PRIu64 " of container %s: the next id is %" PRIu64, id,
			   (const char *)claim->data, a->next_id);
	while (rest < value->len) {
		const char *rail = take_text(value, &rest), *device;
		size_t index = rest;

		rest += sizeof(uint32_t) + sizeof(uint64_t); /* and since when it would rest */
		if (!rail || rest > value->len || !(device = take_text(value, &rest)))
			return false;
		check_unbound(a, claim, id, rail, store_view_u32(value, index), device);
	}
	return true;
}

void audit_claims(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	while (audit_walk(a, STORE_CLAIM, &key, 0, &found, &value)) {
		a->audit->claims++;
		if (!check_claim(a, &found, &value))
			audit_find(a, "table claim: claim %" PRIu64 " is malformed",
				   a->audit->claims);
		store_key_set(&key, &found);
		store_key_next(&key);
	}
}

/* --- back: what nobody accounts for --- */

/* The id that an entry leads to; 0: it leads to no record by nature. */
static uint64_t entry_id(enum store_table table, const struct store_view *key,
			 const struct store_view *value)
{
	size_t offset = table == STORE_BY_INDEX;
	const struct store_view *view = table == STORE_BY_NETNS ? key : value;

	if (table == STORE_BY_NETNS)
		offset = sizeof(uint32_t);
	if (table == STORE_BY_INDEX && (value->len == 0 || value->data[0] != LEASE_HELD))
		return 0;
	return view->len >= offset + sizeof(uint64_t) ? store_view_u64(view, offset) : 0;
}

static void check_stray(struct auditor *a, enum store_table table, const struct store_view *found,
			uint64_t id)
{
	CLEANUP(attachment_free) struct attachment rec = { 0 };
	struct store_key key = { 0 }, own;
	struct store_view value;
	struct err why;

	store_key_u64(&key, id);
	if (!store_get(a->store, STORE_RECORD, &key, &value))
		audit_find(a,
			   "table %s: an entry leads to attachment %" PRIu64
			   ", which has no record",
			   store_table_name(table), id);
	else if (record_decode(&value, &rec, &why) == 0 &&
		 (!entry_key(table, &rec, &own) || !audit_view_is(found, &own)))
		audit_find(a,
			   "table %s: an entry leads to attachment %" PRIu64 ", which is another",
			   store_table_name(table), id);
}

static void check_strays(struct auditor *a, enum store_table table)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	uint64_t before = a->audit->found, id;

	while (audit_walk(a, table, &key, 0, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
		id = entry_id(table, &found, &value);
		if (id)
			check_stray(a, table, &found, id);
	}
	if (a->audit->found == before)
		audit_find(a, "table %s: there are entries that belong to nothing",
			   store_table_name(table));
}

void audit_back(struct auditor *a, enum store_table table, uint64_t count)
{
	if (count > a->accounted[table])
		check_strays(a, table);
}
