/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/undo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hook.h"
#include "base/log.h"
#include "base/utf8.h"
#include "cni/apply.h"
#include "cni/confine.h"
#include "cni/delegate.h"
#include "cni/device.h"

/* Of the time that there is, what a foreign IPAM may not spend: it would be the release's. */
enum { RELEASE_MS = 5000 };

int ipam_delegate(const struct netconf *conf, const struct request_env *env, const char *command,
		  json_t *prev_result, int host_fd, int64_t deadline_ms, json_t **ret_answer,
		  struct err *err)
{
	CLEANUP_JSON json_t *netconf = NULL;
	struct delegation how = {
		.plugin = conf->ipam_type,
		.command = command,
		.env = env,
		.host_fd = host_fd,
		.deadline_ms = deadline_ms,
	};

	if (conf->ipam != IPAM_FOREIGN)
		return 0;
	netconf = json_copy(conf->json);
	if (!netconf || (prev_result && json_object_set(netconf, "prevResult", prev_result) < 0))
		return err_nomem(err);
	how.netconf = netconf;
	return delegate_run(&how, ret_answer, err);
}

int ipam_forget(const struct netconf *conf, const struct request_env *env, const char *command,
		json_t *prev_result, int64_t deadline_ms, struct err *err)
{
	int r = ipam_delegate(conf, env, command, prev_result, -1, deadline_ms, NULL, err);

	if (r != -ENOENT)
		return r;
	log_warn("%s: %s; what it keeps of the attachment stays in its books", command, err->msg);
	return 0;
}

int undo_spool(const struct request *request, struct err *err)
{
	const struct attachment_key key = request_key(request);
	CLEANUP_JSON json_t *env = request_env_encode(request);
	CLEANUP_JSON json_t *netconf = request_netconf(request);
	const char *path = json_string_value(json_object_get(env, "CNI_NETNS"));
	const struct netns_ref netns = { .path = (char *)path, .nsid = -1 };

	if (!env || !netconf)
		return err_nomem(err);
	return client_spool(request->conf.socket, &key, request_program(request), env, netconf,
			    &netns, err);
}

/*
 * Addresses are given back only when nobody uses them any more. A foreign IPAM that fails does not
 * keep the device from others: it is asked again at the next DEL.
 */
static int release(const struct undo *how, const struct recorded *recorded, const struct site *site,
		   const struct err *trouble, struct err *err)
{
	char reason[2 * ERR_MSG_MAX];
	struct release words = {
		.left = site->outcome.left,
		.restored = site->outcome.restored,
		.never_up = how->never_up,
		.used_above = site->used_above,
		.reason = reason,
	};
	struct err later, unreachable;
	int r = 0, r2;

	utf8_print(reason, sizeof(reason), "%s%s%s", how->reason, trouble ? ": " : "",
		   trouble ? trouble->msg : "");
	if (words.left)
		r = ipam_delegate(&recorded->conf, &recorded->env, "DEL", how->prev_result,
				  site->host_fd, how->deadline_ms - RELEASE_MS, NULL, err);
	(void)hook_step("release", 1);
	r2 = client_release(how->client, recorded->record, &words, how->deadline_ms,
			    r < 0 ? &later : err);
	if (client_is_lost(r2) &&
	    client_reopen(how->client, recorded->conf.socket, &unreachable) == 0)
		r2 = client_release(how->client, recorded->record, &words, how->deadline_ms,
				    r < 0 ? &later : err);
	return r < 0 ? r : r2;
}

int undo_add(const struct undo *how, const struct recorded *recorded, struct site *site,
	     const struct plan *plan, size_t count, struct err *err)
{
	struct err trouble;
	int r = 0;

	if (count == 0) /* nothing has been touched */
		site->outcome = (struct outcome) { true, true };
	else
		r = plan_revert(plan, count, site, &trouble);
	/* Had none of the steps to do with the device, it is where it was: that is to be told. */
	if (count > 0 && r == 0)
		r = device_return(site, &trouble);
	if (r < 0) {
		/* Something is left in the pod, or the device is: the record has to stay whole. */
		if (site->outcome.restored)
			site->outcome = (struct outcome) { false, false };
		log_warn("%s: %s", how->reason, trouble.msg);
	}
	return release(how, recorded, site, r < 0 ? &trouble : NULL, err);
}

static int undo_at(const struct undo *how, const struct recorded *recorded, struct site *site,
		   struct err *err)
{
	struct plan plan = { .count = 0 };
	int r;

	r = site_enter_recorded(site, how->netns, err);
	/* Another boot has nothing of this one; spur-ipam has touched nothing. */
	if (r == 0 && !site->other_boot && recorded->record->device.key[0])
		r = recorded_plan(recorded, site, &plan, err);
	if (r < 0)
		return r;
	return undo_add(how, recorded, site, &plan, plan.count, err);
}

int undo_attachment(const struct undo *how, const struct attachment *record, struct err *err)
{
	struct recorded recorded;
	struct site site;
	int r;

	r = recorded_read(record, &recorded, err);
	if (r == 0 && how->is_last)
		r = confine(VERB_DEL, &recorded.conf, err);
	if (r == 0) {
		r = site_open(&site, how->deadline_ms, err);
		site.record = record;
		site.conf = &recorded.conf;
		if (r == 0)
			r = undo_at(how, &recorded, &site, err);
		site_close(&site);
	}
	recorded_free(&recorded);
	return r;
}
