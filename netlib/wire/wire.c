/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netlink socket: send one request, read its answers to the end, with a deadline.
 * Everything in rt/ and rdma/ goes through here. libnl-3 builds and parses messages
 * (nlmsg_*, nla_*); sending and receiving is done here: nl_connect() costs five system calls more,
 * and libnl 3.7 drops the extended ack.
 */
#include "wire/wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include "base/cleanup.h"

enum {
	/* A dump page has 32 KiB (af_netlink.c), or a device whose altnames alone may have 64
	 * (rtnl_linkprop()). What is longer is asked for again with more room. */
	WIRE_BUFFER = 96 * 1024,
	WIRE_BUFFER_MAX = 4 * 1024 * 1024,
	WIRE_TIMEOUT_S = 10,       /* the RTNL lock can be held for long */
	WIRE_DUMP_TRIES = 10,      /* a table that changes faster than it can be read */
	WIRE_WHAT_MAX = 224,       /* longer than any operation and object of ours */
	WIRE_WATCH_ROOM = 1 << 20, /* for a burst of events */
	WIRE_WATCH_READ = 1 << 14, /* more events than that has room for */
};

struct wire {
	int fd;
	uint32_t seq;
	unsigned int sent;
	size_t room;
	struct nlmsghdr *answer; /* of @room bytes */
};

/* What one exchange carries through the reading of its answers. */
struct wire_exchange {
	uint32_t seq;
	wire_parse_fn parse;
	void *arg;
	bool interrupted; /* it has to be asked again */
	bool enough;      /* @parse has what it looked for: the rest is only read */
	const char *what;
	struct err *err;
};

static int set_options(int fd)
{
	static const int on = 1;
	static const struct timeval timeout = { .tv_sec = WIRE_TIMEOUT_S };

	/* Without these two an answer is poorer, not wrong: an old kernel may refuse them. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

int wire_open(int protocol, struct wire **ret_wire, struct err *err)
{
	/* Connected, it is told by nobody but the kernel: with NET_ADMIN in the namespace, a pod
	 * could drown its answers. */
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	CLEANUP_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct wire *wire;

	if (fd < 0 || set_options(fd) < 0 ||
	    connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return err_sys(err, errno, ERR_KERNEL, "open netlink socket");
	wire = calloc(1, sizeof(*wire));
	if (!wire || wire_make_room(wire, WIRE_BUFFER) < 0) {
		free(wire);
		return err_nomem(err);
	}
	wire->fd = TAKE_FD(fd);
	*ret_wire = wire;
	return 0;
}

int wire_make_room(struct wire *wire, size_t size)
{
	struct nlmsghdr *answer;

	if (size <= wire->room)
		return 0;
	answer = realloc(wire->answer, size);
	if (!answer)
		return -ENOMEM;
	wire->answer = answer;
	wire->room = size;
	return 0;
}

void wire_close(struct wire *wire)
{
	if (!wire)
		return;
	(void)close(wire->fd);
	free(wire->answer);
	free(wire);
}

int wire_fd(const struct wire *wire)
{
	return wire->fd;
}

unsigned int wire_sent(const struct wire *wire)
{
	return wire->sent;
}

struct nl_msg *wire_message(int type, int flags, const void *body, size_t len)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);
	void *room = msg ? nlmsg_reserve(msg, len, NLMSG_ALIGNTO) : NULL;

	if (!room) {
		nlmsg_free(msg);
		return NULL;
	}
	memcpy(room, body, len);
	return msg;
}

/* The extended ack's text within an NLMSG_ERROR or NLMSG_DONE message, or NULL. */
static const char *extack_text(struct nlmsghdr *header)
{
	struct nlattr *attrs[NLMSGERR_ATTR_MAX + 1];
	struct nlmsgerr *error = nlmsg_data(header);
	int skip = (int)sizeof(int);

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (header->nlmsg_type == NLMSG_ERROR) {
		skip = (int)sizeof(*error);
		if (!(header->nlmsg_flags & NLM_F_CAPPED))
			skip += (int)error->msg.nlmsg_len - NLMSG_HDRLEN;
	}
	if (skip > nlmsg_datalen(header) ||
	    nlmsg_parse(header, NLMSG_ALIGN(skip), attrs, NLMSGERR_ATTR_MAX, NULL) < 0)
		return NULL;
	return attrs[NLMSGERR_ATTR_MSG] ? nla_get_string(attrs[NLMSGERR_ATTR_MSG]) : NULL;
}

static int refusal(const struct wire_exchange *x, struct nlmsghdr *header, int error)
{
	const char *text = extack_text(header);

	if (!text)
		return err_sys(x->err, -error, ERR_KERNEL, "%s", x->what);
	return err_set(x->err, -error, ERR_KERNEL, "%s: %s (%s)", x->what, strerror(-error), text);
}

/*
 * Where @parse has enough: a get that was answered has no ack to wait for; of a dump the rest is
 * read, so that the socket can be used again.
 */
static int take_answer(struct wire_exchange *x, struct nlmsghdr *header)
{
	int r;

	if (!x->parse || x->enough)
		return 0;
	r = x->parse(header, x->arg, x->err);
	if (r <= 0)
		return r;
	x->enough = true;
	return !(header->nlmsg_flags & NLM_F_MULTI);
}

/* One message of an answer. Returns 1 when it was the last, 0 to go on, -errno. */
static int take_message(struct wire_exchange *x, struct nlmsghdr *header)
{
	int error = 0;

	if (header->nlmsg_seq != x->seq)
		return 0; /* a late answer to a request that timed out */
	if (header->nlmsg_flags & NLM_F_DUMP_INTR)
		x->interrupted = true;
	switch (header->nlmsg_type) {
	case NLMSG_ERROR:
	case NLMSG_DONE:
		if (nlmsg_datalen(header) >= (int)sizeof(int))
			memcpy(&error, nlmsg_data(header), sizeof(error));
		return error < 0 ? refusal(x, header, error) : 1;
	case NLMSG_NOOP:
		return 0;
	default:
		return take_answer(x, header);
	}
}

/* One datagram into wire->answer; its whole length, or -errno. */
static ssize_t receive(struct wire *wire, int flags, struct sockaddr_nl *ret_from)
{
	socklen_t len = sizeof(*ret_from);
	ssize_t n;

	do {
		n = recvfrom(wire->fd, wire->answer, wire->room, MSG_TRUNC | flags,
			     (struct sockaddr *)ret_from, &len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return n;
}

/*
 * A datagram was longer than there is room for, and its end is lost. What else there is of the
 * answer is there by now: the kernel makes the next page of a dump when one is read.
 */
static int make_more_room(struct wire *wire, size_t size)
{
	struct sockaddr_nl from;

	if (size > WIRE_BUFFER_MAX)
		return -EMSGSIZE;
	while (receive(wire, MSG_DONTWAIT, &from) >= 0)
		;
	return wire_make_room(wire, size);
}

/* Reads one datagram. Returns as take_message(). */
static int take_datagram(struct wire *wire, struct wire_exchange *x)
{
	struct nlmsghdr *header = wire->answer;
	struct sockaddr_nl from = { 0 };
	ssize_t n = receive(wire, 0, &from);
	int left = (int)n, r = 0;

	if (n > (ssize_t)wire->room) { /* what changes something is not said twice */
		left = x->parse ? make_more_room(wire, (size_t)n) : -EMSGSIZE;
		n = left;
		x->interrupted = true;
		if (left == 0)
			return 1;
	}
	if (n < 0)
		return err_sys(x->err, -left, ERR_KERNEL, "%s: read the kernel's answer", x->what);
	if (from.nl_pid != 0)
		return 0; /* not the kernel */
	for (; r == 0 && nlmsg_ok(header, left); header = nlmsg_next(header, &left))
		r = take_message(x, header);
	return r;
}

static int exchange(struct wire *wire, struct nl_msg *msg, struct wire_exchange *x)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	int r;

	/* Never 0, which the kernel's own notifications have. */
	wire->seq = wire->seq == UINT32_MAX ? 1 : wire->seq + 1;
	header->nlmsg_seq = x->seq = wire->seq;
	x->interrupted = x->enough = false;
	if (send(wire->fd, header, header->nlmsg_len, 0) < 0)
		return err_sys(x->err, errno, ERR_KERNEL, "%s: ask the kernel", x->what);
	wire->sent++;
	do {
		r = take_datagram(wire, x);
	} while (r == 0);
	return r < 0 ? r : 0;
}

static void msg_freep(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

int wire_query(struct wire *wire, struct nl_msg *msg, wire_parse_fn parse, void *arg,
	       void (*restart)(void *arg), struct err *err, const char *what, ...)
{
	CLEANUP(msg_freep) struct nl_msg *owned = msg;
	struct wire_exchange x = { .parse = parse, .arg = arg, .err = err };
	char text[WIRE_WHAT_MAX];
	va_list ap;

	if (!owned)
		return err_nomem(err);
	va_start(ap, what);
	(void)vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	x.what = text;
	for (int try = 0; try < WIRE_DUMP_TRIES; try++) {
		int r = exchange(wire, owned, &x);

		if (r < 0 || x.enough || !x.interrupted)
			return r;
		if (restart)
			restart(arg);
	}
	return err_set(err, EAGAIN, ERR_KERNEL, "%s: changed while it was read, %d times", text,
		       WIRE_DUMP_TRIES);
}

int wire_request(struct wire *wire, struct nl_msg *msg, struct err *err, const char *what, ...)
{
	char text[WIRE_WHAT_MAX];
	va_list ap;

	va_start(ap, what);
	(void)vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	return wire_query(wire, msg, NULL, NULL, NULL, err, "%s", text);
}

int wire_watch(int group, int *ret_fd, struct err *err, const char *what)
{
	CLEANUP_CLOSE int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	const int room = WIRE_WATCH_ROOM;

	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return err_sys(err, errno, ERR_KERNEL, "watch %s", what);
	/* Without CAP_NET_ADMIN the room is what it was. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int wire_watch_read(int fd, void (*each)(struct nlmsghdr *header, void *arg), void *arg,
		    struct err *err, const char *what)
{
	union {
		struct nlmsghdr header;
		char bytes[WIRE_BUFFER]; /* an event is one message */
	} buf;
	bool lost = false;
	ssize_t n = 0;

	/* After an overrun the kernel adds nothing until all that it had queued is read. Root of a
	 * pod can tell the group as well, and faster than we read. */
	for (int i = 0; i < WIRE_WATCH_READ; i++) {
		struct nlmsghdr *header = &buf.header;

		n = recv(fd, &buf, sizeof(buf), MSG_TRUNC);
		if (n <= 0 && (n == 0 || errno != ENOBUFS))
			break;
		lost = lost || n < 0 || n > (ssize_t)sizeof(buf);
		if (n > (ssize_t)sizeof(buf))
			continue;
		for (int left = (int)n; nlmsg_ok(header, left); header = nlmsg_next(header, &left))
			each(header, arg);
	}
	if (n < 0 && errno != EAGAIN && errno != ENOBUFS)
		return err_sys(err, errno, ERR_KERNEL, "watch %s", what);
	return lost ? err_sys(err, ENOBUFS, ERR_KERNEL, "watch %s", what) : 0;
}
