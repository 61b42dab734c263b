/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "ipamd/listener.h"
#include "ipamd/proto/proto.h"
#include "ipamd/rpc.h"

enum {
	CONN_BUF = 4096,         /* most lines fit; a longer one makes it grow, for its time */
	SERVER_BACKLOG = 4096,   /* as many as the kernel gives: they wait while a disk stalls */
	SERVER_DOOR_MS = 20,     /* how often we look whether who waits at the door can come in */
	SERVER_ADMIT_MAX = 1024, /* a turn of the loop: a flood at the door is not all there is */
};

struct server {
	uv_pipe_t pipe; /* has the listener's socket; libuv would unlink its path unseen, so it did
			   not bind it */
	struct listener listener;
	uv_loop_t *loop;
	struct server_events events;
	struct conn *conns;
	int count; /* of those that have not ended */
	bool bound, deaf;
	bool knocking; /* somebody waits at the door: libuv holds the one, the backlog the others */
	int admitted;  /* since the loop has last turned */
	uv_timer_t door;
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

static void admit(struct server *server);

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
	conn_unref(conn);
	if (server->knocking)
		admit(server);
}

static void conn_end(struct conn *conn)
{
	if (conn->ended)
		return;
	conn->ended = true;
	conn->server->count--;
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

int conn_answer(struct conn *conn, char *line)
{
	int r;

	conn->in_hand--;
	conn->asking = false;
	if (conn->ended) {
		free(line);
		return -EPIPE;
	}
	conn->active_ms = clock_boot_ms();
	r = line ? conn_send(conn, line) : -ENOMEM;
	if (r < 0)
		conn_end(conn);
	else
		conn_read(conn);
	return r;
}

void conn_unanswered(struct conn *conn)
{
	conn->in_hand--;
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

static char *line_end(const struct conn *conn)
{
	return conn->len ? memchr(conn->buf, '\n', conn->len) : NULL;
}

static bool may_speak(const struct conn *conn)
{
	return !conn->ended && !conn->closing_after_write && conn->unsent == 0 && !conn->asking &&
	       conn->in_hand < SERVER_IN_HAND_MAX;
}

/* Hands on what is whole while it is the peer's turn; the rest moves to the front. */
static void conn_hand_on(struct conn *conn)
{
	struct server *server = conn->server;
	char *end;

	while (may_speak(conn) && (end = line_end(conn)) != NULL) {
		size_t len = (size_t)(end - conn->buf);

		*end = '\0';
		conn->in_hand++;
		conn->asking = server->events.line(server->events.arg, conn, conn->buf, len);
		conn->spoke = true;
		conn->line_ms = conn->active_ms = clock_boot_ms();
		conn->len -= len + 1;
		memmove(conn->buf, end + 1, conn->len);
	}
	if (conn->len == 0 && conn->size > CONN_BUF) { /* a long line was the exception */
		free(TAKE_PTR(conn->buf));
		conn->size = 0;
	}
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
	    !line_end(conn)) {
		(void)err_set(&err, EMSGSIZE, ERR_VALUE, "read a request: longer than %d bytes",
			      PROTO_LINE_MAX);
		conn_refuse(conn, RPC_INVALID, &err);
	}
}

/* Reads on if the peer takes its answers, and until its next line is there: so its end is seen. */
static void conn_read(struct conn *conn)
{
	bool want;

	conn_ref(conn);
	conn_hand_on(conn);
	want = !conn->ended && !conn->closing_after_write && !conn->server->deaf &&
	       conn->unsent == 0 && !line_end(conn);
	if (want && !conn->reading && uv_read_start((uv_stream_t *)&conn->pipe, on_alloc, on_read))
		conn_end(conn);
	if (!want && conn->reading && !conn->ended)
		(void)uv_read_stop((uv_stream_t *)&conn->pipe);
	conn->reading = want && !conn->ended;
	conn_unref(conn);
}

/* What the kernel knows of a peer that we have not been told: @events that are there now. */
static bool conn_has(const struct conn *conn, short events)
{
	struct pollfd look = { .events = events };

	return uv_fileno((const uv_handle_t *)&conn->pipe, &look.fd) == 0 &&
	       poll(&look, 1, 0) > 0 && (look.revents & events);
}

/* --- accepting --- */

/* Who is it? And one that has gone without a word takes nobody's place. */
static int check_peer(struct conn *conn)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char word;
	int fd;

	if (uv_fileno((uv_handle_t *)&conn->pipe, &fd) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -EACCES;
	conn->pid = peer.pid;
	if (peer.uid != 0)
		return -EACCES;
	return recv(fd, &word, 1, MSG_PEEK | MSG_DONTWAIT) == 0 ? -EPIPE : 0;
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

/* Has asked for nothing, holds nothing, and had time to speak: what it said meanwhile counts. */
static bool is_idle(const struct conn *conn, int64_t now_ms)
{
	return !conn->ended && !conn->holds && !conn->in_hand && conn->unsent == 0 &&
	       now_ms - conn->active_ms >= SERVER_GRACE_MS && !conn_has(conn, POLLIN);
}

/* Ends the one that has been idle longest; false: none is. */
static bool evict(struct server *server)
{
	int64_t now_ms = clock_boot_ms();
	struct conn *idlest = NULL;

	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		if ((!idlest || conn->active_ms <= idlest->active_ms) && is_idle(conn, now_ms))
			idlest = conn;
	}
	if (!idlest)
		return false;
	log_debug("process %d: idle, and another one wants its place", (int)idlest->pid);
	conn_end(idlest);
	return true;
}

static void on_door(uv_timer_t *door)
{
	struct server *server = door->data;

	server->admitted = 0;
	if (server->knocking)
		admit(server);
}

/* Lets in who is at the door, in the place of an idle one if need be; else it waits there. */
static void admit(struct server *server)
{
	bool enough = server->admitted >= SERVER_ADMIT_MAX;
	bool full = !enough && server->count >= SERVER_CONNS_MAX && !evict(server);
	struct conn *conn;

	server->knocking = enough || full;
	if (server->knocking || ++server->admitted == 1)
		(void)uv_timer_start(&server->door, on_door, full ? SERVER_DOOR_MS : 0, 0);
	if (server->knocking)
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
	if (uv_accept((uv_stream_t *)&server->pipe, (uv_stream_t *)&conn->pipe) < 0 ||
	    check_peer(conn) < 0)
		conn_end(conn);
	else
		conn_read(conn);
}

static void on_connection(uv_stream_t *stream, int status)
{
	if (status == 0)
		admit(stream->data);
}

static int listen_at(struct server *server, const char *path, struct err *err)
{
	int r;

	r = listener_open(path, SERVER_BACKLOG, &server->listener, err);
	if (r < 0)
		return r;
	server->bound = true;
	r = uv_pipe_open(&server->pipe, server->listener.fd);
	if (r < 0)
		(void)close(server->listener.fd);
	else
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
	(void)uv_timer_init(loop, &server->door);
	server->pipe.data = server->door.data = server;
	*ret_server = server; /* also of no use, its handle has to be closed */
	return listen_at(server, path, err);
}

static bool is_overdue(const struct conn *conn, int64_t now_ms)
{
	int64_t since_ms = conn->active_ms, patience_ms = SERVER_IDLE_MS;

	if (conn->unsent > 0)
		return now_ms - conn->unsent_ms > SERVER_LINE_MS;
	if (conn->in_hand)
		return false;
	if (!conn->spoke) {
		patience_ms = SERVER_FIRST_MS;
	} else if (conn->len > 0) {
		since_ms = conn->line_ms;
		patience_ms = SERVER_LINE_MS;
	} else if (conn->holds) {
		return false;
	}
	/* It may be we who were away, at a disk that stalled. */
	return now_ms - since_ms > patience_ms && !conn_has(conn, POLLIN);
}

void server_sweep(struct server *server)
{
	int64_t now_ms = clock_boot_ms();

	/* One that is ended stays in the list until the loop turns. */
	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		if (!conn->ended && is_overdue(conn, now_ms))
			conn_end(conn);
	}
}

void server_reap(struct server *server)
{
	struct conn *asking[SERVER_CONNS_MAX];
	struct pollfd looks[SERVER_CONNS_MAX];
	nfds_t count = 0;

	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		if (conn->ended || !conn->asking)
			continue;
		looks[count] = (struct pollfd) { .events = POLLRDHUP };
		if (uv_fileno((uv_handle_t *)&conn->pipe, &looks[count].fd) == 0)
			asking[count++] = conn;
	}
	if (poll(looks, count, 0) <= 0)
		return;
	for (nfds_t i = 0; i < count; i++) {
		if (looks[i].revents)
			conn_end(asking[i]);
	}
}

void server_deafen(struct server *server)
{
	server->deaf = true;
	server->knocking = false;
	if (!uv_is_closing((uv_handle_t *)&server->pipe)) {
		if (server->bound)
			listener_remove(&server->listener);
		uv_close((uv_handle_t *)&server->pipe, NULL);
		uv_close((uv_handle_t *)&server->door, NULL);
	}
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

bool server_is_there(const struct server *server)
{
	return listener_is_there(&server->listener);
}

int server_conns(const struct server *server)
{
	return server->count;
}
