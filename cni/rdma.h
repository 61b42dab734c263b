/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RDMA device of the record's function: into the pod, home again, and ready for use.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "cni/site.h"

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

/* Is it in the host, or in the pod that we stand in? By its index, whatever its name: 1 or 0. */
int rdma_look(struct site *site, bool in_pod, struct rdma_device *ret_device, struct err *err);

/*
 * Its name now, in whatever namespace it is, which may be any bytes; "": it has none. No such
 * function any more: -ENODEV.
 */
int rdma_name_of(struct site *site, char ret_name[SYSFS_NAME_MAX], struct err *err);
