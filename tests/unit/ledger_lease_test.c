/* SPDX-License-Identifier: Apache-2.0 */
/* Which index is next, and what may be asked for by name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ipamd/lease.h"

enum { COOLDOWN = 1000 };

static void test_oldest_rested_before_unused(void **state)
{
	static const struct {
		struct lease_offer offer;
		int64_t now;
		int index; /* -1: refused */
		const char *says;
	} rows[] = {
		{ { true, true, 7, 5000, 9 }, 6000, 7, "" },
		{ { true, true, 7, 5000, 9 }, 5999, 9, "" },
		{ { true, false, 7, 5000, 0 }, 6000, 7, "" },
		{ { true, false, 7, 5000, 0 }, 5999, -1, "in 1 s" },
		{ { true, false, 7, 5000, 0 }, 5000, -1, "in 1 s" },
		{ { false, true, 0, 0, 9 }, 0, 9, "" },
		{ { false, false, 0, 0, 0 }, 0, -1, "all are held" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = { 0 };
		uint32_t index = 99;
		int r = lease_choose(&rows[i].offer, COOLDOWN, rows[i].now, &index, &err);

		assert_int_equal(r, rows[i].index < 0 ? -EAGAIN : 0);
		assert_int_equal(index, rows[i].index < 0 ? 99 : rows[i].index);
		assert_int_equal(err.code, rows[i].index < 0 ? ERR_AGAIN : 0);
		assert_non_null(strstr(err.msg, rows[i].says));
	}
}

static void test_rest(void **state)
{
	(void)state;
	assert_int_equal(lease_rest_left_ms(5000, 1000, 5000), 1000);
	assert_int_equal(lease_rest_left_ms(5000, 1000, 5999), 1);
	assert_int_equal(lease_rest_left_ms(5000, 1000, 6000), 0);
	assert_int_equal(lease_rest_left_ms(5000, 1000, 999999), 0);
	assert_int_equal(lease_rest_left_ms(5000, 0, 5000), 0);
	assert_int_equal(lease_rest_left_ms(LEASE_NEVER, 1000, 1), 0);
}

/* Without what is said of a pod, or without its namespace. */
static bool is_older_form(const struct lease *lease, size_t len)
{
	size_t pod_at = lease->state == LEASE_RESTING ? 9 : 17;

	return len == LEASE_BYTES_MIN ||
	       (lease->has_namespace && len == pod_at + strlen(lease->pod) + 1);
}

static void test_lease_is_read_back(void **state)
{
	static const struct lease rows[] = {
		{ LEASE_HELD, UINT64_C(0x0102030405060708), LEASE_NEVER, "" },
		{ LEASE_HELD, 7, LEASE_UNKNOWN, "" },
		{ LEASE_CLAIMED, 7, 123456789, "namespace/name" },
		{ LEASE_CLAIMED, 7, 123456789, "namespace/name", true, "namespace" },
		{ LEASE_RESTING, 0, 123456789, "" },
		{ LEASE_RESTING, 0, 123456789, "5cd0a13d-1d5b-4e07-9f0c-2a4a3f0a6b10" },
		{ LEASE_RESTING, 0, 123456789, "5cd0a13d-1d5b-4e07-9f0c-2a4a3f0a6b10", true, "ns" },
		{ LEASE_RESTING, 0, 123456789, "", true, "" },
	};
	uint8_t bytes[LEASE_BYTES_MAX];
	struct lease found;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = lease_encode(&rows[i], bytes);

		assert_int_equal(lease_decode(bytes, len, &found), 0);
		assert_int_equal(found.state, rows[i].state);
		assert_int_equal(found.holder, rows[i].holder);
		assert_int_equal(found.since_ms, rows[i].since_ms);
		assert_string_equal(found.pod, rows[i].pod);
		assert_true(found.has_namespace == rows[i].has_namespace);
		assert_string_equal(found.namespace, rows[i].namespace);
		/* Of any shorter form only those before schema 4 and 5 can be read. */
		for (size_t k = 0; k < len; k++)
			assert_int_equal(lease_decode(bytes, k, &found),
					 is_older_form(&rows[i], k) ? 0 : -EINVAL);
		assert_int_equal(lease_decode(bytes, LEASE_BYTES_MIN, &found), 0);
		assert_string_equal(found.pod, "");
		bytes[0] = LEASE_UNUSED;
		assert_int_equal(lease_decode(bytes, len, &found), -EINVAL);
		bytes[0] = LEASE_CLAIMED + 1;
		assert_int_equal(lease_decode(bytes, len, &found), -EINVAL);
	}
}

static void test_which_pod(void **state)
{
	static char longest[254], uid[400];
	static const struct {
		const char *namespace, *name, *uid, *pod;
	} rows[] = {
		{ "ns", "name", "uid", "uid" }, { "ns", "name", "", "ns/name" },
		{ "", "name", "", "" },         { "ns", "", "", "" },
		{ "", "", "uid", "uid" },       { "ns", "name", uid, "" },
	};
	char buf[LEASE_POD_MAX + 1];
	(void)state;

	memset(uid, 'u', sizeof(uid) - 1);
	memset(longest, 'n', sizeof(longest) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pod_ref pod = { (char *)rows[i].namespace, (char *)rows[i].name,
				       (char *)rows[i].uid };

		assert_string_equal(lease_pod(&pod, buf), rows[i].pod);
	}
	assert_int_equal(
		strlen(lease_pod(&(struct pod_ref) { longest + 190, longest, (char *)"" }, buf)),
		LEASE_POD_MAX);
}

static void test_addresses_asked_for(void **state)
{
	static const struct {
		const char *ips[3];
		int index; /* -1: refused */
		const char *says;
	} rows[] = {
		{ { "10.0.0.5/24" }, 5, "" },
		{ { "10.0.0.5" }, 5, "" },
		{ { "fd00::5" }, 5, "" },
		{ { "10.0.0.5", "fd00::5" }, 5, "" },
		{ { "fd00::5", "10.0.0.5" }, 5, "" },
		{ { "10.0.0.5", "fd00::6" }, -1, "different host indexes (5 and 6)" },
		{ { "10.0.0.5", "10.0.0.5" }, -1, "one address of each family" },
		{ { "10.0.0.5", "10.0.0.6" }, -1, "one address of each family" },
		{ { "10.0.1.5" }, -1, "10.0.1.5: is not in rail \"r\"" },
		{ { "10.0.0.5", "fe80::5" }, -1, "fe80::5: is not in rail" },
		{ { "10.0.0.1" }, -1, "is a gateway of rail \"r\"" },
		{ { "10.0.0.0" }, -1, "is excluded" },
		{ { "10.0.0.255" }, -1, "is excluded" },
		{ { "10.0.0.9" }, -1, "is excluded" },
		{ { "10.0.0.31" }, 31, "" },
		{ { "10.0.0.32" }, -1, "10.0.0.32: is in a reserved slot of rail \"r\"" },
		{ { "fd00::3f" }, -1, "fd00::3f: is in a reserved slot of rail \"r\"" },
	};
	CLEANUP_JSON json_t *json = json_loads(
		"[{\"name\": \"p\", \"blockBits\": 4, \"reservedSlots\": [\"2-3\"], \"rails\": "
		"[{\"name\": \"r\", \"cidr\": \"10.0.0.0/24\", "
		"\"cidr6\": \"fd00::/64\", \"gatewayIndex\": 1, \"exclude\": [\"10.0.0.9\"]}]}]",
		0, NULL);
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	struct err err = { 0 };
	(void)state;

	assert_int_equal(pool_set_read(json, &set, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cidr ips[3];
		size_t count = 0;
		uint32_t index = 99;
		int r;

		for (; count < 3 && rows[i].ips[count]; count++)
			assert_int_equal(cidr_parse(rows[i].ips[count], &ips[count]), 0);
		err = (struct err) { 0 };
		r = lease_requested(&set.pools[0].rails[0], ips, count, &index, &err);
		assert_int_equal(r, rows[i].index < 0 ? -EINVAL : 0);
		assert_int_equal(index, rows[i].index < 0 ? 99 : rows[i].index);
		assert_int_equal(err.code, rows[i].index < 0 ? ERR_VALUE : 0);
		if (!strstr(err.msg, rows[i].says))
			fail_msg("row %zu: \"%s\" does not say %s", i, err.msg, rows[i].says);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oldest_rested_before_unused),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_lease_is_read_back),
		cmocka_unit_test(test_which_pod),
		cmocka_unit_test(test_addresses_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
