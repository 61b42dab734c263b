/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the methods share, and nobody else sees. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/batch.h"
#include "ipamd/method.h"
#include "ipamd/proto/proto.h"
#include "ipamd/seat.h"

enum { METHOD_ANSWER_MAX = PROTO_LINE_MAX - 2048 }; /* of one page of a list */

/* The seat of @key, made if need be; NULL: out of memory. */
struct seat *method_seat(struct daemon *d, const struct attachment_key *key);
/* Takes the lock of @key: 0, METHOD_WAITS, or -ENOMEM. */
int method_take_seat(struct daemon *d, struct request *q, const struct attachment_key *key,
		     struct seat **ret_seat, struct err *err);
/* METHOD_WAITS, until this seat, or that of this record, is woken. */
int method_wait(struct request *q, const char *seat);
int method_wait_for(struct request *q, const struct attachment *a);
/*
 * Answers with the record of @key, between @before and @after: its text as the ledger has it, for
 * to parse it and put it together again would cost more than all else that the request does.
 */
int method_answer_record(struct daemon *d, struct request *q, const struct attachment_key *key,
			 const char *before, const char *after, struct err *err);

/* method_reserve.c and method_show.c: see struct method. */
int method_reserve(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_list(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_pools(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_pool_diff(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_device_accept(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_devices(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_history(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_status(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_reconcile(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_check(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_export(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
int method_import(struct daemon *d, struct request *q, json_t **ret_result, struct err *err);
