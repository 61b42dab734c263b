/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools, rails and indexes: pure arithmetic, no I/O.
 *
 * A pool is a set of equal rails. The unit is the host index: a rail maps index i to v4 network + i
 * and v6 network + i. Never handed out: the network address, the v4 broadcast address (a /31, /32,
 * /127 or /128 has neither), gateways, exclusions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "base/text.h"
#include "ipamd/proto/proto.h"

struct index_range { /* inclusive */
	uint64_t first, last;
};

struct rail {
	char name[PROTO_POOL_MAX + 1];
	struct cidr cidr, cidr6;      /* ip.family 0 = absent; one of both is there */
	struct ip gateway, gateway6;  /* family 0 = none */
	struct index_range *excluded; /* sorted, merged: network, broadcast, gateways, "exclude" */
	size_t excluded_count;
	uint64_t last; /* the highest index of the rail */
	struct route *routes;
	size_t route_count;
};

struct pool {
	char name[PROTO_POOL_MAX + 1];
	int64_t cooldown_ms;
	struct rail *rails;
	size_t rail_count;
};

struct pool_set {
	struct pool *pools;
	size_t count;
	json_t *source; /* the array it was read from: what the store keeps */
};

/* Reads the "pools" array of the configuration, strictly. Overlapping rails are refused. */
int pool_set_read(json_t *array, struct pool_set *ret_set, struct err *err);
void pool_set_free(struct pool_set *set);

const struct pool *pool_find(const struct pool_set *set, const char *name);
/* @name NULL: the only rail of the pool; NULL if there are several or it is unknown. */
const struct rail *pool_rail(const struct pool *pool, const char *name);

/* The first index >= @from that may be handed out, or false if there is none. */
bool rail_next_index(const struct rail *rail, uint64_t from, uint64_t *ret_index);
/* May this index be handed out at all? */
bool rail_has_index(const struct rail *rail, uint64_t index);
/* The index of an address of this rail, or false if it is in neither prefix. */
bool rail_index_of(const struct rail *rail, const struct ip *ip, uint64_t *ret_index);
/* How many indexes may be handed out. */
uint64_t rail_capacity(const struct rail *rail);
/* Addresses (v4, then v6, with gateways) and routes of one index. */
void rail_config(const struct rail *rail, uint64_t index, struct ip_config *ret_config);
