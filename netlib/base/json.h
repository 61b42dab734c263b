/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict JSON over jansson.
 *
 * A reader asks an object for its members by name and type; it remembers what was asked for, so
 * that json_finish() can refuse what nobody knows. The first error sticks, later calls are
 * harmless, and the caller checks once. Errors name the key with its path, the value, and what is
 * allowed.
 *
 *	struct json_reader r;
 *
 *	json_read(&r, obj, "routing", err);
 *	json_int(&r, "table", 1, UINT32_MAX, &table);
 *	json_bool(&r, "rules", &rules);
 *	return json_finish(&r, READ_STRICT);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

enum { JSON_PATH_MAX = 128, JSON_SEEN_MAX = 128 };

struct json_reader {
	json_t *obj; /* borrowed */
	char path[JSON_PATH_MAX];
	const char *seen[JSON_SEEN_MAX];
	size_t seen_count;
	struct err *err;
	int r;        /* 0 or the first -errno */
	bool missing; /* it is of json_missing() */
};

/*
 * Parses one object. Duplicate keys, NUL characters, invalid UTF-8 and trailing text are errors
 * (ERR_JSON, with line and column). The caller owns *@ret_obj.
 */
int json_parse(const char *text, size_t len, json_t **ret_obj, struct err *err);

/*
 * Begins to read @obj, of which at most JSON_SEEN_MAX keys can be asked for (one more is an
 * ERR_INTERNAL at once, whatever @obj has). Errors call it @path ("" at top level). Not an object:
 * an error.
 */
void json_read(struct json_reader *r, json_t *obj, const char *path, struct err *err);

/* Optional members: false (and *ret untouched) if absent or after an error. */
bool json_str(struct json_reader *r, const char *key, const char **ret_text);
bool json_int(struct json_reader *r, const char *key, int64_t min, int64_t max, int64_t *ret_value);
bool json_bool(struct json_reader *r, const char *key, bool *ret_value);
bool json_obj(struct json_reader *r, const char *key, json_t **ret_obj);
bool json_arr(struct json_reader *r, const char *key, json_t **ret_arr);
bool json_any(struct json_reader *r, const char *key, json_t **ret_json);

/*
 * A member that must be there: call after the getter returned false. A key that nobody knows is
 * told rather than this, for it may be the one that is missing, misspelt: so ask for all others all
 * the same.
 */
void json_missing(struct json_reader *r, const char *key);

/* Fails with ERR_VALUE: `key "path.key": VALUE: must be …`. Keeps an earlier error. */
void json_bad(struct json_reader *r, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

enum read_mode {
	READ_LENIENT, /* members that nobody asked for are somebody else's */
	READ_STRICT,  /* they are errors (ERR_KEY) with the key that was probably meant
			 (nearest_key()), unless they begin with "x-" */
};

/* Returns 0, or the first error; with READ_STRICT also -EINVAL for an unknown key. */
int json_finish(struct json_reader *r, enum read_mode mode);
/* The same for a member of what @outer reads, which goes on with its error. */
void json_leave(struct json_reader *outer, struct json_reader *r, enum read_mode mode);

/*
 * The CNI code of an error that somebody else has told. 0, which would say that nothing is wrong,
 * and what is no number of 31 bits, become ERR_INTERNAL.
 */
int json_cni_code(const json_t *code);

/*
 * A string for somebody to read, of whatever bytes: what is no UTF-8 is mended (base/utf8.h), where
 * json_string() would say no more than NULL. NULL only if out of memory.
 */
json_t *json_text(const char *text);

/* One compact line, for the wire and the store. The caller frees it; NULL if out of memory. */
char *json_line(const json_t *json);
