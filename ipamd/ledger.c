/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger as a whole: open, transactions, looks at what is there, and the clock. The verbs are
 * in ledger_change.c. Nothing that is asked for is kept in memory.
 *
 * Ledger time is the time that the node has been up since the store was made, so far as the daemon
 * knows: what was persisted, and the BOOTTIME passed since. Wall-clock jumps do not touch it.
 */
#include "ipamd/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "ipamd/allot.h"
#include "ipamd/claim.h"
#include "ipamd/era.h"
#include "ipamd/guid.h"
#include "ipamd/history.h"
#include "ipamd/ledger_inside.h"
#include "ipamd/migrate.h"
#include "ipamd/record.h"
#include "ipamd/store.h"

static int no_vf(const struct rail *rail, const char *not_this, char key[PROTO_DEVICE_MAX],
		 void *arg, struct err *err)
{
	(void)not_this;
	(void)key;
	(void)arg;
	return err_set(err, EBUSY, ERR_AGAIN, "rail %s: no VFs are known", rail->name);
}

static void vf_claimed(const char *device_key, bool taken, void *arg)
{
	(void)device_key;
	(void)taken;
	(void)arg;
}

static const struct ledger_vfs no_vfs = { no_vf, vf_claimed, NULL };

/* On another boot nobody knows how long the node was off: that time does not count as rest. */
static int era_load(struct ledger *ledger, struct err *err)
{
	bool same_boot;
	int r;

	r = store_begin(ledger->store, STORE_READ, err);
	if (r < 0)
		return r;
	ledger->era = era_get(ledger->store, ledger->boot_id, &same_boot);
	ledger->stored = ledger->era;
	r = store_check(ledger->store, err);
	store_abort(ledger->store);
	ledger->clock_offset_ms = (int64_t)ledger->era.ledger_ms;
	if (same_boot && (int64_t)ledger->era.boot_ms <= clock_boot_ms())
		ledger->clock_offset_ms -= (int64_t)ledger->era.boot_ms;
	ledger->clock_offset_then_ms = ledger->clock_offset_ms;
	return r;
}

static void ledger_closep(struct ledger **ledger)
{
	ledger_close(*ledger);
}

int ledger_open(const char *state, const char *boot_id, struct ledger **ret_ledger, struct err *err)
{
	CLEANUP(ledger_closep) struct ledger *ledger = calloc(1, sizeof(*ledger));
	struct err unread;
	int r;

	if (strlen(boot_id) > ERA_BOOT_ID_MAX)
		return err_set(err, EINVAL, ERR_INTERNAL, "boot id %s: is too long", boot_id);
	if (!ledger)
		return err_nomem(err);
	ledger->vfs = &no_vfs;
	ledger->boot_id = strdup(boot_id);
	if (!ledger->boot_id)
		return err_nomem(err);
	r = store_open(state, &ledger->store, err);
	if (r == 0)
		r = migrate(ledger->store, err);
	if (r == 0)
		r = era_load(ledger, err);
	if (r < 0)
		return r;
	/* The rails' counters are of these. If they cannot be read, who sets others is told. */
	(void)ledger_stored_pools(ledger, &ledger->pools, &unread);
	*ret_ledger = TAKE_PTR(ledger);
	return 0;
}

void ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return;
	store_close(ledger->store);
	pool_set_free(&ledger->pools);
	free(ledger->boot_id);
	free(ledger);
}

/* --- which ledger it is --- */

bool ledger_is_there(const char *state)
{
	CLEANUP_FREE char *path = NULL;
	struct stat there;

	if (asprintf(&path, "%s/data.mdb", state) < 0) {
		path = NULL;
		return true;
	}
	return stat(path, &there) < 0 ? errno != ENOENT : there.st_size > 0;
}

bool ledger_is_there_still(const struct ledger *ledger)
{
	return store_is_there(ledger->store);
}

static struct store_key name_key(void)
{
	struct store_key key = { 0 };

	store_key_text(&key, "name");
	return key;
}

int ledger_name(struct ledger *ledger, char ret_name[LEDGER_NAME_TEXT], struct err *err)
{
	struct store_key key = name_key();
	struct store_view value;
	int r;

	ret_name[0] = '\0';
	r = store_begin(ledger->store, STORE_READ, err);
	if (r < 0)
		return r;
	if (store_get(ledger->store, STORE_META, &key, &value))
		(void)snprintf(ret_name, LEDGER_NAME_TEXT, "%.*s", (int)value.len, value.data);
	r = store_check(ledger->store, err);
	store_abort(ledger->store);
	return r;
}

int ledger_give_name(struct ledger *ledger, char ret_name[LEDGER_NAME_TEXT], struct err *err)
{
	struct store_key key = name_key();
	uint64_t dice[2];
	int r;

	if (getrandom(dice, sizeof(dice), 0) != sizeof(dice))
		return err_sys(err, errno, ERR_INTERNAL, "get random bytes");
	(void)snprintf(ret_name, LEDGER_NAME_TEXT, "%016" PRIx64 "%016" PRIx64, dice[0], dice[1]);
	r = ledger_begin(ledger, err);
	if (r < 0)
		return r;
	store_put(ledger->store, STORE_META, &key, ret_name, strlen(ret_name));
	return ledger_commit(ledger, err);
}

bool ledger_has_attachments(const struct ledger *ledger)
{
	for (size_t i = 0; i < ATTACHMENT_STATES; i++) {
		if (ledger->era.counts[i])
			return true;
	}
	return false;
}

/* --- the clock --- */

int64_t ledger_now_ms(const struct ledger *ledger)
{
	return ledger->clock_offset_ms + clock_boot_ms();
}

bool ledger_is_rebooted(const struct ledger *ledger, uint64_t id)
{
	return id < ledger->era.first_id;
}

void ledger_set_vfs(struct ledger *ledger, const struct ledger_vfs *vfs)
{
	ledger->vfs = vfs;
}

/* Transactions */

int ledger_begin(struct ledger *ledger, struct err *err)
{
	return store_begin(ledger->store, STORE_WRITE, err);
}

/* What the batch has counted stands, or does not. */
static void batch_end(struct ledger *ledger, bool stands)
{
	if (stands) {
		ledger->stored = ledger->era;
		ledger->clock_offset_then_ms = ledger->clock_offset_ms;
		ledger->rebooted_then = ledger->rebooted;
	} else {
		ledger->era = ledger->stored;
		ledger->clock_offset_ms = ledger->clock_offset_then_ms;
		ledger->rebooted = ledger->rebooted_then;
		ledger->claim_due_ms = 0; /* nobody knows: look */
	}
}

int ledger_commit(struct ledger *ledger, struct err *err)
{
	int r;

	if (store_is_changed(ledger->store)) {
		ledger->era.boot_ms = (uint64_t)clock_boot_ms();
		ledger->era.ledger_ms = (uint64_t)ledger->clock_offset_ms + ledger->era.boot_ms;
		era_put(ledger->store, ledger->boot_id, &ledger->era);
	}
	r = store_commit(ledger->store, err);
	batch_end(ledger, r == 0);
	return r;
}

void ledger_abort(struct ledger *ledger)
{
	store_abort(ledger->store);
	batch_end(ledger, false);
}

bool ledger_is_broken(const struct err *err)
{
	return err->code == ERR_STORE && err->errnum == EIO;
}

uint64_t ledger_size(const struct ledger *ledger)
{
	return store_size(ledger->store);
}

bool ledger_is_tight(const struct ledger *ledger)
{
	return store_is_tight(ledger->store);
}

/* A read outside a batch has a transaction of its own, which ledger_read_end() ends. */
int ledger_read_begin(struct ledger *ledger, bool *ret_own, struct err *err)
{
	*ret_own = !store_is_open(ledger->store, STORE_WRITE);
	return *ret_own ? store_begin(ledger->store, STORE_READ, err) : 0;
}

void ledger_read_end(struct ledger *ledger, bool own)
{
	if (own)
		store_abort(ledger->store);
}

/* Records */

/* What record_find() has found, if it is of this boot. */
static int found_now(struct ledger *ledger, struct attachment *a, struct err *err)
{
	int r;

	if (!ledger_is_rebooted(ledger, a->id))
		return 0;
	if (store_is_open(ledger->store, STORE_WRITE))
		ledger_drop(ledger, a);
	attachment_free(a);
	r = store_check(ledger->store, err);
	return r < 0 ? r : -ENOENT;
}

int ledger_lookup(struct ledger *ledger, enum store_table table, const struct store_key *key,
		  enum record_part part, struct attachment *ret_a, struct err *err)
{
	struct attachment a;
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = record_find(ledger->store, table, key, part, &a, err);
	if (r == 0)
		r = found_now(ledger, &a, err);
	if (r == 0)
		*ret_a = a;
	ledger_read_end(ledger, own);
	return r;
}

/* The id of the record of this boot that an entry leads to; 0 if there is none. */
uint64_t ledger_owner(struct ledger *ledger, enum store_table table, const struct store_key *key)
{
	uint64_t id = record_id(ledger->store, table, key);
	struct attachment a;
	struct err err;

	if (!id || !ledger_is_rebooted(ledger, id))
		return id;
	if (ledger_lookup(ledger, table, key, RECORD_HEAD, &a, &err) != -ENOENT)
		store_fail(ledger->store, table, "a record of an earlier boot cannot be dropped");
	return 0;
}

int ledger_find(struct ledger *ledger, const struct attachment_key *key, struct attachment *ret_a,
		struct err *err)
{
	struct store_key by_key = record_by_key(key);

	return ledger_lookup(ledger, STORE_BY_KEY, &by_key, RECORD_HEAD, ret_a, err);
}

int ledger_find_whole(struct ledger *ledger, const struct attachment_key *key,
		      struct attachment *ret_a, struct err *err)
{
	struct store_key by_key = record_by_key(key);

	return ledger_lookup(ledger, STORE_BY_KEY, &by_key, RECORD_WHOLE, ret_a, err);
}

int ledger_find_text(struct ledger *ledger, const struct attachment_key *key, char **ret_text,
		     struct err *err)
{
	struct store_key by_key = record_by_key(key);
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	if (ledger_is_rebooted(ledger, record_id(ledger->store, STORE_BY_KEY, &by_key)))
		r = store_check(ledger->store, err) < 0 ? -err->errnum : -ENOENT;
	else
		r = record_text(ledger->store, STORE_BY_KEY, &by_key, ret_text, err);
	ledger_read_end(ledger, own);
	return r;
}

int ledger_find_device(struct ledger *ledger, const char *device_key, struct attachment *ret_a,
		       struct err *err)
{
	struct store_key by_device = record_by_device(device_key);

	return ledger_lookup(ledger, STORE_BY_DEVICE, &by_device, RECORD_HEAD, ret_a, err);
}

int ledger_find_pod(struct ledger *ledger, const char *uid, const struct attachment_key *key,
		    struct attachment *ret_a, struct err *err)
{
	struct store_key by_pod = record_by_pod(uid, key);

	return ledger_lookup(ledger, STORE_BY_POD, &by_pod, RECORD_HEAD, ret_a, err);
}

int ledger_find_pod_other(struct ledger *ledger, const char *uid, const char *container_id,
			  struct attachment *ret_a, struct err *err)
{
	struct store_key key = { 0 };
	struct attachment a;
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	while ((r = record_next_of_pod(ledger->store, uid, &key, &a, err)) == 0) {
		bool other = strcmp(a.container_id, container_id) != 0;

		r = found_now(ledger, &a, err);
		if (r < 0 && r != -ENOENT)
			break;
		if (r == 0 && other) {
			*ret_a = a;
			break;
		}
		if (r == 0)
			attachment_free(&a);
	}
	ledger_read_end(ledger, own);
	return r;
}

static bool is_namesake(const struct attachment *a, const struct reserve_request *request)
{
	const struct pod_ref *pod = &request->pod;

	return pod->name[0] && strcmp(a->pod.name, pod->name) == 0 &&
	       strcmp(a->pod.namespace, pod->namespace) == 0 &&
	       !(pod->uid[0] && strcmp(a->pod.uid, pod->uid) == 0);
}

/* An identity that very many have at once is nobody's. */
enum { NAMESAKES_MAX = 64 };

int ledger_find_namesake(struct ledger *ledger, const struct reserve_request *request,
			 struct attachment *ret_a, struct err *err)
{
	const struct pool *pool = request->pool ? pool_find(&ledger->pools, request->pool) : NULL;
	const struct identity identity = { request->pod.namespace, request->sticky };
	CLEANUP(attachment_free) struct attachment found = { 0 };
	struct store_key key = { 0 };
	int r = 0;

	if (!request->sticky || !pool || !pool->sticky_ms || request->ip_count ||
	    request->has_index)
		return -ENOENT;
	for (int i = 0; r == 0 && i < NAMESAKES_MAX; i++) {
		CLEANUP(attachment_free) struct attachment a = { 0 };

		r = record_next_of_identity(ledger->store, &identity, &key, &a, err);
		if (r < 0 || ledger_is_rebooted(ledger, a.id))
			continue;
		if (strcmp(a.container_id, request->key.container_id) == 0)
			return -ENOENT;
		if (!found.id && is_namesake(&a, request)) {
			found = a;
			a = (struct attachment) { 0 };
		}
	}
	if (r < 0 && r != -ENOENT)
		return r;
	if (!found.id)
		return -ENOENT;
	*ret_a = found;
	found = (struct attachment) { 0 };
	return 0;
}

int ledger_find_id(struct ledger *ledger, uint64_t id, struct attachment *ret_a, struct err *err)
{
	bool own;
	int r;

	if (ledger_is_rebooted(ledger, id))
		return -ENOENT;
	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = record_get(ledger->store, id, ret_a, err);
	ledger_read_end(ledger, own);
	return r;
}

int ledger_next(struct ledger *ledger, uint64_t after, struct attachment *ret_a, struct err *err)
{
	bool own;
	int r;

	if (ledger_is_rebooted(ledger, after))
		after = ledger->era.first_id - 1;
	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = record_next(ledger->store, after, RECORD_WHOLE, ret_a, err);
	ledger_read_end(ledger, own);
	return r;
}

int ledger_devices_each(struct ledger *ledger, void (*visit)(const struct attachment *a, void *arg),
			void *arg, struct err *err)
{
	struct store_key key = { 0 };
	struct attachment a;
	uint64_t id;
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	for (; r == 0 && record_seek_device(ledger->store, &key, &id); store_key_next(&key)) {
		if (ledger_is_rebooted(ledger, id)) /* or only claimed */
			continue;
		r = record_find(ledger->store, STORE_BY_DEVICE, &key, RECORD_HEAD, &a, err);
		if (r < 0)
			break;
		visit(&a, arg);
		attachment_free(&a);
	}
	if (r == 0)
		r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
	return r;
}

int ledger_next_brief(struct ledger *ledger, struct ledger_brief *brief, struct err *err)
{
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	if (record_next_brief(ledger->store, brief)) {
		brief->this_boot = !ledger_is_rebooted(ledger, brief->id);
	} else {
		r = store_check(ledger->store, err);
		r = r < 0 ? r : -ENOENT;
	}
	ledger_read_end(ledger, own);
	return r;
}

int ledger_counts(struct ledger *ledger, struct ledger_counts *ret_counts, struct err *err)
{
	const uint64_t *counts = ledger->era.counts;
	struct ledger_counts now = {
		.unfinished = counts[ATTACHMENT_UNFINISHED],
		.attached = counts[ATTACHMENT_ATTACHED],
		.dirty = counts[ATTACHMENT_DIRTY],
		.unconfirmed = counts[ATTACHMENT_UNCONFIRMED],
	};
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	now.rebooted = store_count(ledger->store, STORE_RECORD) - now.unfinished - now.attached -
		       now.dirty - now.unconfirmed;
	r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
	if (r == 0)
		*ret_counts = now;
	return r;
}

uint64_t ledger_rebooted(const struct ledger *ledger)
{
	return ledger->rebooted;
}

/* GUIDs */

int ledger_guid_of(struct ledger *ledger, const char *device_key, uint64_t *ret_guid,
		   struct err *err)
{
	uint64_t guid;
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	guid = guid_of(ledger->store, device_key);
	r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
	if (r < 0)
		return r;
	if (!guid)
		return -ENOENT;
	*ret_guid = guid;
	return 0;
}

int ledger_guid_assign(struct ledger *ledger, const struct rail *rail, const char *device_key,
		       uint64_t *ret_guid, struct err *err)
{
	struct store_key by_device = record_by_device(device_key);
	uint64_t own;

	/* In use, it is on the fabric: nobody else may get that GUID now. */
	if (ledger_owner(ledger, STORE_BY_DEVICE, &by_device)) {
		own = guid_of(ledger->store, device_key);
		if (own) {
			*ret_guid = own;
			return store_check(ledger->store, err);
		}
	}
	return guid_assign(ledger->store, rail, device_key, ret_guid, err);
}

int ledger_guid_each(struct ledger *ledger,
		     void (*visit)(uint64_t guid, const char *owner, void *arg), void *arg,
		     struct err *err)
{
	char owner[GUID_OWNER_MAX];
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	for (uint64_t guid = 0; guid_next(ledger->store, &guid, owner); guid++)
		visit(guid, owner, arg);
	r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
	return r;
}

/* Figures */

int ledger_usage(struct ledger *ledger, const struct pool *pool, const struct rail *rail,
		 struct rail_usage *ret_usage, struct err *err)
{
	struct rail_usage usage;
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	allot_usage(ledger->store, pool, rail, ledger_now_ms(ledger), &usage);
	r = store_check(ledger->store, err);
	if (r == 0)
		*ret_usage = usage;
	ledger_read_end(ledger, own);
	return r;
}

int ledger_history(struct ledger *ledger, const struct history_query *query,
		   struct history_page *ret_page, struct err *err)
{
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = history_find(ledger->store, query, ret_page, err);
	ledger_read_end(ledger, own);
	return r;
}

/* The whole of it */

int ledger_fork(struct ledger *ledger, struct ledger **ret_reader, struct err *err)
{
	CLEANUP(ledger_closep) struct ledger *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return err_nomem(err);
	reader->boot_id = strdup(ledger->boot_id);
	if (!reader->boot_id)
		return err_nomem(err);
	r = store_fork(ledger->store, &reader->store, err);
	if (r == 0)
		r = era_load(reader, err);
	if (r == 0)
		r = ledger_stored_pools(reader, &reader->pools, err);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_reader = TAKE_PTR(reader);
	return 0;
}

int ledger_audit(struct ledger *ledger, const atomic_bool *cancel, struct audit *ret_audit,
		 struct err *err)
{
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = audit_store(ledger->store, cancel, ret_audit, err);
	ledger_read_end(ledger, own);
	return r;
}

int ledger_dump(struct ledger *reader, const char *node, struct dump **ret_dump, struct err *err)
{
	int r;

	r = store_begin(reader->store, STORE_READ, err);
	return r < 0 ? r : dump_new(reader->store, node, reader->boot_id, ret_dump, err);
}
