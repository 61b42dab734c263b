/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an index: unused, claimed, held, resting, and which one is next. Pure: the ledger
 * looks up what the store knows and passes the candidates and the ledger's time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "ipamd/pool.h"

enum lease_state {
	LEASE_UNUSED, /* the store has no entry */
	LEASE_HELD,
	LEASE_RESTING,
	LEASE_CLAIMED,
};

struct lease {
	enum lease_state state;
	uint64_t holder;  /* LEASE_HELD: the record's id, LEASE_CLAIMED: the claim's */
	int64_t since_ms; /* LEASE_RESTING: ledger time of the release */
};

enum { LEASE_BYTES = 9 };

/* The form in the store. */
void lease_encode(const struct lease *lease, uint8_t buf[LEASE_BYTES]);
int lease_decode(const uint8_t *buf, size_t len, struct lease *ret_lease); /* 0 or -EINVAL */

/* How long a resting index has still to wait; 0 = rested. */
int64_t lease_rest_left_ms(int64_t since_ms, int64_t cooldown_ms, int64_t now_ms);

/* The best of each kind that the store has to offer. */
struct lease_offer {
	bool has_oldest, has_unused;
	uint32_t oldest;         /* released longer ago than any other */
	int64_t oldest_since_ms; /* when */
	uint32_t unused;         /* the first that nobody ever had */
};

/*
 * The oldest index if it is rested, else an unused one. Refused: -EAGAIN (ERR_AGAIN), with the
 * time until the oldest is rested.
 */
int lease_choose(const struct lease_offer *offer, int64_t cooldown_ms, int64_t now_ms,
		 uint32_t *ret_index, struct err *err);

/*
 * The index behind addresses that were asked for: each must be one that @rail may hand out, at most
 * one of each family, all of the same index. Refused: -EINVAL (ERR_VALUE).
 */
int lease_requested(const struct rail *rail, const struct cidr *ips, size_t count,
		    uint32_t *ret_index, struct err *err);
