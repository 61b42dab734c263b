/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected to the HTTP server, how far each has come, and who is the slowest. Pure: no I/O,
 * no clock. Its user holds a lock where a second thread has to do with it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CALLERS_MAX = 32,
	CALLERS_KEPT = 8,    /* places that are free again behind each look */
	CALLERS_PROOFS = 16, /* who may wait for a proof of readiness at the same time */
	CALLER_WHY_MAX = 512,
};

enum caller_stage {
	CALLER_NONE,   /* this place is free */
	CALLER_NEW,    /* it has come since the last look: its request may lie there unread */
	CALLER_HEAD,   /* its request has not come whole, or is refused */
	CALLER_WAITS,  /* for a proof that begins after it has come */
	CALLER_ASKED,  /* that proof is under way */
	CALLER_ANSWER, /* `why` is known, or not asked for: it is being answered */
	CALLER_ENDED,  /* it was hung up on; the server has not noticed yet */
};

struct caller {
	enum caller_stage stage;
	void *connection; /* the server's */
	int fd;
	int64_t since_ms; /* when it came to this stage */
	char why[CALLER_WHY_MAX];
};

struct callers {
	struct caller places[CALLERS_MAX];
};

/* NULL: there is no place, which a server that allows CALLERS_MAX connections never sees. */
struct caller *caller_enter(struct callers *callers, void *connection, int fd, int64_t now_ms);
void caller_move(struct caller *caller, enum caller_stage stage, int64_t now_ms);
/* What had come from those that are there was read: who is new is so no more. */
void callers_look(struct callers *callers);
/* How many are at that stage. */
size_t callers_count(const struct callers *callers, enum caller_stage stage);

/*
 * Who is to be hung up on now: one that has been at its stage for @patience_ms, or, where fewer
 * than CALLERS_KEPT places are free, the one whose request has been the longest in coming, else
 * whose answer has been the longest in going. Never one that waits for us. NULL: nobody.
 */
struct caller *callers_slowest(struct callers *callers, int64_t patience_ms, int64_t now_ms);
/* How long until the next one has been at its stage for @patience_ms; -1: nobody is waited for. */
int64_t callers_left_ms(const struct callers *callers, int64_t patience_ms, int64_t now_ms);
