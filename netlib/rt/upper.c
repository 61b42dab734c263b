/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/upper.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

struct upper_search {
	const struct link_info *lower;
	bool elsewhere;
	struct upper_list *found;
};

/* Each says of the other that it is below. */
static bool is_pair(const struct link_info *a, const struct link_info *b, bool elsewhere)
{
	return strcmp(a->kind, b->kind) == 0 && b->ifindex == (elsewhere ? a->peer : a->local_peer);
}

static int match_upper(const struct link_info *link, void *arg)
{
	const struct upper_search *search = arg;
	struct upper_list *found = search->found;

	if (search->lower->ifindex != (search->elsewhere ? link->peer : link->local_peer) ||
	    is_pair(search->lower, link, search->elsewhere))
		return 0;
	found->uppers[found->count].ifindex = link->ifindex;
	found->uppers[found->count++].nsid = link->peer_nsid;
	return found->count == UPPERS_MAX;
}

int upper_find(struct wire *rt, const struct link_info *lower, bool elsewhere,
	       struct upper_list *ret_uppers, struct err *err)
{
	struct upper_search search = { lower, elsewhere, ret_uppers };
	int r;

	ret_uppers->count = 0;
	r = link_list(rt, match_upper, &search, err);
	return r < 0 ? r : 0;
}

void upper_keep(struct upper_list *uppers, int32_t nsid)
{
	int kept = 0;

	for (int i = 0; i < uppers->count; i++) {
		if (uppers->uppers[i].nsid == nsid)
			uppers->uppers[kept++] = uppers->uppers[i];
	}
	uppers->count = kept;
}

/* One that nobody has chosen, nor could foresee. */
static uint32_t unused_number(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return 0x40000000U + (uint32_t)now.tv_nsec; /* below 2^31: an ifindex has no more */
}

/* By @ifindex, or, if that is 0, all of @group. */
static int delete_links(struct wire *rt, int ifindex, uint32_t group, struct err *err)
{
	struct ifinfomsg info = { .ifi_index = ifindex };
	struct nl_msg *msg = wire_message(RTM_DELLINK, NLM_F_ACK, &info, sizeof(info));
	int r;

	if (!msg || (!ifindex && nla_put_u32(msg, IFLA_GROUP, group) < 0)) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_request(rt, msg, err, "delete upper device%s %d", ifindex ? "" : "s of group",
			 ifindex ? ifindex : (int)group);
	return r == -ENODEV ? 0 : r;
}

static int set_group(struct wire *rt, int ifindex, uint32_t group, struct err *err)
{
	struct ifinfomsg info = { .ifi_index = ifindex };
	struct nl_msg *msg = wire_message(RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));

	if (!msg || nla_put_u32(msg, IFLA_GROUP, group) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_request(rt, msg, err, "change device %d", ifindex);
}

static int delete_together(struct wire *rt, const struct upper_list *uppers, struct err *err)
{
	const uint32_t group = unused_number();
	struct err gone;

	for (int i = 0; i < uppers->count; i++)
		(void)set_group(rt, uppers->uppers[i].ifindex, group, &gone);
	return delete_links(rt, 0, group, err);
}

int upper_delete(struct wire *rt, const struct upper_list *uppers, struct err *err)
{
	int r = uppers->count > 1 ? delete_together(rt, uppers, err) : -EAGAIN;

	if (r == 0)
		return 0;
	r = 0; /* one among them may be of a kind that nobody can delete */
	for (int i = 0; i < uppers->count; i++) {
		struct err later;
		int one = delete_links(rt, uppers->uppers[i].ifindex, 0, r < 0 ? &later : err);

		r = r < 0 ? r : one;
	}
	return r;
}

/* A macvlan that wants the hook for itself, and has the name of another device. */
static struct nl_msg *claim_message(int lower, int ifindex)
{
	/* With a number the kernel does not look for the name before. */
	struct ifinfomsg body = { .ifi_index = ifindex };
	const int flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
	struct nl_msg *msg = wire_message(RTM_NEWLINK, flags, &body, sizeof(body));
	struct nlattr *info, *data;

	if (!msg || nla_put_string(msg, IFLA_IFNAME, "lo") < 0 ||
	    nla_put_u32(msg, IFLA_LINK, (uint32_t)lower) < 0)
		goto fail;
	info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!info || nla_put_string(msg, IFLA_INFO_KIND, "macvlan") < 0)
		goto fail;
	data = nla_nest_start(msg, IFLA_INFO_DATA);
	if (!data || nla_put_u32(msg, IFLA_MACVLAN_MODE, MACVLAN_MODE_PASSTHRU) < 0)
		goto fail;
	(void)nla_nest_end(msg, data);
	(void)nla_nest_end(msg, info);
	return msg;
fail:
	nlmsg_free(msg);
	return NULL;
}

/* A macvlan upon a macvlan stands on what is below both. */
static bool can_be_asked(const struct link_info *link)
{
	return link->type == ARPHRD_ETHER && !(link->flags & IFF_LOOPBACK) &&
	       strcmp(link->kind, "macvlan") != 0 && strcmp(link->kind, "macvtap") != 0;
}

int upper_claims(struct wire *rt, const struct link_info *link, bool *ret_claimed, struct err *err)
{
	const int ifindex = (int)unused_number();
	struct nl_msg *msg;
	int r;

	*ret_claimed = false;
	if (!can_be_asked(link))
		return 0;
	msg = claim_message(link->ifindex, ifindex);
	if (!msg)
		return err_nomem(err);
	r = wire_request(rt, msg, err, "claim the receive hook of %s", link->name);
	*ret_claimed = r == -EINVAL || r == -EBUSY;
	if (r == 0) /* nothing has that name here, and it was made */
		return delete_links(rt, ifindex, 0, err);
	return *ret_claimed || r == -EEXIST || r == -EOPNOTSUPP ? 0 : r;
}
