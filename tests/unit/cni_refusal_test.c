/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused before anything is touched: one row a case, of what device, with what said. */
#include "cni/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <linux/if_arp.h>

#include "base/cleanup.h"
#include "base/json.h"

enum device { NIC, VF, IB_VF, VFIO_VF, IB_NIC, DEVICES };

static const struct baseline devices[DEVICES] = {
	[NIC] = { .name = "eth5", .type = ARPHRD_ETHER, .mac.len = 6 },
	[VF] = { .name = "eth5", .type = ARPHRD_ETHER, .mac.len = 6, .vf.is_vf = true },
	[IB_VF] = { .name = "ib5",
		    .type = ARPHRD_INFINIBAND,
		    .mac.len = MAC_MAX,
		    .vf.is_vf = true },
	[VFIO_VF] = { .driver = "vfio-pci", .vf.is_vf = true },
	[IB_NIC] = { .name = "ib5", .type = ARPHRD_INFINIBAND, .mac.len = MAC_MAX },
};

struct row {
	const char *more; /* of the configuration */
	enum device device;
	int rdma_count;
	enum rdma_mode mode;
	int code; /* 0: not refused */
	const char *words;
};

static int judge(const struct row *row, struct err *err)
{
	static char ifname[] = "net1";
	const struct view view = { .rdma_mode = row->mode };
	const struct ip_config none = { 0 };
	struct attachment record = { .ifname = ifname, .device = devices[row->device] };
	struct args args = { 0 };
	CLEANUP_JSON json_t *json = NULL;
	struct netconf conf;
	char text[512];

	(void)snprintf(record.device.key, sizeof(record.device.key), "pci:0000:1a:00.1");
	(void)snprintf(record.device.vf.pf_netdev, sizeof(record.device.vf.pf_netdev), "ens1f0");
	record.device.mtu = 1500;
	record.device.vf.pf_mtu = 9000;
	record.device.rdma.count = row->rdma_count;
	if (row->rdma_count)
		(void)snprintf(record.device.rdma.name, sizeof(record.device.rdma.name), "mlx5_3");
	(void)snprintf(text, sizeof(text),
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"a\",\"deviceID\":\"0000:1a:00.1\"%s}",
		       row->more);
	assert_int_equal(json_parse(text, strlen(text), &json, err), 0);
	if (netconf_read(json, &args, false, &conf, err) < 0)
		fail_msg("%s: %s", text, err->msg);
	return refusal_find(&conf, &record, &none, &view, err);
}

static void expect(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct err err = { 0 };
		int r = judge(&rows[i], &err);

		if ((r < 0) != (rows[i].code != 0) || err.code != rows[i].code)
			fail_msg("row %zu, %s: %d \"%s\"", i, rows[i].more, err.code, err.msg);
		if (r < 0 && !strstr(err.msg, rows[i].words))
			fail_msg("row %zu: \"%s\" does not say \"%s\"", i, err.msg, rows[i].words);
	}
}

static void test_through_the_pf(void **state)
{
	static const struct row rows[] = {
		{ ",\"vlan\":5", NIC, 0, RDMA_ABSENT, ERR_VALUE, "\"vlan\": eth5 is no VF" },
		{ ",\"max_tx_rate\":5", NIC, 0, RDMA_ABSENT, ERR_VALUE, "is no VF" },
		{ ",\"spoofchk\":\"on\"", NIC, 0, RDMA_ABSENT, ERR_VALUE, "\"spoofchk\"" },
		{ ",\"trust\":\"on\"", NIC, 0, RDMA_ABSENT, ERR_VALUE, "\"trust\"" },
		{ ",\"link_state\":\"auto\"", IB_NIC, 0, RDMA_ABSENT, ERR_VALUE, "\"link_state\"" },
		{ ",\"vlan\":5,\"trust\":\"on\"", VF, 0, RDMA_ABSENT, 0, "" },
		{ ",\"vlan\":5", VFIO_VF, 0, RDMA_ABSENT, 0, "" },
		{ ",\"link_state\":\"auto\"", IB_VF, 0, RDMA_ABSENT, 0, "" },
		{ ",\"mtu\":9000", VF, 0, RDMA_ABSENT, 0, "" },
		{ ",\"mtu\":9001", VF, 0, RDMA_ABSENT, ERR_VALUE, "PF ens1f0, 9000" },
		{ ",\"mtu\":9001", NIC, 0, RDMA_ABSENT, 0, "" },
		{ ",\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"p\"},\"arp\":\"strict\"", VFIO_VF,
		  0, RDMA_ABSENT, ERR_VALUE, "\"arp\": 0000:1a:00.1 has no network device" },
		{ ",\"vfioPciMode\":true", VFIO_VF, 0, RDMA_ABSENT, 0, "" },
		{ ",\"vfioPciMode\":true", VF, 0, RDMA_ABSENT, ERR_VALUE, "\"vfioPciMode\"" },
	};

	(void)state;
	expect(rows, ARRAY_SIZE(rows));
}

#define MAC_KEY  ",\"mac\":\"02:00:00:00:00:01\""
#define GUID_KEY ",\"guid\":\"02:00:00:00:00:00:00:01\""

static void test_identity(void **state)
{
	static const struct row rows[] = {
		{ MAC_KEY, NIC, 0, RDMA_ABSENT, 0, "" },
		{ MAC_KEY, VF, 0, RDMA_ABSENT, 0, "" },
		{ MAC_KEY, VFIO_VF, 0, RDMA_ABSENT, 0, "" },
		{ MAC_KEY, IB_VF, 0, RDMA_ABSENT, ERR_VALUE, "\"mac\": ib5 is no Ethernet" },
		{ MAC_KEY, IB_NIC, 0, RDMA_ABSENT, ERR_VALUE, "\"mac\"" },
		{ GUID_KEY, IB_VF, 0, RDMA_ABSENT, 0, "" },
		{ GUID_KEY, VFIO_VF, 0, RDMA_ABSENT, 0, "" },
		{ GUID_KEY, VF, 0, RDMA_ABSENT, ERR_VALUE, "\"guid\": eth5 is no InfiniBand VF" },
		{ GUID_KEY, NIC, 0, RDMA_ABSENT, ERR_VALUE, "\"guid\"" },
		{ GUID_KEY, IB_NIC, 0, RDMA_ABSENT, ERR_VALUE, "\"guid\"" },
	};

	(void)state;
	expect(rows, ARRAY_SIZE(rows));
}

static void test_rdma(void **state)
{
	static const struct row rows[] = {
		{ "", VF, 0, RDMA_ABSENT, 0, "" },
		{ "", VF, 1, RDMA_SHARED, 0, "" },
		{ "", VF, 1, RDMA_EXCLUSIVE, 0, "" },
		{ "", VF, 2, RDMA_SHARED, 0, "" },
		{ "", VF, 2, RDMA_EXCLUSIVE, ERR_DEVICE, "it has 2, mlx5_3 among them" },
		{ ",\"rdma\":\"none\"", VF, 0, RDMA_ABSENT, 0, "" },
		{ ",\"rdma\":\"none\"", VF, 2, RDMA_EXCLUSIVE, 0, "" },
		{ ",\"rdma\":\"required\"", VF, 0, RDMA_ABSENT, ERR_DEVICE, "it has none" },
		{ ",\"rdma\":\"required\"", VFIO_VF, 0, RDMA_ABSENT, ERR_DEVICE, "0000:1a:00.1" },
		{ ",\"rdma\":\"required\"", VF, 1, RDMA_SHARED, 0, "" },
		{ ",\"rdma\":\"required\"", VF, 1, RDMA_EXCLUSIVE, 0, "" },
		{ ",\"rdmaIsolation\":true", VF, 1, RDMA_EXCLUSIVE, 0, "" },
		{ ",\"rdmaIsolation\":true", VF, 1, RDMA_SHARED, ERR_VALUE, "\"rdmaIsolation\"" },
		{ ",\"rdmaIsolation\":true", VF, 0, RDMA_ABSENT, ERR_DEVICE, "it has none" },
		{ ",\"rdmaName\":\"r0\"", VF, 1, RDMA_SHARED, ERR_VALUE, "\"rdmaName\"" },
		{ ",\"rdmaName\":\"r0\"", VF, 0, RDMA_ABSENT, ERR_DEVICE, "it has none" },
		{ ",\"rdmaName\":\"r0\"", VF, 1, RDMA_EXCLUSIVE, 0, "" },
	};

	(void)state;
	expect(rows, ARRAY_SIZE(rows));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_through_the_pf),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_rdma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
