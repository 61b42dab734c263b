/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills a store that no daemon has open with attachments that stand.
 *
 *	fill STATE BOOT-ID COUNT < REQUEST
 *
 * REQUEST is one line of JSON: {"pools": […], "params": {…}}, the pools of a configuration and the
 * params of an attachment.reserve, in which MARK (mark.h) stands for what differs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/ledger.h"
#include "mark.h"

enum { FILL_BATCH = 256 };

static _Noreturn void die(const struct err *err)
{
	fprintf(stderr, "fill: %s\n", err->msg);
	exit(1);
}

static int attach(struct ledger *ledger, const char *params_text, struct err *err)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct facts facts = { .rdma = { .index = -1, .gid_index = -1 } };
	struct reserve_request request = { 0 };
	CLEANUP_JSON json_t *params = NULL;
	int r;

	r = json_parse(params_text, strlen(params_text), &params, err);
	if (r == 0)
		r = reserve_decode(params, &request, err);
	if (r == 0)
		r = ledger_reserve(ledger, &request, NULL, &a, err);
	if (r < 0)
		return r;
	facts.net = a.net;
	return ledger_done(ledger, &request.key, a.generation, &facts, err);
}

static int fill(struct ledger *ledger, struct marked *params, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (i % FILL_BATCH == 0 && ledger_begin(ledger, err) < 0)
			return -err->errnum;
		marked_name(params, i + 1);
		if (attach(ledger, params->text, err) < 0)
			return -err->errnum;
		if ((i % FILL_BATCH == FILL_BATCH - 1 || i == count - 1) &&
		    ledger_commit(ledger, err) < 0)
			return -err->errnum;
	}
	return 0;
}

int main(int argc, char **argv)
{
	CLEANUP_JSON json_t *input = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL);
	char *params_text = json_dumps(json_object_get(input, "params"), JSON_COMPACT);
	struct pool_set pools = { 0 };
	struct ledger *ledger;
	struct marked params;
	struct err err;

	if (argc != 4 || !params_text) {
		fprintf(stderr, "usage: fill STATE BOOT-ID COUNT < REQUEST\n");
		return 2;
	}
	marked_init(&params, params_text);
	if (pool_set_read(json_object_get(input, "pools"), &pools, &err) < 0 ||
	    ledger_open(argv[1], argv[2], &ledger, &err) < 0 ||
	    ledger_set_pools(ledger, &pools, &err) < 0 ||
	    fill(ledger, &params, strtoul(argv[3], NULL, 10), &err) < 0)
		die(&err);
	ledger_close(ledger);
	free(params_text);
	return 0;
}
