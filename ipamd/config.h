/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's file: one JSON object, read by a table of its keys. A key that is unknown or wrong
 * is an error with its path. The pools are only kept here: pool.c reads them, so that a file whose
 * pools are bad still says where socket and store are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"

enum { CONFIG_MAX = 4 * 1024 * 1024 /* bytes of a file */, CONFIG_HOSTS_MAX = 64 };

struct config {
	/* Texts that were checked; they belong to @json, or are the defaults. */
	const char *socket, *state, *plugin;
	const char *http; /* "ADDRESS:PORT" on loopback, "" = none */
	const char *node; /* "" = the host's name */
	const char *engine;
	const char *log_level, *log_format;
	json_t *http_hosts;    /* names, borrowed from @json; NULL = none */
	char *http_hosts_line; /* the same as one line of JSON */
	json_t *pools;         /* borrowed from @json; NULL = the file has none */
	json_t *json;
};

int config_parse(const char *text, size_t len, struct config *ret_config, struct err *err);
/* As config_parse(), for the file at @path, which the error names. */
int config_load(const char *path, struct config *ret_config, struct err *err);
/* As config_parse(), for JSON that is parsed already; it is kept with a reference of its own. */
int config_decode(json_t *json, struct config *ret_config, struct err *err);
/* The pools of the file, which must have some key "pools": see pool_set_read() and
 * pool_set_check(). */
struct pool_set;
int config_pools(const struct config *config, struct pool_set *ret_set, struct err *err);
void config_free(struct config *config); /* NULL members are fine */

/* A key that is read at start only, and is not the same in two files. The texts are borrowed. */
struct config_change {
	const char *key, *old, *new;
};
enum { CONFIG_CHANGES_MAX = 8 };
size_t config_compare(const struct config *old, const struct config *new,
		      struct config_change ret_changes[CONFIG_CHANGES_MAX]);

bool config_is_log_format(const char *text); /* "text" or "json" */

/*
 * "127.0.0.1:9469", "[::1]:9469": only loopback, a port from 1 on. The socket address it stands
 * for goes to *@ret_addr.
 */
struct sockaddr_storage;
int http_address_parse(const char *text, struct sockaddr_storage *ret_addr);
