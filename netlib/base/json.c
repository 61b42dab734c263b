/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "base/utf8.h"

enum { JSON_VALUE_SHOWN = 60 }; /* as much of a bad value as an error shows */

int json_parse(const char *text, size_t len, json_t **ret_obj, struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	json_error_t why;

	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json)
		return err_set(err, EINVAL, ERR_JSON, "parse JSON: line %d column %d: %s", why.line,
			       why.column, why.text);
	if (!json_is_object(json))
		return err_set(err, EINVAL, ERR_JSON, "parse JSON: must be an object");
	*ret_obj = TAKE_PTR(json);
	return 0;
}

void json_read(struct json_reader *r, json_t *obj, const char *path, struct err *err)
{
	size_t len = strnlen(path, sizeof(r->path) - 1);

	/* Member by member: nobody looks at the rest, and a request is read by dozens of these. */
	r->obj = obj;
	memcpy(r->path, path, len);
	r->path[len] = '\0';
	r->seen_count = 0;
	r->err = err;
	r->r = 0;
	r->missing = false;
	if (!json_is_object(obj))
		r->r = err_set(err, EINVAL, ERR_VALUE, "key \"%s\": must be an object", path);
}

static json_t *reader_member(struct json_reader *r, const char *key)
{
	if (r->seen_count < JSON_SEEN_MAX)
		r->seen[r->seen_count++] = key;
	else if (r->r == 0 || r->missing) /* or it would be told as one that is not known */
		r->r = err_set(r->err, ENOBUFS, ERR_INTERNAL,
			       "key \"%s%s%s\": more than %d keys are asked for", r->path,
			       r->path[0] ? "." : "", key, JSON_SEEN_MAX);
	return r->r < 0 ? NULL : json_object_get(r->obj, key);
}

static void format_value(json_t *value, char *buf, size_t size)
{
	CLEANUP_FREE char *text = NULL;

	text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	(void)snprintf(buf, size, "%s", text ? text : "absent");
	if (text && strlen(text) >= size)
		memcpy(buf + size - 4, "...", 4);
}

void json_bad(struct json_reader *r, const char *key, const char *fmt, ...)
{
	char value[JSON_VALUE_SHOWN], why[ERR_MSG_MAX / 2];
	va_list ap;

	if (r->r < 0)
		return;
	format_value(json_object_get(r->obj, key), value, sizeof(value));
	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	r->r = err_set(r->err, EINVAL, ERR_VALUE, "key \"%s%s%s\": %s: %s", r->path,
		       r->path[0] ? "." : "", key, value, why);
}

void json_missing(struct json_reader *r, const char *key)
{
	if (r->r < 0)
		return;
	r->missing = true;
	r->r = err_set(r->err, EINVAL, ERR_VALUE, "key \"%s%s%s\": is required", r->path,
		       r->path[0] ? "." : "", key);
}

bool json_str(struct json_reader *r, const char *key, const char **ret_text)
{
	json_t *value = reader_member(r, key);

	if (!value)
		return false;
	if (!json_is_string(value)) {
		json_bad(r, key, "must be a string");
		return false;
	}
	*ret_text = json_string_value(value);
	return true;
}

bool json_int(struct json_reader *r, const char *key, int64_t min, int64_t max, int64_t *ret_value)
{
	json_t *value = reader_member(r, key);

	if (!value)
		return false;
	if (!json_is_integer(value) || json_integer_value(value) < min ||
	    json_integer_value(value) > max) {
		json_bad(r, key, "must be an integer %lld..%lld", (long long)min, (long long)max);
		return false;
	}
	*ret_value = json_integer_value(value);
	return true;
}

bool json_bool(struct json_reader *r, const char *key, bool *ret_value)
{
	json_t *value = reader_member(r, key);

	if (!value)
		return false;
	if (!json_is_boolean(value)) {
		json_bad(r, key, "must be true or false");
		return false;
	}
	*ret_value = json_is_true(value);
	return true;
}

bool json_obj(struct json_reader *r, const char *key, json_t **ret_obj)
{
	json_t *value = reader_member(r, key);

	if (!value)
		return false;
	if (!json_is_object(value)) {
		json_bad(r, key, "must be an object");
		return false;
	}
	*ret_obj = value;
	return true;
}

bool json_arr(struct json_reader *r, const char *key, json_t **ret_arr)
{
	json_t *value = reader_member(r, key);

	if (!value)
		return false;
	if (!json_is_array(value)) {
		json_bad(r, key, "must be an array");
		return false;
	}
	*ret_arr = value;
	return true;
}

bool json_any(struct json_reader *r, const char *key, json_t **ret_json)
{
	json_t *value = reader_member(r, key);

	if (!value)
		return false;
	*ret_json = value;
	return true;
}

static bool reader_knows(const struct json_reader *r, const char *key)
{
	for (size_t i = 0; i < r->seen_count; i++) {
		if (strcmp(r->seen[i], key) == 0)
			return true;
	}
	return false;
}

static int refuse_key(struct json_reader *r, const char *key)
{
	const char *meant = nearest_key(key, r->seen, r->seen_count);

	r->missing = false;
	r->r = err_set(r->err, EINVAL, ERR_KEY, "key \"%s%s%s\": is not known%s%s%s", r->path,
		       r->path[0] ? "." : "", key, meant ? "; did you mean \"" : "",
		       meant ? meant : "", meant ? "\"?" : "");
	err_details(r->err,
		    "misspelt, or none of Spur's; a key that begins with \"x-\" is ignored");
	return r->r;
}

int json_finish(struct json_reader *r, enum read_mode mode)
{
	const char *key;
	json_t *value;

	if ((r->r < 0 && !r->missing) || mode == READ_LENIENT)
		return r->r;
	json_object_foreach (r->obj, key, value) {
		if (strncmp(key, "x-", 2) != 0 && !reader_knows(r, key))
			return refuse_key(r, key);
	}
	return r->r;
}

void json_leave(struct json_reader *outer, struct json_reader *r, enum read_mode mode)
{
	outer->r = json_finish(r, mode);
	outer->missing = r->missing;
}

int json_cni_code(const json_t *code)
{
	json_int_t value = json_integer_value(code);

	return value > 0 && value <= INT32_MAX ? (int)value : ERR_INTERNAL;
}

json_t *json_text(const char *text)
{
	CLEANUP_FREE char *mended = NULL;

	if (utf8_is_valid(text))
		return json_string(text);
	mended = strdup(text);
	if (!mended)
		return NULL;
	utf8_mend(mended);
	return json_string(mended);
}

char *json_line(const json_t *json)
{
	return json_dumps(json, JSON_COMPACT);
}
