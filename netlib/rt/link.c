/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links. A get never carries RTEXT_FILTER_VF: with it the kernel walks every VF of a PF under the
 * RTNL lock, at 1-2 ms each; RTEXT_FILTER_SKIP_STATS spares the counters.
 */
#include "rt/link.h"

#include <errno.h>
#include <string.h>

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "base/cleanup.h"

enum {
	/* Later than the headers that we are built with. */
	LINK_GSO_IPV4_MAX_SIZE = 63,
	LINK_GRO_IPV4_MAX_SIZE = 64,
	LINK_ATTR_MAX = LINK_GRO_IPV4_MAX_SIZE,
	/* The flags that __dev_change_flags() in net/core/dev.c lets a user change, but for IFF_UP.
	 */
	SETTABLE_FLAGS = IFF_DEBUG | IFF_NOTRAILERS | IFF_NOARP | IFF_DYNAMIC | IFF_MULTICAST |
			 IFF_PORTSEL | IFF_AUTOMEDIA | IFF_PROMISC | IFF_ALLMULTI,
};

static const int limit_attrs[LIMITS] = {
	[LIMIT_GSO] = IFLA_GSO_MAX_SIZE,           [LIMIT_GSO_SEGS] = IFLA_GSO_MAX_SEGS,
	[LIMIT_GRO] = IFLA_GRO_MAX_SIZE,           [LIMIT_GSO_IPV4] = LINK_GSO_IPV4_MAX_SIZE,
	[LIMIT_GRO_IPV4] = LINK_GRO_IPV4_MAX_SIZE,
};

static const struct {
	int id_attr;
	uint32_t flag;
} xdp_places[XDP_PLACES] = {
	[XDP_DRIVER] = { IFLA_XDP_DRV_PROG_ID, XDP_FLAGS_DRV_MODE },
	[XDP_GENERIC] = { IFLA_XDP_SKB_PROG_ID, XDP_FLAGS_SKB_MODE },
	[XDP_HARDWARE] = { IFLA_XDP_HW_PROG_ID, XDP_FLAGS_HW_MODE },
};

static void copy_text(char *to, size_t size, struct nlattr *attr)
{
	if (attr)
		(void)nla_strlcpy(to, attr, size);
}

static void copy_mac(struct mac *mac, struct nlattr *attr)
{
	if (!attr || nla_len(attr) > MAC_MAX)
		return;
	mac->len = (uint8_t)nla_len(attr);
	memcpy(mac->bytes, nla_data(attr), mac->len);
}

static void parse_altnames(struct link_info *link, struct nlattr *list)
{
	struct nlattr *attr;
	int rest;

	nla_for_each_nested(attr, list, rest)
	{
		if (nla_type(attr) != IFLA_ALT_IFNAME)
			continue;
		link->more_altnames = link->altname_count == LINK_ALTNAMES_MAX;
		if (!link->more_altnames)
			copy_text(link->altnames[link->altname_count++], ALTNAME_MAX + 1, attr);
	}
}

static void parse_identity(struct link_info *link, struct nlattr *attrs[])
{
	struct nlattr *info[IFLA_INFO_MAX + 1];
	char bus[16] = "", name[48] = "";

	if (attrs[IFLA_LINKINFO] &&
	    nla_parse_nested(info, IFLA_INFO_MAX, attrs[IFLA_LINKINFO], NULL) == 0)
		copy_text(link->kind, sizeof(link->kind), info[IFLA_INFO_KIND]);
	copy_text(bus, sizeof(bus), attrs[IFLA_PARENT_DEV_BUS_NAME]);
	copy_text(name, sizeof(name), attrs[IFLA_PARENT_DEV_NAME]);
	if (name[0])
		(void)snprintf(link->parent, sizeof(link->parent), "%s/%s", bus, name);
}

static uint32_t get_number(struct nlattr *attr)
{
	return attr && nla_len(attr) >= (int)sizeof(uint32_t) ? nla_get_u32(attr) : 0;
}

static uint8_t get_byte(struct nlattr *attr)
{
	return attr && nla_len(attr) >= (int)sizeof(uint8_t) ? nla_get_u8(attr) : 0;
}

static void parse_proto_down(struct link_settings *settings, struct nlattr *attrs[])
{
	struct nlattr *reason[IFLA_PROTO_DOWN_REASON_MAX + 1];

	settings->proto_down = get_byte(attrs[IFLA_PROTO_DOWN]);
	if (attrs[IFLA_PROTO_DOWN_REASON] &&
	    nla_parse_nested(reason, IFLA_PROTO_DOWN_REASON_MAX, attrs[IFLA_PROTO_DOWN_REASON],
			     NULL) == 0)
		settings->proto_down_reasons = get_number(reason[IFLA_PROTO_DOWN_REASON_VALUE]);
}

static void parse_xdp(struct link_settings *settings, struct nlattr *list)
{
	struct nlattr *xdp[IFLA_XDP_MAX + 1];

	if (!list || nla_parse_nested(xdp, IFLA_XDP_MAX, list, NULL) < 0)
		return;
	for (int i = 0; i < XDP_PLACES; i++)
		settings->xdp[i] = get_number(xdp[xdp_places[i].id_attr]);
}

static void parse_settings(struct link_info *link, struct nlattr *attrs[])
{
	struct link_settings *settings = &link->settings;

	settings->known = true;
	settings->flags = link->flags & SETTABLE_FLAGS;
	settings->txqlen = get_number(attrs[IFLA_TXQLEN]);
	settings->group = get_number(attrs[IFLA_GROUP]);
	settings->mode = get_byte(attrs[IFLA_LINKMODE]);
	for (int i = 0; i < LIMITS; i++)
		settings->limits[i] = get_number(attrs[limit_attrs[i]]);
	copy_text(settings->alias, sizeof(settings->alias), attrs[IFLA_IFALIAS]);
	if (link->type != ARPHRD_INFINIBAND) /* there its driver makes it, of the P_Key */
		copy_mac(&settings->broadcast, attrs[IFLA_BROADCAST]);
	parse_proto_down(settings, attrs);
	parse_xdp(settings, attrs[IFLA_XDP]);
}

static int parse_link(struct nlmsghdr *header, struct link_info *ret_link, struct err *err)
{
	struct nlattr *attrs[LINK_ATTR_MAX + 1];
	struct link_info link = { 0 };
	struct ifinfomsg *info = nlmsg_data(header);

	if (header->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse(header, sizeof(*info), attrs, LINK_ATTR_MAX, NULL) < 0 ||
	    !attrs[IFLA_IFNAME])
		return err_set(err, EBADMSG, ERR_KERNEL, "read link: malformed answer");
	link.ifindex = info->ifi_index;
	link.flags = info->ifi_flags;
	link.type = info->ifi_type;
	link.carrier = info->ifi_flags & IFF_LOWER_UP;
	copy_text(link.name, sizeof(link.name), attrs[IFLA_IFNAME]);
	link.mtu = attrs[IFLA_MTU] ? nla_get_u32(attrs[IFLA_MTU]) : 0;
	link.master = attrs[IFLA_MASTER] ? (int)nla_get_u32(attrs[IFLA_MASTER]) : 0;
	link.peer_nsid = attrs[IFLA_LINK_NETNSID] ? nla_get_s32(attrs[IFLA_LINK_NETNSID]) : -1;
	if (attrs[IFLA_LINK])
		*(attrs[IFLA_LINK_NETNSID] ? &link.peer : &link.local_peer) =
			(int)nla_get_u32(attrs[IFLA_LINK]);
	copy_mac(&link.mac, attrs[IFLA_ADDRESS]);
	copy_mac(&link.perm_mac, attrs[IFLA_PERM_ADDRESS]);
	if (attrs[IFLA_PROP_LIST])
		parse_altnames(&link, attrs[IFLA_PROP_LIST]);
	parse_identity(&link, attrs);
	parse_settings(&link, attrs);
	*ret_link = link;
	return 0;
}

static int take_one(struct nlmsghdr *header, void *arg, struct err *err)
{
	int r = parse_link(header, arg, err);

	return r < 0 ? r : 1; /* a get that was answered with a link has no ack to wait for */
}

static int get_link_by(struct wire *rt, int ifindex, const char *name, wire_parse_fn parse,
		       void *arg, struct err *err)
{
	struct ifinfomsg info = { .ifi_index = ifindex };
	struct nl_msg *msg = wire_message(RTM_GETLINK, 0, &info, sizeof(info));
	int attr = name && strlen(name) > IFNAME_MAX ? IFLA_ALT_IFNAME : IFLA_IFNAME;
	char number[16];
	int r;

	if (!msg || (name && nla_put_string(msg, attr, name) < 0) ||
	    nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	(void)snprintf(number, sizeof(number), "%d", ifindex);
	r = wire_query(rt, msg, parse, arg, NULL, err, "find device %s", name ? name : number);
	if (r == -ENODEV)
		err->code = ERR_DEVICE;
	return r;
}

int link_get(struct wire *rt, const char *name, struct link_info *ret_link, struct err *err)
{
	return get_link_by(rt, 0, name, take_one, ret_link, err);
}

int link_get_index(struct wire *rt, int ifindex, struct link_info *ret_link, struct err *err)
{
	return get_link_by(rt, ifindex, NULL, take_one, ret_link, err);
}

struct link_walk {
	int (*each)(const struct link_info *link, void *arg);
	void *arg;
	bool stopped;
};

static int walk_one(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct link_walk *walk = arg;
	struct link_info link;
	struct err unread;
	int r;

	/* Nobody's end of a search: it is another one, or nothing can be said of it. */
	if (parse_link(header, &link, &unread) < 0)
		return 0;
	(void)err;
	r = walk->each(&link, walk->arg);
	walk->stopped = r > 0;
	return r;
}

int link_list(struct wire *rt, int (*each)(const struct link_info *link, void *arg), void *arg,
	      struct err *err)
{
	struct ifinfomsg info = { 0 };
	struct nl_msg *msg = wire_message(RTM_GETLINK, NLM_F_DUMP, &info, sizeof(info));
	struct link_walk walk = { .each = each, .arg = arg };
	int r;

	if (!msg || nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_query(rt, msg, walk_one, &walk, NULL, err, "list devices");
	return r == 0 && walk.stopped ? 1 : r;
}

/* IFLA_AF_SPEC { AF_INET { IFLA_INET_CONF { … } } }: what net/ipv4/devinet.c inet_set_link_af()
 * takes. */
static int put_inet_conf(struct nl_msg *msg, const struct link_change *change)
{
	const struct {
		int key;
		uint32_t value;
	} conf[] = {
		{ IPV4_DEVCONF_ARP_NOTIFY, change->arp_notify },
		{ IPV4_DEVCONF_ARP_IGNORE, change->arp_ignore },
		{ IPV4_DEVCONF_ARP_ANNOUNCE, change->arp_announce },
		{ IPV4_DEVCONF_RP_FILTER, change->rp_filter },
	};
	struct nlattr *spec = NULL, *inet = NULL, *list = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(conf); i++) {
		if (!conf[i].value)
			continue;
		if (!spec) {
			spec = nla_nest_start(msg, IFLA_AF_SPEC);
			inet = spec ? nla_nest_start(msg, AF_INET) : NULL;
			list = inet ? nla_nest_start(msg, IFLA_INET_CONF) : NULL;
			if (!list)
				return -ENOMEM;
		}
		if (nla_put_u32(msg, conf[i].key, conf[i].value - 1) < 0)
			return -ENOMEM;
	}
	if (spec) {
		(void)nla_nest_end(msg, list);
		(void)nla_nest_end(msg, inet);
		(void)nla_nest_end(msg, spec);
	}
	return 0;
}

/* The size for IPv6 and all sets that for IPv4 too, so all are told together. */
static int put_limits(struct nl_msg *msg, const struct link_settings *want,
		      const struct link_settings *now)
{
	if (link_limits_equal(want, now))
		return 0;
	for (int i = 0; i < LIMITS; i++) {
		if (want->limits[i] && now->limits[i] &&
		    nla_put_u32(msg, limit_attrs[i], want->limits[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Only with no reason left can it be taken back. */
static int put_proto_down(struct nl_msg *msg, const struct link_settings *want,
			  const struct link_settings *now)
{
	struct nlattr *reason;

	if (want->proto_down_reasons != now->proto_down_reasons) {
		reason = nla_nest_start(msg, IFLA_PROTO_DOWN_REASON);
		if (!reason || nla_put_u32(msg, IFLA_PROTO_DOWN_REASON_MASK, UINT32_MAX) < 0 ||
		    nla_put_u32(msg, IFLA_PROTO_DOWN_REASON_VALUE, want->proto_down_reasons) < 0)
			return -ENOMEM;
		(void)nla_nest_end(msg, reason);
	}
	if (want->proto_down != now->proto_down &&
	    nla_put_u8(msg, IFLA_PROTO_DOWN, want->proto_down) < 0)
		return -ENOMEM;
	return 0;
}

static int put_settings(struct nl_msg *msg, const struct link_settings *want,
			const struct link_settings *now)
{
	if (want->txqlen != now->txqlen && nla_put_u32(msg, IFLA_TXQLEN, want->txqlen) < 0)
		return -ENOMEM;
	if (want->group != now->group && nla_put_u32(msg, IFLA_GROUP, want->group) < 0)
		return -ENOMEM;
	if (want->mode != now->mode && nla_put_u8(msg, IFLA_LINKMODE, want->mode) < 0)
		return -ENOMEM;
	if (strcmp(want->alias, now->alias) != 0 &&
	    nla_put_string(msg, IFLA_IFALIAS, want->alias) < 0)
		return -ENOMEM;
	if (!mac_equal(&want->broadcast, &now->broadcast) &&
	    nla_put(msg, IFLA_BROADCAST, want->broadcast.len, want->broadcast.bytes) < 0)
		return -ENOMEM;
	return put_limits(msg, want, now) < 0 ? -ENOMEM : put_proto_down(msg, want, now);
}

static int put_change(struct nl_msg *msg, const struct link_change *change)
{
	if (change->netns_fd && nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)change->netns_fd) < 0)
		return -ENOMEM;
	if (change->mac && nla_put(msg, IFLA_ADDRESS, change->mac->len, change->mac->bytes) < 0)
		return -ENOMEM;
	if (change->mtu && nla_put_u32(msg, IFLA_MTU, change->mtu) < 0)
		return -ENOMEM;
	if (change->name && nla_put_string(msg, IFLA_IFNAME, change->name) < 0)
		return -ENOMEM;
	if (change->settings && put_settings(msg, change->settings, change->settings_now) < 0)
		return -ENOMEM;
	return put_inet_conf(msg, change);
}

int link_set(struct wire *rt, const struct link_change *change, struct err *err)
{
	struct ifinfomsg info = {
		.ifi_index = change->ifindex,
		.ifi_flags = change->up > 0 ? IFF_UP : 0,
		.ifi_change = change->up ? IFF_UP : 0,
	};
	struct nl_msg *msg;

	if (change->settings) {
		info.ifi_change |= change->settings->flags ^ change->settings_now->flags;
		info.ifi_flags |= change->settings->flags & info.ifi_change;
	}
	msg = wire_message(RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));
	if (!msg || put_change(msg, change) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_request(rt, msg, err, "change device %d%s%s", change->ifindex,
			    change->name ? " to " : "", change->name ? change->name : "");
}

int link_xdp_detach(struct wire *rt, int ifindex, enum settings_xdp place, struct err *err)
{
	struct ifinfomsg info = { .ifi_index = ifindex };
	struct nl_msg *msg = wire_message(RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));
	struct nlattr *xdp = msg ? nla_nest_start(msg, IFLA_XDP) : NULL;

	if (!xdp || nla_put_s32(msg, IFLA_XDP_FD, -1) < 0 ||
	    nla_put_u32(msg, IFLA_XDP_FLAGS, xdp_places[place].flag) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	(void)nla_nest_end(msg, xdp);
	return wire_request(rt, msg, err, "detach the XDP program of device %d", ifindex);
}

static int change_altname(struct wire *rt, int type, int flags, int ifindex, const char *altname,
			  struct err *err)
{
	struct ifinfomsg info = { .ifi_index = ifindex };
	struct nl_msg *msg = wire_message(type, NLM_F_ACK | flags, &info, sizeof(info));
	struct nlattr *list = msg ? nla_nest_start(msg, IFLA_PROP_LIST) : NULL;

	if (!list || nla_put_string(msg, IFLA_ALT_IFNAME, altname) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	(void)nla_nest_end(msg, list);
	return wire_request(rt, msg, err, "%s altname %s of device %d",
			    type == RTM_NEWLINKPROP ? "add" : "delete", altname, ifindex);
}

int link_altname_add(struct wire *rt, int ifindex, const char *altname, struct err *err)
{
	return change_altname(rt, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_APPEND | NLM_F_EXCL,
			      ifindex, altname, err);
}

int link_altname_del(struct wire *rt, int ifindex, const char *altname, struct err *err)
{
	return change_altname(rt, RTM_DELLINKPROP, 0, ifindex, altname, err);
}

/* The longest list that the kernel lets a device have fits into an attribute. */
enum { PRUNE_ROOM = UINT16_MAX + 1024 };

struct pruning {
	bool (*keep)(const char *altname, const void *arg);
	const void *arg;
	struct nl_msg *msg; /* with an open IFLA_PROP_LIST */
	int count;
};

static int collect_altnames(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct nlattr *attrs[LINK_ATTR_MAX + 1], *attr;
	struct pruning *pruning = arg;
	char altname[ALTNAME_MAX + 1];
	int rest;

	if (header->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse(header, sizeof(struct ifinfomsg), attrs, LINK_ATTR_MAX, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read link: malformed answer");
	if (!attrs[IFLA_PROP_LIST])
		return 1;
	nla_for_each_nested(attr, attrs[IFLA_PROP_LIST], rest)
	{
		if (nla_type(attr) != IFLA_ALT_IFNAME)
			continue;
		(void)nla_strlcpy(altname, attr, sizeof(altname));
		if (pruning->keep && pruning->keep(altname, pruning->arg))
			continue;
		if (nla_put_string(pruning->msg, IFLA_ALT_IFNAME, altname) < 0)
			return err_nomem(err);
		pruning->count++;
	}
	return 1;
}

/* Takes @msg. */
static int delete_collected(struct wire *rt, int ifindex, const struct pruning *pruning,
			    struct nlattr *list, struct err *err)
{
	int r;

	(void)nla_nest_end(pruning->msg, list);
	r = wire_request(rt, pruning->msg, err, "delete %d altnames of device %d", pruning->count,
			 ifindex);
	return r == -ENOENT ? 1 : r < 0 ? r : 1; /* one has gone by another hand meanwhile */
}

int link_altnames_prune(struct wire *rt, int ifindex,
			bool (*keep)(const char *altname, const void *arg), const void *arg,
			struct err *err)
{
	struct ifinfomsg info = { .ifi_index = ifindex };
	struct pruning pruning = { keep, arg, .msg = nlmsg_alloc_size(PRUNE_ROOM) };
	struct nlmsghdr *header =
		pruning.msg ? nlmsg_put(pruning.msg, NL_AUTO_PORT, NL_AUTO_SEQ, RTM_DELLINKPROP,
					sizeof(info), NLM_F_REQUEST | NLM_F_ACK)
			    : NULL;
	struct nlattr *list;
	int r;

	if (header)
		memcpy(nlmsg_data(header), &info, sizeof(info));
	list = header ? nla_nest_start(pruning.msg, IFLA_PROP_LIST) : NULL;
	if (!list) {
		nlmsg_free(pruning.msg);
		return err_nomem(err);
	}
	r = get_link_by(rt, ifindex, NULL, collect_altnames, &pruning, err);
	if (r == 0 && pruning.count > 0)
		return delete_collected(rt, ifindex, &pruning, list, err);
	nlmsg_free(pruning.msg);
	return r;
}

int link_watch(int *ret_fd, struct err *err)
{
	return wire_watch(RTNLGRP_LINK, ret_fd, err, "devices");
}

struct link_events {
	void (*each)(int ifindex, bool deleted, void *arg);
	void *arg;
};

static void take_event(struct nlmsghdr *header, void *arg)
{
	struct link_events *events = arg;
	struct ifinfomsg *info = nlmsg_data(header);

	if ((header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK) ||
	    !nlmsg_valid_hdr(header, sizeof(*info)))
		return;
	events->each(info->ifi_index, header->nlmsg_type == RTM_DELLINK, events->arg);
}

int link_watch_read(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
		    struct err *err)
{
	struct link_events events = { each, arg };

	return wire_watch_read(fd, take_event, &events, err, "devices");
}
