/* SPDX-License-Identifier: Apache-2.0 */
/* Who has an address on a PF and in a VLAN, and who a GUID: in records, and in the inventory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ipamd/owners.h"

static struct mac mac(const char *text)
{
	struct mac mac = { 0 };

	if (text[0])
		assert_int_equal(mac_parse(text, &mac), 0);
	return mac;
}

static struct pci_addr pci(const char *text)
{
	struct pci_addr addr;

	assert_int_equal(pci_parse(text, &addr), 0);
	return addr;
}

/* A device with an address and a VLAN of its own, and what is asked for of it. */
struct has {
	const char *key, *pf; /* pf NULL: no VF */
	const char *mac, *asked;
	int vlan;       /* -1: its PF does not tell */
	int asked_vlan; /* -1: none */
	uint64_t own_guid, guid;
};

static struct attachment record_of(const struct has *has, uint64_t id)
{
	struct attachment a = { .id = id, .guid = has->guid };

	(void)snprintf(a.device.key, sizeof(a.device.key), "%s", has->key);
	a.device.mac = mac(has->mac ? has->mac : "");
	a.station.mac = mac(has->asked ? has->asked : "");
	a.station.has_vlan = has->asked_vlan >= 0;
	a.station.vlan = (uint16_t)has->asked_vlan;
	if (!has->pf)
		return a;
	a.device.vf.is_vf = true;
	a.device.vf.pf = pci(has->pf);
	a.device.vf.state.port_guid = has->own_guid;
	if (has->own_guid)
		a.device.vf.state.known |= VF_BIT(VF_PORT_GUID);
	a.device.vf.state.vlan = (uint16_t)has->vlan;
	if (has->vlan >= 0)
		a.device.vf.state.known |= VF_BIT(VF_VLAN);
	return a;
}

#define VF1 "pci:0000:01:10.1"
#define VF2 "pci:0000:01:10.2"
#define PF  "0000:01:00.0"
#define X   "02:00:00:00:00:50"
#define Y   "02:00:00:00:00:51"
#define G   UINT64_C(0x0200000000000005)

static const struct {
	struct has first, second;
	bool clash;
} rows[] = {
	/* Asked for twice; asked for what another has by itself; had by itself what another asked
	   for. */
	{ { VF1, PF, Y, X, 0, -1 }, { VF2, PF, Y, X, 0, -1 }, true },
	{ { VF1, PF, X, NULL, 0, -1 }, { VF2, PF, Y, X, 0, -1 }, true },
	{ { VF1, PF, Y, X, 0, -1 }, { VF2, PF, X, NULL, 0, -1 }, true },
	{ { VF1, PF, X, Y, 0, -1 }, { VF2, PF, X, NULL, 0, -1 }, false }, /* not while it has Y */
	/* Elsewhere it is no trouble. */
	{ { VF1, PF, Y, X, 0, -1 }, { "pci:0000:02:10.2", "0000:02:00.0", Y, X, 0, -1 }, false },
	{ { VF1, PF, Y, X, 0, 5 }, { VF2, PF, Y, X, 0, 6 }, false },
	{ { VF1, PF, Y, X, 5, -1 }, { VF2, PF, Y, X, 0, -1 }, false },
	{ { VF1, PF, Y, X, 5, -1 }, { VF2, PF, Y, X, 0, 5 }, true },
	{ { VF1, PF, Y, X, -1, -1 }, { VF2, PF, Y, X, 0, 5 }, true }, /* nobody knows */
	{ { "net:veth1", NULL, Y, X, 0, -1 }, { "net:veth2", NULL, Y, X, 0, -1 }, false },
	/* The NIC itself, and a subfunction of it. */
	{ { "pci:" PF, NULL, X, NULL, 0, -1 }, { VF2, PF, Y, X, 0, 5 }, true },
	/* Of user space: it has none of its own. */
	{ { VF1, PF, NULL, X, 0, -1 }, { VF2, PF, Y, X, 0, -1 }, true },
	/* GUIDs, on whichever PF. */
	{ { VF1, PF, NULL, NULL, 0, -1, 0, G }, { VF2, PF, NULL, NULL, 0, -1, 0, G }, true },
	{ { VF1, PF, NULL, NULL, 0, -1, G, 0 },
	  { "pci:0000:02:10.2", "0000:02:00.0", NULL, NULL, 0, -1, 0, G },
	  true },
	{ { VF1, PF, NULL, NULL, 0, -1, 0, G }, { VF2, PF, NULL, NULL, 0, -1, G, 0 }, true },
	{ { VF1, PF, NULL, NULL, 0, -1, G, G + 1 }, { VF2, PF, NULL, NULL, 0, -1, 0, G }, false },
	{ { VF1, PF, NULL, NULL, 0, -1, 0, 0 }, { VF2, PF, NULL, NULL, 0, -1, 0, 0 }, false },
};

static void test_records(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct attachment first = record_of(&rows[i].first, 7),
					second = record_of(&rows[i].second, 0);
		const struct owned owned = owned_of_record(&first),
				   wanted = owned_of(&second.device, &second.station, second.guid);
		struct owners owners = { 0 };
		const struct picture picture = { 0 };
		const struct pci_addr self = pci("0000:01:10.2");
		struct owners_clash clash;

		assert_int_equal(owners_make_room(&owners), 0);
		owners_add(&owners, &owned);
		if (owners_find(&owners, &picture, &self, &wanted, &clash) != rows[i].clash)
			fail_msg("row %zu", i);
		if (rows[i].clash)
			assert_int_equal(clash.id, 7);
		owners_remove(&owners, 7);
		assert_false(owners_find(&owners, &picture, &self, &wanted, &clash));
		owners_free(&owners);
	}
}

/* What was asked for of a record of an older daemon is known by what ADD has learnt. */
static void test_record_of_an_older_daemon(void **state)
{
	const struct has has = { VF1, PF, Y, NULL, 0, -1 };
	struct attachment a = record_of(&has, 7);
	struct owned owned;
	(void)state;

	a.facts.mac = mac(X);
	owned = owned_of_record(&a);
	assert_true(mac_equal(&owned.mac, &(struct mac) { 6, { 2, 0, 0, 0, 0, 0x50 } }));
}

static void test_inventory(void **state)
{
	static const struct {
		enum vf_use use;
		bool clash;
	} uses[] = { { VF_AWAY, true },
		     { VF_FREE, false },
		     { VF_CLAIMED, false },
		     { VF_USERSPACE, false },
		     { VF_DRIVERLESS, false } };
	struct vf_entry vf = { .addr = pci("0000:01:10.1") };
	struct pf_entry pf = { .addr = pci(PF), .mac = mac(Y), .vfs = &vf, .vf_count = 1 };
	const struct picture picture = { &pf, 1 };
	const struct owners owners = { 0 };
	const struct has has = { VF2, PF, "02:00:00:00:00:02", X, 0, 5 };
	struct attachment a = record_of(&has, 0);
	struct pci_addr self = pci("0000:01:10.2");
	struct owned wanted = owned_of(&a.device, &a.station, 0);
	struct owners_clash clash;
	(void)state;

	vf.now.mac = mac(X);
	vf.now.known = VF_BIT(VF_MAC) | VF_BIT(VF_VLAN);
	for (vf.now.vlan = 4; vf.now.vlan < 6; vf.now.vlan++) {
		for (size_t i = 0; i < ARRAY_SIZE(uses); i++) {
			vf.use = uses[i].use;
			assert_true(owners_find(&owners, &picture, &self, &wanted, &clash) ==
				    (uses[i].clash && vf.now.vlan == 5));
		}
	}
	/* The PF's own, in whichever VLAN. */
	wanted.mac = pf.mac;
	assert_true(owners_find(&owners, &picture, &self, &wanted, &clash));
	assert_true(!clash.id && !clash.vf && clash.pf == &pf);
	self = pf.addr; /* it is the PF */
	assert_false(owners_find(&owners, &picture, &self, &wanted, &clash));
}

static void test_list(void **state)
{
	struct owners owners = { 0 };
	(void)state;

	for (uint64_t id = 1; id <= 100; id++) {
		assert_int_equal(owners_make_room(&owners), 0);
		owners_add(&owners, &(struct owned) { .id = id });
	}
	for (uint64_t id = 3; id <= 100; id += 3)
		owners_remove(&owners, id);
	owners_remove(&owners, 200);
	assert_int_equal(owners.count, 67);
	for (size_t i = 0; i < owners.count; i++)
		assert_true(owners.at[i].id % 3 != 0);
	owners_free(&owners);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_record_of_an_older_daemon),
		cmocka_unit_test(test_inventory),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests_name("daemon owners", tests, NULL, NULL);
}
