/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From 1 and 2: a record ends with what was asked for, by_key begins with the container and knows
 * the index, by_netns has an entry of every record, a rail counts more, and the clock knows the
 * boot's first record. All of it follows from the records: they and their tables are written anew.
 *
 * From 3: the clock counts the unconfirmed, too, and an identity leads to who has it. What rests is
 * not known to be of any pod.
 */
#include "ipamd/migrate.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipamd/allot.h"
#include "ipamd/edit.h"
#include "ipamd/era.h"
#include "ipamd/guid.h"
#include "ipamd/record.h"

/* Numbers of the clock, before the boot id: ledger time, BOOTTIME, next id; since 3 also… */
enum {
	CLOCK_1 = 3,
	CLOCK_3 = 4 + 3 /* …the boot's first id, and a count of each of three states */
};

static void table_empty(struct store *store, enum store_table table)
{
	struct store_view found, value;
	struct store_key key = { 0 };

	while (store_seek(store, table, &key, 0, &found, &value)) {
		store_key_set(&key, &found);
		store_delete(store, table, &key);
	}
}

/* The clock of @count numbers as it was; a ledger that was never changed has none. */
static bool clock_read(struct store *store, size_t count, char boot_id[ERA_BOOT_ID_MAX + 1],
		       struct era *ret_era)
{
	uint64_t numbers[sizeof(*ret_era) / sizeof(uint64_t)] = { 0 };
	const size_t len = count * sizeof(uint64_t);
	struct store_key key = { 0 };
	struct store_view value;

	store_key_text(&key, "clock");
	if (!store_get(store, STORE_META, &key, &value))
		return false;
	if (value.len < len || value.len > len + ERA_BOOT_ID_MAX) {
		store_fail(store, STORE_META, "the clock has another length");
		return false;
	}
	for (size_t i = 0; i < count; i++)
		numbers[i] = store_view_u64(&value, i * sizeof(uint64_t));
	memcpy(ret_era, numbers, sizeof(*ret_era));
	memcpy(boot_id, value.data + len, value.len - len);
	boot_id[value.len - len] = '\0';
	return true;
}

/* Ids grow, so the records of the last boot are those from its first one on. */
static int records_rewrite(struct store *store, const char *boot_id, struct era *era,
			   struct err *err)
{
	struct attachment a = { 0 };
	uint64_t after = 0;
	int r;

	while ((r = record_next(store, after, RECORD_WHOLE, &a, err)) == 0) {
		after = a.id;
		if (strcmp(a.boot_id, boot_id) == 0) {
			era->first_id = a.id < era->first_id ? a.id : era->first_id;
			era->counts[a.state]++;
		}
		r = record_rewrite(store, &a, err);
		attachment_free(&a);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

/* What drains was not counted before. */
static int rails_count(struct store *store, struct err *err)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	CLEANUP(pool_set_free) struct pool_set pools = { 0 };
	int r;

	r = edit_load(store, &pools, err);
	if (r == 0 || r == -ENOENT)
		r = edit_check(store, 0, &pools, &pools, &held, err);
	if (r < 0 && r != -EBUSY) /* what is refused is counted all the same */
		return r;
	allot_migrate(store, &held);
	return 0;
}

static int migrate_from_1(struct store *store, struct err *err)
{
	char boot_id[ERA_BOOT_ID_MAX + 1] = "";
	struct era era;
	int r;

	if (!clock_read(store, CLOCK_1, boot_id, &era))
		return store_check(store, err);
	era.first_id = era.next_id;
	table_empty(store, STORE_BY_KEY);
	table_empty(store, STORE_BY_NETNS);
	r = records_rewrite(store, boot_id, &era, err);
	if (r < 0)
		return r;
	guid_migrate(store);
	r = rails_count(store, err);
	if (r < 0)
		return r;
	era_put(store, boot_id, &era);
	return store_check(store, err);
}

static int migrate_from_3(struct store *store, struct err *err)
{
	char boot_id[ERA_BOOT_ID_MAX + 1] = "";
	struct era era;

	if (!clock_read(store, CLOCK_3, boot_id, &era))
		return store_check(store, err);
	era_put(store, boot_id, &era); /* with the counts that it had */
	return records_rewrite(store, boot_id, &era, err);
}

int migrate(struct store *store, struct err *err)
{
	int r;

	if (store_schema(store) == STORE_SCHEMA)
		return 0;
	r = store_begin(store, STORE_WRITE, err);
	if (r < 0)
		return r;
	r = store_schema(store) < 3 ? migrate_from_1(store, err) : migrate_from_3(store, err);
	if (r < 0) {
		store_abort(store);
		err_prefix(err, "bring the store up to date");
		return r;
	}
	store_set_schema(store);
	return store_commit(store, err);
}
