/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cmd.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cni/undo.h"
#include "ipamd/client/client.h"

static int find_pool(struct client *client, const char *name, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	json_t *pool;
	size_t i;
	int r;

	r = client_call(client, "pool.list", json_object(), clock_boot_ms() + PROTO_WAIT_MS,
			&result, err);
	if (r < 0)
		return r;
	json_array_foreach (json_object_get(result, "pools"), i, pool) {
		const char *this = json_string_value(json_object_get(pool, "name"));

		if (this && strcmp(this, name) == 0)
			return 0;
	}
	return err_set(err, ENOENT, ERR_UNAVAILABLE, "pool %s: spur-ipamd does not have it", name);
}

static int ask_daemon(const struct request *request, struct err *err)
{
	struct client client;
	int r = client_open(&client, request->conf.socket, err);

	if (r == 0 && request->conf.pool)
		r = find_pool(&client, request->conf.pool, err);
	client_close(&client);
	return r;
}

int cmd_status(const struct request *request, struct err *err)
{
	int r = ask_daemon(request, err);

	if (r < 0) {
		err->code = ERR_UNAVAILABLE;
		return r;
	}
	if (request->ipam_only)
		return 0;
	return ipam_delegate(&request->conf, &request->env, "STATUS", NULL, -1,
			     clock_boot_ms() + PROTO_ADD_MS, NULL, err);
}
