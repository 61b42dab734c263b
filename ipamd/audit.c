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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/audit_inside.h"
#include "ipamd/rebind.h"
#include "ipamd/sticky.h"

enum { CLOCK_NUMBERS = 4 + ATTACHMENT_STATES };

/* Keeps the first of them. */
__attribute__((format(printf, 4, 0))) static void keep(struct auditor *a,
						       char *list[AUDIT_FINDINGS_MAX],
						       uint64_t *count, const char *fmt,
						       va_list args)
{
	if ((*count)++ >= AUDIT_FINDINGS_MAX)
		return;
	if (vasprintf(&list[*count - 1], fmt, args) < 0) {
		list[*count - 1] = NULL;
		a->r = -ENOMEM;
	}
}

void audit_find(struct auditor *a, const char *fmt, ...)
{
	struct err why;
	va_list args;

	/* Past damage nothing is found in the store any more: that is no finding. */
	if (!a->damaged && store_check(a->store, &why) < 0)
		return;
	va_start(args, fmt);
	keep(a, a->audit->findings, &a->audit->found, fmt, args);
	va_end(args);
}

void audit_note(struct auditor *a, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	keep(a, a->audit->notes, &a->audit->noted, fmt, args);
	va_end(args);
}

bool audit_walk(struct auditor *a, enum store_table table, const struct store_key *key,
		size_t prefix, struct store_view *ret_key, struct store_view *ret_value)
{
	if (a->cancel && atomic_load(a->cancel))
		a->r = -ECANCELED;
	return a->r == 0 && store_seek(a->store, table, key, prefix, ret_key, ret_value);
}

const char *audit_who(const struct attachment *rec, char buf[WHO_MAX])
{
	(void)snprintf(buf, WHO_MAX, "attachment %" PRIu64 " (%s/%s/%s)", rec->id, rec->network,
		       rec->container_id, rec->ifname);
	return buf;
}

bool audit_view_is(const struct store_view *view, const struct store_key *bytes)
{
	return view->len == bytes->len && memcmp(view->data, bytes->bytes, bytes->len) == 0;
}

/* --- identities, events, meta --- */

/* pool NUL namespace NUL name NUL rail NUL */
static bool is_identity(const struct store_view *key)
{
	char text[STORE_KEY_SIZE];
	size_t at = 0;

	for (int i = 0; i < 4; i++) {
		if (!store_view_text(key, &at, text, sizeof(text)))
			return false;
	}
	return at == key->len;
}

/* @key: is_identity() */
static void audit_find_unqueued(struct auditor *a, const char *key)
{
	const char *namespace = key + strlen(key) + 1;

	audit_find(a, "identity \"%s\" of namespace \"%s\": is not in the queue",
		   namespace + strlen(namespace) + 1, namespace);
}

static void check_identities(struct auditor *a)
{
	struct store_view found, value, empty;
	struct store_key key = { 0 };

	while (audit_walk(a, STORE_STICKY, &key, 0, &found, &value)) {
		struct store_key queued = { 0 };

		a->audit->identities++;
		store_key_set(&key, &found);
		if (value.len != sizeof(uint32_t) + sizeof(uint64_t) || !is_identity(&found)) {
			audit_find(a, "table sticky: an entry is malformed");
		} else {
			store_key_u64(&queued, store_view_u64(&value, sizeof(uint32_t)));
			memcpy(queued.bytes + queued.len, found.data, found.len);
			queued.len += found.len;
			if (!store_get(a->store, STORE_STICKY_Q, &queued, &empty))
				audit_find_unqueued(a, (const char *)key.bytes);
		}
		store_key_next(&key);
	}
	if (a->audit->identities > STICKY_MAX)
		audit_find(a, "table sticky: %" PRIu64 " identities, more than %d",
			   a->audit->identities, STICKY_MAX);
	if (store_count(a->store, STORE_STICKY_Q) > a->audit->identities)
		audit_find(a, "table sticky_q: %" PRIu64 " identities are queued, of %" PRIu64,
			   store_count(a->store, STORE_STICKY_Q), a->audit->identities);
}

static void check_rebinds(struct auditor *a)
{
	static const char by_address[] = "pci:";
	struct store_view found, value;
	struct store_key key = { 0 };
	struct rebind rebind;
	struct pci_addr addr;

	while (audit_walk(a, STORE_REBIND, &key, 0, &found, &value)) {
		const char *text = (const char *)key.bytes;

		store_key_set(&key, &found);
		if (found.len <= strlen(by_address) || text[found.len - 1] != '\0' ||
		    strncmp(text, by_address, strlen(by_address)) != 0 ||
		    pci_parse(text + strlen(by_address), &addr) < 0 ||
		    !rebind_decode(&value, &rebind))
			audit_find(a, "table rebind: an entry is malformed");
		else if (rebind.id >= a->next_id)
			audit_find(a, "table rebind: %s is of an attachment that is not there yet",
				   text);
		store_key_next(&key);
	}
}

/* The ring has no gap, and each event is under its number. */
static void check_history(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	uint64_t expected = 0, seq;
	char head[32];
	int len;

	while (audit_walk(a, STORE_HISTORY, &key, 0, &found, &value)) {
		seq = found.len == sizeof(uint64_t) ? store_view_u64(&found, 0) : 0;
		len = snprintf(head, sizeof(head), "{\"seq\":%" PRIu64 ",", seq);
		if (value.len < (size_t)len || memcmp(value.data, head, (size_t)len) != 0)
			audit_find(a, "table history: event %" PRIu64 " is not under its number",
				   seq);
		if (expected && seq != expected)
			audit_find(a, "table history: event %" PRIu64 " follows event %" PRIu64,
				   seq, expected - 1);
		expected = seq + 1;
		a->audit->events++;
		store_key_set(&key, &found);
		store_key_next(&key);
	}
	if (a->audit->events > HISTORY_MAX)
		audit_find(a, "table history: %" PRIu64 " events, more than %d", a->audit->events,
			   HISTORY_MAX);
}

static void check_states(struct auditor *a)
{
	for (int i = 0; i < ATTACHMENT_STATES; i++) {
		if (a->states[i] != a->seen_states[i])
			audit_find(a,
				   "%" PRIu64
				   " attachments are %s, and their counter says %" PRIu64,
				   a->seen_states[i],
				   attachment_state_name((enum attachment_state)i), a->states[i]);
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
		audit_find(a, "table meta: the clock has another length");
		return;
	}
	a->next_id = store_view_u64(&value, 2 * sizeof(uint64_t));
	a->first_id = store_view_u64(&value, 3 * sizeof(uint64_t));
	if (a->first_id > a->next_id)
		audit_find(a,
			   "table meta: this boot begins with id %" PRIu64 ", the next is %" PRIu64,
			   a->first_id, a->next_id);
	for (size_t i = 0; i < ATTACHMENT_STATES; i++)
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
		audit_find(a, "table meta: the pools cannot be read: %s", why.msg);
}

/* For the checksums of what the others have not looked at. */
static void read_meta(struct auditor *a)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	while (audit_walk(a, STORE_META, &key, 0, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
	}
}

static void check_all(struct auditor *a)
{
	static const enum store_table tables[] = { STORE_BY_KEY, STORE_BY_DEVICE, STORE_BY_POD,
						   STORE_BY_NETNS, STORE_BY_IDENTITY };

	load_clock(a);
	load_pools(a);
	audit_records(a);
	audit_claims(a);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		audit_back(a, tables[i], store_count(a->store, tables[i]));
	audit_indexes(a);
	audit_addresses(a);
	audit_guids(a);
	check_identities(a);
	check_rebinds(a);
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
		audit_find(&a, "%s; the rest was not looked at", why.msg);
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
	for (size_t i = 0; i < AUDIT_FINDINGS_MAX; i++) {
		free(audit->findings[i]);
		free(audit->notes[i]);
	}
	*audit = (struct audit) { 0 };
}

static json_t *sentences_encode(char *const list[AUDIT_FINDINGS_MAX], uint64_t count)
{
	CLEANUP_JSON json_t *sentences = json_array();

	for (size_t i = 0; sentences && i < AUDIT_FINDINGS_MAX && i < count; i++) {
		if (json_array_append_new(sentences, json_string(list[i])) < 0)
			return NULL;
	}
	return TAKE_PTR(sentences);
}

json_t *audit_encode(const struct audit *audit)
{
	return json_pack("{s:b, s:I, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
			 "ok", audit->found == 0, "found", (json_int_t)audit->found, "findings",
			 sentences_encode(audit->findings, audit->found), "notes",
			 sentences_encode(audit->notes, audit->noted), "counts", "records",
			 (json_int_t)audit->records, "held", (json_int_t)audit->held, "draining",
			 (json_int_t)audit->draining, "resting", (json_int_t)audit->resting,
			 "claimed", (json_int_t)audit->claimed, "claims", (json_int_t)audit->claims,
			 "guids", (json_int_t)audit->guids, "identities",
			 (json_int_t)audit->identities, "events", (json_int_t)audit->events);
}
