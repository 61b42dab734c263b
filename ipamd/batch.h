/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit. Lines become requests and are gathered until nothing new is ready or BATCH_MAX are
 * in hand; then all are served within one transaction of the ledger, it is committed, and only
 * then they are answered. A request that has to wait for a seat stands aside, in order, until its
 * deadline.
 *
 * A connection's end is a request like any other, behind all that the connection has sent: it lets
 * go of the locks. Only `done` outlives its connection.
 *
 * Nobody is served who has hung up before his turn. A reservation whose deadline has passed, or
 * whose peer has gone, when its commit is through, is one that nobody has heard of: the next batch
 * takes it back, and no plugin has to run for that.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/about.h"
#include "ipamd/rpc.h"
#include "ipamd/seat.h"
#include "ipamd/server.h"

enum { BATCH_MAX = 256, BATCH_DONE_MS = 1000 /* as long `done` alone may wait for company */ };

struct daemon;
struct batch;
struct method;

struct request {
	struct request *next;
	struct conn *conn;
	const struct method *method; /* NULL: the end of @conn, or a line that was no request */
	struct rpc_request rpc;
	size_t line_len;
	bool is_end, is_garbage;
	int64_t since_ms, deadline_ms; /* BOOTTIME */
	uint64_t begun_ns;             /* uv_hrtime() */
	uint64_t turn_ns, served_ns;   /* its last turn: begin, and end (0: it was not served) */

	/* Of a request that waits. */
	char blocker[SEAT_KEY_MAX]; /* the seat that it waits for */
	uint64_t ticket;            /* what its method wants to remember; 0 at first */
	int64_t again_ms; /* it is served again then, whatever comes; 0: at its deadline */

	/* Of one that was served. */
	char *answer; /* a line; NULL for a notification */
	int code;     /* 0, or the error's enum err_code */
	char *why;    /* the error in words; NULL: it went well */
	struct about about;
	uint64_t reserved;     /* the generation of the record that it has made; 0 = none */
	const char *take_back; /* why that record is to go again: nobody has heard of it */
};

int batch_open(struct daemon *d, struct batch **ret_batch, struct err *err);
void batch_close(struct batch *batch); /* drops what is in hand; NULL is fine */

/* The events of the server. */
bool batch_line(void *arg, struct conn *conn, char *line, size_t len);
void batch_end(void *arg, struct conn *conn);

/* Something has changed around this seat: whoever waits for it is served again. */
void batch_wake(struct batch *batch, const char *seat_key);
/* Serves and answers all that is in hand, now; what waits is refused. */
void batch_finish(struct batch *batch);

/*
 * A change of the daemon's own, outside of any request: @change runs between ledger_begin() and
 * ledger_commit(), alone. Never from within a batch, that is, from a method. What is in hand stays
 * there: it is served later, and sees the change.
 */
int batch_change(struct batch *batch, int (*change)(struct daemon *d, void *arg, struct err *err),
		 void *arg, struct err *err);
