/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics, /healthz and /readyz on a loopback port, on a thread of their own: they answer from
 * what the loop has published, so that a stuck loop is seen and a scraper never disturbs it. "ok"
 * from /readyz is proven by a question through the socket, as a plugin would ask it; a second
 * thread asks, for it may take seconds, and /healthz does not wait for that.
 *
 * Whoever can connect may be slow on purpose. A connection is for one request; its head, and then
 * its answer, have HTTP_PATIENCE_MS each, whatever trickles; and when places grow short the slowest
 * gives his to whoever comes, so that a liveness probe always finds one.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"

enum {
	HTTP_STUCK_MS = 5000, /* a loop that has not published for so long is not alive */
	HTTP_PATIENCE_MS = 5000,
};

struct http;

/* All of it is borrowed, and outlives the server. */
struct http_words {
	const char *address; /* as http_address_parse() takes it */
	const char *socket;  /* of the proof */
	const char *node;    /* whose name a Host header may have */
	const json_t *hosts; /* and others, as http_host_is_ours() takes them */
};
int http_open(const struct http_words *words, struct http **ret_http, struct err *err);
void http_close(struct http *http); /* NULL is fine */
/*
 * Takes @text (NULL: the last one stays). @unready: why no ADD can be served, or "". @unwell: what
 * only a restart would mend, or "". To be called at least every second.
 */
void http_publish(struct http *http, char *text, const char *unready, const char *unwell);
