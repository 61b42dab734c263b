/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GUID of a VF, against a PF and a driver of our own making: the linker puts the functions
 * below in the place of sysfs and rtnetlink (-Wl,--wrap). tests/vm has the real kernel.
 */
#include "cni/guid.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <linux/rtnetlink.h>

#include "base/clock.h"
#include "cni/cmd.h"
#include "host/sysfs.h"
#include "rt/addr.h"
#include "rt/link.h"
#include "rt/vf.h"

enum { NEVER = 1000 };

static const struct pci_addr vf_addr = { .bus = 0x1a, .function = 1 };

/* The node. A rebind takes netdev and RDMA device away for as many looks as it says. */
static struct {
	struct pci_function function;
	uint64_t address; /* the GUID in the netdev's address */
	uint64_t node_guid, port_guid;
	int set, rebound;
	int netdev_back, rdma_back; /* after so many looks */
	bool stubborn;              /* the driver does not take the GUID */
	int renaming;               /* so many link gets miss the netdev */
	int set_fails;
	int master;
	bool has_address;
	bool probe_is_off, no_driver_takes_it;
} node;

int __wrap_sysfs_pci_function(int root_fd, const struct pci_addr *addr,
			      struct pci_function *ret_function, struct err *err);
int __wrap_sysfs_rebind(int root_fd, const struct pci_addr *addr, struct err *err);
bool __wrap_sysfs_may_probe(int root_fd, const struct pci_addr *vf);
int __wrap_link_get(struct wire *rt, const char *name, struct link_info *ret_link, struct err *err);
int __wrap_addr_find_global(struct wire *rt, int ifindex, struct cidr *ret_cidr, struct err *err);
int __wrap_vf_set(struct wire *rt, int pf_ifindex, int vf, enum vf_attr attr,
		  const struct vf_state *state, struct err *err);

int __wrap_sysfs_pci_function(int root_fd, const struct pci_addr *addr,
			      struct pci_function *ret_function, struct err *err)
{
	(void)root_fd;
	(void)err;
	assert_memory_equal(addr, &vf_addr, sizeof(vf_addr));
	*ret_function = node.function;
	if (node.rebound && node.netdev_back-- > 0)
		ret_function->netdev[0] = '\0';
	if (node.rebound && node.rdma_back-- > 0)
		ret_function->rdma[0] = '\0';
	return 0;
}

int __wrap_sysfs_rebind(int root_fd, const struct pci_addr *addr, struct err *err)
{
	(void)root_fd;
	(void)addr;
	node.rebound++;
	if (node.no_driver_takes_it)
		return err_set(err, ENODEV, ERR_DEVICE, "none took it");
	if (!node.function.driver[0]) {
		(void)snprintf(node.function.driver, SYSFS_NAME_MAX, "mlx5_core");
		(void)snprintf(node.function.netdev, sizeof(node.function.netdev), "ib1");
	}
	if (!node.stubborn)
		node.address = node.port_guid;
	return 0;
}

int __wrap_link_get(struct wire *rt, const char *name, struct link_info *ret_link, struct err *err)
{
	(void)rt;
	*ret_link = (struct link_info) { .ifindex = 7, .mac.len = MAC_MAX };
	if (strcmp(name, "ib0") == 0)
		return 0;
	if (node.rebound && node.renaming-- > 0)
		return err_set(err, ENODEV, ERR_DEVICE, "find device %s", name);
	(void)snprintf(ret_link->name, sizeof(ret_link->name), "%s", name);
	ret_link->master = node.master;
	ret_link->ifindex = 8;
	for (int i = 0; i < 8; i++)
		ret_link->mac.bytes[MAC_MAX - 8 + i] = (uint8_t)(node.address >> (56 - 8 * i));
	return 0;
}

bool __wrap_sysfs_may_probe(int root_fd, const struct pci_addr *vf)
{
	(void)root_fd;
	(void)vf;
	return !node.probe_is_off;
}

int __wrap_addr_find_global(struct wire *rt, int ifindex, struct cidr *ret_cidr, struct err *err)
{
	(void)rt;
	(void)err;
	assert_int_equal(ifindex, 8);
	*ret_cidr = (struct cidr) { .ip.family = AF_INET };
	return node.has_address;
}

int __wrap_vf_set(struct wire *rt, int pf_ifindex, int vf, enum vf_attr attr,
		  const struct vf_state *state, struct err *err)
{
	(void)rt;
	assert_int_equal(pf_ifindex, 7);
	assert_int_equal(vf, 3);
	assert_int_equal(node.rebound, 0);
	if (++node.set == node.set_fails)
		return err_set(err, EOPNOTSUPP, ERR_KERNEL, "set %s of VF 3", vf_attr_name(attr));
	if (attr == VF_NODE_GUID)
		node.node_guid = state->node_guid;
	else
		node.port_guid = state->port_guid;
	return 0;
}

/* A VF with a driver, an IPoIB netdev and an RDMA device, fresh. */
static int fresh(void **state)
{
	(void)state;
	memset(&node, 0, sizeof(node));
	node.function = (struct pci_function) {
		.addr = vf_addr,
		.is_vf = true,
		.vf_index = 3,
		.pf_netdev = "ib0",
		.driver = "mlx5_core",
		.netdev = "ib1",
		.rdma = "mlx5_3",
	};
	return 0;
}

static int give(uint64_t guid, int64_t for_ms, struct err *err)
{
	return guid_bind(NULL, -1, &vf_addr, guid, clock_boot_ms() + for_ms, err);
}

static void expect_bound(uint64_t guid, int rebound)
{
	struct err err = { 0 };

	if (give(guid, 5000, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(node.node_guid == guid);
	assert_true(node.port_guid == guid);
	assert_int_equal(node.set, 2);
	assert_int_equal(node.rebound, rebound);
}

static void expect_refused(uint64_t guid, int64_t for_ms, int code, const char *words)
{
	struct err err = { 0 };

	assert_true(give(guid, for_ms, &err) < 0);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.msg, "give VF 0000:1a:00.1 the GUID 02:00:00:00:00:00:00:01"));
	if (!strstr(err.msg, words))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

static void test_fresh_vf(void **state)
{
	(void)state;
	node.netdev_back = 2;
	node.rdma_back = 4;
	node.renaming = 1;
	expect_bound(0x0200000000000001, 1);
	assert_true(node.rdma_back < 0 && node.renaming <= 0); /* both were waited for */
}

static void test_bound_already(void **state)
{
	(void)state;
	node.address = 0x0200000000000001;
	expect_bound(0x0200000000000001, 0);
}

/* Nothing can be verified, but the driver has to read it all the same. */
static void test_zero_is_given_back(void **state)
{
	(void)state;
	node.address = 0x0200000000000001;
	node.stubborn = true;
	expect_bound(0, 1);
}

static void test_no_kernel_driver(void **state)
{
	static const char *const drivers[] = { "", "vfio-pci" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		(void)fresh(NULL);
		(void)snprintf(node.function.driver, sizeof(node.function.driver), "%s",
			       drivers[i]);
		node.function.netdev[0] = node.function.rdma[0] = '\0';
		expect_bound(0x0200000000000001, 0);
	}
}

static void test_without_rdma_device(void **state)
{
	(void)state;
	node.function.rdma[0] = '\0';
	node.netdev_back = 1;
	expect_bound(0x0200000000000001, 1);
}

/* What is in a pod must not lose its driver, nor its GUID. */
static void test_netdev_is_elsewhere(void **state)
{
	(void)state;
	node.function.netdev[0] = '\0';
	expect_refused(0x0200000000000001, 5000, ERR_DEVICE, "no network device here");
	assert_int_equal(node.set + node.rebound, 0);
}

static void test_no_vf(void **state)
{
	(void)state;
	node.function.is_vf = false;
	expect_refused(0x0200000000000001, 5000, ERR_DEVICE, "it is no VF");
	(void)fresh(NULL);
	node.function.pf_netdev[0] = '\0';
	expect_refused(0x0200000000000001, 5000, ERR_DEVICE, "its PF has no network device");
}

static void test_pf_refuses(void **state)
{
	(void)state;
	for (int i = 1; i <= 2; i++) {
		(void)fresh(NULL);
		node.set_fails = i;
		expect_refused(0x0200000000000001, 5000, ERR_KERNEL,
			       i == 1 ? "node guid" : "port guid");
		assert_int_equal(node.rebound, 0);
	}
}

static void test_deadline(void **state)
{
	(void)state;
	node.netdev_back = NEVER;
	expect_refused(0x0200000000000001, 20, ERR_AGAIN, "network device has not come back");
	(void)fresh(NULL);
	node.rdma_back = NEVER;
	expect_refused(0x0200000000000001, 20, ERR_AGAIN, "RDMA device has not come back");
	(void)fresh(NULL);
	node.stubborn = true;
	expect_refused(0x0200000000000001, 20, ERR_KERNEL, "is of another GUID");
}

static int give_free(struct err *err)
{
	const int64_t deadline = clock_boot_ms() + 5000;

	return guid_bind_free(NULL, -1, &vf_addr, 0x0200000000000001, deadline, err);
}

/* A record's VF is the record's, whatever the host thinks; a free one may be the host's. */
static void test_host_uses_it(void **state)
{
	struct err err = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		(void)fresh(NULL);
		node.master = i;
		node.has_address = !i;
		assert_int_equal(give_free(&err), -EBUSY);
		assert_int_equal(node.set + node.rebound, 0);
		expect_bound(0x0200000000000001, 1);
	}
	(void)fresh(NULL);
	assert_int_equal(give_free(&err), 0);
	assert_int_equal(node.rebound, 1);
}

static void test_lost_driver(void **state)
{
	struct err err = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		(void)fresh(NULL);
		node.function.driver[0] = node.function.netdev[0] = node.function.rdma[0] = '\0';
		node.probe_is_off = i == 1;
		node.no_driver_takes_it = i == 2;
		assert_int_equal(give_free(&err), 0);
		assert_int_equal(node.set, 2);
		assert_int_equal(node.rebound, i != 1);
	}
}

static void test_words(void **state)
{
	static const struct {
		const char *pci, *guid;
	} rows[] = {
		{ "", "" },
		{ "mlx5_core.sf.4", "02:00:00:00:00:00:00:01" },
		{ "0000:1a:00.1", "" },
		{ "0000:1a:00.1", "ff:ff:ff:ff:ff:ff:ff:ff" },
		{ "0000:1a:00.1", "03:00:00:00:00:00:00:01" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = { 0 };

		assert_true(cmd_bind_guid(rows[i].pci, rows[i].guid, &err) < 0);
		assert_int_equal(err.code, ERR_VALUE);
		assert_int_equal(node.set, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_fresh_vf, fresh),
		cmocka_unit_test_setup(test_bound_already, fresh),
		cmocka_unit_test_setup(test_zero_is_given_back, fresh),
		cmocka_unit_test_setup(test_no_kernel_driver, fresh),
		cmocka_unit_test_setup(test_without_rdma_device, fresh),
		cmocka_unit_test_setup(test_netdev_is_elsewhere, fresh),
		cmocka_unit_test_setup(test_no_vf, fresh),
		cmocka_unit_test_setup(test_pf_refuses, fresh),
		cmocka_unit_test_setup(test_deadline, fresh),
		cmocka_unit_test_setup(test_host_uses_it, fresh),
		cmocka_unit_test_setup(test_lost_driver, fresh),
		cmocka_unit_test_setup(test_words, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
