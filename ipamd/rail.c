/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which indexes a rail gives, and what they are as addresses. Two sets are left out: `excluded` of
 * the whole rail, and `slot_excluded` of each slot. rail_finish() makes each range of the first end
 * where an index is free in its slot, so that one look at each set finds the next index, however
 * many there are.
 */
#include "ipamd/pool.h"

#include <sys/socket.h>

static uint64_t slot_mask(const struct rail *rail)
{
	return (UINT64_C(1) << rail->slots.bits) - 1;
}

/* Of a slot with a prefix of its own its first index; else that of the rail. */
static uint64_t subnet_first(const struct rail *rail, uint64_t index)
{
	return rail->slots.subnets ? index & ~slot_mask(rail) : 0;
}

/* The first index >= @from that its slot gives; past the last of the rail if there is none. */
static uint64_t slot_skip(const struct rail *rail, uint64_t from)
{
	uint64_t mask = slot_mask(rail), first = from & ~mask;
	uint64_t offset = ranges_skip(&rail->slot_excluded, from & mask);

	if (offset <= mask)
		return first + offset;
	offset = ranges_skip(&rail->slot_excluded, 0);
	return offset <= mask ? first + mask + 1 + offset : UINT64_MAX;
}

/* How many indexes below @end the slots give. */
static uint64_t slot_below(const struct rail *rail, uint64_t end)
{
	uint64_t mask = slot_mask(rail), size = mask + 1, offset = end & mask;
	uint64_t each = size - ranges_below(&rail->slot_excluded, size);

	return (end >> rail->slots.bits) * each + offset -
	       ranges_below(&rail->slot_excluded, offset);
}

void rail_finish(struct rail *rail)
{
	ranges_merge(&rail->slot_excluded);
	ranges_merge(&rail->excluded);
	for (size_t i = 0; i < rail->excluded.count; i++)
		rail->excluded.at[i].last = slot_skip(rail, rail->excluded.at[i].last + 1) - 1;
	ranges_merge(&rail->excluded);
	rail->capacity = slot_below(rail, rail->last + 1);
	for (size_t i = 0; i < rail->excluded.count; i++) {
		const struct index_range *range = &rail->excluded.at[i];
		uint64_t last = range->last < rail->last ? range->last : rail->last;

		rail->capacity -= slot_below(rail, last + 1) - slot_below(rail, range->first);
	}
}

uint64_t rail_slot_count(const struct rail *rail)
{
	return (rail->last >> rail->slots.bits) + 1;
}

bool rail_next_index(const struct rail *rail, uint64_t from, uint64_t *ret_index)
{
	from = ranges_skip(&rail->excluded, slot_skip(rail, from));
	if (from > rail->last)
		return false;
	*ret_index = from;
	return true;
}

bool rail_has_index(const struct rail *rail, uint64_t index)
{
	uint64_t next;

	return rail_next_index(rail, index, &next) && next == index;
}

static const struct cidr *rail_cidr(const struct rail *rail, int family)
{
	return family == AF_INET6 ? &rail->cidr6 : &rail->cidr;
}

bool rail_index_of(const struct rail *rail, const struct ip *ip, uint64_t *ret_index)
{
	const struct cidr *cidr = rail_cidr(rail, ip->family);
	uint64_t index;

	if (!cidr_contains(cidr, ip) || !ip_index(&cidr->ip, ip, &index) || index > rail->last)
		return false;
	*ret_index = index;
	return true;
}

uint64_t rail_capacity(const struct rail *rail)
{
	return rail->capacity;
}

int rail_subnet_plen(const struct rail *rail, const struct cidr *cidr)
{
	return rail->slots.subnets ? ip_bits(&cidr->ip) - rail->slots.bits : cidr->plen;
}

/* The gateway of that family for one index; family 0 = none. */
static struct ip gateway_of(const struct rail *rail, int family, uint64_t index)
{
	const struct ip *gateway = family == AF_INET6 ? &rail->gateway6 : &rail->gateway;

	return gateway->family ? ip_offset(gateway, subnet_first(rail, index)) : *gateway;
}

static bool index_is_gateway(const struct rail *rail, int family, uint64_t index)
{
	struct ip ip = ip_offset(&rail_cidr(rail, family)->ip, index);
	struct ip gateway = gateway_of(rail, family, index);

	return gateway.family && ip_compare(&gateway, &ip) == 0;
}

bool rail_gateway_index(const struct rail *rail, uint64_t *ret_index)
{
	uint64_t slot = ranges_skip(&rail->slots.reserved, 0), index = 0, other = 0;
	bool has4 = ip_index(&rail->cidr.ip, &rail->gateway, &index);
	bool has6 = ip_index(&rail->cidr6.ip, &rail->gateway6, &other);

	if (!rail->gateway.family && !rail->gateway6.family)
		return false;
	if ((rail->gateway.family && !has4) || (rail->gateway6.family && !has6) ||
	    (rail->gateway.family && rail->gateway6.family && index != other))
		return false;
	*ret_index = (rail->gateway.family ? index : other) +
		     (rail->slots.subnets ? slot << rail->slots.bits : 0);
	return *ret_index <= rail->last;
}

const char *rail_refusal(const struct rail *rail, uint64_t index)
{
	const struct index_ranges *reserved = &rail->slots.reserved;
	uint64_t slot = index >> rail->slots.bits;

	if (rail_has_index(rail, index))
		return NULL;
	if (index > rail->last)
		return "is beyond";
	if (index_is_gateway(rail, AF_INET, index) || index_is_gateway(rail, AF_INET6, index))
		return "is a gateway of";
	if (ranges_skip(reserved, slot) != slot)
		return "is in a reserved slot of";
	return "is excluded from";
}

bool rail_next_guid(const struct rail *rail, uint64_t from, uint64_t *ret_guid)
{
	uint64_t offset = from > rail->guid_base ? from - rail->guid_base : 0;
	uint64_t slot = offset >> rail->slots.bits;
	uint64_t free = ranges_skip(&rail->slots.reserved, slot);

	if (free != slot)
		offset = free << rail->slots.bits;
	if (offset >= rail->guid_count)
		return false;
	*ret_guid = rail->guid_base + offset;
	return true;
}

static void config_add(const struct rail *rail, int family, uint64_t index,
		       struct ip_config *config)
{
	const struct cidr *cidr = rail_cidr(rail, family);

	if (!cidr->ip.family)
		return;
	config->ips[config->ip_count++] = (struct address) {
		.cidr = { .ip = ip_offset(&cidr->ip, index),
			  .plen = (uint8_t)rail_subnet_plen(rail, cidr) },
	};
	if (!index_is_gateway(rail, family, index))
		config->ips[config->ip_count - 1].gateway = gateway_of(rail, family, index);
}

/* The way to its own prefix, and no more: the kernel makes that one with the address. */
static bool route_is_own(const struct rail *rail, uint64_t index, const struct route *route)
{
	const struct cidr *cidr = rail_cidr(rail, route->dst.ip.family);
	struct ip first = ip_offset(&cidr->ip, subnet_first(rail, index));

	return cidr->ip.family && !route->gw.family && !route->table && !route->priority &&
	       !route->mtu && !route->advmss && route->dst.plen == rail_subnet_plen(rail, cidr) &&
	       ip_compare(&route->dst.ip, &first) == 0;
}

static bool config_has(const struct ip_config *config, const struct ip *ip)
{
	for (size_t i = 0; i < config->ip_count; i++) {
		if (ip->family && ip_compare(&config->ips[i].cidr.ip, ip) == 0)
			return true;
	}
	return false;
}

void rail_config(const struct rail *rail, uint64_t index, struct ip_config *ret_config)
{
	*ret_config = (struct ip_config) { 0 };
	config_add(rail, AF_INET, index, ret_config);
	config_add(rail, AF_INET6, index, ret_config);
	for (size_t i = 0; i < rail->route_count; i++) {
		struct route route = rail->routes[i];

		if (route_is_own(rail, index, &route))
			continue;
		if (!route.gw.family)
			route.gw = gateway_of(rail, route.dst.ip.family, index);
		if (!config_has(ret_config, &route.gw))
			ret_config->routes[ret_config->route_count++] = route;
	}
}
