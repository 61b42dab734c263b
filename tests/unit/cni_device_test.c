/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* Which device is ours: a mistake here would take somebody else's. */
static void test_device_is(void **state)
{
	static const struct {
		const char *kind, *parent, *perm, *mac; /* of the device that is found */
		int ifindex, peer;
		const char *was_kind, *was_parent, *was_perm, *was_mac; /* of the baseline */
		bool in_pod, same;
	} rows[] = {
		{ "veth", "", "", "02::1", 3, 0, "veth", "", "", "02::1", false, true },
		{ "veth", "", "", "02::2", 3, 0, "veth", "", "", "02::1", true, false },
		/* the address that was asked for */
		{ "veth", "", "", "02::9", 3, 0, "veth", "", "", "02::1", true, true },
		/* its number and its peer's, in the pod only */
		{ "veth", "", "", "02::2", 7, 4, "veth", "", "", "02::1", true, true },
		{ "veth", "", "", "02::2", 7, 4, "veth", "", "", "02::1", false, false },
		{ "veth", "", "", "02::2", 7, 0, "veth", "", "", "02::1", true, false },
		{ "macvlan", "", "", "02::1", 7, 4, "veth", "", "", "02::1", true, false },
		{ "", "pci/1", "", "02::2", 3, 0, "", "pci/1", "", "02::1", false, true },
		{ "", "pci/2", "", "02::1", 7, 4, "", "pci/1", "", "02::1", true, false },
		/* two ports of one function */
		{ "", "pci/1", "02::3", "02::1", 7, 4, "", "pci/1", "02::4", "02::1", true, false },
		{ "", "pci/1", "02::3", "02::2", 3, 0, "", "pci/1", "02::3", "02::1", false, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct attachment record = { .facts = { .ifindex = 7, .peer = 4 } };
		struct link_info link = { .ifindex = rows[i].ifindex, .peer = rows[i].peer };
		struct mac wished = { .len = 6, .bytes = { 2, 0, 0, 0, 0, 9 } };
#define MAC_OF(text)                              \
	((struct mac) { .len = (text)[0] ? 6 : 0, \
			.bytes = { 2, 0, 0, 0, 0, (text)[0] ? (uint8_t)((text)[4] - '0') : 0 } })

		(void)snprintf(link.kind, sizeof(link.kind), "%s", rows[i].kind);
		(void)snprintf(link.parent, sizeof(link.parent), "%s", rows[i].parent);
		link.mac = MAC_OF(rows[i].mac);
		link.perm_mac = MAC_OF(rows[i].perm);
		(void)snprintf(record.device.kind, sizeof(record.device.kind), "%s",
			       rows[i].was_kind);
		(void)snprintf(record.device.parent, sizeof(record.device.parent), "%s",
			       rows[i].was_parent);
		record.device.mac = MAC_OF(rows[i].was_mac);
		record.device.perm_mac = MAC_OF(rows[i].was_perm);
		if (device_is(&link, &record, &wished, rows[i].in_pod) != rows[i].same)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_device_is) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
