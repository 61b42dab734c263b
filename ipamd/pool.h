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

enum { RAIL_GUIDS = 65536 }; /* a rail's block of GUIDs: more than any node has VFs */

struct rail {
	char name[PROTO_POOL_MAX + 1];
	char (*pf_names)[IFNAME_MAX + 1]; /* "match": the PFs of this rail, by netdev… */
	size_t pf_name_count;
	struct pci_addr *pf_addrs; /* …and by address; neither: any device is on it */
	size_t pf_addr_count;
	uint64_t guid_base;           /* "guidBase": the first GUID of its block; 0 = none */
	uint64_t guid_count;          /* RAIL_GUIDS, or 0 */
	uint16_t pkey;                /* 0 = none */
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
	int64_t sticky_ms; /* how long an identity's index is remembered after its release; 0 = not
			    */
	int64_t claim_ms;  /* how long a rail that a pod has claimed waits to be bound */
	struct rail *rails;
	size_t rail_count;
};

struct pool_set {
	struct pool *pools;
	size_t count;
	json_t *source; /* the array it was read from: what the store keeps */
};

/*
 * Reads the "pools" array of the configuration, strictly. Refused: rails that overlap in addresses
 * or GUIDs, and a PF that two rails of one pool name. (That one rail means by its netdev what
 * another means by its address, nobody can see here: the first of them has it then.)
 */
int pool_set_read(json_t *array, struct pool_set *ret_set, struct err *err);
void pool_set_free(struct pool_set *set);

const struct pool *pool_find(const struct pool_set *set, const char *name);
/* @name NULL: the only rail of the pool; NULL if there are several or it is unknown. */
const struct rail *pool_rail(const struct pool *pool, const char *name);

/*
 * Is a device with this PF on the rail? A PF, and a NIC that is used whole, is its own; @pf_netdev
 * may be "", and @pf NULL where the device is no PCI function. Any is, where there is no `match`.
 */
bool rail_matches(const struct rail *rail, const char *pf_netdev, const struct pci_addr *pf);
bool rail_has_match(const struct rail *rail);
/* The rail whose `match` names this PF: of one pool, of all (the first), and the one whose GUIDs
 * its VFs get (the first with a guidBase). NULL: none. */
const struct rail *pool_rail_of(const struct pool *pool, const char *pf_netdev,
				const struct pci_addr *pf);
const struct rail *pool_set_rail_of(const struct pool_set *set, const char *pf_netdev,
				    const struct pci_addr *pf);
const struct rail *pool_set_guid_rail(const struct pool_set *set, const char *pf_netdev,
				      const struct pci_addr *pf);

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
