/* SPDX-License-Identifier: Apache-2.0 */
/* netlib/host/uevent: messages as the kernel sends them, and others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "host/uevent.h"

#define PCI "/devices/pci0000:00/0000:00:04.0/0000:01:10.2"

/* In memory of its own length, so that a sanitizer sees each read beyond it. */
static bool parse(const char *text, size_t len, struct uevent *ret_event)
{
	static char *copy;

	free(copy);
	copy = malloc(len ? len : 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	return uevent_parse(copy, len, ret_event);
}

#define PARSE(text, event) parse(text, sizeof(text), event)

static void assert_pci(const struct uevent *event, const char *want)
{
	char text[PCI_TEXT + 4];

	assert_true(event->has_pci);
	assert_string_equal(pci_format(&event->pci, text), want);
}

static void test_pci(void **state)
{
	struct uevent event;

	(void)state;
	assert_true(PARSE("bind@" PCI "\0ACTION=bind\0DEVPATH=" PCI "\0SUBSYSTEM=pci\0"
			  "DRIVER=mlx5_core\0PCI_CLASS=20000\0PCI_ID=8086:10CA\0"
			  "PCI_SLOT_NAME=0000:01:10.2\0SEQNUM=4711",
			  &event));
	assert_string_equal(event.action, "bind");
	assert_string_equal(event.devpath, PCI);
	assert_string_equal(event.subsystem, "pci");
	assert_pci(&event, "0000:01:10.2");
}

static void test_below_pci(void **state)
{
	struct uevent event;

	(void)state;
	assert_true(PARSE("move@" PCI "/net/net1\0ACTION=move\0DEVPATH=" PCI "/net/net1\0"
			  "SUBSYSTEM=net\0DEVPATH_OLD=" PCI "/net/eth2\0INTERFACE=net1\0IFINDEX=5",
			  &event));
	assert_string_equal(event.devpath, PCI "/net/net1");
	assert_string_equal(event.subsystem, "net");
	assert_pci(&event, "0000:01:10.2");
	/* a name that is no address does not hide the one above it; nor does its end */
	assert_true(PARSE("add@x\0ACTION=add\0SUBSYSTEM=x\0DEVPATH=" PCI "/0000:01:10.2:pcie001/",
			  &event));
	assert_pci(&event, "0000:01:10.2");
	/* the path is believed before the variable */
	assert_true(PARSE("add@x\0ACTION=add\0SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:09:00.0\0"
			  "DEVPATH=" PCI,
			  &event));
	assert_pci(&event, "0000:01:10.2");
	assert_true(PARSE("add@x\0ACTION=add\0SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:09:00.0\0"
			  "DEVPATH=/devices/odd",
			  &event));
	assert_pci(&event, "0000:09:00.0");
}

static void test_without_pci(void **state)
{
	struct uevent event;

	(void)state;
	assert_true(PARSE("add@/devices/virtual/net/veth0\0ACTION=add\0"
			  "DEVPATH=/devices/virtual/net/veth0\0SUBSYSTEM=net\0INTERFACE=veth0",
			  &event));
	assert_false(event.has_pci);
}

static void test_what_is_none(void **state)
{
	struct uevent event = { .action = "untouched" };

	(void)state;
	assert_false(parse("", 0, &event));
	assert_false(PARSE("", &event));
	assert_false(PARSE("libudev\0\xfe\xed\xca\xfe(\0\0\0ACTION=add", &event));
	assert_false(PARSE("add@/x\0ACTION=add\0DEVPATH=/x", &event)); /* no subsystem */
	assert_false(PARSE("add@/x\0XACTION=add\0DEVPATH=/x\0SUBSYSTEM=y", &event));
	assert_false(parse("add@/x\0ACTION=add\0DEVPATH=/x\0SUBSYSTEM=y", 40, &event)); /* cut */
	assert_string_equal(event.action, "untouched");
}

/* No event can be made here without a device: only that the socket is there and does not block. */
static void test_open(void **state)
{
	CLEANUP_CLOSE int fd = -1;
	struct err err;

	(void)state;
	assert_int_equal(uevent_open(&fd, &err), 0);
	assert_true(fd >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pci),         cmocka_unit_test(test_below_pci),
		cmocka_unit_test(test_without_pci), cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
