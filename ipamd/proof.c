/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/proof.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ipamd/client/client.h"

/* Another process that answers there is not what the probe was asked about. */
static int check_listener(const struct client *client, const char *socket, struct err *err)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_sys(err, errno, ERR_INTERNAL, "see who listens at %s", socket);
	if (peer.pid != getpid())
		return err_set(err, EADDRINUSE, ERR_IO, "process %d listens at %s, not this daemon",
			       (int)peer.pid, socket);
	return 0;
}

int proof_ask(const char *socket, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	struct client client;
	int r;

	r = client_open(&client, socket, err);
	if (r == 0)
		r = check_listener(&client, socket, err);
	if (r == 0)
		r = client_call(&client, "node.status", json_object(), clock_boot_ms() + PROOF_MS,
				&result, err);
	client_close(&client);
	return r;
}
