/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line on the daemon's socket: parsed as a request, its params read by every decoder of the
 * methods. What a reservation decodes to is encoded and must decode again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/pool.h"
#include "ipamd/proto/proto.h"
#include "ipamd/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_reserve(json_t *params)
{
	CLEANUP_JSON json_t *again = NULL;
	struct reserve_request request;
	struct err err;

	if (reserve_decode(params, &request, &err) < 0)
		return;
	again = reserve_encode(&request);
	if (again && reserve_decode(again, &request, &err) < 0)
		abort();
}

static void decode_record(json_t *params)
{
	CLEANUP_JSON json_t *again = NULL;
	struct attachment a, b, head;
	struct err err;

	if (attachment_decode(params, &a, &err) < 0)
		return;
	again = attachment_encode(&a);
	if (!again || attachment_decode(again, &b, &err) < 0 ||
	    attachment_decode_head(again, &head, &err) < 0)
		abort();
	attachment_free(&a);
	attachment_free(&b);
	attachment_free(&head);
}

/* The pools of pool.diff. */
static void decode_pools(json_t *params)
{
	struct pool_set set = { 0 };
	struct err err;

	if (pool_set_read(json_object_get(params, "pools"), &set, &err) == 0)
		pool_set_free(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc_request request;
	struct attachment_key key;
	struct facts facts;
	CLEANUP_FREE char *answer = NULL;
	struct err err;
	int code;

	if (rpc_parse((const char *)data, size, &request, &code, &err) == 0) {
		answer = rpc_answer(request.id, json_incref(request.params));
		(void)key_decode(request.params, &key, &err);
		(void)facts_decode(request.params, &facts, &err);
		decode_reserve(request.params);
		decode_record(request.params);
		decode_pools(request.params);
	} else {
		answer = rpc_error(request.id, code, &err);
	}
	rpc_request_free(&request);
	return 0;
}
