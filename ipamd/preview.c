/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict is that of the code that takes the file; the changes are read from both arrays, key
 * by key. A change without a key is one of figures: what its pool has changed shows in its rails.
 */
#include "ipamd/preview.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipamd/config.h"
#include "ipamd/pool.h"

enum { PREVIEW_VALUE_MAX = 160 /* bytes; an array that is longer is only counted */ };

struct preview {
	json_t *changes;
	size_t size, max, more;
	bool failed; /* out of memory */
};

/* A pool or rail, before and after; what it was not, or will not be, is NULL. */
struct sides {
	json_t *before, *after;
};

static json_t *value_shown(json_t *value)
{
	if (!value)
		return json_null();
	if (json_is_array(value) && json_dumpb(value, NULL, 0, JSON_COMPACT) > PREVIEW_VALUE_MAX)
		return json_sprintf("%zu elements", json_array_size(value));
	return json_incref(value);
}

static bool key_is_shown(const char *key)
{
	return strcmp(key, "name") != 0 && strcmp(key, "rails") != 0 && strncmp(key, "x-", 2) != 0;
}

static void add_key(json_t *keys, const char *key, json_t *before, json_t *after)
{
	if (key_is_shown(key) && !(before && after && json_equal(before, after)))
		(void)json_array_append_new(keys, json_pack("{s:s, s:o, s:o}", "key", key, "old",
							    value_shown(before), "new",
							    value_shown(after)));
}

/* The keys that differ; all of them if there is only one side. */
static json_t *changed_keys(const struct sides *sides)
{
	json_t *keys = json_array(), *value;
	const char *key;

	json_object_foreach (sides->before, key, value)
		add_key(keys, key, value, json_object_get(sides->after, key));
	json_object_foreach (sides->after, key, value) {
		if (!json_object_get(sides->before, key))
			add_key(keys, key, NULL, value);
	}
	return keys;
}

static const char *change_name(const struct sides *sides)
{
	return !sides->before ? "added" : !sides->after ? "removed" : "changed";
}

/* Takes @change over. */
static void preview_add(struct preview *p, json_t *change)
{
	size_t size = change ? json_dumpb(change, NULL, 0, JSON_COMPACT) + 1 : 0;

	if (p->more || p->size + size > p->max) {
		p->more++;
		json_decref(change);
		return;
	}
	p->size += size;
	p->failed |= json_array_append_new(p->changes, change) < 0;
}

static json_t *capacity_json(const struct rail *rail)
{
	return rail ? json_integer((json_int_t)rail_capacity(rail)) : NULL;
}

static struct rail_held held_on(const struct rails_held *held, const char *pool, const char *rail)
{
	for (size_t i = 0; i < held->count; i++) {
		if (strcmp(held->at[i].pool, pool) == 0 && strcmp(held->at[i].rail, rail) == 0)
			return held->at[i];
	}
	return (struct rail_held) { 0 };
}

/* Of a pool or rail: it is the same on both sides, if it is on both. */
static const char *side_name(const struct sides *sides)
{
	json_t *side = sides->before ? sides->before : sides->after;

	return json_string_value(json_object_get(side, "name"));
}

static void preview_rail(struct preview *p, const char *pool, const struct rail *before,
			 const struct rail *after, const struct sides *sides,
			 const struct rails_held *held)
{
	const char *name = side_name(sides);
	struct rail_held on = held_on(held, pool, name);
	CLEANUP_JSON json_t *keys = changed_keys(sides);

	if (before && after && json_array_size(keys) == 0 && before->capacity == after->capacity)
		return;
	preview_add(p, json_pack("{s:s, s:s, s:s, s:O, s:o*, s:o*, s:I, s:I}", "pool", pool, "rail",
				 name, "change", change_name(sides), "keys", keys, "capacityBefore",
				 capacity_json(before), "capacityAfter", capacity_json(after),
				 "held", (json_int_t)on.held, "draining", (json_int_t)on.draining));
}

static json_t *pool_source(const struct pool_set *set, const struct pool *pool)
{
	return pool ? json_array_get(set->source, (size_t)(pool - set->pools)) : NULL;
}

static json_t *rail_source(json_t *pool, const struct pool *of, const struct rail *rail)
{
	return rail ? json_array_get(json_object_get(pool, "rails"), (size_t)(rail - of->rails))
		    : NULL;
}

static void preview_pool(struct preview *p, const struct pool *before, const struct pool *after,
			 const struct sides *sides, const struct rails_held *held)
{
	const char *name = side_name(sides);
	CLEANUP_JSON json_t *keys = changed_keys(sides);

	if (!before || !after || json_array_size(keys) > 0)
		preview_add(p, json_pack("{s:s, s:s, s:O}", "pool", name, "change",
					 change_name(sides), "keys", keys));
	for (size_t i = 0; before && i < before->rail_count; i++) {
		const struct rail *rail = &before->rails[i];
		const struct rail *other = after ? pool_rail(after, rail->name) : NULL;
		const struct sides both = { rail_source(sides->before, before, rail),
					    rail_source(sides->after, after, other) };

		preview_rail(p, name, rail, other, &both, held);
	}
	for (size_t i = 0; after && i < after->rail_count; i++) {
		const struct rail *rail = &after->rails[i];
		const struct sides both = { NULL, rail_source(sides->after, after, rail) };

		if (!before || !pool_rail(before, rail->name))
			preview_rail(p, name, NULL, rail, &both, held);
	}
}

static void preview_pools(struct preview *p, const struct pool_set *before,
			  const struct pool_set *after, const struct rails_held *held)
{
	for (size_t i = 0; i < before->count; i++) {
		const struct pool *pool = &before->pools[i];
		const struct pool *other = pool_find(after, pool->name);
		const struct sides both = { pool_source(before, pool), pool_source(after, other) };

		preview_pool(p, pool, other, &both, held);
	}
	for (size_t i = 0; i < after->count; i++) {
		const struct pool *pool = &after->pools[i];
		const struct sides both = { NULL, pool_source(after, pool) };

		if (!pool_find(before, pool->name))
			preview_pool(p, NULL, pool, &both, held);
	}
}

static int file_read(json_t *file, struct pool_set *ret_set, struct err *err)
{
	struct config config;
	int r;

	r = config_decode(file, &config, err);
	if (r < 0)
		return r;
	r = config_pools(&config, ret_set, err);
	config_free(&config);
	return r;
}

int preview_file(struct ledger *ledger, json_t *file, size_t max, json_t **ret_json,
		 struct err *err)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	CLEANUP_JSON json_t *changes = json_array();
	struct preview p = { .changes = changes, .max = max };
	const char *verdict = "refused";
	int r;

	r = file_read(file, &set, err);
	if (r == -ENOMEM)
		return r;
	if (r == 0) {
		r = ledger_try_pools(ledger, &set, &held, err);
		if (r < 0 && r != -EBUSY)
			return r;
		preview_pools(&p, ledger_pools(ledger), &set, &held);
	}
	if (r == 0)
		verdict = json_equal(ledger_pools(ledger)->source, set.source) ? "unchanged"
									       : "taken";
	*ret_json = json_pack("{s:s, s:s*, s:s*, s:O}", "verdict", verdict, "error",
			      r < 0 ? err->msg : NULL, "details",
			      r < 0 && err->details[0] ? err->details : NULL, "changes", changes);
	if (!*ret_json || p.failed ||
	    (p.more && json_object_set_new(*ret_json, "more", json_integer((json_int_t)p.more))))
		return err_nomem(err);
	return 0;
}
