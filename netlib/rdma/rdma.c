/* SPDX-License-Identifier: Apache-2.0 */
#include "rdma/rdma.h"

#include <errno.h>
#include <string.h>

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <rdma/rdma_netlink.h>

int rdma_open(struct wire **ret_wire, struct err *err)
{
	int r = wire_open(NETLINK_RDMA, ret_wire, err);

	if (r != -EPROTONOSUPPORT)
		return r;
	*ret_wire = NULL;
	return 0;
}

/* These messages have no fixed header: attributes only. */
static struct nl_msg *rdma_message(int command, int flags)
{
	return wire_message(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, command), flags, "", 0);
}

/* A message about one device. */
static struct nl_msg *device_message(int command, int flags, uint32_t index)
{
	struct nl_msg *msg = rdma_message(command, flags);

	if (msg && nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, index) < 0) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

/* RDMA_NLDEV_ATTR_MAX is one more than the last. */
#define RDMA_ATTRS RDMA_NLDEV_ATTR_MAX

static int parse_attrs(struct nlmsghdr *header, struct nlattr *attrs[RDMA_ATTRS], struct err *err)
{
	if (nlmsg_parse(header, 0, attrs, RDMA_ATTRS - 1, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read RDMA answer: malformed");
	return 0;
}

static int take_mode(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct nlattr *attrs[RDMA_ATTRS], *mode;
	int r = parse_attrs(header, attrs, err);

	if (r < 0)
		return r;
	mode = attrs[RDMA_NLDEV_SYS_ATTR_NETNS_MODE];
	if (!mode || nla_len(mode) < 1)
		return err_set(err, EBADMSG, ERR_KERNEL, "read RDMA mode: not in the answer");
	*(enum rdma_mode *)arg = nla_get_u8(mode) ? RDMA_SHARED : RDMA_EXCLUSIVE;
	return 1;
}

int rdma_mode(struct wire *wire, enum rdma_mode *ret_mode, struct err *err)
{
	if (!wire) {
		*ret_mode = RDMA_ABSENT;
		return 0;
	}
	return wire_query(wire, rdma_message(RDMA_NLDEV_CMD_SYS_GET, 0), take_mode, ret_mode, NULL,
			  err, "read RDMA mode");
}

static int read_device(struct nlmsghdr *header, struct rdma_device *ret_device, struct err *err)
{
	struct nlattr *attrs[RDMA_ATTRS], *name, *index, *guid, *dim;
	int r = parse_attrs(header, attrs, err);

	if (r < 0)
		return r;
	name = attrs[RDMA_NLDEV_ATTR_DEV_NAME];
	index = attrs[RDMA_NLDEV_ATTR_DEV_INDEX];
	guid = attrs[RDMA_NLDEV_ATTR_NODE_GUID];
	dim = attrs[RDMA_NLDEV_ATTR_DEV_DIM];
	if (!name || !index || nla_len(index) < (int)sizeof(uint32_t))
		return err_set(err, EBADMSG, ERR_KERNEL, "read RDMA device: malformed answer");
	*ret_device = (struct rdma_device) { .index = nla_get_u32(index) };
	(void)nla_strlcpy(ret_device->name, name, sizeof(ret_device->name));
	if (guid && nla_len(guid) >= (int)sizeof(uint64_t))
		ret_device->node_guid = nla_get_u64(guid);
	if (dim && nla_len(dim) >= 1)
		ret_device->moderation = nla_get_u8(dim) ? RDMA_MODERATION_ON : RDMA_MODERATION_OFF;
	return 0;
}

struct rdma_listing {
	void (*each)(const struct rdma_device *device, void *arg);
	void *arg;
};

static int list_device(struct nlmsghdr *header, void *arg, struct err *err)
{
	const struct rdma_listing *listing = arg;
	struct rdma_device device;
	int r = read_device(header, &device, err);

	if (r == 0)
		listing->each(&device, listing->arg);
	return r;
}

int rdma_list(struct wire *wire, void (*each)(const struct rdma_device *device, void *arg),
	      void *arg, struct err *err)
{
	struct rdma_listing listing = { each, arg };

	if (!wire)
		return 0;
	return wire_query(wire, rdma_message(RDMA_NLDEV_CMD_GET, NLM_F_DUMP), list_device, &listing,
			  NULL, err, "list RDMA devices");
}

static int take_device(struct nlmsghdr *header, void *arg, struct err *err)
{
	int r = read_device(header, arg, err);

	return r < 0 ? r : 1;
}

int rdma_get(struct wire *wire, uint32_t index, struct rdma_device *ret_device, struct err *err)
{
	struct nl_msg *msg;
	int r = -EINVAL;

	if (wire) {
		msg = device_message(RDMA_NLDEV_CMD_GET, 0, index);
		if (!msg)
			return err_nomem(err);
		r = wire_query(wire, msg, take_device, ret_device, NULL, err, "find RDMA device %u",
			       index);
	}
	if (r == -EINVAL) /* ib_device_get_by_index() found none */
		return err_set(err, ENODEV, ERR_DEVICE, "find RDMA device %u: no such device",
			       index);
	return r;
}

struct rdma_search {
	const char *name;
	struct rdma_device device;
	bool found;
};

static int match_device(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct rdma_search *search = arg;
	struct rdma_device device;
	int r = read_device(header, &device, err);

	if (r < 0 || strcmp(device.name, search->name) != 0)
		return r;
	search->device = device;
	search->found = true;
	return 0;
}

static void search_again(void *arg)
{
	struct rdma_search *search = arg;

	search->found = false;
}

int rdma_find(struct wire *wire, const char *name, struct rdma_device *ret_device, struct err *err)
{
	struct rdma_search search = { .name = name };
	int r = 0;

	/* The kernel finds by index only: a name is looked for among all. */
	if (wire)
		r = wire_query(wire, rdma_message(RDMA_NLDEV_CMD_GET, NLM_F_DUMP), match_device,
			       &search, search_again, err, "find RDMA device %s", name);
	if (r < 0)
		return r;
	if (!search.found)
		return err_set(err, ENODEV, ERR_DEVICE, "find RDMA device %s: no such device",
			       name);
	*ret_device = search.device;
	return 0;
}

static int take_chardev(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct nlattr *attrs[RDMA_ATTRS], *name;
	int r = parse_attrs(header, attrs, err);

	if (r < 0)
		return r;
	name = attrs[RDMA_NLDEV_ATTR_CHARDEV_NAME];
	if (!name || nla_len(name) < 1)
		return err_set(err, EBADMSG, ERR_KERNEL,
			       "read RDMA character device: not in the answer");
	(void)nla_strlcpy(arg, name, RDMA_CHARDEV_MAX + 1);
	return 1;
}

int rdma_chardev(struct wire *wire, uint32_t index, char ret_name[RDMA_CHARDEV_MAX + 1],
		 struct err *err)
{
	struct nl_msg *msg = device_message(RDMA_NLDEV_CMD_GET_CHARDEV, 0, index);
	int r;

	if (!msg || nla_put_string(msg, RDMA_NLDEV_ATTR_CHARDEV_TYPE, "uverbs") < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_query(wire, msg, take_chardev, ret_name, NULL, err,
		       "find uverbs device of RDMA device %u", index);
	/* What ib_get_client_nl_info() says where ib_uverbs is not there or does not serve it. */
	if (r == -EOPNOTSUPP || r == -ENOENT)
		return err_set(err, ENODEV, ERR_DEVICE,
			       "find uverbs device of RDMA device %u: it has none", index);
	return r;
}

static int take_netdev(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct nlattr *attrs[RDMA_ATTRS];
	int r = parse_attrs(header, attrs, err);

	if (r < 0)
		return r;
	*(bool *)arg = attrs[RDMA_NLDEV_ATTR_NDEV_INDEX];
	return 1;
}

int rdma_has_netdev(struct wire *wire, uint32_t index, bool *ret_has, struct err *err)
{
	struct nl_msg *msg = device_message(RDMA_NLDEV_CMD_PORT_GET, 0, index);

	if (!msg || nla_put_u32(msg, RDMA_NLDEV_ATTR_PORT_INDEX, 1) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_query(wire, msg, take_netdev, ret_has, NULL, err,
			  "read port 1 of RDMA device %u", index);
}

int rdma_set_moderation(struct wire *wire, uint32_t index, enum rdma_moderation moderation,
			struct err *err)
{
	const bool on = moderation == RDMA_MODERATION_ON;
	struct nl_msg *msg = device_message(RDMA_NLDEV_CMD_SET, NLM_F_ACK, index);

	if (!msg || nla_put_u8(msg, RDMA_NLDEV_ATTR_DEV_DIM, on) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_request(wire, msg, err, "switch adaptive moderation of RDMA device %u %s",
			    index, on ? "on" : "off");
}

int rdma_rename(struct wire *wire, uint32_t index, const char *name, struct err *err)
{
	struct nl_msg *msg = device_message(RDMA_NLDEV_CMD_SET, NLM_F_ACK, index);

	if (!msg || nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, name) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_request(wire, msg, err, "rename RDMA device %u to %s", index, name);
}

int rdma_move(struct wire *wire, uint32_t index, int netns_fd, struct err *err)
{
	struct nl_msg *msg = device_message(RDMA_NLDEV_CMD_SET, NLM_F_ACK, index);

	if (!msg || nla_put_u32(msg, RDMA_NLDEV_NET_NS_FD, (uint32_t)netns_fd) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_request(wire, msg, err, "move RDMA device %u", index);
}
