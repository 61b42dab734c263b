/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ctl/diff.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "ipamd/ctl/answer.h"

enum { DIFF_FILE_MAX = 4 * 1024 * 1024 };

static int file_load(const char *path, json_t **ret_file, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t len;
	int r;

	r = fs_read_file(path, DIFF_FILE_MAX, &text, &len, err);
	if (r < 0)
		return r;
	r = json_parse(text, len, ret_file, err);
	if (r < 0)
		err_prefix(err, "%s", path);
	return r;
}

static void print_value(json_t *value)
{
	CLEANUP_FREE char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	printf("%s", json_is_null(value) ? "none" : text ? text : "?");
}

static void print_figures(json_t *change)
{
	json_t *before = json_object_get(change, "capacityBefore");
	json_t *after = json_object_get(change, "capacityAfter");
	long long held = number_of(change, "held"), draining = number_of(change, "draining");

	if (before && after && !json_equal(before, after))
		printf("    addresses: %lld -> %lld\n", number_of(change, "capacityBefore"),
		       number_of(change, "capacityAfter"));
	else if (!before != !after)
		printf("    addresses: %lld\n",
		       number_of(change, before ? "capacityBefore" : "capacityAfter"));
	if (held)
		printf("    %lld held, of which %lld drain\n", held, draining);
}

static void print_change(json_t *change)
{
	const char *what = text_of(change, "change");
	json_t *key;
	size_t i;

	printf("%s %s%s%s\n",
	       strcmp(what, "added") == 0     ? "+"
	       : strcmp(what, "removed") == 0 ? "-"
					      : "~",
	       text_of(change, "pool"), text_of(change, "rail")[0] ? "/" : "",
	       text_of(change, "rail"));
	json_array_foreach (json_object_get(change, "keys"), i, key) {
		printf("    %s: ", text_of(key, "key"));
		if (strcmp(what, "changed") == 0) {
			print_value(json_object_get(key, "old"));
			printf(" -> ");
		}
		print_value(json_object_get(key, strcmp(what, "removed") == 0 ? "old" : "new"));
		printf("\n");
	}
	print_figures(change);
}

static void print_diff(json_t *diff)
{
	json_t *change;
	size_t i;

	restart_print(json_object_get(diff, "restart"));
	json_array_foreach (json_object_get(diff, "changes"), i, change)
		print_change(change);
	if (number_of(diff, "more"))
		printf("and %lld more\n", number_of(diff, "more"));
	printf("%s\n", text_of(diff, "verdict"));
}

int diff_run(struct ctl *ctl, struct err *err)
{
	CLEANUP_JSON json_t *file = NULL, *diff = NULL;
	int r;

	r = file_load(ctl->diff, &file, err);
	if (r < 0)
		return r;
	r = ctl_call(ctl, "pool.diff", json_incref(file), &diff, err);
	if (r < 0)
		return r;
	if (ctl->json)
		r = print_json(diff, err);
	else
		print_diff(diff);
	if (r < 0 || strcmp(text_of(diff, "verdict"), "refused") != 0)
		return r;
	(void)err_set(err, EBUSY, ERR_VALUE, "%s: %s", ctl->diff, text_of(diff, "error"));
	if (text_of(diff, "details")[0])
		err_details(err, "%s", text_of(diff, "details"));
	return -EBUSY;
}
