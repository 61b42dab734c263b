/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools, rails and indexes: pure arithmetic, no I/O.
 *
 * A pool is a set of equal rails. The unit is the host index: a rail maps index i to v4 network + i
 * and v6 network + i. Never handed out: the network address, the v4 broadcast address (a /31, /32,
 * /127 or /128 has neither), gateways, exclusions.
 *
 * Slot s is the s-th block of 2^"blockBits" indexes, on every rail and of its GUIDs. With
 * "subnet": "slot" each is a prefix of its own, with network, broadcast and gateway addresses of
 * its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "base/text.h"
#include "ipamd/proto/proto.h"
#include "ipamd/ranges.h"

enum {
	POOL_CLAIM_MAX_S = 3600,
	RAIL_GUIDS = 65536, /* a rail's block of GUIDs without slots: more than any node has VFs */
	RAIL_ONE_SLOT = 32, /* bits of the one slot that a rail without "blockBits" is */
};

struct slots {
	int bits;                     /* "blockBits", or RAIL_ONE_SLOT */
	bool subnets;                 /* "subnet" is "slot" */
	struct index_ranges reserved; /* "reservedSlots", by number; nothing of them is given */
	struct index_ranges excluded; /* "slotExclude": indexes inside every slot */
};

struct rail {
	char name[PROTO_POOL_MAX + 1];
	char (*pf_names)[IFNAME_MAX + 1]; /* "match": the PFs of this rail, by netdev… */
	size_t pf_name_count;
	struct pci_addr *pf_addrs; /* …and by address; neither: any device is on it */
	size_t pf_addr_count;
	uint64_t guid_base;           /* "guidBase": the first GUID of its block; 0 = none */
	uint64_t guid_count;          /* as many as indexes, without slots RAIL_GUIDS; or 0 */
	uint16_t pkey;                /* 0 = none */
	struct cidr cidr, cidr6;      /* ip.family 0 = absent; one of both is there */
	struct ip gateway, gateway6;  /* family 0 = none; with subnets those of slot 0 */
	struct slots slots;           /* its pool's */
	struct index_ranges excluded; /* network, broadcast, gateways, "exclude", reserved slots */
	struct index_ranges slot_excluded; /* the same of every slot, by index inside it */
	uint64_t last;                     /* the highest index of the rail */
	uint64_t capacity;
	struct route *routes; /* without a gateway: by that of the index */
	size_t route_count;
};

/* "restFor": to whom an address that rests is given when it is asked for by name. */
enum pool_rest_for { POOL_REST_FOR_NAMESPACE, POOL_REST_FOR_POD, POOL_REST_FOR_ANY };
const char *pool_rest_for_name(enum pool_rest_for rest_for);

/* "rebind": whether a VF is bound to its driver anew before it is given out again. */
enum pool_rebind {
	POOL_REBIND_AUTO, /* where it was in use from above */
	POOL_REBIND_ALWAYS,
	POOL_REBIND_NEVER,
};
const char *pool_rebind_name(enum pool_rebind rebind);

struct pool {
	char name[PROTO_POOL_MAX + 1];
	int64_t cooldown_ms;
	int64_t sticky_ms; /* how long an identity's index is remembered after its release; 0 = not
			    */
	enum pool_rest_for rest_for;
	int64_t claim_ms; /* how long a rail that a pod has claimed waits to be bound */
	enum pool_rebind rebind;
	struct slots slots;
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
 * or GUIDs, rails of one pool that differ in their number of slots, and a PF that two of them name.
 * (That one rail means by its netdev what
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
/* Do both name one PF in the same way? */
bool rails_share_pf(const struct rail *a, const struct rail *b);
/* The rail whose `match` names this PF: of one pool, of all (the first), and the one whose GUIDs
 * its VFs get (the first with a guidBase). NULL: none. */
const struct rail *pool_rail_of(const struct pool *pool, const char *pf_netdev,
				const struct pci_addr *pf);
const struct rail *pool_set_rail_of(const struct pool_set *set, const char *pf_netdev,
				    const struct pci_addr *pf);
const struct rail *pool_set_guid_rail(const struct pool_set *set, const char *pf_netdev,
				      const struct pci_addr *pf);

/* What the rails' reader calls when all is read but the capacity. */
void rail_finish(struct rail *rail);

/* The first index >= @from that may be handed out, or false if there is none. O(log n). */
bool rail_next_index(const struct rail *rail, uint64_t from, uint64_t *ret_index);
/* May this index be handed out at all? */
bool rail_has_index(const struct rail *rail, uint64_t index);
/* Why it may not, as "is a gateway of" (the rail); NULL: it may. */
const char *rail_refusal(const struct rail *rail, uint64_t index);
/* The index of an address of this rail, or false if it is in neither prefix. */
bool rail_index_of(const struct rail *rail, const struct ip *ip, uint64_t *ret_index);
/*
 * The index of its gateway, of the first slot that is not reserved. False: it has none, or those of
 * both families have different ones.
 */
bool rail_gateway_index(const struct rail *rail, uint64_t *ret_index);
/* How many indexes may be handed out. */
uint64_t rail_capacity(const struct rail *rail);
uint64_t rail_slot_count(const struct rail *rail);
/* The length of the prefix that a host with an address in @cidr sees: the rail's, or the slot's. */
int rail_subnet_plen(const struct rail *rail, const struct cidr *cidr);
/* The first GUID >= @from of the rail's block that is in no reserved slot, or false. */
bool rail_next_guid(const struct rail *rail, uint64_t from, uint64_t *ret_guid);
/* Addresses (v4, then v6, with gateways) and routes of one index, but the one to its own prefix. A
 * gateway has no gateway, and no route by itself. */
void rail_config(const struct rail *rail, uint64_t index, struct ip_config *ret_config);
