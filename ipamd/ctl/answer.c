/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ctl/answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "ipamd/ctl/record.h"
#include "ipamd/ctl/table.h"

static int mend_text(json_t *text)
{
	CLEANUP_FREE char *mended = strdup(json_string_value(text));

	if (!mended)
		return -ENOMEM;
	utf8_mend(mended);
	return json_string_set(text, mended) < 0 ? -ENOMEM : 0;
}

int answer_mend(json_t *json)
{
	const char *key;
	json_t *value;
	size_t i;
	int r = 0;

	if (json_is_string(json))
		return mend_text(json);
	json_object_foreach (json, key, value) {
		if (r == 0)
			r = answer_mend(value);
	}
	json_array_foreach (json, i, value) {
		if (r == 0)
			r = answer_mend(value);
	}
	return r;
}

int ctl_call(struct ctl *ctl, const char *method, json_t *params, json_t **ret_result,
	     struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	int r = ctl_call_raw(ctl, method, params, &result, err);

	if (r == 0 && answer_mend(result) < 0)
		r = err_nomem(err);
	if (r == 0)
		*ret_result = TAKE_PTR(result);
	return r;
}

int ctl_call_raw(struct ctl *ctl, const char *method, json_t *params, json_t **ret_result,
		 struct err *err)
{
	/* A pass or an undo takes longer than a verb waits for its turn. */
	return client_call(&ctl->client, method, params,
			   clock_boot_ms() + PROTO_ADD_MS + PROTO_CONNECT_MS, ret_result, err);
}

int pools_fetch(struct ctl *ctl, json_t **ret_pools, struct err *err)
{
	CLEANUP_JSON json_t *pools = json_array();
	json_int_t after = 0;
	int r;

	if (!pools)
		return err_nomem(err);
	do {
		CLEANUP_JSON json_t *page = NULL;

		r = ctl_call(ctl, "pool.list", json_pack("{s:I}", "after", after), &page, err);
		if (r < 0)
			return r;
		if (json_array_extend(pools, json_object_get(page, "pools")) < 0)
			return err_nomem(err);
		after = number_of(page, "next");
	} while (after);
	*ret_pools = json_pack("{s:O}", "pools", pools);
	return *ret_pools ? 0 : err_nomem(err);
}

int print_json(json_t *json, struct err *err)
{
	if (json_dumpf(json, stdout, JSON_INDENT(2)) < 0 || putchar('\n') < 0)
		return err_set(err, EIO, ERR_IO, "print the answer: cannot write");
	return 0;
}

const char *text_of(json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? text : "";
}

long long number_of(json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

void restart_print(json_t *changes)
{
	json_t *change;
	size_t i;

	json_array_foreach (changes, i, change) {
		printf("at a restart key \"%s\": \"%s\" -> \"%s\"", text_of(change, "key"),
		       text_of(change, "old"), text_of(change, "new"));
		if (text_of(change, "why")[0])
			printf(" (%s)", text_of(change, "why"));
		printf("\n");
	}
}

void status_print(json_t *status)
{
	json_t *counts = json_object_get(status, "attachments");
	json_t *config = json_object_get(status, "config");
	json_t *undo = json_object_get(status, "undo");
	json_t *alarms = json_object_get(status, "alarms"), *alarm;
	json_t *restart = json_object_get(status, "restart");
	bool colour = table_wants_colour();
	char age[AGE_TEXT];
	size_t i;

	printf("node         %s\n", text_of(status, "node"));
	printf("daemon       spur-ipamd %s, up %s\n", text_of(status, "version"),
	       age_format(clock_wall_ms() - number_of(status, "uptime") * 1000, age));
	printf("attachments  %lld attached, %lld unfinished, %lld dirty, %lld unconfirmed\n",
	       number_of(counts, "attached"), number_of(counts, "unfinished"),
	       number_of(counts, "dirty"), number_of(counts, "unconfirmed"));
	printf("to be undone %lld (%lld running), %lld of them from the spool\n",
	       number_of(undo, "queued") + number_of(undo, "running"), number_of(undo, "running"),
	       number_of(status, "spooled"));
	printf("pools        %lld, configuration %s %s ago\n", number_of(status, "pools"),
	       json_is_true(json_object_get(config, "ok")) ? "taken" : "refused",
	       age_format(number_of(config, "time"), age));
	restart_print(json_object_get(restart, "changes"));
	if (text_of(restart, "error")[0])
		printf("at a restart it would not start: %s\n", text_of(restart, "error"));
	json_array_foreach (alarms, i, alarm)
		printf("%sALARM%s        %s\n", colour ? "\033[31m" : "", colour ? "\033[0m" : "",
		       json_string_value(alarm));
}
