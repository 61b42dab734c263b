/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire against a kernel of our own making: the linker puts the two functions below in the
 * place of send(2) and recvfrom(2) (-Wl,--wrap), and each test scripts the datagrams that come.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "wire/wire.h"

enum { SCRIPT_MAX = 24, DATAGRAM_MAX = 512 };

/* What one recvfrom() does: fails with @error, or gives @bytes and says that they were @len. */
struct datagram {
	int error;
	uint32_t from;
	size_t size, len;
	union {
		struct nlmsghdr header;
		char bytes[DATAGRAM_MAX];
	} data;
};

static struct err err;
static struct wire *rt;
static struct datagram script[SCRIPT_MAX];
static int scripted, played, asked;
static uint32_t seq; /* of the last request */

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_recvfrom(int fd, void *buf, size_t size, int flags, struct sockaddr *from,
			socklen_t *len);

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	struct nlmsghdr header;

	(void)fd;
	(void)flags;
	memcpy(&header, buf, sizeof(header));
	assert_int_equal(header.nlmsg_len, len);
	assert_true(header.nlmsg_seq != 0 && header.nlmsg_seq != seq);
	seq = header.nlmsg_seq;
	asked++;
	return (ssize_t)len;
}

ssize_t __wrap_recvfrom(int fd, void *buf, size_t size, int flags, struct sockaddr *from,
			socklen_t *len)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK,
					    .nl_pid = script[played].from };
	struct datagram *datagram = &script[played];

	(void)fd;
	if (played == scripted && flags & MSG_DONTWAIT) {
		errno = EAGAIN;
		return -1;
	}
	assert_true(played < scripted); /* else a real one would wait here for good */
	assert_true(flags & MSG_TRUNC);
	assert_true(datagram->size <= size);
	played++;
	if (datagram->error) {
		errno = datagram->error;
		return -1;
	}
	/* A sequence number of 0 in the script stands for the one that was asked with. */
	if (datagram->size && datagram->data.header.nlmsg_seq == 0)
		datagram->data.header.nlmsg_seq = seq;
	memcpy(buf, datagram->data.bytes, datagram->size);
	memcpy(from, &kernel, sizeof(kernel));
	*len = sizeof(kernel);
	return (ssize_t)datagram->len;
}

/* Scripts one message of @type that carries @len bytes of @body. */
static struct datagram *say(int type, int flags, const void *body, size_t len)
{
	struct datagram *datagram = &script[scripted++];
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	assert_true(scripted <= SCRIPT_MAX);
	assert_int_equal(nlmsg_append(msg, (void *)(uintptr_t)body, len, NLMSG_ALIGNTO), 0);
	*datagram = (struct datagram) { .size = nlmsg_hdr(msg)->nlmsg_len };
	datagram->len = datagram->size;
	memcpy(datagram->data.bytes, nlmsg_hdr(msg), datagram->size);
	nlmsg_free(msg);
	return datagram;
}

static void say_ack(int error)
{
	const struct nlmsgerr body = { .error = error };

	(void)say(NLMSG_ERROR, 0, &body, sizeof(body));
}

/* A refusal with extended ack; @echo: bytes of the request's body that the kernel sends back. */
static void say_refusal(int error, int flags, size_t echo, const char *text)
{
	struct nlmsgerr body = { .error = error, .msg.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + echo) };
	char bytes[DATAGRAM_MAX / 2] = { 0 };
	struct nlattr attr = { .nla_len = (uint16_t)(NLA_HDRLEN + strlen(text) + 1),
			       .nla_type = NLMSGERR_ATTR_MSG };

	memcpy(bytes, &body, sizeof(body));
	memcpy(bytes + sizeof(body) + echo, &attr, sizeof(attr));
	memcpy(bytes + sizeof(body) + echo + NLA_HDRLEN, text, strlen(text) + 1);
	(void)say(NLMSG_ERROR, flags | NLM_F_ACK_TLVS, bytes,
		  sizeof(body) + echo + NLA_ALIGN(attr.nla_len));
}

static void say_fail(int error)
{
	script[scripted++] = (struct datagram) { .error = error };
}

static int setup(void **state)
{
	(void)state;
	scripted = played = asked = 0;
	seq = 0;
	return wire_open(NETLINK_ROUTE, &rt, &err);
}

static int teardown(void **state)
{
	(void)state;
	wire_close(rt);
	return played == scripted ? 0 : -1;
}

static struct nl_msg *question(int flags)
{
	const struct rtgenmsg body = { 0 };

	return wire_message(RTM_GETLINK, flags, &body, sizeof(body));
}

static int request(void)
{
	return wire_request(rt, question(NLM_F_ACK), &err, "poke device %s", "eth5");
}

struct tally {
	int seen, restarts, stop_at;
};

static int count(struct nlmsghdr *header, void *arg, struct err *ret_err)
{
	struct tally *tally = arg;

	(void)ret_err;
	assert_int_equal(header->nlmsg_type, RTM_NEWLINK);
	return ++tally->seen == tally->stop_at;
}

static void recount(void *arg)
{
	struct tally *tally = arg;

	tally->seen = 0;
	tally->restarts++;
}

static int dump(struct tally *tally)
{
	return wire_query(rt, question(NLM_F_DUMP), count, tally, recount, &err, "list devices");
}

static void test_ack(void **state)
{
	(void)state;
	say_ack(0);
	assert_int_equal(request(), 0);
	say_ack(-EBUSY);
	assert_int_equal(request(), -EBUSY);
	assert_string_equal(err.msg, "poke device eth5: Device or resource busy");
	assert_int_equal(err.code, ERR_KERNEL);
	assert_int_equal(wire_sent(rt), 2);
}

/* The text comes after the echoed request, whole or capped to its header. */
static void test_extended_ack(void **state)
{
	static const char want[] = "poke device eth5: Invalid argument (no such knob)";

	(void)state;
	say_refusal(-EINVAL, NLM_F_CAPPED, 0, "no such knob");
	assert_int_equal(request(), -EINVAL);
	assert_string_equal(err.msg, want);
	say_refusal(-EINVAL, 0, 36, "no such knob");
	assert_int_equal(request(), -EINVAL);
	assert_string_equal(err.msg, want);
	/* An echo that is longer than the message: no text, but still the refusal. */
	say_refusal(-EINVAL, 0, 4, "no such knob");
	((struct nlmsgerr *)(void *)(script[scripted - 1].data.bytes + NLMSG_HDRLEN))
		->msg.nlmsg_len = 4000;
	assert_int_equal(request(), -EINVAL);
	assert_string_equal(err.msg, "poke device eth5: Invalid argument");
}

/* Late answers to an earlier request and messages of other processes are not ours. */
static void test_not_for_us(void **state)
{
	(void)state;
	say_ack(-EPERM);
	script[0].data.header.nlmsg_seq = 4711;
	say_ack(-EPERM);
	script[1].from = 4711;
	say_fail(EINTR);
	say_ack(0);
	assert_int_equal(request(), 0);
	assert_int_equal(asked, 1);
}

static void test_no_answer(void **state)
{
	(void)state;
	say_fail(EAGAIN); /* SO_RCVTIMEO */
	assert_int_equal(request(), -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "poke device eth5: read the kernel's answer: "));
	say_fail(ENOBUFS);
	assert_int_equal(request(), -ENOBUFS);
	say_ack(0);
	script[scripted - 1].len = 100000; /* cut off by the kernel */
	assert_int_equal(request(), -EMSGSIZE);
}

static void test_long_answer(void **state)
{
	(void)state;
	assert_int_equal(wire_make_room(rt, 100000), 0);
	assert_int_equal(wire_make_room(rt, 1), 0); /* keeps what there is */
	say_ack(0);
	script[scripted - 1].len = 100000;
	assert_int_equal(request(), 0);
	say_ack(0);
	script[scripted - 1].len = 100001; /* what changes something is not said twice */
	assert_int_equal(request(), -EMSGSIZE);
}

/* A get is over with its answer: no ack follows. */
static void test_get(void **state)
{
	struct tally tally = { .stop_at = 1 };

	(void)state;
	(void)say(RTM_NEWLINK, 0, "body", 4);
	assert_int_equal(wire_query(rt, question(0), count, &tally, NULL, &err, "find"), 0);
	assert_int_equal(tally.seen, 1);
}

static void test_dump(void **state)
{
	static const int done, failed = -EIO;
	struct tally tally = { 0 };

	(void)state;
	(void)say(RTM_NEWLINK, NLM_F_MULTI, "body", 4);
	(void)say(RTM_NEWLINK, NLM_F_MULTI, "body", 4);
	(void)say(NLMSG_DONE, NLM_F_MULTI, &done, sizeof(done));
	assert_int_equal(dump(&tally), 0);
	assert_int_equal(tally.seen, 2);
	(void)say(NLMSG_DONE, NLM_F_MULTI, &failed, sizeof(failed));
	assert_int_equal(dump(&tally), -EIO);
	assert_string_equal(err.msg, "list devices: Input/output error");
}

/* NLM_F_DUMP_INTR: the table changed meanwhile. Asked again, until it holds still or never does. */
static void test_interrupted_dump(void **state)
{
	static const int done;
	struct tally tally = { 0 };

	(void)state;
	(void)say(RTM_NEWLINK, NLM_F_MULTI, "body", 4);
	(void)say(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, &done, sizeof(done));
	(void)say(RTM_NEWLINK, NLM_F_MULTI | NLM_F_DUMP_INTR, "body", 4);
	(void)say(NLMSG_DONE, NLM_F_MULTI, &done, sizeof(done));
	(void)say(RTM_NEWLINK, NLM_F_MULTI, "body", 4);
	(void)say(NLMSG_DONE, NLM_F_MULTI, &done, sizeof(done));
	assert_int_equal(dump(&tally), 0);
	assert_int_equal(tally.seen, 1);
	assert_int_equal(tally.restarts, 2);
	for (int i = 0; i < 10; i++)
		(void)say(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, &done, sizeof(done));
	assert_int_equal(dump(&tally), -EAGAIN);
	assert_int_equal(asked, 13);
}

/* Who hears of one event tells of another. */
static void tell_more(struct nlmsghdr *header, void *arg)
{
	int *ends = arg;

	ends[2]++;
	assert_int_equal(write(ends[1], header, header->nlmsg_len), header->nlmsg_len);
}

/* Its end is lost, so the rest is read and forgotten, and all of it asked for again. */
static void test_answer_that_is_too_long(void **state)
{
	static const int done;
	struct tally tally = { 0 };

	(void)state;
	say(RTM_NEWLINK, NLM_F_MULTI, "body", 4)->len = 150000;
	(void)say(RTM_NEWLINK, NLM_F_MULTI, "body", 4);
	(void)say(NLMSG_DONE, NLM_F_MULTI, &done, sizeof(done));
	say_fail(EAGAIN); /* that was all */
	say(RTM_NEWLINK, NLM_F_MULTI, "body", 4)->len = 150000;
	(void)say(RTM_NEWLINK, NLM_F_MULTI, "body", 4);
	(void)say(NLMSG_DONE, NLM_F_MULTI, &done, sizeof(done));
	assert_int_equal(dump(&tally), 0);
	assert_int_equal(asked, 2);
	assert_int_equal(tally.seen, 2);
	assert_int_equal(tally.restarts, 1);
	say(RTM_NEWLINK, NLM_F_MULTI, "body", 4)->len = 100 * 1000 * 1000;
	assert_int_equal(dump(&tally), -EMSGSIZE);
}

/* What is looked for was there: it does not matter that others came or went meanwhile. */
static void test_enough_of_an_interrupted_dump(void **state)
{
	static const int done;
	struct tally tally = { .stop_at = 1 };

	(void)state;
	(void)say(RTM_NEWLINK, NLM_F_MULTI, "body", 4);
	(void)say(RTM_NEWLINK, NLM_F_MULTI | NLM_F_DUMP_INTR, "body", 4);
	(void)say(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, &done, sizeof(done));
	assert_int_equal(dump(&tally), 0);
	assert_int_equal(asked, 1);
	assert_int_equal(tally.seen, 1);
}

/* Somebody who tells faster than we read keeps us from nothing else: then there is more to read. */
static void test_endless_events(void **state)
{
	struct nlmsghdr event = { .nlmsg_len = sizeof(event), .nlmsg_type = RTM_NEWLINK };
	int ends[3] = { 0 };

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	assert_int_equal(write(ends[1], &event, sizeof(event)), sizeof(event));
	(void)alarm(30);
	assert_int_equal(wire_watch_read(ends[0], tell_more, ends, &err, "devices"), 0);
	(void)alarm(0);
	assert_true(ends[2] > 8192 && recv(ends[0], &event, sizeof(event), 0) > 0);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void count_event(struct nlmsghdr *header, void *arg)
{
	(void)header;
	++*(int *)arg;
}

/* What is longer than there is room for was about somebody: all is to be looked at. */
static void test_event_that_is_too_long(void **state)
{
	static union {
		struct nlmsghdr header;
		char bytes[150000];
	} event = { .header = { .nlmsg_len = sizeof(event), .nlmsg_type = RTM_NEWLINK } };
	const struct nlmsghdr next = { .nlmsg_len = sizeof(next), .nlmsg_type = RTM_NEWLINK };
	int ends[2], seen = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	assert_int_equal(write(ends[1], &event, sizeof(event)), sizeof(event));
	assert_int_equal(write(ends[1], &next, sizeof(next)), sizeof(next));
	assert_int_equal(wire_watch_read(ends[0], count_event, &seen, &err, "devices"), -ENOBUFS);
	assert_int_equal(seen, 1);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

#define SOCKET_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOCKET_TEST(test_ack),
		SOCKET_TEST(test_extended_ack),
		SOCKET_TEST(test_not_for_us),
		SOCKET_TEST(test_no_answer),
		SOCKET_TEST(test_long_answer),
		SOCKET_TEST(test_get),
		SOCKET_TEST(test_dump),
		SOCKET_TEST(test_interrupted_dump),
		SOCKET_TEST(test_answer_that_is_too_long),
		SOCKET_TEST(test_enough_of_an_interrupted_dump),
		cmocka_unit_test(test_endless_events),
		cmocka_unit_test(test_event_that_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
