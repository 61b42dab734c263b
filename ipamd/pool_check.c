/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/pool_check.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/json.h"

static const struct cidr *rail_cidr(const struct rail *rail, int family)
{
	return family == AF_INET6 ? &rail->cidr6 : &rail->cidr;
}

static int check_prefix(const struct cidr *cidr, const char *key, const char *path, struct err *err)
{
	const char *what = cidr->ip.family ? cidr_unusable(cidr) : NULL;
	char text[CIDR_TEXT];

	if (!what)
		return 0;
	return err_set(err, EINVAL, ERR_VALUE,
		       "key \"%s.%s\": \"%s\": has %s addresses, which no device of a pod can have",
		       path, key, cidr_format(cidr, text), what);
}

static int check_capacity(const struct rail *rail, const char *path, struct err *err)
{
	if (rail_capacity(rail) > 0)
		return 0;
	return err_set(err, EINVAL, ERR_VALUE,
		       "key \"%s\": rail \"%s\" gives no address: all of its %llu indexes%s are "
		       "excluded, reserved or a gateway's",
		       path, rail->name, (unsigned long long)rail->last + 1,
		       rail->last == UINT32_MAX ? ", the most that a rail has," : "");
}

/* With a prefix for each slot: do only indexes of the slot of @ip see it? */
static bool slot_is_all(const struct rail *rail, const struct ip *ip)
{
	uint64_t index, given, slot;

	if (!rail_index_of(rail, ip, &index))
		return false;
	slot = index >> rail->slots.bits;
	return (!rail_next_index(rail, 0, &given) || given >> rail->slots.bits >= slot) &&
	       !rail_next_index(rail, (slot + 1) << rail->slots.bits, &given);
}

static bool is_on_link(const struct rail *rail, const struct ip *ip)
{
	if (ip->family == AF_INET6 && ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80)
		return true; /* fe80::/10 */
	if (!cidr_contains(rail_cidr(rail, ip->family), ip))
		return false;
	return !rail->slots.subnets || slot_is_all(rail, ip);
}

/* Is there a route that leads to @ip without a gateway? (rail_config() gives others the rail's.) */
static bool is_led_to(const struct rail *rail, const struct ip *ip)
{
	bool has_gateway = (ip->family == AF_INET6 ? &rail->gateway6 : &rail->gateway)->family;

	for (size_t i = 0; i < rail->route_count; i++) {
		const struct route *route = &rail->routes[i];

		if (!route->gw.family && cidr_contains(&route->dst, ip) &&
		    (!has_gateway || route->scope == RT_SCOPE_LINK))
			return true;
	}
	return false;
}

static int check_route(const struct rail *rail, const struct route *route, const char *path,
		       struct err *err)
{
	const struct cidr *cidr = rail_cidr(rail, route->dst.ip.family);
	char text[CIDR_TEXT], own[CIDR_TEXT];

	if (!cidr->ip.family)
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"%s.dst\": \"%s\": rail \"%s\" has no %s addresses", path,
			       cidr_format(&route->dst, text), rail->name,
			       route->dst.ip.family == AF_INET6 ? "IPv6" : "IPv4");
	if (!route->gw.family || is_on_link(rail, &route->gw) || is_led_to(rail, &route->gw))
		return 0;
	return err_set(
		err, EINVAL, ERR_VALUE,
		"key \"%s.gw\": \"%s\": no address of rail \"%s\" reaches it: must be inside "
		"%s%s, or where a route without gateway leads",
		path, ip_format(&route->gw, text), rail->name, cidr_format(cidr, own),
		rail->slots.subnets ? ", in the only slot that is given" : "");
}

static int check_rail(const struct rail *rail, const char *path, struct err *err)
{
	char name[JSON_PATH_MAX + 32];
	int r = check_prefix(&rail->cidr, "cidr", path, err);

	if (r == 0)
		r = check_prefix(&rail->cidr6, "cidr6", path, err);
	if (r == 0)
		r = check_capacity(rail, path, err);
	for (size_t i = 0; r == 0 && i < rail->route_count; i++) {
		(void)snprintf(name, sizeof(name), "%s.routes[%zu]", path, i);
		r = check_route(rail, &rail->routes[i], name, err);
	}
	return r;
}

int pool_set_check(const struct pool_set *set, struct err *err)
{
	char path[JSON_PATH_MAX];
	int r = 0;

	for (size_t p = 0; r == 0 && p < set->count; p++) {
		for (size_t x = 0; r == 0 && x < set->pools[p].rail_count; x++) {
			(void)snprintf(path, sizeof(path), "pools[%zu].rails[%zu]", p, x);
			r = check_rail(&set->pools[p].rails[x], path, err);
		}
	}
	return r;
}
