/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From 1 and 2: a record ends with what was asked for, by_key begins with the container and knows
 * the index, by_netns has an entry of every record, a rail counts more, and the clock knows the
 * boot's first record. All of it follows from the records: they and their tables are written anew.
 *
 * From 3: the clock counts the unconfirmed, too, and an identity leads to who has it. What rests is
 * not known to be of any pod.
 *
 * From 4: an identity is of a Kubernetes namespace, and so is what rests. Which one that was the
 * name of the pod tells, or the history; whose it was nobody can tell is remembered of nobody.
 */
#include "ipamd/migrate.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/allot.h"
#include "ipamd/edit.h"
#include "ipamd/era.h"
#include "ipamd/guid.h"
#include "ipamd/record.h"
#include "ipamd/sticky.h"

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

/* {UID: namespace} of all pods that the history tells of. */
static json_t *namespaces_read(struct store *store)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	json_t *names = json_object();

	for (; store_seek(store, STORE_HISTORY, &key, 0, &found, &value); store_key_next(&key)) {
		CLEANUP_JSON json_t *event = NULL;
		const char *uid, *namespace;
		struct err unread;

		store_key_set(&key, &found);
		if (json_parse((const char *)value.data, value.len, &event, &unread) == 0 &&
		    json_unpack(event, "{s:{s:s, s:s}}", "pod", "uid", &uid, "namespace",
				&namespace) == 0 &&
		    uid[0])
			(void)json_object_set_new(names, uid, json_string(namespace));
	}
	return names;
}

struct telling {
	struct store *store;
	json_t *names;
	char namespace[LEASE_NAMESPACE_MAX + 1];
};

/* Of a pod by its UID, or by namespace/name. */
static const char *tell_of_pod(const char *pod, void *arg)
{
	struct telling *telling = arg;
	const char *slash = strchr(pod, '/');

	if (!slash)
		return json_string_value(json_object_get(telling->names, pod));
	if (slash - pod > LEASE_NAMESPACE_MAX)
		return NULL;
	(void)snprintf(telling->namespace, sizeof(telling->namespace), "%.*s", (int)(slash - pod),
		       pod);
	return telling->namespace;
}

/* That of the pod that the index still rests of, or of the one that has it under this name. */
static const char *tell_of_identity(const char *pool, const char *rail, const char *name,
				    const struct sticky *had, void *arg)
{
	struct telling *telling = arg;
	struct lease lease = allot_lease(telling->store, pool, rail, had->index);
	CLEANUP(attachment_free) struct attachment holder = { 0 };
	const char *whose = NULL;
	struct err err;

	if (lease.state == LEASE_RESTING && lease.since_ms == had->last_ms && lease.has_namespace)
		whose = lease.namespace;
	else if (lease.state == LEASE_HELD &&
		 record_get(telling->store, lease.holder, &holder, &err) == 0 &&
		 strcmp(holder.sticky, name) == 0)
		whose = holder.pod.namespace;
	if (!whose || strlen(whose) > LEASE_NAMESPACE_MAX)
		return NULL;
	(void)snprintf(telling->namespace, sizeof(telling->namespace), "%s", whose);
	return telling->namespace;
}

static int migrate_from_4(struct store *store, struct err *err)
{
	CLEANUP_JSON json_t *names = namespaces_read(store);
	struct telling telling = { .store = store, .names = names };
	struct attachment a;
	int r;

	if (!names)
		return err_nomem(err);
	table_empty(store, STORE_BY_IDENTITY);
	for (uint64_t after = 0; (r = record_next(store, after, RECORD_HEAD, &a, err)) == 0;) {
		after = a.id;
		record_index_identity(store, &a);
		attachment_free(&a);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	allot_tell_namespaces(store, tell_of_pod, &telling);
	return sticky_migrate(store, tell_of_identity, &telling, err);
}

/* Each step makes of the store what the next one expects, in records and tables of today. */
static int migrate_steps(struct store *store, struct err *err)
{
	int r = 0;

	if (store_schema(store) < 3)
		r = migrate_from_1(store, err);
	else if (store_schema(store) == 3)
		r = migrate_from_3(store, err);
	return r < 0 ? r : migrate_from_4(store, err);
}

int migrate(struct store *store, struct err *err)
{
	int r;

	if (store_schema(store) == STORE_SCHEMA)
		return 0;
	r = store_begin(store, STORE_WRITE, err);
	if (r < 0)
		return r;
	r = migrate_steps(store, err);
	if (r < 0) {
		store_abort(store);
		err_prefix(err, "bring the store up to date");
		return r;
	}
	store_set_schema(store);
	return store_commit(store, err);
}
