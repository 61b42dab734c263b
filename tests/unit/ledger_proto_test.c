/* SPDX-License-Identifier: Apache-2.0 */
/* The words on the socket: what is written is read back, and what is wrong is named. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/rtnetlink.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ipamd/proto/proto.h"

/* JSON with ' for ". */
static json_t *parse(const char *text)
{
	CLEANUP_FREE char *copy = strdup(text);
	json_t *json;

	for (char *p = copy; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	json = json_loads(copy, 0, NULL);
	assert_non_null(json);
	return json;
}

static void assert_json_equal(json_t *a, json_t *b)
{
	if (json_equal(a, b))
		return;
	CLEANUP_FREE char *x = json_dumps(a, JSON_SORT_KEYS);
	CLEANUP_FREE char *y = json_dumps(b, JSON_SORT_KEYS);

	assert_string_equal(x, y);
}

static const char record_text[] =
	"{'id': 12, 'generation': 12, 'state': 'attached', 'network': 'rail0',"
	" 'containerID': 'abc', 'ifname': 'net1',"
	" 'pod': {'namespace': 'ns', 'name': 'worker-3', 'uid': 'u-1'},"
	" 'netns': {'path': '/run/netns/x', 'cookie': 4711, 'nsid': 3}, 'bootID': 'b-1',"
	" 'request': {'program': 'spur', 'env': {'CNI_COMMAND': 'ADD', 'CNI_ARGS': ''},"
	"   'netconf': {'name': 'rail0', 'device': 'eth5'}},"
	" 'device': {'key': 'net:eth5', 'ifindex': 7, 'name': 'eth5', 'altnames': ['a', 'b'],"
	"   'mtu': 1500, 'mac': '02:00:00:00:00:01', 'permMAC': '02:00:00:00:00:02', 'up': true,"
	"   'kind': 'veth', 'peer': 6, 'inode': 4294967303, 'parent': 'pci/0000:1a:00.1',"
	"   'type': 1, 'driver': 'mlx5_core', 'numa': 0,"
	"   'settings': {'flags': 128, 'txqlen': 77, 'group': 4,"
	"     'limits': [65536, 65535, 65536, 65536, 0], 'mode': 1, 'protoDown': true,"
	"     'protoDownReasons': 8, 'broadcast': '', 'xdp': [0, 7, 0],"
	"     'alias': 'rail 5'},"
	"   'ethtool': {'family': 21, 'features': 4711, 'ring rx': 1024, 'coalesce cqe-mode-rx': 1,"
	"     'message level': 7},"
	"   'vf': {'pf': '0000:1a:00.0', 'index': 3, 'pfNetdev': 'ens1f0', 'pfIfindex': 2,"
	"     'pfMTU': 9000, 'vlan': 0, 'qos': 7, 'proto': '802.1ad', 'mac': '00:00:00:00:00:00',"
	"     'minRate': 0, 'maxRate': 1000, 'spoofchk': true, 'trust': false,"
	"     'linkState': 'disable', 'nodeGUID': '00:00:00:00:00:00:00:00',"
	"     'portGUID': 'ff:ff:ff:ff:ff:ff:ff:ff'},"
	"   'rdma': {'name': 'mlx5_3', 'uverbs': 'uverbs3', 'count': 1, 'adaptiveModeration': "
	"false}},"
	" 'mac': '02:00:00:00:00:04', 'vlan': 0,"
	" 'pool': 'train', 'rail': {'name': 'rail0', 'number': 0, 'index': 5, 'table': 1000},"
	" 'sticky': 'job/worker-3',"
	" 'ips': [{'address': '10.0.0.5/24', 'gateway': '10.0.0.1'}, {'address': 'fd00::5/64'}],"
	" 'routes': [{'dst': '10.0.0.0/8', 'gw': '10.0.0.1', 'mtu': 4200, 'advmss': 1, 'priority': "
	"2,"
	"   'table': 103, 'scope': 0}, {'dst': 'fd00::/8'}],"
	" 'guid': '02:00:00:00:00:00:00:05', 'pkey': '0x8001',"
	" 'facts': {'ifindex': 9, 'mac': '02:00:00:00:00:03', 'mtu': 9000, 'table': 100,"
	"   'rdma': {'name': 'mlx5_0', 'uverbs': 'uverbs3', 'moved': true, 'index': 0, 'gidIndex': "
	"0},"
	"   'ips': [{'address': '10.0.0.5/24'}], 'routes': [{'dst': '0.0.0.0/0', 'gw': "
	"'10.0.0.1'}]},"
	" 'reservedAt': 1700000000000, 'bootTime': 12345}";

static void test_record_is_read_back(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json = parse(record_text);
	CLEANUP(attachment_free) struct attachment a = { 0 }, copy = { 0 };
	struct err err;

	assert_int_equal(attachment_decode(json, &a, &err), 0);
	assert_int_equal(a.id, 12);
	assert_int_equal(a.state, ATTACHMENT_ATTACHED);
	assert_string_equal(a.netns.path, "/run/netns/x");
	assert_int_equal(a.netns.cookie, 4711);
	assert_int_equal(a.netns.nsid, 3);
	assert_int_equal(a.device.altname_count, 2);
	assert_true(a.device.up);
	assert_int_equal(a.rail.index, 5);
	assert_int_equal(a.rail.table, 1000);
	assert_int_equal(a.net.ip_count, 2);
	assert_int_equal(a.net.ips[1].gateway.family, 0);
	assert_int_equal(a.net.routes[0].scope, 0);
	assert_int_equal(a.net.routes[1].scope, -1);
	assert_int_equal(a.facts.net.route_count, 1);
	assert_int_equal(a.device.numa_node, 0);
	assert_int_equal(a.device.vf.state.known, VF_BIT(VF_ATTRS) - 1);
	assert_int_equal(a.device.vf.state.max_rate, 1000);
	assert_int_equal(a.device.vf.state.link_state, VF_LINK_DISABLE);
	assert_true(a.device.vf.state.port_guid == UINT64_MAX);
	assert_int_equal(a.guid, 0x0200000000000005);
	assert_int_equal(a.pkey, 0x8001);
	assert_true(a.station.mac.len && a.station.has_vlan && a.station.vlan == 0);
	assert_int_equal(a.device.rdma.moderation, RDMA_MODERATION_OFF);
	assert_int_equal(a.facts.rdma.index, 0);
	assert_int_equal(a.facts.rdma.gid_index, 0);

	CLEANUP_JSON json_t *again = attachment_encode(&a);

	assert_json_equal(json, again);
	assert_int_equal(attachment_copy(&a, &copy, &err), 0);
	attachment_free(&a);

	CLEANUP_JSON json_t *copied = attachment_encode(&copy);

	assert_json_equal(json, copied);
}

/* No two rails that a pool can have share a table, whatever place in the pod they are given. */
static void test_tables_of_rails(void **state)
{
	enum { NTHS = 100 };
	static bool taken[1000 + 100 * NTHS];
	(void)state;

	assert_int_equal(rail_table(0, 0), 100);
	assert_int_equal(rail_table(7, 1), 1007);
	assert_int_equal(rail_table(PROTO_RAILS_MAX - 1, 2), 1131);
	for (int nth = 0; nth < NTHS; nth++) {
		for (int number = 0; number < PROTO_RAILS_MAX; number++) {
			uint32_t table = rail_table(number, nth);

			assert_true(table < RT_TABLE_COMPAT || table > RT_TABLE_LOCAL);
			assert_false(taken[table]);
			taken[table] = true;
		}
	}
}

/* What an attachment of spur-ipam without pool has: everything optional left out. */
static void test_small_record_is_read_back(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json =
		parse("{'id': 1, 'generation': 1, 'state': 'unfinished', 'network': 'n',"
		      " 'containerID': 'c', 'ifname': 'i', 'future': [1],"
		      " 'request': {'program': 'spur-ipam', 'env': {}, 'netconf': {}}}");
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };
	struct err err;

	assert_int_equal(attachment_decode(json, &a, &err), 0);
	assert_string_equal(a.device.key, "");
	assert_string_equal(a.pod.uid, "");
	assert_int_equal(a.netns.nsid, -1);

	CLEANUP_JSON json_t *full = attachment_encode(&a);

	assert_null(json_object_get(full, "device"));
	assert_null(json_object_get(full, "pool"));
	assert_int_equal(attachment_decode(full, &b, &err), 0);

	CLEANUP_JSON json_t *again = attachment_encode(&b);

	assert_json_equal(full, again);
}

/* Of a VF whose driver shows nothing, nothing is known; that is not the same as zero. */
static void test_what_is_absent_is_not_known(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json = parse(record_text);
	CLEANUP_JSON json_t *vf = parse("{'pf': '0000:1a:00.0', 'index': 0}");
	CLEANUP(attachment_free) struct attachment a = { 0 }, b = { 0 };
	struct err err;

	json_object_set(json_object_get(json, "device"), "vf", vf);
	json_object_del(json_object_get(json, "device"), "numa");
	json_object_del(json_object_get(json_object_get(json, "facts"), "rdma"), "index");
	json_object_del(json_object_get(json_object_get(json, "facts"), "rdma"), "gidIndex");
	json_object_del(json_object_get(json_object_get(json, "device"), "rdma"),
			"adaptiveModeration");
	assert_int_equal(attachment_decode(json, &a, &err), 0);
	assert_int_equal(a.device.rdma.moderation, RDMA_MODERATION_UNKNOWN);
	assert_true(a.device.vf.is_vf);
	assert_int_equal(a.device.vf.state.known, 0);
	assert_int_equal(a.device.numa_node, -1);
	assert_int_equal(a.facts.rdma.index, -1);
	assert_int_equal(a.facts.rdma.gid_index, -1);

	CLEANUP_JSON json_t *again = attachment_encode(&a);

	assert_json_equal(json, again);
	json_object_del(json, "facts");
	assert_int_equal(attachment_decode(json, &b, &err), 0);
	assert_int_equal(b.facts.rdma.index, -1);
	assert_int_equal(b.facts.rdma.gid_index, -1);

	CLEANUP_JSON json_t *none = json_object();
	struct facts facts;

	assert_int_equal(facts_decode(none, &facts, &err), 0);
	assert_int_equal(facts.rdma.gid_index, -1);
}

static char *filled(size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, 'x', len);
	text[len] = '\0';
	return text;
}

/* Whatever the record adds to the largest request that the daemon takes (METHOD_RECORD_MAX). */
static void test_largest_record_fits_a_line(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json = parse(record_text);
	CLEANUP(attachment_free) struct attachment a = { 0 };
	CLEANUP_FREE char *note = filled(46 * 1024);
	struct err err;

	json_object_set_new(json_object_get(json_object_get(json, "request"), "netconf"), "x-note",
			    json_string(note));
	assert_int_equal(attachment_decode(json, &a, &err), 0);
	for (size_t i = 0; i < a.device.altname_count; i++)
		free(a.device.altnames[i]);
	memset(a.device.driver, 'x', sizeof(a.device.driver) - 1);
	memset(a.device.rdma.name, 'x', sizeof(a.device.rdma.name) - 1);
	memset(a.device.rdma.uverbs, 'x', sizeof(a.device.rdma.uverbs) - 1);
	a.facts.rdma.gid_index = INT32_MAX;
	a.device.altname_count = PROTO_ALTNAMES_MAX;
	for (size_t i = 0; i < a.device.altname_count; i++)
		a.device.altnames[i] = filled(ALTNAME_MAX);
	for (size_t i = 0; i < PROTO_IPS_MAX; i++)
		a.facts.net.ips[i] = a.net.ips[i] = (struct address) {
			.cidr = { { AF_INET6, { 0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 } }, 128 },
			.gateway = { AF_INET6, { 0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 } },
		};
	a.facts.net.ip_count = a.net.ip_count = PROTO_IPS_MAX;
	for (size_t i = 0; i < PROTO_ROUTES_MAX; i++)
		a.facts.net.routes[i] = a.net.routes[i] = (struct route) {
			.dst = a.net.ips[0].cidr,
			.gw = a.net.ips[0].gateway,
			.mtu = UINT32_MAX,
			.advmss = UINT32_MAX,
			.priority = UINT32_MAX,
			.table = UINT32_MAX,
			.scope = UINT8_MAX,
		};
	a.facts.net.route_count = a.net.route_count = PROTO_ROUTES_MAX;

	CLEANUP_JSON json_t *large = attachment_encode(&a);
	CLEANUP_FREE char *line = json_dumps(large, JSON_COMPACT);

	assert_true(strlen(line) < PROTO_LINE_MAX - 512); /* of which an answer needs some */
}

/* Each row changes one member of the record above; NULL takes it away. */
static void test_wrong_record_names_the_member(void **state)
{
	static const struct {
		const char *object, *key, *value, *says;
	} rows[] = {
		{ NULL, "id", NULL, "\"id\": is required" },
		{ NULL, "id", "0", "\"id\": 0: must be an integer" },
		{ NULL, "id", "'1'", "\"id\"" },
		{ NULL, "generation", NULL, "\"generation\": is required" },
		{ NULL, "state", "'gone'", "\"state\"" },
		{ NULL, "state", NULL, "\"state\": is required" },
		{ NULL, "network", "'a/b'", "\"network\"" },
		{ NULL, "containerID", "''", "\"containerID\"" },
		{ NULL, "ifname", "'sixteen-bytes-xx'", "\"ifname\"" },
		{ NULL, "ifname", "'..'", "\"ifname\"" },
		{ NULL, "request", NULL, "\"request\": is required" },
		{ "request", "program", "'sh'", "\"request.program\"" },
		{ "request", "env", "{'LD_PRELOAD': 'x'}", "\"request.env\"" },
		{ "request", "env", "{'CNI_X': 1}", "\"request.env\"" },
		{ "request", "env", "{'CNI_A=B': ''}", "\"request.env\"" },
		{ "request", "env", NULL, "\"request.env\": is required" },
		{ "request", "netconf", "[]", "\"request.netconf\"" },
		{ NULL, "pod", "'x'", "\"pod\": \"x\": must be an object" },
		{ "pod", "uid", "7", "\"pod.uid\"" },
		{ "netns", "nsid", "-2", "\"netns.nsid\"" },
		{ "netns", "cookie", "-1", "\"netns.cookie\"" },
		{ "device", "name", "'a-name-of-sixteen'", "\"device.name\"" },
		{ "device", "mac", "'02:00'", "\"device.mac\"" },
		{ "device", "altnames", "[1]", "\"device.altnames\"" },
		{ "device", "up", "1", "\"device.up\"" },
		{ "device", "type", "65536", "\"device.type\"" },
		{ "device", "numa", "-2", "\"device.numa\"" },
		{ "device", "settings", "{'flags': -1}", "\"device.settings.flags\"" },
		{ "device", "settings", "{'limits': [1, 2, 3, 4, 5, 6]}",
		  "\"device.settings.limits\"" },
		{ "device", "settings", "{'limits': ['1']}", "\"device.settings.limits\"" },
		{ "device", "settings", "{'broadcast': 'x'}", "\"device.settings.broadcast\"" },
		{ "device", "ethtool", "{'ring rx': -1}", "\"device.ethtool.ring rx\"" },
		{ "device", "vf", "{'index': 1}", "\"device.vf.pf\": is required" },
		{ "device", "vf", "{'pf': '1a'}", "\"device.vf.pf\"" },
		{ "device", "vf", "{'pf': '0000:1a:00.0', 'vlan': 4096}", "\"device.vf.vlan\"" },
		{ "device", "vf", "{'pf': '0000:1a:00.0', 'vlan': 1, 'proto': 'q'}",
		  "\"device.vf.proto\"" },
		{ "device", "vf", "{'pf': '0000:1a:00.0', 'linkState': 'up'}",
		  "\"device.vf.linkState\"" },
		{ "device", "vf", "{'pf': '0000:1a:00.0', 'nodeGUID': '01'}",
		  "\"device.vf.nodeGUID\"" },
		{ "device", "rdma", "{'name': 1}", "\"device.rdma.name\"" },
		{ "device", "rdma", "{'adaptiveModeration': 1}",
		  "\"device.rdma.adaptiveModeration\"" },
		{ NULL, "guid", "'x'", "\"guid\"" },
		{ NULL, "pkey", "'0x0000'", "\"pkey\"" },
		{ "facts", "rdma", "{'gidIndex': -2}", "\"facts.rdma.gidIndex\"" },
		{ "facts", "rdma", "{'index': -2}", "\"facts.rdma.index\"" },
		{ "rail", "index", "4294967296", "\"rail.index\"" },
		{ NULL, "ips", "[{'address': '10.0.0.5/33'}]", "\"ips[0].address\"" },
		{ NULL, "ips", "[{'address': '::1', 'gateway': '1.2.3.4'}]", "\"ips[0].gateway\"" },
		{ NULL, "ips", "[{}]", "\"ips[0].address\": is required" },
		{ NULL, "ips", "[1]", "\"ips[0]\": must be an object" },
		{ NULL, "routes", "[{'dst': '::/0'}, {'dst': '::/0', 'gw': '1.2.3.4'}]",
		  "\"routes[1].gw\"" },
		{ NULL, "routes", "[{'dst': '::/0', 'scope': 256}]", "\"routes[0].scope\"" },
		{ "facts", "ips", "[{'address': 'x'}]", "\"facts.ips[0].address\"" },
		{ "facts", "mtu", "-1", "\"facts.mtu\"" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *json = parse(record_text);
		struct attachment a = { .id = 99 };
		json_t *object = rows[i].object ? json_object_get(json, rows[i].object) : json;
		struct err err = { 0 };

		if (rows[i].value) {
			char text[200];

			(void)snprintf(text, sizeof(text), "[%s]", rows[i].value);

			CLEANUP_JSON json_t *value = parse(text);

			json_object_set(object, rows[i].key, json_array_get(value, 0));
		} else {
			json_object_del(object, rows[i].key);
		}
		assert_true(attachment_decode(json, &a, &err) < 0);
		assert_int_equal(a.id, 99);
		if (!strstr(err.msg, rows[i].says))
			fail_msg("row %zu: \"%s\" does not say %s", i, err.msg, rows[i].says);
	}
}

static void test_arrays_have_limits(void **state)
{
	static const struct {
		const char *key;
		const char *element;
		size_t max;
	} rows[] = {
		{ "ips", "{'address': '::1/128'}", PROTO_IPS_MAX },
		{ "routes", "{'dst': '::/0'}", PROTO_ROUTES_MAX },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *json = parse("{}");
		CLEANUP_JSON json_t *element = parse(rows[i].element);
		json_t *array = json_array();
		struct facts facts;
		struct err err;

		json_object_set_new(json, rows[i].key, array);
		for (size_t k = 0; k < rows[i].max; k++)
			json_array_append(array, element);
		assert_int_equal(facts_decode(json, &facts, &err), 0);
		json_array_append(array, element);
		assert_true(facts_decode(json, &facts, &err) < 0);
		assert_non_null(strstr(err.msg, rows[i].key));
	}
}

static void test_key_fits_the_store(void **state)
{
	(void)state;
	char id[PROTO_KEY_MAX + 1];
	struct attachment_key key = { "net", id, "i" }, found;
	struct err err;

	memset(id, 'x', sizeof(id));
	id[PROTO_KEY_MAX - 4] = '\0';

	CLEANUP_JSON json_t *fits = key_encode(&key);

	assert_int_equal(key_decode(fits, &found, &err), 0);
	assert_string_equal(found.container_id, id);
	id[PROTO_KEY_MAX - 4] = 'x';
	id[PROTO_KEY_MAX - 3] = '\0';

	CLEANUP_JSON json_t *longer = key_encode(&key);

	assert_true(key_decode(longer, &found, &err) < 0);
	assert_int_equal(err.code, ERR_ENV);
}

static void test_request_is_read_back(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json =
		parse("{'network': 'rail0', 'containerID': 'abc', 'ifname': 'net1',"
		      " 'pod': {'name': 'p'}, 'netns': {'path': '/x', 'cookie': 1, 'nsid': 0},"
		      " 'request': {'program': 'spur', 'env': {'CNI_IFNAME': 'net1'},"
		      "   'netconf': {'name': 'rail0'}},"
		      " 'device': 'net:eth5', 'netdev': 'eth5', 'pool': 'train', 'rail': 'rail0',"
		      " 'rdmaOnly': true, 'fromPlugin': true, 'guid': '02:00:00:00:00:00:00:05', "
		      "'pkey': '0x0001',"
		      " 'mac': '02:00:00:00:00:04', 'vlan': 7, 'ips': ['10.0.0.5/32', "
		      "'fd00::5/64'], 'claim': ['rail0', 'rail1'],"
		      " 'table': 'auto', 'sticky': 'job/worker-3', 'deadline': 5000}");
	struct reserve_request request;
	struct err err;

	assert_int_equal(reserve_decode(json, &request, &err), 0);
	assert_string_equal(request.key.network, "rail0");
	assert_string_equal(request.pod.uid, "");
	assert_int_equal(request.netns.nsid, 0);
	assert_string_equal(request.device, "net:eth5");
	assert_true(request.rdma_only);
	assert_false(request.choose_device);
	assert_int_equal(request.guid, 0x0200000000000005);
	assert_int_equal(request.pkey, 1);
	assert_true(request.station.has_vlan && request.station.vlan == 7);
	assert_int_equal(request.ip_count, 2);
	assert_false(request.claim_all || request.has_index);
	assert_int_equal(request.claim_count, 2);
	assert_string_equal(request.claim[1], "rail1");
	assert_true(request.auto_table);
	assert_string_equal(request.sticky, "job/worker-3");
	assert_int_equal(request.deadline_ms, 5000);

	CLEANUP_JSON json_t *again = reserve_encode(&request);

	assert_json_equal(json, again);
	assert_string_equal(request.netdev, "eth5");
	assert_false(request.gateway);
	json_object_del(json, "device");
	json_object_del(json, "netdev");
	json_object_del(json, "rdmaOnly");
	json_object_set_new(json, "chooseDevice", json_true());
	assert_int_equal(reserve_decode(json, &request, &err), 0);
	assert_true(request.choose_device);
	json_object_set_new(json, "claim", json_pack("[s]", "*"));
	json_object_set_new(json, "ips", json_array());
	json_object_set_new(json, "index", json_integer(0));
	assert_int_equal(reserve_decode(json, &request, &err), 0);
	assert_true(request.claim_all && request.claim_count == 0);
	assert_true(request.has_index && request.index == 0);

	CLEANUP_JSON json_t *chosen = reserve_encode(&request);

	assert_json_equal(json, chosen);
	json_object_del(json, "index");
	json_object_del(json, "claim");
	json_object_set_new(json, "gateway", json_true());
	assert_int_equal(reserve_decode(json, &request, &err), 0);
	assert_true(request.gateway);

	CLEANUP_JSON json_t *gateway = reserve_encode(&request);

	assert_json_equal(json, gateway);
}

static void test_wrong_request_is_refused(void **state)
{
	static const struct {
		const char *key, *value;
	} rows[] = {
		{ "deadline", NULL },
		{ "deadline", "-1" },
		{ "ips", "[1]" },
		{ "ips", "['10.0.0']" },
		{ "ips", "'10.0.0.5'" },
		{ "pool", "''" },
		{ "rail", "7" },
		{ "device", "''" },
		{ "netns", "[]" },
		{ "request", "{}" },
		{ "containerID", "'-'" },
		{ "ifname", "''" },
		{ "guid", "'00:00:00:00:00:00:00:00'" },
		{ "guid", "'01:00:00:00:00:00:00:05'" },
		{ "pkey", "1" },
		{ "mac", "'01:00:00:00:00:04'" },
		{ "mac", "'00:00:00:00:00:00'" },
		{ "vlan", "4095" },
		{ "vlan", "-1" },
		{ "rdmaOnly", "true" },
		{ "fromPlugin", "1" },
		{ "gateway", "1" },
		{ "netdev", "''" },
		{ "netdev", "'sixteen-bytes-xx'" },
		{ "chooseDevice", "true" },
		{ "chooseDevice", "1" },
		{ "claim", "[]" },
		{ "claim", "'*'" },
		{ "claim", "[1]" },
		{ "claim", "['']" },
		{ "claim", "['*', 'r']" },
		{ "claim", "['r']" }, /* there is no pool */
		{ "index", "-1" },
		{ "index", "4294967296" },
		{ "index", "5" }, /* likewise */
		{ "table", "'auto'" },
		{ "table", "'main'" },
		{ "table", "100" },
		{ "sticky", "''" },
		{ "sticky", "'a b'" },
		{ "sticky", "7" },
		{ "pod", "{'namespace': "
			 "'a123456789b123456789c123456789d123456789e123456789f1234567890123'}" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *json =
			parse("{'network': 'n', 'containerID': 'c', 'ifname': 'i', 'deadline': 1,"
			      " 'request': {'program': 'spur', 'env': {}, 'netconf': {}}}");
		struct reserve_request request;
		struct err err;
		char text[128];

		assert_int_equal(reserve_decode(json, &request, &err), 0);
		(void)snprintf(text, sizeof(text), "[%s]", rows[i].value ? rows[i].value : "");

		CLEANUP_JSON json_t *value = parse(text);

		if (rows[i].value)
			json_object_set(json, rows[i].key, json_array_get(value, 0));
		else
			json_object_del(json, rows[i].key);
		assert_true(reserve_decode(json, &request, &err) < 0);
		assert_non_null(strstr(err.msg, rows[i].key));
	}
}

/* The store also keys on the pod's UID. */
static void test_pod_uid_fits_the_store(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json = parse(record_text);
	CLEANUP(attachment_free) struct attachment a = { 0 };
	char uid[PROTO_KEY_MAX + 1];
	struct err err;

	memset(uid, 'u', sizeof(uid));
	uid[PROTO_KEY_MAX - 9] = '\0'; /* "rail0" and "net1" take nine */
	json_object_set_new(json_object_get(json, "pod"), "uid", json_string(uid));
	assert_int_equal(attachment_decode(json, &a, &err), 0);
	attachment_free(&a);
	uid[PROTO_KEY_MAX - 9] = 'u';
	uid[PROTO_KEY_MAX - 8] = '\0';
	json_object_set_new(json_object_get(json, "pod"), "uid", json_string(uid));
	assert_true(attachment_decode(json, &a, &err) < 0);
	assert_non_null(strstr(err.msg, "\"pod.uid\""));
}

static void test_error_is_read_back(void **state)
{
	(void)state;
	struct err err = { 0 }, found = { 0 };

	err_set(&err, EBUSY, ERR_AGAIN, "reserve %s: busy", "x");
	err_details(&err, "wait");

	CLEANUP_JSON json_t *json = error_encode(&err);

	assert_true(error_decode(json, &found) < 0);
	assert_int_equal(found.code, ERR_AGAIN);
	assert_true(found.errnum > 0);
	assert_string_equal(found.msg, "reserve x: busy");
	assert_string_equal(found.details, "wait");

	CLEANUP_JSON json_t *foreign = parse("{'code': -32601}");

	assert_true(error_decode(foreign, &found) < 0);
	assert_int_equal(found.code, ERR_INTERNAL);
	assert_true(error_decode(NULL, &found) < 0);
}

static void test_error_survives_bytes_that_are_no_text(void **state)
{
	(void)state;
	struct err err = { 0 }, found = { 0 };

	err_set(&err, EINVAL, ERR_NAME, "name \xff\xfe: taken");

	CLEANUP_JSON json_t *json = error_encode(&err);

	assert_non_null(json);
	assert_true(error_decode(json, &found) < 0);
	assert_string_equal(found.msg, "name ??: taken");
}

static long allocations_left;

static void *failing_malloc(size_t size)
{
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

/* For each allocation in turn: it fails, nothing is half-built (or leaked: sanitizers look). */
static void test_out_of_memory_at_each_allocation(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json = parse(record_text);
	CLEANUP(attachment_free) struct attachment a = { 0 };
	json_t *encoded = NULL;
	struct err err;
	long n;

	assert_int_equal(attachment_decode(json, &a, &err), 0);
	json_set_alloc_funcs(failing_malloc, free);
	for (n = 0; !encoded && n < 10000; n++) {
		allocations_left = n;
		encoded = attachment_encode(&a);
	}
	json_set_alloc_funcs(malloc, free);
	assert_true(n > 50 && n < 10000);
	assert_json_equal(encoded, json);
	json_decref(encoded);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record_is_read_back),
		cmocka_unit_test(test_tables_of_rails),
		cmocka_unit_test(test_small_record_is_read_back),
		cmocka_unit_test(test_what_is_absent_is_not_known),
		cmocka_unit_test(test_largest_record_fits_a_line),
		cmocka_unit_test(test_wrong_record_names_the_member),
		cmocka_unit_test(test_arrays_have_limits),
		cmocka_unit_test(test_key_fits_the_store),
		cmocka_unit_test(test_request_is_read_back),
		cmocka_unit_test(test_wrong_request_is_refused),
		cmocka_unit_test(test_pod_uid_fits_the_store),
		cmocka_unit_test(test_error_is_read_back),
		cmocka_unit_test(test_error_survives_bytes_that_are_no_text),
		cmocka_unit_test(test_out_of_memory_at_each_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
