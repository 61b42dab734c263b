/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RDMA device of the record's function: into the pod, home again, and ready for use.
 *
 * The kernel moves it only for a task that stands in its present namespace, and may block for as
 * long as a user of it does not let go. So a child does it, which holds nothing of ours (neither
 * the runtime's pipes, nor the daemon's connection, nor the turn of rdma_turn.h), dies with us, and
 * is given up at its deadline.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "cni/site.h"

enum { RDMA_MOVE_MS = 10 * 1000 };

/* Exclusive mode, and the record has one device that the configuration does not leave alone? */
int rdma_is_movable(struct site *site, bool *ret_movable, struct err *err);

/* From the host into the pod, as @name (NULL: under the name it has). Sets site->rdma. */
int rdma_take(struct site *site, const char *name, struct err *err);

/*
 * Home, wherever it is and whatever it is called, and with the adaptive moderation that it had; in
 * shared mode only that. Nothing to do: success. Waits for a dead namespace to give it back.
 */
int rdma_return(struct site *site, struct err *err);
/* Its old name again. Taken by another device by now: it stays without, which is logged. */
int rdma_restore_name(struct site *site, struct err *err);

/*
 * Until port 1 is active and, if @ip has a family, there is a RoCE v2 GID for it: sets
 * site->rdma.gid_index, and name and uverbs of a device that all namespaces share. @wait_ms over:
 * -ETIMEDOUT with ERR_AGAIN.
 */
int rdma_await_ready(struct site *site, const struct ip *ip, int64_t wait_ms, struct err *err);

/* Its name in that namespace; "" if it is not there. No such function any more: -ENODEV. */
int rdma_name_of(struct site *site, bool in_pod, char ret_name[SYSFS_NAME_MAX], struct err *err);
