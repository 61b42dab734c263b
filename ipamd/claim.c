/* SPDX-License-Identifier: Apache-2.0 */
/* A claim lives for seconds: its value is small, and read and written whole. */
#include "ipamd/claim.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "ipamd/record.h"

enum {
	CLAIM_HEAD = 2 * sizeof(uint64_t),                 /* id, expiry */
	CLAIM_PLACE = sizeof(uint32_t) + sizeof(uint64_t), /* index, rest */
	CLAIM_BYTES = CLAIM_HEAD + PROTO_RAILS_MAX * sizeof(struct claim_rail),
};

static struct store_key claim_key(const char *container_id, const char *pool)
{
	struct store_key key = { 0 };

	store_key_text(&key, container_id);
	store_key_text(&key, pool);
	return key;
}

bool claim_is_possible(const char *container_id, const char *pool)
{
	return claim_key(container_id, pool).len < STORE_KEY_SIZE;
}

static bool take_rail(const struct store_view *value, size_t *at, struct claim_rail *rail)
{
	*rail = (struct claim_rail) { 0 };
	if (!store_view_text(value, at, rail->rail.name, sizeof(rail->rail.name)) ||
	    *at + CLAIM_PLACE > value->len)
		return false;
	rail->rail.index = store_view_u32(value, *at);
	rail->since_ms = (int64_t)store_view_u64(value, *at + sizeof(uint32_t));
	*at += CLAIM_PLACE;
	return store_view_text(value, at, rail->device, sizeof(rail->device));
}

bool claim_decode(const struct store_view *value, struct claim *ret_claim)
{
	struct claim *claim = ret_claim;
	size_t at = CLAIM_HEAD;

	claim->count = 0;
	if (value->len <= CLAIM_HEAD)
		return false;
	claim->id = store_view_u64(value, 0);
	claim->expiry_ms = (int64_t)store_view_u64(value, sizeof(uint64_t));
	while (at < value->len) {
		if (claim->count == PROTO_RAILS_MAX ||
		    !take_rail(value, &at, &claim->rails[claim->count])) {
			claim->count = 0;
			return false;
		}
		claim->count++;
	}
	return true;
}

/* As the store has it: one that is malformed fails the transaction. */
static void claim_read(struct store *store, const struct store_view *value, struct claim *claim)
{
	if (!claim_decode(value, claim))
		store_fail(store, STORE_CLAIM, "a claim is malformed");
}

bool claim_get(struct store *store, const char *container_id, const char *pool,
	       struct claim *ret_claim)
{
	struct store_key key = claim_key(container_id, pool);
	struct store_view value;

	ret_claim->count = 0;
	if (!claim_is_possible(container_id, pool) || !store_get(store, STORE_CLAIM, &key, &value))
		return false;
	claim_read(store, &value, ret_claim);
	return ret_claim->count > 0;
}

static size_t add_bytes(uint8_t *buf, size_t at, const void *bytes, size_t len)
{
	memcpy(buf + at, bytes, len);
	return at + len;
}

void claim_put(struct store *store, const char *container_id, const char *pool,
	       const struct claim *claim)
{
	uint64_t id = htobe64(claim->id), expiry = htobe64((uint64_t)claim->expiry_ms);
	struct store_key key = claim_key(container_id, pool);
	uint8_t value[CLAIM_BYTES];
	size_t at = 0;

	if (claim->count == 0) {
		store_delete(store, STORE_CLAIM, &key);
		return;
	}
	at = add_bytes(value, at, &id, sizeof(id));
	at = add_bytes(value, at, &expiry, sizeof(expiry));
	for (size_t i = 0; i < claim->count; i++) {
		const struct claim_rail *rail = &claim->rails[i];
		uint32_t index = htobe32(rail->rail.index);
		uint64_t since = htobe64((uint64_t)rail->since_ms);

		at = add_bytes(value, at, rail->rail.name, strlen(rail->rail.name) + 1);
		at = add_bytes(value, at, &index, sizeof(index));
		at = add_bytes(value, at, &since, sizeof(since));
		at = add_bytes(value, at, rail->device, strlen(rail->device) + 1);
	}
	store_put(store, STORE_CLAIM, &key, value, at);
}

int claim_find(const struct claim *claim, const char *rail)
{
	for (size_t i = 0; i < claim->count; i++) {
		if (strcmp(claim->rails[i].rail.name, rail) == 0)
			return (int)i;
	}
	return -1;
}

void claim_remove(struct claim *claim, int place)
{
	claim->count--;
	if ((size_t)place != claim->count)
		claim->rails[place] = claim->rails[claim->count];
}

/* by_device: the id 0, which no record has, and whose claim. */
void claim_take_device(struct store *store, const char *container_id, const char *pool,
		       const char *device_key)
{
	struct store_key key = record_by_device(device_key), owner = { 0 };

	store_key_u64(&owner, 0);
	store_key_text(&owner, container_id);
	store_key_text(&owner, pool);
	store_put(store, STORE_BY_DEVICE, &key, owner.bytes, owner.len);
}

void claim_free_device(struct store *store, const char *device_key)
{
	struct store_key key = record_by_device(device_key);

	store_delete(store, STORE_BY_DEVICE, &key);
}

static bool name_decode(const struct store_view *view, size_t at, struct claim_name *name)
{
	return store_view_text(view, &at, name->container_id, sizeof(name->container_id)) &&
	       store_view_text(view, &at, name->pool, sizeof(name->pool)) && at == view->len;
}

bool claim_of_device(struct store *store, const char *device_key, struct claim_name *ret_name)
{
	struct store_key key = record_by_device(device_key);
	struct store_view value;

	if (!store_get(store, STORE_BY_DEVICE, &key, &value) || value.len <= sizeof(uint64_t))
		return false;
	if (name_decode(&value, sizeof(uint64_t), ret_name))
		return true;
	store_fail(store, STORE_BY_DEVICE, "an owner is malformed");
	return false;
}

bool claim_next(struct store *store, struct store_key *key, struct claim_name *ret_name,
		struct claim *ret_claim)
{
	struct store_view found, value;

	if (!store_seek(store, STORE_CLAIM, key, 0, &found, &value))
		return false;
	if (!name_decode(&found, 0, ret_name)) {
		store_fail(store, STORE_CLAIM, "a key is malformed");
		return false;
	}
	claim_read(store, &value, ret_claim);
	store_key_set(key, &found);
	store_key_next(key);
	return ret_claim->count > 0;
}
