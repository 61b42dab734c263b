/* SPDX-License-Identifier: Apache-2.0 */
/* What readings make of the picture: baselines, drift, owners, the choice of a VF. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ipamd/picture.h"

enum { PFS = 2, VFS = 3, RECORD = 7 };

/* What was told of last, and how often anything was. */
static struct {
	int count;
	bool drifted, of_pf;
	char why[PICTURE_WHY_MAX];
} told;

static void tell(const struct pf_entry *pf, const struct vf_entry *vf)
{
	told.count++;
	told.of_pf = !vf;
	told.drifted = vf && vf->drifted;
	(void)snprintf(told.why, sizeof(told.why), "%s", vf ? vf->why : pf->why);
}

static struct pci_addr pf_addr(int pf)
{
	return (struct pci_addr) { .bus = (uint8_t)(pf + 1) };
}

static struct pci_addr vf_addr(int pf, int vf)
{
	return (struct pci_addr) { .bus = (uint8_t)(pf + 1),
				   .device = 0x10,
				   .function = (uint8_t)vf };
}

static struct vf_state clean(void)
{
	return (struct vf_state) {
		.known = VF_BIT(VF_VLAN) | VF_BIT(VF_TRUST) | VF_BIT(VF_SPOOFCHK),
		.spoofchk = true,
	};
}

/* A reading of one PF whose VFs are all clean, begun at @ns. */
static struct scan reading(int pf, size_t vfs, uint64_t ns)
{
	struct scan scan = { .begun_ns = ns, .pfs = calloc(1, sizeof(*scan.pfs)), .pf_count = 1 };
	struct scan_pf *seen = scan.pfs;

	assert_non_null(scan.pfs);
	*seen = (struct scan_pf) {
		.addr = pf_addr(pf),
		.ifindex = 10 + pf,
		.mtu = 9000,
		.listed = true,
		.vfs = calloc(vfs + 1, sizeof(*seen->vfs)),
		.vf_count = vfs,
	};
	(void)snprintf(seen->netdev, sizeof(seen->netdev), "ens%d", pf);
	for (size_t i = 0; i < vfs; i++) {
		struct scan_vf *vf = &seen->vfs[i];

		*vf = (struct scan_vf) { .addr = vf_addr(pf, (int)i), .index = (int)i };
		vf->said = true;
		vf->state = clean();
		(void)snprintf(vf->netdev, sizeof(vf->netdev), "ens%uv%u", (uint8_t)pf, (uint8_t)i);
		(void)snprintf(vf->driver, sizeof(vf->driver), "igbvf");
	}
	return scan;
}

static bool take(struct picture *picture, struct scan scan)
{
	bool fresh;

	assert_int_equal(picture_take(picture, &scan, &fresh, tell), 0);
	return fresh;
}

static int setup(void **state)
{
	struct picture *picture = calloc(1, sizeof(*picture));

	memset(&told, 0, sizeof(told));
	*state = picture;
	for (int i = PFS; i-- > 0;) { /* the later one first: it is put in order */
		assert_true(take(picture, reading(i, VFS, 100)));
	}
	for (int i = 0; i < PFS; i++) {
		for (size_t j = 0; j < picture->pfs[i].vf_count; j++)
			picture->pfs[i].vfs[j].fresh = false;
	}
	return 0;
}

static int teardown(void **state)
{
	picture_free(*state);
	free(*state);
	return 0;
}

static struct vf_entry *vf_of(struct picture *picture, int pf, int vf)
{
	struct pci_addr addr = vf_addr(pf, vf);
	struct vf_entry *found = picture_vf(picture, &addr, NULL);

	assert_non_null(found);
	return found;
}

static void what_is_read_is_the_baseline(void **state)
{
	struct picture *picture = *state;
	struct scan scan = reading(0, VFS, 200);
	const struct vf_entry *vf;

	assert_int_equal(picture->pf_count, PFS);
	assert_int_equal(picture->pfs[0].addr.bus, 1);
	scan.pfs[0].vfs[1].state.trust = true;
	assert_false(take(picture, scan));
	vf = vf_of(picture, 0, 1);
	assert_true(vf->baseline.trust && vf->now.trust);
	assert_int_equal(vf->use, VF_FREE);
	assert_int_equal(told.count, 0);
}

static void a_held_one_keeps_its_baseline(void **state)
{
	struct picture *picture = *state;
	struct scan scan = reading(0, VFS, 200);

	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	scan.pfs[0].vfs[1].state.trust = true;
	scan.pfs[0].vfs[1].netdev[0] = '\0';
	(void)take(picture, scan);
	assert_int_equal(vf_of(picture, 0, 1)->use, VF_HELD);
	assert_false(vf_of(picture, 0, 1)->baseline.trust);
	assert_true(vf_of(picture, 0, 1)->now.trust);
	assert_int_equal(told.count, 0);
}

static void drift_is_told_once_and_ends(void **state)
{
	struct picture *picture = *state;

	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	picture_release(vf_of(picture, 0, 1), 250);
	for (uint64_t ns = 300; ns < 303; ns++) {
		struct scan scan = reading(0, VFS, ns);

		scan.pfs[0].vfs[1].state.trust = true;
		scan.pfs[0].vfs[1].state.vlan = 7;
		(void)take(picture, scan);
		assert_int_equal(told.count, 1);
		assert_true(told.drifted);
		assert_string_equal(told.why, "vlan is 7 qos 0 802.1q, was 0 qos 0 802.1q; "
					      "trust is on, was off");
		assert_false(vf_of(picture, 0, 1)->baseline.trust);
	}
	(void)take(picture, reading(0, VFS, 400));
	assert_int_equal(told.count, 2);
	assert_false(told.drifted || vf_of(picture, 0, 1)->touched);
}

/* What its driver told: kept while a pod has it, compared when it is back. */
static void what_the_driver_tells_can_drift_too(void **state)
{
	struct picture *picture = *state;
	struct ethtool_settings settings = {
		.known = ETHTOOL_BIT(RINGS_RX) | ETHTOOL_BIT(ETHTOOL_FEATURES), .features = 0x30
	};
	struct scan scan = reading(0, VFS, 200);

	settings.numbers[RINGS_RX] = 1024;
	scan.pfs[0].vfs[1].ethtool = settings;
	scan.pfs[0].vfs[1].moderation = RDMA_MODERATION_OFF;
	(void)take(picture, scan);
	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	(void)take(picture, reading(0, VFS, 210)); /* it is away: nothing is told */
	picture_release(vf_of(picture, 0, 1), 250);
	scan = reading(0, VFS, 300);
	settings.numbers[RINGS_RX] = 128;
	settings.features = 0x10;
	scan.pfs[0].vfs[1].ethtool = settings;
	scan.pfs[0].vfs[1].moderation = RDMA_MODERATION_ON;
	(void)take(picture, scan);
	assert_string_equal(told.why, "adaptive-moderation is on, was off; "
				      "ring rx is 128, was 1024; features is 0x10, was 0x30");
	assert_int_equal(vf_of(picture, 0, 1)->moderation, RDMA_MODERATION_OFF);
	assert_int_equal(vf_of(picture, 0, 1)->ethtool.numbers[RINGS_RX], 1024);
	scan = reading(0, VFS, 400);
	settings.numbers[RINGS_RX] = 1024;
	settings.features = 0x30;
	scan.pfs[0].vfs[1].ethtool = settings;
	scan.pfs[0].vfs[1].moderation = RDMA_MODERATION_OFF;
	(void)take(picture, scan);
	assert_int_equal(told.count, 2);
	assert_false(told.drifted);
}

/* Its PF alone, or its driver alone, says nothing of what the other one tells. */
static void what_is_not_told_may_differ(void **state)
{
	struct picture *picture = *state;
	struct ethtool_settings settings = { .known = ETHTOOL_BIT(RINGS_RX) };
	struct scan scan = reading(0, VFS, 200);

	settings.numbers[RINGS_RX] = 1024;
	scan.pfs[0].vfs[1].ethtool = settings;
	(void)take(picture, scan);
	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	picture_release(vf_of(picture, 0, 1), 250);
	(void)take(picture, reading(0, VFS, 300)); /* the driver does not answer */
	scan = reading(0, VFS, 310);
	scan.pfs[0].vfs[1].ethtool = settings;
	scan.pfs[0].vfs[1].said = false; /* nor does the PF */
	(void)take(picture, scan);
	assert_int_equal(told.count, 0);
	scan = reading(0, VFS, 320);
	settings.numbers[RINGS_RX] = 128;
	scan.pfs[0].vfs[1].ethtool = settings;
	scan.pfs[0].vfs[1].state.trust = true;
	(void)take(picture, scan);
	assert_string_equal(told.why, "trust is on, was off; ring rx is 128, was 1024");
}

/* A reading that began while the pod had it says nothing of how it came back. */
static void a_reading_from_before_counts_not(void **state)
{
	struct picture *picture = *state;
	struct scan scan = reading(0, VFS, 200);

	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	picture_release(vf_of(picture, 0, 1), 250);
	scan.pfs[0].vfs[1].state.trust = true;
	scan.pfs[0].vfs[1].netdev[0] = '\0';
	(void)take(picture, scan);
	assert_int_equal(told.count, 0);
	assert_true(vf_of(picture, 0, 1)->unseen);
	assert_int_equal(vf_of(picture, 0, 1)->use, VF_FREE);
}

static void a_list_that_cannot_be_read(void **state)
{
	struct picture *picture = *state;

	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	picture_release(vf_of(picture, 0, 1), 250);
	for (uint64_t ns = 300; ns < 302; ns++) {
		struct scan scan = reading(0, VFS, ns);

		for (int i = 0; i < VFS; i++)
			scan.pfs[0].vfs[i].said = false;
		(void)snprintf(scan.pfs[0].why, sizeof(scan.pfs[0].why), "too long");
		(void)take(picture, scan);
	}
	assert_int_equal(told.count, 1);
	assert_true(told.of_pf);
	assert_string_equal(told.why, "too long");
	assert_int_equal(vf_of(picture, 0, 0)->use, VF_FREE);
	assert_int_equal(vf_of(picture, 0, 0)->baseline.known, 0);
	assert_int_equal(vf_of(picture, 0, 1)->baseline.known, clean().known);
	assert_false(vf_of(picture, 0, 1)->drifted);
	(void)take(picture, reading(0, VFS, 400));
	assert_int_equal(told.count, 2);
	assert_int_equal(vf_of(picture, 0, 0)->baseline.known, clean().known);
}

static void what_cannot_be_read_stays(void **state)
{
	struct picture *picture = *state;
	struct scan scan = reading(0, VFS, 200);

	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		struct scan_vf *vf = &scan.pfs[0].vfs[i];

		*vf = (struct scan_vf) { .addr = vf->addr, .index = i, .why = "two netdevs" };
	}
	(void)take(picture, scan);
	assert_int_equal(vf_of(picture, 0, 0)->use, VF_AWAY);
	assert_string_equal(vf_of(picture, 0, 0)->unread, "two netdevs");
	assert_string_equal(vf_of(picture, 0, 0)->netdev, "ens0v0");
	assert_int_equal(vf_of(picture, 0, 1)->use, VF_HELD);
	(void)take(picture, reading(0, VFS, 210));
	assert_int_equal(vf_of(picture, 0, 0)->use, VF_FREE);

	for (int i = 0; i < 2; i++) {
		scan = reading(0, 1, 220);
		scan.pfs[0].unread = true;
		(void)snprintf(scan.pfs[0].why, sizeof(scan.pfs[0].why), "no link");
		(void)take(picture, scan);
	}
	assert_int_equal(told.count, 1);
	assert_string_equal(told.why, "no link");
	assert_int_equal(picture->pfs[0].vf_count, VFS);
	scan = reading(PFS, 0, 230); /* nor one that was never read */
	scan.pfs[0].unread = true;
	(void)take(picture, scan);
	assert_int_equal(picture->pf_count, PFS + 1);
	assert_int_equal(picture->pfs[PFS].vf_count, 0);
}

static void facts_alone_change_no_state(void **state)
{
	struct picture *picture = *state;
	struct scan scan = reading(0, VFS, 200);

	scan.pfs[0].listed = false;
	for (int i = 0; i < VFS; i++)
		scan.pfs[0].vfs[i].said = false;
	(void)snprintf(scan.pfs[0].vfs[0].netdev, IFNAME_MAX, "other");
	(void)take(picture, scan);
	assert_string_equal(vf_of(picture, 0, 0)->netdev, "other");
	assert_int_equal(vf_of(picture, 0, 0)->now.known, clean().known);
}

static void uses(void **state)
{
	struct picture *picture = *state;
	struct scan scan = reading(0, VFS, 200);

	scan.pfs[0].vfs[0].netdev[0] = '\0';
	scan.pfs[0].vfs[1].netdev[0] = scan.pfs[0].vfs[1].driver[0] = '\0';
	scan.pfs[0].vfs[2].netdev[0] = '\0';
	scan.pfs[0].vfs[2].userspace = true;
	(void)take(picture, scan);
	assert_int_equal(vf_of(picture, 0, 0)->use, VF_AWAY);
	assert_int_equal(vf_of(picture, 0, 1)->use, VF_DRIVERLESS);
	assert_int_equal(vf_of(picture, 0, 2)->use, VF_USERSPACE);
	picture_own(vf_of(picture, 0, 2), RECORD, NULL, NULL);
	assert_int_equal(vf_of(picture, 0, 2)->use, VF_HELD);
}

static void vfs_come_and_go(void **state)
{
	struct picture *picture = *state;
	struct pci_addr second = vf_addr(0, 1), pf = pf_addr(1);
	struct scan all = reading(0, 1, 300);
	const struct vf_state dirty = { .known = VF_BIT(VF_TRUST), .trust = true };

	picture_own(vf_of(picture, 0, 1), RECORD, NULL, NULL);
	picture_forget(picture, &second);
	assert_null(picture_vf(picture, &second, NULL));
	assert_non_null(picture_vf(
		picture, &(struct pci_addr) { .bus = 1, .device = 0x10, .function = 2 }, NULL));
	assert_true(take(picture, reading(0, VFS, 200)));
	assert_true(vf_of(picture, 0, 1)->fresh && !vf_of(picture, 0, 0)->fresh);
	picture_own(vf_of(picture, 0, 1), RECORD, &dirty, NULL); /* as its record has it */
	assert_true(vf_of(picture, 0, 1)->baseline.trust);

	(void)take(picture, reading(1, 0, 250)); /* the PF has none any more */
	assert_null(picture_pf(picture, &pf));
	(void)take(picture, reading(1, VFS, 260));
	all.all = true; /* and this is all there is */
	(void)take(picture, all);
	assert_int_equal(picture->pf_count, 1);
	assert_int_equal(picture->pfs[0].vf_count, 1);
}

struct offers {
	int count, stop_at;
	struct pci_addr addrs[PFS * VFS];
};

static int offer(const struct pf_entry *pf, const struct vf_entry *vf, void *arg)
{
	struct offers *offers = arg;

	(void)pf;
	offers->addrs[offers->count++] = vf->addr;
	return offers->count == offers->stop_at ? 5 : 0;
}

static void the_least_used_pf_gives_first(void **state)
{
	struct picture *picture = *state;
	struct offers offers = { 0 };
	struct pci_addr first = vf_addr(1, 0), second = vf_addr(1, 2), last = vf_addr(0, 2);

	picture_own(vf_of(picture, 0, 0), 1, NULL, NULL);
	picture_own(vf_of(picture, 0, 1), 2, NULL, NULL);
	picture_own(vf_of(picture, 1, 1), 3, NULL, NULL);
	assert_int_equal(picture_offer(picture, offer, &offers), 0);
	assert_int_equal(offers.count, 3);
	assert_true(pci_same(&offers.addrs[0], &first) && pci_same(&offers.addrs[1], &second) &&
		    pci_same(&offers.addrs[2], &last));
	offers = (struct offers) { .stop_at = 2 };
	assert_int_equal(picture_offer(picture, offer, &offers), 5);
	assert_int_equal(offers.count, 2);
}

static void who_needs_a_guid(void **state)
{
	const uint32_t both = VF_BIT(VF_NODE_GUID) | VF_BIT(VF_PORT_GUID);
	struct vf_entry vf = { .guid = 0 };

	(void)state;
	assert_false(picture_needs_guid(&vf)); /* none of ours */
	vf.guid = 0x0200000000000102;
	assert_true(picture_needs_guid(&vf)); /* nobody says what it has, nor did we give it */
	vf.bound = vf.guid;
	assert_true(picture_needs_guid(&vf)); /* where is its driver? */
	vf.settled = true;
	assert_false(picture_needs_guid(&vf));
	vf.now = (struct vf_state) { both, .node_guid = vf.guid, .port_guid = vf.guid };
	vf.bound = 0;
	assert_false(picture_needs_guid(&vf));
	vf.mac = (struct mac) { .len = MAC_MAX }; /* set, and not bound since */
	assert_true(picture_needs_guid(&vf));
	vf.mac.bytes[12] = 2;
	vf.mac.bytes[18] = 1;
	vf.mac.bytes[19] = 2;
	assert_false(picture_needs_guid(&vf));
	vf.now.node_guid++;
	assert_true(picture_needs_guid(&vf));
	vf.now.known = 0; /* then its own address tells */
	assert_false(picture_needs_guid(&vf));
}

/* Of a VF whose address and one of whose driver's numbers are known, too. */
static struct scan reading_of_driver(uint64_t ns, uint8_t mac, uint64_t number, bool trust)
{
	struct scan scan = reading(0, VFS, ns);
	struct scan_vf *vf = &scan.pfs[0].vfs[1];

	vf->state.known |= VF_BIT(VF_MAC);
	vf->state.mac = (struct mac) { .len = 6, .bytes = { 2, 0, 0, 0, 0, mac } };
	vf->state.trust = trust;
	vf->ethtool.known = 1;
	vf->ethtool.numbers[0] = number;
	return scan;
}

/* What a driver makes anew is no drift; what the PF was told is compared as ever. */
static void a_driver_is_bound_anew(void **state)
{
	struct picture *picture = *state;
	struct pci_addr addr = vf_addr(0, 1);
	struct vf_entry *vf;

	assert_false(take(picture, reading_of_driver(150, 1, 10, false)));
	vf = picture_vf(picture, &addr, NULL);
	picture_own(vf, RECORD, NULL, NULL);
	vf->to_rebind = true;
	picture_release(vf, 200);
	assert_int_equal(vf->use, VF_PREPARING);
	assert_false(take(picture, reading_of_driver(300, 9, 99, true)));
	assert_int_equal(told.count, 0); /* what the pod left ends first */
	vf = picture_vf(picture, &addr, NULL);
	assert_int_equal(vf->use, VF_PREPARING);
	vf->broken = true;
	picture_judge(vf);
	assert_int_equal(vf->use, VF_BROKEN);
	vf->broken = false;
	picture_rebound(vf, 400);
	assert_int_equal(vf->use, VF_FREE);
	assert_false(take(picture, reading_of_driver(500, 2, 20, true)));
	assert_string_equal(told.why, "trust is on, was off");
	assert_false(take(picture, reading_of_driver(600, 2, 20, false)));
	assert_false(told.drifted);
	vf = picture_vf(picture, &addr, NULL);
	assert_int_equal(vf->baseline.mac.bytes[5], 2);
	assert_int_equal(vf->ethtool.numbers[0], 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_read_is_the_baseline),
		TEST(a_driver_is_bound_anew),
		TEST(a_held_one_keeps_its_baseline),
		TEST(drift_is_told_once_and_ends),
		TEST(what_the_driver_tells_can_drift_too),
		TEST(what_is_not_told_may_differ),
		TEST(a_reading_from_before_counts_not),
		TEST(a_list_that_cannot_be_read),
		TEST(what_cannot_be_read_stays),
		TEST(facts_alone_change_no_state),
		TEST(uses),
		TEST(vfs_come_and_go),
		TEST(the_least_used_pf_gives_first),
		TEST(who_needs_a_guid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
