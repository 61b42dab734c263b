/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One netlink socket through libnl-3, bound for life to the namespace it was opened in, and to the
 * kernel: nobody else there can send it anything.
 *
 * libnl 3.7 leaves some of it to us: NETLINK_EXT_ACK is switched on and the extended ack read from
 * the error message; NETLINK_GET_STRICT_CHK lets the kernel filter dumps; MSG_PEEK is off, with a
 * receive buffer that holds a full dump page; for an answer that is longer it grows, and the
 * question is asked again. Every answer has a deadline (10 s: the RTNL lock can be held for long).
 * A dump that was interrupted (NLM_F_DUMP_INTR) is asked for again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <netlink/netlink.h>

#include "base/err.h"

struct wire; /* opaque */

/* @protocol: NETLINK_ROUTE, NETLINK_RDMA. */
int wire_open(int protocol, struct wire **ret_wire, struct err *err);
void wire_close(struct wire *wire); /* NULL is fine */
int wire_fd(const struct wire *wire);
/* How many messages this socket has sent: for tests and figures. */
unsigned int wire_sent(const struct wire *wire);

/*
 * A request with its fixed header, ready for attributes; NULL if out of memory. NLM_F_REQUEST is
 * always set; ask for NLM_F_ACK or NLM_F_DUMP in @flags.
 */
struct nl_msg *wire_message(int type, int flags, const void *body, size_t len);

/*
 * Sends @msg (taken, freed also on failure) and waits for its ack. On refusal returns -errno with
 * ERR_KERNEL and "<what>: <strerror> (<extended ack>)", where @what is the caller's "operation
 * object".
 */
int wire_request(struct wire *wire, struct nl_msg *msg, struct err *err, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Makes the receive buffer at least @size bytes, for good: for a get whose answer is known to be
 * longer than a page of a dump, so that it need not be asked twice. 0 or -ENOMEM.
 */
int wire_make_room(struct wire *wire, size_t size);

/*
 * As wire_request(), but for a get: calls @parse with each answer. For dumps (NLM_F_DUMP in @msg)
 * called once a message; the whole is repeated if the dump was interrupted, after @restart(@arg).
 * @parse returns 0 to go on, -errno to fail, and >0 when it has what it looked for: then it is not
 * called again, and it does not matter that the dump was interrupted.
 */
typedef int (*wire_parse_fn)(struct nlmsghdr *header, void *arg, struct err *err);
int wire_query(struct wire *wire, struct nl_msg *msg, wire_parse_fn parse, void *arg,
	       void (*restart)(void *arg), struct err *err, const char *what, ...)
	__attribute__((format(printf, 7, 8)));

/*
 * A non-blocking socket subscribed to an rtnetlink group (RTNLGRP_*); the caller owns *@ret_fd.
 * When it is readable, or has an error (POLLERR: an overrun), wire_watch_read() calls @each for
 * every message there is, or for as many as the socket has room for if they do not end; then it is
 * readable still. -ENOBUFS: it did, and some were lost. @what: what is watched, for the error.
 */
int wire_watch(int group, int *ret_fd, struct err *err, const char *what);
int wire_watch_read(int fd, void (*each)(struct nlmsghdr *header, void *arg), void *arg,
		    struct err *err, const char *what);
