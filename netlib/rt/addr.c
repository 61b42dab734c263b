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
	int (*each)(const struct addr_info *addr, void *arg);
	void *arg;
	bool stopped;
};

/* False: it is of no use to anybody here. */
static bool read_addr(const struct ifaddrmsg *body, struct nlattr *attrs[],
		      struct addr_info *ret_info)
{
	struct nlattr *local = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	struct addr_info info = { .cidr.ip.family = body->ifa_family };
	uint32_t flags;

	if (!local || nla_len(local) != ip_len(&info.cidr.ip))
		return false;
	memcpy(info.cidr.ip.bytes, nla_data(local), (size_t)nla_len(local));
	flags = attrs[IFA_FLAGS] ? nla_get_u32(attrs[IFA_FLAGS]) : body->ifa_flags;
	info.cidr.plen = body->ifa_prefixlen;
	info.scope = body->ifa_scope;
	info.tentative = flags & IFA_F_TENTATIVE;
	info.dadfailed = flags & IFA_F_DADFAILED;
	*ret_info = info;
	return true;
}

static int take_addr(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct ifaddrmsg *body = nlmsg_data(header);
	struct nlattr *attrs[IFA_MAX + 1];
	struct addr_walk *walk = arg;
	struct addr_info info;
	int r;

	if (header->nlmsg_type != RTM_NEWADDR ||
	    nlmsg_parse(header, sizeof(*body), attrs, IFA_MAX, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read address: malformed answer");
	/* A kernel without strict checks ignores the ifindex in the request. */
	if ((int)body->ifa_index != walk->ifindex || !read_addr(body, attrs, &info))
		return 0;
	r = walk->each(&info, walk->arg);
	walk->stopped = r > 0;
	return r;
}

int addr_list(struct wire *rt, int ifindex, int (*each)(const struct addr_info *addr, void *arg),
	      void *arg, struct err *err)
{
	struct ifaddrmsg body = { .ifa_index = (uint32_t)ifindex };
	struct addr_walk walk = { .ifindex = ifindex, .each = each, .arg = arg };
	struct nl_msg *msg = wire_message(RTM_GETADDR, NLM_F_DUMP, &body, sizeof(body));
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_query(rt, msg, take_addr, &walk, NULL, err, "list addresses of device %d",
		       ifindex);
	return r < 0 ? r : walk.stopped;
}

struct addr_search {
	const struct cidr *want; /* NULL: any that is global */
	struct addr_info *found;
};

static int compare_one(const struct addr_info *addr, void *arg)
{
	struct addr_search *search = arg;
	const struct cidr *want = search->want;

	if (want ? addr->cidr.plen != want->plen || ip_compare(&addr->cidr.ip, &want->ip) != 0
		 : addr->scope != RT_SCOPE_UNIVERSE)
		return 0;
	*search->found = *addr;
	return 1;
}

int addr_find(struct wire *rt, int ifindex, const struct cidr *cidr, struct addr_info *ret_addr,
	      struct err *err)
{
	struct addr_search search = { cidr, ret_addr };

	return addr_list(rt, ifindex, compare_one, &search, err);
}

int addr_find_global(struct wire *rt, int ifindex, struct cidr *ret_cidr, struct err *err)
{
	struct addr_info found;
	struct addr_search search = { NULL, &found };
	int r = addr_list(rt, ifindex, compare_one, &search, err);

	if (r > 0)
		*ret_cidr = found.cidr;
	return r;
}

/* For the kernel a v6 address is "there" whatever its prefix length. Sets no error of its own. */
static bool address_is_there(struct wire *rt, int ifindex, const struct cidr *cidr)
{
	struct addr_info found;
	struct err ignored;

	return addr_find(rt, ifindex, cidr, &found, &ignored) > 0;
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
