/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unix socket and its connections: who may connect, where a line ends, how much a peer may
 * make us hold and for how long. Knows nothing of JSON or of what a line means. A slow or rude
 * client costs a bounded buffer and harms no other: each has one request in hand at a time, and
 * whoever asks comes in before whoever is only there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "base/err.h"

enum {
	SERVER_CONNS_MAX = 256, /* beyond: in the place of an idle one, or waits at the door */
	SERVER_GRACE_MS = 100,  /* younger silence is not idle */
	SERVER_FIRST_MS = 2000, /* from connecting to the end of the first line */
	SERVER_IDLE_MS = 60000, /* a connection that holds no lock and asks nothing */
	SERVER_LINE_MS = 10000, /* a half-sent line; an answer that nobody reads */
	SERVER_IN_HAND_MAX = 2, /* lines of one connection: a request, and a `done` before it */
};

struct server;
struct seat;

struct conn {
	pid_t pid;          /* of the peer; 0 = in a PID namespace that we do not see */
	struct seat *holds; /* its locks, which keep an idle connection open: kept by seat.c */
	bool ended; /* the peer has gone, or was sent away: nothing can be answered any more */

	/* The server's own. */
	struct server *server;
	struct conn *next, *prev;
	uv_pipe_t pipe;
	int refs;
	char *buf; /* the bytes of a line that has not ended */
	size_t len, size;
	int in_hand;       /* lines handed on that are not done with */
	bool asking;       /* one of them is to be answered: the next line waits until it is */
	bool spoke;        /* a whole line has come */
	size_t unsent;     /* bytes of answers that the peer has not taken */
	int64_t active_ms; /* the last line in or answer out */
	int64_t line_ms;   /* when the first byte of the half line came */
	int64_t unsent_ms; /* since when there are unsent bytes */
	bool reading, closing_after_write;
};

struct server_events {
	/* A line without its newline, valid during the call. Returns whether it is to be answered:
	 * exactly one conn_answer() must follow then, else one conn_unanswered(), but only after it
	 * has returned. */
	bool (*line)(void *arg, struct conn *conn, char *line, size_t len);
	/* The connection has ended: the last event of it. */
	void (*end)(void *arg, struct conn *conn);
	void *arg;
};

/* On failure *@ret_server may be set: close and free it all the same. */
int server_open(uv_loop_t *loop, const char *path, const struct server_events *events,
		struct server **ret_server, struct err *err);
void server_sweep(struct server *server); /* to be called every second: ends what is overdue */
/* Ends the connections that wait for an answer and whose peers have hung up. One system call. */
void server_reap(struct server *server);
void server_deafen(struct server *server);           /* the socket goes; no new lines */
bool server_is_drained(const struct server *server); /* every answer has left us */
/* Closes all; the struct goes with server_free(), after the loop has run dry. NULL is fine. */
void server_close(struct server *server);
void server_free(struct server *server);
int server_conns(const struct server *server);
bool server_is_there(const struct server *server); /* Does the path still lead to us? */

/* Sends @line (taken; NULL: out of memory, the connection ends). -errno: nobody will read it. */
int conn_answer(struct conn *conn, char *line);
/* The line of this request needs no answer (a notification). */
void conn_unanswered(struct conn *conn);
/* Sends @line (taken) and ends the connection. */
void conn_dismiss(struct conn *conn, char *line);
struct conn *conn_ref(struct conn *conn);
void conn_unref(struct conn *conn);
