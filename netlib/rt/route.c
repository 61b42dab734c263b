/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/route.h"

#include <errno.h>
#include <string.h>

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

static int put_ip(struct nl_msg *msg, int attr, const struct ip *ip)
{
	return ip->family ? nla_put(msg, attr, ip_bits(ip) / 8, ip->bytes) : 0;
}

static int put_metrics(struct nl_msg *msg, const struct route_spec *route)
{
	struct nlattr *nest;

	if (!route->mtu && !route->advmss)
		return 0;
	nest = nla_nest_start(msg, RTA_METRICS);
	if (!nest || (route->mtu && nla_put_u32(msg, RTAX_MTU, route->mtu) < 0) ||
	    (route->advmss && nla_put_u32(msg, RTAX_ADVMSS, route->advmss) < 0))
		return -ENOMEM;
	(void)nla_nest_end(msg, nest);
	return 0;
}

static uint8_t route_scope(const struct route_spec *route)
{
	if (route->scope >= 0)
		return (uint8_t)route->scope;
	/* IPv6 has no scopes: the kernel reads and reports universe. */
	return route->gw.family || route->dst.ip.family == AF_INET6 ? RT_SCOPE_UNIVERSE
								    : RT_SCOPE_LINK;
}

static struct nl_msg *route_message(int type, int flags, const struct route_spec *route)
{
	struct rtmsg body = {
		.rtm_family = (uint8_t)route->dst.ip.family,
		.rtm_dst_len = route->dst.plen,
		.rtm_protocol = RT_PROTOCOL_SPUR,
		.rtm_scope = route_scope(route),
		.rtm_type = RTN_UNICAST,
	};
	struct ip dst = cidr_network(&route->dst);
	struct nl_msg *msg = wire_message(type, NLM_F_ACK | flags, &body, sizeof(body));

	if (!msg || (route->dst.plen && put_ip(msg, RTA_DST, &dst) < 0) ||
	    put_ip(msg, RTA_GATEWAY, &route->gw) < 0 || put_ip(msg, RTA_PREFSRC, &route->src) < 0 ||
	    nla_put_u32(msg, RTA_OIF, (uint32_t)route->ifindex) < 0 ||
	    nla_put_u32(msg, RTA_TABLE, route->table ? route->table : RT_TABLE_MAIN) < 0 ||
	    (route->priority && nla_put_u32(msg, RTA_PRIORITY, route->priority) < 0) ||
	    put_metrics(msg, route) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

struct route_search {
	const struct route_spec *want;
	bool found;
};

static bool same_ip(struct nlattr *attr, const struct ip *ip, bool any_if_zero)
{
	static const uint8_t zero[16];

	if (!attr)
		return !ip->family || (any_if_zero && memcmp(ip->bytes, zero, sizeof(zero)) == 0);
	return ip->family && nla_len(attr) == ip_bits(ip) / 8 &&
	       memcmp(nla_data(attr), ip->bytes, (size_t)nla_len(attr)) == 0;
}

static int match_route(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct route_search *search = arg;
	const struct route_spec *want = search->want;
	struct rtmsg *body = nlmsg_data(header);
	struct nlattr *attrs[RTA_MAX + 1];
	struct ip dst = cidr_network(&want->dst);
	uint32_t table;

	if (header->nlmsg_type != RTM_NEWROUTE ||
	    nlmsg_parse(header, sizeof(*body), attrs, RTA_MAX, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read route: malformed answer");
	table = attrs[RTA_TABLE] ? nla_get_u32(attrs[RTA_TABLE]) : body->rtm_table;
	if (body->rtm_type == RTN_UNICAST && body->rtm_dst_len == want->dst.plen &&
	    (want->any_table || table == (want->table ? want->table : RT_TABLE_MAIN)) &&
	    attrs[RTA_OIF] && (int)nla_get_u32(attrs[RTA_OIF]) == want->ifindex &&
	    same_ip(attrs[RTA_DST], &dst, true) && same_ip(attrs[RTA_GATEWAY], &want->gw, false))
		search->found = true;
	return search->found;
}

int route_exists(struct wire *rt, const struct route_spec *route, bool *ret_exists, struct err *err)
{
	struct rtmsg body = { .rtm_family = (uint8_t)route->dst.ip.family };
	struct route_search search = { .want = route };
	struct nl_msg *msg = wire_message(RTM_GETROUTE, NLM_F_DUMP, &body, sizeof(body));
	int r;

	if (!msg || nla_put_u32(msg, RTA_OIF, (uint32_t)route->ifindex) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_query(rt, msg, match_route, &search, NULL, err, "list routes of device %d",
		       route->ifindex);
	if (r == 0)
		*ret_exists = search.found;
	return r;
}

/* For the kernel any route to that destination with that priority is "there". */
static bool route_is_there(struct wire *rt, const struct route_spec *route)
{
	struct err ignored;
	bool exists;

	return route_exists(rt, route, &exists, &ignored) == 0 && exists;
}

int route_add(struct wire *rt, const struct route_spec *route, struct err *err)
{
	struct nl_msg *msg = route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route);
	char dst[CIDR_TEXT], gw[IP_TEXT] = "its device";
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_request(rt, msg, err, "add route %s via %s", cidr_format(&route->dst, dst),
			 route->gw.family ? ip_format(&route->gw, gw) : gw);
	if (r == -EEXIST && route_is_there(rt, route))
		return 0;
	if (r == -EEXIST)
		err_details(err, "the table has another route to that destination; give this one "
				 "a priority or a table of its own");
	return r;
}

int route_del(struct wire *rt, const struct route_spec *route, struct err *err)
{
	struct nl_msg *msg = route_message(RTM_DELROUTE, 0, route);
	char dst[CIDR_TEXT];
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_request(rt, msg, err, "delete route %s", cidr_format(&route->dst, dst));
	return r == -ESRCH || r == -ENODEV ? 0 : r;
}

static bool is_multicast(const struct ip *ip)
{
	return ip->family == AF_INET6 ? ip->bytes[0] == 0xff : ip->bytes[0] >> 4 == 0xe;
}

static bool is_link_local(const struct cidr *dst)
{
	static const uint8_t prefix[8] = { 0xfe, 0x80 };

	return dst->ip.family == AF_INET6 && dst->plen == 64 &&
	       memcmp(dst->ip.bytes, prefix, sizeof(prefix)) == 0;
}

/* The kernel has chosen by device (NETLINK_GET_STRICT_CHK): a route of several ways has no RTA_OIF.
 */
static int match_made(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct cidr *found = arg;
	struct rtmsg *body = nlmsg_data(header);
	struct nlattr *attrs[RTA_MAX + 1];
	struct cidr dst;

	if (header->nlmsg_type != RTM_NEWROUTE ||
	    nlmsg_parse(header, sizeof(*body), attrs, RTA_MAX, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read route: malformed answer");
	if (body->rtm_protocol == RTPROT_KERNEL || body->rtm_protocol == RTPROT_RA ||
	    (body->rtm_family != AF_INET && body->rtm_family != AF_INET6))
		return 0;
	dst = (struct cidr) { .ip.family = body->rtm_family, .plen = body->rtm_dst_len };
	if (attrs[RTA_DST] && nla_len(attrs[RTA_DST]) == ip_bits(&dst.ip) / 8)
		memcpy(dst.ip.bytes, nla_data(attrs[RTA_DST]), (size_t)nla_len(attrs[RTA_DST]));
	if (is_multicast(&dst.ip) || is_link_local(&dst))
		return 0;
	*found = dst;
	return 1;
}

int route_find_made(struct wire *rt, int ifindex, struct cidr *ret_dst, struct err *err)
{
	struct rtmsg body = { .rtm_family = AF_UNSPEC };
	struct cidr found = { 0 };
	struct nl_msg *msg = wire_message(RTM_GETROUTE, NLM_F_DUMP, &body, sizeof(body));
	int r;

	if (!msg || nla_put_u32(msg, RTA_OIF, (uint32_t)ifindex) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_query(rt, msg, match_made, &found, NULL, err, "list routes of device %d", ifindex);
	if (r == 0)
		*ret_dst = found;
	return r;
}
