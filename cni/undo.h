/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out of an attachment: the kernel's part walked back, the foreign IPAM told, the record
 * released. DEL, GC and an ADD that failed all leave here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cni/plan.h"
#include "cni/recorded.h"
#include "cni/site.h"
#include "ipamd/client/client.h"

struct undo {
	struct client *client; /* holds the lock of the record */
	const char *netns;     /* another path that may lead to the pod; NULL: only the record's */
	json_t *prev_result;   /* for a foreign IPAM; NULL: none */
	const char *reason;    /* for the history: "DEL", "GC", "ADD failed: …" */
	bool never_up; /* the device was never set up in the pod; false: that is not known */
	bool is_last;  /* nothing is undone after it: no more is kept than it needs */
	int64_t deadline_ms;
};

/*
 * Undoes all of @record, wherever and however far it stands. Succeeds also if the device could not
 * be restored: the daemon keeps the record then, as dirty, and the reason is logged.
 */
int undo_attachment(const struct undo *how, const struct attachment *record, struct err *err);

/* The same for an ADD that failed after @count steps, at the site where it happened. */
int undo_add(const struct undo *how, const struct recorded *recorded, struct site *site,
	     const struct plan *plan, size_t count, struct err *err);

/*
 * Without the daemon nothing may be touched, for another may own the device by now: leaves a DEL of
 * this attachment in the spool.
 */
int undo_spool(const struct request *request, struct err *err);

/* Calls the foreign IPAM of a configuration, if it has one. @host_fd, -ENOENT as in delegate.h. */
int ipam_delegate(const struct netconf *conf, const struct request_env *env, const char *command,
		  json_t *prev_result, int host_fd, int64_t deadline_ms, json_t **ret_answer,
		  struct err *err);

/* The same for what it may keep of attachments that have no record (DEL, GC). One that is no longer
 * installed can be told nothing, today or ever: that is logged, and no failure. */
int ipam_forget(const struct netconf *conf, const struct request_env *env, const char *command,
		json_t *prev_result, int64_t deadline_ms, struct err *err);
