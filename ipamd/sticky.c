/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyed by pool, identity and rail: an index rests on each rail from another moment on, and the
 * moment is what tells an identity's own rest from somebody else's.
 */
#include "ipamd/sticky.h"

#include <endian.h>
#include <string.h>

static struct store_key identity_key(const char *pool, const char *identity)
{
	struct store_key key = { 0 };

	store_key_text(&key, pool);
	store_key_text(&key, identity);
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

bool sticky_find(struct store *store, const char *pool, const char *rail, const char *identity,
		 struct sticky *ret_sticky)
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

void sticky_put(struct store *store, const char *pool, const char *rail, const char *identity,
		uint32_t index, int64_t now_ms)
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
