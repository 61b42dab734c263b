/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program run beside the loop: text on its stdin, what it says caught, an end by its deadline
 * at the latest. One struct a run; it belongs to the caller, who keeps it until the callback,
 * which always comes, also when the program could not be started.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

enum {
	CHILD_OUTPUT_MAX =
		16 * 1024, /* what is kept of each stream; the rest is read and dropped */
	CHILD_WHY_MAX = 256,
};

struct child_output {
	char text[CHILD_OUTPUT_MAX];
	size_t len;
};

struct child {
	/* What is left when the callback comes. */
	int start_error; /* -errno: it was never started */
	bool timed_out;
	int64_t exit_status;
	int signal;                   /* that ended it, 0 = none: exit_status is valid */
	struct child_output out, err; /* NUL-terminated */

	/* Its own. */
	uv_process_t process;
	uv_pipe_t in_pipe, out_pipe, err_pipe;
	uv_timer_t timer;
	uv_write_t write;
	int open_handles;
	void (*ended)(struct child *child);
	void *arg;
};

struct child_spec {
	const char *file;
	char **argv, **env; /* NULL-terminated, needed only during the call */
	char *input;        /* for its stdin; must stay until the callback */
	int timeout_ms;
	void (*ended)(struct child *child); /* called once, never from within child_start() */
	void *arg;
};

void child_start(struct child *child, uv_loop_t *loop, const struct child_spec *spec);
/* SIGKILL; the callback still comes. */
void child_kill(struct child *child);
/* It runs on by itself; the callback comes soon, and nothing is known of how it ended. */
void child_leave(struct child *child);

/*
 * How a run of the plugin ended: 0 if well, else the code of the error that it has printed
 * (ERR_INTERNAL if it told none; ERR_AGAIN if it could not be started, or was killed), with its
 * message in @why.
 */
int child_verdict(const struct child *child, char why[CHILD_WHY_MAX]);
