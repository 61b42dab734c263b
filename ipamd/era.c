/* SPDX-License-Identifier: Apache-2.0 */
/* Eight numbers, and behind them the boot id that they belong to. */
#include "ipamd/era.h"

#include <endian.h>
#include <string.h>

enum { ERA_NUMBERS = 4 + ATTACHMENT_STATES, ERA_BYTES = ERA_NUMBERS * sizeof(uint64_t) };

_Static_assert(sizeof(struct era) == ERA_BYTES, "an era is nothing but its numbers");

static struct store_key era_key(void)
{
	struct store_key key = { 0 };

	store_key_text(&key, "clock");
	return key;
}

struct era era_get(struct store *store, const char *boot_id, bool *ret_same_boot)
{
	struct era era = { .next_id = 1, .first_id = 1 };
	struct store_key key = era_key();
	uint64_t numbers[ERA_NUMBERS];
	struct store_view value;

	*ret_same_boot = false;
	if (!store_get(store, STORE_META, &key, &value))
		return era;
	if (value.len < ERA_BYTES) {
		store_fail(store, STORE_META, "the clock has another length");
		return era;
	}
	for (size_t i = 0; i < ERA_NUMBERS; i++)
		numbers[i] = store_view_u64(&value, i * sizeof(uint64_t));
	memcpy(&era, numbers, sizeof(era));
	*ret_same_boot = value.len - ERA_BYTES == strlen(boot_id) &&
			 memcmp(value.data + ERA_BYTES, boot_id, strlen(boot_id)) == 0;
	if (!*ret_same_boot) {
		era.first_id = era.next_id;
		memset(era.counts, 0, sizeof(era.counts));
	}
	return era;
}

void era_put(struct store *store, const char *boot_id, const struct era *era)
{
	size_t boot_len = strnlen(boot_id, ERA_BOOT_ID_MAX);
	uint8_t value[ERA_BYTES + ERA_BOOT_ID_MAX];
	struct store_key key = era_key();
	uint64_t numbers[ERA_NUMBERS];

	memcpy(numbers, era, sizeof(numbers));
	for (size_t i = 0; i < ERA_NUMBERS; i++)
		numbers[i] = htobe64(numbers[i]);
	memcpy(value, numbers, sizeof(numbers));
	memcpy(value + ERA_BYTES, boot_id, boot_len);
	store_put(store, STORE_META, &key, value, ERA_BYTES + boot_len);
}
