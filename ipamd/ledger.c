/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs, each inside a transaction of the store: record.c, allot.c and history.c write what it
 * changes, edit.c judges new pools. And the clock. Nothing that is asked for is kept in memory.
 *
 * Ledger time is the time that the node has been up since the store was made, so far as the daemon
 * knows: what was persisted, and the BOOTTIME passed since. Wall-clock jumps do not touch it.
 */
#include "ipamd/ledger.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "ipamd/allot.h"
#include "ipamd/choice.h"
#include "ipamd/claim.h"
#include "ipamd/edit.h"
#include "ipamd/era.h"
#include "ipamd/guid.h"
#include "ipamd/history.h"
#include "ipamd/migrate.h"
#include "ipamd/record.h"
#include "ipamd/sticky.h"
#include "ipamd/store.h"

struct ledger {
	struct store *store;
	char *boot_id;
	struct pool_set pools;
	int64_t clock_offset_ms;          /* ledger time - BOOTTIME */
	int64_t clock_offset_then_ms;     /* as the last batch left it; likewise below */
	struct era era, stored;           /* of this batch, and as the last one left it */
	uint64_t rebooted, rebooted_then; /* records dropped: likewise */
	const struct ledger_vfs *vfs;
	int64_t claim_due_ms; /* ledger time: no claim ends before it */
};

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

static int64_t ledger_now_ms(const struct ledger *ledger)
{
	return ledger->clock_offset_ms + clock_boot_ms();
}

static struct store_key meta_key(const char *name)
{
	struct store_key key = { 0 };

	store_key_text(&key, name);
	return key;
}

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

bool ledger_is_tight(const struct ledger *ledger)
{
	return store_is_tight(ledger->store);
}

/* A read outside a batch has a transaction of its own, which read_end() ends. */
static int read_begin(struct ledger *ledger, bool *ret_own, struct err *err)
{
	*ret_own = !store_is_open(ledger->store, STORE_WRITE);
	return *ret_own ? store_begin(ledger->store, STORE_READ, err) : 0;
}

static void read_end(struct ledger *ledger, bool own)
{
	if (own)
		store_abort(ledger->store);
}

/* Claims */

void ledger_set_vfs(struct ledger *ledger, const struct ledger_vfs *vfs)
{
	ledger->vfs = vfs;
}

static bool is_rebooted(const struct ledger *ledger, uint64_t id)
{
	return id < ledger->era.first_id;
}

/* Nobody has used what was claimed, so no peer has cached it: it need not rest. */
static void claim_end(struct ledger *ledger, const char *container_id, const char *pool_name,
		      struct claim *claim)
{
	const struct pool *pool = pool_find(&ledger->pools, pool_name);
	int64_t since_ms = allot_rested_ms(pool, ledger_now_ms(ledger));

	for (size_t i = 0; i < claim->count; i++) {
		const struct claim_rail *place = &claim->rails[i];

		allot_unclaim(ledger->store, pool_name, &place->rail, claim->id, since_ms);
		if (!place->device[0])
			continue;
		claim_free_device(ledger->store, place->device);
		ledger->vfs->claimed(place->device, false, ledger->vfs->arg);
	}
	claim->count = 0;
	claim_put(ledger->store, container_id, pool_name, claim);
}

/* A claim ends with the last attachment of its container on its pool. */
static void claim_end_if_last(struct ledger *ledger, const struct attachment *gone)
{
	struct store_key key = { 0 };
	struct record_ref ref;
	struct claim claim;

	if (!claim_get(ledger->store, gone->container_id, gone->pool, &claim))
		return;
	while (record_next_of(ledger->store, gone->container_id, &key, &ref)) {
		if (!is_rebooted(ledger, ref.id) && strcmp(ref.pool, gone->pool) == 0)
			return;
	}
	claim_end(ledger, gone->container_id, gone->pool, &claim);
}

static void claim_drop_rebooted(struct ledger *ledger, const char *container_id, const char *pool)
{
	struct claim claim;

	if (claim_get(ledger->store, container_id, pool, &claim) && is_rebooted(ledger, claim.id))
		claim_end(ledger, container_id, pool, &claim);
}

int ledger_device_is_free(struct ledger *ledger, const char *device_key, bool *ret_free,
			  struct err *err)
{
	struct store_key by_device = record_by_device(device_key);
	struct store_view value;
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	*ret_free =
		!store_get(ledger->store, STORE_BY_DEVICE, &by_device, &value) ||
		(value.len == sizeof(uint64_t) && is_rebooted(ledger, store_view_u64(&value, 0)));
	r = store_check(ledger->store, err);
	read_end(ledger, own);
	return r;
}

int ledger_claimed_device(struct ledger *ledger, const struct reserve_request *request,
			  char device_key[PROTO_DEVICE_MAX], struct err *err)
{
	struct claim claim;
	int place = -1, r;
	bool own;

	if (!request->pool || !request->rail)
		return -ENOENT;
	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	if (claim_get(ledger->store, request->key.container_id, request->pool, &claim) &&
	    !is_rebooted(ledger, claim.id))
		place = claim_find(&claim, request->rail);
	r = store_check(ledger->store, err);
	read_end(ledger, own);
	if (r < 0)
		return r;
	if (place < 0 || !claim.rails[place].device[0])
		return -ENOENT;
	memcpy(device_key, claim.rails[place].device, PROTO_DEVICE_MAX);
	return 0;
}

int ledger_claimed_each(struct ledger *ledger, void (*visit)(const char *device_key, void *arg),
			void *arg, struct err *err)
{
	struct store_key key = { 0 };
	struct claim_name name;
	struct claim claim;
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	while (claim_next(ledger->store, &key, &name, &claim)) {
		for (size_t i = 0; i < claim.count; i++) {
			if (claim.rails[i].device[0])
				visit(claim.rails[i].device, arg);
		}
	}
	r = store_check(ledger->store, err);
	read_end(ledger, own);
	return r;
}

bool ledger_claims_due(const struct ledger *ledger)
{
	return ledger_now_ms(ledger) >= ledger->claim_due_ms;
}

int ledger_claims_sweep(struct ledger *ledger, size_t *ret_count, struct err *err)
{
	int64_t now_ms = ledger_now_ms(ledger), due_ms = INT64_MAX;
	struct store_key key = { 0 };
	struct claim_name name;
	struct claim claim;
	size_t count = 0;
	int r;

	while (claim_next(ledger->store, &key, &name, &claim)) {
		if (claim.expiry_ms <= now_ms || is_rebooted(ledger, claim.id)) {
			claim_end(ledger, name.container_id, name.pool, &claim);
			count++;
		} else if (claim.expiry_ms < due_ms) {
			due_ms = claim.expiry_ms;
		}
	}
	r = store_check(ledger->store, err);
	if (r < 0)
		return r;
	ledger->claim_due_ms = due_ms;
	*ret_count = count;
	return 0;
}

/* Records */

/* The pod that this index was remembered for has it, or has just left it. */
static bool is_kept_for(struct ledger *ledger, const struct attachment *a, const struct sticky *had)
{
	const struct pool *pool = pool_find(&ledger->pools, a->pool);
	const struct rail *rail = pool ? pool_rail(pool, a->rail.name) : NULL;
	CLEANUP(attachment_free) struct attachment holder = { 0 };
	struct lease lease;
	struct err err;

	if (!rail)
		return false;
	lease = allot_look(ledger->store, pool, rail, had->index).before;
	if (lease.state == LEASE_RESTING)
		return lease.since_ms == had->last_ms;
	return lease.state == LEASE_HELD &&
	       record_get(ledger->store, lease.holder, &holder, &err) == 0 &&
	       strcmp(holder.sticky, a->sticky) == 0;
}

/* Of two that live under one identity the first keeps its index. */
static void sticky_note(struct ledger *ledger, const struct attachment *a, int64_t now_ms)
{
	struct sticky had;

	if (sticky_find(ledger->store, a->pool, a->rail.name, a->sticky, &had) && had.here &&
	    had.index != a->rail.index && is_kept_for(ledger, a, &had))
		return;
	sticky_put(ledger->store, a->pool, a->rail.name, a->sticky, a->rail.index, now_ms);
}

/* The index begins to rest, and is remembered; what the pod has claimed beside it may go. */
static void index_release(struct ledger *ledger, const struct attachment *a)
{
	int64_t now_ms = ledger_now_ms(ledger);

	allot_release(ledger->store, &ledger->pools, a->pool, &a->rail, a->id, now_ms);
	if (a->sticky[0])
		sticky_note(ledger, a, now_ms);
	claim_end_if_last(ledger, a);
}

/* All that a record has is free again; history says why. */
static void record_forget(struct ledger *ledger, const struct attachment *a, const char *reason)
{
	record_delete(ledger->store, a);
	if (a->guid)
		guid_release(ledger->store, a->guid, a->id);
	if (a->pool[0])
		index_release(ledger, a);
	history_add(ledger->store, "released", a, reason);
}

/* Nothing is left of a pod of an earlier boot, and its devices are as the kernel has made them. */
static void drop_rebooted(struct ledger *ledger, const struct attachment *a)
{
	record_forget(ledger, a, "reboot");
	ledger->rebooted++;
}

/* What record_find() has found, if it is of this boot. */
static int found_now(struct ledger *ledger, struct attachment *a, struct err *err)
{
	int r;

	if (!is_rebooted(ledger, a->id))
		return 0;
	if (store_is_open(ledger->store, STORE_WRITE))
		drop_rebooted(ledger, a);
	attachment_free(a);
	r = store_check(ledger->store, err);
	return r < 0 ? r : -ENOENT;
}

static int ledger_lookup(struct ledger *ledger, enum store_table table, const struct store_key *key,
			 struct attachment *ret_a, struct err *err)
{
	struct attachment a;
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = record_find(ledger->store, table, key, &a, err);
	if (r == 0)
		r = found_now(ledger, &a, err);
	if (r == 0)
		*ret_a = a;
	read_end(ledger, own);
	return r;
}

int ledger_find(struct ledger *ledger, const struct attachment_key *key, struct attachment *ret_a,
		struct err *err)
{
	struct store_key by_key = record_by_key(key);

	return ledger_lookup(ledger, STORE_BY_KEY, &by_key, ret_a, err);
}

int ledger_find_text(struct ledger *ledger, const struct attachment_key *key, char **ret_text,
		     struct err *err)
{
	struct store_key by_key = record_by_key(key);
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	if (is_rebooted(ledger, record_id(ledger->store, STORE_BY_KEY, &by_key)))
		r = store_check(ledger->store, err) < 0 ? -err->errnum : -ENOENT;
	else
		r = record_text(ledger->store, STORE_BY_KEY, &by_key, ret_text, err);
	read_end(ledger, own);
	return r;
}

int ledger_find_device(struct ledger *ledger, const char *device_key, struct attachment *ret_a,
		       struct err *err)
{
	struct store_key by_device = record_by_device(device_key);

	return ledger_lookup(ledger, STORE_BY_DEVICE, &by_device, ret_a, err);
}

int ledger_find_pod(struct ledger *ledger, const char *uid, const struct attachment_key *key,
		    struct attachment *ret_a, struct err *err)
{
	struct store_key by_pod = record_by_pod(uid, key);

	return ledger_lookup(ledger, STORE_BY_POD, &by_pod, ret_a, err);
}

int ledger_find_pod_other(struct ledger *ledger, const char *uid, const char *container_id,
			  struct attachment *ret_a, struct err *err)
{
	struct store_key key = { 0 };
	struct attachment a;
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
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
	read_end(ledger, own);
	return r;
}

int ledger_find_id(struct ledger *ledger, uint64_t id, struct attachment *ret_a, struct err *err)
{
	bool own;
	int r;

	if (is_rebooted(ledger, id))
		return -ENOENT;
	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = record_get(ledger->store, id, ret_a, err);
	read_end(ledger, own);
	return r;
}

int ledger_next(struct ledger *ledger, uint64_t after, struct attachment *ret_a, struct err *err)
{
	bool own;
	int r;

	if (is_rebooted(ledger, after))
		after = ledger->era.first_id - 1;
	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = record_next(ledger->store, after, ret_a, err);
	read_end(ledger, own);
	return r;
}

int ledger_next_brief(struct ledger *ledger, struct ledger_brief *brief, struct err *err)
{
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	if (record_next_brief(ledger->store, brief)) {
		brief->this_boot = !is_rebooted(ledger, brief->id);
	} else {
		r = store_check(ledger->store, err);
		r = r < 0 ? r : -ENOENT;
	}
	read_end(ledger, own);
	return r;
}

int ledger_counts(struct ledger *ledger, struct ledger_counts *ret_counts, struct err *err)
{
	const uint64_t *counts = ledger->era.counts;
	struct ledger_counts now = {
		.unfinished = counts[ATTACHMENT_UNFINISHED],
		.attached = counts[ATTACHMENT_ATTACHED],
		.dirty = counts[ATTACHMENT_DIRTY],
	};
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	now.rebooted = store_count(ledger->store, STORE_RECORD) - now.unfinished - now.attached -
		       now.dirty;
	r = store_check(ledger->store, err);
	read_end(ledger, own);
	if (r == 0)
		*ret_counts = now;
	return r;
}

int ledger_drop_rebooted(struct ledger *ledger, size_t limit, size_t *ret_count, struct err *err)
{
	struct attachment a;
	size_t count;
	int r;

	for (count = 0; count < limit; count++) {
		r = record_next(ledger->store, 0, &a, err);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == -ENOENT || !is_rebooted(ledger, a.id)) {
			if (r == 0)
				attachment_free(&a);
			break;
		}
		drop_rebooted(ledger, &a);
		attachment_free(&a);
	}
	*ret_count = count;
	return store_check(ledger->store, err);
}

uint64_t ledger_rebooted(const struct ledger *ledger)
{
	return ledger->rebooted;
}

/* Reserve */

/* The id of the record of this boot that an entry leads to; 0 if there is none. */
static uint64_t owner_of(struct ledger *ledger, enum store_table table, const struct store_key *key)
{
	uint64_t id = record_id(ledger->store, table, key);
	struct attachment a;
	struct err err;

	if (!id || !is_rebooted(ledger, id))
		return id;
	if (ledger_lookup(ledger, table, key, &a, &err) != -ENOENT)
		store_fail(ledger->store, table, "a record of an earlier boot cannot be dropped");
	return 0;
}

/* A key and a device have one owner each. */
static int reserve_check_free(struct ledger *ledger, const struct reserve_request *request,
			      const struct baseline *device, struct err *err)
{
	struct store_key by_key = record_by_key(&request->key);
	uint64_t id;

	id = owner_of(ledger, STORE_BY_KEY, &by_key);
	if (id)
		return err_set(err, EEXIST, ERR_AGAIN,
			       "reserve %s of container %s on network %s: attachment %llu has it",
			       request->key.ifname, request->key.container_id, request->key.network,
			       (unsigned long long)id);
	if (device) {
		struct store_key by_device = record_by_device(device->key);

		id = owner_of(ledger, STORE_BY_DEVICE, &by_device);
	}
	if (id)
		return err_set(err, EEXIST, ERR_AGAIN, "reserve device %s: attachment %llu has it",
			       device->key, (unsigned long long)id);
	return store_check(ledger->store, err);
}

/* What the ledger gives to a reservation. */
struct found {
	const struct rail *rail;
	struct choice choice; /* without a rail: no address was asked for */
	uint64_t guid;
};

/* A VF that a pod has claimed is that pod's, on the rail that it was claimed for. */
static int reserve_check_claimed(struct ledger *ledger, const struct reserve_request *request,
				 const struct rail *rail, const char *device_key, struct err *err)
{
	struct claim_name name;
	struct claim claim;
	int place;

	if (!device_key[0] || !claim_of_device(ledger->store, device_key, &name))
		return store_check(ledger->store, err);
	claim_drop_rebooted(ledger, name.container_id, name.pool);
	if (!claim_get(ledger->store, name.container_id, name.pool, &claim))
		return store_check(ledger->store, err);
	place = rail ? claim_find(&claim, rail->name) : -1;
	if (place >= 0 && request->pool && strcmp(request->pool, name.pool) == 0 &&
	    strcmp(request->key.container_id, name.container_id) == 0 &&
	    strcmp(claim.rails[place].device, device_key) == 0)
		return 0;
	return err_set(err, EBUSY, ERR_AGAIN, "reserve device %s: container %s has claimed it",
		       device_key, name.container_id);
}

static struct choice_ask choice_ask(const struct ledger *ledger,
				    const struct reserve_request *request, const struct rail *rail,
				    const char *device_key)
{
	return (struct choice_ask) {
		.store = ledger->store,
		.pool = pool_find(&ledger->pools, request->pool),
		.rail = rail,
		.request = request,
		.device_key = device_key,
		.first_id = ledger->era.first_id,
		.now_ms = ledger_now_ms(ledger),
	};
}

static int reserve_find(struct ledger *ledger, const struct reserve_request *request,
			const char *device_key, struct found *found, struct err *err)
{
	struct choice_ask ask;
	int r;

	r = reserve_check_claimed(ledger, request, found->rail, device_key, err);
	if (r == 0 && request->guid)
		r = guid_check(ledger->store, request->guid, device_key, err);
	else if (r == 0 && device_key[0])
		found->guid = guid_of(ledger->store, device_key);
	if (r < 0 || !request->pool)
		return r;
	claim_drop_rebooted(ledger, request->key.container_id, request->pool);
	ask = choice_ask(ledger, request, found->rail, device_key);
	return choice_make(&ask, ledger->vfs, &found->choice, err);
}

/* The new record, with everything borrowed from @request and @device. */
static struct attachment reserve_record(const struct ledger *ledger,
					const struct reserve_request *request,
					const struct baseline *device, const struct found *found)
{
	const struct allotment *choice = &found->choice.own;
	struct attachment a = {
		.id = ledger->era.next_id,
		.generation = ledger->era.next_id,
		.state = ATTACHMENT_UNFINISHED,
		.network = (char *)request->key.network,
		.container_id = (char *)request->key.container_id,
		.ifname = (char *)request->key.ifname,
		.pod = request->pod,
		.netns = request->netns,
		.boot_id = ledger->boot_id,
		.program = (char *)request->program,
		.env = request->env,
		.netconf = request->netconf,
		.guid = found->guid,
		.pkey = request->pkey,
		.reserved_at_ms = clock_wall_ms(),
		.boot_time_ms = clock_boot_ms(),
	};

	if (device)
		a.device = *device;
	if (!a.pkey && found->rail)
		a.pkey = found->rail->pkey;
	if (request->sticky)
		(void)snprintf(a.sticky, sizeof(a.sticky), "%s", request->sticky);
	if (choice->rail) {
		(void)snprintf(a.pool, sizeof(a.pool), "%s", choice->pool->name);
		(void)snprintf(a.rail.name, sizeof(a.rail.name), "%s", choice->rail->name);
		a.rail.number = (int)(choice->rail - choice->pool->rails);
		a.rail.index = choice->index;
		rail_config(choice->rail, choice->index, &a.net);
	}
	return a;
}

static void reserve_take(struct ledger *ledger, const struct reserve_request *request,
			 const struct attachment *a, struct found *found)
{
	struct choice_ask ask = choice_ask(ledger, request, found->rail, a->device.key);
	struct choice *choice = &found->choice;
	bool claims = choice->added_count > 0;

	choice_take(&ask, choice, a->id, ledger->era.next_id, ledger->vfs);
	if (claims && choice->is_new)
		ledger->era.next_id++;
	if (claims && choice->claim.expiry_ms < ledger->claim_due_ms)
		ledger->claim_due_ms = choice->claim.expiry_ms;
}

static int reserve_write(struct ledger *ledger, const struct reserve_request *request,
			 const struct attachment *a, struct found *found, struct attachment *ret_a,
			 struct err *err)
{
	CLEANUP(attachment_free) struct attachment copy = { 0 };
	int r;

	r = attachment_copy(a, &copy, err);
	if (r == 0)
		r = record_add(ledger->store, a, err);
	if (r < 0) {
		choice_drop(&found->choice, ledger->vfs);
		return r;
	}
	ledger->era.next_id++;
	ledger->era.counts[a->state]++;
	if (found->choice.rail)
		reserve_take(ledger, request, a, found);
	if (request->guid)
		guid_take(ledger->store, a->guid, a->id);
	history_add(ledger->store, "reserved", a, "");
	r = store_check(ledger->store, err);
	if (r < 0)
		return r;
	*ret_a = copy;
	copy = (struct attachment) { 0 };
	return 0;
}

/* On a full disk the room that is left is for releases. */
static int reserve_check_room(const struct ledger *ledger, struct err *err)
{
	if (!store_is_tight(ledger->store))
		return 0;
	(void)err_set(err, ENOSPC, ERR_AGAIN, "reserve: the disk is full");
	err_details(err, "the file system of %s is full: make room there; releases go on",
		    store_path(ledger->store));
	return -ENOSPC;
}

int ledger_reserve(struct ledger *ledger, const struct reserve_request *request,
		   const struct baseline *device, struct attachment *ret_a, struct err *err)
{
	struct found found = { .guid = request->guid };
	struct attachment a;
	int r;

	r = reserve_check_room(ledger, err);
	if (r == 0)
		r = reserve_check_free(ledger, request, device, err);
	if (r == 0)
		r = allot_choose_rail(&ledger->pools, request, device, &found.rail, err);
	if (r == 0)
		r = reserve_find(ledger, request, device ? device->key : "", &found, err);
	if (r < 0)
		return r;
	a = reserve_record(ledger, request, device, &found);
	return reserve_write(ledger, request, &a, &found, ret_a, err);
}

/* Done and release */

static void count_change(struct ledger *ledger, enum attachment_state was, enum attachment_state is)
{
	ledger->era.counts[was]--;
	ledger->era.counts[is]++;
}

int ledger_done(struct ledger *ledger, const struct attachment_key *key, uint64_t generation,
		const struct facts *facts, struct err *err)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	enum attachment_state was;
	int r;

	r = ledger_find(ledger, key, &a, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || a.generation != generation || a.state == ATTACHMENT_DIRTY)
		return err_set(err, ESTALE, ERR_AGAIN,
			       "finish %s of container %s on network %s: the reservation is gone",
			       key->ifname, key->container_id, key->network);
	was = a.state;
	a.state = ATTACHMENT_ATTACHED;
	a.facts = *facts;
	r = record_put(ledger->store, &a, err);
	if (r < 0)
		return r;
	count_change(ledger, was, a.state);
	history_add(ledger->store, "finished", &a, "");
	return store_check(ledger->store, err);
}

/* The record stays, for reconcile; of its addresses it keeps what is not released. */
static int release_to_dirty(struct ledger *ledger, struct attachment *a, bool left,
			    const char *reason, struct err *err)
{
	struct attachment dirty = *a; /* shares what it points to */
	int r;

	dirty.state = ATTACHMENT_DIRTY;
	if (left) {
		dirty.pool[0] = '\0';
		dirty.rail = (struct rail_ref) { 0 };
		dirty.net = (struct ip_config) { 0 };
	}
	r = record_put(ledger->store, &dirty, err);
	if (r < 0)
		return r;
	count_change(ledger, a->state, dirty.state);
	if (left && a->pool[0])
		index_release(ledger, a);
	history_add(ledger->store, "dirty", a, reason);
	return store_check(ledger->store, err);
}

int ledger_release(struct ledger *ledger, const struct attachment_key *key, uint64_t generation,
		   bool left, bool restored, const char *reason, struct attachment *ret_was,
		   bool *ret_gone, struct err *err)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	bool gone = true;
	int r;

	r = ledger_find(ledger, key, &a, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || a.generation != generation) {
		attachment_free(&a);
		r = 0;
	} else if (left && (restored || !a.device.key[0])) {
		record_forget(ledger, &a, reason);
		ledger->era.counts[a.state]--;
		r = store_check(ledger->store, err);
	} else {
		gone = false;
		/* Reconcile tries again and again: what changes nothing is not written. */
		if (a.state != ATTACHMENT_DIRTY || (left && a.pool[0]))
			r = release_to_dirty(ledger, &a, left, reason, err);
	}
	if (r < 0)
		return r;
	*ret_gone = gone;
	if (ret_was) {
		*ret_was = a;
		a = (struct attachment) { 0 };
	}
	return 0;
}

/* GUIDs */

int ledger_guid_of(struct ledger *ledger, const char *device_key, uint64_t *ret_guid,
		   struct err *err)
{
	uint64_t guid;
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	guid = guid_of(ledger->store, device_key);
	r = store_check(ledger->store, err);
	read_end(ledger, own);
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
	if (owner_of(ledger, STORE_BY_DEVICE, &by_device)) {
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

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	for (uint64_t guid = 0; guid_next(ledger->store, &guid, owner); guid++)
		visit(guid, owner, arg);
	r = store_check(ledger->store, err);
	read_end(ledger, own);
	return r;
}

/* Pools */

int ledger_find_rail(const struct ledger *ledger, const struct reserve_request *request,
		     const struct rail **ret_rail, struct err *err)
{
	return allot_find_rail(&ledger->pools, request, ret_rail, err);
}

const struct pool_set *ledger_pools(const struct ledger *ledger)
{
	return &ledger->pools;
}

int ledger_stored_pools(struct ledger *ledger, struct pool_set *ret_set, struct err *err)
{
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = edit_load(ledger->store, ret_set, err);
	read_end(ledger, own);
	return r;
}

/* True if the store has these very pools: the usual start, which then looks at no record. */
static bool pools_are_stored(struct ledger *ledger, const char *text)
{
	struct store_key key = meta_key("pools");
	struct store_view value;

	return store_get(ledger->store, STORE_META, &key, &value) && value.len == strlen(text) &&
	       memcmp(value.data, text, value.len) == 0;
}

static int pools_store(struct ledger *ledger, const struct pool_set *set, struct err *err)
{
	CLEANUP_JSON json_t *json = json_pack("{s:O}", "pools", set->source);
	CLEANUP_FREE char *text = json ? json_line(json) : NULL;
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	CLEANUP(pool_set_free) struct pool_set before = { 0 };
	struct store_key key = meta_key("pools");
	int r;

	if (!text)
		return err_nomem(err);
	if (pools_are_stored(ledger, text))
		return 0;
	r = edit_load(ledger->store, &before, err);
	if (r < 0 && r != -ENOENT)
		return r;
	r = edit_check(ledger->store, ledger->era.first_id, &before, set, &held, err);
	if (r < 0)
		return r;
	allot_edit(ledger->store, &held);
	store_put(ledger->store, STORE_META, &key, text, strlen(text));
	return 0;
}

int ledger_set_pools(struct ledger *ledger, struct pool_set *set, struct err *err)
{
	int r;

	r = ledger_begin(ledger, err);
	if (r < 0)
		return r;
	r = pools_store(ledger, set, err);
	if (r < 0) {
		ledger_abort(ledger);
		return r;
	}
	r = ledger_commit(ledger, err);
	if (r < 0)
		return r;
	pool_set_free(&ledger->pools);
	ledger->pools = *set;
	*set = (struct pool_set) { 0 };
	return 0;
}

int ledger_try_pools(struct ledger *ledger, const struct pool_set *set, struct rails_held *ret_held,
		     struct err *err)
{
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = edit_check(ledger->store, ledger->era.first_id, &ledger->pools, set, ret_held, err);
	read_end(ledger, own);
	return r;
}

int ledger_draining(struct ledger *ledger, struct rails_held *ret_held, struct err *err)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	struct store_key key = { 0 };
	struct rail_held rail;
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	while (r == 0 && allot_next_draining(ledger->store, &key, &rail))
		r = rails_held_add(&held, &rail) ? 0 : err_nomem(err);
	if (r == 0)
		r = store_check(ledger->store, err);
	read_end(ledger, own);
	if (r < 0)
		return r;
	*ret_held = held;
	held = (struct rails_held) { 0 };
	return 0;
}

/* Figures */

int ledger_usage(struct ledger *ledger, const struct pool *pool, const struct rail *rail,
		 struct rail_usage *ret_usage, struct err *err)
{
	struct rail_usage usage;
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	allot_usage(ledger->store, pool, rail, ledger_now_ms(ledger), &usage);
	r = store_check(ledger->store, err);
	if (r == 0)
		*ret_usage = usage;
	read_end(ledger, own);
	return r;
}

int ledger_history(struct ledger *ledger, const struct history_query *query,
		   struct history_page *ret_page, struct err *err)
{
	bool own;
	int r;

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = history_find(ledger->store, query, ret_page, err);
	read_end(ledger, own);
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

	r = read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = audit_store(ledger->store, cancel, ret_audit, err);
	read_end(ledger, own);
	return r;
}

int ledger_dump(struct ledger *reader, const char *node, struct dump **ret_dump, struct err *err)
{
	int r;

	r = store_begin(reader->store, STORE_READ, err);
	return r < 0 ? r : dump_new(reader->store, node, reader->boot_id, ret_dump, err);
}

/* The pools of today take over what was loaded, as an edit from none. */
static int load_under_pools(struct ledger *ledger, struct err *err)
{
	struct store_key key = meta_key("pools");

	store_delete(ledger->store, STORE_META, &key);
	return pools_store(ledger, &ledger->pools, err);
}

static int load_check(struct ledger *ledger, struct err *err)
{
	struct audit audit;
	int r;

	r = audit_store(ledger->store, NULL, &audit, err);
	if (r < 0)
		return r;
	if (audit.found)
		r = err_set(err, EUCLEAN, ERR_VALUE, "%llu findings, the first: %s",
			    (unsigned long long)audit.found, audit.findings[0]);
	audit_free(&audit);
	return r;
}

int ledger_load(struct ledger *ledger, FILE *file, struct dump_report *ret_report, struct err *err)
{
	int64_t boot_ms = clock_boot_ms();
	int r;

	r = dump_load(ledger->store, file, ledger->boot_id, &ledger->era, ret_report, err);
	if (r == 0)
		r = load_under_pools(ledger, err);
	if (r < 0)
		return r;
	/* What rests goes on resting from where it was when the dump was made. */
	if (ledger->clock_offset_ms + boot_ms < (int64_t)ret_report->clock_ms)
		ledger->clock_offset_ms = (int64_t)ret_report->clock_ms - boot_ms;
	era_put(ledger->store, ledger->boot_id, &ledger->era);
	return load_check(ledger, err);
}
