/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of ADD and DEL: what any program must do that moves a device into a pod, addresses it
 * and asks a server for the address. The kernel work of docs/architecture.md in the same order, raw
 * netlink, one message to floor_server.c; no JSON, no library, no undo. Static, so that its start
 * costs what a start must cost.
 *
 *	floor ADD NETNS DEVICE NAME ADDRESS PREFIXLEN GATEWAY SOCKET
 *	floor DEL NETNS DEVICE NAME SOCKET
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/ip.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/un.h>

/* What an attachment is known by: network, container, interface. */
#define KEY "rail0 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef net1"

struct request {
	struct nlmsghdr header;
	char body[512];
};

static const char add_result[] = "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"net1\","
				 "\"sandbox\":\"/run/netns/pod\"}],\"ips\":[{\"address\":"
				 "\"10.0.0.2/24\",\"gateway\":\"10.0.0.1\",\"interface\":0}]}\n";

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static int netlink_open(void)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		die("netlink socket");
	return fd;
}

static void request_begin(struct request *req, uint16_t type, uint16_t flags, const void *family,
			  size_t len)
{
	memset(req, 0, sizeof(*req));
	req->header.nlmsg_type = type;
	req->header.nlmsg_flags = NLM_F_REQUEST | flags;
	req->header.nlmsg_len = NLMSG_LENGTH(len);
	memcpy(req->body, family, len);
}

static struct rtattr *request_put(struct request *req, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attr = (void *)((char *)req + NLMSG_ALIGN(req->header.nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attr), data, len);
	req->header.nlmsg_len = NLMSG_ALIGN(req->header.nlmsg_len) + RTA_ALIGN(attr->rta_len);
	return attr;
}

static void request_end_nest(struct request *req, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)((char *)req + req->header.nlmsg_len - (char *)nest);
}

/* Sends and takes the one answer: an ack, or for a get the object itself. */
static struct nlmsghdr *request_send(int fd, struct request *req, const char *what)
{
	static _Alignas(struct nlmsghdr) char answer[8192];
	struct nlmsghdr *header = (void *)answer;

	if (send(fd, req, req->header.nlmsg_len, 0) < 0 || recv(fd, answer, sizeof(answer), 0) < 0)
		die(what);
	if (header->nlmsg_type == NLMSG_ERROR) {
		errno = -((struct nlmsgerr *)NLMSG_DATA(header))->error;
		if (errno)
			die(what);
	}
	return header;
}

static int link_index(int fd, const char *name)
{
	struct ifinfomsg link = { 0 };
	struct request req;

	request_begin(&req, RTM_GETLINK, 0, &link, sizeof(link));
	request_put(&req, IFLA_IFNAME, name, strlen(name) + 1);
	return ((struct ifinfomsg *)NLMSG_DATA(request_send(fd, &req, name)))->ifi_index;
}

static void link_move(int fd, int ifindex, int netns_fd, const char *name)
{
	struct ifinfomsg link = { .ifi_index = ifindex };
	struct rtattr *spec, *inet, *conf;
	uint32_t one = 1;
	struct request req;

	request_begin(&req, RTM_NEWLINK, NLM_F_ACK, &link, sizeof(link));
	request_put(&req, IFLA_NET_NS_FD, &netns_fd, sizeof(netns_fd));
	request_put(&req, IFLA_IFNAME, name, strlen(name) + 1);
	spec = request_put(&req, IFLA_AF_SPEC, NULL, 0);
	inet = request_put(&req, AF_INET, NULL, 0);
	conf = request_put(&req, IFLA_INET_CONF, NULL, 0);
	request_put(&req, IPV4_DEVCONF_ARP_NOTIFY, &one, sizeof(one));
	request_end_nest(&req, conf);
	request_end_nest(&req, inet);
	request_end_nest(&req, spec);
	request_send(fd, &req, "move");
}

/* Down, renamed and back in one message. */
static void link_return(int fd, int ifindex, int netns_fd, const char *name)
{
	struct ifinfomsg link = { .ifi_index = ifindex, .ifi_change = IFF_UP };
	struct request req;

	request_begin(&req, RTM_NEWLINK, NLM_F_ACK, &link, sizeof(link));
	request_put(&req, IFLA_NET_NS_FD, &netns_fd, sizeof(netns_fd));
	request_put(&req, IFLA_IFNAME, name, strlen(name) + 1);
	request_send(fd, &req, "return");
}

static void link_up(int fd, int ifindex)
{
	struct ifinfomsg link = { .ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct request req;

	request_begin(&req, RTM_NEWLINK, NLM_F_ACK, &link, sizeof(link));
	request_send(fd, &req, "up");
}

/* No duplicate address detection: what an ADD leaves must not be tentative. */
static void link_skip_dad(const char *name)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_dad", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* a kernel without IPv6 */
	if (write(fd, "0", 1) < 0)
		die(path);
	close(fd);
}

static void address_add(int fd, int ifindex, const char *text, int plen)
{
	struct ifaddrmsg addr = { .ifa_family = AF_INET,
				  .ifa_prefixlen = (uint8_t)plen,
				  .ifa_index = (uint32_t)ifindex };
	struct in_addr ip, broadcast;
	struct request req;

	inet_pton(AF_INET, text, &ip);
	broadcast.s_addr = ip.s_addr | htonl(UINT32_MAX >> plen);
	request_begin(&req, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &addr,
		      sizeof(addr));
	request_put(&req, IFA_LOCAL, &ip, sizeof(ip));
	request_put(&req, IFA_ADDRESS, &ip, sizeof(ip));
	request_put(&req, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	request_send(fd, &req, "address");
}

static void route_add(int fd, int ifindex, const char *gateway)
{
	struct rtmsg route = { .rtm_family = AF_INET,
			       .rtm_table = RT_TABLE_MAIN,
			       .rtm_protocol = RTPROT_STATIC,
			       .rtm_type = RTN_UNICAST };
	struct in_addr gw;
	struct request req;

	inet_pton(AF_INET, gateway, &gw);
	request_begin(&req, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &route,
		      sizeof(route));
	request_put(&req, RTA_GATEWAY, &gw, sizeof(gw));
	request_put(&req, RTA_OIF, &ifindex, sizeof(ifindex));
	request_send(fd, &req, "route");
}

/* One request, one answer: the server has committed durably in between. */
static void server_ask(const char *path, const char *request)
{
	struct sockaddr_un server = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char answer[256];

	strncpy(server.sun_path, path, sizeof(server.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0 ||
	    send(fd, request, strlen(request), 0) < 0 || recv(fd, answer, sizeof(answer), 0) <= 0)
		die(path);
	close(fd);
}

static int netns_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

static void add(char **arg)
{
	int netns_fd = netns_open(arg[0]);
	int fd, ifindex;

	server_ask(arg[6], "ADD " KEY);
	fd = netlink_open();
	link_move(fd, link_index(fd, arg[1]), netns_fd, arg[2]);
	close(fd);

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		die("setns");
	fd = netlink_open();
	ifindex = link_index(fd, arg[2]);
	link_skip_dad(arg[2]);
	address_add(fd, ifindex, arg[3], atoi(arg[4]));
	link_up(fd, ifindex);
	route_add(fd, ifindex, arg[5]);
	if (write(STDOUT_FILENO, add_result, sizeof(add_result) - 1) < 0)
		die("result");
}

static void del(char **arg)
{
	int home_fd = netns_open("/proc/self/ns/net");
	int netns_fd = netns_open(arg[0]);
	int fd;

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		die("setns");
	fd = netlink_open();
	link_return(fd, link_index(fd, arg[2]), home_fd, arg[1]);
	server_ask(arg[3], "DEL " KEY);
}

int main(int argc, char **argv)
{
	static char netconf[65536];

	if (read(STDIN_FILENO, netconf, sizeof(netconf)) < 0)
		die("stdin");
	if (argc == 9 && strcmp(argv[1], "ADD") == 0)
		add(argv + 2);
	else if (argc == 6 && strcmp(argv[1], "DEL") == 0)
		del(argv + 2);
	else
		return 2;
	return 0;
}
