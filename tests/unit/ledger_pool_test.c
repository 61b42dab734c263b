/* SPDX-License-Identifier: Apache-2.0 */
/* Pools as text, and the arithmetic between indexes and addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ipamd/pool.h"
#include "ipamd/pool_check.h"

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

/* One pool of these members, and one rail. */
static int read_slots(const char *pool, const char *members, struct pool_set *set, struct err *err)
{
	char text[1024];

	(void)snprintf(text, sizeof(text), "[{'name': 'p', %s'rails': [{'name': 'r', %s}]}]", pool,
		       members);

	CLEANUP_JSON json_t *json = parse(text);

	return pool_set_read(json, set, err);
}

static int read_rail(const char *members, struct pool_set *set, struct err *err)
{
	return read_slots("", members, set, err);
}

static struct ip ip_of(const char *text)
{
	struct ip ip = { 0 };

	assert_int_equal(ip_parse(text, &ip), 0);
	return ip;
}

/* The indexes that a rail gives, as "first-last first-last …". */
static void format_indexes(const struct rail *rail, char *buf, size_t size)
{
	uint64_t from, index;
	size_t n = 0;

	buf[0] = '\0';
	for (from = 0; rail_next_index(rail, from, &index); from = index + 1) {
		uint64_t first = index;

		while (index < rail->last && rail_has_index(rail, index + 1))
			index++;
		n += (size_t)snprintf(buf + n, size - n, "%s%llu-%llu", n ? " " : "",
				      (unsigned long long)first, (unsigned long long)index);
	}
}

static void test_indexes_that_may_be_given(void **state)
{
	static const struct {
		const char *members, *indexes;
	} rows[] = {
		{ "'cidr': '10.0.0.0/29'", "1-6" },
		{ "'cidr': '10.0.0.0/30'", "1-2" },
		{ "'cidr': '10.0.0.0/31'", "0-1" },
		{ "'cidr': '10.0.0.7/32'", "0-0" },
		{ "'cidr6': 'fd00::/125'", "1-7" },
		{ "'cidr6': 'fd00::/127'", "0-1" },
		{ "'cidr6': 'fd00::7/128'", "0-0" },
		{ "'cidr': '10.0.0.0/29', 'cidr6': 'fd00::/64'", "1-6" },
		{ "'cidr': '10.0.0.0/24', 'cidr6': 'fd00::/125'", "1-7" },
		{ "'cidr': '10.0.0.0/31', 'cidr6': 'fd00::/64'", "1-1" },
		{ "'cidr': '10.0.0.0/31', 'gatewayIndex': 0", "1-1" },
		{ "'cidr': '10.0.0.0/29', 'gatewayIndex': 1", "2-6" },
		{ "'cidr': '10.0.0.0/29', 'gateway': '10.0.0.6'", "1-5" },
		{ "'cidr6': 'fd00::/125', 'gateway6': 'fd00::4'", "1-3 5-7" },
		{ "'cidr': '10.0.0.0/28', 'exclude': ['10.0.0.4/30', '10.0.0.9', "
		  "'10.0.0.11-10.0.0.12']",
		  "1-3 8-8 10-10 13-14" },
		/* overlapping, touching, unsorted */
		{ "'cidr': '10.0.0.0/28', 'exclude': ['10.0.0.8-10.0.0.10', '10.0.0.2-10.0.0.5', "
		  "'10.0.0.6', '10.0.0.4-10.0.0.4']",
		  "1-1 7-7 11-14" },
		/* by either family; past the highest index is nothing */
		{ "'cidr': '10.0.0.0/29', 'cidr6': 'fd00::/64', 'exclude': ['fd00::3', "
		  "'fd00::100-fd00::200', 'fd00::5-fd00::ffff']",
		  "1-2 4-4" },
		{ "'cidr': '10.0.0.0/29', 'exclude': ['10.0.0.0/29']", "" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(pool_set_free) struct pool_set set = { 0 };
		const struct rail *rail;
		struct err err = { 0 };
		uint64_t count = 0;
		char text[200];

		if (read_rail(rows[i].members, &set, &err) < 0)
			fail_msg("row %zu: %s", i, err.msg);
		rail = pool_rail(pool_find(&set, "p"), NULL);
		format_indexes(rail, text, sizeof(text));
		assert_string_equal(text, rows[i].indexes);
		for (uint64_t index = 0; index <= rail->last; index++)
			count += rail_has_index(rail, index);
		assert_int_equal(rail_capacity(rail), count);
	}
}

static void test_indexes_of_slots(void **state)
{
	static const struct {
		const char *pool, *members, *indexes;
	} rows[] = {
		{ "'blockBits': 2,", "'cidr': '10.0.0.0/28'", "1-14" },
		{ "'blockBits': 2, 'reservedSlots': [1, '3-3'],", "'cidr': '10.0.0.0/28'",
		  "1-3 8-11" },
		{ "'blockBits': 2, 'slotExclude': [0, '2-3'],", "'cidr': '10.0.0.0/28'",
		  "1-1 5-5 9-9 13-13" },
		{ "'blockBits': 2, 'subnet': 'slot',", "'cidr': '10.0.0.0/28'",
		  "1-2 5-6 9-10 13-14" },
		{ "'blockBits': 2, 'subnet': 'slot', 'reservedSlots': [0],",
		  "'cidr': '10.0.0.0/28', 'gatewayIndex': 1, 'exclude': ['10.0.0.10']",
		  "6-6 14-14" },
		{ "'blockBits': 2, 'subnet': 'slot',", "'cidr6': 'fd00::/125'", "1-3 5-7" },
		/* point to point: nothing but the gateway */
		{ "'blockBits': 1, 'subnet': 'slot',", "'cidr': '10.0.0.0/30'", "0-3" },
		{ "'blockBits': 1, 'subnet': 'slot',", "'cidr': '10.0.0.0/30', 'gatewayIndex': 0",
		  "1-1 3-3" },
		{ "'blockBits': 1, 'subnet': 'slot',", "'cidr6': 'fd00::/126', 'gatewayIndex': 1",
		  "0-0 2-2" },
		{ "'blockBits': 0, 'subnet': 'slot',", "'cidr': '10.0.0.0/30'", "0-3" },
		/* the exclusion ends where slots give nothing */
		{ "'blockBits': 2, 'subnet': 'slot',",
		  "'cidr': '10.0.0.0/28', 'exclude': ['10.0.0.2', '10.0.0.5-10.0.0.6']",
		  "1-1 9-10 13-14" },
		{ "'blockBits': 2, 'subnet': 'slot', 'slotExclude': ['1-2'],",
		  "'cidr': '10.0.0.0/28'", "" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(pool_set_free) struct pool_set set = { 0 };
		struct err err = { 0 };
		char text[200];

		if (read_slots(rows[i].pool, rows[i].members, &set, &err) < 0)
			fail_msg("row %zu: %s", i, err.msg);
		format_indexes(&set.pools[0].rails[0], text, sizeof(text));
		assert_string_equal(text, rows[i].indexes);
	}
}

/* The largest there is: a v6 /64 in slots of 2, with an exclusion at either end. */
static void test_large_rail_of_slots(void **state)
{
	(void)state;
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	struct err err;
	struct rail *rail;
	uint64_t index;

	assert_int_equal(
		read_slots("'blockBits': 1, 'subnet': 'slot', ",
			   "'cidr6': 'fd00::/64', 'gatewayIndex': 0, 'exclude': ['fd00::1', "
			   "'fd00::ffff:fff0-fd00::ffff:ffff:ffff']",
			   &set, &err),
		0);
	rail = &set.pools[0].rails[0];
	assert_int_equal(rail_capacity(rail), (UINT64_C(1) << 31) - 1 - 8);
	assert_int_equal(rail_slot_count(rail), UINT64_C(1) << 31);
	assert_true(rail_next_index(rail, 0, &index));
	assert_int_equal(index, 3);
	assert_true(rail_next_index(rail, 0x80000000, &index));
	assert_int_equal(index, 0x80000001);
	assert_false(rail_next_index(rail, 0xfffffff0, &index));
}

static void test_guids_of_slots(void **state)
{
	(void)state;
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	const uint64_t base = 0x0200000000000000;
	struct err err;
	struct rail *rail;
	uint64_t guid;

	assert_int_equal(read_slots("'blockBits': 2, 'reservedSlots': [0, 2], ",
				    "'cidr': '10.0.0.0/28', 'guidBase': '02:00:00:00:00:00:00:00'",
				    &set, &err),
			 0);
	rail = &set.pools[0].rails[0];
	assert_int_equal(rail->guid_count, 16);
	assert_true(rail_next_guid(rail, 0, &guid));
	assert_true(guid == base + 4);
	assert_true(rail_next_guid(rail, base + 7, &guid));
	assert_true(guid == base + 7);
	assert_true(rail_next_guid(rail, base + 8, &guid));
	assert_true(guid == base + 12);
	assert_true(rail_next_guid(rail, base + 15, &guid));
	assert_false(rail_next_guid(rail, base + 16, &guid));
}

static void test_large_rails(void **state)
{
	(void)state;
	CLEANUP(pool_set_free) struct pool_set set = { 0 }, all = { 0 };
	struct err err;
	uint64_t index;

	assert_int_equal(read_rail("'cidr6': 'fd00::/16', 'exclude': ['fd00::/17']", &set, &err),
			 0);
	assert_int_equal(rail_capacity(&set.pools[0].rails[0]), 0);
	assert_int_equal(read_rail("'cidr': '0.0.0.0/0'", &all, &err), 0);
	assert_int_equal(rail_capacity(&all.pools[0].rails[0]), UINT32_MAX - UINT64_C(1));
	assert_true(rail_next_index(&all.pools[0].rails[0], UINT32_MAX - 1, &index));
	assert_false(rail_next_index(&all.pools[0].rails[0], UINT32_MAX, &index));
}

static void assert_address(const struct address *address, const char *cidr, const char *gateway)
{
	char text[CIDR_TEXT], ip[IP_TEXT] = "";

	assert_string_equal(cidr_format(&address->cidr, text), cidr);
	if (address->gateway.family)
		(void)ip_format(&address->gateway, ip);
	assert_string_equal(ip, gateway);
}

static void test_index_becomes_addresses_and_back(void **state)
{
	(void)state;
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	struct ip_config config;
	struct rail *rail;
	struct err err;
	uint64_t index;
	struct ip ip;

	assert_int_equal(read_rail("'cidr': '10.0.0.0/13', 'cidr6': 'fd00::/64', "
				   "'gatewayIndex': 1, 'routes': [{'dst': '10.0.0.0/8'}, "
				   "{'dst': 'fd00::/8', 'gw': 'fd00::7'}, {'dst': '::/0', "
				   "'table': 103}]",
				   &set, &err),
			 0);
	rail = &set.pools[0].rails[0];
	rail_config(rail, 0x10203, &config);
	assert_int_equal(config.ip_count, 2);
	assert_address(&config.ips[0], "10.1.2.3/13", "10.0.0.1");
	assert_address(&config.ips[1], "fd00::1:203/64", "fd00::1");
	assert_int_equal(config.route_count, 3);
	ip = ip_of("10.0.0.1");
	assert_int_equal(ip_compare(&config.routes[0].gw, &ip), 0);
	ip = ip_of("fd00::7");
	assert_int_equal(ip_compare(&config.routes[1].gw, &ip), 0);
	ip = ip_of("fd00::1");
	assert_int_equal(ip_compare(&config.routes[2].gw, &ip), 0);
	assert_int_equal(config.routes[2].table, 103);

	for (size_t i = 0; i < 2; i++) {
		assert_true(rail_index_of(rail, &config.ips[i].cidr.ip, &index));
		assert_int_equal(index, 0x10203);
	}
	ip = ip_of("10.8.0.0");
	assert_false(rail_index_of(rail, &ip, &index));
	ip = ip_of("9.255.255.255");
	assert_false(rail_index_of(rail, &ip, &index));
	ip = ip_of("fd00::8:0"); /* in the prefix, past the v4 side's last */
	assert_false(rail_index_of(rail, &ip, &index));
	ip = ip_of("fd00:0:0:1::5");
	assert_false(rail_index_of(rail, &ip, &index));
}

static void test_route_without_gateway_is_on_link(void **state)
{
	(void)state;
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	struct err err;

	assert_int_equal(
		read_rail("'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8'}]", &set, &err),
		0);
	assert_int_equal(set.pools[0].rails[0].routes[0].gw.family, 0);
}

/* The kernel makes the way to its own prefix with the address: of either family, of a slot too. */
static void test_route_to_its_own_prefix(void **state)
{
	static const struct {
		const char *pool, *members;
		size_t count;
	} rows[] = {
		{ "", "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/24'}]", 0 },
		{ "",
		  "'cidr': '10.0.0.0/24', 'gatewayIndex': 1, 'routes': [{'dst': '10.0.0.0/24'}]",
		  0 },
		{ "", "'cidr6': 'fd00::/64', 'gatewayIndex': 1, 'routes': [{'dst': 'fd00::/64'}]",
		  0 },
		{ "",
		  "'cidr': '10.0.0.0/24', 'cidr6': 'fd00::/64', 'gatewayIndex': 1, 'routes': "
		  "[{'dst': 'fd00::/64', 'scope': 253}, {'dst': '10.0.0.0/8'}, {'dst': "
		  "'10.0.0.0/24'}]",
		  1 },
		/* more than that is said */
		{ "", "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/24', 'table': 7}]", 1 },
		{ "", "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/24', 'priority': 7}]",
		  1 },
		{ "", "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/24', 'gw': '10.0.0.9'}]",
		  1 },
		{ "", "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/25'}]", 1 },
		{ "'blockBits': 4, 'subnet': 'slot', ",
		  "'cidr': '10.0.0.0/24', 'gatewayIndex': 1, 'routes': [{'dst': '10.0.0.0/24'}]",
		  1 },
		{ "'blockBits': 4, 'subnet': 'slot', ",
		  "'cidr': '10.0.0.0/24', 'gatewayIndex': 1, 'routes': [{'dst': '10.0.0.0/28'}]",
		  0 },
		{ "'blockBits': 4, 'subnet': 'slot', ",
		  "'cidr': '10.0.0.0/24', 'gatewayIndex': 1, 'routes': [{'dst': '10.0.0.16/28'}]",
		  1 },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(pool_set_free) struct pool_set set = { 0 };
		struct ip_config config;
		struct err err = { 0 };

		if (read_slots(rows[i].pool, rows[i].members, &set, &err) < 0 ||
		    pool_set_check(&set, &err) < 0)
			fail_msg("row %zu: %s", i, err.msg);
		rail_config(&set.pools[0].rails[0], 2, &config);
		if (config.route_count != rows[i].count)
			fail_msg("row %zu: %zu routes", i, config.route_count);
	}
}

static void test_pools_that_no_pod_could_use(void **state)
{
	static const char slots[] = "'blockBits': 4, 'subnet': 'slot', ";
	static const struct {
		const char *pool, *members, *says; /* NULL: nothing */
	} rows[] = {
		{ "", "'cidr': '10.0.0.0/28', 'exclude': ['10.0.0.0/28']",
		  "key \"pools[0].rails[0]\": rail \"r\" gives no address: all of its 16 indexes "
		  "are "
		  "excluded, reserved or a gateway's" },
		{ "", "'cidr': '10.0.0.7/32', 'exclude': ['10.0.0.7']", "all of its 1 indexes" },
		{ "'blockBits': 4, 'reservedSlots': [0], ", "'cidr': '10.0.0.0/28'",
		  "gives no address" },
		{ "'blockBits': 1, 'subnet': 'slot', 'slotExclude': [1], ",
		  "'cidr': '10.0.0.0/28', 'gatewayIndex': 0", "gives no address" },
		{ "", "'cidr': '127.0.0.0/24'",
		  "key \"pools[0].rails[0].cidr\": \"127.0.0.0/24\": has loopback addresses" },
		{ "", "'cidr': '224.1.0.0/24'", "has multicast addresses" },
		{ "", "'cidr': '96.0.0.0/3'", "has loopback addresses" },
		{ "", "'cidr': '240.0.0.0/24'", NULL },
		{ "", "'cidr6': 'ff00::/64'", "cidr6\": \"ff00::/64\": has multicast addresses" },
		{ "", "'cidr6': '::/96'", "has unspecified addresses" },
		/* 2^32 of 2^64 */
		{ "", "'cidr6': 'fd00::/64', 'exclude': ['fd00::-fd00::1:0:0:0']",
		  "all of its 4294967296 indexes, the most that a rail has, are excluded" },
		{ "", "'cidr6': 'fd00::/64', 'exclude': ['fd00::-fd00::ffff:fffe']", NULL },
		/* the family */
		{ "",
		  "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8'}, {'dst': 'fd00::/8'}]",
		  "key \"pools[0].rails[0].routes[1].dst\": \"fd00::/8\": rail \"r\" has no IPv6 "
		  "addresses" },
		{ "", "'cidr6': 'fd00::/64', 'routes': [{'dst': '0.0.0.0/0'}]",
		  "has no IPv4 addresses" },
		/* the gateway */
		{ "", "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8', 'gw': '10.0.1.1'}]",
		  "key \"pools[0].rails[0].routes[0].gw\": \"10.0.1.1\": no address of rail \"r\" "
		  "reaches it: must be inside 10.0.0.0/24, or where a route without gateway "
		  "leads" },
		{ "", "'cidr6': 'fd00::/64', 'routes': [{'dst': '::/0', 'gw': 'fd00:1::1'}]",
		  "\"fd00:1::1\": no address" },
		{ "", "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8', 'gw': '10.0.0.1'}]",
		  NULL },
		{ "", "'cidr6': 'fd00::/64', 'routes': [{'dst': '::/0', 'gw': 'fe80::1'}]", NULL },
		{ "",
		  "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8', 'gw': '10.0.1.1'}, "
		  "{'dst': '10.0.1.0/24'}]",
		  NULL },
		{ "",
		  "'cidr': '10.0.0.0/24', 'gatewayIndex': 1, 'routes': [{'dst': '10.0.0.0/8', "
		  "'gw': "
		  "'10.0.1.1'}, {'dst': '10.0.1.0/24'}]",
		  "reaches it" },
		{ "",
		  "'cidr': '10.0.0.0/24', 'gatewayIndex': 1, 'routes': [{'dst': '10.0.0.0/8', "
		  "'gw': "
		  "'10.0.1.1'}, {'dst': '10.0.1.1/32', 'scope': 253}]",
		  NULL },
		/* of each slot */
		{ slots,
		  "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8', 'gw': '10.0.0.1'}]",
		  "in the only slot that is given" },
		{ "'blockBits': 4, 'subnet': 'slot', 'reservedSlots': ['0-1', '3-15'], ",
		  "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8', 'gw': '10.0.0.33'}]",
		  NULL },
		{ "'blockBits': 4, 'subnet': 'slot', 'reservedSlots': ['0-1', '4-15'], ",
		  "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8', 'gw': '10.0.0.33'}]",
		  "in the only slot that is given" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(pool_set_free) struct pool_set set = { 0 };
		struct err err = { 0 };
		int r;

		if (read_slots(rows[i].pool, rows[i].members, &set, &err) < 0)
			fail_msg("row %zu: %s", i, err.msg);
		r = pool_set_check(&set, &err);
		if (!r != !rows[i].says || (r < 0 && !strstr(err.msg, rows[i].says)))
			fail_msg("row %zu: %d \"%s\"", i, r, err.msg);
	}
}

static void test_wrong_rail_names_the_key(void **state)
{
	static const struct {
		const char *members, *says;
	} rows[] = {
		{ "'x-mtu': 1", "key \"pools[0].rails[0].cidr\": is required" },
		/* what is misspelt, or another plugin's, before what is missing for it */
		{ "'mtu': 1", "key \"pools[0].rails[0].mtu\": is not known" },
		{ "'subnet': '10.0.0.0/24'",
		  "\"pools[0].rails[0].subnet\": is not known; did you mean \"cidr\"?" },
		{ "'range': '10.0.0.0/24'",
		  "\"pools[0].rails[0].range\": is not known; did you mean \"cidr\"?" },
		{ "'cidr': '10.0.0.0/24', 'gatewayindex': 1",
		  "gatewayindex\": is not known; did you mean \"gatewayIndex\"?" },
		{ "'cidr': '10.0.0.0/24', 'exclusions': []", "did you mean \"exclude\"?" },
		{ "'cidr': '10.0.0.0/24', 'mtu': 1", "\"pools[0].rails[0].mtu\": is not known" },
		{ "'cidr': '10.0.0.1/24'",
		  "\"pools[0].rails[0].cidr\": \"10.0.0.1/24\": has host" },
		{ "'cidr': '10.0.0.0'", "\"pools[0].rails[0].cidr\"" },
		{ "'cidr': 'fd00::/64'", "must be an IPv4 prefix" },
		{ "'cidr6': '10.0.0.0/24'", "must be an IPv6 prefix" },
		{ "'cidr6': 'fd00::1/64'", "has host bits" },
		{ "'cidr': 7", "\"pools[0].rails[0].cidr\": 7: must be a string" },
		{ "'cidr': '10.0.0.0/24', 'gateway': '10.0.1.1'", "rails[0].gateway\"" },
		{ "'cidr': '10.0.0.0/24', 'gateway': '10.0.0.0'", "rails[0].gateway\"" },
		{ "'cidr': '10.0.0.0/24', 'gateway': '10.0.0.255'", "rails[0].gateway\"" },
		{ "'cidr': '10.0.0.0/24', 'gateway': 'fd00::1'", "rails[0].gateway\"" },
		{ "'cidr': '10.0.0.0/24', 'gateway6': 'fd00::1'", "rails[0].gateway6\"" },
		{ "'cidr': '10.0.0.0/24', 'gatewayIndex': -1", "rails[0].gatewayIndex\"" },
		{ "'cidr': '10.0.0.0/24', 'gatewayIndex': 0", "rails[0].gatewayIndex\"" },
		{ "'cidr': '10.0.0.0/24', 'gatewayIndex': 255", "rails[0].gatewayIndex\"" },
		{ "'cidr': '10.0.0.0/24', 'gatewayIndex': 256", "rails[0].gatewayIndex\"" },
		{ "'cidr': '10.0.0.0/24', 'gatewayIndex': 1, 'gateway': '10.0.0.2'",
		  "rails[0].gatewayIndex\": 1: excludes" },
		{ "'cidr': '10.0.0.0/24', 'exclude': '10.0.0.1'", "rails[0].exclude\"" },
		{ "'cidr': '10.0.0.0/24', 'exclude': ['10.0.0.1', '10.0.1.0']", "element 1" },
		{ "'cidr': '10.0.0.0/24', 'exclude': ['10.0.0.0/8']", "element 0" },
		{ "'cidr': '10.0.0.0/24', 'exclude': ['10.0.0.9-10.0.0.8']", "element 0" },
		{ "'cidr': '10.0.0.0/24', 'exclude': ['10.0.0.9-10.0.1.8']", "element 0" },
		{ "'cidr': '10.0.0.0/24', 'exclude': ['10.0.0.9-']", "element 0" },
		{ "'cidr': '10.0.0.0/24', 'exclude': ['10.0.0.1', '10.0.0.9/28']",
		  "element 1 has host bits set: the prefix is 10.0.0.0/28" },
		{ "'cidr6': 'fd00::/64', 'exclude': ['fd00::9/124']",
		  "element 0 has host bits set: the prefix is fd00::/124" },
		{ "'cidr': '10.0.0.0/24', 'exclude': [9]", "element 0" },
		{ "'cidr': '10.0.0.0/24', 'exclude': ['fd00::1']", "element 0" },
		{ "'cidr': '10.0.0.0/24', 'routes': {}", "rails[0].routes\"" },
		{ "'cidr': '10.0.0.0/24', 'routes': [{}]",
		  "rails[0].routes[0].dst\": is required" },
		{ "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.1/8'}]",
		  "rails[0].routes[0].dst\": has host bits" },
		{ "'cidr': '10.0.0.0/24', 'routes': [{'dst': '10.0.0.0/8', 'via': 'x'}]",
		  "rails[0].routes[0].via\": is not known" },
		{ "'cidr': '10.0.0.0/24', 'match': []", "rails[0].match\": []: must be an object" },
		{ "'cidr': '10.0.0.0/24', 'match': {}", "rails[0].match\": {}: must have \"pf\"" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pf': []}", "match.pf\": []: must have 1..64" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pci': []}", "match.pci\": []: must have 1" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pf': 'ens1'}", "match.pf\": \"ens1\": must" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pf': ['ens1', '']}", "element 1 must be the" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pf': ['a234567890123456']}",
		  "element 0 must" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pf': [1]}", "element 0 must be the name" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pci': ['1a:00.0']}", "element 0 must be a" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pci': [1]}", "element 0 must be a PF's" },
		{ "'cidr': '10.0.0.0/24', 'match': {'mac': 'x'}", "match.mac\": is not known" },
		{ "'cidr': '10.0.0.0/24', 'match': {'pciBusId': ['0000:1a:00.0']}",
		  "match.pciBusId\": is not known; did you mean \"pci\"?" },
		{ "'cidr': '10.0.0.0/24', 'guidBase': 2", "guidBase\": 2: must be a string" },
		{ "'cidr': '10.0.0.0/24', 'guidBase': '02'", "guidBase\": \"02\": must be the" },
		{ "'cidr': '10.0.0.0/24', 'guidBase': '00:00:00:00:00:00:00:00'", "guidBase\"" },
		{ "'cidr': '10.0.0.0/24', 'guidBase': 'ff:ff:ff:ff:ff:ff:ff:ff'", "guidBase\"" },
		{ "'cidr': '10.0.0.0/24', 'guidBase': '03:00:00:00:00:00:00:00'", "multicast" },
		{ "'cidr': '10.0.0.0/24', 'guidBase': '02:ff:ff:ff:ff:ff:00:01'", "multicast" },
		{ "'cidr': '10.0.0.0/24', 'pkey': 32769", "pkey\": 32769: must be a string" },
		{ "'cidr': '10.0.0.0/24', 'pkey': '0x8000'", "pkey\": \"0x8000\": must be 0x0001" },
		{ "'cidr': '10.0.0.0/24', 'pkey': '0x10001'", "pkey\"" },
		{ "'cidr': '10.0.0.0/24', 'pkey': '8001'", "pkey\"" },
		{ "'cidr': '10.0.0.0/24', 'pkeyMembership': 'limited'",
		  "rails[0].pkeyMembership\": \"limited\": needs \"pkey\"" },
		{ "'cidr': '10.0.0.0/24', 'pkey': '0x8010', 'pkeyMembership': 'limited'",
		  "contradicts \"pkey\"" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pool_set set = { .count = 99 };
		struct err err = { 0 };

		if (read_rail(rows[i].members, &set, &err) == 0)
			fail_msg("row %zu is taken", i);
		assert_int_equal(set.count, 99);
		if (!strstr(err.msg, rows[i].says))
			fail_msg("row %zu: \"%s\" does not say %s", i, err.msg, rows[i].says);
	}
}

static void test_wrong_pools_name_the_key(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "{}", "\"pools\": must be an array" },
		{ "[7]", "\"pools[0]\": must be an object" },
		{ "[{}]", "\"pools[0].name\": is required" },
		{ "[{'name': 'p'}]", "\"pools[0].rails\": is required" },
		{ "[{'name': 'p', 'rail': []}]",
		  "\"pools[0].rail\": is not known; did you mean \"rails\"?" },
		{ "[{'name': 'p', 'rails': [{'name': 'r'}], 'perNodeBlockSize': 32}]",
		  "\"pools[0].perNodeBlockSize\": is not known; did you mean \"blockBits\"?" },
		{ "[{'name': '../p', 'rails': []}]", "\"pools[0].name\"" },
		{ "[{'name': 'p', 'rails': []}]", "\"pools[0].rails\"" },
		{ "[{'name': 'p', 'rails': [{'cidr': '10.0.0.0/24'}]}]",
		  "\"pools[0].rails[0].name\": is required" },
		{ "[{'name': 'p', 'cooldown_s': 86401, 'rails': [{'name': 'r', 'cidr': "
		  "'10.0.0.0/24'}]}]",
		  "\"pools[0].cooldown_s\"" },
		{ "[{'name': 'p', 'sticky_s': 2592001, 'rails': []}]",
		  "\"pools[0].sticky_s\": 2592001" },
		{ "[{'name': 'p', 'restFor': 'all', 'rails': []}]",
		  "\"pools[0].restFor\": \"all\": must be \"namespace\", \"pod\" or \"any\"" },
		{ "[{'name': 'p', 'restFor': 1, 'rails': []}]", "\"pools[0].restFor\"" },
		{ "[{'name': 'p', 'restfor': 'any', 'rails': [{'name': 'r'}]}]",
		  "\"pools[0].restfor\": is not known; did you mean \"restFor\"?" },
		{ "[{'name': 'p', 'claim_s': 0, 'rails': []}]", "\"pools[0].claim_s\": 0" },
		{ "[{'name': 'p', 'rebind': 'yes', 'rails': []}]",
		  "\"pools[0].rebind\": \"yes\": must be \"auto\", \"always\" or \"never\"" },
		{ "[{'name': 'p', 'rebnid': 'auto', 'rails': [{'name': 'r', 'cidr': "
		  "'10.0.0.0/24'}]}]",
		  "did you mean \"rebind\"" },
		{ "[{'name': 'p', 'claim_s': 3601, 'rails': []}]", "\"pools[0].claim_s\": 3601" },
		{ "[{'name': 'p', 'colour': 1, 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24'}]}]",
		  "\"pools[0].colour\": is not known" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24'}, {'name': 'r', "
		  "'cidr': '10.0.1.0/24'}]}]",
		  "\"pools[0].rails[1].name\"" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24'}]}, {'name': 'p', "
		  "'rails': [{'name': 's', 'cidr': '10.0.1.0/24'}]}]",
		  "\"pools[1].name\"" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24'}, {'name': 's', "
		  "'cidr': '10.0.0.128/25'}]}]",
		  "\"pools[0].rails[1].cidr\": rail \"s\" overlaps rail \"r\"" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr6': 'fd00::/64'}]}, {'name': 'q', "
		  "'rails': [{'name': 's', 'cidr6': 'fd00::/48'}]}]",
		  "\"pools[1].rails[0].cidr6\": rail \"s\" overlaps rail \"r\" of pool \"p\"" },
		/* one GUID too near, from either side */
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24', 'guidBase': "
		  "'02:00:00:00:00:01:00:00'}]}, {'name': 'q', 'rails': [{'name': 's', 'cidr': "
		  "'10.0.1.0/24', 'guidBase': '02:00:00:00:00:01:ff:ff'}]}]",
		  "\"pools[1].rails[0].guidBase\": rail \"s\" has GUIDs of rail \"r\" of pool "
		  "\"p\"" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24', 'guidBase': "
		  "'02:00:00:00:00:01:00:00'}, {'name': 's', 'cidr': '10.0.1.0/24', 'guidBase': "
		  "'02:00:00:00:00:00:00:01'}]}]",
		  "\"pools[0].rails[1].guidBase\": rail \"s\" has GUIDs of rail \"r\"" },
		/* GUIDs of slots are as many as indexes: 16 of them do not reach the next rail's */
		{ "[{'name': 'p', 'blockBits': 2, 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28', "
		  "'guidBase': '02:00:00:00:00:00:00:00'}, {'name': 's', 'cidr': '10.0.1.0/28', "
		  "'guidBase': '02:00:00:00:00:00:00:10'}, {'name': 't', 'cidr': '10.0.2.0/28', "
		  "'guidBase': '02:00:00:00:00:00:00:1f'}]}]",
		  "\"pools[0].rails[2].guidBase\": rail \"t\" has GUIDs of rail \"s\"" },
		{ "[{'name': 'p', 'blockBits': 2, 'rails': [{'name': 'r', 'cidr': '10.0.0.0/28'}, "
		  "{'name': 's', 'cidr': '10.0.1.0/27'}]}]",
		  "\"pools[0].rails[1]\": rail \"s\" has 8 slots, and rail \"r\" has 4" },
		{ "[{'name': 'p', 'blockBits': 5, 'rails': [{'name': 'r', 'cidr': "
		  "'10.0.0.0/28'}]}]",
		  "\"pools[0].rails[0]\": rail \"r\" has 16 indexes, fewer than a slot" },
		{ "[{'name': 'p', 'blockBits': 17, 'rails': []}]",
		  "\"pools[0].blockBits\": 17: must be an integer 0..16" },
		{ "[{'name': 'p', 'subnet': 'slot', 'rails': []}]",
		  "\"pools[0].subnet\": \"slot\": is of slots: \"blockBits\" is required" },
		{ "[{'name': 'p', 'reservedSlots': [1], 'rails': []}]", "is of slots" },
		{ "[{'name': 'p', 'slotExclude': [1], 'rails': []}]", "is of slots" },
		{ "[{'name': 'p', 'blockBits': 2, 'subnet': 'host', 'rails': []}]",
		  "\"pools[0].subnet\": \"host\": must be \"rail\" or \"slot\"" },
		{ "[{'name': 'p', 'blockBits': 2, 'slotExclude': [1, 4], 'rails': []}]",
		  "element 1 must be a number or a range \"from-to\" in 0..3" },
		{ "[{'name': 'p', 'blockBits': 2, 'slotExclude': ['3-2'], 'rails': []}]",
		  "element 0" },
		{ "[{'name': 'p', 'blockBits': 2, 'slotExclude': ['1--2'], 'rails': []}]",
		  "element 0" },
		{ "[{'name': 'p', 'blockBits': 2, 'slotExclude': ['-1'], 'rails': []}]",
		  "element 0" },
		{ "[{'name': 'p', 'blockBits': 2, 'slotExclude': ['1-2 '], 'rails': []}]",
		  "element 0" },
		{ "[{'name': 'p', 'blockBits': 2, 'slotExclude': [-1], 'rails': []}]",
		  "element 0" },
		{ "[{'name': 'p', 'blockBits': 2, 'slotExclude': [1.0], 'rails': []}]",
		  "element 0" },
		{ "[{'name': 'p', 'blockBits': 2, 'reservedSlots': [3, 4], 'rails': [{'name': 'r', "
		  "'cidr': '10.0.0.0/28'}]}]",
		  "\"pools[0].reservedSlots\": [3,4]: the rails have 4 slots, from 0 on" },
		{ "[{'name': 'p', 'blockBits': 2, 'subnet': 'slot', 'rails': [{'name': 'r', "
		  "'cidr': "
		  "'10.0.0.0/28', 'gateway': '10.0.0.1'}]}]",
		  "rails[0].gateway\": \"10.0.0.1\": is one address" },
		{ "[{'name': 'p', 'blockBits': 2, 'subnet': 'slot', 'rails': [{'name': 'r', "
		  "'cidr': "
		  "'10.0.0.0/28', 'gatewayIndex': 4}]}]",
		  "rails[0].gatewayIndex\": 4: is not a host's index in this rail's slots" },
		{ "[{'name': 'p', 'blockBits': 2, 'subnet': 'slot', 'rails': [{'name': 'r', "
		  "'cidr': "
		  "'10.0.0.0/28', 'gatewayIndex': 3}]}]",
		  "rails[0].gatewayIndex\": 3: is not a host's" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24', 'match': {'pf': "
		  "['a', 'b']}}, {'name': 's', 'cidr': '10.0.1.0/24', 'match': {'pf': ['c', "
		  "'b']}}]}]",
		  "\"pools[0].rails[1].match\": rail \"s\" names a PF of rail \"r\"" },
		{ "[{'name': 'p', 'rails': [{'name': 'r', 'cidr': '10.0.0.0/24', 'match': {'pci': "
		  "['0000:1a:00.0']}}, {'name': 's', 'cidr': '10.0.1.0/24', 'match': {'pci': "
		  "['0000:1A:00.0']}}]}]",
		  "\"pools[0].rails[1].match\": rail \"s\" names a PF of rail \"r\"" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *json = parse(rows[i].text);
		struct pool_set set;
		struct err err = { 0 };

		if (pool_set_read(json, &set, &err) == 0)
			fail_msg("row %zu is taken", i);
		if (!strstr(err.msg, rows[i].says))
			fail_msg("row %zu: \"%s\" does not say %s", i, err.msg, rows[i].says);
	}
}

static void test_pools_and_rails_are_found(void **state)
{
	(void)state;
	CLEANUP_JSON json_t *json =
		parse("[{'name': 'a', 'rails': [{'name': 'r0', 'cidr': '10.0.0.0/24'}, {'name': "
		      "'r1', 'cidr': '10.0.1.0/24'}]}, {'name': 'b', 'cooldown_s': 0, "
		      "'sticky_s': 0, 'claim_s': 7, 'restFor': 'pod', 'x-note': 1, 'rails': "
		      "[{'name': 'r0', 'cidr': "
		      "'10.0.2.0/24'}]}]");
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	struct err err;

	assert_int_equal(pool_set_read(json, &set, &err), 0);
	assert_ptr_equal(pool_find(&set, "b"), &set.pools[1]);
	assert_null(pool_find(&set, "c"));
	assert_null(pool_rail(&set.pools[0], NULL));
	assert_ptr_equal(pool_rail(&set.pools[0], "r1"), &set.pools[0].rails[1]);
	assert_null(pool_rail(&set.pools[0], "r2"));
	assert_ptr_equal(pool_rail(&set.pools[1], NULL), &set.pools[1].rails[0]);
	assert_int_equal(set.pools[0].cooldown_ms, 120000);
	assert_int_equal(set.pools[1].cooldown_ms, 0);
	assert_int_equal(set.pools[0].sticky_ms, 3600000);
	assert_int_equal(set.pools[1].sticky_ms, 0);
	assert_int_equal(set.pools[0].rest_for, POOL_REST_FOR_NAMESPACE);
	assert_int_equal(set.pools[1].rest_for, POOL_REST_FOR_POD);
	assert_int_equal(set.pools[0].claim_ms, 120000);
	assert_int_equal(set.pools[1].claim_ms, 7000);
	assert_true(json_equal(set.source, json));
}

static struct pci_addr pci_of(const char *text)
{
	struct pci_addr addr = { 0 };

	assert_int_equal(pci_parse(text, &addr), 0);
	return addr;
}

static void test_rail_of_a_device(void **state)
{
	(void)state;
	static const char text[] =
		"[{'name': 'a', 'rails': ["
		"  {'name': 'r0', 'cidr': '10.0.0.0/24', 'match': {'pf': ['ens1', 'ens2']}},"
		"  {'name': 'r1', 'cidr': '10.0.1.0/24', 'match': {'pf': ['ens3'], 'pci': "
		"   ['0000:1a:00.0', '10000:e1:00.1']}, 'pkey': '0x7fff',"
		"   'guidBase': '02:00:00:00:00:01:00:00'},"
		"  {'name': 'any', 'cidr': '10.0.2.0/24', 'guidBase': '02:00:00:00:00:02:00:00'}]},"
		" {'name': 'b', 'rails': ["
		"  {'name': 'r0', 'cidr': '10.0.3.0/24', 'match': {'pf': ['ens1']}, "
		"   'guidBase': '02:FF:ff:ff:ff:ff:00:00'}]}]";
	static const struct {
		const char *netdev, *pci;
		int rail;      /* of pool a; -1 = none */
		int guid_rail; /* 0: none, 1: r1 of a, 2: r0 of b */
	} rows[] = {
		{ "ens1", NULL, 0, 2 },
		{ "ens2", "0000:01:00.0", 0, 0 },
		{ "ens3", NULL, 1, 1 },
		{ "eth9", "0000:1a:00.0", 1, 1 },
		{ "", "10000:e1:00.1", 1, 1 },
		{ "eth9", "0000:e1:00.1", -1, 0 },
		{ "eth9", "0000:1a:00.1", -1, 0 },
		{ "ens", NULL, -1, 0 },
		{ "", NULL, -1, 0 },
	};
	CLEANUP_JSON json_t *json = parse(text);
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	const struct rail *rails;
	struct err err = { 0 };

	if (pool_set_read(json, &set, &err) < 0)
		fail_msg("%s", err.msg);
	rails = set.pools[0].rails;
	assert_true(rail_has_match(&rails[0]) && rail_has_match(&rails[1]));
	assert_false(rail_has_match(&rails[2]));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pci_addr addr = pci_of(rows[i].pci ? rows[i].pci : "0000:00:00.0");
		const struct pci_addr *pci = rows[i].pci ? &addr : NULL;
		const struct rail *rail = rows[i].rail < 0 ? NULL : &rails[rows[i].rail];
		const struct rail *guid_rails[] = { NULL, &rails[1], &set.pools[1].rails[0] };

		assert_ptr_equal(pool_rail_of(&set.pools[0], rows[i].netdev, pci), rail);
		assert_ptr_equal(pool_set_rail_of(&set, rows[i].netdev, pci), rail);
		assert_ptr_equal(pool_set_guid_rail(&set, rows[i].netdev, pci),
				 guid_rails[rows[i].guid_rail]);
		for (int x = 0; x < 2; x++)
			assert_int_equal(rail_matches(&rails[x], rows[i].netdev, pci),
					 x == rows[i].rail);
		assert_true(rail_matches(&rails[2], rows[i].netdev, pci));
	}
	assert_int_equal(rails[0].guid_count, 0);
	assert_int_equal(rails[0].pkey, 0);
	assert_int_equal(rails[1].pkey, 0xffff); /* full: and a file may name the default one */
	assert_true(rails[1].guid_base == 0x0200000000010000);
	assert_int_equal(rails[1].guid_count, RAIL_GUIDS);
	assert_true(set.pools[1].rails[0].guid_base == 0x02ffffffffff0000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_indexes_that_may_be_given),
		cmocka_unit_test(test_indexes_of_slots),
		cmocka_unit_test(test_large_rail_of_slots),
		cmocka_unit_test(test_guids_of_slots),
		cmocka_unit_test(test_large_rails),
		cmocka_unit_test(test_index_becomes_addresses_and_back),
		cmocka_unit_test(test_route_without_gateway_is_on_link),
		cmocka_unit_test(test_route_to_its_own_prefix),
		cmocka_unit_test(test_pools_that_no_pod_could_use),
		cmocka_unit_test(test_wrong_rail_names_the_key),
		cmocka_unit_test(test_wrong_pools_name_the_key),
		cmocka_unit_test(test_pools_and_rails_are_found),
		cmocka_unit_test(test_rail_of_a_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
