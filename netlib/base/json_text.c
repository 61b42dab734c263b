/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_text.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* ASCII that stands for itself in a string. */
static const bool plain[UCHAR_MAX + 1] = {
	[' ' ... '!'] = true,
	['#' ... '['] = true,
	[']' ... '~'] = true,
};

enum { TEXT_DEPTH_MAX = 32, TEXT_DIGITS_MAX = 18 /* of what surely fits */, TEXT_SIZE = 1024 };

/* --- reading --- */

struct scan {
	const char *at, *end;
};

static json_t *scan_value(struct scan *scan, int depth);

static void scan_blanks(struct scan *scan)
{
	while (scan->at < scan->end &&
	       (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
		scan->at++;
}

/* Steps over @c, behind blanks. */
static bool scan_char(struct scan *scan, char c)
{
	scan_blanks(scan);
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

static bool scan_string(struct scan *scan, const char **ret_text, size_t *ret_len)
{
	const char *text;

	if (!scan_char(scan, '"'))
		return false;
	text = scan->at;
	while (scan->at < scan->end && plain[(unsigned char)*scan->at])
		scan->at++;
	if (scan->at == scan->end || *scan->at != '"')
		return false;
	*ret_text = text;
	*ret_len = (size_t)(scan->at++ - text);
	return true;
}

static json_t *scan_text(struct scan *scan)
{
	const char *text;
	size_t len;

	return scan_string(scan, &text, &len) ? json_stringn_nocheck(text, len) : NULL;
}

static json_t *scan_number(struct scan *scan)
{
	bool negative = scan_char(scan, '-');
	const char *digits = scan->at;
	json_int_t value = 0;

	for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++) {
		if (scan->at - digits == TEXT_DIGITS_MAX)
			return NULL;
		value = value * 10 + (*scan->at - '0');
	}
	if (scan->at == digits || (*digits == '0' && scan->at - digits > 1))
		return NULL;
	if (scan->at < scan->end && strchr(".eE", *scan->at))
		return NULL;
	return json_integer(negative ? -value : value);
}

static json_t *scan_word(struct scan *scan, const char *word, json_t *value)
{
	size_t len = strlen(word);

	if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
		return NULL;
	scan->at += len;
	return value;
}

static bool scan_member(struct scan *scan, json_t *object, int depth)
{
	size_t count = json_object_size(object), len;
	const char *key;
	json_t *value;

	if (!scan_string(scan, &key, &len) || !scan_char(scan, ':'))
		return false;
	value = scan_value(scan, depth);
	return value && json_object_setn_new_nocheck(object, key, len, value) == 0 &&
	       json_object_size(object) > count; /* else it was there: a duplicate */
}

static json_t *scan_object(struct scan *scan, int depth)
{
	CLEANUP_JSON json_t *object = json_object();

	scan->at++;
	if (!object || scan_char(scan, '}'))
		return TAKE_PTR(object);
	do {
		if (!scan_member(scan, object, depth))
			return NULL;
	} while (scan_char(scan, ','));
	return scan_char(scan, '}') ? TAKE_PTR(object) : NULL;
}

static json_t *scan_array(struct scan *scan, int depth)
{
	CLEANUP_JSON json_t *array = json_array();

	scan->at++;
	if (!array || scan_char(scan, ']'))
		return TAKE_PTR(array);
	do {
		if (json_array_append_new(array, scan_value(scan, depth)) < 0)
			return NULL;
	} while (scan_char(scan, ','));
	return scan_char(scan, ']') ? TAKE_PTR(array) : NULL;
}

static json_t *scan_value(struct scan *scan, int depth)
{
	scan_blanks(scan);
	if (scan->at == scan->end || depth == TEXT_DEPTH_MAX)
		return NULL;
	switch (*scan->at) {
	case '{':
		return scan_object(scan, depth + 1);
	case '[':
		return scan_array(scan, depth + 1);
	case '"':
		return scan_text(scan);
	case 't':
		return scan_word(scan, "true", json_true());
	case 'f':
		return scan_word(scan, "false", json_false());
	case 'n':
		return scan_word(scan, "null", json_null());
	default:
		return scan_number(scan);
	}
}

json_t *json_text_read(const char *text, size_t len)
{
	struct scan scan = { text, text + len };
	CLEANUP_JSON json_t *json = NULL;

	scan_blanks(&scan);
	if (scan.at == scan.end || (*scan.at != '{' && *scan.at != '['))
		return NULL;
	json = scan_value(&scan, 0);
	scan_blanks(&scan);
	return scan.at == scan.end ? TAKE_PTR(json) : NULL;
}

/* --- writing --- */

struct text {
	char *bytes; /* NULL: out of memory */
	size_t len, size;
};

static bool put_value(struct text *text, const json_t *json, int depth);

static bool text_room(struct text *text, size_t more)
{
	size_t size = text->size;
	char *bytes;

	if (more <= size - text->len)
		return true;
	while (size - text->len < more)
		size *= 2;
	bytes = realloc(text->bytes, size);
	if (!bytes)
		return false;
	text->bytes = bytes;
	text->size = size;
	return true;
}

static bool put_bytes(struct text *text, const char *bytes, size_t len)
{
	if (!text_room(text, len))
		return false;
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
	return true;
}

static bool put_char(struct text *text, char c)
{
	if (!text_room(text, 1))
		return false;
	text->bytes[text->len++] = c;
	return true;
}

static bool put_string(struct text *text, const char *string, size_t len)
{
	char *at;

	if (!text_room(text, len + 2))
		return false;
	at = text->bytes + text->len;
	*at++ = '"';
	for (size_t i = 0; i < len; i++) {
		if (!plain[(unsigned char)string[i]])
			return false;
		*at++ = string[i];
	}
	*at = '"';
	text->len += len + 2;
	return true;
}

static bool put_integer(struct text *text, json_int_t value)
{
	char digits[24], *at = digits + sizeof(digits);
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

	do {
		*--at = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (value < 0)
		*--at = '-';
	return put_bytes(text, at, (size_t)(digits + sizeof(digits) - at));
}

static bool put_object(struct text *text, json_t *object, int depth)
{
	char before = '{';

	if (json_object_size(object) == 0)
		return put_bytes(text, "{}", 2);
	for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
		if (!put_char(text, before) ||
		    !put_string(text, json_object_iter_key(i), json_object_iter_key_len(i)) ||
		    !put_char(text, ':') || !put_value(text, json_object_iter_value(i), depth))
			return false;
		before = ',';
	}
	return put_char(text, '}');
}

static bool put_array(struct text *text, const json_t *array, int depth)
{
	if (!put_char(text, '['))
		return false;
	for (size_t i = 0; i < json_array_size(array); i++) {
		if ((i > 0 && !put_char(text, ',')) ||
		    !put_value(text, json_array_get(array, i), depth))
			return false;
	}
	return put_char(text, ']');
}

static bool put_value(struct text *text, const json_t *json, int depth)
{
	if (depth == TEXT_DEPTH_MAX)
		return false;
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return put_object(text, (json_t *)json, depth + 1); /* it is only walked */
	case JSON_ARRAY:
		return put_array(text, json, depth + 1);
	case JSON_STRING:
		return put_string(text, json_string_value(json), json_string_length(json));
	case JSON_INTEGER:
		return put_integer(text, json_integer_value(json));
	case JSON_TRUE:
		return put_bytes(text, "true", 4);
	case JSON_FALSE:
		return put_bytes(text, "false", 5);
	case JSON_NULL:
		return put_bytes(text, "null", 4);
	default:
		return false;
	}
}

char *json_text_write(const json_t *json)
{
	struct text text = { .bytes = malloc(TEXT_SIZE), .size = TEXT_SIZE };

	if (text.bytes && (json_is_object(json) || json_is_array(json)) &&
	    put_value(&text, json, 0) && put_char(&text, '\0'))
		return text.bytes;
	free(text.bytes);
	return NULL;
}
