/* SPDX-License-Identifier: Apache-2.0 */
/* The methods that show what there is, and those that look at, or carry, the whole ledger. */
#include "ipamd/method_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/daemon.h"
#include "ipamd/inspect.h"
#include "ipamd/inventory.h"
#include "ipamd/porter.h"
#include "ipamd/preview.h"
#include "ipamd/reconcile.h"
#include "ipamd/restart.h"
#include "ipamd/status.h"

enum {
	METHOD_LIST_MAX = 100, /* records of one answer */
	METHOD_HISTORY_MAX = 200,
	METHOD_RESTART_MAX = 16 * 1024, /* bytes: two paths of the longest, and what is short */
	METHOD_DEVICES_MAX = 32,        /* a VF with its owner's names takes up to 1900 bytes */
};

/* --- attachment.list --- */

/* Beside the record, what is being done about it: {"reason", "why"} of an undo. */
static int list_add_undo(const struct daemon *d, const struct attachment *a, json_t *record)
{
	struct attachment_key key = attachment_key(a);
	char text[SEAT_KEY_MAX];
	const struct seat *seat = seat_find(&d->seats, seat_key(&key, text));

	if (!seat || seat->work == SEAT_IDLE)
		return 0;
	return json_object_set_new(
		record, "undo", json_pack("{s:s, s:s}", "reason", seat->reason, "why", seat->why));
}

/* More than an answer can hold would never be told: then without what the network said. */
static int list_cut(json_t *record, size_t *size)
{
	json_t *request = json_object_get(record, "request");

	if (json_object_set_new(request, "netconf", json_object()) < 0)
		return -ENOMEM;
	*size = json_dumpb(record, NULL, 0, JSON_COMPACT) + 1;
	return 0;
}

static int list_append(const struct daemon *d, json_t *list, const struct attachment *a,
		       size_t *size, struct err *err)
{
	CLEANUP_JSON json_t *record = attachment_encode(a);

	if (!record || list_add_undo(d, a, record) < 0)
		return err_nomem(err);
	*size += json_dumpb(record, NULL, 0, JSON_COMPACT) + 1;
	if (*size > METHOD_ANSWER_MAX && json_array_size(list) > 0)
		return METHOD_WAITS; /* full */
	if (*size > METHOD_ANSWER_MAX && list_cut(record, size) < 0)
		return err_nomem(err);
	return json_array_append(list, record) < 0 ? err_nomem(err) : 0;
}

/* Fills @list; *@ret_next is where the next page begins after, 0 = this was the last. */
static int list_page(struct daemon *d, const char *network, uint64_t after, size_t limit,
		     json_t *list, uint64_t *ret_next, struct err *err)
{
	struct attachment a = { 0 };
	size_t size = 0;
	int r = 0;

	*ret_next = 0;
	while (r == 0) {
		r = ledger_next(d->ledger, after, &a, err);
		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return r;
		if (json_array_size(list) == limit)
			r = METHOD_WAITS;
		else if (!network || strcmp(network, a.network) == 0)
			r = list_append(d, list, &a, &size, err);
		if (r == 0)
			after = a.id;
		attachment_free(&a);
	}
	*ret_next = after;
	return r < 0 ? r : 0;
}

/* The one that has it, or none: no page comes behind it. */
static int list_owner(struct daemon *d, const char *device, json_t *list, struct err *err)
{
	struct attachment a = { 0 };
	uint64_t unused;
	int r = ledger_find_device(d->ledger, device, &a, err);

	if (r == 0)
		r = list_page(d, NULL, a.id - 1, 1, list, &unused, err);
	attachment_free(&a);
	return r == -ENOENT ? 0 : r;
}

int method_list(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	CLEANUP_JSON json_t *list = json_array();
	int64_t after = 0, limit = METHOD_LIST_MAX;
	const char *network = NULL, *device = NULL;
	struct json_reader r;
	uint64_t next = 0;

	if (!list)
		return err_nomem(err);
	json_read(&r, q->rpc.params, "", err);
	(void)json_str(&r, "network", &network);
	(void)json_str(&r, "device", &device);
	(void)json_int(&r, "after", 0, INT64_MAX, &after);
	(void)json_int(&r, "limit", 1, METHOD_LIST_MAX, &limit);
	if (json_finish(&r, READ_LENIENT) < 0 ||
	    (device ? list_owner(d, device, list, err)
		    : list_page(d, network, (uint64_t)after, (size_t)limit, list, &next, err)) < 0)
		return -err->errnum;
	*ret_result = json_pack("{s:O, s:I}", "attachments", list, "next", (json_int_t)next);
	return *ret_result ? 0 : err_nomem(err);
}

/* --- pool.list, history.get, node.* --- */

int method_pools(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *pool = NULL;
	int64_t after = 0;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_str(&r, "pool", &pool);
	(void)json_int(&r, "after", 0, INT32_MAX, &after);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	/* The rest is for what is in no pool any more. */
	return status_pools(d, pool, (size_t)after, METHOD_ANSWER_MAX * 3 / 4, ret_result, err);
}

/* What is taken later, at a restart. A file that cannot be read says no more. */
static int add_restart(const struct daemon *d, json_t *file, json_t *result, struct err *err)
{
	struct config config;
	struct err unread;
	int r;

	if (config_decode(file, &config, &unread) < 0)
		return 0;
	r = json_object_set_new(result, "restart", restart_changes(d, &config));
	config_free(&config);
	return r < 0 ? err_nomem(err) : 0;
}

int method_pool_diff(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	size_t max = METHOD_ANSWER_MAX - ERR_MSG_MAX - METHOD_RESTART_MAX;
	int r;

	r = preview_file(d->ledger, q->rpc.params, max, ret_result, err);
	return r < 0 ? r : add_restart(d, q->rpc.params, *ret_result, err);
}

int method_devices(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	int64_t after = 0, limit = METHOD_DEVICES_MAX;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_int(&r, "after", 0, INT32_MAX, &after);
	(void)json_int(&r, "limit", 1, METHOD_DEVICES_MAX, &limit);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	return status_devices(d, (size_t)after, (size_t)limit, ret_result, err);
}

int method_device_accept(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *device = NULL;
	char key[PROTO_DEVICE_MAX] = "", text[PCI_TEXT + 4];
	struct json_reader r;
	struct pci_addr addr;
	int count;

	json_read(&r, q->rpc.params, "", err);
	if (json_str(&r, "device", &device) &&
	    (strncmp(device, "pci:", 4) != 0 || pci_parse(device + 4, &addr) < 0))
		json_bad(&r, "device", "must be the PCI address of a VF (pci:0000:1a:00.1)");
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	if (device && !picture_vf(inventory_picture(d->inventory), &addr, NULL))
		return err_set(err, ENODEV, ERR_DEVICE, "%s: is no VF of this node", device);
	if (device) /* an address has several spellings */
		(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&addr, text));
	if (ledger_plugin_restarted(d->ledger, device ? key : NULL, &count, err) < 0)
		return -err->errnum;
	inventory_learn_all(d->inventory);
	*ret_result = json_pack("{s:i}", "accepted", count);
	return *ret_result ? 0 : err_nomem(err);
}

static int history_read(json_t *params, struct history_query *ret_query, struct err *err)
{
	struct history_query query = { .bytes = METHOD_ANSWER_MAX, .to_ms = INT64_MAX };
	int64_t after = 0, limit = METHOD_HISTORY_MAX;
	struct json_reader r;

	json_read(&r, params, "", err);
	(void)json_int(&r, "after", 0, INT64_MAX, &after);
	(void)json_int(&r, "limit", 1, METHOD_HISTORY_MAX, &limit);
	(void)json_str(&r, "match", &query.match);
	(void)json_int(&r, "from", 0, INT64_MAX, &query.from_ms);
	(void)json_int(&r, "to", 0, INT64_MAX, &query.to_ms);
	query.after = (uint64_t)after;
	query.limit = (size_t)limit;
	*ret_query = query;
	return json_finish(&r, READ_LENIENT);
}

int method_history(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	struct history_query query;
	struct history_page page = { 0 };
	char after[80];
	int r;

	(void)ret_result;
	r = history_read(q->rpc.params, &query, err);
	if (r == 0)
		r = ledger_history(d->ledger, &query, &page, err);
	if (r < 0)
		return r;
	(void)snprintf(after, sizeof(after), ",\"next\":%llu,\"last\":%llu}",
		       (unsigned long long)page.next, (unsigned long long)page.last);
	q->answer = rpc_answer_text(q->rpc.id, "{\"events\":", page.events, after);
	free(page.events);
	return q->answer ? 0 : err_nomem(err);
}

int method_status(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *pool = NULL;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_str(&r, "pool", &pool);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	if (pool && !pool_find(ledger_pools(d->ledger), pool))
		return err_set(err, ENOENT, ERR_UNAVAILABLE, "pool \"%s\": is not configured",
			       pool);
	return status_node(d, ret_result, err);
}

int method_reconcile(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const struct reconcile_report *last = reconcile_last(d->reconcile);
	bool force = false;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_bool(&r, "force", &force);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	if (!q->ticket)
		q->ticket = reconcile_ask(d->reconcile, force);
	if (last->pass < q->ticket)
		return method_wait(q, RECONCILE_SEAT);
	if (last->error)
		return err_set(err, -last->error, ERR_AGAIN, "look who is dead: %s", last->why);
	*ret_result = json_pack("{s:i, s:i, s:i, s:b}", "looked", last->looked, "dead", last->dead,
				"reclaimed", last->reclaimed, "alarm", last->alarm);
	return *ret_result ? 0 : err_nomem(err);
}

/* --- ledger.* --- */

int method_check(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const struct inspect_report *last = inspect_last(d->inspect);

	if (!q->ticket)
		q->ticket = inspect_ask(d->inspect);
	if (last->number < q->ticket)
		return method_wait(q, INSPECT_SEAT);
	if (!last->audit) {
		*err = last->why;
		return -err->errnum;
	}
	*ret_result = json_incref(last->audit);
	return 0;
}

int method_export(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *text;
	int64_t after = 0;
	struct json_reader r;
	uint64_t next;

	json_read(&r, q->rpc.params, "", err);
	(void)json_int(&r, "after", 0, INT64_MAX, &after);
	if (json_finish(&r, READ_LENIENT) < 0 ||
	    porter_export(d->porter, q->conn, (uint64_t)after, &text, &next, err) < 0)
		return -err->errnum;
	*ret_result = json_pack("{s:s, s:I}", "text", text, "next", (json_int_t)next);
	return *ret_result ? 0 : err_nomem(err);
}

int method_import(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *text = NULL;
	int64_t after = 0;
	struct json_reader read;
	uint64_t next;
	int r;

	json_read(&read, q->rpc.params, "", err);
	(void)json_int(&read, "after", 0, INT64_MAX, &after);
	(void)json_str(&read, "text", &text);
	r = json_finish(&read, READ_LENIENT);
	if (r < 0)
		return r;
	if (!text) {
		r = porter_import(d->porter, q->conn, (uint64_t)after, ret_result, err);
		return r == 0 && !*ret_result ? method_wait(q, PORTER_SEAT) : r;
	}
	r = porter_gather(d->porter, q->conn, (uint64_t)after, text, &next, err);
	if (r == 0)
		*ret_result = json_pack("{s:I}", "next", (json_int_t)next);
	return r < 0 || *ret_result ? r : err_nomem(err);
}
