/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record is the JSON of its attachment: what the socket speaks, and what a person can read. To
 * parse one costs more than all else that is done with it. So the entries that lead to it repeat
 * what is asked for often; and what the runtime had asked for, half of it, stands at its end, is
 * written once, and is parsed only to be undone.
 */
#include "ipamd/record.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

static struct store_key record_key(uint64_t id)
{
	struct store_key key = { 0 };

	store_key_u64(&key, id);
	return key;
}

struct store_key record_by_key(const struct attachment_key *attachment)
{
	struct store_key key = { 0 };

	store_key_text(&key, attachment->container_id);
	store_key_text(&key, attachment->network);
	store_key_text(&key, attachment->ifname);
	return key;
}

struct store_key record_by_device(const char *device)
{
	struct store_key key = { 0 };

	store_key_text(&key, device);
	return key;
}

struct store_key record_by_pod(const char *uid, const struct attachment_key *attachment)
{
	struct store_key key = { 0 };

	store_key_text(&key, uid);
	store_key_text(&key, attachment->network);
	store_key_text(&key, attachment->ifname);
	return key;
}

static struct store_key record_by_netns(int32_t nsid, uint64_t id)
{
	struct store_key key = { 0 };

	store_key_u32(&key, (uint32_t)nsid);
	store_key_u64(&key, id);
	return key;
}

static struct store_key record_by_identity(const struct attachment *a)
{
	struct store_key key = { 0 };

	store_key_text(&key, a->pod.namespace);
	store_key_text(&key, a->sticky);
	store_key_u64(&key, a->id);
	return key;
}

/* The value of by_key: id, and of the index that it holds number, pool and rail. */
enum { BY_KEY_INDEX = sizeof(uint64_t), BY_KEY_POOL = BY_KEY_INDEX + sizeof(uint32_t) };

static size_t by_key_encode(const struct attachment *a, uint8_t *buf)
{
	uint64_t id = htobe64(a->id);
	uint32_t index = htobe32(a->rail.index);
	size_t pool_len = strlen(a->pool) + 1, rail_len = strlen(a->rail.name) + 1;

	memcpy(buf, &id, sizeof(id));
	if (!a->pool[0])
		return BY_KEY_INDEX;
	memcpy(buf + BY_KEY_INDEX, &index, sizeof(index));
	memcpy(buf + BY_KEY_POOL, a->pool, pool_len);
	memcpy(buf + BY_KEY_POOL + pool_len, a->rail.name, rail_len);
	return BY_KEY_POOL + pool_len + rail_len;
}

/* A name at @offset with its NUL; returns what is behind it, or 0 if it is malformed. */
static size_t by_key_name(const struct store_view *value, size_t offset,
			  char name[PROTO_POOL_MAX + 1])
{
	size_t len = strnlen((const char *)value->data + offset, value->len - offset);

	if (len > PROTO_POOL_MAX || offset + len == value->len)
		return 0;
	memcpy(name, value->data + offset, len + 1);
	return offset + len + 1;
}

static bool by_key_decode(const struct store_view *value, struct record_ref *ret_ref)
{
	size_t at = BY_KEY_POOL;

	*ret_ref = (struct record_ref) { 0 };
	if (value->len < BY_KEY_INDEX)
		return false;
	ret_ref->id = store_view_u64(value, 0);
	if (value->len == BY_KEY_INDEX)
		return true;
	if (value->len < BY_KEY_POOL)
		return false;
	ret_ref->index = store_view_u32(value, BY_KEY_INDEX);
	at = by_key_name(value, at, ret_ref->pool);
	return at && by_key_name(value, at, ret_ref->rail) == value->len;
}

bool record_next_of(struct store *store, const char *container_id, struct store_key *key,
		    struct record_ref *ret_ref)
{
	struct store_view found, value;
	struct store_key prefix = { 0 };

	store_key_text(&prefix, container_id);
	if (!store_seek(store, STORE_BY_KEY, key->len ? key : &prefix, prefix.len, &found, &value))
		return false;
	store_key_set(key, &found);
	store_key_next(key);
	if (by_key_decode(&value, ret_ref))
		return true;
	store_fail(store, STORE_BY_KEY, "an entry is malformed");
	return false;
}

/* The value of by_netns: what a pass over all records asks for. */
enum {
	BRIEF_COOKIE = 1,
	BRIEF_BOOT_TIME = BRIEF_COOKIE + sizeof(uint64_t),
	BRIEF_BYTES = BRIEF_BOOT_TIME + sizeof(uint64_t),
};

static void brief_put(struct store *store, const struct attachment *a)
{
	struct store_key key = record_by_netns(a->netns.nsid, a->id);
	uint64_t cookie = htobe64(a->netns.cookie), boot_time = htobe64((uint64_t)a->boot_time_ms);
	uint8_t value[BRIEF_BYTES] = { (uint8_t)a->state };

	memcpy(value + BRIEF_COOKIE, &cookie, sizeof(cookie));
	memcpy(value + BRIEF_BOOT_TIME, &boot_time, sizeof(boot_time));
	store_put(store, STORE_BY_NETNS, &key, value, sizeof(value));
}

bool record_next_brief(struct store *store, struct ledger_brief *brief)
{
	struct store_key key = record_by_netns(brief->nsid, brief->id);
	struct store_view found, value;

	store_key_next(&key);
	if (!store_seek(store, STORE_BY_NETNS, &key, 0, &found, &value))
		return false;
	if (found.len != sizeof(uint32_t) + sizeof(uint64_t) || value.len != BRIEF_BYTES ||
	    value.data[0] >= ATTACHMENT_STATES) {
		store_fail(store, STORE_BY_NETNS, "an entry is malformed");
		return false;
	}
	*brief = (struct ledger_brief) {
		.id = store_view_u64(&found, sizeof(uint32_t)),
		.nsid = (int32_t)store_view_u32(&found, 0),
		.state = (enum attachment_state)value.data[0],
		.cookie = store_view_u64(&value, BRIEF_COOKIE),
		.boot_time_ms = (int64_t)store_view_u64(&value, BRIEF_BOOT_TIME),
	};
	return true;
}

/* What ends a head in place of the rest. */
static const char head_end[] = "}}";

/*
 * {…,"request":{"program":"…","env":{…},"netconf":{…}}}: how many bytes there are before "env"; 0
 * if the text has another form. Within a string of JSON a quote has a backslash before it.
 */
static size_t head_len(const struct store_view *value)
{
	static const char tail[] = ",\"env\":{", end[] = "}}}";
	const uint8_t *at = memmem(value->data, value->len, tail, strlen(tail));

	if (!at || memcmp(value->data + value->len - strlen(end), end, strlen(end)) != 0)
		return 0;
	return (size_t)(at - value->data);
}

bool record_has_form(const struct store_view *value)
{
	return head_len(value) > 0;
}

static char *bytes_join(const void *a, size_t a_len, const void *b, size_t b_len)
{
	char *bytes = malloc(a_len + b_len);

	if (!bytes)
		return NULL;
	memcpy(bytes, a, a_len);
	memcpy(bytes + a_len, b, b_len);
	return bytes;
}

static int head_parse(const struct store_view *value, struct attachment *ret_a, struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	CLEANUP_FREE char *text = NULL;
	size_t len = head_len(value);
	int r;

	if (!len)
		return err_set(err, EUCLEAN, ERR_STORE, "it does not end with its request");
	text = bytes_join(value->data, len, head_end, strlen(head_end));
	if (!text)
		return err_nomem(err);
	r = json_parse(text, len + strlen(head_end), &json, err);
	return r < 0 ? r : attachment_decode_head(json, ret_a, err);
}

int record_decode(const struct store_view *value, struct attachment *ret_a, struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	int r = json_parse((const char *)value->data, value->len, &json, err);

	return r < 0 ? r : attachment_decode(json, ret_a, err);
}

static int record_parse(const struct store_view *value, uint64_t id, enum record_part part,
			struct attachment *ret_a, struct err *err)
{
	int r = part == RECORD_HEAD ? head_parse(value, ret_a, err)
				    : record_decode(value, ret_a, err);

	if (r == 0 && ret_a->id != id) {
		r = err_set(err, EUCLEAN, ERR_STORE, "attachment %" PRIu64 " is under id %" PRIu64,
			    ret_a->id, id);
		attachment_free(ret_a);
	}
	if (r < 0) {
		err_prefix(err, "read a record of the store");
		err->code = r == -ENOMEM ? err->code : ERR_STORE;
	}
	return r;
}

int record_get(struct store *store, uint64_t id, struct attachment *ret_a, struct err *err)
{
	struct store_key key = record_key(id);
	struct store_view value;
	int r;

	if (store_get(store, STORE_RECORD, &key, &value))
		return record_parse(&value, id, RECORD_HEAD, ret_a, err);
	r = store_check(store, err);
	return r < 0 ? r : -ENOENT;
}

int record_next(struct store *store, uint64_t after, enum record_part part,
		struct attachment *ret_a, struct err *err)
{
	struct store_key key = record_key(after);
	struct store_view found, value;
	int r;

	store_key_next(&key);
	if (store_seek(store, STORE_RECORD, &key, 0, &found, &value)) {
		if (found.len == sizeof(uint64_t))
			return record_parse(&value, store_view_u64(&found, 0), part, ret_a, err);
		store_fail(store, STORE_RECORD, "a key has another length");
	}
	r = store_check(store, err);
	return r < 0 ? r : -ENOENT;
}

/* The next record that a table leads to under @prefix. */
static int next_of(struct store *store, enum store_table table, const struct store_key *prefix,
		   struct store_key *key, struct attachment *ret_a, struct err *err)
{
	struct store_view found, value;
	int r;

	if (store_seek(store, table, key->len ? key : prefix, prefix->len, &found, &value)) {
		store_key_set(key, &found);
		r = record_find(store, table, key, RECORD_HEAD, ret_a, err);
		store_key_next(key);
		return r;
	}
	r = store_check(store, err);
	return r < 0 ? r : -ENOENT;
}

int record_next_of_pod(struct store *store, const char *uid, struct store_key *key,
		       struct attachment *ret_a, struct err *err)
{
	struct store_key prefix = { 0 };

	store_key_text(&prefix, uid);
	return next_of(store, STORE_BY_POD, &prefix, key, ret_a, err);
}

int record_next_of_identity(struct store *store, const struct identity *identity,
			    struct store_key *key, struct attachment *ret_a, struct err *err)
{
	struct store_key prefix = { 0 };

	store_key_text(&prefix, identity->namespace);
	store_key_text(&prefix, identity->name);
	return next_of(store, STORE_BY_IDENTITY, &prefix, key, ret_a, err);
}

uint64_t record_id(struct store *store, enum store_table table, const struct store_key *key)
{
	struct store_view value;

	if (!store_get(store, table, key, &value))
		return 0;
	if (value.len >= sizeof(uint64_t)) /* by_key has more behind it */
		return store_view_u64(&value, 0);
	store_fail(store, table, "an id has another length");
	return 0;
}

bool record_seek_device(struct store *store, struct store_key *key, uint64_t *ret_id)
{
	struct store_view found, value;

	if (!store_seek(store, STORE_BY_DEVICE, key, 0, &found, &value))
		return false;
	store_key_set(key, &found);
	*ret_id = record_id(store, STORE_BY_DEVICE, key);
	return true;
}

/* The value of the record that an entry leads to, and its id. */
static int record_value(struct store *store, enum store_table table, const struct store_key *key,
			uint64_t *ret_id, struct store_view *ret_value, struct err *err)
{
	uint64_t id = record_id(store, table, key);
	struct store_key record = record_key(id);
	int r;

	*ret_id = id;
	r = store_check(store, err);
	if (r < 0)
		return r;
	if (id == 0)
		return -ENOENT;
	if (store_get(store, STORE_RECORD, &record, ret_value))
		return 0;
	if (store_check(store, err) == 0)
		store_fail(store, table, "an entry leads to no record");
	return store_check(store, err);
}

int record_find(struct store *store, enum store_table table, const struct store_key *key,
		enum record_part part, struct attachment *ret_a, struct err *err)
{
	struct store_view value;
	uint64_t id;
	int r;

	r = record_value(store, table, key, &id, &value, err);
	return r < 0 ? r : record_parse(&value, id, part, ret_a, err);
}

int record_text(struct store *store, enum store_table table, const struct store_key *key,
		char **ret_text, struct err *err)
{
	struct store_view value;
	uint64_t id;
	char *text;
	int r;

	r = record_value(store, table, key, &id, &value, err);
	if (r < 0)
		return r;
	text = strndup((const char *)value.data, value.len);
	if (!text)
		return err_nomem(err);
	*ret_text = text;
	return 0;
}

static void id_put(struct store *store, enum store_table table, const struct store_key *key,
		   uint64_t id)
{
	uint64_t number = htobe64(id);

	store_put(store, table, key, &number, sizeof(number));
}

static void by_key_put(struct store *store, const struct attachment *a)
{
	uint8_t value[BY_KEY_POOL + sizeof(a->pool) + sizeof(a->rail.name)];
	struct attachment_key attachment = attachment_key(a);
	struct store_key key = record_by_key(&attachment);

	store_put(store, STORE_BY_KEY, &key, value, by_key_encode(a, value));
}

static bool identity_fits(const struct attachment *a)
{
	return a->sticky[0] && strlen(a->pod.namespace) <= PROTO_NAMESPACE_MAX;
}

bool record_has_identity(const struct attachment *a)
{
	return a->pool[0] && identity_fits(a);
}

void record_index_identity(struct store *store, const struct attachment *a)
{
	struct store_key by_identity = record_by_identity(a);

	if (record_has_identity(a))
		id_put(store, STORE_BY_IDENTITY, &by_identity, a->id);
}

static void record_index(struct store *store, const struct attachment *a)
{
	struct attachment_key attachment = attachment_key(a);
	struct store_key by_device = record_by_device(a->device.key);
	struct store_key by_pod = record_by_pod(a->pod.uid, &attachment);

	by_key_put(store, a);
	brief_put(store, a);
	if (a->device.key[0])
		id_put(store, STORE_BY_DEVICE, &by_device, a->id);
	if (a->pod.uid[0])
		id_put(store, STORE_BY_POD, &by_pod, a->id);
	record_index_identity(store, a);
}

static int record_write(struct store *store, const struct attachment *a,
			void (*put)(struct store *store, enum store_table table,
				    const struct store_key *key, const void *data, size_t len),
			struct err *err)
{
	CLEANUP_JSON json_t *json = attachment_encode(a);
	CLEANUP_FREE char *text = json ? json_line(json) : NULL;
	struct store_key key = record_key(a->id);

	if (!text)
		return err_nomem(err);
	put(store, STORE_RECORD, &key, text, strlen(text));
	record_index(store, a);
	return 0;
}

int record_add(struct store *store, const struct attachment *a, struct err *err)
{
	return record_write(store, a, store_append, err);
}

int record_rewrite(struct store *store, const struct attachment *a, struct err *err)
{
	return record_write(store, a, store_put, err);
}

/* A new head before what stands behind the old one. */
int record_put(struct store *store, const struct attachment *a, struct err *err)
{
	CLEANUP_JSON json_t *json = attachment_encode_head(a);
	CLEANUP_FREE char *line = json ? json_line(json) : NULL, *text = NULL;
	size_t head = line ? strlen(line) - strlen(head_end) : 0, before = 0, rest;
	struct store_key key = record_key(a->id), by_identity = record_by_identity(a);
	struct store_view was;

	if (store_get(store, STORE_RECORD, &key, &was))
		before = head_len(&was);
	if (!before) {
		store_fail(store, STORE_RECORD, "a record has gone, or has another form");
		return store_check(store, err);
	}
	rest = was.len - before;
	text = line ? bytes_join(line, head, was.data + before, rest) : NULL;
	if (!text)
		return err_nomem(err);
	store_put(store, STORE_RECORD, &key, text, head + rest);
	brief_put(store, a);
	if (a->state == ATTACHMENT_DIRTY) /* it may have given up its index */
		by_key_put(store, a);
	if (identity_fits(a) && !a->pool[0])
		store_delete(store, STORE_BY_IDENTITY, &by_identity);
	return 0;
}

void record_delete(struct store *store, const struct attachment *a)
{
	struct attachment_key attachment = attachment_key(a);
	struct store_key record = record_key(a->id);
	struct store_key by_key = record_by_key(&attachment);
	struct store_key by_device = record_by_device(a->device.key);
	struct store_key by_pod = record_by_pod(a->pod.uid, &attachment);
	struct store_key by_netns = record_by_netns(a->netns.nsid, a->id);
	struct store_key by_identity = record_by_identity(a);

	store_delete(store, STORE_RECORD, &record);
	store_delete(store, STORE_BY_KEY, &by_key);
	store_delete(store, STORE_BY_NETNS, &by_netns);
	if (a->device.key[0])
		store_delete(store, STORE_BY_DEVICE, &by_device);
	if (identity_fits(a))
		store_delete(store, STORE_BY_IDENTITY, &by_identity);
	/* The pod's next sandbox may have its entry by now. */
	if (a->pod.uid[0] && record_id(store, STORE_BY_POD, &by_pod) == a->id)
		store_delete(store, STORE_BY_POD, &by_pod);
}
