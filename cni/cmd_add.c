/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADD: the staircase of docs/architecture.md. Everything after the reservation is undone if
 * anything fails, up to and including the result that nobody reads.
 */
#include "cni/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hook.h"
#include "base/log.h"
#include "cni/apply.h"
#include "cni/confine.h"
#include "cni/devinfo.h"
#include "cni/plan.h"
#include "cni/recorded.h"
#include "cni/repeat.h"
#include "cni/reserve.h"
#include "cni/result.h"
#include "cni/settle.h"
#include "cni/site.h"
#include "cni/undo.h"
#include "cni/view.h"
#include "ipamd/client/client.h"

struct add {
	const struct request *request;
	struct client client;
	struct site site;
	struct attachment record;
	struct plan plan;
	size_t done; /* steps of the plan that may have left something */
	bool asked;  /* a foreign IPAM was called, whatever came of it */
	struct facts facts;
	json_t *dns; /* of a foreign IPAM, or NULL */
};

static int get_addresses(struct add *add, struct err *err)
{
	const struct request *request = add->request;
	CLEANUP_JSON json_t *answer = NULL;
	int r;

	add->facts.net = add->record.net;
	if (request->conf.ipam != IPAM_FOREIGN)
		return 0;
	r = ipam_delegate(&request->conf, &request->env, "ADD", NULL, add->site.host_fd,
			  add->site.deadline_ms, &answer, err);
	add->asked = r != -ENOENT;
	if (r == 0)
		r = result_read(answer, request->conf.ipam_type, &add->facts.net, err);
	if (r == 0)
		add->dns = json_incref(json_object_get(answer, "dns"));
	return r;
}

/* Routes as they are: with the table of `routing`, and the metric that was free. */
static void note_routes(struct add *add)
{
	for (size_t i = 0; i < add->facts.net.route_count; i++) {
		struct route *route = &add->facts.net.routes[i];

		route->priority = add->site.priorities[i];
		if (!route->table)
			route->table = add->plan.table;
	}
}

/* Whatever else is at its path is nobody's to replace: told before anything is changed. */
static int check_device_info(const struct add *add, struct err *err)
{
	const struct plan *plan = &add->plan;
	const struct step *last = plan->count > 0 ? &plan->steps[plan->count - 1] : NULL;

	return last && last->kind == STEP_DEVINFO ? devinfo_check(last->path, &add->record, err)
						  : 0;
}

static int configure_device(struct add *add, struct err *err)
{
	const struct request *request = add->request;
	struct ip_config net = add->facts.net;
	struct view view;
	int r;

	if (request->ipam_only)
		return 0;
	if (request->conf.rdma_only) /* whose GIDs are waited for; they are not ours to record */
		result_addresses(request->conf.prev_result, request->env.ifname, request->env.netns,
				 &net);
	r = view_read(&add->site, &view, err);
	if (r == 0)
		r = plan_make(&request->conf, &add->record, &net, &view, &add->plan, err);
	if (r == 0)
		r = check_device_info(add, err);
	if (r == 0)
		r = plan_apply(&add->plan, &add->site, &add->done, err);
	if (r < 0)
		return r;
	add->facts.ifindex = add->site.link.ifindex;
	add->facts.peer = add->site.link.peer;
	add->facts.mac = add->site.link.mac;
	add->facts.mtu = add->site.link.mtu;
	add->facts.table = add->plan.table;
	if (add->record.device.name[0])
		note_routes(add);
	add->facts.rdma.moved = add->site.rdma.moved;
	add->facts.rdma.index = add->site.rdma.index;
	add->facts.rdma.gid_index = add->site.rdma.gid_index;
	memcpy(add->facts.rdma.name, add->site.rdma.name, sizeof(add->facts.rdma.name));
	memcpy(add->facts.rdma.uverbs, add->site.rdma.uverbs, sizeof(add->facts.rdma.uverbs));
	return 0;
}

/*
 * The lock went with the connection, and is asked for again. A DEL may have come first: -ESTALE,
 * and this ADD has failed.
 */
static int lock_again(struct add *add, struct err *err)
{
	const struct attachment_key key = attachment_key(&add->record);
	struct attachment now = { 0 };
	bool found;
	int r = client_reopen(&add->client, add->request->conf.socket, err);

	if (r == 0)
		r = client_get(&add->client, &key, clock_boot_ms() + PROTO_WAIT_MS, &now, &found,
			       err);
	if (r == 0 &&
	    (!found || now.generation != add->record.generation || now.state == ATTACHMENT_DIRTY))
		r = err_set(err, ESTALE, ERR_AGAIN,
			    "finish %s: the reservation is gone, a DEL came first", key.ifname);
	attachment_free(&now);
	return r;
}

/* The daemon may have been restarted, or be away: then it finds it in the spool. */
static int tell_done(struct add *add, struct err *err)
{
	struct err why;
	int r = client_done(&add->client, &add->record, &add->facts, &why);

	if (r < 0) {
		r = lock_again(add, err);
		if (r == -ESTALE)
			return r;
		if (r == 0)
			r = client_done(&add->client, &add->record, &add->facts, &why);
	}
	if (r < 0)
		r = client_spool_done(add->request->conf.socket, &add->record, &add->facts, &why);
	if (r < 0)
		log_warn("%s; spur-ipamd will look at the attachment itself", why.msg);
	return 0;
}

static int tell_result(struct add *add, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	int r;

	r = result_build(add->request, &add->record, &add->facts, add->dns, &result, err);
	if (r < 0)
		return r;
	(void)hook_step("done", 1);
	r = tell_done(add, err);
	if (r < 0)
		return r;
	(void)hook_step("print", 1);
	return result_print(result, err);
}

/* Before its device is up no packet leaves the pod. Whom spur-ipam has told is not ours to know. */
static bool was_never_up(const struct add *add)
{
	for (size_t i = 0; i < add->done; i++) {
		if (add->plan.steps[i].kind == STEP_UP)
			return false;
	}
	return !add->request->ipam_only;
}

static void walk_back(struct add *add, struct err *cause)
{
	struct recorded recorded = { .record = &add->record, .env = add->request->env };
	char reason[ERR_MSG_MAX + 16];
	struct undo how = {
		.client = &add->client,
		.reason = reason,
		.never_up = was_never_up(add),
		.deadline_ms = clock_boot_ms() + PROTO_WAIT_MS,
	};
	struct err err;
	int r;

	(void)snprintf(reason, sizeof(reason), "ADD failed: %s", cause->msg);
	recorded.conf = add->request->conf;
	if (!add->asked)
		recorded.conf.ipam = IPAM_NONE;
	r = undo_add(&how, &recorded, &add->site, &add->plan, add->done, &err);
	if (client_is_lost(r) && undo_spool(add->request, &err) < 0)
		log_warn("%s", err.msg);
	if (r < 0 || !add->site.outcome.restored)
		err_details(cause, "not all could be undone; spur-ipamd goes on with it%s%.200s",
			    r < 0 ? ": " : "", r < 0 ? err.msg : "");
}

static int attach(struct add *add, struct err *err)
{
	int r = get_addresses(add, err);

	if (r == 0)
		r = configure_device(add, err);
	if (r == 0)
		r = tell_result(add, err);
	if (r < 0)
		walk_back(add, err);
	return r;
}

static int settle_unseen(struct add *add, struct err *err)
{
	struct recorded recorded;
	int r = recorded_read(&add->record, &recorded, err);

	if (r == 0)
		r = settle(&add->client, &recorded, &add->site, &add->record, err);
	recorded_free(&recorded);
	return r;
}

/* The runtime repeats itself: this very attachment stands. What is there is told again. */
static int repeat(struct add *add, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	int r = 0;

	if (settle_is_due(&add->record))
		r = settle_unseen(add, err);
	if (r == 0)
		r = repeat_look(add->request, &add->record, &add->site, &add->facts, err);
	if (r < 0) {
		err->code = ERR_DRIFT;
		err_prefix(err, "ADD of an attachment that stands, but not as asked");
		err_details(err, "DEL it first");
		return r;
	}
	r = result_build(add->request, &add->record, &add->facts, NULL, &result, err);
	return r < 0 ? r : result_print(result, err);
}

static int reserve_and_attach(struct add *add, struct err *err)
{
	const struct request *request = add->request;
	int r;

	r = confine(VERB_ADD, &request->conf, err);
	if (r == 0)
		r = client_open(&add->client, request->conf.socket, err);
	if (r == 0)
		r = site_enter(&add->site, request->env.netns, err);
	if (r == 0)
		r = reserve(&add->client, request, &add->site, &add->record, err);
	if (r < 0)
		return r;
	add->site.record = &add->record;
	add->site.conf = &request->conf;
	return add->record.state == ATTACHMENT_UNFINISHED ? attach(add, err) : repeat(add, err);
}

int cmd_add(const struct request *request, struct err *err)
{
	struct add add = {
		.request = request,
		.client = { .fd = -1 },
		.facts.rdma = { .index = -1, .gid_index = -1 },
	};
	int r;

	r = site_open(&add.site, clock_boot_ms() + PROTO_ADD_MS, err);
	if (r == 0)
		r = reserve_and_attach(&add, err);
	site_close(&add.site);
	client_close(&add.client);
	attachment_free(&add.record);
	json_decref(add.dns);
	return r;
}
