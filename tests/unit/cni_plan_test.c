/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of plans: wishes, record and view in; the described steps, or a refusal, out. The rows
 * read like docs/architecture.md, "The kernel work, in this order".
 */
#include "cni/plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <linux/if_arp.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "cni/site.h"
#include "cni/step.h"

/* An attachment of eth5 (up, MTU 1500) as net1 on rail 2 of its pool. */
static struct attachment record_new(const char *altname)
{
	static char ifname[] = "net1", alt[ALTNAME_MAX + 1];
	struct attachment record = {
		.ifname = ifname,
		.device = { .key = "pci:0000:1a:00.1",
			    .ifindex = 7,
			    .name = "eth5",
			    .mtu = 1500,
			    .up = true },
		.rail = { .name = "rail2", .number = 2 },
	};

	assert_int_equal(mac_parse("02:00:00:00:00:05", &record.device.mac), 0);
	if (altname) {
		(void)snprintf(alt, sizeof(alt), "%s", altname);
		record.device.altnames[0] = alt;
		record.device.altname_count = 1;
	}
	return record;
}

/* "10.0.0.5/24 via 10.0.0.1" */
static void add_ip(struct ip_config *net, const char *cidr, const char *gateway)
{
	struct address *address = &net->ips[net->ip_count++];

	assert_int_equal(cidr_parse(cidr, &address->cidr), 0);
	if (gateway)
		assert_int_equal(ip_parse(gateway, &address->gateway), 0);
}

static void add_route(struct ip_config *net, const char *dst, const char *gw, int64_t table,
		      int64_t scope)
{
	struct route *route = &net->routes[net->route_count++];

	*route = (struct route) { .table = table, .scope = scope };
	assert_int_equal(cidr_parse(dst, &route->dst), 0);
	if (gw)
		assert_int_equal(ip_parse(gw, &route->gw), 0);
}

static void read_conf(const char *more, json_t **ret_json, struct netconf *ret_conf)
{
	struct args args = { 0 };
	struct err err = { 0 };
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"a\",\"device\":\"eth5\","
		       "\"ipam\":{\"type\":\"spur-ipam\",\"pool\":\"p\"}%s}",
		       more);
	assert_int_equal(json_parse(text, strlen(text), ret_json, &err), 0);
	if (netconf_read(*ret_json, &args, false, ret_conf, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
}

static void plan_text(const struct plan *plan, const struct attachment *record, char *buf,
		      size_t size)
{
	const struct site site = { .record = record };
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < plan->count; i++) {
		char step[STEP_TEXT];

		step_ops(plan->steps[i].kind)->describe(&plan->steps[i], &site, step, sizeof(step));
		len += (size_t)snprintf(buf + len, size - len, "%s\n", step);
		assert_true(len < size);
	}
}

/* @net decides the addresses, @more the wishes. */
static void expect_plan(const char *more, const char *altname, const struct ip_config *net,
			const char *steps)
{
	static const struct view free_view;
	struct attachment record = record_new(altname);
	CLEANUP_JSON json_t *json = NULL;
	struct netconf conf;
	struct plan plan;
	struct err err = { 0 };
	char text[4096];

	read_conf(more, &json, &conf);
	if (plan_make(&conf, &record, net, &free_view, &plan, &err) < 0)
		fail_msg("%s: refused: %s", more, err.msg);
	plan_text(&plan, &record, text, sizeof(text));
	assert_string_equal(text, steps);
}

#define V4_BEGIN                             \
	"move eth5 into the pod as net1\n"   \
	"set ipv6 accept_dad of net1 to 0\n" \
	"add 10.0.0.5/24 to net1\n"          \
	"bring up net1\nwait for the carrier of net1\n"

static void test_least(void **state)
{
	const struct ip_config none = { 0 };

	(void)state;
	expect_plan("", NULL, &none,
		    "move eth5 into the pod as net1\nset ipv6 accept_dad of net1 to 0\n"
		    "bring up net1\nwait for the carrier of net1\n");
}

/* What the ledger has chosen; a record of an older one has the first. */
static void test_table_is_the_recorded_one(void **state)
{
	static const struct view free_view;
	struct attachment record = record_new(NULL);
	CLEANUP_JSON json_t *json = NULL;
	struct ip_config net = { 0 };
	struct netconf conf;
	struct plan plan;
	struct err err;

	(void)state;
	add_ip(&net, "10.0.0.5/24", NULL);
	read_conf(",\"routing\":{\"table\":\"auto\"}", &json, &conf);
	assert_int_equal(plan_make(&conf, &record, &net, &free_view, &plan, &err), 0);
	assert_int_equal(plan.table, 102);
	record.rail.table = 1102;
	assert_int_equal(plan_make(&conf, &record, &net, NULL, &plan, &err), 0);
	assert_int_equal(plan.table, 1102);
}

static void test_host_steps(void **state)
{
	struct ip_config net = { 0 };

	(void)state;
	add_ip(&net, "10.0.0.5/24", NULL);
	expect_plan(",\"mac\":\"02:00:00:00:00:01\"", "net1", &net,
		    "delete altname net1 of eth5\n"
		    "take down eth5\nset address 02:00:00:00:00:01 of eth5\n" V4_BEGIN);
	/* it has this address already; its altname is another */
	expect_plan(",\"mac\":\"02:00:00:00:00:05\"", "enp5", &net, V4_BEGIN);
}

static void test_v6_and_dad(void **state)
{
	struct ip_config net = { 0 };

	(void)state;
	add_ip(&net, "fd00::5/64", NULL);
	expect_plan("", NULL, &net,
		    "move eth5 into the pod as net1\nset ipv6 accept_dad of net1 to 0\n"
		    "set ipv6 disable_ipv6 of net1 to 0\nset ipv6 ndisc_notify of net1 to 1\n"
		    "add fd00::5/64 to net1\nbring up net1\nwait for the carrier of net1\n");
	expect_plan(",\"dad\":true", NULL, &net,
		    "move eth5 into the pod as net1\n"
		    "set ipv6 disable_ipv6 of net1 to 0\nset ipv6 ndisc_notify of net1 to 1\n"
		    "add fd00::5/64 to net1\nbring up net1\nwait for the carrier of net1\n"
		    "wait for duplicate address detection on net1\n");
}

/* A gateway alone makes no route; a route without one takes it, unless it is on link. */
static void test_routes(void **state)
{
	struct ip_config net = { 0 };

	(void)state;
	add_ip(&net, "10.0.0.5/24", "10.0.0.1");
	expect_plan("", NULL, &net, V4_BEGIN);
	add_route(&net, "10.9.0.0/16", NULL, 0, -1);
	add_route(&net, "10.8.0.0/16", "10.0.0.2", 33, -1);
	add_route(&net, "10.7.0.0/16", NULL, 0, 253);
	add_route(&net, "10.0.0.1/32", NULL, 0, -1);
	add_route(&net, "fd01::/64", NULL, 0, -1);
	expect_plan("", NULL, &net,
		    V4_BEGIN "add route 10.7.0.0/16 dev net1\nadd route 10.0.0.1/32 dev net1\n"
			     "add route fd01::/64 dev net1\n"
			     "add route 10.9.0.0/16 via 10.0.0.1 dev net1\n"
			     "add route 10.8.0.0/16 via 10.0.0.2 table 33 dev net1\n");
}

static void test_routing(void **state)
{
	struct ip_config net = { 0 };

	(void)state;
	add_ip(&net, "10.0.0.5/24", "10.0.0.1");
	add_route(&net, "10.9.0.0/16", NULL, 0, -1);
	add_route(&net, "10.8.0.0/16", NULL, 33, -1);
	expect_plan(",\"routing\":{\"table\":\"auto\"}", NULL, &net,
		    V4_BEGIN "add route 10.0.0.0/24 table 102 dev net1\n"
			     "add route 10.9.0.0/16 via 10.0.0.1 table 102 dev net1\n"
			     "add route 10.8.0.0/16 via 10.0.0.1 table 33 dev net1\n"
			     "add route 0.0.0.0/0 via 10.0.0.1 table 102 dev net1\n"
			     "add rule from 10.0.0.5 lookup 102\n");
	expect_plan(",\"routing\":{\"table\":7,\"rules\":false}", NULL, &net,
		    V4_BEGIN "add route 10.0.0.0/24 table 7 dev net1\n"
			     "add route 10.9.0.0/16 via 10.0.0.1 table 7 dev net1\n"
			     "add route 10.8.0.0/16 via 10.0.0.1 table 33 dev net1\n"
			     "add route 0.0.0.0/0 via 10.0.0.1 table 7 dev net1\n");
}

/* Two addresses of one subnet, a gateway outside of it, a default route by the IPAM: each once. */
static void test_routing_once(void **state)
{
	struct ip_config net = { 0 };

	(void)state;
	add_ip(&net, "10.0.0.5/24", "10.0.0.1");
	add_ip(&net, "10.0.0.6/24", "10.0.0.1");
	add_route(&net, "0.0.0.0/0", "10.0.0.2", 0, -1);
	expect_plan(",\"routing\":{\"table\":7}", NULL, &net,
		    "move eth5 into the pod as net1\nset ipv6 accept_dad of net1 to 0\n"
		    "add 10.0.0.5/24 to net1\nadd 10.0.0.6/24 to net1\n"
		    "bring up net1\nwait for the carrier of net1\n"
		    "add route 10.0.0.0/24 table 7 dev net1\n"
		    "add route 0.0.0.0/0 via 10.0.0.2 table 7 dev net1\n"
		    "add rule from 10.0.0.5 lookup 7\nadd rule from 10.0.0.6 lookup 7\n");
	net = (struct ip_config) { 0 };
	add_ip(&net, "10.0.0.5/32", "169.254.1.1");
	expect_plan(",\"routing\":{\"table\":7}", NULL, &net,
		    "move eth5 into the pod as net1\nset ipv6 accept_dad of net1 to 0\n"
		    "add 10.0.0.5/32 to net1\nbring up net1\nwait for the carrier of net1\n"
		    "add route 169.254.1.1/32 table 7 dev net1\n"
		    "add route 0.0.0.0/0 via 169.254.1.1 table 7 dev net1\n"
		    "add rule from 10.0.0.5 lookup 7\n");
}

static void test_devinfo(void **state)
{
	const struct ip_config none = { 0 };

	(void)state;
	expect_plan(",\"runtimeConfig\":{\"CNIDeviceInfoFile\":\"/run/k8s.cni.cncf.io/devinfo/x\"}",
		    NULL, &none,
		    "move eth5 into the pod as net1\nset ipv6 accept_dad of net1 to 0\n"
		    "bring up net1\nwait for the carrier of net1\nwrite "
		    "/run/k8s.cni.cncf.io/devinfo/x\n");
}

/* MTU, ARP and source routing settings ride on the move. */
static void test_move(void **state)
{
	static const struct view free_view;
	static const struct {
		const char *more, *address;
		uint32_t mtu;
		bool strict_arp, source_routing;
	} rows[] = {
		{ "", NULL, 0, false, false },
		{ ",\"mtu\":1500", "10.0.0.5/24", 0, true, false },
		{ ",\"arp\":\"strict\"", "10.0.0.5/24", 0, true, false },
		{ ",\"arp\":\"kernel\"", "10.0.0.5/24", 0, false, false },
		{ ",\"mtu\":9000,\"routing\":{\"table\":1}", NULL, 9000, true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct attachment record = record_new(NULL);
		CLEANUP_JSON json_t *json = NULL;
		struct ip_config net = { 0 };
		struct netconf conf;
		struct plan plan;
		struct err err;

		if (rows[i].address)
			add_ip(&net, rows[i].address, NULL);
		read_conf(rows[i].more, &json, &conf);
		assert_int_equal(plan_make(&conf, &record, &net, &free_view, &plan, &err), 0);
		assert_int_equal(plan.steps[0].kind, STEP_MOVE);
		assert_string_equal(plan.steps[0].move.name, "net1");
		assert_int_equal(plan.steps[0].move.mtu, rows[i].mtu);
		assert_int_equal(plan.steps[0].move.strict_arp, rows[i].strict_arp);
		assert_int_equal(plan.steps[0].move.source_routing, rows[i].source_routing);
	}
}

static void test_refusals(void **state)
{
	static const struct {
		const char *more;
		struct view view;
		bool railless, infiniband;
		int code;
		const char *words;
	} rows[] = {
		{ "", { .ifname_taken = true }, false, false, ERR_NAME, "name net1" },
		{ "", { .altname_taken = "enp5" }, false, false, ERR_NAME, "altname enp5" },
		{ ",\"routing\":{\"table\":\"auto\"}", { 0 }, true, false, ERR_VALUE, "routing" },
		{ ",\"mtu\":1279", { 0 }, false, false, ERR_VALUE, "mtu" },
		{ ",\"mac\":\"02:00:00:00:00:01\"", { 0 }, false, true, ERR_VALUE, "mac" },
	};
	struct ip_config net = { 0 };

	(void)state;
	add_ip(&net, "fd00::5/64", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct attachment record = record_new(NULL);
		CLEANUP_JSON json_t *json = NULL;
		struct netconf conf;
		struct plan plan;
		struct err err = { 0 };

		if (rows[i].railless)
			record.rail.name[0] = '\0';
		if (rows[i].infiniband)
			record.device.mac.len = MAC_MAX;
		read_conf(rows[i].more, &json, &conf);
		assert_true(plan_make(&conf, &record, &net, &rows[i].view, &plan, &err) < 0);
		assert_int_equal(err.code, rows[i].code);
		assert_non_null(strstr(err.msg, rows[i].words));
		/* what has been done is planned all the same */
		assert_int_equal(plan_make(&conf, &record, &net, NULL, &plan, &err), 0);
	}
}

struct vf_row {
	const char *more;
	uint16_t type;
	bool netdev;
	int rdma_count;
	enum rdma_mode mode;
	bool rdma_only;
	const char *steps;
};

static void plan_row(const struct vf_row *row, struct plan *ret_plan, char *buf, size_t size)
{
	const struct view view = { .rdma_mode = row->mode };
	const struct ip_config none = { 0 };
	struct attachment record = record_new(NULL);
	struct args args = { 0 };
	CLEANUP_JSON json_t *json = NULL;
	struct netconf conf;
	struct err err = { 0 };
	char text[512];

	record.device.type = row->type;
	record.device.up = false;
	record.device.mac.len = row->type == ARPHRD_INFINIBAND ? MAC_MAX : 6;
	record.device.vf = (struct vf_baseline) { .is_vf = true, .index = 3, .pf_netdev = "pf" };
	record.device.vf.state.min_rate = 11;
	record.device.vf.state.max_rate = 22;
	record.device.vf.state.port_guid = 0x0200000000000001;
	record.device.rdma.count = row->rdma_count;
	if (row->rdma_count)
		(void)snprintf(record.device.rdma.name, sizeof(record.device.rdma.name), "mlx5_3");
	if (!row->netdev)
		record.device.name[0] = '\0';
	(void)snprintf(text, sizeof(text),
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"a\",\"deviceID\":\"0000:1a:00.1\"%s}",
		       row->more);
	assert_int_equal(json_parse(text, strlen(text), &json, &err), 0);
	if (netconf_read(json, &args, false, &conf, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	conf.rdma_only = row->rdma_only;
	if (plan_make(&conf, &record, &none, &view, ret_plan, &err) < 0)
		fail_msg("%s: refused: %s", row->more, err.msg);
	plan_text(ret_plan, &record, buf, size);
}

#define MOVE "move eth5 into the pod as net1\n"
#define UP                                   \
	"set ipv6 accept_dad of net1 to 0\n" \
	"bring up net1\nwait for the carrier of net1\n"
#define RDMA    "move RDMA device mlx5_3 into the pod\n"
#define READY   "wait for RDMA device mlx5_3\n"
#define GUID(n) ",\"guid\":\"02:00:00:00:00:00:00:0" #n "\""

static void test_vf_and_rdma(void **state)
{
	static const struct vf_row rows[] = {
		{ ",\"vlan\":5,\"max_tx_rate\":9,\"spoofchk\":\"on\",\"trust\":\"on\","
		  "\"link_state\":\"auto\"",
		  ARPHRD_ETHER, true, 0, RDMA_ABSENT, false,
		  "set vlan of VF 3 of pf\nset max_tx_rate of VF 3 of pf\n"
		  "set spoofchk of VF 3 of pf\nset trust of VF 3 of pf\n"
		  "set link_state of VF 3 of pf\n" MOVE UP },
		{ ",\"mac\":\"02:00:00:00:00:01\"", ARPHRD_ETHER, true, 0, RDMA_ABSENT, false,
		  "set address 02:00:00:00:00:01 of VF 3 of pf\n" MOVE UP },
		{ ",\"vlan\":5", ARPHRD_ETHER, false, 0, RDMA_ABSENT, false,
		  "set vlan of VF 3 of pf\n" },
		{ "", ARPHRD_ETHER, true, 1, RDMA_EXCLUSIVE, false, MOVE RDMA UP READY },
		{ "", ARPHRD_ETHER, true, 1, RDMA_SHARED, false, MOVE UP READY },
		{ ",\"rdma\":\"none\"", ARPHRD_ETHER, true, 2, RDMA_EXCLUSIVE, false, MOVE UP },
		{ "", ARPHRD_INFINIBAND, true, 1, RDMA_EXCLUSIVE, false,
		  RDMA "find the network device of pci:0000:1a:00.1 again\n" MOVE UP READY },
		{ GUID(1), ARPHRD_INFINIBAND, true, 0, RDMA_ABSENT, false, MOVE UP },
		{ GUID(2), ARPHRD_INFINIBAND, true, 0, RDMA_ABSENT, false,
		  "bind GUID 02:00:00:00:00:00:00:02 to pci:0000:1a:00.1\nfind the network device "
		  "of pci:0000:1a:00.1 again\n" MOVE UP },
		{ "", ARPHRD_ETHER, false, 1, RDMA_EXCLUSIVE, true, RDMA READY },
	};
	char text[4096];
	struct plan plan;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		plan_row(&rows[i], &plan, text, sizeof(text));
		assert_string_equal(text, rows[i].steps);
	}
}

/* The kernel takes both rates at once: the one that nobody asked for is the baseline's. */
static void test_rates(void **state)
{
	static const struct {
		const char *more;
		uint32_t min, max;
	} rows[] = {
		{ ",\"min_tx_rate\":5", 5, 22 },
		{ ",\"max_tx_rate\":50", 11, 50 },
		{ ",\"min_tx_rate\":5,\"max_tx_rate\":50", 5, 50 },
	};
	char text[4096];
	struct plan plan;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct vf_row row = { .more = rows[i].more, .type = ARPHRD_ETHER };

		plan_row(&row, &plan, text, sizeof(text));
		assert_int_equal(plan.steps[0].vf.attr, VF_RATE);
		assert_int_equal(plan.steps[0].vf.state.min_rate, rows[i].min);
		assert_int_equal(plan.steps[0].vf.state.max_rate, rows[i].max);
	}
}

/* ready.timeout_ms: absent, given, and 0, which does not wait. */
static void test_ready(void **state)
{
	static const struct {
		const char *more;
		int64_t wait_ms;
		bool required;
	} rows[] = {
		{ "", READY_RDMA_DEFAULT_MS, false },
		{ ",\"ready\":{\"timeout_ms\":700}", 700, true },
		{ ",\"ready\":{\"timeout_ms\":0}", 0, false },
	};
	char text[4096];
	struct plan plan;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct vf_row row = { rows[i].more, ARPHRD_ETHER, true, 1,
					    RDMA_SHARED,  false,        "" };
		const struct step *last;

		plan_row(&row, &plan, text, sizeof(text));
		last = &plan.steps[plan.count - 1];
		assert_int_equal(last->kind, STEP_READY);
		assert_int_equal(last->ready.wait_ms, rows[i].wait_ms);
		assert_int_equal(last->ready.required, rows[i].required);
	}
}

/* The fullest plan there can be fits. */
static void test_fullest(void **state)
{
	static const struct view free_view;
	struct attachment record = record_new("net1");
	struct ip_config net = { 0 };
	CLEANUP_JSON json_t *json = NULL;
	struct netconf conf;
	struct plan plan;
	struct err err;
	char a[CIDR_TEXT], b[IP_TEXT];

	(void)state;
	for (int i = 0; i < PROTO_IPS_MAX; i++) {
		(void)snprintf(a, sizeof(a), i % 2 ? "10.%d.0.5/24" : "fd00:%d::5/64", i);
		(void)snprintf(b, sizeof(b), i % 2 ? "192.168.%d.1" : "fd01:%d::1", i);
		add_ip(&net, a, b);
	}
	for (int i = 0; i < PROTO_ROUTES_MAX; i++) {
		(void)snprintf(a, sizeof(a), "172.16.%d.0/24", i);
		add_route(&net, a, NULL, 0, -1);
	}
	read_conf(",\"mac\":\"02:00:00:00:00:01\",\"dad\":true,\"routing\":{\"table\":9},"
		  "\"runtimeConfig\":{\"CNIDeviceInfoFile\":\"/run/k8s.cni.cncf.io/devinfo/x\"}",
		  &json, &conf);
	assert_int_equal(plan_make(&conf, &record, &net, &free_view, &plan, &err), 0);
	assert_true(plan.count <= PLAN_MAX);
	assert_int_equal(plan.steps[plan.count - 1].kind, STEP_DEVINFO);
}

/* Every kind has what the walks rely on. */
static void test_table_of_steps(void **state)
{
	(void)state;
	for (int kind = 0; kind < STEP_KINDS; kind++) {
		assert_non_null(step_ops((enum step_kind)kind)->apply);
		assert_non_null(step_ops((enum step_kind)kind)->describe);
	}
	/* what the move back does not undo */
	assert_non_null(step_ops(STEP_DOWN)->revert);
	assert_non_null(step_ops(STEP_ALTNAME)->revert);
	assert_non_null(step_ops(STEP_MAC)->revert);
	assert_non_null(step_ops(STEP_MOVE)->revert);
	assert_non_null(step_ops(STEP_RULE)->revert);
	assert_non_null(step_ops(STEP_DEVINFO)->revert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_least),
		cmocka_unit_test(test_host_steps),
		cmocka_unit_test(test_v6_and_dad),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_routing),
		cmocka_unit_test(test_routing_once),
		cmocka_unit_test(test_devinfo),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_fullest),
		cmocka_unit_test(test_table_is_the_recorded_one),
		cmocka_unit_test(test_table_of_steps),
		cmocka_unit_test(test_vf_and_rdma),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
