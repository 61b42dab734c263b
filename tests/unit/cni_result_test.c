/* SPDX-License-Identifier: Apache-2.0 */
/* Results in the shape of each version, and the reading of other plugins' results. */
#include "cni/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"

static json_t *parse(const char *text)
{
	json_t *json = NULL;
	struct err err = { 0 };

	if (json_parse(text, strlen(text), &json, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return json;
}

static void expect_json(json_t *json, const char *text)
{
	CLEANUP_JSON json_t *want = parse(text);
	CLEANUP_FREE char *is = json_line(json);

	if (!json_equal(json, want))
		fail_msg("is   %s\nnot  %s", is, text);
}

static const char foreign[] =
	"{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.5/24\",\"gateway\":\"10.0.0.1\","
	"\"interface\":0},{\"address\":\"fd00::5/64\"}],"
	"\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\",\"mtu\":1400,\"table\":5}],"
	"\"dns\":{\"nameservers\":[\"10.0.0.2\"]}}";

/* An attachment as net1 with the addresses of `foreign`. */
static void build(enum cni_version version, const char *device, bool ipam_only, json_t *prev,
		  json_t **ret_result)
{
	struct request request = {
		.ipam_only = ipam_only,
		.env = { .ifname = "net1", .netns = "/run/netns/a" },
		.conf = { .version = version, .prev_result = prev },
	};
	struct attachment record = { 0 };
	struct facts facts = { .mtu = 1500 };
	CLEANUP_JSON json_t *answer = parse(foreign);
	struct err err = { 0 };

	(void)snprintf(record.device.key, sizeof(record.device.key), "%s", device);
	assert_int_equal(mac_parse("02:00:00:00:00:01", &facts.mac), 0);
	assert_int_equal(result_read(answer, "x", &facts.net, &err), 0);
	assert_int_equal(result_build(&request, &record, &facts, NULL, ret_result, &err), 0);
}

#define INTERFACE "\"name\":\"net1\",\"mac\":\"02:00:00:00:00:01\",\"sandbox\":\"/run/netns/a\""

static void test_versions(void **state)
{
	static const struct {
		enum cni_version version;
		const char *text;
	} rows[] = {
		{ CNI_0_3_0,
		  "{\"cniVersion\":\"0.3.0\",\"dns\":{},\"interfaces\":[{" INTERFACE "}],"
		  "\"ips\":[{\"version\":\"4\",\"address\":\"10.0.0.5/"
		  "24\",\"gateway\":\"10.0.0.1\","
		  "\"interface\":0},{\"version\":\"6\",\"address\":\"fd00::5/"
		  "64\",\"interface\":0}],"
		  "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\"}]}" },
		{ CNI_1_0_0,
		  "{\"cniVersion\":\"1.0.0\",\"dns\":{},\"interfaces\":[{" INTERFACE "}],"
		  "\"ips\":[{\"address\":\"10.0.0.5/24\",\"gateway\":\"10.0.0.1\",\"interface\":0},"
		  "{\"address\":\"fd00::5/64\",\"interface\":0}],"
		  "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\"}]}" },
		{ CNI_1_1_0,
		  "{\"cniVersion\":\"1.1.0\",\"dns\":{},\"interfaces\":[{" INTERFACE
		  ",\"mtu\":1500,\"pciID\":\"0000:1a:00.1\"}],"
		  "\"ips\":[{\"address\":\"10.0.0.5/24\",\"gateway\":\"10.0.0.1\",\"interface\":0},"
		  "{\"address\":\"fd00::5/64\",\"interface\":0}],"
		  "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\",\"mtu\":1400,"
		  "\"table\":5}]}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *result = NULL;

		build(rows[i].version, "pci:0000:1a:00.1", false, NULL, &result);
		expect_json(result, rows[i].text);
	}
}

/* A VF that user space drives: nothing was read back from it. */
static void build_vfio(enum cni_version version, const char *asked, const char *admin,
		       json_t **ret_result)
{
	struct request request = {
		.env = { .ifname = "net1", .netns = "/run/netns/a" },
		.conf = { .version = version },
	};
	struct attachment record = {
		.device = { .key = "pci:0000:1a:00.1", .vf = { .is_vf = true, .pf_mtu = 9000 } },
	};
	const struct facts facts = { 0 };
	struct err err = { 0 };

	if (asked)
		assert_int_equal(mac_parse(asked, &request.conf.mac), 0);
	assert_int_equal(mac_parse(admin, &record.device.vf.state.mac), 0);
	assert_int_equal(result_build(&request, &record, &facts, NULL, ret_result, &err), 0);
}

static void test_without_netdev(void **state)
{
	static const struct {
		enum cni_version version;
		const char *asked, *admin, *interface;
	} rows[] = {
		{ CNI_1_1_0, "02:00:00:00:00:01", "02:00:00:00:00:02",
		  INTERFACE ",\"mtu\":9000,\"pciID\":\"0000:1a:00.1\"" },
		{ CNI_1_1_0, NULL, "02:00:00:00:00:01",
		  INTERFACE ",\"mtu\":9000,\"pciID\":\"0000:1a:00.1\"" },
		{ CNI_1_0_0, NULL, "00:00:00:00:00:00",
		  "\"name\":\"net1\",\"sandbox\":\"/run/netns/a\"" },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *result = NULL;

		build_vfio(rows[i].version, rows[i].asked, rows[i].admin, &result);
		(void)snprintf(text, sizeof(text),
			       "{\"cniVersion\":\"%s\",\"dns\":{},\"interfaces\":[{%s}]}",
			       cni_version_names[rows[i].version], rows[i].interface);
		expect_json(result, text);
	}
}

/* Behind the plugin that made the interface: its result, and not a word more. */
static void test_rdma_only(void **state)
{
	static const char before[] =
		"{\"cniVersion\":\"0.4.0\",\"interfaces\":[{\"name\":\"net1\",\"sandbox\":"
		"\"/run/netns/a\"}],\"ips\":[{\"version\":\"4\",\"address\":\"10.9.0.2/24\"}]}";
	CLEANUP_JSON json_t *prev = parse(before);
	CLEANUP_JSON json_t *result = NULL;
	struct request request = {
		.env = { .ifname = "net1", .netns = "/run/netns/a" },
		.conf = { .version = CNI_0_4_0, .prev_result = prev, .rdma_only = true },
	};
	const struct attachment record = { .device = { .key = "pci:0000:1a:00.1" } };
	const struct facts facts = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(result_build(&request, &record, &facts, NULL, &result, &err), 0);
	expect_json(result, before);
}

static void test_ipam_only(void **state)
{
	CLEANUP_JSON json_t *prev = parse("{\"interfaces\":[{\"name\":\"x\"}]}");
	CLEANUP_JSON json_t *result = NULL;

	(void)state;
	build(CNI_0_4_0, "", true, prev, &result);
	expect_json(result, "{\"cniVersion\":\"0.4.0\",\"dns\":{},"
			    "\"ips\":[{\"version\":\"4\",\"address\":\"10.0.0.5/24\","
			    "\"gateway\":\"10.0.0.1\"},{\"version\":\"6\",\"address\":"
			    "\"fd00::5/64\"}],"
			    "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\"}]}");
}

/* What came before stays as it was; what we add points to our own interface. */
static void test_chained(void **state)
{
	static const char before[] =
		"{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"br0\"},{\"name\":\"eth0\","
		"\"sandbox\":\"/run/netns/a\"}],\"ips\":[{\"address\":\"10.9.0.2/"
		"24\",\"interface\":1}"
		"],\"routes\":[{\"dst\":\"10.9.0.0/16\"}],\"dns\":{\"domain\":\"d\"}}";
	CLEANUP_JSON json_t *prev = parse(before);
	CLEANUP_JSON json_t *result = NULL;

	(void)state;
	build(CNI_1_0_0, "net:eth1", false, prev, &result);
	expect_json(
		result,
		"{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"br0\"},{\"name\":\"eth0\","
		"\"sandbox\":\"/run/netns/a\"},{" INTERFACE "}],"
		"\"ips\":[{\"address\":\"10.9.0.2/24\",\"interface\":1},"
		"{\"address\":\"10.0.0.5/24\",\"gateway\":\"10.0.0.1\",\"interface\":2},"
		"{\"address\":\"fd00::5/64\",\"interface\":2}],"
		"\"routes\":[{\"dst\":\"10.9.0.0/16\"},{\"dst\":\"0.0.0.0/0\",\"gw\":"
		"\"10.0.0.1\"}],\"dns\":{\"domain\":\"d\"}}");
	expect_json(prev, before);
}

static void test_foreign_answers(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ foreign, true },
		{ "{}", false },
		{ "{\"ips\":[]}", false },
		{ "{\"ips\":[{\"address\":\"10.0.0.300/24\"}]}", false },
		{ "{\"ips\":[{\"address\":\"10.0.0.3/24\",\"version\":\"4\"}]}", true },
		{ "{\"ips\":[{\"address\":\"10.0.0.3/24\"}],\"routes\":[{\"gw\":\"10.0.0.1\"}]}",
		  false },
		{ "{\"ips\":[{\"address\":\"10.0.0.3/24\"}],\"routes\":[7]}", false },
		/* as a route it is ordinary */
		{ "{\"ips\":[{\"address\":\"10.0.0.3/24\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}",
		  true },
		{ "{\"ips\":[{\"address\":\"0.0.0.0/0\"}]}", false },
		{ "{\"ips\":[{\"address\":\"0.0.0.0/24\"}]}", false },
		{ "{\"ips\":[{\"address\":\"10.0.0.3/0\"}]}", false },
		{ "{\"ips\":[{\"address\":\"127.0.0.1/8\"}]}", false },
		{ "{\"ips\":[{\"address\":\"127.255.1.2/32\"}]}", false },
		{ "{\"ips\":[{\"address\":\"224.0.0.1/24\"}]}", false },
		{ "{\"ips\":[{\"address\":\"239.1.2.3/24\"}]}", false },
		{ "{\"ips\":[{\"address\":\"255.255.255.255/24\"}]}", false },
		{ "{\"ips\":[{\"address\":\"::/64\"}]}", false },
		{ "{\"ips\":[{\"address\":\"::1/128\"}]}", false },
		{ "{\"ips\":[{\"address\":\"ff02::1/64\"}]}", false },
		{ "{\"ips\":[{\"address\":\"fd00::3/64\"},{\"address\":\"::1/64\"}]}", false },
		{ "{\"ips\":[{\"address\":\"10.0.0.3/24\",\"gateway\":\"224.0.0.1\"}]}", false },
		{ "{\"ips\":[{\"address\":\"::2/64\"},{\"address\":\"240.0.0.1/24\"}]}", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *json = parse(rows[i].text);
		struct ip_config net = { 0 };
		struct err err = { 0 };
		int r = result_read(json, "x", &net, &err);

		if ((r == 0) != rows[i].good)
			fail_msg("%s: %d %s", rows[i].text, r, err.msg);
	}
}

static void test_interface(void **state)
{
	CLEANUP_JSON json_t *result = parse(
		"{\"interfaces\":[{\"name\":\"net1\"},{\"name\":\"net1\",\"sandbox\":\"/a\"}]}");
	size_t index = 9;

	(void)state;
	assert_non_null(result_interface(result, "net1", "/a", &index));
	assert_int_equal(index, 1);
	assert_null(result_interface(result, "net1", "/b", &index));
	assert_null(result_interface(result, "net2", "/a", &index));
	assert_null(result_interface(NULL, "net1", "/a", &index));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),  cmocka_unit_test(test_ipam_only),
		cmocka_unit_test(test_chained),   cmocka_unit_test(test_foreign_answers),
		cmocka_unit_test(test_interface), cmocka_unit_test(test_without_netdev),
		cmocka_unit_test(test_rdma_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
