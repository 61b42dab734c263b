/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/addr.h"

#include <errno.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

static int ip_len(const struct ip *ip)
{
	return ip_bits(ip) / 8;
}

/* The subnet's broadcast address, as `ip addr add … brd +` has it; none below /31. */
static int put_broadcast(struct nl_msg *msg, const struct cidr *cidr)
{
	struct ip brd = cidr->ip;

	if (brd.family != AF_INET || cidr->plen > 30)
		return 0;
	for (int bit = cidr->plen; bit < 32; bit++)
		brd.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return nla_put(msg, IFA_BROADCAST, 4, brd.bytes);
}

static struct nl_msg *addr_message(int type, int flags, int ifindex, const struct cidr *cidr)
{
	struct ifaddrmsg body = {
		.ifa_family = (uint8_t)cidr->ip.family,
		.ifa_prefixlen = cidr->plen,
		.ifa_index = (uint32_t)ifindex,
	};
	struct nl_msg *msg = wire_message(type, NLM_F_ACK | flags, &body, sizeof(body));

	if (msg && (nla_put(msg, IFA_LOCAL, ip_len(&cidr->ip), cidr->ip.bytes) < 0 ||
		    nla_put(msg, IFA_ADDRESS, ip_len(&cidr->ip), cidr->ip.bytes) < 0)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

struct addr_walk {
	int ifindex;
	struct addr_list *list;
};

static int take_addr(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct ifaddrmsg *body = nlmsg_data(header);
	struct nlattr *attrs[IFA_MAX + 1], *local;
	struct addr_walk *walk = arg;
	struct addr_info info = { 0 };
	uint32_t flags;

	if (header->nlmsg_type != RTM_NEWADDR ||
	    nlmsg_parse(header, sizeof(*body), attrs, IFA_MAX, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read address: malformed answer");
	/* A kernel without strict checks ignores the ifindex in the request. */
	if ((int)body->ifa_index != walk->ifindex || walk->list->count == ADDR_LIST_MAX)
		return 0;
	local = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	info.cidr.ip.family = body->ifa_family;
	if (!local || nla_len(local) != ip_len(&info.cidr.ip))
		return 0;
	memcpy(info.cidr.ip.bytes, nla_data(local), (size_t)nla_len(local));
	flags = attrs[IFA_FLAGS] ? nla_get_u32(attrs[IFA_FLAGS]) : body->ifa_flags;
	info.cidr.plen = body->ifa_prefixlen;
	info.scope = body->ifa_scope;
	info.tentative = flags & IFA_F_TENTATIVE;
	info.dadfailed = flags & IFA_F_DADFAILED;
	walk->list->addrs[walk->list->count++] = info;
	return 0;
}

static void forget_addrs(void *arg)
{
	struct addr_walk *walk = arg;

	walk->list->count = 0;
}

int addr_dump(struct wire *rt, int ifindex, struct addr_list *ret_list, struct err *err)
{
	struct ifaddrmsg body = { .ifa_index = (uint32_t)ifindex };
	struct addr_list list = { 0 };
	struct addr_walk walk = { .ifindex = ifindex, .list = &list };
	struct nl_msg *msg = wire_message(RTM_GETADDR, NLM_F_DUMP, &body, sizeof(body));
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_query(rt, msg, take_addr, &walk, forget_addrs, err, "list addresses of device %d",
		       ifindex);
	if (r == 0)
		*ret_list = list;
	return r;
}

/* For the kernel a v6 address is "there" whatever its prefix length. Sets no error of its own. */
static bool address_is_there(struct wire *rt, int ifindex, const struct cidr *cidr)
{
	struct addr_list list = { 0 };
	struct err ignored;

	if (addr_dump(rt, ifindex, &list, &ignored) < 0)
		return false;
	for (int i = 0; i < list.count; i++) {
		const struct cidr *other = &list.addrs[i].cidr;

		if (other->plen == cidr->plen && ip_compare(&other->ip, &cidr->ip) == 0)
			return true;
	}
	return false;
}

int addr_add(struct wire *rt, int ifindex, const struct cidr *cidr, bool nodad, struct err *err)
{
	struct nl_msg *msg = addr_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, cidr);
	uint32_t flags = nodad && cidr->ip.family == AF_INET6 ? IFA_F_NODAD : 0;
	char text[CIDR_TEXT];
	int r;

	if (!msg || put_broadcast(msg, cidr) < 0 ||
	    (flags && nla_put_u32(msg, IFA_FLAGS, flags) < 0)) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_request(rt, msg, err, "add address %s", cidr_format(cidr, text));
	return r == -EEXIST && address_is_there(rt, ifindex, cidr) ? 0 : r;
}

int addr_del(struct wire *rt, int ifindex, const struct cidr *cidr, struct err *err)
{
	struct nl_msg *msg = addr_message(RTM_DELADDR, 0, ifindex, cidr);
	char text[CIDR_TEXT];
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_request(rt, msg, err, "delete address %s", cidr_format(cidr, text));
	/* -ENXIO: the device has no IPv6 at all. */
	return r == -EADDRNOTAVAIL || r == -ENODEV || r == -ENXIO ? 0 : r;
}

int addr_watch(int *ret_fd, struct err *err)
{
	return wire_watch(RTNLGRP_IPV6_IFADDR, ret_fd, err, "addresses");
}

struct addr_events {
	void (*each)(int ifindex, bool deleted, void *arg);
	void *arg;
};

static void take_event(struct nlmsghdr *header, void *arg)
{
	struct addr_events *events = arg;
	struct ifaddrmsg *body = nlmsg_data(header);

	if ((header->nlmsg_type != RTM_NEWADDR && header->nlmsg_type != RTM_DELADDR) ||
	    !nlmsg_valid_hdr(header, sizeof(*body)))
		return;
	events->each((int)body->ifa_index, header->nlmsg_type == RTM_DELADDR, events->arg);
}

int addr_watch_read(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
		    struct err *err)
{
	struct addr_events events = { each, arg };

	return wire_watch_read(fd, take_event, &events, err, "addresses");
}
