/* SPDX-License-Identifier: Apache-2.0 */
/* What a store holds, as one number: two that differ in a byte of any table have different ones. */
#pragma once

#include "../unit/ledger_kit.h"

struct digest {
	uint64_t sum;
	uint64_t events; /* of its history */
};

/* FNV-1a over table, key and value. */
static inline uint64_t digest_add(uint64_t sum, const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ byte[i]) * 0x100000001b3;
	return (sum ^ len) * 0x100000001b3;
}

static inline uint64_t digest_table(struct store *store, enum store_table table, uint64_t sum)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	sum = digest_add(sum, &table, sizeof(table));
	while (store_seek(store, table, &key, 0, &found, &value)) {
		sum = digest_add(sum, found.data, found.len);
		sum = digest_add(sum, value.data, value.len);
		store_key_set(&key, &found);
		store_key_next(&key);
	}
	return sum;
}

/* Of the store in @dir, which nobody has open. */
static inline int digest_read(const char *dir, struct digest *ret_digest)
{
	struct digest digest = { .sum = 0xcbf29ce484222325 };
	struct store_view last;
	struct store *store;
	int r;

	r = store_open(dir, &store, &kit_err);
	if (r < 0)
		return r;
	r = store_begin(store, STORE_READ, &kit_err);
	for (int i = 0; r == 0 && i < STORE_TABLES; i++)
		digest.sum = digest_table(store, (enum store_table)i, digest.sum);
	if (r == 0) {
		if (store_last(store, STORE_HISTORY, &last))
			digest.events = store_view_u64(&last, 0);
		r = store_check(store, &kit_err);
	}
	store_close(store);
	*ret_digest = digest;
	return r;
}
