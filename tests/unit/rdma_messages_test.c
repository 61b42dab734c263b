/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that netlib/rdma sends, and what it makes of answers, without a kernel: the linker puts
 * the two functions below in the place of wire_query() and wire_request() (-Wl,--wrap).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <rdma/rdma_netlink.h>

#include <cmocka.h>

#include "rdma/rdma.h"

enum { HEX_MAX = 1024, ANSWERS_MAX = 4 };

static struct err err;
static struct wire *const wire = (struct wire *)&err; /* any that is not NULL */
static char sent[HEX_MAX];                            /* the last message as text */
static char what_text[ERR_MSG_MAX];                   /* how the caller names the operation */
static struct nl_msg *answers[ANSWERS_MAX];           /* what wire_query() answers with */
static int answer_count, refusal;                     /* -errno in the place of answers */
static bool interrupted;                              /* the answers come twice */

int __wrap_wire_query(struct wire *w, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *ret_err, const char *what, ...)
	__attribute__((format(printf, 7, 8)));
int __wrap_wire_request(struct wire *w, struct nl_msg *msg, struct err *ret_err, const char *what,
			...) __attribute__((format(printf, 4, 5)));

__attribute__((format(printf, 2, 0))) static void remember(struct nl_msg *msg, const char *what,
							   va_list ap)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	const unsigned char *bytes = nlmsg_data(header);
	int n = snprintf(sent, sizeof(sent), "%x %x ", header->nlmsg_type, header->nlmsg_flags);

	for (int i = 0; i < nlmsg_datalen(header); i++)
		n += snprintf(sent + n, sizeof(sent) - (size_t)n, "%02x", bytes[i]);
	(void)vsnprintf(what_text, sizeof(what_text), what, ap);
	nlmsg_free(msg);
}

int __wrap_wire_request(struct wire *w, struct nl_msg *msg, struct err *ret_err, const char *what,
			...)
{
	va_list ap;

	assert_ptr_equal(w, wire);
	va_start(ap, what);
	remember(msg, what, ap);
	va_end(ap);
	return refusal ? err_sys(ret_err, -refusal, ERR_KERNEL, "%s", what_text) : 0;
}

int __wrap_wire_query(struct wire *w, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *ret_err, const char *what, ...)
{
	va_list ap;
	int r = 0;

	assert_ptr_equal(w, wire);
	va_start(ap, what);
	remember(msg, what, ap);
	va_end(ap);
	if (refusal)
		return err_sys(ret_err, -refusal, ERR_KERNEL, "%s", what_text);
	for (int i = 0; r == 0 && i < answer_count; i++)
		r = parse(nlmsg_hdr(answers[i]), arg, ret_err);
	if (interrupted)
		restart(arg); /* and nothing is there any more */
	return r < 0 ? r : 0;
}

static int forget(void **state)
{
	(void)state;
	while (answer_count > 0)
		nlmsg_free(answers[--answer_count]);
	refusal = 0;
	interrupted = false;
	return 0;
}

static struct nl_msg *answer(int command)
{
	struct nl_msg *msg =
		nlmsg_alloc_simple(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, command), NLM_F_MULTI);

	assert_non_null(msg);
	assert_true(answer_count < ANSWERS_MAX);
	answers[answer_count++] = msg;
	return msg;
}

static struct nl_msg *answer_device(uint32_t index, const char *name, uint64_t guid)
{
	struct nl_msg *msg = answer(RDMA_NLDEV_CMD_GET);

	assert_int_equal(nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, index), 0);
	assert_int_equal(nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, name), 0);
	assert_int_equal(nla_put_u64(msg, RDMA_NLDEV_ATTR_NODE_GUID, guid), 0);
	return msg;
}

static void test_mode(void **state)
{
	enum rdma_mode mode = RDMA_SHARED;

	(void)state;
	assert_int_equal(rdma_mode(NULL, &mode, &err), 0);
	assert_int_equal(mode, RDMA_ABSENT);
	assert_int_equal(
		nla_put_u8(answer(RDMA_NLDEV_CMD_SYS_GET), RDMA_NLDEV_SYS_ATTR_NETNS_MODE, 1), 0);
	assert_int_equal(rdma_mode(wire, &mode, &err), 0);
	assert_int_equal(mode, RDMA_SHARED);
	assert_string_equal(sent, "1406 1 "); /* client 5, command 6 */
	(void)forget(NULL);
	assert_int_equal(
		nla_put_u8(answer(RDMA_NLDEV_CMD_SYS_GET), RDMA_NLDEV_SYS_ATTR_NETNS_MODE, 0), 0);
	assert_int_equal(rdma_mode(wire, &mode, &err), 0);
	assert_int_equal(mode, RDMA_EXCLUSIVE);
	(void)forget(NULL);
	(void)answer(RDMA_NLDEV_CMD_SYS_GET);
	assert_int_equal(rdma_mode(wire, &mode, &err), -EBADMSG);
	refusal = -EPERM;
	assert_int_equal(rdma_mode(wire, &mode, &err), -EPERM);
	assert_string_equal(what_text, "read RDMA mode");
}

static void test_find(void **state)
{
	struct rdma_device device = { .index = 42 };

	(void)state;
	(void)answer_device(0, "mlx5_1", 1);
	(void)answer_device(7, "mlx5_10", 0x0200000000000001);
	(void)answer_device(8, "mlx5_11", 3);
	assert_int_equal(rdma_find(wire, "mlx5_10", &device, &err), 0);
	assert_string_equal(sent, "1401 301 ");
	assert_string_equal(what_text, "find RDMA device mlx5_10");
	assert_int_equal(device.index, 7);
	assert_string_equal(device.name, "mlx5_10");
	assert_true(device.node_guid == 0x0200000000000001);
	device.index = 42;
	assert_int_equal(rdma_find(wire, "mlx5_", &device, &err), -ENODEV);
	assert_int_equal(err.code, ERR_DEVICE);
	assert_int_equal(device.index, 42);
	assert_int_equal(rdma_find(NULL, "mlx5_10", &device, &err), -ENODEV);
	interrupted = true; /* what the first try found does not count */
	assert_int_equal(rdma_find(wire, "mlx5_10", &device, &err), -ENODEV);
	assert_int_equal(device.index, 42);
}

static void test_get(void **state)
{
	struct rdma_device device = { .index = 42 };

	(void)state;
	(void)answer_device(7, "../\xff\n", 2); /* a pod may call it anything */
	assert_int_equal(rdma_get(wire, 7, &device, &err), 0);
	assert_string_equal(sent, "1401 1 0800010007000000");
	assert_string_equal(device.name, "../\xff\n");
	assert_int_equal(device.index, 7);
	assert_int_equal(rdma_get(NULL, 7, &device, &err), -ENODEV);
	refusal = -EINVAL; /* not in this namespace */
	assert_int_equal(rdma_get(wire, 7, &device, &err), -ENODEV);
	assert_int_equal(err.code, ERR_DEVICE);
	refusal = -ETIMEDOUT;
	assert_int_equal(rdma_get(wire, 7, &device, &err), -ETIMEDOUT);
}

static void test_netdev(void **state)
{
	bool has = false;

	(void)state;
	assert_int_equal(
		nla_put_u32(answer(RDMA_NLDEV_CMD_PORT_GET), RDMA_NLDEV_ATTR_NDEV_INDEX, 3), 0);
	assert_int_equal(rdma_has_netdev(wire, 7, &has, &err), 0);
	assert_true(has);
	assert_string_equal(sent, "1405 1 08000100070000000800030001000000");
	(void)forget(NULL);
	(void)answer(RDMA_NLDEV_CMD_PORT_GET);
	assert_int_equal(rdma_has_netdev(wire, 7, &has, &err), 0);
	assert_false(has);
}

static void test_find_malformed(void **state)
{
	struct rdma_device device;
	struct nl_msg *msg;

	(void)state;
	msg = answer(RDMA_NLDEV_CMD_GET);
	assert_int_equal(nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, "mlx5_0"), 0);
	assert_int_equal(rdma_find(wire, "mlx5_0", &device, &err), -EBADMSG); /* no index */
	(void)forget(NULL);
	msg = answer(RDMA_NLDEV_CMD_GET);
	assert_int_equal(nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, "mlx5_0"), 0);
	assert_int_equal(nla_put_u8(msg, RDMA_NLDEV_ATTR_DEV_INDEX, 3), 0);
	assert_int_equal(rdma_find(wire, "mlx5_0", &device, &err), -EBADMSG);
	refusal = -ETIMEDOUT;
	assert_int_equal(rdma_find(wire, "mlx5_0", &device, &err), -ETIMEDOUT);
}

struct seen {
	uint32_t indexes;
	enum rdma_moderation moderation[3];
};

static void see(const struct rdma_device *device, void *arg)
{
	struct seen *seen = arg;

	assert_in_range(device->index, 0, 2);
	seen->indexes |= 1U << device->index;
	seen->moderation[device->index] = device->moderation;
}

static void test_moderation(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(rdma_list(NULL, see, &seen, &err), 0);
	assert_int_equal(seen.indexes, 0);
	(void)answer_device(0, "mlx5_0", 1); /* a kernel that does not tell */
	assert_int_equal(nla_put_u8(answer_device(1, "mlx5_1", 2), RDMA_NLDEV_ATTR_DEV_DIM, 0), 0);
	assert_int_equal(nla_put_u8(answer_device(2, "mlx5_2", 3), RDMA_NLDEV_ATTR_DEV_DIM, 1), 0);
	assert_int_equal(rdma_list(wire, see, &seen, &err), 0);
	assert_string_equal(sent, "1401 301 ");
	assert_int_equal(seen.indexes, 7);
	assert_int_equal(seen.moderation[0], RDMA_MODERATION_UNKNOWN);
	assert_int_equal(seen.moderation[1], RDMA_MODERATION_OFF);
	assert_int_equal(seen.moderation[2], RDMA_MODERATION_ON);
	assert_int_equal(rdma_set_moderation(wire, 7, RDMA_MODERATION_ON, &err), 0);
	assert_string_equal(sent, "1402 5 0800010007000000"
				  "0500540001000000");
	assert_string_equal(what_text, "switch adaptive moderation of RDMA device 7 on");
	assert_int_equal(rdma_set_moderation(wire, 7, RDMA_MODERATION_OFF, &err), 0);
	assert_string_equal(sent, "1402 5 0800010007000000"
				  "0500540000000000");
	refusal = -EPERM;
	assert_int_equal(rdma_set_moderation(wire, 7, RDMA_MODERATION_OFF, &err), -EPERM);
	assert_int_equal(rdma_list(wire, see, &seen, &err), -EPERM);
}

static void test_chardev(void **state)
{
	char name[RDMA_CHARDEV_MAX + 1] = "untouched";

	(void)state;
	assert_int_equal(nla_put_string(answer(RDMA_NLDEV_CMD_GET_CHARDEV),
					RDMA_NLDEV_ATTR_CHARDEV_NAME, "uverbs3"),
			 0);
	assert_int_equal(rdma_chardev(wire, 7, name, &err), 0);
	assert_string_equal(name, "uverbs3");
	assert_string_equal(sent, "140f 1 0800010007000000"    /* the device's index */
				  "0b0045007576657262730000"); /* CHARDEV_TYPE "uverbs" */
	refusal = -EOPNOTSUPP;
	assert_int_equal(rdma_chardev(wire, 7, name, &err), -ENODEV);
	assert_int_equal(err.code, ERR_DEVICE);
	refusal = -EINVAL; /* no such device */
	assert_int_equal(rdma_chardev(wire, 7, name, &err), -EINVAL);
	(void)forget(NULL);
	(void)answer(RDMA_NLDEV_CMD_GET_CHARDEV);
	assert_int_equal(rdma_chardev(wire, 7, name, &err), -EBADMSG);
	assert_string_equal(name, "uverbs3");
}

static void test_rename_and_move(void **state)
{
	(void)state;
	assert_int_equal(rdma_rename(wire, 7, "rail0", &err), 0);
	assert_string_equal(sent, "1402 5 0800010007000000"
				  "0a0002007261696c30000000"); /* DEV_NAME */
	assert_string_equal(what_text, "rename RDMA device 7 to rail0");
	assert_int_equal(rdma_move(wire, 7, 9, &err), 0);
	assert_string_equal(sent, "1402 5 0800010007000000"
				  "0800440009000000"); /* NET_NS_FD */
	assert_string_equal(what_text, "move RDMA device 7");
	refusal = -EOPNOTSUPP;
	assert_int_equal(rdma_move(wire, 7, 9, &err), -EOPNOTSUPP);
	refusal = -EEXIST;
	assert_int_equal(rdma_rename(wire, 7, "rail0", &err), -EEXIST);
}

#define MESSAGE_TEST(f) cmocka_unit_test_teardown(f, forget)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MESSAGE_TEST(test_mode),
		MESSAGE_TEST(test_find),
		MESSAGE_TEST(test_find_malformed),
		MESSAGE_TEST(test_moderation),
		MESSAGE_TEST(test_chardev),
		MESSAGE_TEST(test_rename_and_move),
		MESSAGE_TEST(test_get),
		MESSAGE_TEST(test_netdev),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
