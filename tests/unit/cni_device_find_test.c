/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod that gives its VF another name each time somebody looks, and keeps a list of its devices
 * from ever being whole. The linker puts the functions below in the place of the kernel.
 */
#include "cni/device.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host/sysfs.h"

enum { VF_IFINDEX = 77, FOR_EVER = 1000000 };

int __wrap_sysfs_pci_function(int root_fd, const struct pci_addr *addr,
			      struct pci_function *ret_function, struct err *err);
int __wrap_link_get(struct wire *rt, const char *name, struct link_info *ret_link, struct err *err);
int __wrap_link_get_index(struct wire *rt, int ifindex, struct link_info *ret_link,
			  struct err *err);
int __wrap_link_list(struct wire *rt, int (*each)(const struct link_info *link, void *arg),
		     void *arg, struct err *err);

static struct {
	bool absent;
	int renames; /* it gets another name after so many more looks at its function… */
	bool both;   /* …which shows both */
	int number;  /* in its name */
	int lists;
} pod;

static struct link_info the_vf(void)
{
	struct link_info link = { .ifindex = VF_IFINDEX, .parent = "pci/0000:01:10.1" };

	(void)snprintf(link.name, sizeof(link.name), "w%d", pod.number);
	return link;
}

int __wrap_sysfs_pci_function(int root_fd, const struct pci_addr *addr,
			      struct pci_function *ret_function, struct err *err)
{
	(void)root_fd;
	*ret_function = (struct pci_function) { .addr = *addr };
	if (!pod.absent)
		(void)snprintf(ret_function->netdev, sizeof(ret_function->netdev), "w%d",
			       pod.number);
	if (pod.renames == 0)
		return 0;
	pod.renames--;
	pod.number++;
	return pod.both ? err_set(err, ENOTUNIQ, ERR_DEVICE, "it has two") : 0;
}

int __wrap_link_get(struct wire *rt, const char *name, struct link_info *ret_link, struct err *err)
{
	(void)rt;
	*ret_link = the_vf();
	if (!pod.absent && strcmp(name, ret_link->name) == 0)
		return 0;
	return err_set(err, ENODEV, ERR_DEVICE, "no such device");
}

int __wrap_link_get_index(struct wire *rt, int ifindex, struct link_info *ret_link, struct err *err)
{
	(void)rt;
	(void)ret_link;
	assert_int_not_equal(ifindex, VF_IFINDEX); /* nobody knows its new number */
	return err_set(err, ENODEV, ERR_DEVICE, "no such device");
}

int __wrap_link_list(struct wire *rt, int (*each)(const struct link_info *link, void *arg),
		     void *arg, struct err *err)
{
	(void)rt;
	(void)each;
	(void)arg;
	pod.lists++;
	return err_set(err, EAGAIN, ERR_KERNEL, "list devices: changed while it was read");
}

static int find(struct link_info *ret_link)
{
	static char wire, ifname[] = "net1";
	static const struct netconf conf;
	const struct attachment record = {
		.ifname = ifname,
		.device = { .key = "pci:0000:01:10.1",
			    .name = "eth5",
			    .parent = "pci/0000:01:10.1",
			    .ifindex = 5,
			    .vf.is_vf = true },
	};
	struct site site = {
		.record = &record, .conf = &conf, .pod = (struct wire *)&wire, .pod_sysfs = 99
	};
	struct err err;

	return device_find_in_pod(&site, ret_link, &err);
}

/* Under a new name and number, while no list of the pod's links can be whole. */
static void test_new_name_and_number(void **state)
{
	struct link_info link;

	(void)state;
	memset(&pod, 0, sizeof(pod));
	assert_int_equal(find(&link), 1);
	assert_int_equal(link.ifindex, VF_IFINDEX);
	assert_int_equal(pod.lists, 0);
}

static void test_renamed_between_two_looks(void **state)
{
	struct link_info link;

	(void)state;
	for (int both = 0; both < 2; both++) {
		memset(&pod, 0, sizeof(pod));
		pod.renames = 20;
		pod.both = both;
		assert_int_equal(find(&link), 1);
		assert_int_equal(link.ifindex, VF_IFINDEX);
		assert_int_equal(pod.lists, 0);
	}
}

/* That it is not there needs no list either. */
static void test_not_there(void **state)
{
	struct link_info link;

	(void)state;
	memset(&pod, 0, sizeof(pod));
	pod.absent = true;
	assert_int_equal(find(&link), 0);
	assert_int_equal(pod.lists, 0);
}

/* What cannot be caught is not called absent. */
static void test_renamed_for_ever(void **state)
{
	struct link_info link;

	(void)state;
	memset(&pod, 0, sizeof(pod));
	pod.renames = FOR_EVER;
	assert_int_equal(find(&link), -EAGAIN);
	assert_int_equal(pod.lists, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_name_and_number),
		cmocka_unit_test(test_renamed_between_two_looks),
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_renamed_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
