/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cmd.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "cni/confine.h"
#include "cni/undo.h"
#include "ipamd/client/client.h"

/* An answer is asked for also where no pool is to be found: one that hangs lets itself be connected
 * to. */
static int ask_daemon(const struct request *request, struct err *err)
{
	CLEANUP_JSON json_t *status = NULL;
	json_t *params = json_pack("{s:s*}", "pool", request->conf.pool);
	struct client client;
	int r = client_open(&client, request->conf.socket, err);

	if (r < 0)
		json_decref(params);
	else
		r = client_call(&client, "node.status", params, clock_boot_ms() + PROTO_WAIT_MS,
				&status, err);
	client_close(&client);
	return r;
}

int cmd_status(const struct request *request, struct err *err)
{
	int r = confine(VERB_STATUS, &request->conf, err);

	if (r == 0)
		r = ask_daemon(request, err);
	if (r < 0) {
		err->code = ERR_UNAVAILABLE;
		return r;
	}
	if (request->ipam_only)
		return 0;
	return ipam_delegate(&request->conf, &request->env, "STATUS", NULL, -1,
			     clock_boot_ms() + PROTO_ADD_MS, NULL, err);
}
