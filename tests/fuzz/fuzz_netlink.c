/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel answers, read by each reader of netlib/rt, netlib/ethtool and netlib/rdma: one
 * message, its header with it. Link with --wrap= for each __wrap_ function below.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/msg.h>

#include "ethtool/ethtool.h"
#include "rdma/rdma.h"
#include "rt/addr.h"
#include "rt/link.h"
#include "rt/neigh.h"
#include "rt/nsid.h"
#include "rt/route.h"
#include "rt/rule.h"
#include "rt/vf.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char nothing;
static struct wire *const wire = (struct wire *)&nothing; /* never looked into */
static struct nlmsghdr *answer;

int __wrap_wire_query(struct wire *rt, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *err, const char *what, ...)
	__attribute__((format(printf, 7, 8)));
int __wrap_wire_make_room(struct wire *rt, size_t size);

int __wrap_wire_make_room(struct wire *rt, size_t size)
{
	(void)rt;
	(void)size;
	return 0;
}

int __wrap_wire_query(struct wire *rt, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *err, const char *what, ...)
{
	int r;

	(void)rt;
	(void)restart;
	(void)what;
	nlmsg_free(msg);
	r = parse(answer, arg, err);
	return r < 0 ? r : 0;
}

int __wrap_wire_open(int protocol, struct wire **ret_wire, struct err *err);
void __wrap_wire_close(struct wire *rt);
int __wrap_wire_request(struct wire *rt, struct nl_msg *msg, struct err *err, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

int __wrap_wire_open(int protocol, struct wire **ret_wire, struct err *err)
{
	(void)protocol;
	(void)err;
	*ret_wire = wire;
	return 0;
}

void __wrap_wire_close(struct wire *rt)
{
	(void)rt;
}

int __wrap_wire_request(struct wire *rt, struct nl_msg *msg, struct err *err, const char *what, ...)
{
	(void)rt;
	(void)err;
	(void)what;
	nlmsg_free(msg);
	return 0;
}

static int each_link(const struct link_info *link, void *arg)
{
	(void)arg;
	return link->altname_count > LINK_ALTNAMES_MAX ? -EINVAL : 0;
}

/* Every second one. */
static bool keep_some(const char *altname, const void *arg)
{
	(void)arg;
	return strlen(altname) % 2;
}

static void each_nsid(int32_t nsid, void *arg)
{
	*(int32_t *)arg = nsid;
}

static void read_links(void)
{
	struct link_info link;
	struct err err;

	(void)link_get(wire, "eth5", &link, &err);
	(void)link_get_index(wire, 7, &link, &err);
	(void)link_list(wire, each_link, NULL, &err);
	(void)link_altnames_prune(wire, 7, keep_some, NULL, &err);
}

static void read_lists(void)
{
	struct route_spec route = { .ifindex = 7, .table = 254 };
	const struct rule_spec rule = { .from.family = AF_INET };
	const struct cidr cidr = { .ip.family = AF_INET };
	struct addr_info addr;
	struct cidr dst;
	struct err err;
	int32_t nsid;
	struct ip ip;
	bool exists;

	(void)addr_find(wire, 7, &cidr, &addr, &err);
	(void)addr_find_global(wire, 7, &dst, &err);
	(void)rule_find(wire, &rule, &err);
	(void)route_exists(wire, &route, &exists, &err);
	(void)route_find_made(wire, 7, &dst, &err);
	(void)neigh_find_permanent(wire, 7, &ip, &err);
	(void)nsid_list(wire, each_nsid, &nsid, &err);
	(void)nsid_exists(wire, 3, &exists, &err);
}

static int each_vf(int vf, const struct vf_state *state, void *arg)
{
	(void)state;
	(void)arg;
	return vf < 0 ? -EINVAL : 0;
}

static void read_vfs(void)
{
	struct err err;

	(void)vf_list(wire, 7, each_vf, NULL, &err);
}

static void each_rdma(const struct rdma_device *device, void *arg)
{
	*(enum rdma_moderation *)arg = device->moderation;
}

static void read_rdma(void)
{
	char name[RDMA_CHARDEV_MAX + 1];
	struct rdma_device device;
	enum rdma_moderation moderation;
	enum rdma_mode mode;
	struct err err;

	(void)rdma_mode(wire, &mode, &err);
	(void)rdma_find(wire, "mlx5_3", &device, &err);
	(void)rdma_list(wire, each_rdma, &moderation, &err);
	(void)rdma_chardev(wire, 3, name, &err);
}

static void read_ethtool(void)
{
	const struct ethtool_settings was = { .known = UINT64_MAX };
	struct ethtool_settings now;
	struct ethtool *ethtool;
	struct err err;

	if (ethtool_open(0, &ethtool, &err) < 0)
		return;
	(void)ethtool_read(ethtool, 7, &now, &err);
	(void)ethtool_restore(ethtool, 7, &was, &err);
	ethtool_close(ethtool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < NLMSG_HDRLEN)
		return 0;
	/* Of its own size, so that a sanitizer sees each read beyond it. */
	answer = malloc(size);
	if (!answer)
		return 0;
	memcpy(answer, data, size);
	answer->nlmsg_len = (uint32_t)size;
	read_links();
	read_lists();
	read_vfs();
	read_ethtool();
	read_rdma();
	free(answer);
	return 0;
}
