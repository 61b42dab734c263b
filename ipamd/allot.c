/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frontier of a rail: every index below it that may be handed out has an entry in by_index. So
 * a new index is found without looking at those in use. An index that an edit has taken out of its
 * rail keeps its entry until it is released and rested.
 */
#include "ipamd/allot.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* What meta keeps of one rail: so many u64, big-endian. */
struct rail_state {
	uint64_t frontier;
	uint64_t held;
	uint64_t queued;   /* entries of free_q, rested or not */
	uint64_t draining; /* of the held: outside of today's rail */
	uint64_t claimed;  /* by a pod that has not bound them yet */
};

enum { RAIL_NUMBERS = sizeof(struct rail_state) / sizeof(uint64_t), RAIL_NUMBERS_OLD = 3 };

static struct store_key rail_key(const char *pool, const char *rail)
{
	struct store_key key = { 0 };

	store_key_text(&key, pool);
	store_key_text(&key, rail);
	return key;
}

static struct store_key index_key(const char *pool, const char *rail, uint32_t index)
{
	struct store_key key = rail_key(pool, rail);

	store_key_u32(&key, index);
	return key;
}

static struct store_key queue_key(const char *pool, const char *rail, int64_t since_ms,
				  uint32_t index)
{
	struct store_key key = rail_key(pool, rail);

	store_key_u64(&key, (uint64_t)since_ms);
	store_key_u32(&key, index);
	return key;
}

static struct store_key state_key(const char *pool, const char *rail)
{
	struct store_key key = { 0 };

	store_key_text(&key, "rail");
	store_key_text(&key, pool);
	store_key_text(&key, rail);
	return key;
}

static bool state_decode(struct store *store, const struct store_view *value, size_t count,
			 struct rail_state *ret_state)
{
	uint64_t numbers[RAIL_NUMBERS] = { 0 };

	if (value->len != count * sizeof(numbers[0])) {
		store_fail(store, STORE_META, "the state of a rail has another length");
		return false;
	}
	for (size_t i = 0; i < count; i++)
		numbers[i] = store_view_u64(value, i * sizeof(numbers[0]));
	memcpy(ret_state, numbers, sizeof(numbers));
	return true;
}

static struct rail_state state_get(struct store *store, const char *pool, const char *rail)
{
	struct store_key key = state_key(pool, rail);
	struct rail_state state = { 0 };
	struct store_view value;

	if (store_get(store, STORE_META, &key, &value))
		(void)state_decode(store, &value, RAIL_NUMBERS, &state);
	return state;
}

static void state_put(struct store *store, const struct store_key *key,
		      const struct rail_state *state)
{
	uint64_t numbers[RAIL_NUMBERS];

	memcpy(numbers, state, sizeof(numbers));
	for (size_t i = 0; i < RAIL_NUMBERS; i++)
		numbers[i] = htobe64(numbers[i]);
	store_put(store, STORE_META, key, numbers, sizeof(numbers));
}

/* An index that rests of a pod, by that pod: without the index, all on the rail. */
static struct store_key last_key(const char *pool, const char *rail, const char *pod)
{
	struct store_key key = { 0 };

	store_key_text(&key, pool);
	store_key_text(&key, pod);
	store_key_text(&key, rail);
	return key;
}

static struct lease lease_get(struct store *store, const struct store_key *key)
{
	struct lease lease = { .state = LEASE_UNUSED };
	struct store_view value;

	if (store_get(store, STORE_BY_INDEX, key, &value) &&
	    lease_decode(value.data, value.len, &lease) < 0)
		store_fail(store, STORE_BY_INDEX, "an index is neither held nor resting");
	return lease;
}

static void lease_put(struct store *store, const struct store_key *key, const struct lease *lease)
{
	uint8_t bytes[LEASE_BYTES_MAX];
	size_t len = lease_encode(lease, bytes);

	store_put(store, STORE_BY_INDEX, key, bytes, len);
}

/* What leads to an index while it rests: the queue, and the pod that had it. */
static void rest_begin(struct store *store, const char *pool, const char *rail, uint32_t index,
		       const struct lease *lease)
{
	struct store_key queued = queue_key(pool, rail, lease->since_ms, index);
	struct store_key last = last_key(pool, rail, lease->pod);

	store_put(store, STORE_FREE_Q, &queued, NULL, 0);
	store_key_u32(&last, index);
	if (lease->pod[0])
		store_put(store, STORE_BY_LAST, &last, NULL, 0);
}

static void rest_end(struct store *store, const char *pool, const char *rail, uint32_t index,
		     const struct lease *lease)
{
	struct store_key queued = queue_key(pool, rail, lease->since_ms, index);
	struct store_key last = last_key(pool, rail, lease->pod);

	store_delete(store, STORE_FREE_Q, &queued);
	store_key_u32(&last, index);
	if (lease->pod[0])
		store_delete(store, STORE_BY_LAST, &last);
}

/* The entry of free_q at or after *@key that belongs to the rail in its first @prefix bytes. */
static bool queue_seek(struct store *store, const struct store_key *key, size_t prefix,
		       int64_t *ret_since_ms, uint32_t *ret_index)
{
	struct store_view found, value;

	if (!store_seek(store, STORE_FREE_Q, key, prefix, &found, &value))
		return false;
	if (found.len != prefix + sizeof(uint64_t) + sizeof(uint32_t)) {
		store_fail(store, STORE_FREE_Q, "a key has another length");
		return false;
	}
	*ret_since_ms = (int64_t)store_view_u64(&found, prefix);
	*ret_index = store_view_u32(&found, prefix + sizeof(uint64_t));
	return true;
}

/* An index that rested and has left its rail is forgotten; it is unused if it ever comes back. */
static void queue_drop(struct store *store, const char *pool, const char *rail, uint32_t index)
{
	struct store_key indexed = index_key(pool, rail, index);
	struct store_key key = state_key(pool, rail);
	struct rail_state state = state_get(store, pool, rail);
	struct lease lease = lease_get(store, &indexed);

	state.queued--;
	rest_end(store, pool, rail, index, &lease);
	store_delete(store, STORE_BY_INDEX, &indexed);
	state_put(store, &key, &state);
}

static void offer_oldest(struct store *store, const struct allotment *choice, int64_t now_ms,
			 struct lease_offer *offer)
{
	const char *pool = choice->pool->name, *rail = choice->rail->name;
	struct store_key key = rail_key(pool, rail);

	while (queue_seek(store, &key, key.len, &offer->oldest_since_ms, &offer->oldest)) {
		offer->has_oldest = true;
		if (rail_has_index(choice->rail, offer->oldest) ||
		    lease_rest_left_ms(offer->oldest_since_ms, choice->pool->cooldown_ms, now_ms))
			return;
		offer->has_oldest = false;
		queue_drop(store, pool, rail, offer->oldest);
	}
}

/* The first index that nobody ever had, if there is one. The next one who asks begins there. */
static bool first_unused(struct store *store, const struct pool *pool, const struct rail *rail,
			 uint64_t *ret_index)
{
	struct store_key key = state_key(pool->name, rail->name);
	struct rail_state state = state_get(store, pool->name, rail->name);
	uint64_t from = state.frontier;
	bool found = false;

	while (!found && rail_next_index(rail, from, ret_index)) {
		struct store_key entry = index_key(pool->name, rail->name, (uint32_t)*ret_index);

		found = lease_get(store, &entry).state == LEASE_UNUSED;
		from = *ret_index + !found;
	}
	if (from != state.frontier) {
		state.frontier = from;
		state_put(store, &key, &state);
	}
	return found;
}

static int choose_free(struct store *store, struct allotment *choice, int64_t now_ms,
		       struct err *err)
{
	struct lease_offer offer = { 0 };
	uint64_t unused = 0;
	int r;

	offer_oldest(store, choice, now_ms, &offer);
	if (!offer.has_oldest ||
	    lease_rest_left_ms(offer.oldest_since_ms, choice->pool->cooldown_ms, now_ms))
		offer.has_unused = first_unused(store, choice->pool, choice->rail, &unused);
	offer.unused = (uint32_t)unused;
	r = store_check(store, err);
	if (r < 0)
		return r;
	r = lease_choose(&offer, choice->pool->cooldown_ms, now_ms, &choice->index, err);
	if (r < 0) {
		struct rail_state state = state_get(store, choice->pool->name, choice->rail->name);

		err_prefix(err, "pool \"%s\" rail \"%s\"", choice->pool->name, choice->rail->name);
		err_details(err,
			    "of %llu addresses %llu are held, %llu claimed, and %llu rest for "
			    "%lld s",
			    (unsigned long long)rail_capacity(choice->rail),
			    (unsigned long long)state.held, (unsigned long long)state.claimed,
			    (unsigned long long)state.queued,
			    (long long)choice->pool->cooldown_ms / 1000);
		return r;
	}
	return 0;
}

static int find_pool(const struct pool_set *pools, const char *name, const struct pool **ret_pool,
		     struct err *err)
{
	*ret_pool = pool_find(pools, name);
	return *ret_pool ? 0
			 : err_set(err, ENOENT, ERR_VALUE, "pool \"%s\": is not configured", name);
}

/* What the rails' `match` speaks of: the PF of a VF; any other device is its own. */
struct device_pf {
	const char *netdev;
	const struct pci_addr *addr; /* NULL: none, or not known */
	struct pci_addr own;
};

/* By its own name, or by that of its netdev. */
static bool device_is_aux(const struct baseline *device)
{
	static const char key[] = "aux:", parent[] = "auxiliary/";

	return strncmp(device->key, key, strlen(key)) == 0 ||
	       strncmp(device->parent, parent, strlen(parent)) == 0;
}

static void device_pf(const struct baseline *device, struct device_pf *ret_pf)
{
	static const char key[] = "pci:", parent[] = "pci/";

	*ret_pf = (struct device_pf) { .netdev = device->name };
	if (device->vf.is_vf || device_is_aux(device)) {
		ret_pf->netdev = device->vf.pf_netdev;
		ret_pf->addr = &device->vf.pf;
	} else if ((strncmp(device->key, key, strlen(key)) == 0 &&
		    pci_parse(device->key + strlen(key), &ret_pf->own) == 0) ||
		   (strncmp(device->parent, parent, strlen(parent)) == 0 &&
		    pci_parse(device->parent + strlen(parent), &ret_pf->own) == 0)) {
		ret_pf->addr = &ret_pf->own;
	}
}

/* The first rail of that name, but rather one that @pf (NULL: none) is on. */
static int find_rail_anywhere(const struct pool_set *pools, const char *name,
			      const struct device_pf *pf, const struct rail **ret_rail,
			      struct err *err)
{
	const struct rail *first = NULL;

	for (size_t i = 0; i < pools->count; i++) {
		const struct rail *rail = pool_rail(&pools->pools[i], name);

		if (rail && (!first || (pf && !rail_matches(first, pf->netdev, pf->addr))))
			first = rail;
	}
	*ret_rail = first;
	return first ? 0 : err_set(err, ENOENT, ERR_VALUE, "rail \"%s\": no pool has it", name);
}

int allot_find_rail(const struct pool_set *pools, const struct reserve_request *request,
		    const struct rail **ret_rail, struct err *err)
{
	const struct pool *pool;
	int r;

	if (!request->pool && !request->rail)
		return err_set(err, EINVAL, ERR_VALUE, "the request names neither pool nor rail");
	if (!request->pool)
		return find_rail_anywhere(pools, request->rail, NULL, ret_rail, err);
	r = find_pool(pools, request->pool, &pool, err);
	if (r < 0)
		return r;
	*ret_rail = pool_rail(pool, request->rail);
	if (*ret_rail)
		return 0;
	if (request->rail)
		return err_set(err, ENOENT, ERR_VALUE, "pool \"%s\": has no rail \"%s\"",
			       pool->name, request->rail);
	return err_set(err, EINVAL, ERR_VALUE,
		       "pool \"%s\": has %zu rails, and the request names none", pool->name,
		       pool->rail_count);
}

/* "0000:1a:00.1" of "pci:0000:1a:00.1". */
static const char *device_name(const struct baseline *device)
{
	const char *colon = strchr(device->key, ':');

	return colon ? colon + 1 : device->key;
}

static int refuse_rail(const struct reserve_request *request, const struct baseline *device,
		       const struct rail *its, struct err *err)
{
	if (request->rail && its)
		return err_set(err, EINVAL, ERR_VALUE, "key \"rail\": \"%s\": %s is on %s",
			       request->rail, device_name(device), its->name);
	if (request->rail)
		return err_set(err, EINVAL, ERR_VALUE, "key \"rail\": \"%s\": %s is not on it",
			       request->rail, device_name(device));
	return err_set(err, EINVAL, ERR_VALUE, "pool \"%s\": %s is on none of its rails",
		       request->pool, device_name(device));
}

int allot_choose_rail(const struct pool_set *pools, const struct reserve_request *request,
		      const struct baseline *device, const struct rail **ret_rail, struct err *err)
{
	const struct rail *its = NULL;
	const struct pool *pool = NULL;
	struct device_pf pf;
	int r;

	*ret_rail = NULL;
	if (!request->pool && !request->rail)
		return 0;
	r = request->pool ? find_pool(pools, request->pool, &pool, err) : 0;
	if (r < 0)
		return r;
	if (device) {
		device_pf(device, &pf);
		its = pool ? pool_rail_of(pool, pf.netdev, pf.addr)
			   : pool_set_rail_of(pools, pf.netdev, pf.addr);
	}
	if (its && !request->rail) {
		*ret_rail = its;
		return 0;
	}
	r = pool ? allot_find_rail(pools, request, ret_rail, err)
		 : find_rail_anywhere(pools, request->rail, device ? &pf : NULL, ret_rail, err);
	if (r == 0 && device && !rail_matches(*ret_rail, pf.netdev, pf.addr))
		r = refuse_rail(request, device, its, err);
	return r;
}

struct lease allot_lease(struct store *store, const char *pool, const char *rail, uint32_t index)
{
	struct store_key key = index_key(pool, rail, index);

	return lease_get(store, &key);
}

struct allotment allot_look(struct store *store, const struct pool *pool, const struct rail *rail,
			    uint32_t index)
{
	return (struct allotment) { pool, rail, index,
				    allot_lease(store, pool->name, rail->name, index) };
}

bool allot_is_free(const struct allotment *choice, int64_t now_ms)
{
	const struct lease *lease = &choice->before;

	if (!rail_has_index(choice->rail, choice->index))
		return false;
	return lease->state == LEASE_UNUSED ||
	       (lease->state == LEASE_RESTING &&
		!lease_rest_left_ms(lease->since_ms, choice->pool->cooldown_ms, now_ms));
}

static bool next_rested(struct store *store, const struct pool *pool, const struct rail *rail,
			int64_t now_ms, struct allot_walk *walk, uint32_t *ret_index)
{
	size_t prefix = rail_key(pool->name, rail->name).len;
	int64_t since_ms;

	if (!walk->queue.len)
		walk->queue = rail_key(pool->name, rail->name);
	if (walk->step == walk->tries ||
	    !queue_seek(store, &walk->queue, prefix, &since_ms, ret_index) ||
	    lease_rest_left_ms(since_ms, pool->cooldown_ms, now_ms))
		return false;
	walk->step++;
	walk->queue = queue_key(pool->name, rail->name, since_ms, *ret_index);
	store_key_next(&walk->queue);
	return true;
}

static bool next_unused(struct store *store, const struct pool *pool, const struct rail *rail,
			struct allot_walk *walk, uint32_t *ret_index)
{
	uint64_t index;

	if (!walk->at_unused) {
		walk->at_unused = true;
		walk->step = first_unused(store, pool, rail, &walk->unused) ? 0 : walk->tries;
	}
	if (walk->step == walk->tries || !rail_next_index(rail, walk->unused, &index))
		return false;
	walk->step++;
	walk->unused = index + 1;
	*ret_index = (uint32_t)index;
	return true;
}

bool allot_next_free(struct store *store, const struct pool *pool, const struct rail *rail,
		     int64_t now_ms, struct allot_walk *walk, uint32_t *ret_index)
{
	return (!walk->at_unused && next_rested(store, pool, rail, now_ms, walk, ret_index)) ||
	       next_unused(store, pool, rail, walk, ret_index);
}

int allot_choose(struct store *store, const struct pool *pool, const struct rail *rail,
		 int64_t now_ms, struct allotment *ret_choice, struct err *err)
{
	struct allotment choice = { .pool = pool, .rail = rail };
	int r;

	r = choose_free(store, &choice, now_ms, err);
	if (r == 0) {
		choice = allot_look(store, pool, rail, choice.index);
		r = store_check(store, err);
	}
	if (r == 0)
		*ret_choice = choice;
	return r;
}

bool allot_next_of_pod(struct store *store, const struct pool *pool, const struct rail *rail,
		       const char *pod, struct store_key *key, uint32_t *ret_index)
{
	struct store_key prefix = last_key(pool->name, rail->name, pod);
	struct store_view found, value;

	if (!pod[0] ||
	    !store_seek(store, STORE_BY_LAST, key->len ? key : &prefix, prefix.len, &found, &value))
		return false;
	if (found.len != prefix.len + sizeof(uint32_t)) {
		store_fail(store, STORE_BY_LAST, "a key has another length");
		return false;
	}
	*ret_index = store_view_u32(&found, prefix.len);
	store_key_set(key, &found);
	store_key_next(key);
	return true;
}

int64_t allot_rested_since_ms(const struct allotment *choice)
{
	return choice->before.state == LEASE_UNUSED ? LEASE_NEVER : choice->before.since_ms;
}

/* Is it the first that nobody ever had? Then the next one begins behind it. */
static bool is_at_frontier(const struct allotment *choice, const struct rail_state *state)
{
	uint64_t first;

	return choice->before.state == LEASE_UNUSED &&
	       rail_next_index(choice->rail, state->frontier, &first) && first == choice->index;
}

void allot_take(struct store *store, const struct allotment *choice, enum lease_state lease_state,
		uint64_t id)
{
	const char *pool = choice->pool->name, *rail = choice->rail->name;
	struct store_key entry = index_key(pool, rail, choice->index);
	struct store_key key = state_key(pool, rail);
	struct rail_state state = state_get(store, pool, rail);
	struct lease lease = choice->before;

	lease.state = lease_state;
	lease.holder = id;
	lease.since_ms = allot_rested_since_ms(choice);
	if (choice->before.state == LEASE_RESTING) {
		rest_end(store, pool, rail, choice->index, &choice->before);
		state.queued--;
	}
	state.claimed -= choice->before.state == LEASE_CLAIMED;
	if (is_at_frontier(choice, &state))
		state.frontier = (uint64_t)choice->index + 1;
	state.held += lease_state == LEASE_HELD;
	state.claimed += lease_state == LEASE_CLAIMED;
	/* A gateway's, which the rail gives to nobody else. */
	state.draining += lease_state == LEASE_HELD && !rail_has_index(choice->rail, choice->index);
	lease_put(store, &entry, &lease);
	state_put(store, &key, &state);
}

/* What @id has in this way rests: @lease has the moment and the pod. */
static void rest(struct store *store, const char *pool, const struct rail_ref *rail,
		 enum lease_state was, bool drains, struct lease *lease)
{
	struct store_key entry = index_key(pool, rail->name, rail->index);
	struct store_key key = state_key(pool, rail->name);
	struct rail_state state = state_get(store, pool, rail->name);

	state.held -= was == LEASE_HELD;
	state.claimed -= was == LEASE_CLAIMED;
	state.draining -= drains;
	state.queued++;
	lease->state = LEASE_RESTING;
	lease_put(store, &entry, lease);
	rest_begin(store, pool, rail->name, rail->index, lease);
	state_put(store, &key, &state);
}

/* The lease of an index that @id has in this way; false: the transaction has failed. */
static bool lease_of(struct store *store, const char *pool, const struct rail_ref *rail,
		     enum lease_state state, uint64_t id, struct lease *ret_lease)
{
	struct store_key entry = index_key(pool, rail->name, rail->index);

	*ret_lease = lease_get(store, &entry);
	if (ret_lease->state == state && ret_lease->holder == id)
		return true;
	store_fail(store, STORE_BY_INDEX, "an index is not of the one that gives it up");
	return false;
}

/* Do the pools of today give this index? */
static bool is_given(const struct pool_set *pools, const char *pool, const struct rail_ref *ref)
{
	const struct pool *found = pool_find(pools, pool);
	const struct rail *rail = found ? pool_rail(found, ref->name) : NULL;

	return rail && rail_has_index(rail, ref->index);
}

void allot_release(struct store *store, const struct pool_set *pools, const char *pool,
		   const struct rail_ref *rail, uint64_t id, const struct pod_ref *pod,
		   int64_t now_ms)
{
	struct lease lease;

	if (!lease_of(store, pool, rail, LEASE_HELD, id, &lease))
		return;
	if (pod || lease.since_ms == LEASE_UNKNOWN)
		lease.since_ms = now_ms;
	if (pod)
		lease_set_pod(&lease, pod);
	rest(store, pool, rail, LEASE_HELD, !is_given(pools, pool, rail), &lease);
}

void allot_unclaim(struct store *store, const char *pool, const struct rail_ref *rail, uint64_t id,
		   int64_t since_ms)
{
	struct lease lease;

	if (!lease_of(store, pool, rail, LEASE_CLAIMED, id, &lease))
		return;
	lease.since_ms = since_ms;
	rest(store, pool, rail, LEASE_CLAIMED, false, &lease);
}

/* The state of the first rail whose key is not below *@key; moves *@key to it. */
static bool state_next(struct store *store, struct store_key *key, size_t numbers,
		       struct rail_held *ret_name, struct rail_state *ret_state)
{
	struct store_view found, value;
	size_t prefix;

	if (key->len == 0)
		store_key_text(key, "rail");
	prefix = strlen("rail") + 1;
	if (!store_seek(store, STORE_META, key, prefix, &found, &value) ||
	    !state_decode(store, &value, numbers, ret_state))
		return false;
	store_key_set(key, &found);
	*ret_name = (struct rail_held) { .held = ret_state->held, .draining = ret_state->draining };
	(void)snprintf(ret_name->pool, sizeof(ret_name->pool), "%s", (char *)key->bytes + prefix);
	(void)snprintf(ret_name->rail, sizeof(ret_name->rail), "%s",
		       (char *)key->bytes + prefix + strlen(ret_name->pool) + 1);
	return true;
}

static uint64_t draining_of(const struct rails_held *held, const struct rail_held *name)
{
	for (size_t i = 0; i < held->count; i++) {
		if (strcmp(held->at[i].pool, name->pool) == 0 &&
		    strcmp(held->at[i].rail, name->rail) == 0)
			return held->at[i].draining;
	}
	return 0;
}

/* Writes the state of every rail anew, read as so many numbers. */
static void states_rewrite(struct store *store, size_t numbers, const struct rails_held *held)
{
	struct store_key key = { 0 };
	struct rail_state state;
	struct rail_held name;

	while (state_next(store, &key, numbers, &name, &state)) {
		state.frontier = 0;
		state.draining = draining_of(held, &name);
		state_put(store, &key, &state);
		store_key_next(&key);
	}
}

void allot_edit(struct store *store, const struct rails_held *held)
{
	states_rewrite(store, RAIL_NUMBERS, held);
}

void allot_migrate(struct store *store, const struct rails_held *held)
{
	states_rewrite(store, RAIL_NUMBERS_OLD, held);
}

void allot_tell_namespaces(struct store *store, const char *(*tell)(const char *pod, void *arg),
			   void *arg)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	const char *namespace;
	struct lease lease;

	for (; store_seek(store, STORE_BY_INDEX, &key, 0, &found, &value); store_key_next(&key)) {
		store_key_set(&key, &found);
		lease = lease_get(store, &key);
		namespace = lease.pod[0] && !lease.has_namespace ? tell(lease.pod, arg) : NULL;
		if (!namespace || strlen(namespace) > LEASE_NAMESPACE_MAX)
			continue;
		lease.has_namespace = true;
		(void)snprintf(lease.namespace, sizeof(lease.namespace), "%s", namespace);
		lease_put(store, &key, &lease);
	}
}

bool allot_next_draining(struct store *store, struct store_key *key, struct rail_held *ret_held)
{
	struct rail_state state;

	while (state_next(store, key, RAIL_NUMBERS, ret_held, &state)) {
		store_key_next(key);
		if (state.draining)
			return true;
	}
	return false;
}

bool allot_restore(struct store *store, const char *pool, const char *rail, uint32_t index,
		   const struct lease *lease)
{
	struct store_key entry = index_key(pool, rail, index);
	struct store_key key = state_key(pool, rail);
	struct rail_state state = state_get(store, pool, rail);

	if (lease_get(store, &entry).state != LEASE_UNUSED)
		return false;
	if (lease->state == LEASE_RESTING)
		rest_begin(store, pool, rail, index, lease);
	state.held += lease->state == LEASE_HELD;
	state.queued += lease->state == LEASE_RESTING;
	state.claimed += lease->state == LEASE_CLAIMED;
	lease_put(store, &entry, lease);
	state_put(store, &key, &state);
	return true;
}

void allot_forget_all(struct store *store)
{
	struct store_view found, value;
	struct store_key key = { 0 };
	size_t prefix;

	store_key_text(&key, "rail");
	prefix = key.len;
	while (store_seek(store, STORE_META, &key, prefix, &found, &value)) {
		store_key_set(&key, &found);
		store_delete(store, STORE_META, &key);
	}
}

bool allot_next_held(struct store *store, struct store_key *key, struct allotted *ret_held)
{
	struct store_view found, value;
	struct lease lease;

	while (store_seek(store, STORE_BY_INDEX, key, 0, &found, &value)) {
		size_t pool_len = strnlen((const char *)found.data, found.len) + 1;

		if (lease_decode(value.data, value.len, &lease) < 0 ||
		    found.len < pool_len + 1 + sizeof(uint32_t)) {
			store_fail(store, STORE_BY_INDEX, "an entry is malformed");
			return false;
		}
		store_key_set(key, &found);
		store_key_next(key);
		if (lease.state != LEASE_HELD)
			continue;
		*ret_held = (struct allotted) {
			.pool = (const char *)found.data,
			.rail = (const char *)found.data + pool_len,
			.index = store_view_u32(&found, found.len - sizeof(uint32_t)),
			.id = lease.holder,
		};
		return true;
	}
	return false;
}

void allot_usage(struct store *store, const struct pool *pool, const struct rail *rail,
		 int64_t now_ms, struct rail_usage *ret_usage)
{
	struct store_key key = rail_key(pool->name, rail->name);
	size_t prefix = key.len;
	int64_t since_ms = now_ms - pool->cooldown_ms + 1;
	struct rail_usage usage = { .capacity = rail_capacity(rail) };
	struct rail_state state = state_get(store, pool->name, rail->name);
	uint32_t index;

	usage.held = state.held;
	usage.draining = state.draining;
	usage.claimed = state.claimed;
	store_key_u64(&key, since_ms > LEASE_NEVER ? (uint64_t)since_ms : LEASE_NEVER + 1);
	while (queue_seek(store, &key, prefix, &since_ms, &index)) {
		usage.resting += rail_has_index(rail, index);
		key = queue_key(pool->name, rail->name, since_ms, index);
		store_key_next(&key);
	}
	*ret_usage = usage;
}
