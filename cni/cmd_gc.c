/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GC: what the runtime does not list and whose namespace is dead is undone as DEL does it. Without
 * a list nothing is: "none is valid" and "nobody said" are not the same.
 */
#include "cni/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cni/confine.h"
#include "cni/undo.h"
#include "ipamd/client/client.h"

struct gc {
	const struct request *request;
	int64_t deadline_ms;
	int failed;
	struct err first; /* of those that failed */
};

static bool is_valid(const struct request *request, const struct attachment *record)
{
	json_t *item;
	size_t i;

	json_array_foreach (request->conf.valid_attachments, i, item) {
		const char *id = json_string_value(json_object_get(item, "containerID"));
		const char *ifname = json_string_value(json_object_get(item, "ifname"));

		if (id && ifname && strcmp(id, record->container_id) == 0 &&
		    strcmp(ifname, record->ifname) == 0)
			return true;
	}
	return false;
}

static int is_dead(const struct attachment *record, bool *ret_dead, struct err *err)
{
	struct site site;
	int r;

	r = site_open(&site, clock_boot_ms() + PROTO_WAIT_MS, err);
	site.record = record;
	if (r == 0)
		r = site_enter_recorded(&site, NULL, err);
	if (r == 0)
		r = site_leave(&site, err);
	if (r == 0)
		*ret_dead = site.pod_dead;
	site_close(&site);
	return r;
}

/* Under its lock, and with the record as it is now: the list may be old by the time. */
static int collect_locked(const struct gc *gc, struct client *client,
			  const struct attachment_key *key, struct err *err)
{
	struct attachment record = { 0 };
	const struct undo how = { .client = client,
				  .reason = "GC",
				  .deadline_ms = gc->deadline_ms };
	bool found, dead = false;
	int r;

	r = client_get(client, key, clock_boot_ms() + PROTO_WAIT_MS, &record, &found, err);
	if (r == 0 && found)
		r = is_dead(&record, &dead, err);
	if (r == 0 && dead)
		r = undo_attachment(&how, &record, err);
	attachment_free(&record);
	return r;
}

static void collect(struct gc *gc, const struct attachment *record)
{
	const struct attachment_key key = attachment_key(record);
	struct client client;
	struct err err;
	int r;

	if (strcmp(record->program, request_program(gc->request)) != 0 ||
	    is_valid(gc->request, record))
		return;
	r = client_open(&client, gc->request->conf.socket, &err);
	if (r == 0)
		r = collect_locked(gc, &client, &key, &err);
	client_close(&client);
	if (r < 0) {
		err_prefix(&err, "%s/%s", record->container_id, record->ifname);
		if (gc->failed++ == 0)
			gc->first = err;
		else
			log_error("%s", err.msg);
	}
}

static int collect_page(struct gc *gc, json_t *page, struct err *err)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(page, "attachments"), i, item) {
		struct attachment record = { 0 };
		int r = attachment_decode(item, &record, err);

		if (r < 0)
			return r;
		collect(gc, &record);
		attachment_free(&record);
	}
	return 0;
}

static int collect_all(struct gc *gc, struct client *client, struct err *err)
{
	json_int_t after = 0;

	do {
		CLEANUP_JSON json_t *page = NULL;
		json_t *params = json_pack("{s:s, s:I}", "network", gc->request->conf.network,
					   "after", after);
		int r = client_call(client, "attachment.list", params,
				    clock_boot_ms() + PROTO_WAIT_MS, &page, err);

		if (r == 0)
			r = collect_page(gc, page, err);
		if (r < 0)
			return r;
		after = json_integer_value(json_object_get(page, "next"));
	} while (after > 0);
	return 0;
}

static int collect_ours(const struct request *request, struct err *err)
{
	struct gc gc = { .request = request, .deadline_ms = clock_boot_ms() + PROTO_ADD_MS };
	struct client client;
	int r = client_open(&client, request->conf.socket, err);

	if (r == 0)
		r = collect_all(&gc, &client, err);
	client_close(&client);
	if (r == 0 && gc.failed > 0) {
		*err = gc.first;
		err_prefix(err, "%d not collected, the first", gc.failed);
		r = -err->errnum;
	}
	return r;
}

int cmd_gc(const struct request *request, struct err *err)
{
	struct err second;
	int r = 0, r2 = 0;

	if (!json_is_array(request->conf.valid_attachments))
		return 0;
	r = confine_lower(VERB_GC, err); /* each record may have an IPAM of its own */
	if (r < 0)
		return r;
	r = collect_ours(request, err);
	if (!request->ipam_only)
		r2 = ipam_forget(&request->conf, &request->env, "GC", NULL,
				 clock_boot_ms() + PROTO_ADD_MS, r < 0 ? &second : err);
	return r < 0 ? r : r2;
}
