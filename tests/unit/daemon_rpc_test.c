/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC 2.0: what is a request, and what an answer looks like. */
#include "ipamd/rpc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"

static const struct {
	const char *line;
	int code;       /* 0: a request */
	const char *id; /* that the answer carries, as JSON; NULL: none */
} lines[] = {
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{}}", 0, "1" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"m\"}", 0, "\"a\"" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"m\"}", 0, "null" },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"m\"}", 0, NULL },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"future\":true}", 0, NULL },
	{ "", RPC_PARSE, NULL },
	{ "{", RPC_PARSE, NULL },
	{ "\xff\xfe", RPC_PARSE, NULL },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"m\"}", RPC_PARSE, NULL },
	{ "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}]", RPC_PARSE, NULL }, /* a batch */
	{ "{\"id\":1,\"method\":\"m\"}", RPC_INVALID, "1" },
	{ "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"m\"}", RPC_INVALID, "1" },
	{ "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"m\"}", RPC_INVALID, "1" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1}", RPC_INVALID, "1" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", RPC_INVALID, "1" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[]}", RPC_INVALID, "1" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"m\"}", RPC_INVALID, NULL },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"m\"}", RPC_INVALID, NULL },
};

static void expect_line(const char *line, const char *begin, const char *end)
{
	assert_non_null(line);
	if (strncmp(line, begin, strlen(begin)) != 0 || strlen(line) < strlen(end) ||
	    strcmp(line + strlen(line) - strlen(end), end) != 0)
		fail_msg("is %s, not %s…%s", line, begin, end);
}

static void parse_one(const char *line, int code, const char *id)
{
	struct rpc_request request;
	struct err err;
	CLEANUP_FREE char *is = NULL;
	int is_code, r;

	r = rpc_parse(line, strlen(line), &request, &is_code, &err);
	if ((r < 0 ? is_code : 0) != code)
		fail_msg("%s: code %d, not %d", line, r < 0 ? is_code : 0, code);
	is = request.id ? json_dumps(request.id, JSON_ENCODE_ANY) : NULL;
	if (!is != !id || (id && strcmp(is, id) != 0))
		fail_msg("%s: id %s, not %s", line, is, id);
	if (r == 0) {
		assert_string_equal(request.method, "m");
		assert_true(json_is_object(request.params));
	}
	rpc_request_free(&request);
}

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		parse_one(lines[i].line, lines[i].code, lines[i].id);
}

static void test_answers(void **state)
{
	CLEANUP_JSON json_t *id = json_integer(5);
	CLEANUP_FREE char *good = rpc_answer(id, json_pack("{s:i}", "a", 1));
	CLEANUP_FREE char *bad = NULL, *nobody = NULL;
	struct err err;

	(void)state;
	expect_line(good, "{\"jsonrpc\":\"2.0\",\"id\":5,", "\"result\":{\"a\":1}}\n");
	(void)err_set(&err, EBUSY, ERR_AGAIN, "busy");
	err_details(&err, "later");
	bad = rpc_error(id, RPC_FAILED, &err);
	expect_line(bad, "{\"jsonrpc\":\"2.0\",\"id\":5,\"error\":{", "}}\n");
	assert_non_null(strstr(bad, "\"code\":-32000"));
	assert_non_null(strstr(bad, "\"cni\":11"));
	nobody = rpc_error(NULL, RPC_PARSE, &err);
	expect_line(nobody, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{", "}}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse),
					    cmocka_unit_test(test_answers) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
