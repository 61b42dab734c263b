/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/proto/proto.h"

static bool id_is_good(json_t *id)
{
	return json_is_string(id) || json_is_integer(id) || json_is_null(id);
}

static int request_read(struct rpc_request *request, struct err *err)
{
	const char *version = NULL;
	struct json_reader r;

	json_read(&r, request->message, "", err);
	if (json_any(&r, "id", &request->id) && !id_is_good(request->id)) {
		request->id = NULL;
		json_bad(&r, "id", "must be a string, an integer or null");
	}
	if (!json_str(&r, "jsonrpc", &version) || strcmp(version, "2.0") != 0)
		json_bad(&r, "jsonrpc", "must be \"2.0\"");
	if (!json_str(&r, "method", &request->method))
		json_missing(&r, "method");
	(void)json_obj(&r, "params", &request->params);
	return json_finish(&r, READ_LENIENT);
}

int rpc_parse(const char *line, size_t len, struct rpc_request *ret_request, int *ret_code,
	      struct err *err)
{
	struct rpc_request request = { 0 };
	int r;

	r = json_parse(line, len, &request.message, err);
	*ret_code = RPC_PARSE;
	if (r == 0) {
		*ret_code = RPC_INVALID;
		r = request_read(&request, err);
	}
	if (r == 0 && !request.params) {
		request.params = json_object();
		if (!request.params ||
		    json_object_set_new(request.message, "params", request.params) < 0)
			r = err_nomem(err);
	}
	*ret_request = request;
	return r;
}

void rpc_request_free(struct rpc_request *request)
{
	json_decref(request->message);
	*request = (struct rpc_request) { 0 };
}

/* {"jsonrpc", "id", @key: @value} as a line. Steals @value. */
static char *answer_line(json_t *id, const char *key, json_t *value)
{
	CLEANUP_JSON json_t *answer =
		json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id, key, value);
	CLEANUP_FREE char *line = NULL;
	char *more;
	size_t len;

	/* "O?" leaves out nothing: a NULL id becomes null, as the specification wants it. */
	line = answer ? json_line(answer) : NULL;
	if (!line)
		return NULL;
	len = strlen(line);
	more = realloc(line, len + 2);
	if (!more)
		return NULL;
	line = more;
	memcpy(line + len, "\n", 2);
	return TAKE_PTR(line);
}

char *rpc_answer(json_t *id, json_t *result)
{
	return answer_line(id, "result", result);
}

char *rpc_answer_text(json_t *id, const char *before, const char *text, const char *after)
{
	CLEANUP_FREE char *id_text = id ? json_dumps(id, JSON_ENCODE_ANY) : strdup("null");
	char *line;

	if (!id_text || asprintf(&line, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s%s%s}\n",
				 id_text, before, text, after) < 0)
		return NULL;
	return line;
}

char *rpc_error(json_t *id, int code, const struct err *err)
{
	json_t *error = error_encode(err);

	if (error && json_object_set_new(error, "code", json_integer(code)) < 0) {
		json_decref(error);
		return NULL;
	}
	return answer_line(id, "error", error);
}
