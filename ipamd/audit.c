/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forth: each record (claim, identity, resting index) has the entries that it must have. Back: the
 * table has as many entries as were accounted for, so there is none beside them. Only where the
 * numbers differ is a table walked for the names of those that lead nowhere.
 */
#include "ipamd/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/history.h"
#include "ipamd/lease.h"
#include "ipamd/pool.h"
#include "ipamd/proto/proto.h"
#include "ipamd/sticky.h"

enum { CLOCK_NUMBERS = 7, RAIL_NUMBERS = 5, STATES = 3, WHO_MAX = PROTO_KEY_MAX + 64 };

struct owned_address {
	uint8_t bytes[16]; /* v4 as ::ffff:a.b.c.d */
	uint64_t id;
};

struct auditor {
	struct store *store;
	const atomic_bool *cancel;
	struct audit *audit;
	struct pool_set pools;
	uint64_t next_id, first_id, states[STATES]; /* as meta has them */
	uint64_t seen_states[STATES];
	uint64_t accounted[STORE_TABLES]; /* entries that something accounts for */
	uint64_t claimed;                 /* of by_index: by claims */
	uint64_t guids;                   /* of by_guid: by records */
	struct owned_address *addresses;
	size_t address_count, address_size;
	bool damaged;
	int r; /* 0, -ENOMEM or -ECANCELED */
};

__attribute__((format(printf, 2, 3))) static void find(struct auditor *a, const char *fmt, ...)
{
	struct audit *audit = a->audit;
	struct err why;
	va_list args;

	/* Past damage nothing is found in the store any more: that is no finding. */
	if (!a->damaged && store_check(a->store, &why) < 0)
		return;
	if (audit->found++ >= AUDIT_FINDINGS_MAX)
		return;
	va_start(args, fmt);
	if (vasprintf(&audit->findings[audit->found - 1], fmt, args) < 0) {
		audit->findings[audit->found - 1] = NULL;
		a->r = -ENOMEM;
	}
	va_end(args);
}

/* store_seek(), until the audit is not wanted any more. */
static bool walk(struct auditor *a, enum store_table table, const struct store_key *key,
		 size_t prefix, struct store_view *ret_key, struct store_view *ret_value)
{
	if (a->cancel && atomic_load(a->cancel))
		a->r = -ECANCELED;
	return a->r == 0 && store_seek(a->store, table, key, prefix, ret_key, ret_value);
}

/* A record in the words of a finding. */
static const char *who(const struct attachment *rec, char buf[WHO_MAX])
{
	(void)snprintf(buf, WHO_MAX, "attachment %" PRIu64 " (%s/%s/%s)", rec->id, rec->network,
		       rec->container_id, rec->ifname);
	return buf;
}

static bool view_is(const struct store_view *view, const struct store_key *bytes)
{
	return view->len == bytes->len && memcmp(view->data, bytes->bytes, bytes->len) == 0;
}

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

static void check_entries(struct auditor *a, const struct attachment *rec)
{
	static const enum store_table tables[] = { STORE_BY_KEY, STORE_BY_DEVICE, STORE_BY_NETNS,
						   STORE_BY_INDEX };
	char name[WHO_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct store_key key, value = entry_value(tables[i], rec);
		struct store_view found;

		if (!entry_key(tables[i], rec, &key))
			continue;
		if (!store_get(a->store, tables[i], &key, &found)) {
			find(a, "%s: has no entry in table %s", who(rec, name),
			     store_table_name(tables[i]));
			continue;
		}
		if (!view_is(&found, &value))
			find(a, "%s: its entry in table %s is another's or says something else",
			     who(rec, name), store_table_name(tables[i]));
		a->accounted[tables[i]]++;
	}
}

/* The pod's next sandbox may have its entry, or have had it: so it may be another's, or none. */
static void check_pod(struct auditor *a, const struct attachment *rec)
{
	struct store_key key, value = entry_value(STORE_BY_POD, rec);
	struct store_view found;

	if (entry_key(STORE_BY_POD, rec, &key) && store_get(a->store, STORE_BY_POD, &key, &found))
		a->accounted[STORE_BY_POD] += view_is(&found, &value);
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
		find(a, "%s: its GUID %s has no owner", who(rec, name),
		     guid_format(rec->guid, text));
	else if (value.len == strlen(owner) + 1 && memcmp(value.data, owner, value.len) == 0)
		a->guids++;
	else if (value.len != strlen(rec->device.key) + 1 ||
		 memcmp(value.data, rec->device.key, value.len) != 0)
		find(a, "%s: its GUID %s is owned by %.*s", who(rec, name),
		     guid_format(rec->guid, text), (int)value.len, (const char *)value.data);
}

/* --- addresses --- */

static void add_address(struct auditor *a, const struct ip *ip, uint64_t id)
{
	struct owned_address *entry;

	if (a->address_count == a->address_size) {
		size_t size = a->address_size ? a->address_size * 2 : 256;
		struct owned_address *more = reallocarray(a->addresses, size, sizeof(*more));

		if (!more) {
			a->r = -ENOMEM;
			return;
		}
		a->addresses = more;
		a->address_size = size;
	}
	entry = &a->addresses[a->address_count++];
	*entry = (struct owned_address) { .bytes = { [10] = 0xff, [11] = 0xff }, .id = id };
	if (ip->family == AF_INET)
		memcpy(entry->bytes + 12, ip->bytes, 4);
	else
		memcpy(entry->bytes, ip->bytes, sizeof(entry->bytes));
}

static int compare_addresses(const void *a, const void *b)
{
	const struct owned_address *x = a, *y = b;
	int order = memcmp(x->bytes, y->bytes, sizeof(x->bytes));

	return order ? order : (x->id > y->id) - (x->id < y->id);
}

static void check_addresses(struct auditor *a)
{
	char text[IP_TEXT];

	if (a->address_count)
		qsort(a->addresses, a->address_count, sizeof(*a->addresses), compare_addresses);
	for (size_t i = 1; i < a->address_count; i++) {
		const struct owned_address *x = &a->addresses[i - 1], *y = x + 1;
		struct ip ip = { .family = AF_INET6 };

		if (memcmp(x->bytes, y->bytes, sizeof(x->bytes)) != 0)
			continue;
		memcpy(ip.bytes, x->bytes, sizeof(ip.bytes));
		if (x->bytes[10] == 0xff && x->bytes[0] == 0) {
			ip.family = AF_INET;
			memmove(ip.bytes, ip.bytes + 12, 4);
		}
		find(a, "address %s: attachments %" PRIu64 " and %" PRIu64 " both have it",
		     ip_format(&ip, text), x->id, y->id);
	}
}

/* What today's rails make of an address: that of its index in its own rail, none in the others. */
static void check_mapping(struct auditor *a, const struct attachment *rec, const struct ip *ip)
{
	char text[IP_TEXT], name[WHO_MAX];

	for (size_t p = 0; p < a->pools.count; p++) {
		const struct pool *pool = &a->pools.pools[p];

		for (size_t x = 0; x < pool->rail_count; x++) {
			const struct rail *rail = &pool->rails[x];
			const struct cidr *cidr =
				ip->family == AF_INET6 ? &rail->cidr6 : &rail->cidr;
			bool own = strcmp(pool->name, rec->pool) == 0 &&
				   strcmp(rail->name, rec->rail.name) == 0;
			uint64_t index;
			bool inside = rail_index_of(rail, ip, &index);

			if (inside ? own && index == rec->rail.index
				   : !own || !cidr->ip.family || rec->rail.index > rail->last)
				continue;
			find(a, "%s: its address %s is not index %u of pool \"%s\" rail \"%s\"",
			     who(rec, name), ip_format(ip, text), rec->rail.index, rec->pool,
			     rec->rail.name);
		}
	}
}

/* --- records --- */

static void check_record(struct auditor *a, const struct attachment *rec)
{
	char name[WHO_MAX];

	a->audit->records++;
	if (rec->id >= a->next_id)
		find(a, "%s: the next id is %" PRIu64, who(rec, name), a->next_id);
	if (rec->id >= a->first_id)
		a->seen_states[rec->state]++;
	check_entries(a, rec);
	check_pod(a, rec);
	check_guid(a, rec);
	if ((rec->pool[0] != '\0') != (rec->net.ip_count > 0))
		find(a, "%s: has a pool without addresses, or addresses without a pool",
		     who(rec, name));
	/* What one of an earlier boot has is no pod's any more. */
	for (size_t i = 0; rec->id >= a->first_id && i < rec->net.ip_count; i++) {
		add_address(a, &rec->net.ips[i].cidr.ip, rec->id);
		check_mapping(a, rec, &rec->net.ips[i].cidr.ip);
	}
}

static int parse_record(const struct store_view *value, struct attachment *ret_rec, struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	int r = json_parse((const char *)value->data, value->len, &json, err);

	return r < 0 ? r : attachment_decode(json, ret_rec, err);
}

static void check_records(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	while (walk(a, STORE_RECORD, &key, 0, &found, &value)) {
		CLEANUP(attachment_free) struct attachment rec = { 0 };
		struct err why;

		store_key_set(&key, &found);
		store_key_next(&key);
		if (parse_record(&value, &rec, &why) < 0)
			find(a, "table record: a record cannot be read: %s", why.msg);
		else if (found.len != sizeof(uint64_t) || store_view_u64(&found, 0) != rec.id)
			find(a, "table record: attachment %" PRIu64 " is not under its id", rec.id);
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

	if (store_get(a->store, STORE_BY_INDEX, &key, &value) && view_is(&value, &lease))
		a->claimed++;
	else
		find(a,
		     "claim of container %s on pool \"%s\": index %u of rail \"%s\" is not "
		     "claimed by it",
		     container, pool, index, rail);
	if (!device[0])
		return;
	store_key_u64(&owner, 0);
	store_key_text(&owner, container);
	store_key_text(&owner, pool);
	store_key_text(&by_device, device);
	if (store_get(a->store, STORE_BY_DEVICE, &by_device, &value) && view_is(&value, &owner))
		a->accounted[STORE_BY_DEVICE]++;
	else
		find(a, "claim of container %s on pool \"%s\": device %s is not claimed by it",
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
		find(a, "claim %" PRIu64 " of container %s: the next id is %" PRIu64, id,
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

static void check_claims(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	while (walk(a, STORE_CLAIM, &key, 0, &found, &value)) {
		a->audit->claims++;
		if (!check_claim(a, &found, &value))
			find(a, "table claim: claim %" PRIu64 " is malformed", a->audit->claims);
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
		find(a, "table %s: an entry leads to attachment %" PRIu64 ", which has no record",
		     store_table_name(table), id);
	else if (parse_record(&value, &rec, &why) == 0 &&
		 (!entry_key(table, &rec, &own) || !view_is(found, &own)))
		find(a, "table %s: an entry leads to attachment %" PRIu64 ", which is another",
		     store_table_name(table), id);
}

static void check_strays(struct auditor *a, enum store_table table)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	uint64_t before = a->audit->found, id;

	while (walk(a, table, &key, 0, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
		id = entry_id(table, &found, &value);
		if (id)
			check_stray(a, table, &found, id);
	}
	if (a->audit->found == before)
		find(a, "table %s: there are entries that belong to nothing",
		     store_table_name(table));
}

static void check_back(struct auditor *a, enum store_table table, uint64_t count)
{
	if (count > a->accounted[table])
		check_strays(a, table);
}

/* --- rails --- */

struct rail_numbers {
	uint64_t frontier, held, queued, draining, claimed;
};

/* One rail while its entries of by_index pass by. */
struct rail_look {
	const char *pool, *name;
	const struct rail *rail; /* NULL: no pool of today has it */
	struct rail_numbers is;
	uint64_t next; /* the lowest index that could be given, from the last entry on */
	bool more, gap;
};

/* An index below the frontier without an entry would never be given again. */
static void look_at_gap(struct auditor *a, struct rail_look *look, uint64_t until)
{
	if (!look->more || look->next >= until || look->gap)
		return;
	look->gap = true;
	find(a, "pool \"%s\" rail \"%s\": index %" PRIu64 " lies below the frontier and is lost",
	     look->pool, look->name, look->next);
}

static void look_at_resting(struct auditor *a, const struct rail_look *look, uint32_t index,
			    int64_t since_ms)
{
	struct store_key key = { 0 };
	struct store_view value;

	store_key_text(&key, look->pool);
	store_key_text(&key, look->name);
	store_key_u64(&key, (uint64_t)since_ms);
	store_key_u32(&key, index);
	if (store_get(a->store, STORE_FREE_Q, &key, &value))
		a->accounted[STORE_FREE_Q]++;
	else
		find(a, "pool \"%s\" rail \"%s\": index %u rests, and is not in the queue",
		     look->pool, look->name, index);
}

static void look_at_index(struct auditor *a, struct rail_look *look, uint32_t index,
			  const struct lease *lease)
{
	uint64_t below = index < look->is.frontier ? index : look->is.frontier;

	look_at_gap(a, look, below);
	if (look->more && index >= look->next)
		look->more = rail_next_index(look->rail, (uint64_t)index + 1, &look->next);
	if (lease->state == LEASE_HELD) {
		look->is.held++;
		look->is.draining += !look->rail || !rail_has_index(look->rail, index);
	} else if (lease->state == LEASE_CLAIMED) {
		look->is.claimed++;
	} else {
		look->is.queued++;
		look_at_resting(a, look, index, lease->since_ms);
	}
}

static void check_number(struct auditor *a, const struct rail_look *look, const char *what,
			 uint64_t told, uint64_t counted)
{
	if (told != counted)
		find(a,
		     "pool \"%s\" rail \"%s\": %" PRIu64 " indexes are %s, and its counter says "
		     "%" PRIu64,
		     look->pool, look->name, counted, what, told);
}

/* @prefix: the rail's key in by_index, without an index. */
static void check_rail(struct auditor *a, const struct store_key *prefix,
		       const struct rail_numbers *told)
{
	const char *pool_name = (const char *)prefix->bytes;
	const char *rail_name = pool_name + strlen(pool_name) + 1;
	const struct pool *pool = pool_find(&a->pools, pool_name);
	struct rail_look look = { .pool = pool_name, .name = rail_name };
	struct store_key key = *prefix;
	struct store_view found, value;
	struct lease lease;

	look.is.frontier = told->frontier;
	look.rail = pool ? pool_rail(pool, rail_name) : NULL;
	look.more = look.rail && rail_next_index(look.rail, 0, &look.next);
	while (walk(a, STORE_BY_INDEX, &key, prefix->len, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
		if (found.len != prefix->len + sizeof(uint32_t) ||
		    lease_decode(value.data, value.len, &lease) < 0)
			find(a, "pool \"%s\" rail \"%s\": an entry is malformed", pool_name,
			     rail_name);
		else
			look_at_index(a, &look, store_view_u32(&found, prefix->len), &lease);
	}
	look_at_gap(a, &look, told->frontier);
	check_number(a, &look, "held", told->held, look.is.held);
	check_number(a, &look, "queued", told->queued, look.is.queued);
	check_number(a, &look, "draining", told->draining, look.is.draining);
	check_number(a, &look, "claimed", told->claimed, look.is.claimed);
	a->audit->held += look.is.held;
	a->audit->draining += look.is.draining;
	a->audit->resting += look.is.queued;
	a->audit->claimed += look.is.claimed;
}

static void check_rails(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	struct rail_numbers told;
	size_t prefix;

	store_key_text(&key, "rail");
	prefix = key.len;
	while (walk(a, STORE_META, &key, prefix, &found, &value)) {
		struct store_key rail = { .len = found.len - prefix };

		store_key_set(&key, &found);
		store_key_next(&key);
		memcpy(rail.bytes, found.data + prefix, rail.len);
		if (value.len != sizeof(told)) {
			find(a, "table meta: the state of a rail has another length");
			continue;
		}
		told = (struct rail_numbers) {
			.frontier = store_view_u64(&value, 0),
			.held = store_view_u64(&value, 8),
			.queued = store_view_u64(&value, 16),
			.draining = store_view_u64(&value, 24),
			.claimed = store_view_u64(&value, 32),
		};
		check_rail(a, &rail, &told);
	}
}

static void check_indexes(struct auditor *a)
{
	const struct audit *audit = a->audit;

	check_rails(a);
	if (store_count(a->store, STORE_BY_INDEX) > audit->held + audit->resting + audit->claimed)
		find(a, "table by_index: there are entries of a rail that meta does not count");
	check_back(a, STORE_BY_INDEX, audit->held);
	if (audit->claimed > a->claimed)
		find(a, "table by_index: %" PRIu64 " indexes are claimed, by claims %" PRIu64,
		     audit->claimed, a->claimed);
	if (store_count(a->store, STORE_FREE_Q) > a->accounted[STORE_FREE_Q])
		find(a, "table free_q: %" PRIu64 " indexes are queued, %" PRIu64 " rest",
		     store_count(a->store, STORE_FREE_Q), a->accounted[STORE_FREE_Q]);
}

/* --- GUIDs --- */

static int compare_owners(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No VF owns two. What @owners points to lies in the store. */
static void check_owners(struct auditor *a, const char **owners, size_t count)
{
	if (count)
		qsort(owners, count, sizeof(*owners), compare_owners);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(owners[i - 1], owners[i]) == 0)
			find(a, "table by_guid: %s owns two GUIDs", owners[i]);
	}
}

/* The VF leads back to its GUID. */
static void check_guid_of(struct auditor *a, const struct store_view *guid, const char *owner)
{
	struct store_key key = { 0 }, number = { 0 };
	struct store_view value;

	store_key_text(&key, owner);
	store_key_set(&number, guid);
	if (!store_get(a->store, STORE_GUID_OF, &key, &value) || !view_is(&value, &number))
		find(a, "table guid_of: %s does not lead to its GUID", owner);
}

static void check_guids(struct auditor *a)
{
	static const char of_record[] = "record:";
	uint64_t size = store_count(a->store, STORE_BY_GUID), records = 0;
	CLEANUP_FREE const char **owners = calloc(size + 1, sizeof(*owners));
	struct store_view found, value;
	struct store_key key = { 0 };
	size_t count = 0;

	if (!owners) {
		a->r = -ENOMEM;
		return;
	}
	while (walk(a, STORE_BY_GUID, &key, 0, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
		a->audit->guids++;
		if (found.len != sizeof(uint64_t) || value.len < 2 ||
		    value.data[value.len - 1] != '\0')
			find(a, "table by_guid: an entry is malformed");
		else if (strncmp((const char *)value.data, of_record, strlen(of_record)) == 0)
			records++;
		else if (count < size) {
			owners[count++] = (const char *)value.data;
			check_guid_of(a, &found, (const char *)value.data);
		}
	}
	if (store_count(a->store, STORE_GUID_OF) > count)
		find(a, "table guid_of: %" PRIu64 " VFs have a GUID, by table by_guid %zu",
		     store_count(a->store, STORE_GUID_OF), count);
	if (records > a->guids)
		find(a,
		     "table by_guid: %" PRIu64 " GUIDs are owned by attachments, of which %" PRIu64
		     " know of it",
		     records, a->guids);
	check_owners(a, owners, count);
}

/* --- identities, events, meta --- */

static void check_identities(struct auditor *a)
{
	struct store_view found, value, empty;
	struct store_key key = { 0 };

	while (walk(a, STORE_STICKY, &key, 0, &found, &value)) {
		struct store_key queued = { 0 };

		a->audit->identities++;
		store_key_set(&key, &found);
		if (value.len != sizeof(uint32_t) + sizeof(uint64_t)) {
			find(a, "table sticky: an entry is malformed");
		} else {
			store_key_u64(&queued, store_view_u64(&value, sizeof(uint32_t)));
			memcpy(queued.bytes + queued.len, found.data, found.len);
			queued.len += found.len;
			if (!store_get(a->store, STORE_STICKY_Q, &queued, &empty))
				find(a, "identity \"%s\": is not in the queue",
				     (const char *)key.bytes + strlen((const char *)key.bytes) + 1);
		}
		store_key_next(&key);
	}
	if (a->audit->identities > STICKY_MAX)
		find(a, "table sticky: %" PRIu64 " identities, more than %d", a->audit->identities,
		     STICKY_MAX);
	if (store_count(a->store, STORE_STICKY_Q) > a->audit->identities)
		find(a, "table sticky_q: %" PRIu64 " identities are queued, of %" PRIu64,
		     store_count(a->store, STORE_STICKY_Q), a->audit->identities);
}

/* The ring has no gap, and each event is under its number. */
static void check_history(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	uint64_t expected = 0, seq;
	char head[32];
	int len;

	while (walk(a, STORE_HISTORY, &key, 0, &found, &value)) {
		seq = found.len == sizeof(uint64_t) ? store_view_u64(&found, 0) : 0;
		len = snprintf(head, sizeof(head), "{\"seq\":%" PRIu64 ",", seq);
		if (value.len < (size_t)len || memcmp(value.data, head, (size_t)len) != 0)
			find(a, "table history: event %" PRIu64 " is not under its number", seq);
		if (expected && seq != expected)
			find(a, "table history: event %" PRIu64 " follows event %" PRIu64, seq,
			     expected - 1);
		expected = seq + 1;
		a->audit->events++;
		store_key_set(&key, &found);
		store_key_next(&key);
	}
	if (a->audit->events > HISTORY_MAX)
		find(a, "table history: %" PRIu64 " events, more than %d", a->audit->events,
		     HISTORY_MAX);
}

static void check_states(struct auditor *a)
{
	for (int i = 0; i < STATES; i++) {
		if (a->states[i] != a->seen_states[i])
			find(a, "%" PRIu64 " attachments are %s, and their counter says %" PRIu64,
			     a->seen_states[i], attachment_state_name((enum attachment_state)i),
			     a->states[i]);
	}
}

/* --- what meta says --- */

/* A ledger that was never changed has no clock. */
static void load_clock(struct auditor *a)
{
	struct store_key key = { 0 };
	struct store_view value;

	a->next_id = a->first_id = 1;
	store_key_text(&key, "clock");
	if (!store_get(a->store, STORE_META, &key, &value))
		return;
	if (value.len < CLOCK_NUMBERS * sizeof(uint64_t)) {
		find(a, "table meta: the clock has another length");
		return;
	}
	a->next_id = store_view_u64(&value, 2 * sizeof(uint64_t));
	a->first_id = store_view_u64(&value, 3 * sizeof(uint64_t));
	for (size_t i = 0; i < STATES; i++)
		a->states[i] = store_view_u64(&value, (4 + i) * sizeof(uint64_t));
}

static void load_pools(struct auditor *a)
{
	CLEANUP_JSON json_t *json = NULL;
	struct store_key key = { 0 };
	struct store_view value;
	struct err why;

	store_key_text(&key, "pools");
	if (!store_get(a->store, STORE_META, &key, &value))
		return;
	if (json_parse((const char *)value.data, value.len, &json, &why) < 0 ||
	    pool_set_read(json_object_get(json, "pools"), &a->pools, &why) < 0)
		find(a, "table meta: the pools cannot be read: %s", why.msg);
}

/* For the checksums of what the others have not looked at. */
static void read_meta(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	while (walk(a, STORE_META, &key, 0, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
	}
}

static void check_all(struct auditor *a)
{
	static const enum store_table tables[] = { STORE_BY_KEY, STORE_BY_DEVICE, STORE_BY_POD,
						   STORE_BY_NETNS };

	load_clock(a);
	load_pools(a);
	check_records(a);
	check_claims(a);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		check_back(a, tables[i], store_count(a->store, tables[i]));
	check_indexes(a);
	check_addresses(a);
	check_guids(a);
	check_identities(a);
	check_history(a);
	check_states(a);
	read_meta(a);
}

int audit_store(struct store *store, const atomic_bool *cancel, struct audit *ret_audit,
		struct err *err)
{
	struct audit audit = { 0 };
	struct auditor a = { .store = store, .cancel = cancel, .audit = &audit };
	struct err why;
	int r;

	check_all(&a);
	r = store_check(store, &why);
	a.damaged = r == -EUCLEAN;
	if (a.damaged)
		find(&a, "%s; the rest was not looked at", why.msg);
	pool_set_free(&a.pools);
	free(a.addresses);
	if (a.r == -ECANCELED) {
		r = err_set(err, ECANCELED, ERR_AGAIN, "audit: was stopped");
	} else if (a.r < 0) {
		r = err_nomem(err);
	} else if (r < 0 && r != -EUCLEAN) {
		*err = why;
	} else {
		*ret_audit = audit;
		return 0;
	}
	audit_free(&audit);
	return r;
}

void audit_free(struct audit *audit)
{
	for (size_t i = 0; i < AUDIT_FINDINGS_MAX; i++)
		free(audit->findings[i]);
	*audit = (struct audit) { 0 };
}

json_t *audit_encode(const struct audit *audit)
{
	CLEANUP_JSON json_t *findings = json_array();

	for (size_t i = 0; findings && i < AUDIT_FINDINGS_MAX && i < audit->found; i++) {
		if (json_array_append_new(findings, json_string(audit->findings[i])) < 0)
			return NULL;
	}
	return json_pack("{s:b, s:I, s:O, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "ok",
			 audit->found == 0, "found", (json_int_t)audit->found, "findings", findings,
			 "counts", "records", (json_int_t)audit->records, "held",
			 (json_int_t)audit->held, "draining", (json_int_t)audit->draining,
			 "resting", (json_int_t)audit->resting, "claimed",
			 (json_int_t)audit->claimed, "claims", (json_int_t)audit->claims, "guids",
			 (json_int_t)audit->guids, "identities", (json_int_t)audit->identities,
			 "events", (json_int_t)audit->events);
}
