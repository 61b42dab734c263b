/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's file: every key absent, good, wrong in type and in value, misspelt. */
#include "ipamd/config.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"

static void test_defaults(void **state)
{
	struct config config;
	struct err err;

	(void)state;
	assert_int_equal(config_parse("{}", 2, &config, &err), 0);
	assert_string_equal(config.socket, "/run/spur/ipamd.sock");
	assert_string_equal(config.state, "/var/lib/spur");
	assert_string_equal(config.plugin, "/opt/cni/bin/spur");
	assert_string_equal(config.http, "127.0.0.1:9469");
	assert_string_equal(config.node, "");
	assert_string_equal(config.engine, "local");
	assert_string_equal(config.log_level, "info");
	assert_string_equal(config.log_format, "text");
	assert_null(config.pools);
	config_free(&config);
}

static void test_values(void **state)
{
	static const char text[] =
		"{\"socket\":\"/a\",\"state\":\"/b\",\"plugin\":\"/"
		"c\",\"http\":\"\",\"node\":\"n\","
		"\"engine\":{\"type\":\"local\"},\"log\":{\"level\":\"debug\",\"format\":\"json\"},"
		"\"pools\":[],\"x-note\":1}";
	struct config config;
	struct err err;

	(void)state;
	assert_int_equal(config_parse(text, strlen(text), &config, &err), 0);
	assert_string_equal(config.socket, "/a");
	assert_string_equal(config.state, "/b");
	assert_string_equal(config.plugin, "/c");
	assert_string_equal(config.http, "");
	assert_string_equal(config.node, "n");
	assert_string_equal(config.log_level, "debug");
	assert_string_equal(config.log_format, "json");
	assert_non_null(config.pools);
	config_free(&config);
}

#define LONG_PATH                                                                      \
	"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *text, *error;
} wrong[] = {
	{ "", "parse JSON" },
	{ "[]", "must be an object" },
	{ "{\"pools\":[],\"pools\":[]}", "parse JSON" },
	{ "{\"sockt\":\"/a\"}", "key \"sockt\": is not known" },
	{ "{\"log\":{\"levle\":\"info\"}}", "key \"log.levle\": is not known" },
	{ "{\"engine\":{\"typ\":\"local\"}}", "key \"engine.typ\": is not known" },
	{ "{\"stateDir\":\"/a\"}", "key \"stateDir\": is not known; did you mean \"state\"?" },
	{ "{\"socket\":1}", "key \"socket\": 1: must be a string" },
	{ "{\"socket\":\"a\"}", "key \"socket\": \"a\": must be an absolute path" },
	{ "{\"socket\":\"" LONG_PATH "\"}", "must be an absolute path of at most 107 bytes" },
	{ "{\"state\":\"\"}", "key \"state\": \"\": must be an absolute path" },
	{ "{\"plugin\":\"spur\"}", "key \"plugin\": \"spur\": must be an absolute path" },
	{ "{\"http\":\"0.0.0.0:80\"}", "key \"http\"" },
	{ "{\"http\":9469}", "key \"http\": 9469: must be a string" },
	{ "{\"httpHosts\":\"a\"}", "key \"httpHosts\": \"a\": must be an array" },
	{ "{\"httpHosts\":[\"a\",1]}",
	  "key \"httpHosts\": [\"a\",1]: must be an array of DNS names" },
	{ "{\"httpHosts\":[\"a:80\"]}", "must be an array of DNS names, without a port" },
	{ "{\"httpHost\":[]}", "key \"httpHost\": is not known; did you mean \"httpHosts\"?" },
	{ "{\"node\":\"\"}", "key \"node\"" },
	{ "{\"engine\":\"local\"}", "key \"engine\": \"local\": must be an object" },
	{ "{\"engine\":{\"type\":\"etcd\"}}", "key \"engine.type\": \"etcd\": must be \"local\"" },
	{ "{\"log\":{\"level\":\"loud\"}}", "key \"log.level\": \"loud\": must be error" },
	{ "{\"log\":{\"format\":\"xml\"}}", "key \"log.format\": \"xml\": must be text or json" },
	{ "{\"pools\":{}}", "key \"pools\": {}: must be an array" },
};

static void test_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct config config;
		struct err err;

		if (config_parse(wrong[i].text, strlen(wrong[i].text), &config, &err) >= 0)
			fail_msg("taken: %s", wrong[i].text);
		if (!strstr(err.msg, wrong[i].error))
			fail_msg("%s: says \"%s\", not \"%s\"", wrong[i].text, err.msg,
				 wrong[i].error);
	}
}

static const struct {
	const char *text;
	bool good;
} addresses[] = {
	{ "127.0.0.1:9469", true },   { "127.1.2.3:1", true },       { "[::1]:65535", true },
	{ "127.0.0.1", false },       { "127.0.0.1:", false },       { "127.0.0.1:0", false },
	{ "127.0.0.1:65536", false }, { "127.0.0.1:+80", false },    { "127.0.0.1:80 ", false },
	{ "10.0.0.1:80", false },     { "localhost:80", false },     { "::1:80", false },
	{ "[::1]", false },           { "[::2]:80", false },         { ":80", false },
	{ "[::1]:", false },          { "127.0.0.1:000080", false },
};

static void test_http_address(void **state)
{
	struct sockaddr_storage addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		if ((http_address_parse(addresses[i].text, &addr) == 0) != addresses[i].good)
			fail_msg("\"%s\": %s", addresses[i].text,
				 addresses[i].good ? "refused" : "taken");
	}
	assert_int_equal(http_address_parse("127.1.2.3:258", &addr), 0);
	assert_int_equal(addr.ss_family, AF_INET);
	assert_int_equal(((struct sockaddr_in *)&addr)->sin_port, htons(258));
	assert_int_equal(((struct sockaddr_in *)&addr)->sin_addr.s_addr, htonl(0x7f010203));
}

static void test_load(void **state)
{
	struct config config;
	struct err err;

	(void)state;
	assert_true(config_load("/nowhere/at/all", &config, &err) < 0);
	assert_string_equal(err.msg, "open /nowhere/at/all: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),     cmocka_unit_test(test_values),
		cmocka_unit_test(test_wrong),        cmocka_unit_test(test_load),
		cmocka_unit_test(test_http_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
