/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the question "who had this address at that time?" long after the record has gone. An event
 * repeats what the record said; nothing points back to it.
 */
#include "ipamd/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Several have to go only from a store whose ring was longer: that of an earlier version. */
static void history_trim(struct store *store)
{
	struct store_view found, value;

	while (store_count(store, STORE_HISTORY) > HISTORY_MAX) {
		struct store_key key = { 0 };

		if (!store_seek(store, STORE_HISTORY, &key, 0, &found, &value))
			return;
		store_key_set(&key, &found);
		store_delete(store, STORE_HISTORY, &key);
	}
}

void history_add(struct store *store, const char *event, const struct attachment *a,
		 const char *reason)
{
	uint64_t seq = history_next(store);
	CLEANUP_JSON json_t *json = event_encode(seq, event, a, reason);
	CLEANUP_FREE char *text = json ? json_line(json) : NULL;
	struct store_key key = { 0 };

	if (!text) {
		store_fail(store, STORE_HISTORY, "out of memory");
		return;
	}
	store_key_u64(&key, seq);
	store_append(store, STORE_HISTORY, &key, text, strlen(text));
	history_trim(store);
}

int history_restore(struct store *store, uint64_t seq, json_t *event, struct err *err)
{
	CLEANUP_FREE char *text = json_line(event);
	struct store_key key = { 0 };

	if (!text)
		return err_nomem(err);
	store_key_u64(&key, seq);
	store_append(store, STORE_HISTORY, &key, text, strlen(text));
	return store_check(store, err);
}

/* Without a parser: event_encode() has put the time behind the sequence. */
static int64_t event_time(const char *text)
{
	static const char before[] = ",\"time\":";
	const char *time = strstr(text, before);

	return time ? strtoll(time + strlen(before), NULL, 10) : 0;
}

static bool event_matches(const struct store_view *value, const struct history_query *query)
{
	char head[64];
	int64_t time;

	(void)snprintf(head, sizeof(head), "%.*s", (int)value->len, (const char *)value->data);
	time = event_time(head);
	return time >= query->from_ms && time <= query->to_ms &&
	       (!query->match ||
		memmem(value->data, value->len, query->match, strlen(query->match)));
}

static void page_add(FILE *events, struct history_page *page, const struct store_view *value)
{
	(void)fprintf(events, "%s%.*s", page->count ? "," : "", (int)value->len,
		      (const char *)value->data);
	page->count++;
}

/* Returns what was left off: the page is full, or enough was looked at. */
static bool history_slice(struct store *store, const struct history_query *query, FILE *events,
			  struct history_page *page)
{
	struct store_key key = { 0 };
	struct store_view found, value;
	size_t bytes = 0;

	page->next = query->after;
	store_key_u64(&key, query->after);
	store_key_next(&key);
	for (int i = 0; store_seek(store, STORE_HISTORY, &key, 0, &found, &value); i++) {
		bool matches = event_matches(&value, query);

		if (i == HISTORY_SLICE ||
		    (matches && (page->count == query->limit ||
				 (page->count && bytes + value.len + 1 > query->bytes))))
			return true;
		if (matches)
			page_add(events, page, &value);
		bytes += matches ? value.len + 1 : 0;
		page->next = store_view_u64(&found, 0);
		store_key_set(&key, &found);
		store_key_next(&key);
	}
	return false;
}

int history_find(struct store *store, const struct history_query *query,
		 struct history_page *ret_page, struct err *err)
{
	struct history_page page = { .last = history_next(store) - 1 };
	size_t size;
	FILE *events = open_memstream(&page.events, &size);
	bool more;
	int r;

	if (!events)
		return err_nomem(err);
	(void)fputc('[', events);
	more = history_slice(store, query, events, &page);
	(void)fputc(']', events);
	if (!more)
		page.next = 0;
	r = fclose(events) == 0 ? store_check(store, err) : err_nomem(err);
	if (r < 0)
		free(page.events);
	else
		*ret_page = page;
	return r;
}
