/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/nsid.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

static struct nl_msg *nsid_message(int type, int flags, int attr, uint32_t value)
{
	struct rtgenmsg body = { .rtgen_family = AF_UNSPEC };
	struct nl_msg *msg = wire_message(type, flags, &body, sizeof(body));

	if (msg && attr && nla_put_u32(msg, attr, value) < 0) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

static int parse_nsid(struct nlmsghdr *header, int32_t *ret_nsid, struct err *err)
{
	struct nlattr *attrs[NETNSA_MAX + 1];

	if (nlmsg_parse(header, NLMSG_ALIGN(sizeof(struct rtgenmsg)), attrs, NETNSA_MAX, NULL) <
		    0 ||
	    !attrs[NETNSA_NSID])
		return err_set(err, EBADMSG, ERR_KERNEL, "read nsid: malformed answer");
	*ret_nsid = (int32_t)nla_get_u32(attrs[NETNSA_NSID]);
	return 0;
}

static int take_nsid(struct nlmsghdr *header, void *arg, struct err *err)
{
	int r = parse_nsid(header, arg, err);

	return r < 0 ? r : 1;
}

static int nsid_get(struct wire *rt, int netns_fd, int32_t *ret_nsid, struct err *err)
{
	struct nl_msg *msg = nsid_message(RTM_GETNSID, 0, NETNSA_FD, (uint32_t)netns_fd);

	if (!msg)
		return err_nomem(err);
	return wire_query(rt, msg, take_nsid, ret_nsid, NULL, err, "get id of network namespace");
}

int nsid_ensure(struct wire *rt, int netns_fd, int32_t *ret_nsid, struct err *err)
{
	struct nl_msg *msg = nsid_message(RTM_NEWNSID, NLM_F_ACK, NETNSA_FD, (uint32_t)netns_fd);
	int32_t nsid;
	int r;

	if (!msg || nla_put_u32(msg, NETNSA_NSID, (uint32_t)NETNSA_NSID_NOT_ASSIGNED) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_request(rt, msg, err, "assign id to network namespace");
	if (r < 0 && r != -EEXIST)
		return r;
	r = nsid_get(rt, netns_fd, &nsid, err);
	if (r < 0)
		return r;
	if (nsid < 0)
		return err_set(err, EIO, ERR_KERNEL, "assign id to network namespace: has none");
	*ret_nsid = nsid;
	return 0;
}

struct nsid_walk {
	void (*each)(int32_t nsid, void *arg);
	void *arg;
};

static int walk_nsid(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct nsid_walk *walk = arg;
	int32_t nsid;
	int r = parse_nsid(header, &nsid, err);

	if (r == 0)
		walk->each(nsid, walk->arg);
	return r;
}

int nsid_list(struct wire *rt, void (*each)(int32_t nsid, void *arg), void *arg, struct err *err)
{
	struct nsid_walk walk = { each, arg };
	struct nl_msg *msg = nsid_message(RTM_GETNSID, NLM_F_DUMP, 0, 0);

	if (!msg)
		return err_nomem(err);
	return wire_query(rt, msg, walk_nsid, &walk, NULL, err, "list ids of network namespaces");
}

int nsid_exists(struct wire *rt, int32_t nsid, bool *ret_exists, struct err *err)
{
	struct nl_msg *msg = nsid_message(RTM_GETNSID, 0, NETNSA_NSID, (uint32_t)nsid);
	int32_t same;
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_query(rt, msg, take_nsid, &same, NULL, err, "find network namespace %d", nsid);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_exists = r == 0;
	return 0;
}

int nsid_watch(int *ret_fd, struct err *err)
{
	return wire_watch(RTNLGRP_NSID, ret_fd, err, "network namespace ids");
}

static void take_event(struct nlmsghdr *header, void *arg)
{
	struct nsid_walk *walk = arg;
	struct err ignored;
	int32_t nsid;

	if (header->nlmsg_type == RTM_DELNSID && parse_nsid(header, &nsid, &ignored) == 0)
		walk->each(nsid, walk->arg);
}

int nsid_watch_read(int fd, void (*each)(int32_t nsid, void *arg), void *arg, struct err *err)
{
	struct nsid_walk walk = { each, arg };

	return wire_watch_read(fd, take_event, &walk, err, "network namespace ids");
}
