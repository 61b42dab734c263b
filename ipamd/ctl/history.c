/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon looks for bytes, and hands over a page at a time; what an event really says is judged
 * here.
 */
#include "ipamd/ctl/history.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "ipamd/ctl/answer.h"
#include "ipamd/ctl/record.h"
#include "ipamd/ctl/table.h"

enum { HISTORY_LAST = 50 /* events that are shown if nobody says how many */ };

/* --- times --- */

static int ago_parse(const char *text, int64_t *ret_ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	char *end;
	long long count = strtoll(text + 1, &end, 10);

	for (size_t i = 0; i < ARRAY_SIZE(units) && end != text + 1 && count >= 0; i++) {
		if (strcmp(end, units[i].unit) == 0 && count < INT32_MAX) {
			*ret_ms = clock_wall_ms() - count * units[i].ms;
			return 0;
		}
	}
	return -EINVAL;
}

int history_time(const char *text, int64_t *ret_ms)
{
	static const char *const forms[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S",
					     "%Y-%m-%d %H:%M",    "%Y-%m-%dT%H:%M",
					     "%H:%M:%S",          "%H:%M" };
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm today, tm;
	char *end;
	long long seconds;

	if (text[0] == '-')
		return ago_parse(text, ret_ms);
	seconds = strtoll(text, &end, 10);
	if (end - text >= 9 && !*end && end - text <= 12) {
		*ret_ms = seconds * 1000;
		return 0;
	}
	if (!localtime_r(&now, &today))
		return -EINVAL;
	today.tm_sec = 0;
	today.tm_isdst = -1;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const char *rest;

		tm = today;
		rest = strptime(text, forms[i], &tm);
		if (rest && !*rest) {
			*ret_ms = (int64_t)mktime(&tm) * 1000;
			return 0;
		}
	}
	return -EINVAL;
}

static int option_time(const char *name, const char *text, int64_t otherwise, int64_t *ret_ms,
		       struct err *err)
{
	*ret_ms = otherwise;
	if (text && history_time(text, ret_ms) < 0)
		return err_set(err, EINVAL, ERR_VALUE,
			       "%s %s: must be as \"2026-11-27 12:00:00\", 12:00, -2h, or seconds "
			       "since 1970",
			       name, text);
	return 0;
}

static void time_cell(struct table *table, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	char text[32] = "";
	struct tm tm;

	if (wall_ms && localtime_r(&seconds, &tm))
		(void)strftime(text, sizeof(text), "%F %T", &tm);
	table_cell(table, "%s", text);
}

/* --- what is asked for --- */

struct question {
	const char *what; /* NULL: anything */
	struct ip ip;     /* if it is an address */
	char guid[GUID_TEXT];
	char match[PROTO_KEY_MAX + 3]; /* the bytes that the daemon looks for; "": any */
	const char *reason;
	int64_t from_ms, to_ms;
	size_t last; /* only so many; 0 = all */
};

/* The part of a name that an event has as it is: of NAMESPACE/POD the pod, of
 * NETWORK/CONTAINER/IFNAME the container. */
static void match_name(const char *what, char match[PROTO_KEY_MAX + 3])
{
	const char *first = strchr(what, '/'), *last = strrchr(what, '/');
	const char *begin = first ? first + 1 : what;
	size_t len = last && last != first ? (size_t)(last - begin) : strlen(begin);

	(void)snprintf(match, PROTO_KEY_MAX + 3, "%.*s", (int)len, begin);
}

static void question_read(struct question *q, const char *what)
{
	struct cidr cidr;
	uint64_t guid;

	q->what = what;
	if (!what)
		return;
	if (cidr_parse(what, &cidr) == 0) {
		q->ip = cidr.ip;
		(void)ip_format(&q->ip, q->match);
	} else if (guid_parse(what, &guid) == 0) {
		(void)snprintf(q->match, sizeof(q->match), "%s", guid_format(guid, q->guid));
	} else {
		match_name(what, q->match);
	}
}

static bool has_address(json_t *event, const struct ip *ip)
{
	json_t *text;
	size_t i;

	json_array_foreach (json_object_get(event, "ips"), i, text) {
		struct ip own;

		if (ip_parse(json_string_value(text) ? json_string_value(text) : "", &own) == 0 &&
		    ip_compare(&own, ip) == 0)
			return true;
	}
	return false;
}

static bool has_name(json_t *event, const char *what)
{
	json_t *pod = json_object_get(event, "pod");
	const char *device = text_of(event, "device"), *colon = strchr(device, ':');
	char name[PROTO_KEY_MAX + 3], key[PROTO_KEY_MAX + 3];

	(void)snprintf(name, sizeof(name), "%s/%s", text_of(pod, "namespace"),
		       text_of(pod, "name"));
	(void)snprintf(key, sizeof(key), "%s/%s/%s", text_of(event, "network"),
		       text_of(event, "containerID"), text_of(event, "ifname"));
	return strcmp(what, device) == 0 || (colon && strcmp(what, colon + 1) == 0) ||
	       strcmp(what, text_of(pod, "name")) == 0 || strcmp(what, text_of(pod, "uid")) == 0 ||
	       strcmp(what, text_of(event, "containerID")) == 0 || strcmp(what, name) == 0 ||
	       strcmp(what, key) == 0;
}

static bool is_asked_for(const struct question *q, json_t *event)
{
	if (q->reason && strcmp(q->reason, text_of(event, "reason")) != 0)
		return false;
	if (!q->what)
		return true;
	if (q->ip.family)
		return has_address(event, &q->ip);
	if (q->guid[0])
		return strcmp(q->guid, text_of(event, "guid")) == 0;
	return has_name(event, q->what);
}

/* --- paging --- */

static json_t *page_params(const struct question *q, json_int_t after)
{
	json_t *params = json_pack("{s:I, s:I, s:I}", "after", after, "from",
				   (json_int_t)q->from_ms, "to", (json_int_t)q->to_ms);

	if (params && q->match[0])
		(void)json_object_set_new(params, "match", json_string(q->match));
	return params;
}

/* Adds what is asked for of a page; of more than q->last the oldest go. */
static int add_page(const struct question *q, json_t *page, json_t *events, struct err *err)
{
	json_t *event;
	size_t i;

	json_array_foreach (json_object_get(page, "events"), i, event) {
		if (!is_asked_for(q, event))
			continue;
		if (json_array_append(events, event) < 0)
			return err_nomem(err);
		if (q->last && json_array_size(events) > q->last)
			(void)json_array_remove(events, 0);
	}
	return 0;
}

/* Where to begin: nobody reads the whole ring to see the last fifty. */
static int first_page(struct ctl *ctl, const struct question *q, json_int_t *ret_after,
		      struct err *err)
{
	CLEANUP_JSON json_t *page = NULL;
	json_int_t last;
	int r;

	*ret_after = 0;
	if (!q->last || q->what || q->reason || q->from_ms || q->to_ms != INT64_MAX)
		return 0;
	r = ctl_call(ctl, "history.get", json_pack("{s:i}", "limit", 1), &page, err);
	if (r < 0)
		return r;
	last = number_of(page, "last");
	if (last > (json_int_t)q->last)
		*ret_after = last - (json_int_t)q->last;
	return 0;
}

static int question_ask(struct ctl *ctl, const struct question *q, json_t **ret_events,
			struct err *err)
{
	CLEANUP_JSON json_t *events = json_array();
	json_int_t after;
	int r;

	if (!events)
		return err_nomem(err);
	r = first_page(ctl, q, &after, err);
	if (r < 0)
		return r;
	do {
		CLEANUP_JSON json_t *page = NULL;

		r = ctl_call(ctl, "history.get", page_params(q, after), &page, err);
		if (r == 0)
			r = add_page(q, page, events, err);
		if (r < 0)
			return r;
		after = number_of(page, "next");
	} while (after);
	*ret_events = TAKE_PTR(events);
	return 0;
}

int history_fetch(struct ctl *ctl, const char *match, json_t **ret_events, struct err *err)
{
	struct question q = { .to_ms = INT64_MAX };

	(void)snprintf(q.match, sizeof(q.match), "%s", match ? match : "");
	return question_ask(ctl, &q, ret_events, err);
}

/* --- tables --- */

static void addresses_cell(struct table *table, json_t *event)
{
	char text[TABLE_CELL_MAX] = "";
	size_t i, len = 0;
	json_t *ip;

	json_array_foreach (json_object_get(event, "ips"), i, ip) {
		if (len < sizeof(text))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
						i ? "," : "", json_string_value(ip));
	}
	table_cell(table, "%s", text);
}

static void who_cells(struct table *table, json_t *event)
{
	json_t *pod = json_object_get(event, "pod");

	table_cell(table, "%s%s%s", text_of(pod, "namespace"),
		   text_of(pod, "namespace")[0] ? "/" : "", text_of(pod, "name"));
	table_cell(table, "%s/%s", text_of(event, "network"), text_of(event, "ifname"));
	addresses_cell(table, event);
	table_cell(table, "%s", text_of(event, "device"));
	table_cell(table, "%s", text_of(event, "guid"));
}

static int print_events(json_t *events, struct err *err)
{
	static const char *const heads[] = { "TIME",      "EVENT",  "POD",  "NETWORK/IFNAME",
					     "ADDRESSES", "DEVICE", "GUID", "REASON" };
	struct table table;
	json_t *event;
	size_t i;

	table_begin(&table, heads, ARRAY_SIZE(heads));
	json_array_foreach (events, i, event) {
		time_cell(&table, number_of(event, "time"));
		table_cell(&table, "%s", text_of(event, "event"));
		who_cells(&table, event);
		table_cell(&table, "%s", text_of(event, "reason"));
	}
	return table_end(&table) < 0 ? err_nomem(err) : 0;
}

/* --- who had it then --- */

/*
 * One attachment and when it had what is asked for. It begins with its reservation, or, if that has
 * left the ring, before the ring does ("from" 0). It ends with the last event that still names it,
 * unless a record stands that has it.
 */
static json_t *holder_of(json_t *holders, json_t *event)
{
	char id[24];
	json_t *holder;

	(void)snprintf(id, sizeof(id), "%lld", number_of(event, "id"));
	holder = json_object_get(holders, id);
	if (holder)
		return holder;
	holder = json_deep_copy(event);
	(void)json_object_set_new(holder, "from", json_integer(0));
	(void)json_object_set_new(holder, "to", json_integer(0));
	(void)json_object_set_new(holder, "reason", json_string(""));
	return holder && json_object_set_new(holders, id, holder) == 0 ? holder : NULL;
}

static int add_events(json_t *holders, json_t *events, struct err *err)
{
	json_t *event, *holder;
	size_t i;

	json_array_foreach (events, i, event) {
		holder = holder_of(holders, event);
		if (!holder)
			return err_nomem(err);
		if (strcmp(text_of(event, "event"), "reserved") == 0)
			(void)json_object_set(holder, "from", json_object_get(event, "time"));
		(void)json_object_set(holder, "to", json_object_get(event, "time"));
		(void)json_object_set(holder, "event", json_object_get(event, "event"));
		(void)json_object_set(holder, "reason", json_object_get(event, "reason"));
	}
	return 0;
}

/* A record in the form of an event: for one whose events have all left the ring. */
static json_t *event_of_record(json_t *record)
{
	json_t *ips = json_array(), *ip, *device = json_object_get(record, "device");
	size_t i;

	json_array_foreach (json_object_get(record, "ips"), i, ip) {
		struct cidr cidr;
		char text[IP_TEXT];

		if (cidr_parse(text_of(ip, "address"), &cidr) == 0)
			(void)json_array_append_new(ips, json_string(ip_format(&cidr.ip, text)));
	}
	return json_pack(
		"{s:O*, s:O*, s:O*, s:O*, s:O*, s:s, s:s, s:o}", "id",
		json_object_get(record, "id"), "network", json_object_get(record, "network"),
		"containerID", json_object_get(record, "containerID"), "ifname",
		json_object_get(record, "ifname"), "pod", json_object_get(record, "pod"), "device",
		text_of(device, "key"), "guid", text_of(record, "guid"), "ips", ips);
}

/* What stands has it still. */
static int add_records(struct ctl *ctl, const struct question *q, json_t *holders, struct err *err)
{
	CLEANUP_JSON json_t *records = NULL;
	json_t *record, *holder;
	size_t i;
	int r;

	r = records_fetch(&ctl->client, &records, err);
	if (r < 0)
		return r;
	json_array_foreach (records, i, record) {
		CLEANUP_JSON json_t *event = event_of_record(record);

		if (!event)
			return err_nomem(err);
		if (!is_asked_for(q, event))
			continue;
		holder = holder_of(holders, event);
		if (!holder)
			return err_nomem(err);
		if (!number_of(holder, "from"))
			(void)json_object_set(holder, "from",
					      json_object_get(record, "reservedAt"));
		(void)json_object_set_new(holder, "to", json_integer(0));
	}
	return 0;
}

/* Drops those that did not have it at @at_ms. */
static json_t *holders_at(json_t *holders, int64_t at_ms)
{
	json_t *then = json_array(), *holder;
	const char *id;

	json_object_foreach (holders, id, holder) {
		if (number_of(holder, "from") <= at_ms &&
		    (!number_of(holder, "to") || number_of(holder, "to") > at_ms))
			(void)json_array_append(then, holder);
	}
	return then;
}

static int print_holders(json_t *holders, struct err *err)
{
	static const char *const heads[] = { "FROM",      "TO",     "POD",  "NETWORK/IFNAME",
					     "ADDRESSES", "DEVICE", "GUID", "REASON" };
	struct table table;
	json_t *holder;
	size_t i;

	table_begin(&table, heads, ARRAY_SIZE(heads));
	json_array_foreach (holders, i, holder) {
		time_cell(&table, number_of(holder, "from"));
		time_cell(&table, number_of(holder, "to"));
		who_cells(&table, holder);
		table_cell(&table, "%s", number_of(holder, "to") ? text_of(holder, "reason") : "");
	}
	return table_end(&table) < 0 ? err_nomem(err) : 0;
}

/* Says so if the ring does not reach back to @at_ms. */
static int warn_of_begin(struct ctl *ctl, int64_t at_ms, struct err *err)
{
	CLEANUP_JSON json_t *page = NULL;
	json_t *first;
	int r;

	r = ctl_call(ctl, "history.get", json_pack("{s:i}", "limit", 1), &page, err);
	if (r < 0)
		return r;
	first = json_array_get(json_object_get(page, "events"), 0);
	if (first && number_of(first, "seq") > 1 && number_of(first, "time") > at_ms)
		fprintf(stderr, "spurctl: the history begins later: what had ended before that is "
				"not known\n");
	return 0;
}

static int run_at(struct ctl *ctl, struct question *q, struct err *err)
{
	CLEANUP_JSON json_t *events = NULL, *holders = json_object(), *then = NULL;
	int64_t at_ms;
	int r;

	q->last = 0;
	r = option_time("--at", ctl->at, 0, &at_ms, err);
	if (r == 0)
		r = warn_of_begin(ctl, at_ms, err);
	if (r == 0)
		r = question_ask(ctl, q, &events, err);
	if (r == 0 && !holders)
		r = err_nomem(err);
	if (r == 0)
		r = add_events(holders, events, err);
	if (r == 0)
		r = add_records(ctl, q, holders, err);
	if (r < 0)
		return r;
	then = holders_at(holders, at_ms);
	return ctl->json ? print_json(then, err) : print_holders(then, err);
}

int history_run(struct ctl *ctl, struct err *err)
{
	struct question q = { .reason = ctl->reason,
			      .last = ctl->last < 0 ? HISTORY_LAST : (size_t)ctl->last,
			      .to_ms = INT64_MAX };
	CLEANUP_JSON json_t *events = NULL;
	int r;

	question_read(&q, ctl->argument);
	if (ctl->at)
		return run_at(ctl, &q, err);
	r = option_time("--from", ctl->from, 0, &q.from_ms, err);
	if (r == 0)
		r = option_time("--to", ctl->to, INT64_MAX, &q.to_ms, err);
	if (r == 0)
		r = question_ask(ctl, &q, &events, err);
	if (r < 0)
		return r;
	return ctl->json ? print_json(events, err) : print_events(events, err);
}
