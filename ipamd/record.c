/* SPDX-License-Identifier: Apache-2.0 */
/* A record is the JSON of its attachment: what the socket speaks, and what a person can read. */
#include "ipamd/record.h"

#include <endian.h>
#include <errno.h>
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

	store_key_text(&key, attachment->network);
	store_key_text(&key, attachment->container_id);
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

static int record_parse(const struct store_view *value, struct attachment *ret_a, struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	int r;

	r = json_parse((const char *)value->data, value->len, &json, err);
	if (r == 0)
		r = attachment_decode(json, ret_a, err);
	if (r < 0) {
		err_prefix(err, "read a record of the store");
		err->code = ERR_STORE;
	}
	return r;
}

int record_get(struct store *store, uint64_t id, struct attachment *ret_a, struct err *err)
{
	struct store_key key = record_key(id);
	struct store_view value;
	int r;

	if (store_get(store, STORE_RECORD, &key, &value))
		return record_parse(&value, ret_a, err);
	r = store_check(store, err);
	return r < 0 ? r : -ENOENT;
}

int record_next(struct store *store, uint64_t after, struct attachment *ret_a, struct err *err)
{
	struct store_key key = record_key(after);
	struct store_view found, value;
	int r;

	store_key_next(&key);
	if (store_seek(store, STORE_RECORD, &key, 0, &found, &value))
		return record_parse(&value, ret_a, err);
	r = store_check(store, err);
	return r < 0 ? r : -ENOENT;
}

uint64_t record_id(struct store *store, enum store_table table, const struct store_key *key)
{
	struct store_view value;

	if (!store_get(store, table, key, &value))
		return 0;
	if (value.len == sizeof(uint64_t))
		return store_view_u64(&value, 0);
	store_fail(store, table, "an id has another length");
	return 0;
}

/* The value of the record that an entry leads to. */
static int record_value(struct store *store, enum store_table table, const struct store_key *key,
			struct store_view *ret_value, struct err *err)
{
	uint64_t id = record_id(store, table, key);
	struct store_key record = record_key(id);
	int r;

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
		struct attachment *ret_a, struct err *err)
{
	struct store_view value;
	int r;

	r = record_value(store, table, key, &value, err);
	return r < 0 ? r : record_parse(&value, ret_a, err);
}

int record_text(struct store *store, enum store_table table, const struct store_key *key,
		char **ret_text, struct err *err)
{
	struct store_view value;
	char *text;
	int r;

	r = record_value(store, table, key, &value, err);
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

int record_add(struct store *store, const struct attachment *a, struct err *err)
{
	CLEANUP_JSON json_t *json = attachment_encode(a);
	CLEANUP_FREE char *text = json ? json_line(json) : NULL;
	struct attachment_key attachment = attachment_key(a);
	struct store_key record = record_key(a->id);
	struct store_key by_key = record_by_key(&attachment);
	struct store_key by_device = record_by_device(a->device.key);
	struct store_key by_pod = record_by_pod(a->pod.uid, &attachment);
	struct store_key by_netns = record_by_netns(a->netns.nsid, a->id);

	if (!text)
		return err_nomem(err);
	store_append(store, STORE_RECORD, &record, text, strlen(text));
	id_put(store, STORE_BY_KEY, &by_key, a->id);
	if (a->device.key[0])
		id_put(store, STORE_BY_DEVICE, &by_device, a->id);
	if (a->pod.uid[0])
		id_put(store, STORE_BY_POD, &by_pod, a->id);
	if (a->netns.nsid >= 0)
		store_put(store, STORE_BY_NETNS, &by_netns, NULL, 0);
	return 0;
}

int record_put(struct store *store, const struct attachment *a, struct err *err)
{
	CLEANUP_JSON json_t *json = attachment_encode(a);
	CLEANUP_FREE char *text = json ? json_line(json) : NULL;
	struct store_key key = record_key(a->id);

	if (!text)
		return err_nomem(err);
	store_put(store, STORE_RECORD, &key, text, strlen(text));
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

	store_delete(store, STORE_RECORD, &record);
	store_delete(store, STORE_BY_KEY, &by_key);
	if (a->device.key[0])
		store_delete(store, STORE_BY_DEVICE, &by_device);
	/* The pod's next sandbox may have its entry by now. */
	if (a->pod.uid[0] && record_id(store, STORE_BY_POD, &by_pod) == a->id)
		store_delete(store, STORE_BY_POD, &by_pod);
	if (a->netns.nsid >= 0)
		store_delete(store, STORE_BY_NETNS, &by_netns);
}
