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

static void test_host_steps(void **state)
{
	struct ip_config net = { 0 };

	(void)state;
	add_ip(&net, "10.0.0.5/24", NULL);
	expect_plan(",\"mac\":\"02:00:00:00:00:01\"", "net1", &net,
		    "take down eth5\nset address 02:00:00:00:00:01 of eth5\n"
		    "delete altname net1 of eth5\n" V4_BEGIN);
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
	expect_plan(",\"runtimeConfig\":{\"CNIDeviceInfoFile\":\"/run/x\"}", NULL, &none,
		    "move eth5 into the pod as net1\nset ipv6 accept_dad of net1 to 0\n"
		    "bring up net1\nwait for the carrier of net1\nwrite /run/x\n");
}

/* MTU and the source routing settings ride on the move. */
static void test_move(void **state)
{
	const struct ip_config none = { 0 };
	static const struct view free_view;
	static const struct {
		const char *more;
		uint32_t mtu;
		bool source_routing;
	} rows[] = {
		{ "", 0, false },
		{ ",\"mtu\":1500", 0, false },
		{ ",\"mtu\":9000,\"routing\":{\"table\":1}", 9000, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct attachment record = record_new(NULL);
		CLEANUP_JSON json_t *json = NULL;
		struct netconf conf;
		struct plan plan;
		struct err err;

		read_conf(rows[i].more, &json, &conf);
		assert_int_equal(plan_make(&conf, &record, &none, &free_view, &plan, &err), 0);
		assert_int_equal(plan.steps[0].kind, STEP_MOVE);
		assert_string_equal(plan.steps[0].move.name, "net1");
		assert_int_equal(plan.steps[0].move.mtu, rows[i].mtu);
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
		  "\"runtimeConfig\":{\"CNIDeviceInfoFile\":\"/run/x\"}",
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
		cmocka_unit_test(test_least),          cmocka_unit_test(test_host_steps),
		cmocka_unit_test(test_v6_and_dad),     cmocka_unit_test(test_routes),
		cmocka_unit_test(test_routing),        cmocka_unit_test(test_routing_once),
		cmocka_unit_test(test_devinfo),        cmocka_unit_test(test_move),
		cmocka_unit_test(test_refusals),       cmocka_unit_test(test_fullest),
		cmocka_unit_test(test_table_of_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
