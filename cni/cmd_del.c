/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cmd.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cni/undo.h"
#include "ipamd/client/client.h"

/* Without the daemon nothing may be touched: another may own the device by now. It is written down.
 */
static int spool(const struct request *request, struct err *err)
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

/* No record, nothing of ours: but a foreign IPAM keeps its own books. */
static int del_unknown(const struct request *request, int64_t deadline_ms, struct err *err)
{
	if (request->ipam_only)
		return 0;
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

/* The daemon's own refusals are answers; anything else is a daemon that is not there. */
static bool daemon_is_lost(int r)
{
	return r == -EPIPE || r == -ETIMEDOUT || r == -ECONNRESET;
}

int cmd_del(const struct request *request, struct err *err)
{
	struct client client;
	int r = client_open(&client, request->conf.socket, err);

	if (r < 0) {
		log_info("%s; left in the spool", err->msg);
		return spool(request, err);
	}
	r = del_with(&client, request, err);
	client_close(&client);
	if (daemon_is_lost(r))
		r = spool(request, err);
	return r;
}
