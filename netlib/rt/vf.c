/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/vf.h"

#include <errno.h>
#include <string.h>
#include <arpa/inet.h>

#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

enum {
	VF_UNSAID = UINT32_MAX,       /* what the kernel shows of a switch its driver has not */
	VF_LIST_ROOM = 256 * 1024,    /* 256 VFs at up to 380 bytes, twice that for what may come */
	VF_ATTR_LEN_MAX = UINT16_MAX, /* an attribute's length is a u16 */
};

static int put_vlan(struct nl_msg *msg, uint32_t vf, const struct vf_state *state)
{
	struct ifla_vf_vlan q = { .vf = vf, .vlan = state->vlan, .qos = state->qos };
	struct ifla_vf_vlan_info ad;
	struct nlattr *list;

	/* The plain attribute has no protocol; old drivers know only it. */
	if (!state->vlan_ad)
		return nla_put(msg, IFLA_VF_VLAN, sizeof(q), &q);
	memset(&ad, 0, sizeof(ad)); /* its padding is sent too */
	ad.vf = vf;
	ad.vlan = state->vlan;
	ad.qos = state->qos;
	ad.vlan_proto = htons(ETH_P_8021AD);
	list = nla_nest_start(msg, IFLA_VF_VLAN_LIST);
	if (!list || nla_put(msg, IFLA_VF_VLAN_INFO, sizeof(ad), &ad) < 0)
		return -ENOMEM;
	return nla_nest_end(msg, list);
}

/* IFLA_VF_MAC has room for any address; the driver takes as much as its own has. */
static int put_mac(struct nl_msg *msg, uint32_t vf, const struct mac *address)
{
	struct ifla_vf_mac mac = { .vf = vf };

	memcpy(mac.mac, address->bytes, address->len);
	return nla_put(msg, IFLA_VF_MAC, sizeof(mac), &mac);
}

static int put_rate(struct nl_msg *msg, uint32_t vf, const struct vf_state *state)
{
	struct ifla_vf_rate rate = { .vf = vf,
				     .min_tx_rate = state->min_rate,
				     .max_tx_rate = state->max_rate };

	return nla_put(msg, IFLA_VF_RATE, sizeof(rate), &rate);
}

/* ifla_vf_spoofchk, ifla_vf_trust and ifla_vf_link_state have one form. */
static int put_setting(struct nl_msg *msg, int type, uint32_t vf, uint32_t setting)
{
	struct ifla_vf_trust body = { .vf = vf, .setting = setting };

	return nla_put(msg, type, sizeof(body), &body);
}

/* A number in host order, its first byte the highest: 02:00:…:01 is 0x0200…01. */
static int put_guid(struct nl_msg *msg, int type, uint32_t vf, uint64_t guid)
{
	struct ifla_vf_guid body;

	memset(&body, 0, sizeof(body));
	body.vf = vf;
	body.guid = guid;
	return nla_put(msg, type, sizeof(body), &body);
}

static int put_attr(struct nl_msg *msg, uint32_t vf, enum vf_attr attr,
		    const struct vf_state *state)
{
	switch (attr) {
	case VF_VLAN:
		return put_vlan(msg, vf, state);
	case VF_MAC:
		return put_mac(msg, vf, &state->mac);
	case VF_RATE:
		return put_rate(msg, vf, state);
	case VF_SPOOFCHK:
		return put_setting(msg, IFLA_VF_SPOOFCHK, vf, state->spoofchk);
	case VF_TRUST:
		return put_setting(msg, IFLA_VF_TRUST, vf, state->trust);
	case VF_LINK_STATE:
		return put_setting(msg, IFLA_VF_LINK_STATE, vf, state->link_state);
	case VF_NODE_GUID:
		return put_guid(msg, IFLA_VF_IB_NODE_GUID, vf, state->node_guid);
	case VF_PORT_GUID:
		return put_guid(msg, IFLA_VF_IB_PORT_GUID, vf, state->port_guid);
	case VF_ATTRS:
		break;
	}
	return -EINVAL;
}

int vf_set(struct wire *rt, int pf_ifindex, int vf, enum vf_attr attr, const struct vf_state *state,
	   struct err *err)
{
	struct ifinfomsg info = { .ifi_index = pf_ifindex };
	struct nl_msg *msg = wire_message(RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));
	struct nlattr *list = msg ? nla_nest_start(msg, IFLA_VFINFO_LIST) : NULL;
	struct nlattr *one = list ? nla_nest_start(msg, IFLA_VF_INFO) : NULL;

	if (!one || put_attr(msg, (uint32_t)vf, attr, state) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	(void)nla_nest_end(msg, one);
	(void)nla_nest_end(msg, list);
	return wire_request(rt, msg, err, "set %s of VF %d", vf_attr_name(attr), vf);
}

/* The fixed structure in an attribute; NULL if it is not there or too short to be one. */
static const void *body_of(struct nlattr *attr, size_t size)
{
	return attr && nla_len(attr) >= (int)size ? nla_data(attr) : NULL;
}

#define BODY(type, attr) ((const type *)body_of(attr, sizeof(type)))

static void parse_vlan(struct vf_state *state, struct nlattr *attrs[])
{
	const struct ifla_vf_vlan *q = BODY(struct ifla_vf_vlan, attrs[IFLA_VF_VLAN]);
	struct nlattr *list = attrs[IFLA_VF_VLAN_LIST];
	struct nlattr *first =
		list ? nla_find(nla_data(list), nla_len(list), IFLA_VF_VLAN_INFO) : NULL;
	const struct ifla_vf_vlan_info *info = BODY(struct ifla_vf_vlan_info, first);

	if (!info && !q)
		return;
	state->known |= VF_BIT(VF_VLAN);
	state->vlan = (uint16_t)(info ? info->vlan : q->vlan);
	state->qos = (uint8_t)(info ? info->qos : q->qos);
	state->vlan_ad = info && info->vlan_proto == htons(ETH_P_8021AD);
}

static void parse_rate(struct vf_state *state, struct nlattr *attrs[])
{
	const struct ifla_vf_rate *rate = BODY(struct ifla_vf_rate, attrs[IFLA_VF_RATE]);

	if (!rate)
		return;
	state->known |= VF_BIT(VF_RATE);
	state->min_rate = rate->min_tx_rate;
	state->max_rate = rate->max_tx_rate;
}

static void parse_switch(struct vf_state *state, enum vf_attr attr, struct nlattr *from,
			 bool *ret_on)
{
	const struct ifla_vf_trust *setting = BODY(struct ifla_vf_trust, from);

	if (!setting || setting->setting == VF_UNSAID)
		return;
	state->known |= VF_BIT(attr);
	*ret_on = setting->setting != 0;
}

static void parse_link_state(struct vf_state *state, struct nlattr *attr)
{
	const struct ifla_vf_link_state *link = BODY(struct ifla_vf_link_state, attr);

	if (!link || link->link_state > VF_LINK_DISABLE)
		return;
	state->known |= VF_BIT(VF_LINK_STATE);
	state->link_state = (enum vf_link_state)link->link_state;
}

static void parse_guid(struct vf_state *state, enum vf_attr attr, struct nlattr *from,
		       uint64_t *ret_guid)
{
	struct ifla_vf_guid body;

	if (!from || nla_len(from) < (int)sizeof(body))
		return;
	memcpy(&body, nla_data(from), sizeof(body)); /* it is aligned to 4 bytes only */
	state->known |= VF_BIT(attr);
	*ret_guid = body.guid;
}

/* Returns the number of the VF, or -EBADMSG. @ethernet: does the PF speak it? */
static int parse_vf(struct nlattr *info, bool ethernet, struct vf_state *ret_state)
{
	struct nlattr *attrs[IFLA_VF_MAX + 1];
	const struct ifla_vf_mac *mac;
	struct vf_state state = { 0 };

	if (nla_parse_nested(attrs, IFLA_VF_MAX, info, NULL) < 0)
		return -EBADMSG;
	mac = BODY(struct ifla_vf_mac, attrs[IFLA_VF_MAC]);
	if (!mac || mac->vf > UINT16_MAX)
		return -EBADMSG;
	if (ethernet) {
		state.known |= VF_BIT(VF_MAC);
		state.mac.len = ETH_ALEN;
		memcpy(state.mac.bytes, mac->mac, ETH_ALEN);
	}
	parse_vlan(&state, attrs);
	parse_rate(&state, attrs);
	parse_switch(&state, VF_SPOOFCHK, attrs[IFLA_VF_SPOOFCHK], &state.spoofchk);
	parse_switch(&state, VF_TRUST, attrs[IFLA_VF_TRUST], &state.trust);
	parse_link_state(&state, attrs[IFLA_VF_LINK_STATE]);
	parse_guid(&state, VF_NODE_GUID, attrs[IFLA_VF_IB_NODE_GUID], &state.node_guid);
	parse_guid(&state, VF_PORT_GUID, attrs[IFLA_VF_IB_PORT_GUID], &state.port_guid);
	*ret_state = state;
	return (int)mac->vf;
}

/*
 * The length of the list is a u16, and the kernel lets it wrap (nla_nest_end()). What should be
 * inside then follows it: at least 64 KiB, far more than all that can rightly come after.
 */
static bool list_is_cut(struct nlmsghdr *header, struct nlattr *list)
{
	const char *end = (const char *)header + header->nlmsg_len;

	return end - (const char *)list > (ptrdiff_t)list->nla_len + VF_ATTR_LEN_MAX;
}

struct vf_walk {
	int (*each)(int vf, const struct vf_state *state, void *arg);
	void *arg;
	bool stopped;
};

static int walk_list(struct vf_walk *walk, struct nlattr *list, bool ethernet, struct err *err)
{
	struct nlattr *info;
	int rest;

	nla_for_each_nested(info, list, rest)
	{
		struct vf_state state;
		int r = parse_vf(info, ethernet, &state);

		if (r < 0)
			return err_set(err, EBADMSG, ERR_KERNEL, "read VF list: malformed answer");
		r = walk->each(r, &state, walk->arg);
		if (r != 0) {
			walk->stopped = r > 0;
			return r;
		}
	}
	return 1;
}

static int take_list(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct ifinfomsg *info = nlmsg_data(header);
	struct nlattr *list;

	if (header->nlmsg_type != RTM_NEWLINK || !nlmsg_valid_hdr(header, sizeof(*info)))
		return err_set(err, EBADMSG, ERR_KERNEL, "read VF list: malformed answer");
	/* The first: in a list that is cut others seem to follow. */
	list = nlmsg_find_attr(header, sizeof(*info), IFLA_VFINFO_LIST);
	if (!list)
		return 1; /* no VFs */
	if (list_is_cut(header, list))
		return err_set(err, EMSGSIZE, ERR_KERNEL,
			       "read VF list: the kernel cut it, more VFs than it can show");
	return walk_list(arg, list, info->ifi_type == ARPHRD_ETHER, err);
}

int vf_list(struct wire *rt, int pf_ifindex,
	    int (*each)(int vf, const struct vf_state *state, void *arg), void *arg,
	    struct err *err)
{
	struct ifinfomsg info = { .ifi_index = pf_ifindex };
	struct vf_walk walk = { .each = each, .arg = arg };
	struct nl_msg *msg = wire_message(RTM_GETLINK, 0, &info, sizeof(info));
	int r;

	if (!msg ||
	    nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS) < 0 ||
	    wire_make_room(rt, VF_LIST_ROOM) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_query(rt, msg, take_list, &walk, NULL, err, "list VFs of device %d", pf_ifindex);
	return r == 0 && walk.stopped ? 1 : r;
}
