/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON-RPC 2.0 on one line: a request out of bytes, an answer into bytes. No batches, no
 * transport, no knowledge of the methods.
 */
#pragma once

#include <stddef.h>

#include <jansson.h>

#include "base/err.h"

enum rpc_code {
	RPC_PARSE = -32700,   /* not JSON */
	RPC_INVALID = -32600, /* JSON, but no request */
	RPC_METHOD = -32601,  /* no such method */
	RPC_PARAMS = -32602,  /* the method does not take these params */
	RPC_FAILED = -32000,  /* the method failed; data.cni says how */
};

struct rpc_request {
	json_t *id;         /* NULL: a notification */
	const char *method; /* borrowed from @message */
	json_t *params; /* borrowed from @message; never NULL, an empty object if there were none */
	json_t *message;
};

/*
 * On failure *@ret_code says which enum rpc_code it was, and ret_request->id holds the id as far
 * as it could be read (NULL: none), for the answer; the caller frees either way.
 */
int rpc_parse(const char *line, size_t len, struct rpc_request *ret_request, int *ret_code,
	      struct err *err);
void rpc_request_free(struct rpc_request *request);

/* Lines with their newline, or NULL if out of memory. @result is stolen. @id NULL: null. */
char *rpc_answer(json_t *id, json_t *result);
/* As rpc_answer(), with a result that is JSON text: @before, @text and @after, joined. */
char *rpc_answer_text(json_t *id, const char *before, const char *text, const char *after);
char *rpc_error(json_t *id, int code, const struct err *err);
