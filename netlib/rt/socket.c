/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rtnetlink socket: send one request, read its answers to the end, with a deadline.
 * Everything in rt/ goes through rt_request() and rt_query(). Messages are built and parsed with
 * libnl-3 (nlmsg_*, nla_*); the answers are read here, because libnl 3.7 drops the extended ack.
 */
#include "rt/socket.h"

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
	RT_BUFFER = 32 * 1024, /* the kernel fills at most this for a dump (NLMSG_GOODSIZE caps) */
	RT_TIMEOUT_S = 10,     /* the RTNL lock can be held for long */
	RT_DUMP_TRIES = 10,    /* a table that changes faster than it can be read */
	RT_WHAT_MAX = 160,
};

struct rt_socket {
	struct nl_sock *sk;
	unsigned int sent;
};

/* What one exchange carries through the reading of its answers. */
struct rt_exchange {
	uint32_t seq;
	rt_parse_fn parse;
	void *arg;
	bool interrupted;
	const char *what;
	struct err *err;
};

static int set_options(int fd, struct err *err)
{
	static const int on = 1;
	static const struct timeval timeout = { .tv_sec = RT_TIMEOUT_S };

	/* Without these two an answer is poorer, not wrong: an old kernel's refusal is no failure.
	 */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return err_sys(err, errno, ERR_KERNEL, "set receive timeout of rtnetlink socket");
	return 0;
}

int rt_open(struct rt_socket **ret_rt, struct err *err)
{
	struct rt_socket *rt = calloc(1, sizeof(*rt));
	int r;

	if (!rt)
		return err_nomem(err);
	rt->sk = nl_socket_alloc();
	if (!rt->sk) {
		rt_close(rt);
		return err_nomem(err);
	}
	nl_socket_disable_msg_peek(rt->sk);
	nl_socket_disable_auto_ack(rt->sk); /* a get is answered by what it asked for */
	(void)nl_socket_set_msg_buf_size(rt->sk, RT_BUFFER); /* only stores the number */
	r = nl_connect(rt->sk, NETLINK_ROUTE);
	if (r < 0)
		r = err_set(err, EIO, ERR_KERNEL, "open rtnetlink socket: %s", nl_geterror(r));
	else
		r = set_options(nl_socket_get_fd(rt->sk), err);
	if (r < 0) {
		rt_close(rt);
		return r;
	}
	*ret_rt = rt;
	return 0;
}

void rt_close(struct rt_socket *rt)
{
	if (!rt)
		return;
	nl_socket_free(rt->sk);
	free(rt);
}

int rt_fd(const struct rt_socket *rt)
{
	return nl_socket_get_fd(rt->sk);
}

unsigned int rt_sent(const struct rt_socket *rt)
{
	return rt->sent;
}

struct nl_msg *rt_message(int type, int flags, const void *body, size_t len)
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

static int refusal(const struct rt_exchange *x, struct nlmsghdr *header, int error)
{
	const char *text = extack_text(header);

	if (!text)
		return err_sys(x->err, -error, ERR_KERNEL, "%s", x->what);
	return err_set(x->err, -error, ERR_KERNEL, "%s: %s (%s)", x->what, strerror(-error), text);
}

/* One message of an answer. Returns 1 when it was the last, 0 to go on, -errno. */
static int take_message(struct rt_exchange *x, struct nlmsghdr *header)
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
		return x->parse ? x->parse(header, x->arg, x->err) : 0;
	}
}

/* Reads one datagram. Returns as take_message(). */
static int take_datagram(struct rt_socket *rt, struct rt_exchange *x)
{
	CLEANUP_FREE unsigned char *buf = NULL;
	struct sockaddr_nl from;
	struct nlmsghdr *header;
	int n, r = 0;

	errno = 0;
	n = nl_recv(rt->sk, &from, &buf, NULL);
	if (n <= 0) {
		int error = n == -NLE_AGAIN || n == 0 ? ETIMEDOUT : errno ? errno : EIO;

		return err_sys(x->err, error, ERR_KERNEL, "%s: read the kernel's answer", x->what);
	}
	if (from.nl_pid != 0)
		return 0; /* not the kernel */
	for (header = (struct nlmsghdr *)(void *)buf; r == 0 && nlmsg_ok(header, n);
	     header = nlmsg_next(header, &n))
		r = take_message(x, header);
	return r;
}

static int exchange(struct rt_socket *rt, struct nl_msg *msg, struct rt_exchange *x)
{
	int r;

	nlmsg_hdr(msg)->nlmsg_seq = NL_AUTO_SEQ;
	nl_complete_msg(rt->sk, msg);
	x->seq = nlmsg_hdr(msg)->nlmsg_seq;
	x->interrupted = false;
	r = nl_send(rt->sk, msg);
	if (r < 0)
		return err_set(x->err, EIO, ERR_KERNEL, "%s: send: %s", x->what, nl_geterror(r));
	rt->sent++;
	do {
		r = take_datagram(rt, x);
	} while (r == 0);
	return r < 0 ? r : 0;
}

static void msg_freep(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

int rt_query(struct rt_socket *rt, struct nl_msg *msg, rt_parse_fn parse, void *arg,
	     void (*restart)(void *arg), struct err *err, const char *what, ...)
{
	CLEANUP(msg_freep) struct nl_msg *owned = msg;
	struct rt_exchange x = { .parse = parse, .arg = arg, .err = err };
	char text[RT_WHAT_MAX];
	va_list ap;

	if (!owned)
		return err_nomem(err);
	va_start(ap, what);
	(void)vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	x.what = text;
	for (int try = 0; try < RT_DUMP_TRIES; try++) {
		int r = exchange(rt, owned, &x);

		if (r < 0 || !x.interrupted)
			return r;
		if (restart)
			restart(arg);
	}
	return err_set(err, EAGAIN, ERR_KERNEL, "%s: changed while it was read, %d times", text,
		       RT_DUMP_TRIES);
}

int rt_request(struct rt_socket *rt, struct nl_msg *msg, struct err *err, const char *what, ...)
{
	char text[RT_WHAT_MAX];
	va_list ap;

	va_start(ap, what);
	(void)vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	return rt_query(rt, msg, NULL, NULL, NULL, err, "%s", text);
}
