/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random small rails of every shape against a model that asks each address by itself: network,
 * broadcast and gateway of its prefix, exclusions, reserved slots. Run with a number to repeat one
 * seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ipamd/pool.h"

enum { ROUNDS = 20000, EXCLUDES = 6 };

static unsigned int seed = 1;
static char shown[4096]; /* what a failure is about */

struct shape {
	int plen4, plen6; /* -1: none */
	int bits;         /* -1: no "blockBits" */
	bool subnets, absolute;
	int gateway; /* -1: none */
	int last;
	bool reserved[256], out[256]; /* slots; indexes inside a slot */
	bool excluded[256];
};

static int at_random(int below)
{
	return rand_r(&seed) % below;
}

static int smaller(int a, int b)
{
	return a < b ? a : b;
}

static int host_bits(const struct shape *s, int family)
{
	if (s->subnets)
		return s->bits;
	return family == 4 ? 32 - s->plen4 : 128 - s->plen6;
}

/* Has index @i an address of this family that no host can have? */
static bool is_ends(const struct shape *s, int family, int i)
{
	int bits = host_bits(s, family), all = bits >= 16 ? 0xffff : (1 << bits) - 1;

	if (bits <= 1 || (family == 4 ? s->plen4 : s->plen6) < 0)
		return false;
	return (i & all) == 0 || (family == 4 && (i & all) == all);
}

static bool is_gateway(const struct shape *s, int i)
{
	return s->gateway >= 0 && (s->subnets ? i & ((1 << s->bits) - 1) : i) == s->gateway;
}

static bool is_given(const struct shape *s, int i)
{
	if (i > s->last || is_ends(s, 4, i) || is_ends(s, 6, i) || is_gateway(s, i) ||
	    s->excluded[i])
		return false;
	return s->bits < 0 || (!s->reserved[i >> s->bits] && !s->out[i & ((1 << s->bits) - 1)]);
}

static struct shape shape_at_random(void)
{
	struct shape s = { .plen4 = -1, .plen6 = -1, .bits = -1, .gateway = -1, .last = 255 };
	int families = 1 + at_random(3);

	if (families & 1) {
		s.plen4 = 24 + at_random(9);
		s.last = (1 << (32 - s.plen4)) - 1;
	}
	if (families & 2) {
		s.plen6 = families == 3 && at_random(2) ? 64 : 120 + at_random(9);
		if (s.plen6 >= 120)
			s.last = smaller(s.last, (1 << (128 - s.plen6)) - 1);
	}
	for (int bits = at_random(6) - 1; bits >= 0 && s.bits < 0; bits--) {
		if (s.last + 1 >= 1 << bits)
			s.bits = bits;
	}
	s.subnets = s.bits >= 0 && at_random(2);
	if (at_random(2))
		s.gateway = at_random((s.subnets ? 1 << s.bits : s.last + 1));
	if (s.gateway >= 0 && is_ends(&s, 4, s.gateway) && s.plen4 >= 0)
		s.gateway = -1;
	s.absolute = !s.subnets && at_random(2);
	return s;
}

static const char *address(int family, int i, char buf[IP_TEXT])
{
	if (family == 4)
		(void)snprintf(buf, IP_TEXT, "10.0.0.%d", i);
	else
		(void)snprintf(buf, IP_TEXT, "fd00::%.0x", (unsigned int)i);
	return buf;
}

static json_t *exclude_at_random(struct shape *s)
{
	int family = s->plen4 >= 0 ? 4 : 6;
	char first[IP_TEXT], last[IP_TEXT];
	json_t *array = json_array();

	for (int n = at_random(EXCLUDES); n > 0; n--) {
		int from = at_random(s->last + 1), to = from + at_random(s->last + 1 - from);

		for (int i = from; i <= to; i++)
			s->excluded[i] = true;
		json_array_append_new(array, from == to ? json_string(address(family, from, first))
							: json_sprintf("%s-%s",
								       address(family, from, first),
								       address(family, to, last)));
	}
	return array;
}

static json_t *numbers_at_random(bool *marks, int count)
{
	json_t *array = json_array();

	for (int n = at_random(4); n > 0; n--) {
		int from = at_random(count), to = smaller(from + at_random(4), count - 1);

		for (int i = from; i <= to; i++)
			marks[i] = true;
		json_array_append_new(array, from == to ? json_integer(from)
							: json_sprintf("%d-%d", from, to));
	}
	return array;
}

static void set_gateway(const struct shape *s, json_t *rail)
{
	char text[IP_TEXT];

	if (s->gateway < 0)
		return;
	if (!s->absolute)
		json_object_set_new(rail, "gatewayIndex", json_integer(s->gateway));
	if (s->absolute && s->plen4 >= 0)
		json_object_set_new(rail, "gateway", json_string(address(4, s->gateway, text)));
	if (s->absolute && s->plen6 >= 0)
		json_object_set_new(rail, "gateway6", json_string(address(6, s->gateway, text)));
}

static json_t *pools_of(struct shape *s)
{
	json_t *rail = json_pack("{s:s}", "name", "r"), *pool = json_pack("{s:s}", "name", "p");

	if (s->plen4 >= 0)
		json_object_set_new(rail, "cidr", json_sprintf("10.0.0.0/%d", s->plen4));
	if (s->plen6 >= 0)
		json_object_set_new(rail, "cidr6", json_sprintf("fd00::/%d", s->plen6));
	set_gateway(s, rail);
	json_object_set_new(rail, "exclude", exclude_at_random(s));
	json_object_set_new(rail, "routes",
			    json_pack("[{s:s}]", "dst", s->plen4 >= 0 ? "10.0.0.0/8" : "fd00::/8"));
	if (s->bits >= 0) {
		json_object_set_new(pool, "blockBits", json_integer(s->bits));
		json_object_set_new(pool, "subnet", json_string(s->subnets ? "slot" : "rail"));
		json_object_set_new(pool, "reservedSlots",
				    numbers_at_random(s->reserved, (s->last + 1) >> s->bits));
		json_object_set_new(pool, "slotExclude", numbers_at_random(s->out, 1 << s->bits));
	}
	json_object_set_new(pool, "rails", json_pack("[o]", rail));
	return json_pack("[o]", pool);
}

static void check_indexes(const struct shape *s, const struct rail *rail)
{
	uint64_t count = 0, index;

	assert_int_equal(rail->last, s->last);
	for (int i = 0; i <= s->last + 1; i++) {
		int next = i;

		while (next <= s->last && !is_given(s, next))
			next++;
		assert_int_equal(rail_has_index(rail, (uint64_t)i), is_given(s, i));
		assert_int_equal(rail_next_index(rail, (uint64_t)i, &index), next <= s->last);
		if (next <= s->last)
			assert_int_equal(index, next);
		assert_int_equal(rail_refusal(rail, (uint64_t)i) != NULL, !is_given(s, i));
		if (i <= s->last && is_gateway(s, i))
			assert_string_equal(rail_refusal(rail, (uint64_t)i), "is a gateway of");
		count += is_given(s, i);
	}
	assert_int_equal(rail_capacity(rail), count);
}

static void check_address(const struct shape *s, const struct address *found, int family, int i)
{
	int first = s->subnets ? i & ~((1 << s->bits) - 1) : 0;
	char text[IP_TEXT], ip[IP_TEXT];

	assert_string_equal(ip_format(&found->cidr.ip, ip), address(family, i, text));
	assert_int_equal(found->cidr.plen, (family == 4 ? 32 : 128) - host_bits(s, family));
	assert_int_equal(found->gateway.family != 0, s->gateway >= 0 && !is_gateway(s, i));
	if (found->gateway.family)
		assert_string_equal(ip_format(&found->gateway, ip),
				    address(family, first + s->gateway, text));
}

static void check_config(const struct shape *s, const struct rail *rail)
{
	struct ip_config net;
	uint64_t index;

	for (int i = 0; i <= s->last; i++) {
		size_t n = 0;

		rail_config(rail, (uint64_t)i, &net);
		if (s->plen4 >= 0)
			check_address(s, &net.ips[n++], 4, i);
		if (s->plen6 >= 0)
			check_address(s, &net.ips[n++], 6, i);
		assert_int_equal(net.ip_count, n);
		/* A gateway goes by none. */
		assert_int_equal(net.route_count, !is_gateway(s, i));
		assert_memory_equal(&net.routes[0].gw, &net.ips[0].gateway, sizeof(struct ip));
		while (n-- > 0) {
			assert_true(rail_index_of(rail, &net.ips[n].cidr.ip, &index));
			assert_int_equal(index, i);
		}
	}
}

static void test_any_shape(void **state)
{
	(void)state;

	for (int round = 0; round < ROUNDS; round++) {
		CLEANUP(pool_set_free) struct pool_set set = { 0 };
		unsigned int start = seed;
		struct shape shape = shape_at_random();
		CLEANUP_JSON json_t *pools = pools_of(&shape);
		CLEANUP_FREE char *text = json_dumps(pools, 0);
		struct err err = { 0 };

		if (pool_set_read(pools, &set, &err) < 0)
			fail_msg("seed %u: %s: %s", start, err.msg, text);
		(void)snprintf(shown, sizeof(shown), "seed %u: %s", start, text);
		check_indexes(&shape, &set.pools[0].rails[0]);
		check_config(&shape, &set.pools[0].rails[0]);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_shape),
	};
	int failed;

	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (failed)
		print_error("%s\n", shown);
	return failed;
}
