/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole: what its parts share, in what order they start and stop, and what the
 * signals mean. One thread and one loop; only the HTTP page (http.c) is served by another thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "base/err.h"
#include "host/node.h"
#include "ipamd/config.h"
#include "ipamd/ledger.h"
#include "ipamd/metrics.h"
#include "ipamd/seat.h"
#include "ipamd/server.h"
#include "wire/wire.h"

struct batch;
struct undo;
struct reconcile;
struct spool;
struct inventory;
struct inspect;
struct mark;
struct porter;
struct http;
struct page;
struct restart;

struct daemon {
	uv_loop_t loop;
	struct config config;
	const char *config_path;
	const struct daemon_options *options;
	char node[256];
	char plugin[4096]; /* may change with a reload, as the log and the pools may */
	char boot_id[BOOT_ID_TEXT];
	int64_t started_ms; /* BOOTTIME */

	struct mark *mark;
	struct ledger *ledger;
	struct wire *rt; /* bound to the daemon's namespace; likewise */
	struct ethtool *ethtool;
	int sysfs_fd;
	struct seats seats;
	struct metrics metrics;
	struct server *server;
	struct batch *batch;
	struct undo *undo;
	struct reconcile *reconcile;
	struct spool *spool;
	struct inventory *inventory;
	struct inspect *inspect;
	struct porter *porter;
	struct http *http;
	struct page *page;
	struct restart *restart;

	/* How the last reading of the file ended, for status and metrics. */
	bool config_ok;
	int64_t config_ms; /* wall clock */
	char config_error[ERR_MSG_MAX];

	uv_timer_t tick;
	uv_signal_t signals[3];
	bool stopping;
	int failed; /* -errno: the loop ended because of @failure */
	struct err failure;
};

struct daemon_options {
	const char *log_format; /* "json" or "text", in place of the configuration's; NULL: that */
	bool new_ledger;        /* whatever the mark (mark.h) says of the one before it */
};

/* Runs until SIGTERM or SIGINT. On failure @err says why it ended. */
int daemon_run(const char *config_path, const struct daemon_options *options, struct err *err);

/* Would the file at @config_path be taken, and its ledger be there? (But for what the store holds.)
 */
int daemon_check_config(const char *config_path, struct err *err);

/*
 * The store can no longer be trusted: leaves the loop without answering anybody; the process ends
 * and its successor reopens the store.
 */
void daemon_fail(struct daemon *d, int r, const struct err *why);
