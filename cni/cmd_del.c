/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cmd.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cni/confine.h"
#include "cni/undo.h"
#include "ipamd/client/client.h"

/* No record, nothing of ours: but a foreign IPAM keeps its own books. */
static int del_unknown(const struct request *request, int64_t deadline_ms, struct err *err)
{
	int r = confine(VERB_DEL, &request->conf, err);

	if (r < 0 || request->ipam_only)
		return r;
	return ipam_forget(&request->conf, &request->env, "DEL", request->conf.prev_result,
			   deadline_ms, err);
}

static int del_with(struct client *client, const struct request *request, struct err *err)
{
	const struct attachment_key key = request_key(request);
	struct attachment record = { 0 };
	struct undo how = {
		.client = client,
		.netns = request->env.netns,
		.prev_result = request->conf.prev_result,
		.reason = "DEL",
		.is_last = true,
		.deadline_ms = clock_boot_ms() + PROTO_ADD_MS,
	};
	bool found;
	int r;

	r = client_get_to_undo(client, &key, how.reason, clock_boot_ms() + PROTO_WAIT_MS, &record,
			       &found, err);
	if (r == 0)
		r = found ? undo_attachment(&how, &record, err)
			  : del_unknown(request, how.deadline_ms, err);
	attachment_free(&record);
	return r;
}

int cmd_del(const struct request *request, struct err *err)
{
	const bool is_asked_again = getenv(PROTO_UNDO_ENV);
	struct client client;
	int r = confine_lower(VERB_DEL, err);

	if (r < 0)
		return r;
	r = client_open(&client, request->conf.socket, err);
	if (r < 0 && is_asked_again)
		return r;
	if (r < 0) {
		log_info("%s; left in the spool", err->msg);
		return undo_spool(request, err);
	}
	r = del_with(&client, request, err);
	client_close(&client);
	if (client_is_lost(r) && !is_asked_again)
		r = undo_spool(request, err);
	return r;
}
