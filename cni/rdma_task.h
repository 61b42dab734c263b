/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to an RDMA device, by a child.
 *
 * The kernel moves it only for a task that stands in its present namespace, and may block for as
 * long as a user of it does not let go. So a child does it, which holds nothing of ours (neither
 * the runtime's pipes, nor the daemon's connection, nor the turn of rdma_turn.h), dies with us, and
 * is given up at its deadline.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/settings.h"
#include "rdma/rdma.h"

struct rdma_task {
	int from_fd, to_fd; /* namespaces; to_fd -1: it stays */
	int index;          /* what it is found by; -1: its name */
	const char *name;
	const char *new_name; /* NULL: keeps the one it has */
	const char
		*spare_name; /* where another device has that; NULL: then it fails with -EEXIST */
	enum rdma_moderation moderation; /* that it is to have afterwards; unknown: as it is */
	int64_t deadline_ms;
};

/* What the child tells. One write: shorter than PIPE_BUF. */
struct rdma_answer {
	int r;
	struct err err;
	struct rdma_device device;         /* afterwards */
	char uverbs[RDMA_CHARDEV_MAX + 1]; /* likewise, of one that was moved; "": it has none */
};

/*
 * Found, renamed, moved, renamed again if its pod was quicker, told its moderation. Not in the
 * namespace: -ENODEV. Past the deadline: -ETIMEDOUT with ERR_AGAIN, and it may still be done. Ends
 * the turn (-1: none), at the latest after RDMA_TURN_MS.
 */
int rdma_task_run(const struct rdma_task *task, int *turn, struct rdma_answer *ret_answer,
		  struct err *err);
