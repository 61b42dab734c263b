/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part of an attachment of a VF with its RDMA device, and of its end: the same
 * operations in the same order as spur's, in a process that is there already, each one timed.
 * Prints one line: ns of ADD, of DEL, and of each operation of ADD by name.
 *
 *	vm_floor NETNS PF VF DEVICE NAME ADDRESS PREFIXLEN GATEWAY RDMA-INDEX
 */
#include <sched.h>
#include <stdbool.h>
#include <time.h>

#include <rdma/rdma_netlink.h>

#include "raw.h"

enum { VLAN = 7, OPERATIONS_MAX = 16 };

static struct operation {
	const char *name;
	int64_t ns;
} operations[OPERATIONS_MAX];
static int operation_count;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* What has happened since @begin was an operation of this name. */
static void account(const char *name, int64_t begin)
{
	if (operation_count == OPERATIONS_MAX)
		die("too many operations");
	operations[operation_count++] = (struct operation) { name, now_ns() - begin };
}

/* One attribute of one VF, through its PF. */
static void vf_set(int fd, int pf, uint16_t type, const void *data, size_t len)
{
	struct ifinfomsg link = { .ifi_index = pf };
	struct rtattr *list, *info;
	struct request req;

	request_begin(&req, RTM_SETLINK, NLM_F_ACK, &link, sizeof(link));
	list = request_put(&req, IFLA_VFINFO_LIST, NULL, 0);
	info = request_put(&req, IFLA_VF_INFO, NULL, 0);
	request_put(&req, type, data, len);
	request_end_nest(&req, info);
	request_end_nest(&req, list);
	request_send(fd, &req, "VF");
}

static void vf_configure(int fd, int pf, uint32_t vf, bool in_pod)
{
	struct ifla_vf_vlan vlan = { .vf = vf, .vlan = in_pod ? VLAN : 0 };
	struct ifla_vf_trust trust = { .vf = vf, .setting = in_pod };
	int64_t begin = now_ns();

	vf_set(fd, pf, IFLA_VF_VLAN, &vlan, sizeof(vlan));
	account("vlan", begin);
	begin = now_ns();
	vf_set(fd, pf, IFLA_VF_TRUST, &trust, sizeof(trust));
	account("trust", begin);
}

/* Into another namespace; the caller stands in the present one, and so does the socket. */
static void rdma_move(uint32_t index, int netns_fd)
{
	int fd = netlink_open(NETLINK_RDMA);
	struct request req;

	request_begin(&req, RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_SET), NLM_F_ACK, NULL,
		      0);
	request_put(&req, RDMA_NLDEV_ATTR_DEV_INDEX, &index, sizeof(index));
	request_put(&req, RDMA_NLDEV_NET_NS_FD, &netns_fd, sizeof(netns_fd));
	request_send(fd, &req, "RDMA device");
	close(fd);
}

static void enter(int netns_fd)
{
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		die("setns");
}

static void move_in(int host_fd, int pod_fd, char **arg)
{
	int64_t begin = now_ns();
	uint32_t rdma = (uint32_t)atoi(arg[8]);

	link_move(host_fd, link_index(host_fd, arg[3]), pod_fd, arg[4]);
	account("move", begin);
	begin = now_ns();
	rdma_move(rdma, pod_fd);
	account("rdma", begin);
}

static void configure(char **arg)
{
	int64_t begin = now_ns();
	int fd = netlink_open(NETLINK_ROUTE);
	int ifindex = link_index(fd, arg[4]);

	link_skip_dad(arg[4]);
	address_add(fd, ifindex, arg[5], atoi(arg[6]));
	account("address", begin);
	begin = now_ns();
	link_up(fd, ifindex);
	account("up", begin);
	begin = now_ns();
	route_add(fd, ifindex, arg[7]);
	account("route", begin);
	close(fd);
}

static void move_back(int home_fd, char **arg)
{
	int fd = netlink_open(NETLINK_ROUTE);

	rdma_move((uint32_t)atoi(arg[8]), home_fd);
	link_return(fd, link_index(fd, arg[4]), home_fd, arg[3]);
	close(fd);
}

int main(int argc, char **argv)
{
	char **arg = argv + 1;
	int64_t add = 0, begin;
	int host_fd, home_fd, pod_fd, pf;

	if (argc != 10)
		return 2;
	home_fd = netns_open("/proc/self/ns/net");
	pod_fd = netns_open(arg[0]);
	host_fd = netlink_open(NETLINK_ROUTE);
	pf = link_index(host_fd, arg[1]);

	vf_configure(host_fd, pf, (uint32_t)atoi(arg[2]), true);
	move_in(host_fd, pod_fd, arg);
	enter(pod_fd);
	configure(arg);
	for (int i = 0; i < operation_count; i++)
		add += operations[i].ns;

	begin = now_ns();
	move_back(home_fd, arg);
	enter(home_fd);
	printf("ADD %lld", (long long)add);
	for (int i = 0; i < operation_count; i++)
		printf(" %s %lld", operations[i].name, (long long)operations[i].ns);
	vf_configure(host_fd, pf, (uint32_t)atoi(arg[2]), false);
	printf(" DEL %lld\n", (long long)(now_ns() - begin));
	return 0;
}
