/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the floors say to the kernel: netlink messages laid out by hand, one at a time, each
 * answered before the next. Whatever goes wrong ends the program.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

struct request {
	struct nlmsghdr header;
	char body[512];
};

static inline _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline int netlink_open(int protocol)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		die("netlink socket");
	return fd;
}

static inline void request_begin(struct request *req, uint16_t type, uint16_t flags,
				 const void *family, size_t len)
{
	memset(req, 0, sizeof(*req));
	req->header.nlmsg_type = type;
	req->header.nlmsg_flags = NLM_F_REQUEST | flags;
	req->header.nlmsg_len = NLMSG_LENGTH(len);
	if (len)
		memcpy(req->body, family, len);
}

static inline struct rtattr *request_put(struct request *req, uint16_t type, const void *data,
					 size_t len)
{
	struct rtattr *attr = (void *)((char *)req + NLMSG_ALIGN(req->header.nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attr), data, len);
	req->header.nlmsg_len = NLMSG_ALIGN(req->header.nlmsg_len) + RTA_ALIGN(attr->rta_len);
	return attr;
}

static inline void request_end_nest(struct request *req, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)((char *)req + req->header.nlmsg_len - (char *)nest);
}

/* Sends and takes the one answer: an ack, or for a get the object itself. */
static inline struct nlmsghdr *request_send(int fd, struct request *req, const char *what)
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

static inline int link_index(int fd, const char *name)
{
	struct ifinfomsg link = { 0 };
	struct request req;

	request_begin(&req, RTM_GETLINK, 0, &link, sizeof(link));
	request_put(&req, IFLA_IFNAME, name, strlen(name) + 1);
	return ((struct ifinfomsg *)NLMSG_DATA(request_send(fd, &req, name)))->ifi_index;
}

static inline void link_move(int fd, int ifindex, int netns_fd, const char *name)
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
static inline void link_return(int fd, int ifindex, int netns_fd, const char *name)
{
	struct ifinfomsg link = { .ifi_index = ifindex, .ifi_change = IFF_UP };
	struct request req;

	request_begin(&req, RTM_NEWLINK, NLM_F_ACK, &link, sizeof(link));
	request_put(&req, IFLA_NET_NS_FD, &netns_fd, sizeof(netns_fd));
	request_put(&req, IFLA_IFNAME, name, strlen(name) + 1);
	request_send(fd, &req, "return");
}

static inline void link_up(int fd, int ifindex)
{
	struct ifinfomsg link = { .ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct request req;

	request_begin(&req, RTM_NEWLINK, NLM_F_ACK, &link, sizeof(link));
	request_send(fd, &req, "up");
}

/* No duplicate address detection: what an ADD leaves must not be tentative. */
static inline void link_skip_dad(const char *name)
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

static inline void address_add(int fd, int ifindex, const char *text, int plen)
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

static inline void route_add(int fd, int ifindex, const char *gateway)
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

static inline int netns_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}
