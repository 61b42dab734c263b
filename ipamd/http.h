/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics, /healthz and /readyz on a loopback port, on a thread of their own: they answer from
 * what the loop has published, so that a stuck loop is seen and a scraper never disturbs it. "ok"
 * from /readyz is proven by a question through the socket, as a plugin would ask it.
 */
#pragma once

#include "base/err.h"

enum { HTTP_STUCK_MS = 5000 /* a loop that has not published for so long is not alive */ };

struct http;

/* @address as http_address_parse() takes it. @socket, of the proof, outlives it. */
int http_open(const char *address, const char *socket, struct http **ret_http, struct err *err);
void http_close(struct http *http); /* NULL is fine */
/*
 * Takes @text (NULL: the last one stays). @unready: why no ADD can be served, or "". @unwell: what
 * only a restart would mend, or "". To be called at least every second.
 */
void http_publish(struct http *http, char *text, const char *unready, const char *unwell);
