/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters of the daemon and their text form (Prometheus exposition format 0.0.4). What can be
 * counted in the ledger is counted there when the page is made, not kept here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipamd/method.h"

enum { METRICS_CODES = 16, METRICS_BUCKETS = 10, METRICS_REASONS = 12 };

struct daemon;
struct figures;
struct request;

struct histogram {
	uint64_t buckets[METRICS_BUCKETS + 1]; /* the last one: beyond all */
	uint64_t count;
	double sum;
};

/* Where a request's time goes: for its turn, in its method, for the disk and the rest of its batch.
 */
enum metrics_phase { PHASE_WAIT, PHASE_SERVE, PHASE_COMMIT, METRICS_PHASES };

struct metrics {
	struct {
		int code;
		uint64_t count;
	} requests[METHOD_COUNT][METRICS_CODES]; /* count 0: a free place */
	struct histogram durations[METHOD_COUNT], phases[METRICS_PHASES];
	struct histogram commits, sizes;
	uint64_t undone, undo_failed;
	uint64_t passes, alarms, pass_errors; /* of reconcile */
	struct {
		const char *reason;
		uint64_t count;
	} reclaimed[METRICS_REASONS];
};

/* It has been served, and is answered at @now_ns (uv_hrtime()). */
void metrics_request(struct metrics *m, const struct request *q, uint64_t now_ns);
void metrics_commit(struct metrics *m, size_t batch_size, uint64_t ns);
/* An undo went well, for @reason (a constant), or failed: NULL. */
void metrics_undo(struct metrics *m, const char *reason);
/* A record went because of @reason (a constant). */
void metrics_reclaimed(struct metrics *m, const char *reason);

/* A look at who is dead has ended: with an error, with the alarm, or well. */
void metrics_pass(struct metrics *m, bool failed, bool alarm);

/* Since the start of the daemon, over all methods: what rates are made of. */
struct metrics_totals {
	uint64_t requests, refused, commits;
	double request_s, commit_s; /* their durations, added up */
};
void metrics_total(const struct metrics *m, struct metrics_totals *ret_totals);

/* The page. The caller frees it; NULL: out of memory. */
char *metrics_text(struct daemon *d, const struct figures *figures);
