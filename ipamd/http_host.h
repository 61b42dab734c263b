/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which words of a Host header are meant for this daemon. A page in a browser on this machine can
 * have its own name resolve to a loopback address, and then read what is served there (DNS
 * rebinding): such a request carries the page's name. Pure.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

/*
 * @host as in a Host header, with or without a port (RFC 9110, 7.2). Ours are an IPv4 address, an
 * IPv6 address in brackets, "localhost", the @node's name, and @names, an array of texts or NULL;
 * letters of either case are the same.
 */
bool http_host_is_ours(const char *host, const char *node, const json_t *names);

/* A DNS name: letters, digits, '-', '_' and '.', 1..253 of them. */
bool http_host_is_name(const char *text);
