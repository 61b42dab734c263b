/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to spur-ipamd: the only door that cni/ and spurctl use. Blocking, with deadlines.
 * The connection is the lock (docs/architecture.md, "One hand at a time"): keep it open until the
 * verb is over.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/proto/proto.h"

struct client {
	int fd;
	int64_t next_id;
	char *buf; /* bytes read past the last answer */
	size_t len;
};

/*
 * Connects to the socket at @path within PROTO_CONNECT_MS. -ECONNREFUSED, -ENOENT, -EACCES,
 * -ETIMEDOUT… with ERR_AGAIN and the path in @err when the daemon is not there; -EPERM (ERR_IO)
 * when neither root listens there, nor the caller's own user, nor, at PROTO_SOCKET, its
 * directory's.
 */
int client_open(struct client *client, const char *path, struct err *err);
/* The daemon's own refusals are answers; anything else is a daemon that is not there any more. */
bool client_is_lost(int r);
/* Another connection in place of a lost one: without its locks. As client_open(). */
int client_reopen(struct client *client, const char *path, struct err *err);
void client_close(struct client *client); /* also a never-opened one with fd -1 */

/*
 * One call. @params is stolen. *@ret_result is a new reference. A JSON-RPC error becomes @err.
 * Past @deadline_ms (CLOCK_BOOTTIME): -ETIMEDOUT with ERR_AGAIN. A broken connection: -EPIPE with
 * ERR_AGAIN.
 */
int client_call(struct client *client, const char *method, json_t *params, int64_t deadline_ms,
		json_t **ret_result, struct err *err);

/* A notification: sent, not answered. @params is stolen. */
int client_notify(struct client *client, const char *method, json_t *params, struct err *err);

/* The verbs, typed. */
int client_reserve(struct client *client, const struct reserve_request *request,
		   struct attachment *ret_attachment, struct err *err);
int client_done(struct client *client, const struct attachment *a, const struct facts *facts,
		struct err *err);
/* The same, answered when it is on disk: for a CHECK that finds what an ADD has left unfinished. */
int client_settle(struct client *client, const struct attachment *a, const struct facts *facts,
		  int64_t deadline_ms, struct err *err);
/* No such attachment: success with *@ret_found false. */
int client_get(struct client *client, const struct attachment_key *key, int64_t deadline_ms,
	       struct attachment *ret_attachment, bool *ret_found, struct err *err);
/* As client_get(), but one of spur-ipam, with nothing to undo, is released: it is not found. */
int client_get_to_undo(struct client *client, const struct attachment_key *key, const char *reason,
		       int64_t deadline_ms, struct attachment *ret_attachment, bool *ret_found,
		       struct err *err);

/* The one that has the device of this key, as it is on disk, without its lock. */
int client_find_device(struct client *client, const char *device, int64_t deadline_ms,
		       struct attachment *ret_attachment, bool *ret_found, struct err *err);

int client_release(struct client *client, const struct attachment *a, const struct release *how,
		   int64_t deadline_ms, struct err *err);

/*
 * DEL without a daemon: writes the request durably to the spool directory beside @socket_path
 * (created 0700 if it is not there). @netns may be NULL.
 */
int client_spool(const char *socket_path, const struct attachment_key *key, const char *program,
		 json_t *env, json_t *netconf, const struct netns_ref *netns, struct err *err);
/* `done` without a daemon, in the same way. */
int client_spool_done(const char *socket_path, const struct attachment *a,
		      const struct facts *facts, struct err *err);
