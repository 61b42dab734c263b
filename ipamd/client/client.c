/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin's end of the socket: connect, one call at a time, typed verbs over it.
 *
 * A verb sends its deadline along and the daemon answers at that moment at the latest, with the
 * name of whoever holds the lock. So that this answer is still read, the verb itself listens
 * CLIENT_GRACE_MS longer.
 */
#include "ipamd/client/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

enum { CLIENT_GRACE_MS = 1000 };

static int lost(struct err *err, int errnum, const char *what)
{
	int r = err_sys(err, errnum, ERR_AGAIN, "%s spur-ipamd", what);

	err_details(err, "the node daemon has stopped or is stuck; try again");
	return r;
}

static int connect_within(int fd, const struct sockaddr_un *addr, int timeout_ms)
{
	struct timeval wait = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	/* A full backlog makes connect(2) of a unix socket wait as long as a send may. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return 0;
}

/* Of the socket that the daemon has without being told: what the node's root made for it. */
static bool is_owner(const char *path, uid_t uid)
{
	struct stat st;

	return strcmp(path, PROTO_SOCKET) == 0 && stat(PROTO_DIRECTORY, &st) == 0 &&
	       st.st_uid == uid;
}

/* An answer changes devices: it is root's, ours, or the daemon's own. */
static int check_peer(int fd, const char *path, struct err *err)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_sys(err, errno, ERR_INTERNAL, "see who listens at %s", path);
	if (peer.uid == 0 || peer.uid == geteuid() || is_owner(path, peer.uid))
		return 0;
	err_set(err, EPERM, ERR_IO, "connect to spur-ipamd at %s: uid %u listens there, not root",
		path, peer.uid);
	err_details(err, "nothing was asked; name the daemon's own socket");
	return -EPERM;
}

int client_open(struct client *client, const char *path, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	CLEANUP_CLOSE int fd = -1;
	int r;

	*client = (struct client) { .fd = -1 };
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, ENAMETOOLONG, ERR_VALUE, "connect to %s: path too long", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, errno, ERR_INTERNAL, "open a unix socket");
	r = connect_within(fd, &addr, PROTO_CONNECT_MS);
	if (r < 0) {
		r = err_sys(err, -r, ERR_AGAIN, "connect to spur-ipamd at %s", path);
		err_details(err, "is spur-ipamd running on this node?");
		return r;
	}
	r = check_peer(fd, path, err);
	if (r < 0)
		return r;
	client->fd = TAKE_FD(fd);
	return 0;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		(void)close(client->fd);
	free(client->buf);
	*client = (struct client) { .fd = -1 };
}

bool client_is_lost(int r)
{
	return r == -EPIPE || r == -ETIMEDOUT || r == -ECONNRESET;
}

int client_reopen(struct client *client, const char *path, struct err *err)
{
	client_close(client);
	return client_open(client, path, err);
}

/* Waits until @fd can be read or written; 0, or -ETIMEDOUT past @deadline_ms. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int n;

	do {
		n = poll(&pfd, 1, clock_left_ms(deadline_ms));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

static int send_all(int fd, const char *data, size_t len, int64_t deadline_ms)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (n < 0 && errno == EAGAIN) {
			r = wait_for(fd, POLLOUT, deadline_ms);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Sends {"jsonrpc", "method", "params"} and @id unless it is 0. Steals @params. */
static int send_message(struct client *client, int64_t id, const char *method, json_t *params,
			int64_t deadline_ms, struct err *err)
{
	CLEANUP_JSON json_t *message = NULL;
	CLEANUP_FREE char *line = NULL;
	size_t len;
	int r;

	message =
		json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params);
	if (message && id && json_object_set_new(message, "id", json_integer(id)) < 0)
		return err_nomem(err);
	line = message ? json_line(message) : NULL;
	if (!line)
		return err_nomem(err);
	len = strlen(line);
	if (len >= PROTO_LINE_MAX)
		return err_set(err, E2BIG, ERR_VALUE,
			       "send %s: the request has %zu bytes, more than %d", method, len,
			       PROTO_LINE_MAX - 1);
	line[len] = '\n'; /* in place of its NUL */
	r = send_all(client->fd, line, len + 1, deadline_ms);
	return r < 0 ? lost(err, r == -ECONNRESET ? EPIPE : -r, "send to") : 0;
}

/* Reads on until the buffer holds a line; returns its length without the newline. */
static ssize_t read_line(struct client *client, int64_t deadline_ms)
{
	if (!client->buf)
		client->buf = malloc(PROTO_LINE_MAX);
	if (!client->buf)
		return -ENOMEM;
	for (;;) {
		const char *end = memchr(client->buf, '\n', client->len);
		ssize_t n;
		int r;

		if (end)
			return end - client->buf;
		if (client->len == PROTO_LINE_MAX)
			return -EMSGSIZE;
		r = wait_for(client->fd, POLLIN, deadline_ms);
		if (r < 0)
			return r;
		n = recv(client->fd, client->buf + client->len, PROTO_LINE_MAX - client->len,
			 MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return -EPIPE;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		client->len += n > 0 ? (size_t)n : 0;
	}
}

static int read_answer(struct client *client, int64_t deadline_ms, json_t **ret_answer,
		       struct err *err)
{
	ssize_t len = read_line(client, deadline_ms);
	int r;

	if (len < 0)
		return lost(err, (int)-len, "read the answer of");
	r = json_parse(client->buf, (size_t)len, ret_answer, err);
	client->len -= (size_t)len + 1;
	memmove(client->buf, client->buf + len + 1, client->len);
	if (r < 0)
		err_prefix(err, "read the answer of spur-ipamd");
	return r;
}

int client_call(struct client *client, const char *method, json_t *params, int64_t deadline_ms,
		json_t **ret_result, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	int64_t id = ++client->next_id;
	json_t *id_json, *error, *result;
	int r;

	r = send_message(client, id, method, params, deadline_ms, err);
	if (r < 0)
		return r;
	r = read_answer(client, deadline_ms, &answer, err);
	if (r < 0)
		return r;
	/* An error without id concerns the connection: too many of them, a line it cannot read. */
	id_json = json_object_get(answer, "id");
	error = json_object_get(answer, "error");
	result = json_object_get(answer, "result");
	if (json_integer_value(id_json) != id && !(error && json_is_null(id_json)))
		return err_set(err, EPROTO, ERR_INTERNAL, "%s: the answer is to another request",
			       method);
	if (error)
		return error_decode(error, err);
	if (!result)
		return err_set(err, EPROTO, ERR_INTERNAL, "%s: the answer has no result", method);
	*ret_result = json_incref(result);
	return 0;
}

int client_notify(struct client *client, const char *method, json_t *params, struct err *err)
{
	return send_message(client, 0, method, params, clock_boot_ms() + PROTO_CONNECT_MS, err);
}

int client_reserve(struct client *client, const struct reserve_request *request,
		   struct attachment *ret_attachment, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	int r;

	r = client_call(client, "attachment.reserve", reserve_encode(request),
			request->deadline_ms + CLIENT_GRACE_MS, &result, err);
	if (r < 0)
		return r;
	return attachment_decode(result, ret_attachment, err);
}

/* The key's members, with more added to them. */
static json_t *key_with(const struct attachment_key *key, json_t *more)
{
	CLEANUP_JSON json_t *params = key_encode(key);
	int r = params && more ? json_object_update(params, more) : -1;

	json_decref(more);
	return r < 0 ? NULL : TAKE_PTR(params);
}

static json_t *done_params(const struct attachment *a, const struct facts *facts)
{
	struct attachment_key key = attachment_key(a);

	return key_with(&key, json_pack("{s:I, s:o}", "generation", (json_int_t)a->generation,
					"facts", facts_encode(facts)));
}

int client_done(struct client *client, const struct attachment *a, const struct facts *facts,
		struct err *err)
{
	return client_notify(client, "attachment.done", done_params(a, facts), err);
}

int client_settle(struct client *client, const struct attachment *a, const struct facts *facts,
		  int64_t deadline_ms, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;

	return client_call(client, "attachment.done", done_params(a, facts),
			   deadline_ms + CLIENT_GRACE_MS, &result, err);
}

/* Steals @more. */
static int get_with(struct client *client, const struct attachment_key *key, json_t *more,
		    int64_t deadline_ms, struct attachment *ret_attachment, bool *ret_found,
		    struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	json_t *record;
	int r;

	r = client_call(client, "attachment.get", key_with(key, more),
			deadline_ms + CLIENT_GRACE_MS, &result, err);
	if (r < 0)
		return r;
	record = json_object_get(result, "attachment");
	if (!record)
		return err_set(err, EPROTO, ERR_INTERNAL,
			       "attachment.get: the answer has no attachment");
	if (!json_is_null(record)) {
		r = attachment_decode(record, ret_attachment, err);
		if (r < 0)
			return r;
		ret_attachment->netns.lost = json_is_true(json_object_get(result, "lost"));
	}
	*ret_found = !json_is_null(record);
	return 0;
}

int client_get(struct client *client, const struct attachment_key *key, int64_t deadline_ms,
	       struct attachment *ret_attachment, bool *ret_found, struct err *err)
{
	json_t *more = json_pack("{s:I}", "deadline", (json_int_t)deadline_ms);

	return get_with(client, key, more, deadline_ms, ret_attachment, ret_found, err);
}

int client_get_to_undo(struct client *client, const struct attachment_key *key, const char *reason,
		       int64_t deadline_ms, struct attachment *ret_attachment, bool *ret_found,
		       struct err *err)
{
	json_t *more =
		json_pack("{s:I, s:s}", "deadline", (json_int_t)deadline_ms, "release", reason);

	return get_with(client, key, more, deadline_ms, ret_attachment, ret_found, err);
}

int client_find_device(struct client *client, const char *device, int64_t deadline_ms,
		       struct attachment *ret_attachment, bool *ret_found, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	json_t *record;
	int r;

	r = client_call(client, "attachment.list", json_pack("{s:s}", "device", device),
			deadline_ms, &result, err);
	if (r < 0)
		return r;
	record = json_array_get(json_object_get(result, "attachments"), 0);
	*ret_found = record;
	return record ? attachment_decode(record, ret_attachment, err) : 0;
}

int client_release(struct client *client, const struct attachment *a, const struct release *how,
		   int64_t deadline_ms, struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	struct attachment_key key = attachment_key(a);
	json_t *more = json_pack(
		"{s:I, s:b, s:b, s:b, s:b, s:s, s:I}", "generation", (json_int_t)a->generation,
		"left", how->left, "restored", how->restored, "neverUp", how->never_up, "usedAbove",
		how->used_above, "reason", how->reason, "deadline", (json_int_t)deadline_ms);

	return client_call(client, "attachment.release", key_with(&key, more),
			   deadline_ms + CLIENT_GRACE_MS, &result, err);
}
