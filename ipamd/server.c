/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "ipamd/proto/proto.h"
#include "ipamd/rpc.h"

enum { CONN_BUF = 4096 /* most lines fit; a longer one makes it grow */, SERVER_BACKLOG = 512 };

struct server {
	uv_pipe_t pipe;
	uv_loop_t *loop;
	struct server_events events;
	struct conn *conns;
	int count;
	bool deaf;
	uv_pipe_t doorman; /* takes and drops those for whom there is no memory */
	bool doorman_busy;
};

struct conn *conn_ref(struct conn *conn)
{
	conn->refs++;
	return conn;
}

void conn_unref(struct conn *conn)
{
	if (--conn->refs > 0)
		return;
	free(conn->buf);
	free(conn);
}

static void on_conn_closed(uv_handle_t *handle)
{
	struct conn *conn = handle->data;
	struct server *server = conn->server;

	if (conn->prev)
		conn->prev->next = conn->next;
	else
		server->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	server->count--;
	conn_unref(conn);
}

static void conn_end(struct conn *conn)
{
	if (conn->ended)
		return;
	conn->ended = true;
	conn->server->events.end(conn->server->events.arg, conn);
	uv_close((uv_handle_t *)&conn->pipe, on_conn_closed);
}

/* --- writing --- */

struct unsent {
	uv_write_t write;
	struct conn *conn;
	char *line;
	size_t len;
};

static void conn_read(struct conn *conn);

static void on_written(uv_write_t *write, int status)
{
	struct unsent *unsent = write->data;
	struct conn *conn = unsent->conn;

	conn->unsent -= unsent->len;
	conn->unsent_ms = clock_boot_ms();
	free(unsent->line);
	free(unsent);
	if (!conn->ended) {
		if (status < 0 || (conn->closing_after_write && conn->unsent == 0))
			conn_end(conn);
		else
			conn_read(conn);
	}
	conn_unref(conn);
}

/* What the socket did not take at once waits in a buffer of its own. Takes @line. */
static int send_later(struct conn *conn, char *line, size_t sent)
{
	struct unsent *unsent = calloc(1, sizeof(*unsent));
	uv_buf_t buf;
	int r;

	if (!unsent) {
		free(line);
		return -ENOMEM;
	}
	unsent->line = line;
	unsent->len = strlen(line) - sent;
	unsent->write.data = unsent;
	unsent->conn = conn_ref(conn);
	buf = uv_buf_init(line + sent, (unsigned int)unsent->len);
	r = uv_write(&unsent->write, (uv_stream_t *)&conn->pipe, &buf, 1, on_written);
	if (r < 0) {
		conn_unref(conn);
		free(unsent->line);
		free(unsent);
		return r;
	}
	if (conn->unsent == 0)
		conn->unsent_ms = clock_boot_ms();
	conn->unsent += unsent->len;
	return 0;
}

/* Takes @line. */
static int conn_send(struct conn *conn, char *line)
{
	size_t len = strlen(line);
	uv_buf_t buf = uv_buf_init(line, (unsigned int)len);
	int n = 0;

	if (conn->unsent == 0)
		n = uv_try_write((uv_stream_t *)&conn->pipe, &buf, 1);
	if (n == UV_EAGAIN)
		n = 0;
	if (n < 0 || (size_t)n == len) {
		free(line);
		return n < 0 ? n : 0;
	}
	return send_later(conn, line, (size_t)n);
}

void conn_answer(struct conn *conn, char *line)
{
	conn->unanswered--;
	if (conn->ended) {
		free(line);
		return;
	}
	conn->active_ms = clock_boot_ms();
	if (!line || conn_send(conn, line) < 0)
		conn_end(conn);
	else
		conn_read(conn);
}

void conn_unanswered(struct conn *conn)
{
	conn->unanswered--;
	if (!conn->ended)
		conn_read(conn);
}

void conn_dismiss(struct conn *conn, char *line)
{
	if (conn->ended) {
		free(line);
		return;
	}
	conn->closing_after_write = true;
	if (conn->reading)
		(void)uv_read_stop((uv_stream_t *)&conn->pipe);
	conn->reading = false;
	if (!line || conn_send(conn, line) < 0 || conn->unsent == 0)
		conn_end(conn);
}

static void conn_refuse(struct conn *conn, int code, const struct err *err)
{
	conn_dismiss(conn, rpc_error(NULL, code, err));
}

/* --- reading --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct conn *conn = handle->data;

	(void)suggested;
	if (conn->len == conn->size) {
		size_t size = conn->size ? conn->size * 2 : CONN_BUF;
		char *more = realloc(conn->buf, size);

		if (!more) {
			*buf = uv_buf_init(NULL, 0); /* on_read() gets UV_ENOBUFS */
			return;
		}
		conn->buf = more;
		conn->size = size;
	}
	*buf = uv_buf_init(conn->buf + conn->len, (unsigned int)(conn->size - conn->len));
}

/* Hands on every line that is whole; the rest moves to the front. */
static void conn_split(struct conn *conn)
{
	char *line = conn->buf, *end;

	if (!line)
		return; /* nothing has come yet */
	while (!conn->ended && !conn->closing_after_write && conn->unsent == 0 &&
	       conn->unanswered < SERVER_UNANSWERED_MAX &&
	       (end = memchr(line, '\n', conn->len)) != NULL) {
		size_t len = (size_t)(end - line);

		conn->unanswered++;
		*end = '\0';
		conn->server->events.line(conn->server->events.arg, conn, line, len);
		line = end + 1;
		conn->len -= len + 1;
		conn->line_ms = conn->active_ms = clock_boot_ms();
	}
	memmove(conn->buf, line, conn->len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *conn = stream->data;
	struct err err;

	(void)buf;
	if (n < 0) {
		conn_end(conn);
		return;
	}
	if (conn->len == 0)
		conn->line_ms = clock_boot_ms();
	conn->len += (size_t)n;
	conn_read(conn);
	if (!conn->ended && !conn->closing_after_write && conn->len >= PROTO_LINE_MAX &&
	    conn->unanswered < SERVER_UNANSWERED_MAX) {
		(void)err_set(&err, EMSGSIZE, ERR_VALUE, "read a request: longer than %d bytes",
			      PROTO_LINE_MAX);
		conn_refuse(conn, RPC_INVALID, &err);
	}
}

/* Goes through what is there and reads on only if the peer takes its answers. */
static void conn_read(struct conn *conn)
{
	bool want;

	conn_ref(conn);
	conn_split(conn);
	want = !conn->ended && !conn->closing_after_write && !conn->server->deaf &&
	       conn->unsent == 0 && conn->unanswered < SERVER_UNANSWERED_MAX;
	if (want && !conn->reading && uv_read_start((uv_stream_t *)&conn->pipe, on_alloc, on_read))
		conn_end(conn);
	if (!want && conn->reading && !conn->ended)
		(void)uv_read_stop((uv_stream_t *)&conn->pipe);
	conn->reading = want && !conn->ended;
	conn_unref(conn);
}

/* --- accepting --- */

static int check_peer(struct conn *conn)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd;

	if (uv_fileno((uv_handle_t *)&conn->pipe, &fd) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -EACCES;
	conn->pid = peer.pid;
	return peer.uid == 0 ? 0 : -EACCES;
}

static void turn_away(struct server *server);

static void on_nobody(uv_handle_t *handle)
{
	struct server *server = handle->data;

	server->doorman_busy = false;
}

/* Meanwhile another one may have come to the door. */
static void on_turned_away(uv_handle_t *handle)
{
	struct server *server = handle->data;

	server->doorman_busy = false;
	if (!server->deaf)
		turn_away(server);
}

/* A connection that is not accepted would be the last one that we hear of. */
static void turn_away(struct server *server)
{
	if (server->doorman_busy)
		return;
	(void)uv_pipe_init(server->loop, &server->doorman, 0);
	server->doorman.data = server;
	server->doorman_busy = true;
	if (uv_accept((uv_stream_t *)&server->pipe, (uv_stream_t *)&server->doorman) < 0) {
		uv_close((uv_handle_t *)&server->doorman, on_nobody);
		return;
	}
	log_error("out of memory: a connection is turned away");
	uv_close((uv_handle_t *)&server->doorman, on_turned_away);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct server *server = stream->data;
	struct conn *conn;
	struct err err;

	if (status < 0)
		return;
	conn = calloc(1, sizeof(*conn));
	if (!conn) {
		turn_away(server);
		return;
	}
	*conn = (struct conn) { .server = server, .refs = 1, .active_ms = clock_boot_ms() };
	(void)uv_pipe_init(server->loop, &conn->pipe, 0);
	conn->pipe.data = conn;
	conn->next = server->conns;
	if (conn->next)
		conn->next->prev = conn;
	server->conns = conn;
	server->count++;
	if (uv_accept(stream, (uv_stream_t *)&conn->pipe) < 0 || check_peer(conn) < 0) {
		conn_end(conn);
	} else if (server->count > SERVER_CONNS_MAX) {
		(void)err_set(&err, EMFILE, ERR_AGAIN, "connect: more than %d connections",
			      SERVER_CONNS_MAX);
		conn_refuse(conn, RPC_FAILED, &err);
	} else {
		conn_read(conn);
	}
}

static int listen_at(struct server *server, const char *path, struct err *err)
{
	int r;

	/* The store's lock says that there is no other daemon: what is there is a leftover. */
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, errno, ERR_IO, "remove the old socket %s", path);
	r = uv_pipe_bind(&server->pipe, path);
	if (r == 0 && chmod(path, 0600) < 0)
		r = -errno;
	if (r == 0)
		r = uv_listen((uv_stream_t *)&server->pipe, SERVER_BACKLOG, on_connection);
	return r < 0 ? err_sys(err, -r, ERR_IO, "listen at %s", path) : 0;
}

int server_open(uv_loop_t *loop, const char *path, const struct server_events *events,
		struct server **ret_server, struct err *err)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return err_nomem(err);
	*server = (struct server) { .loop = loop, .events = *events };
	(void)uv_pipe_init(loop, &server->pipe, 0);
	server->pipe.data = server;
	*ret_server = server; /* also of no use, its handle has to be closed */
	return listen_at(server, path, err);
}

static bool is_overdue(const struct conn *conn, int64_t now_ms)
{
	if (conn->unsent > 0)
		return now_ms - conn->unsent_ms > SERVER_LINE_MS;
	if (conn->len > 0 && conn->unanswered == 0)
		return now_ms - conn->line_ms > SERVER_LINE_MS;
	return !conn->holds && conn->unanswered == 0 && now_ms - conn->active_ms > SERVER_IDLE_MS;
}

void server_sweep(struct server *server)
{
	int64_t now_ms = clock_boot_ms();
	struct conn *next;

	for (struct conn *conn = server->conns; conn; conn = next) {
		next = conn->next; /* ending one leaves it in the list until the loop turns */
		if (!conn->ended && is_overdue(conn, now_ms))
			conn_end(conn);
	}
}

void server_deafen(struct server *server)
{
	server->deaf = true;
	if (!uv_is_closing((uv_handle_t *)&server->pipe))
		uv_close((uv_handle_t *)&server->pipe, NULL);
	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		if (!conn->ended && conn->reading)
			(void)uv_read_stop((uv_stream_t *)&conn->pipe);
		conn->reading = false;
	}
}

bool server_is_drained(const struct server *server)
{
	for (const struct conn *conn = server->conns; conn; conn = conn->next) {
		if (!conn->ended && conn->unsent > 0)
			return false;
	}
	return true;
}

void server_close(struct server *server)
{
	if (!server)
		return;
	server_deafen(server);
	for (struct conn *conn = server->conns; conn; conn = conn->next)
		conn_end(conn);
}

void server_free(struct server *server)
{
	free(server);
}

int server_conns(const struct server *server)
{
	return server->count;
}
