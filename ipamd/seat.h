/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is going on around one attachment at this moment: who holds its lock, whether it is being
 * undone, what a look at its namespace has found. All of it in memory, none of it survives the
 * daemon: the record in the ledger is what lasts. A seat exists while there is something to say.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/proto/proto.h"
#include "ipamd/server.h"
#include "ipamd/turn.h"

enum { SEAT_KEY_MAX = PROTO_KEY_MAX + 3, SEAT_WHY_MAX = 256 };

enum seat_work {
	SEAT_IDLE,
	SEAT_QUEUED,  /* waits for a place among the running ones */
	SEAT_RUNNING, /* the plugin runs */
	SEAT_BACKOFF, /* failed; again at retry_ms */
};

struct seat {
	char key[SEAT_KEY_MAX]; /* "network/containerID/ifname"; the parts have no slash */

	/* The lock. */
	struct conn *holder;      /* NULL = free */
	struct seat *next, *prev; /* of those that it holds */
	char holder_name[96];     /* for whom it says no to */
	int held_ifindex;         /* of the device that the holder reserved, 0 = none */
	bool owes_done; /* the holder has reserved: its end without `done` is a failed ADD */

	bool abandoned; /* its ADD ended so, and maybe under an undo of the record before it */

	/* undo.c */
	enum seat_work work;
	bool check;         /* only to be looked at, by a CHECK */
	pid_t child_pid;    /* of the plugin that was started last */
	const char *reason; /* a constant: "unfinished", "dead", "superseded", "dirty", … */
	int failures;
	int64_t retry_ms;
	uint64_t failed_ns;     /* uv_hrtime() of the last failure, as request->begun_ns */
	char why[SEAT_WHY_MAX]; /* the last one failed */

	/* reconcile.c: what the last look has found, and when. */
	bool looking;
	uint64_t looked_ns;
	enum turn_life life;
};

struct seats {
	void *tree;
	int count;
};

/* Writes the text form of a key. Returns @buf. */
const char *seat_key(const struct attachment_key *key, char buf[SEAT_KEY_MAX]);

/* The key of a text form, in three parts of @buf. */
struct attachment_key seat_key_split(const char *text, char buf[SEAT_KEY_MAX]);

/* NULL if there is nothing to say of it. */
struct seat *seat_find(const struct seats *seats, const char *key);
/* The seat, made if need be; NULL: out of memory. */
struct seat *seat_get(struct seats *seats, const char *key);
/* Frees it if there is nothing more to say. */
void seat_put(struct seats *seats, struct seat *seat);
/* @each may seat_put() no seat. */
void seats_each(const struct seats *seats, void (*each)(struct seat *seat, void *arg), void *arg);
void seats_free(struct seats *seats);

/* Gives the lock to @conn for @what; it must be free or @conn's already. */
void seat_lock(struct seat *seat, struct conn *conn, const char *what);
void seat_unlock(struct seat *seat);
/* Is @conn the plugin that was started for this seat? */
bool seat_is_worked_by(const struct seat *seat, const struct conn *conn);
/* Nobody holds it, and nothing is to be done for it. */
bool seat_is_idle(const struct seat *seat); /* NULL is */
bool seat_is_held_by_other(const struct seat *seat, const struct conn *conn);
/* The record of this seat has gone: what was said of it is history. */
void seat_forget(struct seat *seat);
