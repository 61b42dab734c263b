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
#include "ipamd/proto/proto.h"

enum lease_state {
	LEASE_UNUSED, /* the store has no entry */
	LEASE_HELD,
	LEASE_RESTING,
	LEASE_CLAIMED,
};

enum {
	LEASE_POD_MAX = 317, /* a namespace of 63 bytes, a slash, a name of 253 */
	LEASE_NAMESPACE_MAX = PROTO_NAMESPACE_MAX,
	LEASE_NEVER = 0,    /* a moment of release: nobody has ever used the index */
	LEASE_UNKNOWN = -1, /* likewise: when is not known */
};

struct lease {
	enum lease_state state;
	uint64_t holder; /* LEASE_HELD: the record's id, LEASE_CLAIMED: the claim's */
	/* LEASE_RESTING: ledger time of the release, the pod that had it until then ("" = not
	 * known), and that pod's Kubernetes namespace ("" = it had none), if it is known. Held or
	 * claimed: of the rest before, which goes on if nobody has used the index.
	 */
	int64_t since_ms;
	char pod[LEASE_POD_MAX + 1];
	bool has_namespace;
	char namespace[LEASE_NAMESPACE_MAX + 1];
};

enum {
	LEASE_BYTES_MIN = 9,
	LEASE_BYTES_MAX = 17 + LEASE_POD_MAX + 1 + LEASE_NAMESPACE_MAX + 1,
};

/* The form in the store; returns its length. Older ones end after the first nine bytes, or with the
 * pod. */
size_t lease_encode(const struct lease *lease, uint8_t buf[LEASE_BYTES_MAX]);
int lease_decode(const uint8_t *buf, size_t len, struct lease *ret_lease); /* 0 or -EINVAL */

/*
 * Which pod an index has rested of: its UID, else "namespace/name", else "" (also if that is too
 * long to be remembered). Returns @buf.
 */
const char *lease_pod(const struct pod_ref *pod, char buf[LEASE_POD_MAX + 1]);
/* From now on it rests of @pod. */
void lease_set_pod(struct lease *lease, const struct pod_ref *pod);

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
