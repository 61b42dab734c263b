/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All rails of a pod or none: what is claimed, bound to nobody yet, and when it ends. claim.c
 * keeps it.
 */
#include <errno.h>
#include <string.h>

#include "ipamd/allot.h"
#include "ipamd/claim.h"
#include "ipamd/ledger_inside.h"
#include "ipamd/record.h"

/*
 * Nobody has used what was claimed, so no peer has cached it: it rests no longer than it would have
 * without the claim.
 */
static void claim_end(struct ledger *ledger, const char *container_id, const char *pool_name,
		      struct claim *claim)
{
	for (size_t i = 0; i < claim->count; i++) {
		const struct claim_rail *place = &claim->rails[i];

		allot_unclaim(ledger->store, pool_name, &place->rail, claim->id, place->since_ms);
		if (!place->device[0])
			continue;
		claim_free_device(ledger->store, place->device);
		ledger->vfs->claimed(place->device, false, ledger->vfs->arg);
	}
	claim->count = 0;
	claim_put(ledger->store, container_id, pool_name, claim);
}

/* A claim ends with the last attachment of its container on its pool. */
void ledger_end_claim_if_last(struct ledger *ledger, const struct attachment *gone)
{
	struct store_key key = { 0 };
	struct record_ref ref;
	struct claim claim;

	if (!claim_get(ledger->store, gone->container_id, gone->pool, &claim))
		return;
	while (record_next_of(ledger->store, gone->container_id, &key, &ref)) {
		if (!ledger_is_rebooted(ledger, ref.id) && strcmp(ref.pool, gone->pool) == 0)
			return;
	}
	claim_end(ledger, gone->container_id, gone->pool, &claim);
}

void ledger_drop_claim(struct ledger *ledger, const char *container_id, const char *pool)
{
	struct claim claim;

	if (claim_get(ledger->store, container_id, pool, &claim) &&
	    ledger_is_rebooted(ledger, claim.id))
		claim_end(ledger, container_id, pool, &claim);
}

int ledger_device_is_free(struct ledger *ledger, const char *device_key, bool *ret_free,
			  struct err *err)
{
	struct store_key by_device = record_by_device(device_key);
	struct store_view value;
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	*ret_free = !store_get(ledger->store, STORE_BY_DEVICE, &by_device, &value) ||
		    (value.len == sizeof(uint64_t) && /* not a claim's */
		     ledger_is_rebooted(ledger, store_view_u64(&value, 0)));
	if (*ret_free && !own)
		(void)ledger_owner(ledger, STORE_BY_DEVICE, &by_device); /* drops that one */
	r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
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
	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	if (claim_get(ledger->store, request->key.container_id, request->pool, &claim) &&
	    !ledger_is_rebooted(ledger, claim.id))
		place = claim_find(&claim, request->rail);
	r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
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

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	while (claim_next(ledger->store, &key, &name, &claim)) {
		for (size_t i = 0; i < claim.count; i++) {
			if (claim.rails[i].device[0])
				visit(claim.rails[i].device, arg);
		}
	}
	r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
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
		if (claim.expiry_ms <= now_ms || ledger_is_rebooted(ledger, claim.id)) {
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
