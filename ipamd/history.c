/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the question "who had this address at that time?" long after the record has gone. An event
 * repeats what the record said; nothing points back to it.
 */
#include "ipamd/history.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

static json_t *event_addresses(const struct ip_config *net)
{
	json_t *array = json_array();
	char text[IP_TEXT];

	for (size_t i = 0; i < net->ip_count; i++)
		(void)json_array_append_new(array,
					    json_string(ip_format(&net->ips[i].cidr.ip, text)));
	return array;
}

static json_t *event_guid(uint64_t guid)
{
	char text[GUID_TEXT];

	return guid ? json_string(guid_format(guid, text)) : NULL;
}

static json_t *event_encode(uint64_t seq, const char *event, const struct attachment *a,
			    const char *reason)
{
	return json_pack(
		"{s:I, s:I, s:s, s:I, s:s, s:s, s:s, s:{s:s, s:s, s:s}, s:s, s:o, s:o*, s:s, "
		"s:s, s:s}",
		"seq", (json_int_t)seq, "time", (json_int_t)clock_wall_ms(), "event", event, "id",
		(json_int_t)a->id, "network", a->network, "containerID", a->container_id, "ifname",
		a->ifname, "pod", "namespace", a->pod.namespace, "name", a->pod.name, "uid",
		a->pod.uid, "device", a->device.key, "ips", event_addresses(&a->net), "guid",
		event_guid(a->guid), "pool", a->pool, "rail", a->rail.name, "reason", reason);
}

static uint64_t history_next(struct store *store)
{
	struct store_view last;

	if (!store_last(store, STORE_HISTORY, &last))
		return 1;
	if (last.len != sizeof(uint64_t)) {
		store_fail(store, STORE_HISTORY, "a key has another length");
		return 1;
	}
	return store_view_u64(&last, 0) + 1;
}

void history_add(struct store *store, const char *event, const struct attachment *a,
		 const char *reason)
{
	uint64_t seq = history_next(store);
	CLEANUP_JSON json_t *json = event_encode(seq, event, a, reason);
	CLEANUP_FREE char *text = json ? json_line(json) : NULL;
	struct store_key key = { 0 }, oldest = { 0 };

	if (!text) {
		store_fail(store, STORE_HISTORY, "out of memory");
		return;
	}
	store_key_u64(&key, seq);
	store_append(store, STORE_HISTORY, &key, text, strlen(text));
	if (seq > HISTORY_MAX) {
		store_key_u64(&oldest, seq - HISTORY_MAX);
		store_delete(store, STORE_HISTORY, &oldest);
	}
}

int history_read(struct store *store, uint64_t after, size_t limit, json_t **ret_array,
		 struct err *err)
{
	CLEANUP_JSON json_t *array = json_array();
	struct store_key key = { 0 };
	struct store_view found, value;
	int r;

	if (!array)
		return err_nomem(err);
	store_key_u64(&key, after);
	store_key_next(&key);
	while (json_array_size(array) < limit &&
	       store_seek(store, STORE_HISTORY, &key, 0, &found, &value)) {
		json_t *event = NULL;

		r = json_parse((const char *)value.data, value.len, &event, err);
		if (r < 0)
			return r;
		if (json_array_append_new(array, event) < 0)
			return err_nomem(err);
		store_key_set(&key, &found);
		store_key_next(&key);
	}
	r = store_check(store, err);
	if (r == 0)
		*ret_array = TAKE_PTR(array);
	return r;
}
