/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that netlib/ethtool sends, and what it makes of answers, without a kernel: the linker
 * puts the functions below in the place of those of wire/ (-Wl,--wrap).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cmocka.h>

#include "ethtool/ethtool.h"
#include "wire/wire.h"

enum { HEX_MAX = 512, SENT_MAX = 16, FAMILY = 0x15 };

static struct err err;
static char sent[SENT_MAX][HEX_MAX]; /* messages as text */
static int sent_count, refused;      /* the SET command that is refused, 0: none */

int __wrap_wire_open(int protocol, struct wire **ret_wire, struct err *ret_err);
void __wrap_wire_close(struct wire *wire);
int __wrap_wire_query(struct wire *wire, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *ret_err, const char *what, ...)
	__attribute__((format(printf, 7, 8)));
int __wrap_wire_request(struct wire *wire, struct nl_msg *msg, struct err *ret_err,
			const char *what, ...) __attribute__((format(printf, 4, 5)));

int __wrap_wire_open(int protocol, struct wire **ret_wire, struct err *ret_err)
{
	(void)ret_err;
	assert_int_equal(protocol, NETLINK_GENERIC);
	*ret_wire = (struct wire *)&err;
	return 0;
}

void __wrap_wire_close(struct wire *wire)
{
	assert_ptr_equal(wire, &err);
}

/* Returns the command of the message, which it frees. */
static int remember(struct nl_msg *msg)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	const unsigned char *bytes = nlmsg_data(header);
	int command = bytes[0];
	char *text = sent[sent_count++ % SENT_MAX];
	int n = snprintf(text, HEX_MAX, "%x %x ", header->nlmsg_type, header->nlmsg_flags);

	for (int i = 0; i < nlmsg_datalen(header); i++)
		n += snprintf(text + n, HEX_MAX - (size_t)n, "%02x", bytes[i]);
	nlmsg_free(msg);
	return command;
}

int __wrap_wire_request(struct wire *wire, struct nl_msg *msg, struct err *ret_err,
			const char *what, ...)
{
	(void)wire;
	(void)what;
	return remember(msg) == refused ? err_set(ret_err, EINVAL, ERR_KERNEL, "refused") : 0;
}

static void put_bitset(struct nl_msg *msg, int attr, uint64_t bits)
{
	struct nlattr *bitset = nla_nest_start(msg, attr);

	assert_int_equal(nla_put_u32(msg, ETHTOOL_A_BITSET_SIZE, 61), 0);
	assert_int_equal(nla_put(msg, ETHTOOL_A_BITSET_VALUE, sizeof(bits), &bits), 0);
	(void)nla_nest_end(msg, bitset);
}

/* What the kernel says of the device; NULL: the driver has no such thing. */
static struct nl_msg *answer_to(int command)
{
	const struct genlmsghdr body = { .cmd = (uint8_t)command };
	struct nl_msg *msg = wire_message(FAMILY, 0, &body, sizeof(body));

	switch (command) {
	case ETHTOOL_MSG_FEATURES_GET:
		put_bitset(msg, ETHTOOL_A_FEATURES_HW, 0x100000003c);
		put_bitset(msg, ETHTOOL_A_FEATURES_WANTED, 0x1000000011);
		return msg;
	case ETHTOOL_MSG_RINGS_GET:
		(void)nla_put_u32(msg, ETHTOOL_A_RINGS_RX_MAX, 4096);
		(void)nla_put_u32(msg, ETHTOOL_A_RINGS_RX, 128);
		(void)nla_put_u32(msg, ETHTOOL_A_RINGS_TX, 1024);
		(void)nla_put_u8(msg, ETHTOOL_A_RINGS_TX_PUSH, 1);
		return msg;
	case ETHTOOL_MSG_COALESCE_GET:
		(void)nla_put_u32(msg, ETHTOOL_A_COALESCE_RX_USECS, 77);
		(void)nla_put_u8(msg, ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX, 0);
		(void)nla_put_u8(msg, ETHTOOL_A_COALESCE_USE_CQE_MODE_RX, 1);
		return msg;
	case ETHTOOL_MSG_PAUSE_GET:
		(void)nla_put_u8(msg, ETHTOOL_A_PAUSE_AUTONEG, 1);
		(void)nla_put_u64(msg, ETHTOOL_A_PAUSE_RX, 1); /* no length that we know */
		return msg;
	case ETHTOOL_MSG_DEBUG_GET:
		put_bitset(msg, ETHTOOL_A_DEBUG_MSGMASK, 1);
		return msg;
	default:
		nlmsg_free(msg);
		return NULL;
	}
}

static int answer_family(wire_parse_fn parse, void *arg, struct err *ret_err)
{
	const struct genlmsghdr body = { .cmd = CTRL_CMD_NEWFAMILY };
	struct nl_msg *msg = wire_message(GENL_ID_CTRL, 0, &body, sizeof(body));
	int r;

	(void)nla_put_u16(msg, CTRL_ATTR_FAMILY_ID, FAMILY);
	r = parse(nlmsg_hdr(msg), arg, ret_err);
	nlmsg_free(msg);
	return r;
}

int __wrap_wire_query(struct wire *wire, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *ret_err, const char *what, ...)
{
	bool family = nlmsg_hdr(msg)->nlmsg_type == GENL_ID_CTRL;
	struct nl_msg *answer;
	int command = remember(msg), r;

	(void)wire;
	(void)restart;
	(void)what;
	if (family)
		return answer_family(parse, arg, ret_err) < 0 ? -EBADMSG : 0;
	answer = answer_to(command);
	if (!answer)
		return err_set(ret_err, EOPNOTSUPP, ERR_KERNEL, "not supported");
	r = parse(nlmsg_hdr(answer), arg, ret_err);
	nlmsg_free(answer);
	return r < 0 ? r : 0;
}

static int setup(void **state)
{
	struct ethtool *ethtool;

	sent_count = refused = 0;
	assert_int_equal(ethtool_open(0, &ethtool, &err), 0);
	*state = ethtool;
	return 0;
}

static int teardown(void **state)
{
	ethtool_close(*state);
	return 0;
}

/* Index 7, compact bitsets, no answer beside the ack. */
#define DEVICE             \
	"14000180"         \
	"0800010007000000" \
	"0800030003000000"

static void test_family(void **state)
{
	struct ethtool *another;

	(void)state;
	assert_string_equal(sent[0], "10 1 03010000"
				     "0c000200657468746f6f6c00");
	assert_int_equal(ethtool_open(FAMILY, &another, &err), 0);
	assert_int_equal(sent_count, 1); /* known from before */
	ethtool_close(another);
}

static void test_read(void **state)
{
	struct ethtool_settings now;

	assert_int_equal(ethtool_read(*state, 7, &now, &err), 0);
	assert_string_equal(sent[1], "15 1 0b010000" DEVICE);
	assert_string_equal(sent[2], "15 1 0f010000" DEVICE);
	assert_int_equal(sent_count, 8); /* the family, and seven kinds */
	assert_true(now.known ==
		    (ETHTOOL_BIT(ETHTOOL_FEATURES) | ETHTOOL_BIT(RINGS_RX) | ETHTOOL_BIT(RINGS_TX) |
		     ETHTOOL_BIT(RINGS_TX_PUSH) | ETHTOOL_BIT(COALESCE_FIRST) |
		     ETHTOOL_BIT(COALESCE_FIRST + 9) | ETHTOOL_BIT(COALESCE_LAST) |
		     ETHTOOL_BIT(PAUSE_AUTONEG) | ETHTOOL_BIT(MESSAGE_LEVEL)));
	assert_true(now.features == 0x1000000010); /* of those that can be changed */
	assert_int_equal(now.numbers[RINGS_RX], 128);
	assert_int_equal(now.numbers[COALESCE_FIRST], 77);
	assert_string_equal(ethtool_setting_name(COALESCE_FIRST + 9), "coalesce adaptive-rx");
	assert_int_equal(ethtool_read_features(*state, 7, &now, &err), 0);
	assert_int_equal(sent_count, 9);
	assert_true(now.known == ETHTOOL_BIT(ETHTOOL_FEATURES));
}

/* What differs is set, in one message a kind, and only what the baseline knows is asked for. */
static void test_restore(void **state)
{
	struct ethtool_settings was = { .known = ETHTOOL_BIT(ETHTOOL_FEATURES) |
						 ETHTOOL_BIT(RINGS_RX) | ETHTOOL_BIT(RINGS_TX) |
						 ETHTOOL_BIT(RINGS_TX_PUSH) |
						 ETHTOOL_BIT(RINGS_CQE_SIZE) |
						 ETHTOOL_BIT(MESSAGE_LEVEL),
					.features = 0x18 };

	was.numbers[RINGS_RX] = was.numbers[RINGS_TX] = 1024;
	was.numbers[RINGS_CQE_SIZE] = 64; /* which the driver does not tell any more */
	was.numbers[MESSAGE_LEVEL] = 7;
	refused = ETHTOOL_MSG_RINGS_SET;
	assert_int_equal(ethtool_restore(*state, 7, &was, &err), -EINVAL);
	assert_int_equal(sent_count, 7);
	/* of 0x1000000008 that differ the value is 0x18 */
	assert_string_equal(sent[2], "15 5 0c010000" DEVICE "2400038008000200400000000c000400"
				     "1800000000000000"
				     "0c000500"
				     "0800000010000000");
	assert_string_equal(sent[4], "15 5 10010000" DEVICE "0800060000040000"
				     "05000d0000000000");
	/* the others are set nevertheless */
	assert_string_equal(sent[6],
			    "15 5 08010000" DEVICE "1c00028008000200200000000800040007000000"
			    "0800050006000000");
}

static void test_nothing_differs(void **state)
{
	struct ethtool_settings was;

	assert_int_equal(ethtool_read(*state, 7, &was, &err), 0);
	sent_count = 0;
	assert_int_equal(ethtool_restore(*state, 7, &was, &err), 0);
	assert_int_equal(sent_count, 5); /* each kind is read once, and none set */
	assert_int_equal(ethtool_restore(*state, 7, &(struct ethtool_settings) { 0 }, &err), 0);
	assert_int_equal(sent_count, 5);
}

int main(void)
{
#define MESSAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		MESSAGE_TEST(test_family),
		MESSAGE_TEST(test_read),
		MESSAGE_TEST(test_restore),
		MESSAGE_TEST(test_nothing_differs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
