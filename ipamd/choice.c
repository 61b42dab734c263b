/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One index on all rails of a pod is what routing and people want; it is a wish and no condition.
 * What goes before it is what somebody asked for by name, and what the pod has already.
 */
#include "ipamd/choice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipamd/record.h"
#include "ipamd/sticky.h"

/* What decides, before anything that is just free. */
struct wishes {
	bool fixed, sibling, sticky;
	uint32_t by_name;      /* fixed: asked for by address or number */
	uint32_t of_sibling;   /* the pod has it on another rail */
	struct sticky of_name; /* sticky: the identity had it */
	uint32_t rails_bound;  /* of the pool, by position: the container has an attachment there */
};

static bool is_named(const char *name, const struct rail *rail)
{
	return strcmp(name, rail->name) == 0;
}

/* --- wishes --- */

/* What the container holds of this pool. Only a claim has to know all of it. */
static void find_siblings(const struct choice_ask *ask, bool all, struct wishes *wishes)
{
	struct store_key key = { 0 };
	struct record_ref ref;

	while ((all || !wishes->sibling) &&
	       record_next_of(ask->store, ask->request->key.container_id, &key, &ref)) {
		if (ref.id < ask->first_id || strcmp(ref.pool, ask->pool->name) != 0)
			continue;
		for (size_t i = 0; i < ask->pool->rail_count; i++) {
			if (is_named(ref.rail, &ask->pool->rails[i]))
				wishes->rails_bound |= UINT32_C(1) << i;
		}
		if (wishes->sibling || is_named(ref.rail, ask->rail))
			continue;
		wishes->sibling = true;
		wishes->of_sibling = ref.index;
	}
}

static int find_gateway(const struct choice_ask *ask, struct wishes *wishes, struct err *err)
{
	uint64_t index;

	if (!rail_gateway_index(ask->rail, &index))
		return err_set(
			err, EINVAL, ERR_VALUE,
			"requested gateway: rail \"%s\" has none, or two of different indexes",
			ask->rail->name);
	wishes->by_name = (uint32_t)index;
	return 0;
}

static int find_fixed(const struct choice_ask *ask, struct wishes *wishes, struct err *err)
{
	const struct reserve_request *request = ask->request;

	wishes->fixed = request->ip_count > 0 || request->has_index || request->gateway;
	wishes->by_name = request->index;
	if (request->ip_count > 0)
		return lease_requested(ask->rail, request->ips, request->ip_count, &wishes->by_name,
				       err);
	if (request->gateway)
		return find_gateway(ask, wishes, err);
	if (request->has_index && rail_refusal(ask->rail, request->index))
		return err_set(err, EINVAL, ERR_VALUE, "requested index %u: %s rail \"%s\"",
			       request->index, rail_refusal(ask->rail, request->index),
			       ask->rail->name);
	return 0;
}

static bool find_identity(const struct choice_ask *ask, const struct rail *rail,
			  struct sticky *ret_had)
{
	const struct reserve_request *request = ask->request;
	const struct identity identity = { request->pod.namespace, request->sticky };

	return request->sticky &&
	       sticky_find(ask->store, ask->pool->name, rail->name, &identity, ret_had);
}

static int find_wishes(const struct choice_ask *ask, const struct choice *choice,
		       struct wishes *wishes, struct err *err)
{
	const struct reserve_request *request = ask->request;
	int r = find_fixed(ask, wishes, err);

	if (r < 0)
		return r;
	find_siblings(ask, request->claim_all || request->claim_count, wishes);
	if (!wishes->sibling && choice->claim.count) {
		wishes->sibling = true;
		wishes->of_sibling = choice->claim.rails[0].rail.index;
	}
	if (ask->pool->sticky_ms)
		wishes->sticky = find_identity(ask, ask->rail, &wishes->of_name);
	if (wishes->sticky && ask->now_ms - wishes->of_name.last_ms >= ask->pool->sticky_ms)
		wishes->sticky = false;
	return store_check(ask->store, err);
}

/* --- one rail --- */

static struct allotment look(const struct choice_ask *ask, const struct rail *rail, uint32_t index)
{
	return allot_look(ask->store, ask->pool, rail, index);
}

/* Has the pod itself, or its own identity, given up what rests? That keeps only others away. */
static bool rests_for(const struct choice_ask *ask, const struct rail *rail,
		      const struct allotment *a)
{
	struct sticky had;

	if (ask->pod[0] && strcmp(a->before.pod, ask->pod) == 0)
		return true;
	return find_identity(ask, rail, &had) && had.here && had.index == a->index &&
	       had.last_ms == a->before.since_ms;
}

static bool is_free_for(const struct choice_ask *ask, const struct rail *rail,
			const struct allotment *a)
{
	if (allot_is_free(a, ask->now_ms))
		return true;
	return a->before.state == LEASE_RESTING && rail_has_index(rail, a->index) &&
	       rests_for(ask, rail, a);
}

static int refuse_held(const struct allotment *a, const char *what, struct err *err)
{
	if (a->before.state == LEASE_CLAIMED)
		return err_set(err, EBUSY, ERR_AGAIN,
			       "requested %s: is claimed by another pod on rail \"%s\"", what,
			       a->rail->name);
	return err_set(err, EBUSY, ERR_AGAIN, "requested %s: is held by attachment %llu", what,
		       (unsigned long long)a->before.holder);
}

/* Until when, whose it was, and for whom the pool keeps it. */
static int refuse_resting(const struct choice_ask *ask, const struct allotment *a, const char *what,
			  struct err *err)
{
	const struct lease *before = &a->before;
	int64_t left = lease_rest_left_ms(before->since_ms, ask->pool->cooldown_ms, ask->now_ms);
	char whose[LEASE_NAMESPACE_MAX + 64] = "whose namespace is not known";

	if (before->has_namespace)
		(void)snprintf(whose, sizeof(whose), "of %s%s%s",
			       before->namespace[0] ? "namespace \"" : "no namespace",
			       before->namespace, before->namespace[0] ? "\"" : "");
	(void)err_set(err, EAGAIN, ERR_AGAIN,
		      "requested %s: rests on rail \"%s\" for %lld s more, of a pod %s", what,
		      a->rail->name, (long long)(left + 999) / 1000, whose);
	err_details(err, "pool \"%s\" has \"restFor\": \"%s\": until then it is only for %s",
		    ask->pool->name, pool_rest_for_name(ask->pool->rest_for),
		    ask->pool->rest_for == POOL_REST_FOR_POD ? "that very pod"
							     : "pods of that namespace");
	return -EAGAIN;
}

static int refuse_taken(const struct choice_ask *ask, const struct allotment *a, struct err *err)
{
	char what[IP_TEXT + 16], text[IP_TEXT];

	if (ask->request->ip_count > 0)
		(void)snprintf(what, sizeof(what), "address %s",
			       ip_format(&ask->request->ips[0].ip, text));
	else
		(void)snprintf(what, sizeof(what), "index %u", a->index);
	return a->before.state == LEASE_RESTING ? refuse_resting(ask, a, what, err)
						: refuse_held(a, what, err);
}

/* Whoever names an index may know its peers, and then does not wait for its rest. */
static bool is_free_by_name(const struct choice_ask *ask, const struct rail *rail,
			    const struct allotment *a)
{
	const struct lease *before = &a->before;

	if (before->state != LEASE_RESTING)
		return before->state == LEASE_UNUSED;
	if (!lease_rest_left_ms(before->since_ms, ask->pool->cooldown_ms, ask->now_ms) ||
	    ask->pool->rest_for == POOL_REST_FOR_ANY || rests_for(ask, rail, a))
		return true;
	return ask->pool->rest_for == POOL_REST_FOR_NAMESPACE && before->has_namespace &&
	       strcmp(before->namespace, ask->request->pod.namespace) == 0;
}

static int choose_fixed(const struct choice_ask *ask, const struct choice *choice,
			const struct rail *rail, uint32_t index, struct allotment *ret_a,
			struct err *err)
{
	const struct claim_rail *mine = choice->was_claimed ? &choice->mine : NULL;

	if (rail_refusal(rail, index) && !ask->request->gateway)
		return err_set(err, EINVAL, ERR_VALUE, "requested index %u: %s rail \"%s\"", index,
			       rail_refusal(rail, index), rail->name);
	*ret_a = look(ask, rail, index);
	if (is_free_by_name(ask, rail, ret_a))
		return store_check(ask->store, err);
	if (rail == ask->rail && mine && mine->rail.index == index)
		return store_check(ask->store, err);
	return refuse_taken(ask, ret_a, err);
}

/* One that the pod itself has given up on this rail. */
static bool choose_own(const struct choice_ask *ask, const struct rail *rail,
		       struct allotment *ret_a)
{
	struct store_key key = { 0 };
	uint32_t index;

	while (allot_next_of_pod(ask->store, ask->pool, rail, ask->pod, &key, &index)) {
		*ret_a = look(ask, rail, index);
		if (is_free_for(ask, rail, ret_a))
			return true;
	}
	return false;
}

/* One that is wished for, if it is free on this rail, else any. */
static int choose_one(const struct choice_ask *ask, const struct wishes *wishes,
		      const struct rail *rail, struct allotment *ret_a, struct err *err)
{
	if (wishes->sibling) {
		*ret_a = look(ask, rail, wishes->of_sibling);
		if (is_free_for(ask, rail, ret_a))
			return store_check(ask->store, err);
	}
	if (wishes->sticky) {
		*ret_a = look(ask, rail, wishes->of_name.index);
		if (is_free_for(ask, rail, ret_a))
			return store_check(ask->store, err);
	}
	if (choose_own(ask, rail, ret_a))
		return store_check(ask->store, err);
	return allot_choose(ask->store, ask->pool, rail, ask->now_ms, ret_a, err);
}

/* --- all rails of a claim --- */

/* The rails that are to be given an index now; the own one first, unless it has its own already. */
struct rails {
	const struct rail *rails[PROTO_RAILS_MAX];
	size_t count;
};

/* Fills @ret with @index on each rail, if it is free on all. */
static bool is_free_on_all(const struct choice_ask *ask, const struct rails *rails, uint32_t index,
			   struct allotment *ret)
{
	for (size_t i = 0; i < rails->count; i++) {
		ret[i] = look(ask, rails->rails[i], index);
		if (!is_free_for(ask, rails->rails[i], &ret[i]))
			return false;
	}
	return true;
}

/* What the pod itself has given up on the first rail, and on all others too. */
static bool search_own(const struct choice_ask *ask, const struct rails *rails,
		       struct allotment *ret)
{
	struct store_key key = { 0 };
	uint32_t index;

	while (allot_next_of_pod(ask->store, ask->pool, rails->rails[0], ask->pod, &key, &index)) {
		if (is_free_on_all(ask, rails, index, ret))
			return true;
	}
	return false;
}

/* The oldest rested ones of the first rail, then unused ones: a bounded number of each. */
static bool search_common(const struct choice_ask *ask, const struct rails *rails,
			  struct allotment *ret)
{
	struct allot_walk walk = { .tries = CHOICE_TRIES };
	uint32_t index;

	while (allot_next_free(ask->store, ask->pool, rails->rails[0], ask->now_ms, &walk,
			       &index)) {
		if (is_free_on_all(ask, rails, index, ret))
			return true;
	}
	return false;
}

static int choose_fixed_all(const struct choice_ask *ask, const struct choice *choice,
			    const struct rails *rails, uint32_t index, struct allotment *ret,
			    struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < rails->count; i++)
		r = choose_fixed(ask, choice, rails->rails[i], index, &ret[i], err);
	return r;
}

static int choose_all(const struct choice_ask *ask, const struct choice *choice,
		      const struct wishes *wishes, const struct rails *rails, struct allotment *ret,
		      struct err *err)
{
	int r = 0;

	if (wishes->fixed)
		return choose_fixed_all(ask, choice, rails, wishes->by_name, ret, err);
	if (rails->count == 1)
		return choose_one(ask, wishes, rails->rails[0], &ret[0], err);
	if (wishes->sibling && is_free_on_all(ask, rails, wishes->of_sibling, ret))
		return store_check(ask->store, err);
	if (wishes->sticky && is_free_on_all(ask, rails, wishes->of_name.index, ret))
		return store_check(ask->store, err);
	if (search_own(ask, rails, ret) || search_common(ask, rails, ret))
		return store_check(ask->store, err);
	for (size_t i = 0; r == 0 && i < rails->count; i++)
		r = choose_one(ask, wishes, rails->rails[i], &ret[i], err);
	return r;
}

/* --- which rails --- */

/* Unless the pod has its place there. */
static void add_rail(const struct choice_ask *ask, const struct choice *choice,
		     const struct wishes *wishes, const struct rail *rail, struct rails *rails)
{
	if (rail != ask->rail && claim_find(&choice->claim, rail->name) < 0 &&
	    !(wishes->rails_bound & UINT32_C(1) << (rail - ask->pool->rails)))
		rails->rails[rails->count++] = rail;
}

static int add_named(const struct choice_ask *ask, const struct choice *choice,
		     const struct wishes *wishes, struct rails *rails, struct err *err)
{
	const struct reserve_request *request = ask->request;

	for (size_t i = 0; i < request->claim_count; i++) {
		const struct rail *rail = pool_rail(ask->pool, request->claim[i]);

		if (!rail)
			return err_set(err, ENOENT, ERR_VALUE,
				       "claim: pool \"%s\": has no rail \"%s\"", ask->pool->name,
				       request->claim[i]);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(request->claim[k], request->claim[i]) == 0)
				return err_set(err, EINVAL, ERR_VALUE,
					       "claim: rail \"%s\": is named twice", rail->name);
		}
		add_rail(ask, choice, wishes, rail, rails);
	}
	return 0;
}

static int find_rails(const struct choice_ask *ask, const struct choice *choice,
		      const struct wishes *wishes, struct rails *rails, struct err *err)
{
	const struct reserve_request *request = ask->request;

	if ((request->claim_all || request->claim_count) &&
	    !claim_is_possible(request->key.container_id, ask->pool->name))
		return err_set(err, ENAMETOOLONG, ERR_ENV,
			       "claim: container ID and the pool's name are together too long");
	if (!choice->own.rail || wishes->fixed)
		rails->rails[rails->count++] = ask->rail;
	for (size_t i = 0; request->claim_all && i < ask->pool->rail_count; i++)
		add_rail(ask, choice, wishes, &ask->pool->rails[i], rails);
	return add_named(ask, choice, wishes, rails, err);
}

/* --- the choice --- */

void choice_drop(const struct choice *choice, const struct ledger_vfs *vfs)
{
	const struct claim *claim = &choice->claim;

	for (size_t i = claim->count - choice->added_count; i < claim->count; i++) {
		if (claim->rails[i].device[0])
			vfs->claimed(claim->rails[i].device, false, vfs->arg);
	}
}

/* Claims a place on another rail, with a VF if that is wanted. */
static int add_claimed(const struct choice_ask *ask, const struct ledger_vfs *vfs,
		       const struct allotment *a, struct choice *choice, struct err *err)
{
	struct claim_rail *place = &choice->claim.rails[choice->claim.count];
	int r = 0;

	if (choice->claim.count == PROTO_RAILS_MAX) /* an edit has taken some from the pool */
		return err_set(err, EBUSY, ERR_AGAIN,
			       "claim rail %s: the pod has claimed too many rails, some of which "
			       "have left the pool",
			       a->rail->name);
	*place = (struct claim_rail) { .rail.index = a->index,
				       .since_ms = allot_rested_since_ms(a) };
	(void)snprintf(place->rail.name, sizeof(place->rail.name), "%s", a->rail->name);
	if (ask->request->choose_device)
		r = vfs->choose(a->rail, ask->device_key, place->device, vfs->arg, err);
	if (r < 0)
		return r;
	if (place->device[0])
		vfs->claimed(place->device, true, vfs->arg);
	choice->added[choice->added_count++] = *a;
	choice->claim.count++;
	return 0;
}

/* What the container has claimed already; its place on this rail is set apart. */
static void take_claim(const struct choice_ask *ask, struct choice *choice)
{
	int place;

	choice->is_new = !claim_get(ask->store, ask->request->key.container_id, ask->pool->name,
				    &choice->claim);
	place = claim_find(&choice->claim, ask->rail->name);
	if (place < 0)
		return;
	choice->was_claimed = true;
	choice->mine = choice->claim.rails[place];
	claim_remove(&choice->claim, place);
	if (rail_has_index(ask->rail, choice->mine.rail.index)) /* else an edit has taken it away */
		choice->own = look(ask, ask->rail, choice->mine.rail.index);
}

int choice_make(const struct choice_ask *ask, const struct ledger_vfs *vfs,
		struct choice *ret_choice, struct err *err)
{
	struct allotment found[PROTO_RAILS_MAX];
	struct choice choice = { .rail = ask->rail };
	struct wishes wishes = { 0 };
	struct rails rails = { 0 };
	size_t first = 0;
	int r;

	take_claim(ask, &choice);
	r = find_wishes(ask, &choice, &wishes, err);
	if (r == 0)
		r = find_rails(ask, &choice, &wishes, &rails, err);
	if (r == 0)
		r = choose_all(ask, &choice, &wishes, &rails, found, err);
	if (r < 0)
		return r;
	if (rails.count && rails.rails[0] == ask->rail)
		choice.own = found[first++];
	for (size_t i = first; r == 0 && i < rails.count; i++)
		r = add_claimed(ask, vfs, &found[i], &choice, err);
	if (r < 0)
		choice_drop(&choice, vfs);
	else
		*ret_choice = choice;
	return r;
}

/* The place on its own rail is bound; what was claimed there and is not used is free. */
static void bind(const struct choice_ask *ask, const struct choice *choice,
		 const struct ledger_vfs *vfs)
{
	const struct claim_rail *mine = &choice->mine;

	if (mine->rail.index != choice->own.index)
		allot_unclaim(ask->store, ask->pool->name, &mine->rail, choice->claim.id,
			      mine->since_ms);
	if (!mine->device[0])
		return;
	if (strcmp(mine->device, ask->device_key) != 0)
		claim_free_device(ask->store, mine->device);
	vfs->claimed(mine->device, false, vfs->arg);
}

void choice_take(const struct choice_ask *ask, struct choice *choice, uint64_t id,
		 uint64_t claim_id, const struct ledger_vfs *vfs)
{
	const char *container_id = ask->request->key.container_id;
	struct claim *claim = &choice->claim;

	if (choice->is_new)
		claim->id = claim_id;
	if (choice->was_claimed)
		bind(ask, choice, vfs);
	allot_take(ask->store, &choice->own, LEASE_HELD, id);
	for (size_t i = 0; i < choice->added_count; i++) {
		const struct claim_rail *place =
			&claim->rails[claim->count - choice->added_count + i];

		allot_take(ask->store, &choice->added[i], LEASE_CLAIMED, claim->id);
		if (place->device[0])
			claim_take_device(ask->store, container_id, ask->pool->name, place->device);
	}
	if (choice->added_count)
		claim->expiry_ms = ask->now_ms + ask->pool->claim_ms;
	if (choice->added_count || choice->was_claimed)
		claim_put(ask->store, container_id, ask->pool->name, claim);
}
