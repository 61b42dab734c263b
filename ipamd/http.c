/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/http.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/clock.h"
#include "ipamd/config.h"
#include "ipamd/http_caller.h"
#include "ipamd/http_host.h"
#include "ipamd/proof.h"

struct http {
	struct http_words words;
	struct MHD_Daemon *server;
	int wake_fd; /* an eventfd: the server's thread has something to do that no caller tells */
	pthread_t server_thread, proof_thread;
	bool has_server_thread, has_proof_thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t work;  /* somebody waits for a proof, or the proof's thread is to end */
	bool server_stops, proof_stops;
	struct callers callers;
	char *text;
	char unready[CALLER_WHY_MAX], unwell[CALLER_WHY_MAX];
	char proven[CALLER_WHY_MAX]; /* what the last proof said, "" = ready */
	int64_t published_ms;
};

/* --- answers --- */

/* Takes @body. */
static enum MHD_Result respond(struct MHD_Connection *connection, unsigned int code, char *body)
{
	struct MHD_Response *response;
	enum MHD_Result result = MHD_NO;

	response = MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(body);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				    "text/plain; version=0.0.4; charset=utf-8") == MHD_YES &&
	    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES)
		result = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned int code,
				    const char *text)
{
	char *body = strdup(text);

	return body ? respond(connection, code, body) : MHD_NO;
}

/* @why: "" = none. */
static enum MHD_Result answer_probe(struct MHD_Connection *connection, const char *not_this,
				    const char *why)
{
	char body[CALLER_WHY_MAX + 16];

	if (!why[0])
		return respond_text(connection, MHD_HTTP_OK, "ok\n");
	(void)snprintf(body, sizeof(body), "%s: %s\n", not_this, why);
	return respond_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, body);
}

/*
 * Under the lock. Waits for a proof that begins now; where too many wait already, or none will
 * begin, the last one has to do, which is as old as one takes.
 */
static void ask_for_proof(struct http *http, struct MHD_Connection *connection,
			  struct caller *caller)
{
	size_t waiting = callers_count(&http->callers, CALLER_WAITS) +
			 callers_count(&http->callers, CALLER_ASKED);

	if (http->proof_stops || waiting >= CALLERS_PROOFS) {
		memcpy(caller->why, http->proven, sizeof(caller->why));
		return;
	}
	caller_move(caller, CALLER_WAITS, clock_boot_ms());
	MHD_suspend_connection(connection);
	(void)pthread_cond_signal(&http->work);
}

/* With @caller->why known: false if that is still to be found out. */
static bool is_ready_known(struct http *http, struct MHD_Connection *connection,
			   struct caller *caller, const char *unready)
{
	if (caller->stage == CALLER_ANSWER) /* it has waited */
		return true;
	(void)snprintf(caller->why, sizeof(caller->why), "%s", unready);
	if (!unready[0])
		ask_for_proof(http, connection, caller);
	return caller->stage != CALLER_WAITS;
}

/* What the loop has published; each member as answer_probe() takes it. */
struct published {
	char *text; /* NULL: none yet; the holder frees it */
	char unready[CALLER_WHY_MAX], unwell[CALLER_WHY_MAX];
};

/* Under the lock. */
static void take_published(const struct http *http, struct published *ret)
{
	memcpy(ret->unready, http->unready, sizeof(ret->unready));
	memcpy(ret->unwell, http->unwell, sizeof(ret->unwell));
	if (clock_boot_ms() - http->published_ms >= HTTP_STUCK_MS) {
		(void)snprintf(ret->unready, sizeof(ret->unready), "the daemon is stuck");
		(void)snprintf(ret->unwell, sizeof(ret->unwell), "stuck");
	}
	ret->text = http->text ? strdup(http->text) : NULL;
}

static enum MHD_Result answer_page(struct http *http, struct MHD_Connection *connection,
				   struct caller *caller, const char *url)
{
	const bool ready = strcmp(url, "/readyz") == 0;
	struct published published;
	char why[CALLER_WHY_MAX];
	bool known = true;

	(void)pthread_mutex_lock(&http->lock);
	take_published(http, &published);
	if (ready)
		known = is_ready_known(http, connection, caller, published.unready);
	if (known)
		caller_move(caller, CALLER_ANSWER, clock_boot_ms());
	memcpy(why, caller->why, sizeof(why));
	(void)pthread_mutex_unlock(&http->lock);

	if (strcmp(url, "/metrics") == 0 && published.text)
		return respond(connection, MHD_HTTP_OK, published.text);
	free(published.text);
	if (!known)
		return MHD_YES;
	if (ready)
		return answer_probe(connection, "not ready", why);
	if (strcmp(url, "/healthz") == 0)
		return answer_probe(connection, "not well", published.unwell);
	return respond_text(connection, MHD_HTTP_NOT_FOUND, "/metrics /healthz /readyz\n");
}

static struct caller *caller_of(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
		->socket_context;
}

/* HTTP/1.0 knows no Host, and no browser speaks it. */
static bool is_for_us(const struct http *http, struct MHD_Connection *connection)
{
	const char *host =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);

	return !host || http_host_is_ours(host, http->words.node, http->words.hosts);
}

/* Called again for the same request when a connection that waited is resumed. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct http *http = arg;

	(void)version;
	(void)data;
	(void)state;
	if (*size > 0) { /* a body that nobody wants: read it to its end */
		*size = 0;
		return MHD_YES;
	}
	if (!is_for_us(http, connection))
		return respond_text(connection, MHD_HTTP_MISDIRECTED_REQUEST,
				    "Host: neither an IP address, localhost, the node's name nor "
				    "one of \"httpHosts\"\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
		return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
	return answer_page(http, connection, caller_of(connection), url);
}

/* --- callers --- */

/* Under the lock. The server sees that the peer is gone, and closes the connection. */
static void hang_up_on_slow(struct http *http)
{
	const int64_t now_ms = clock_boot_ms();
	struct caller *caller;

	while ((caller = callers_slowest(&http->callers, HTTP_PATIENCE_MS, now_ms)) != NULL) {
		(void)shutdown(caller->fd, SHUT_RDWR);
		caller_move(caller, CALLER_ENDED, now_ms);
	}
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http *http = arg;
	int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	(void)pthread_mutex_lock(&http->lock);
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = caller_enter(&http->callers, connection, fd, clock_boot_ms());
	} else {
		caller_move(*context, CALLER_NONE, 0);
	}
	(void)pthread_mutex_unlock(&http->lock);
}

/* --- the server's thread --- */

/* Until the server has something to do by itself, or somebody has been slow for too long. Not at
 * all in a crowd: while no place is free, no event tells who waits for one. */
static int wait_ms(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG own_ms;
	int64_t left_ms;

	(void)pthread_mutex_lock(&http->lock);
	left_ms = callers_slowest(&http->callers, HTTP_PATIENCE_MS, clock_boot_ms())
			  ? 0
			  : callers_left_ms(&http->callers, HTTP_PATIENCE_MS, clock_boot_ms());
	(void)pthread_mutex_unlock(&http->lock);
	if (MHD_get_timeout(http->server, &own_ms) != MHD_YES)
		return (int)left_ms;
	return left_ms >= 0 && left_ms < (int64_t)own_ms ? (int)left_ms : (int)own_ms;
}

/* Behind each turn of the server. False: it is to end. */
static bool keep_order(struct http *http)
{
	bool stops;

	(void)pthread_mutex_lock(&http->lock);
	hang_up_on_slow(http);
	callers_look(&http->callers);
	stops = http->server_stops;
	(void)pthread_mutex_unlock(&http->lock);
	return !stops;
}

/* That a connection was resumed does not wake who waits for the server's epoll. */
static void *serve(void *arg)
{
	struct http *http = arg;
	struct pollfd watched[] = {
		{ .fd = http->wake_fd, .events = POLLIN },
		{ .fd = MHD_get_daemon_info(http->server, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
		  .events = POLLIN },
	};
	eventfd_t unused;

	do {
		(void)poll(watched, 2, wait_ms(http));
		if (watched[0].revents & POLLIN)
			(void)eventfd_read(http->wake_fd, &unused);
		(void)MHD_run(http->server);
	} while (keep_order(http));
	return NULL;
}

/* --- the proof's thread --- */

/*
 * All that waited get one answer. They are resumed outside the lock: that takes one of the
 * server's, under which the server may be calling us.
 */
static void answer_asked(struct http *http, const char *why)
{
	struct MHD_Connection *asked[CALLERS_MAX];
	size_t count = 0;

	(void)pthread_mutex_lock(&http->lock);
	for (size_t i = 0; i < CALLERS_MAX; i++) {
		struct caller *caller = &http->callers.places[i];

		if (caller->stage != CALLER_ASKED)
			continue;
		(void)snprintf(caller->why, sizeof(caller->why), "%s", why);
		caller_move(caller, CALLER_ANSWER, clock_boot_ms());
		asked[count++] = caller->connection;
	}
	(void)snprintf(http->proven, sizeof(http->proven), "%s", why);
	(void)pthread_mutex_unlock(&http->lock);
	for (size_t i = 0; i < count; i++)
		MHD_resume_connection(asked[i]);
	(void)eventfd_write(http->wake_fd, 1);
}

/* Waits until somebody does. False: the thread is to end. */
static bool take_waiting(struct http *http)
{
	size_t count = 0;

	(void)pthread_mutex_lock(&http->lock);
	while (!http->proof_stops && callers_count(&http->callers, CALLER_WAITS) == 0)
		(void)pthread_cond_wait(&http->work, &http->lock);
	for (size_t i = 0; i < CALLERS_MAX; i++) {
		if (http->callers.places[i].stage != CALLER_WAITS)
			continue;
		caller_move(&http->callers.places[i], CALLER_ASKED, clock_boot_ms());
		count++;
	}
	count = http->proof_stops ? 0 : count;
	(void)pthread_mutex_unlock(&http->lock);
	return count > 0;
}

static void *prove(void *arg)
{
	struct http *http = arg;
	struct err err;

	while (take_waiting(http)) {
		if (proof_ask(http->words.socket, &err) == 0)
			err.msg[0] = '\0';
		answer_asked(http, err.msg);
	}
	answer_asked(http, "the daemon stops"); /* the server ends none that is suspended */
	return NULL;
}

/* --- begin and end --- */

static int start_server(struct http *http, const struct sockaddr_storage *addr, struct err *err)
{
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;

	if (addr->ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	errno = 0;
	http->server =
		MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR, addr,
				 MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CALLERS_MAX,
				 MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
	if (!http->server)
		return err_sys(err, errno ? errno : EIO, ERR_IO, "serve http at %s",
			       http->words.address);
	return 0;
}

static int start_thread(pthread_t *thread, bool *has, void *(*run)(void *), struct http *http,
			struct err *err)
{
	int r = pthread_create(thread, NULL, run, http);

	*has = r == 0;
	return r == 0 ? 0 : err_sys(err, r, ERR_INTERNAL, "start a thread for http");
}

static int start(struct http *http, const struct sockaddr_storage *addr, struct err *err)
{
	int r = 0;

	http->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (http->wake_fd < 0)
		r = err_sys(err, errno, ERR_INTERNAL, "make an eventfd");
	if (r == 0)
		r = start_server(http, addr, err);
	if (r == 0)
		r = start_thread(&http->proof_thread, &http->has_proof_thread, prove, http, err);
	if (r == 0)
		r = start_thread(&http->server_thread, &http->has_server_thread, serve, http, err);
	return r;
}

int http_open(const struct http_words *words, struct http **ret_http, struct err *err)
{
	struct sockaddr_storage addr;
	struct http *http;
	int r;

	if (http_address_parse(words->address, &addr) < 0)
		return err_set(err, EINVAL, ERR_VALUE, "serve http at %s: not a loopback address",
			       words->address);
	http = calloc(1, sizeof(*http));
	if (!http)
		return err_nomem(err);
	http->words = *words;
	(void)pthread_mutex_init(&http->lock, NULL);
	(void)pthread_cond_init(&http->work, NULL);
	(void)snprintf(http->unready, sizeof(http->unready), "the daemon starts");
	r = start(http, &addr, err);
	if (r < 0)
		http_close(http);
	else
		*ret_http = http;
	return r;
}

/* The server's thread first: then nobody asks for a proof any more. */
static void stop_threads(struct http *http)
{
	if (http->has_server_thread) {
		(void)pthread_mutex_lock(&http->lock);
		http->server_stops = true;
		(void)pthread_mutex_unlock(&http->lock);
		(void)eventfd_write(http->wake_fd, 1);
		(void)pthread_join(http->server_thread, NULL);
	}
	if (http->has_proof_thread) {
		(void)pthread_mutex_lock(&http->lock);
		http->proof_stops = true;
		(void)pthread_cond_signal(&http->work);
		(void)pthread_mutex_unlock(&http->lock);
		(void)pthread_join(http->proof_thread, NULL);
	}
}

void http_close(struct http *http)
{
	if (!http)
		return;
	stop_threads(http);
	if (http->server) {
		(void)MHD_run(http->server); /* takes in those that were resumed just now */
		MHD_stop_daemon(http->server);
	}
	if (http->wake_fd >= 0)
		(void)close(http->wake_fd);
	(void)pthread_cond_destroy(&http->work);
	(void)pthread_mutex_destroy(&http->lock);
	free(http->text);
	free(http);
}

void http_publish(struct http *http, char *text, const char *unready, const char *unwell)
{
	char *old = NULL;

	(void)pthread_mutex_lock(&http->lock);
	if (text) {
		old = http->text;
		http->text = text;
	}
	(void)snprintf(http->unready, sizeof(http->unready), "%s", unready);
	(void)snprintf(http->unwell, sizeof(http->unwell), "%s", unwell);
	http->published_ms = clock_boot_ms();
	(void)pthread_mutex_unlock(&http->lock);
	free(old);
}
