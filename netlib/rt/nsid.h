/* SPDX-License-Identifier: Apache-2.0 */
/* Ids that this namespace has for others (RTM_*NSID, net/core/net_namespace.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/wire.h"

/* The nsid of the namespace behind @netns_fd, assigned now if it has none. Never -1. */
int nsid_ensure(struct wire *rt, int netns_fd, int32_t *ret_nsid, struct err *err);

/* All nsids; the callback is called for each. */
int nsid_list(struct wire *rt, void (*each)(int32_t nsid, void *arg), void *arg, struct err *err);
/* Does this nsid exist? */
int nsid_exists(struct wire *rt, int32_t nsid, bool *ret_exists, struct err *err);

/*
 * A non-blocking socket subscribed to RTNLGRP_NSID; the caller owns *@ret_fd. When readable,
 * nsid_watch_read() calls @each for every id that was deleted; -ENOBUFS: events were lost, look at
 * all.
 */
int nsid_watch(int *ret_fd, struct err *err);
int nsid_watch_read(int fd, void (*each)(int32_t nsid, void *arg), void *arg, struct err *err);
