/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/http.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "base/clock.h"
#include "ipamd/config.h"
#include "ipamd/proof.h"

enum { HTTP_CONNS_MAX = 16, HTTP_TIMEOUT_S = 5, HTTP_WHY_MAX = 512 };

struct http {
	struct MHD_Daemon *server;
	const char *socket;
	pthread_mutex_t lock; /* of all below */
	char *text;
	char unready[HTTP_WHY_MAX], unwell[HTTP_WHY_MAX];
	int64_t published_ms;
};

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
				    "text/plain; version=0.0.4; charset=utf-8") == MHD_YES)
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
	char body[HTTP_WHY_MAX + 16];

	if (!why[0])
		return respond_text(connection, MHD_HTTP_OK, "ok\n");
	(void)snprintf(body, sizeof(body), "%s: %s\n", not_this, why);
	return respond_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, body);
}

static enum MHD_Result answer_ready(const struct http *http, struct MHD_Connection *connection,
				    const char *unready)
{
	struct err err;

	if (!unready[0] && proof_ask(http->socket, &err) < 0)
		unready = err.msg;
	return answer_probe(connection, "not ready", unready);
}

static enum MHD_Result answer_page(struct http *http, struct MHD_Connection *connection,
				   const char *url)
{
	char unready[HTTP_WHY_MAX], unwell[HTTP_WHY_MAX];
	char *text;

	(void)pthread_mutex_lock(&http->lock);
	memcpy(unready, http->unready, sizeof(unready));
	memcpy(unwell, http->unwell, sizeof(unwell));
	if (clock_boot_ms() - http->published_ms >= HTTP_STUCK_MS) {
		(void)snprintf(unready, sizeof(unready), "the daemon is stuck");
		(void)snprintf(unwell, sizeof(unwell), "stuck");
	}
	text = http->text ? strdup(http->text) : NULL;
	(void)pthread_mutex_unlock(&http->lock);

	if (strcmp(url, "/metrics") == 0 && text)
		return respond(connection, MHD_HTTP_OK, text);
	free(text);
	if (strcmp(url, "/healthz") == 0)
		return answer_probe(connection, "not well", unwell);
	if (strcmp(url, "/readyz") == 0)
		return answer_ready(http, connection, unready);
	return respond_text(connection, MHD_HTTP_NOT_FOUND, "/metrics /healthz /readyz\n");
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	(void)version;
	(void)data;
	(void)state;
	if (*size > 0) { /* a body that nobody wants: read it to its end */
		*size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
		return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
	return answer_page(arg, connection, url);
}

int http_open(const char *address, const char *socket, struct http **ret_http, struct err *err)
{
	struct sockaddr_storage addr;
	unsigned int flags = MHD_USE_INTERNAL_POLLING_THREAD;
	struct http *http;

	if (http_address_parse(address, &addr) < 0)
		return err_set(err, EINVAL, ERR_VALUE, "serve http at %s: not a loopback address",
			       address);
	http = calloc(1, sizeof(*http));
	if (!http)
		return err_nomem(err);
	http->socket = socket;
	(void)pthread_mutex_init(&http->lock, NULL);
	if (addr.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	errno = 0;
	http->server = MHD_start_daemon(flags, 0, NULL, NULL, on_request, http,
					MHD_OPTION_SOCK_ADDR, &addr, MHD_OPTION_CONNECTION_LIMIT,
					(unsigned int)HTTP_CONNS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
					(unsigned int)HTTP_TIMEOUT_S, MHD_OPTION_END);
	if (!http->server) {
		http_close(http);
		return err_sys(err, errno ? errno : EIO, ERR_IO, "serve http at %s", address);
	}
	(void)snprintf(http->unready, sizeof(http->unready), "the daemon starts");
	*ret_http = http;
	return 0;
}

void http_close(struct http *http)
{
	if (!http)
		return;
	if (http->server)
		MHD_stop_daemon(http->server);
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
