/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which index a reservation gets: on its own rail, and on those that its pod claims with it. Reads
 * the store and decides; choice_take() writes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipamd/allot.h"
#include "ipamd/claim.h"
#include "ipamd/ledger.h"
#include "ipamd/pool.h"
#include "ipamd/proto/proto.h"
#include "ipamd/store.h"

enum {
	CHOICE_TRIES =
		32, /* rested indexes that are tried for being free on all rails; and unused */
};

struct choice_ask {
	struct store *store;
	const struct pool *pool;
	const struct rail *rail;
	const struct reserve_request *request;
	const char *pod;        /* lease_pod() of @request */
	const char *device_key; /* "" = none */
	uint64_t first_id;      /* of this boot */
	int64_t now_ms;         /* ledger time */
};

struct choice {
	const struct rail *rail; /* NULL: no address is asked for, and nothing is taken */
	struct allotment own;
	bool was_claimed;
	struct claim_rail mine; /* was_claimed: what the pod had claimed on this rail */
	struct claim claim;     /* what is claimed for other rails, before or now… */
	bool is_new;            /* …it was no claim before: it has no id yet */
	struct allotment added[PROTO_RAILS_MAX]; /* …the last of claim.rails, claimed now */
	size_t added_count;
};

/*
 * See ledger_reserve() for the order and the refusals. Takes nothing. @vfs chooses the VFs of
 * claimed rails, if @ask->request chooses a device; it is told at once, and again if the choice
 * fails.
 */
int choice_make(const struct choice_ask *ask, const struct ledger_vfs *vfs,
		struct choice *ret_choice, struct err *err);
/* A choice that is not taken: its VFs are free again. */
void choice_drop(const struct choice *choice, const struct ledger_vfs *vfs);
/* The own index is record @id's, the others are claimed by @claim_id if the claim is new. */
void choice_take(const struct choice_ask *ask, struct choice *choice, uint64_t id,
		 uint64_t claim_id, const struct ledger_vfs *vfs);
