/* SPDX-License-Identifier: Apache-2.0 */
/* netlib/base: text, json, err, fs, clock. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/log.h"
#include "base/text.h"
#include "base/utf8.h"

static struct err err;

static void test_mac(void **state)
{
	static const char *const good[] = { "02:00:00:aa:bb:cc", "02:00:00:AA:BB:CC" };
	static const char *const bad[] = { "",
					   "02:00:00:aa:bb",
					   "02:00:00:aa:bb:c",
					   "02:00:00:aa:bb:cc:",
					   "02-00-00-aa-bb-cc",
					   " 2:00:00:aa:bb:cc",
					   "02:00:00:aa:bb:cc:dd",
					   "0g:00:00:00:00:00" };
	char text[MAC_TEXT];
	struct mac mac;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(mac_parse(good[i], &mac), 0);
		assert_string_equal(mac_format(&mac, text), "02:00:00:aa:bb:cc");
		assert_true(mac_is_usable(&mac));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(mac_parse(bad[i], &mac), -EINVAL);
	assert_int_equal(mac_parse("01:00:00:00:00:00", &mac), 0);
	assert_false(mac_is_usable(&mac)); /* multicast */
	assert_int_equal(mac_parse("00:00:00:00:00:00", &mac), 0);
	assert_false(mac_is_usable(&mac));
	assert_int_equal(
		mac_parse("00:00:02:80:fe:80:00:00:00:00:00:00:11:22:33:00:00:00:01:01", &mac), 0);
	assert_int_equal(mac.len, 20);
	assert_int_equal(strlen(mac_format(&mac, text)), 59);
}

static void test_cidr(void **state)
{
	static const struct {
		const char *text, *canonical, *network;
	} good[] = {
		{ "10.0.0.5/24", "10.0.0.5/24", "10.0.0.0" },
		{ "10.0.0.5", "10.0.0.5/32", "10.0.0.5" },
		{ "10.1.2.3/0", "10.1.2.3/0", "0.0.0.0" },
		{ "10.1.2.255/31", "10.1.2.255/31", "10.1.2.254" },
		{ "FD00::5/64", "fd00::5/64", "fd00::" },
		{ "fd00::ffff/127", "fd00::ffff/127", "fd00::fffe" },
	};
	static const char *const bad[] = { "",
					   "/24",
					   "10.0.0.5/33",
					   "10.0.0.5/",
					   "10.0.0.5/-1",
					   "10.0.0.5/024",
					   "10.0.0/24",
					   "fd00::/129",
					   "::g/64",
					   "10.0.0.5/24x",
					   "10.0.0.5 /24",
					   "10.0.0.005/24",
					   "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/64" };
	char text[CIDR_TEXT], ip[IP_TEXT];
	struct cidr cidr;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct ip network;

		assert_int_equal(cidr_parse(good[i].text, &cidr), 0);
		assert_string_equal(cidr_format(&cidr, text), good[i].canonical);
		network = cidr_network(&cidr);
		assert_string_equal(ip_format(&network, ip), good[i].network);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cidr_parse(bad[i], &cidr), -EINVAL);
}

static void test_cidr_relations(void **state)
{
	struct cidr a, b, c, six;

	(void)state;
	(void)cidr_parse("10.0.0.0/8", &a);
	(void)cidr_parse("10.200.0.0/16", &b);
	(void)cidr_parse("11.0.0.0/8", &c);
	(void)cidr_parse("::/0", &six);
	assert_true(cidr_contains(&a, &b.ip));
	assert_false(cidr_contains(&a, &c.ip));
	assert_false(cidr_contains(&six, &a.ip));
	assert_true(cidr_overlaps(&a, &b) && cidr_overlaps(&b, &a));
	assert_false(cidr_overlaps(&a, &c) || cidr_overlaps(&six, &a));
}

static void test_ip_arithmetic(void **state)
{
	struct ip base, ip;
	char text[IP_TEXT];
	uint64_t index;

	(void)state;
	assert_int_equal(ip_parse("10.0.0.250", &base), 0);
	ip = ip_offset(&base, 10);
	assert_string_equal(ip_format(&ip, text), "10.0.1.4");
	assert_true(ip_index(&base, &ip, &index));
	assert_int_equal(index, 10);
	assert_false(ip_index(&ip, &base, &index)); /* below */
	assert_int_equal(ip_parse("fd00::ffff:ffff:ffff:ffff", &base), 0);
	ip = ip_offset(&base, 1);
	assert_string_equal(ip_format(&ip, text), "fd00:0:0:1::");
	assert_int_equal(ip_parse("fd00::", &base), 0);
	assert_false(ip_index(&base, &ip, &index)); /* 2^64: too far */
	ip = ip_offset(&base, UINT64_MAX);
	assert_true(ip_index(&base, &ip, &index) && index == UINT64_MAX);
	base = ip_offset(&base, 0xff);
	ip = ip_offset(&base, UINT64_MAX); /* the carry into the upper half is not lost */
	assert_string_equal(ip_format(&ip, text), "fd00:0:0:1::fe");
}

static void test_pci_and_guid(void **state)
{
	static const char *const bad_pci[] = { "",
					       "1a:00.1",
					       "0000:1a:00",
					       "0000:1a:20.0",
					       "0000:1a:00.8",
					       "0000:1a:00.1 ",
					       "0:1a:0.1",
					       "0000:1a:00.1/..",
					       " 000:1a:00.1",
					       "00000:1a:00.1",
					       "000100000:1a:00.1",
					       "0000:1g:00.1",
					       "0000:1a:00.",
					       "0000:1a:0" };
	static const char *const bad_guid[] = { "", "00:00:00:00:00:00:00:00",
						"ff:ff:ff:ff:ff:ff:ff:ff", "02:00:00:00:00:00:00",
						"0200000000000001" };
	char text[GUID_TEXT];
	struct pci_addr pci;
	uint64_t guid;

	(void)state;
	assert_int_equal(pci_parse("0000:1A:1f.7", &pci), 0);
	assert_string_equal(pci_format(&pci, text), "0000:1a:1f.7");
	assert_int_equal(pci_parse("10000:e1:00.0", &pci), 0); /* VMD domains are longer */
	assert_string_equal(pci_format(&pci, text), "10000:e1:00.0");
	for (size_t i = 0; i < ARRAY_SIZE(bad_pci); i++)
		assert_int_equal(pci_parse(bad_pci[i], &pci), -EINVAL);
	assert_int_equal(guid_parse("02:00:00:00:00:00:AB:01", &guid), 0);
	assert_true(guid == 0x020000000000ab01);
	assert_string_equal(guid_format(guid, text), "02:00:00:00:00:00:ab:01");
	for (size_t i = 0; i < ARRAY_SIZE(bad_guid); i++)
		assert_int_equal(guid_parse(bad_guid[i], &guid), -EINVAL);
	assert_true(guid_is_usable(guid) && guid_is_usable(1) && guid_is_usable(UINT64_MAX >> 8));
	assert_false(guid_is_usable(0) || guid_is_usable(UINT64_MAX));
	assert_false(guid_is_usable(0x0100000000000000) || guid_is_usable(0x0300000000000001));
}

static void test_rdma_names_and_pkeys(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", "a/b", "a b", "mlx5_%d", "\xc3\xa4", "a\n"
	};
	static const char *const bad_pkey[] = { "",        "0x",      "0x0",    "0x8000",
						"0x10000", "8001",    "0x80g1", "0x 801",
						"0x-001",  "0x08001", " 0x8001" };
	char name[66] = "", text[PKEY_TEXT];
	uint16_t pkey = 42;

	(void)state;
	assert_true(rdma_name_is_valid("mlx5_0") && rdma_name_is_valid("rocep26s0f1v3"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(rdma_name_is_valid(bad[i]));
	memset(name, 'a', 64);
	assert_false(rdma_name_is_valid(name));
	assert_true(rdma_name_is_valid(name + 1));
	for (size_t i = 0; i < ARRAY_SIZE(bad_pkey); i++)
		assert_int_equal(pkey_parse(bad_pkey[i], &pkey), -EINVAL);
	assert_int_equal(pkey, 42);
	assert_int_equal(pkey_parse("0X1", &pkey), 0);
	assert_string_equal(pkey_format(pkey, text), "0x0001");
	assert_int_equal(pkey_parse("0xFfFf", &pkey), 0);
	assert_string_equal(pkey_format(pkey, text), "0xffff");
}

static void test_names(void **state)
{
	static const char *const bad_ifname[] = { "",    ".",   "..",   "a/b",
						  "a:b", "a b", "a\tb", "sixteen-bytes-xx" };
	static const char *const bad_id[] = {
		"", "-a", ".a", "_a", "a/b", "a b", "\xc3\xa4", "a\n"
	};

	(void)state;
	assert_true(ifname_is_valid("net1") && ifname_is_valid("fifteen-bytes-x"));
	for (size_t i = 0; i < ARRAY_SIZE(bad_ifname); i++)
		assert_false(ifname_is_valid(bad_ifname[i]));
	assert_true(id_is_valid("a") && id_is_valid("0-A_b.c"));
	for (size_t i = 0; i < ARRAY_SIZE(bad_id); i++)
		assert_false(id_is_valid(bad_id[i]));
}

static json_t *parse(const char *text)
{
	json_t *json = NULL;

	assert_int_equal(json_parse(text, strlen(text), &json, &err), 0);
	return json;
}

static void test_json_parse(void **state)
{
	static const char *const bad[] = { "",
					   "[]",
					   "1",
					   "{",
					   "{\"a\":1,\"a\":2}",
					   "{\"a\":1}x",
					   "{\"a\":\"\\u0000\"}",
					   "{\"a\":\"\xff\"}" };
	json_t *json;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(json_parse(bad[i], strlen(bad[i]), &json, &err), -EINVAL);
		assert_int_equal(err.code, ERR_JSON);
	}
}

/* What is taken is what jansson makes of it; what is left to jansson is left alone. */
static void test_json_reader(void **state)
{
	CLEANUP_JSON json_t *json =
		parse("{\"s\":\"x\",\"i\":7,\"b\":true,\"o\":{},\"a\":[],\"x-mine\":1}");
	struct json_reader r;
	const char *text = "unset";
	json_t *member;
	int64_t i = 0;
	bool b = false;

	(void)state;
	json_read(&r, json, "", &err);
	assert_true(json_str(&r, "s", &text) && json_int(&r, "i", 0, 9, &i) &&
		    json_bool(&r, "b", &b) && json_obj(&r, "o", &member) &&
		    json_arr(&r, "a", &member));
	assert_false(json_str(&r, "absent", &text));
	assert_string_equal(text, "x");
	assert_true(i == 7 && b);
	assert_int_equal(json_finish(&r, READ_STRICT), 0);
}

/* The first error sticks and names path, value and what is allowed. */
static void test_json_reader_errors(void **state)
{
	CLEANUP_JSON json_t *json = parse("{\"mtu\":\"big\",\"tabel\":1}");
	struct json_reader r;
	const char *text;
	int64_t value = 42;

	(void)state;
	json_read(&r, json, "routing", &err);
	assert_false(json_int(&r, "mtu", 68, 65535, &value));
	assert_false(json_str(&r, "mtu", &text));
	json_missing(&r, "table");
	assert_int_equal(json_finish(&r, READ_STRICT), -EINVAL);
	assert_int_equal(value, 42);
	assert_int_equal(err.code, ERR_VALUE);
	assert_string_equal(err.msg, "key \"routing.mtu\": \"big\": must be an integer 68..65535");

	json_read(&r, json, "routing", &err);
	assert_true(json_str(&r, "mtu", &text));
	assert_int_equal(json_finish(&r, READ_LENIENT), 0);
	assert_int_equal(json_finish(&r, READ_STRICT), -EINVAL);
	assert_int_equal(err.code, ERR_KEY);
	assert_string_equal(err.msg, "key \"routing.tabel\": is not known");

	/* What is misspelt is told before what is missing, in what is read inside it too. */
	for (int nested = 0; nested < 2; nested++) {
		struct json_reader outer;

		json_read(&outer, json, "", &err);
		json_read(&r, json, "routing", &err);
		assert_false(json_int(&r, "table", 1, 9, &value));
		json_missing(&r, "table");
		assert_false(json_str(&r, "mtu", &text));
		if (nested) {
			(void)json_any(&r, "tabel", &(json_t *) { NULL });
			json_leave(&outer, &r, READ_STRICT);
			assert_string_equal(err.msg, "key \"routing.table\": is required");
			(void)json_any(&outer, "mtu", &(json_t *) { NULL });
			assert_int_equal(json_finish(&outer, READ_STRICT), -EINVAL);
			assert_string_equal(err.msg, "key \"tabel\": is not known");
			continue;
		}
		assert_int_equal(json_finish(&r, READ_STRICT), -EINVAL);
		assert_int_equal(err.code, ERR_KEY);
		assert_string_equal(err.msg,
				    "key \"routing.tabel\": is not known; did you mean \"table\"?");
	}

	json_read(&r, json_object_get(json, "mtu"), "routing", &err);
	assert_int_equal(json_finish(&r, READ_LENIENT), -EINVAL);
}

/* As many keys as can be asked for are known; one more is a fault of ours, and is told as one. */
static void test_json_reader_of_many_keys(void **state)
{
	static char keys[JSON_SEEN_MAX + 1][8];
	(void)state;

	for (int count = 55; count <= JSON_SEEN_MAX + 1; count++) {
		CLEANUP_JSON json_t *json = json_object();
		struct json_reader r;
		int64_t value = 0;

		for (int i = 0; i < count; i++) {
			(void)snprintf(keys[i], sizeof(keys[i]), "key%d", i);
			assert_int_equal(json_object_set_new(json, keys[i], json_integer(i)), 0);
		}
		json_read(&r, json, "", &err);
		for (int i = 0; i < count; i++)
			(void)json_int(&r, keys[i], i, i, &value);
		if (count <= JSON_SEEN_MAX) {
			assert_int_equal(json_finish(&r, READ_STRICT), 0);
			assert_int_equal(value, count - 1);
			continue;
		}
		assert_int_equal(json_finish(&r, READ_STRICT), -ENOBUFS);
		assert_int_equal(err.code, ERR_INTERNAL);
		assert_string_equal(err.msg, "key \"key128\": more than 128 keys are asked for");
	}
}

static void test_nearest_key(void **state)
{
	static const char *const known[] = { "deviceID", "pciBusID",   "device", "mac",  "cidr",
					     "mtu",      "link_state", "vlan",   "pool", "rail" };
	static const char *const rows[][2] = {
		{ "deviceId", "deviceID" },
		{ "pciBusId", "pciBusID" },
		{ "devise", "device" },
		{ "linkState", "link_state" },
		{ "Mac", "mac" },
		{ "rial", "rail" },
		{ "vlanID", "vlan" },
		{ "pools", "pool" },
		{ "hwaddr", "mac" },
		{ "poolName", "pool" },
		{ "range", "cidr" },
		{ "subnet", "cidr" },
		{ "macAddress", "mac" },
		{ "DeviceIDs", "deviceID" },
		{ "fast", NULL },
		{ "x", NULL },
		{ "", NULL },
	};
	const char *one = "mtu";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *nearest = nearest_key(rows[i][0], known, ARRAY_SIZE(known));

		if (!nearest != !rows[i][1] || (nearest && strcmp(nearest, rows[i][1]) != 0))
			fail_msg("%s: %s, not %s", rows[i][0], nearest, rows[i][1]);
	}
	/* A peer's word only where it has ours; a key of any length. */
	assert_null(nearest_key("hwaddr", &one, 1));
	assert_null(nearest_key("umtumtumtumtumtumtumtumtumtumtumtumtumtumtumtumt", &one, 1));
	assert_null(nearest_key("mtu", &one, 0));
}

static void test_err(void **state)
{
	char longer[2 * ERR_MSG_MAX];

	(void)state;
	assert_int_equal(err_sys(&err, ENODEV, ERR_DEVICE, "find device %s", "eth5"), -ENODEV);
	err_prefix(&err, "ADD");
	assert_string_equal(err.msg, "ADD: find device eth5: No such device");
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(err_sys(&err, EIO, ERR_IO, "%s", longer), -EIO);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
	err_prefix(&err, "%s", longer);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
}

/* Whatever it quotes and wherever that is cut: by its format, or because there is no more room. */
static void test_err_is_utf8(void **state)
{
	char longer[2 * ERR_MSG_MAX];

	(void)state;
	(void)err_set(&err, EINVAL, ERR_ENV, "\"%.4s\": %s", "n\xc3\xb6\xc3\xb6", "is \xff");
	assert_string_equal(err.msg, "\"n\xc3\xb6\": is ?");
	for (size_t shift = 0; shift < 4; shift++) {
		memset(longer, 'x', shift);
		for (size_t i = shift; i + 4 < sizeof(longer); i += 4)
			memcpy(longer + i, "\xf0\x9f\x9a\x82", 5);
		(void)err_set(&err, EINVAL, ERR_ENV, "%s", longer);
		assert_true(utf8_is_valid(err.msg));
		err_prefix(&err, "a");
		assert_true(utf8_is_valid(err.msg));
		(void)err_sys(&err, EINVAL, ERR_ENV, "%s", longer);
		err_details(&err, "%s", longer);
		assert_true(utf8_is_valid(err.msg) && utf8_is_valid(err.details));
		assert_in_range(strlen(err.details), ERR_DETAILS_MAX - 4, ERR_DETAILS_MAX - 1);
	}
}

/* What jansson takes, and nothing else. */
static void test_utf8(void **state)
{
	static const struct {
		const char *text, *mended;
	} rows[] = {
		{ "", "" },
		{ "a\xc3\xb6\xe2\x82\xac\xf0\x9f\x9a\x82", NULL },    /* one of each length */
		{ "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", NULL }, /* beside what is none */
		{ "a\xc3", "a" },
		{ "a\xe2\x82", "a" },
		{ "a\xf0\x9f\x9a", "a" },
		{ "\xe2\x82"
		  "b",
		  "b" },
		{ "\xc3\xc3\xb6", "\xc3\xb6" },
		{ "\xff\xfe", "??" },
		{ "\xb6z", "?z" },
		{ "\xc0\xaf", "??" },          /* overlong */
		{ "\xe0\x80\xaf", "??" },      /* overlong */
		{ "\xf0\x80\x80\xaf", "???" }, /* overlong */
		{ "\xed\xa0\x80", "??" },      /* a surrogate */
		{ "\xf4\x90\x80\x80", "???" }, /* above U+10FFFF */
		{ "\xf5\x80", "??" },
		{ "a\x1b[1m\x7f\x01z", "a?[1m??z" }, /* controls, which JSON can hold */
		{ "a\nb\tc\r", "a b c " },
		{ "\xc2\x9b"
		  "1m",
		  "?1m" },                            /* C1: CSI */
		{ "\xe2\x80\xae\xe2\x81\xa6", "??" }, /* override, isolate */
		{ "\xe2\x80\xa8\xd8\x9c", "??" },     /* line separator, mark */
		{ "\xef\xbb\xbfz", "?z" },            /* byte order mark */
		{ "\xf3\xa0\x81\x81", "?" },          /* a tag */
		{ "\xc2\xa0\xe2\x80\xaf", NULL },     /* blanks that are seen */
	};
	char buf[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *json = json_string(rows[i].text);
		const char *mended = rows[i].mended ? rows[i].mended : rows[i].text;

		(void)snprintf(buf, sizeof(buf), "%s", rows[i].text);
		assert_int_equal(utf8_is_valid(buf), json != NULL);
		utf8_mend(buf);
		assert_string_equal(buf, mended);
		assert_true(utf8_is_valid(buf));
		json_decref(json);
		json = json_text(rows[i].text);
		assert_non_null(json);
		assert_string_equal(json_string_value(json),
				    utf8_is_valid(rows[i].text) ? rows[i].text : mended);
	}
	utf8_print(buf, 4, "%s", "ab\xc3\xb6");
	assert_string_equal(buf, "ab");
}

static char tmp[] = "/tmp/spur-base-XXXXXX";

static int make_tmp(void **state)
{
	(void)state;
	return mkdtemp(tmp) ? 0 : -1;
}

static int drop_tmp(void **state)
{
	(void)state;
	return rmdir(tmp);
}

static void test_fs(void **state)
{
	CLEANUP_CLOSE int dir = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_FREE char *all = NULL;
	CLEANUP_CLOSE int fd = -1;
	char buf[8];
	size_t len;

	(void)state;
	assert_int_equal(fs_write_atomic(dir, "f", "one\n", 4, 0600, &err), 0);
	assert_int_equal(fs_write_atomic(dir, "f", "three\n", 6, 0600, &err), 0);
	assert_int_equal(fs_read_small(dir, "f", buf, sizeof(buf)), 5);
	assert_string_equal(buf, "three");
	assert_int_equal(fs_read_small(dir, "f", buf, 6), -EFBIG);
	assert_int_equal(fs_read_small(dir, "nosuch", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(fs_write_small(dir, "nosuch", "1"), -ENOENT);
	fd = openat(dir, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fs_read_all(fd, 5, &all, &len), -EFBIG);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fs_read_all(fd, 6, &all, &len), 0);
	assert_string_equal(all, "three\n");
	assert_int_equal(unlinkat(dir, "f", 0), 0);
	/* After a failure nothing is left: the directory can be removed. */
	assert_int_equal(mkdirat(dir, "d", 0700), 0);
	assert_true(fs_write_atomic(dir, "d", "x", 1, 0600, &err) < 0);
	assert_int_equal(unlinkat(dir, "d", AT_REMOVEDIR), 0);
}

static void test_clock(void **state)
{
	enum log_level level;
	int64_t now = clock_boot_ms();

	(void)state;
	assert_true(now > 0 && clock_boot_ms() >= now && clock_wall_ms() > 1600000000000);
	assert_int_equal(clock_left_ms(now - 1), 0);
	assert_true(clock_left_ms(now + 60000) > 50000);
	assert_int_equal(clock_left_ms(INT64_MAX), INT_MAX);
	assert_int_equal(clock_left_ms(INT64_MIN), 0);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
}

static void check_log_line(bool json, const char *name, const char *want)
{
	static const struct log_field about[] = {
		{ "pod", "ns/p" },
		{ "device", "" },
		{ "ifname", NULL },
		{ "address", "10.0.0.2" },
	};
	char buf[256];
	int ends[2];
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	log_init(ends[1], LOG_LEVEL_INFO, json);
	log_debug("not this one");
	log_fields(LOG_LEVEL_DEBUG, about, ARRAY_SIZE(about), "nor this one");
	log_fields(LOG_LEVEL_WARN, about, ARRAY_SIZE(about), "device %s", name);
	n = read(ends[0], buf, sizeof(buf) - 1);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_non_null(strstr(buf, want));
	assert_true(strchr(buf, '\n') == buf + n - 1);
	(void)close(ends[0]);
	(void)close(ends[1]);
	log_init(STDERR_FILENO, LOG_LEVEL_INFO, false);
}

/* One line an event, also with a name from outside that has a newline in it. */
static void test_log(void **state)
{
	(void)state;
	check_log_line(false, "et\nh", "spur: warning: device et h pod=ns/p address=10.0.0.2\n");
	check_log_line(true, "et\nh",
		       "\"level\":\"warning\",\"msg\":\"device et h\",\"pod\":\"ns/p\",\"address\":"
		       "\"10.0.0.2\"}\n");
	/* What a program of somebody else printed: no UTF-8. */
	check_log_line(true, "et\xfc\xc3", "\"msg\":\"device et?\",\"pod\":\"ns/p\"");
}

static void test_pkey(void **state)
{
	static const char *const bad[] = { "",        "0x",      "8001",   "0x8000",
					   "0x0000",  "0x0",     "0x+001", "0x10001",
					   "0x8001 ", " 0x8001", "0x800g" };
	uint16_t pkey;
	(void)state;

	assert_int_equal(pkey_parse("0x8001", &pkey), 0);
	assert_int_equal(pkey, 0x8001);
	assert_int_equal(pkey_parse("0X7FfF", &pkey), 0);
	assert_int_equal(pkey, 0x7fff);
	assert_int_equal(pkey_parse("0x1", &pkey), 0);
	assert_int_equal(pkey, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pkey_parse(bad[i], &pkey), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_cidr),
		cmocka_unit_test(test_cidr_relations),
		cmocka_unit_test(test_ip_arithmetic),
		cmocka_unit_test(test_pci_and_guid),
		cmocka_unit_test(test_pkey),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_rdma_names_and_pkeys),
		cmocka_unit_test(test_json_parse),
		cmocka_unit_test(test_json_reader),
		cmocka_unit_test(test_json_reader_errors),
		cmocka_unit_test(test_json_reader_of_many_keys),
		cmocka_unit_test(test_nearest_key),
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_err_is_utf8),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_fs),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, make_tmp, drop_tmp);
}
