/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyed by pool, identity (namespace, then name) and rail: an index rests on each rail from another
 * moment on, and the moment is what tells an identity's own rest from somebody else's.
 */
#include "ipamd/sticky.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static struct store_key identity_key(const char *pool, const struct identity *identity)
{
	struct store_key key = { 0 };

	store_key_text(&key, pool);
	store_key_text(&key, identity->namespace);
	store_key_text(&key, identity->name);
	return key;
}

static bool sticky_decode(struct store *store, const struct store_view *value,
			  struct sticky *ret_sticky)
{
	if (value->len != sizeof(uint32_t) + sizeof(uint64_t)) {
		store_fail(store, STORE_STICKY, "an entry has another length");
		return false;
	}
	ret_sticky->index = store_view_u32(value, 0);
	ret_sticky->last_ms = (int64_t)store_view_u64(value, sizeof(uint32_t));
	return true;
}

bool sticky_find(struct store *store, const char *pool, const char *rail,
		 const struct identity *identity, struct sticky *ret_sticky)
{
	struct store_key key = identity_key(pool, identity);
	struct store_view found, value;
	size_t prefix = key.len;
	bool here;

	store_key_text(&key, rail);
	here = store_get(store, STORE_STICKY, &key, &value);
	key.len = prefix;
	if (!here && !store_seek(store, STORE_STICKY, &key, prefix, &found, &value))
		return false;
	ret_sticky->here = here;
	return sticky_decode(store, &value, ret_sticky);
}

static struct store_key queue_key(int64_t last_ms, const void *entry, size_t len)
{
	struct store_view view = { entry, len };
	struct store_key key = { 0 }, tail;

	store_key_set(&tail, &view);
	store_key_u64(&key, (uint64_t)last_ms);
	memcpy(key.bytes + key.len, tail.bytes, tail.len);
	key.len += tail.len;
	return key;
}

/* The oldest makes room. */
static void evict(struct store *store)
{
	struct store_view found, value, entry;
	struct store_key queued = { 0 }, key;

	if (!store_seek(store, STORE_STICKY_Q, &queued, 0, &found, &value))
		return;
	if (found.len <= sizeof(uint64_t)) {
		store_fail(store, STORE_STICKY_Q, "a key has another length");
		return;
	}
	entry = (struct store_view) { found.data + sizeof(uint64_t), found.len - sizeof(uint64_t) };
	store_key_set(&key, &entry);
	store_key_set(&queued, &found);
	store_delete(store, STORE_STICKY, &key);
	store_delete(store, STORE_STICKY_Q, &queued);
}

void sticky_put(struct store *store, const char *pool, const char *rail,
		const struct identity *identity, uint32_t index, int64_t now_ms)
{
	uint8_t bytes[sizeof(uint32_t) + sizeof(uint64_t)];
	struct store_key key = identity_key(pool, identity), queued;
	uint64_t last = htobe64((uint64_t)now_ms);
	uint32_t number = htobe32(index);
	struct store_view value;
	struct sticky before;

	store_key_text(&key, rail);
	if (store_get(store, STORE_STICKY, &key, &value)) {
		if (!sticky_decode(store, &value, &before))
			return;
		queued = queue_key(before.last_ms, key.bytes, key.len);
		store_delete(store, STORE_STICKY_Q, &queued);
	} else if (store_count(store, STORE_STICKY) >= STICKY_MAX) {
		evict(store);
	}
	memcpy(bytes, &number, sizeof(number));
	memcpy(bytes + sizeof(number), &last, sizeof(last));
	queued = queue_key(now_ms, key.bytes, key.len);
	store_put(store, STORE_STICKY, &key, bytes, sizeof(bytes));
	store_put(store, STORE_STICKY_Q, &queued, NULL, 0);
}

/* An entry before schema 5: pool NUL name NUL rail NUL. */
struct old_sticky {
	struct store_key key;
	struct sticky had;
};

static bool old_has_shape(const struct store_key *key)
{
	size_t texts = 0;

	for (size_t i = 0; i < key->len; i++)
		texts += key->bytes[i] == '\0';
	return texts == 3 && key->bytes[key->len - 1] == '\0';
}

/* Takes them out of the store, queue included. */
static size_t old_take_all(struct store *store, struct old_sticky *old, size_t max)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	size_t count = 0;

	while (count < max && store_seek(store, STORE_STICKY, &key, 0, &found, &value)) {
		struct old_sticky *one = &old[count++];

		store_key_set(&key, &found);
		one->key = key;
		if (!old_has_shape(&key))
			store_fail(store, STORE_STICKY, "a key has another form");
		if (!sticky_decode(store, &value, &one->had))
			break;
		store_delete(store, STORE_STICKY, &key);
	}
	for (key.len = 0; store_seek(store, STORE_STICKY_Q, &key, 0, &found, &value);) {
		store_key_set(&key, &found);
		store_delete(store, STORE_STICKY_Q, &key);
	}
	return count;
}

int sticky_migrate(struct store *store,
		   const char *(*tell)(const char *pool, const char *rail, const char *name,
				       const struct sticky *had, void *arg),
		   void *arg, struct err *err)
{
	size_t count = store_count(store, STORE_STICKY);
	CLEANUP_FREE struct old_sticky *old = calloc(count + 1, sizeof(*old));

	if (!old)
		return err_nomem(err);
	count = old_take_all(store, old, count);
	for (size_t i = 0; store_check(store, err) == 0 && i < count; i++) {
		const char *pool = (const char *)old[i].key.bytes;
		struct identity identity = { .name = pool + strlen(pool) + 1 };
		const char *rail = identity.name + strlen(identity.name) + 1;

		identity.namespace = tell(pool, rail, identity.name, &old[i].had, arg);
		if (identity.namespace)
			sticky_put(store, pool, rail, &identity, old[i].had.index,
				   old[i].had.last_ms);
	}
	return store_check(store, err);
}
