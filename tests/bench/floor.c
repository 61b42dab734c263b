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
#include <sched.h>

#include <sys/un.h>

#include "raw.h"

/* What an attachment is known by: network, container, interface. */
#define KEY "rail0 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef net1"

static const char add_result[] = "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"net1\","
				 "\"sandbox\":\"/run/netns/pod\"}],\"ips\":[{\"address\":"
				 "\"10.0.0.2/24\",\"gateway\":\"10.0.0.1\",\"interface\":0}]}\n";

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

static void add(char **arg)
{
	int netns_fd = netns_open(arg[0]);
	int fd, ifindex;

	server_ask(arg[6], "ADD " KEY);
	fd = netlink_open(NETLINK_ROUTE);
	link_move(fd, link_index(fd, arg[1]), netns_fd, arg[2]);
	close(fd);

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		die("setns");
	fd = netlink_open(NETLINK_ROUTE);
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
	fd = netlink_open(NETLINK_ROUTE);
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
