/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that change a record: reserve, done, release. Each looks first and writes then, so that
 * a refusal leaves the batch as it was.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ipamd/allot.h"
#include "ipamd/choice.h"
#include "ipamd/claim.h"
#include "ipamd/guid.h"
#include "ipamd/history.h"
#include "ipamd/ledger_inside.h"
#include "ipamd/record.h"
#include "ipamd/sticky.h"

/* --- the end of a record --- */

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
	       strcmp(holder.sticky, a->sticky) == 0 &&
	       strcmp(holder.pod.namespace, a->pod.namespace) == 0;
}

/* Of two that live under one identity the first keeps its index. */
static void sticky_note(struct ledger *ledger, const struct attachment *a, int64_t now_ms)
{
	const struct identity identity = { a->pod.namespace, a->sticky };
	struct sticky had;

	if (sticky_find(ledger->store, a->pool, a->rail.name, &identity, &had) && had.here &&
	    had.index != a->rail.index && is_kept_for(ledger, a, &had))
		return;
	sticky_put(ledger->store, a->pool, a->rail.name, &identity, a->rail.index, now_ms);
}

/*
 * The index begins to rest, and is remembered. But where no packet can have left, no peer has
 * cached it: it rests no longer than it would have without this attachment. What the pod has
 * claimed beside it may go.
 */
static void index_release(struct ledger *ledger, const struct attachment *a, bool never_up)
{
	int64_t now_ms = ledger_now_ms(ledger);

	if (now_ms <= LEASE_NEVER)
		now_ms = LEASE_NEVER + 1;
	allot_release(ledger->store, &ledger->pools, a->pool, &a->rail, a->id,
		      never_up ? NULL : &a->pod, now_ms);
	if (record_has_identity(a) && !never_up)
		sticky_note(ledger, a, now_ms);
	ledger_end_claim_if_last(ledger, a);
}

/* All that a record has is free again; history says why. */
static void forget(struct ledger *ledger, const struct attachment *a, bool never_up,
		   const char *reason)
{
	record_delete(ledger->store, a);
	if (a->guid)
		guid_release(ledger->store, a->guid, a->id);
	if (a->pool[0])
		index_release(ledger, a, never_up);
	history_add(ledger->store, "released", a, reason);
}

/* Nothing is left of a pod of an earlier boot, and its devices are as the kernel has made them. */
void ledger_drop(struct ledger *ledger, const struct attachment *a)
{
	forget(ledger, a, false, "reboot");
	ledger->rebooted++;
}

int ledger_drop_rebooted(struct ledger *ledger, size_t limit, size_t *ret_count, struct err *err)
{
	struct attachment a;
	size_t count;
	int r;

	for (count = 0; count < limit; count++) {
		r = record_next(ledger->store, 0, RECORD_HEAD, &a, err);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == -ENOENT || !ledger_is_rebooted(ledger, a.id)) {
			if (r == 0)
				attachment_free(&a);
			break;
		}
		ledger_drop(ledger, &a);
		attachment_free(&a);
	}
	*ret_count = count;
	return store_check(ledger->store, err);
}

/* --- reserve --- */

/* A key and a device have one owner each. */
static int reserve_check_free(struct ledger *ledger, const struct reserve_request *request,
			      const struct baseline *device, struct err *err)
{
	struct store_key by_key = record_by_key(&request->key);
	uint64_t id;

	id = ledger_owner(ledger, STORE_BY_KEY, &by_key);
	if (id)
		return err_set(err, EEXIST, ERR_AGAIN,
			       "reserve %s of container %s on network %s: attachment %llu has it",
			       request->key.ifname, request->key.container_id, request->key.network,
			       (unsigned long long)id);
	if (device) {
		struct store_key by_device = record_by_device(device->key);

		id = ledger_owner(ledger, STORE_BY_DEVICE, &by_device);
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
	uint32_t table; /* of the pod, for its rail; 0: none was asked for */
};

/* A VF is claimed by its address, and may be asked for by its netdev. */
static const char *claimed_key(const struct baseline *device, char key[PROTO_DEVICE_MAX])
{
	static const char pci[] = "pci/";

	if (strncmp(device->parent, pci, strlen(pci)) != 0)
		return device->key;
	(void)snprintf(key, PROTO_DEVICE_MAX, "pci:%s", device->parent + strlen(pci));
	return key;
}

/* A VF that a pod has claimed is that pod's, on the rail that it was claimed for. */
static int reserve_check_claimed(struct ledger *ledger, const struct reserve_request *request,
				 const struct rail *rail, const struct baseline *device,
				 struct err *err)
{
	char buf[PROTO_DEVICE_MAX];
	const char *device_key = device ? claimed_key(device, buf) : NULL;
	struct claim_name name;
	struct claim claim;
	int place;

	if (!device || !claim_of_device(ledger->store, device_key, &name))
		return store_check(ledger->store, err);
	ledger_drop_claim(ledger, name.container_id, name.pool);
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
				    const char *device_key, char pod[LEASE_POD_MAX + 1])
{
	return (struct choice_ask) {
		.store = ledger->store,
		.pool = pool_find(&ledger->pools, request->pool),
		.rail = rail,
		.request = request,
		.pod = lease_pod(&request->pod, pod),
		.device_key = device_key,
		.first_id = ledger->era.first_id,
		.now_ms = ledger_now_ms(ledger),
	};
}

/* The other rails of a pool have tables of their own: most of a pod's records need not be read. */
static bool may_share_tables(const struct record_ref *ref, const char *pool,
			     const struct rail *rail)
{
	return strcmp(ref->pool, pool) != 0 || strcmp(ref->rail, rail->name) == 0;
}

/* Another network of this pod has it: given by us, or asked for by its number. */
static int table_is_taken(struct ledger *ledger, const struct choice_ask *ask, uint32_t table,
			  bool *ret_taken, struct err *err)
{
	struct store_key key = { 0 };
	struct record_ref ref;
	bool taken = false;

	while (!taken &&
	       record_next_of(ledger->store, ask->request->key.container_id, &key, &ref)) {
		CLEANUP(attachment_free) struct attachment other = { 0 };
		int r;

		if (ledger_is_rebooted(ledger, ref.id) ||
		    !may_share_tables(&ref, ask->pool->name, ask->rail))
			continue;
		r = record_get(ledger->store, ref.id, &other, err);
		if (r < 0 && r != -ENOENT)
			return r;
		taken = other.rail.table == table || other.facts.table == table;
	}
	*ret_taken = taken;
	return store_check(ledger->store, err);
}

static int reserve_table(struct ledger *ledger, const struct choice_ask *ask, uint32_t *ret_table,
			 struct err *err)
{
	const int rail_number = (int)(ask->rail - ask->pool->rails);
	bool taken = true;
	int r = 0;

	for (int nth = 0; taken && r == 0; nth++) {
		*ret_table = rail_table(rail_number, nth);
		r = table_is_taken(ledger, ask, *ret_table, &taken, err);
	}
	return r;
}

static int reserve_find(struct ledger *ledger, const struct reserve_request *request,
			const struct baseline *device, struct found *found, struct err *err)
{
	const char *device_key = device ? device->key : "";
	char pod[LEASE_POD_MAX + 1];
	struct choice_ask ask;
	int r;

	r = reserve_check_claimed(ledger, request, found->rail, device, err);
	if (r == 0 && request->guid)
		r = guid_check(ledger->store, request->guid, device_key, err);
	else if (r == 0 && device_key[0])
		found->guid = guid_of(ledger->store, device_key);
	if (r < 0 || !request->pool)
		return r;
	ledger_drop_claim(ledger, request->key.container_id, request->pool);
	ask = choice_ask(ledger, request, found->rail, device_key, pod);
	if (request->auto_table)
		r = reserve_table(ledger, &ask, &found->table, err);
	return r < 0 ? r : choice_make(&ask, ledger->vfs, &found->choice, err);
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
		.station = request->station,
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
		a.rail.table = found->table;
		rail_config(choice->rail, choice->index, &a.net);
	}
	return a;
}

static void reserve_take(struct ledger *ledger, const struct reserve_request *request,
			 const struct attachment *a, struct found *found)
{
	char pod[LEASE_POD_MAX + 1];
	struct choice_ask ask = choice_ask(ledger, request, found->rail, a->device.key, pod);
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
		r = reserve_find(ledger, request, device, &found, err);
	if (r < 0)
		return r;
	a = reserve_record(ledger, request, device, &found);
	return reserve_write(ledger, request, &a, &found, ret_a, err);
}

/* --- done and release --- */

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

int ledger_unconfirm(struct ledger *ledger, const struct attachment_key *key, uint64_t generation,
		     struct err *err)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	int r;

	r = ledger_find(ledger, key, &a, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (a.generation != generation || a.state != ATTACHMENT_UNFINISHED)
		return 0;
	a.state = ATTACHMENT_UNCONFIRMED;
	r = record_put(ledger->store, &a, err);
	if (r < 0)
		return r;
	count_change(ledger, ATTACHMENT_UNFINISHED, a.state);
	history_add(ledger->store, "unconfirmed", &a, "");
	return store_check(ledger->store, err);
}

/* The record stays, for reconcile; of its addresses it keeps what is not released. */
static int release_to_dirty(struct ledger *ledger, struct attachment *a, const struct release *how,
			    struct err *err)
{
	struct attachment dirty = *a; /* shares what it points to */
	int r;

	dirty.state = ATTACHMENT_DIRTY;
	if (how->left) {
		dirty.pool[0] = '\0';
		dirty.rail = (struct rail_ref) { 0 };
		dirty.net = (struct ip_config) { 0 };
	}
	r = record_put(ledger->store, &dirty, err);
	if (r < 0)
		return r;
	count_change(ledger, a->state, dirty.state);
	if (how->left && a->pool[0])
		index_release(ledger, a, how->never_up);
	history_add(ledger->store, "dirty", a, how->reason);
	return store_check(ledger->store, err);
}

int ledger_release(struct ledger *ledger, const struct attachment_key *key, uint64_t generation,
		   const struct release *how, struct attachment *ret_was, bool *ret_gone,
		   struct err *err)
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
	} else if (how->left && (how->restored || !a.device.key[0])) {
		forget(ledger, &a, how->never_up, how->reason);
		ledger->era.counts[a.state]--;
		r = store_check(ledger->store, err);
	} else {
		gone = false;
		/* Reconcile tries again and again: what changes nothing is not written. */
		if (a.state != ATTACHMENT_DIRTY || (how->left && a.pool[0]))
			r = release_to_dirty(ledger, &a, how, err);
	}
	if (r == 0 && a.id) {
		ledger_note_rebind(ledger, &a, how);
		r = store_check(ledger->store, err);
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
