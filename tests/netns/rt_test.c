/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netlib/rt against the real kernel, in two network namespaces of the test's own: "here" with the
 * veth pair a0-a1, and "there", where devices are moved to.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "host/netns.h"
#include "host/sysctl.h"
#include "host/sysfs.h"
#include "host/uevent.h"
#include "rt/addr.h"
#include "rt/link.h"
#include "rt/neigh.h"
#include "rt/nsid.h"
#include "rt/route.h"
#include "rt/rule.h"
#include "rt/upper.h"

static struct err err;
static int here_fd, there_fd;
static struct wire *here, *there;

#define assert_ok(call)                                            \
	do {                                                       \
		int r_ = (call);                                   \
		if (r_ != 0)                                       \
			fail_msg("%s: %d %s", #call, r_, err.msg); \
	} while (0)

static char command[128]; /* one that has a number in it */

static void run(const char *text)
{
	if (system(text) != 0) /* NOLINT: a string of this file */
		fail_msg("%s failed", text);
}

static int open_self(void)
{
	return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static int setup(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	there_fd = open_self();
	if (wire_open(NETLINK_ROUTE, &there, &err) < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	here_fd = open_self();
	if (wire_open(NETLINK_ROUTE, &here, &err) < 0)
		return -1;
	run("ip link add a0 type veth peer name a1 && ip link set lo up && ip link set a1 up");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wire_close(here);
	wire_close(there);
	(void)close(here_fd);
	(void)close(there_fd);
	here = there = NULL;
	return 0;
}

static struct cidr cidr(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static void test_link_get(void **state)
{
	struct link_info link;

	(void)state;
	run("ip link property add dev a0 altname rail-zero-with-a-long-name && ip link set a0 mtu "
	    "1400");
	assert_ok(link_get(here, "a0", &link, &err));
	assert_string_equal(link.name, "a0");
	assert_string_equal(link.kind, "veth");
	assert_int_equal(link.mtu, 1400);
	assert_int_equal(link.mac.len, 6);
	assert_int_equal(link.altname_count, 1);
	assert_string_equal(link.altnames[0], "rail-zero-with-a-long-name");
	assert_int_equal(link.master, 0);
	assert_int_equal(link.flags & IFF_UP, 0);
	assert_ok(link_get(here, "rail-zero-with-a-long-name", &link, &err));
	assert_string_equal(link.name, "a0");
	assert_ok(link_get_index(here, link.ifindex, &link, &err));
	assert_string_equal(link.name, "a0");
	assert_int_equal(link_get(here, "nosuch", &link, &err), -ENODEV);
	assert_int_equal(err.code, ERR_DEVICE);
	assert_non_null(strstr(err.msg, "find device nosuch: "));
	/* The socket is in step: the next answer belongs to the next question. */
	assert_ok(link_get(here, "a1", &link, &err));
	assert_string_equal(link.name, "a1");
}

/* Root of a pod may send to any socket of rtnetlink in its namespace that would have it. */
static void test_nobody_else_tells_us(void **state)
{
	static const char bytes[100 * 1024]; /* more than there is room for, and as much at once */
	CLEANUP_CLOSE int stranger = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(self);
	struct link_info link;

	(void)state;
	assert_ok(link_get(here, "a0", &link, &err)); /* it has a port by now */
	assert_ok(getsockname(wire_fd(here), (struct sockaddr *)&self, &len));
	assert_true(self.nl_pid);
	assert_int_equal(sendto(stranger, bytes, sizeof(bytes), MSG_DONTWAIT,
				(const struct sockaddr *)&self, len),
			 -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_ok(link_get(here, "a1", &link, &err));
}

static void test_link_master(void **state)
{
	struct link_info link, bridge;

	(void)state;
	run("ip link add br0 type bridge && ip link set a0 master br0");
	assert_ok(link_get(here, "br0", &bridge, &err));
	assert_ok(link_get(here, "a0", &link, &err));
	assert_int_equal(link.master, bridge.ifindex);
}

static void test_link_move_in_one_message(void **state)
{
	struct link_change change = { .name = "net1", .mtu = 1300 };
	struct link_info link;
	unsigned int sent;
	char text[16];

	(void)state;
	assert_ok(link_get(here, "a0", &link, &err));
	change.ifindex = link.ifindex;
	change.netns_fd = there_fd;
	change.arp_notify = change.arp_ignore = LINK_CONF(1);
	change.arp_announce = change.rp_filter = LINK_CONF(2);
	sent = wire_sent(here);
	assert_ok(link_set(here, &change, &err));
	assert_int_equal(wire_sent(here), sent + 1);
	assert_int_equal(link_get(here, "a0", &link, &err), -ENODEV);
	assert_ok(link_get(there, "net1", &link, &err));
	assert_int_equal(link.mtu, 1300);
	assert_int_equal(link.flags & IFF_UP, 0);
	assert_ok(netns_enter(there_fd, &err));
	assert_true(fs_read_small(AT_FDCWD, "/proc/sys/net/ipv4/conf/net1/arp_announce", text,
				  sizeof(text)) == 1);
	assert_string_equal(text, "2");
	assert_true(fs_read_small(AT_FDCWD, "/proc/sys/net/ipv4/conf/net1/arp_notify", text,
				  sizeof(text)) == 1);
	assert_string_equal(text, "1");
	assert_ok(netns_enter(here_fd, &err));
}

/*
 * The name is taken in the target: refused, but not atomically. The device is left in the target
 * under its old name: what revert has to expect.
 */
static void test_link_move_name_taken(void **state)
{
	struct link_change change = { .name = "lo" };
	struct link_info link;

	(void)state;
	assert_ok(link_get(here, "a0", &link, &err));
	change.ifindex = link.ifindex;
	change.netns_fd = there_fd;
	assert_int_equal(link_set(here, &change, &err), -EEXIST);
	assert_int_equal(err.code, ERR_KERNEL);
	assert_int_equal(link_get(here, "a0", &link, &err), -ENODEV);
	assert_ok(link_get(there, "a0", &link, &err));
	assert_string_equal(link.name, "a0");
}

/* The same for an own altname that equals the new name, and for an MTU out of range. */
static void test_link_move_stops_halfway(void **state)
{
	struct link_change named = { .name = "net1" }, sized = { .name = "net2", .mtu = 70000 };
	struct link_info link;

	(void)state;
	run("ip link property add dev a0 altname net1");
	assert_ok(link_get(here, "a0", &link, &err));
	named.ifindex = link.ifindex;
	named.netns_fd = sized.netns_fd = there_fd;
	assert_int_equal(link_set(here, &named, &err), -EEXIST);
	assert_int_equal(link_get(here, "a0", &link, &err), -ENODEV);
	assert_ok(link_get(there, "net1", &link, &err)); /* by its altname */
	assert_string_equal(link.name, "a0");
	assert_ok(link_get(here, "a1", &link, &err));
	sized.ifindex = link.ifindex;
	assert_int_equal(link_set(here, &sized, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "(mtu greater than device maximum)"));
	assert_ok(link_get(there, "a1", &link, &err));
	assert_string_equal(link.name, "a1");
}

/* The kernel looks at altnames before it moves anything. */
static void test_link_move_refused_at_once(void **state)
{
	struct link_change change = { .name = "net1" };
	struct link_info link;

	(void)state;
	run("ip link property add dev a0 altname lo-too && ip link property add dev a0 altname x");
	assert_ok(link_get(there, "lo", &link, &err));
	assert_ok(link_altname_add(there, link.ifindex, "x", &err));
	assert_ok(link_get(here, "a0", &link, &err));
	change.ifindex = link.ifindex;
	change.netns_fd = there_fd;
	assert_int_equal(link_set(here, &change, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "altname x"));
	assert_ok(link_get(here, "a0", &link, &err));
}

/* Kept if it is free in the target, else another one: never to be taken for granted. */
static void test_link_move_ifindex(void **state)
{
	struct link_change change = { 0 };
	struct link_info a0, a1, moved;

	(void)state;
	assert_ok(link_get(here, "a0", &a0, &err));
	assert_ok(link_get(here, "a1", &a1, &err));
	change.ifindex = a0.ifindex;
	change.netns_fd = there_fd;
	assert_ok(link_set(here, &change, &err));
	assert_ok(link_get(there, "a0", &moved, &err));
	assert_int_equal(moved.ifindex, a0.ifindex);
	assert_ok(netns_enter(there_fd, &err));
	(void)snprintf(command, sizeof(command), "ip link add br0 index %d type bridge",
		       a1.ifindex);
	run(command);
	assert_ok(netns_enter(here_fd, &err));
	change.ifindex = a1.ifindex;
	assert_ok(link_set(here, &change, &err));
	assert_ok(link_get(there, "a1", &moved, &err));
	assert_int_not_equal(moved.ifindex, a1.ifindex);
}

static void test_link_mac_up_altname(void **state)
{
	struct link_change change = { .up = 1 };
	struct link_info link;
	struct mac mac;

	(void)state;
	assert_int_equal(mac_parse("02:11:22:33:44:55", &mac), 0);
	assert_ok(link_get(here, "a0", &link, &err));
	change.ifindex = link.ifindex;
	change.mac = &mac;
	assert_ok(link_set(here, &change, &err));
	assert_ok(link_altname_add(here, link.ifindex, "other", &err));
	assert_int_equal(link_altname_add(here, link.ifindex, "other", &err), -EEXIST);
	assert_ok(link_get(here, "a0", &link, &err));
	assert_true(mac_equal(&link.mac, &mac));
	assert_true(link.flags & IFF_UP);
	assert_true(link.carrier);
	assert_string_equal(link.altnames[0], "other");
	assert_ok(link_altname_del(here, link.ifindex, "other", &err));
	assert_ok(link_get(here, "a0", &link, &err));
	assert_int_equal(link.altname_count, 0);
}

static int count_links(const struct link_info *link, void *arg)
{
	int *count = arg;

	(void)link;
	(*count)++;
	return 0;
}

static int stop_at_once(const struct link_info *link, void *arg)
{
	(void)count_links(link, arg);
	return 1;
}

static void test_link_list_of_many_pages(void **state)
{
	struct link_info link;
	int count = 0;

	(void)state;
	run("for i in $(seq 150); do echo link add v$i type veth peer name w$i; done | ip -b -");
	assert_ok(link_list(here, count_links, &count, &err));
	assert_int_equal(count, 303);
	count = 0;
	assert_int_equal(link_list(here, stop_at_once, &count, &err), 1);
	assert_int_equal(count, 1);
	assert_ok(link_get(here, "w150", &link, &err));
}

static bool keep_first(const char *altname, const void *arg)
{
	return strncmp(altname, arg, strlen(arg)) == 0;
}

/* All altnames that a device can have, and on top of them what a macvlan tells of its sources. */
static void test_link_longer_than_the_buffer(void **state)
{
	struct link_info link;
	int count = 0;

	(void)state;
	run("ip link add link a0 name m0 type macvlan mode source");
	run("for i in $(seq 250); do for j in $(seq 14); do printf 'link set link dev m0 type "
	    "macvlan "
	    "macaddr add 02:00:00:00:%02x:%02x\n' $j $i; done; done | ip -batch -");
	run("for i in $(seq 490); do printf 'link property add dev m0 altname %03dn%0123d\n' $i 0; "
	    "done "
	    "| ip -batch -");
	assert_ok(link_get(here, "m0", &link, &err));
	assert_true(link.more_altnames);
	assert_int_equal(link.altname_count, LINK_ALTNAMES_MAX);
	assert_int_equal(link_list(here, count_links, &count, &err), 0);
	assert_true(count >= 4); /* lo, a0, a1, m0 */
	assert_ok(link_get(here, "a1", &link, &err));

	assert_ok(link_get(here, "m0", &link, &err));
	assert_int_equal(link_altnames_prune(here, link.ifindex, keep_first, "007", &err), 1);
	assert_int_equal(link_altnames_prune(here, link.ifindex, keep_first, "007", &err), 0);
	assert_ok(link_get(here, "m0", &link, &err));
	assert_int_equal(link.altname_count, 1);
	assert_false(link.more_altnames);
	assert_memory_equal(link.altnames[0], "007n", 4);
	assert_int_equal(link_altnames_prune(here, link.ifindex, NULL, NULL, &err), 1);
	assert_int_equal(link_altnames_prune(here, 4242, NULL, NULL, &err), -ENODEV);
	run("ip link del m0");
}

static void test_addresses(void **state)
{
	struct cidr v4 = cidr("10.1.2.3/24"), v6 = cidr("fd00::3/64");
	struct cidr v6_of_48 = { .ip = v6.ip, .plen = 48 };
	struct addr_info found;
	struct link_info link;

	(void)state;
	assert_ok(link_get(here, "a1", &link, &err));
	assert_ok(addr_add(here, link.ifindex, &v4, true, &err));
	assert_ok(addr_add(here, link.ifindex, &v4, true, &err)); /* already there */
	assert_ok(addr_add(here, link.ifindex, &v6, true, &err));
	assert_ok(addr_add(here, link.ifindex, &v6, true, &err));
	/* for the kernel the same v6 address, but not what is asked for */
	assert_int_equal(addr_add(here, link.ifindex, &v6_of_48, true, &err), -EEXIST);
	assert_int_equal(addr_find(here, link.ifindex, &v6_of_48, &found, &err), 0);
	assert_int_equal(addr_find(here, link.ifindex, &v6, &found, &err), 1);
	assert_false(found.tentative);
	assert_int_equal(found.cidr.plen, 64);
	assert_ok(addr_del(here, link.ifindex, &v4, &err));
	assert_ok(addr_del(here, link.ifindex, &v4, &err)); /* already gone */
	assert_ok(addr_del(here, 4242, &v4, &err));         /* device gone */
	assert_int_equal(addr_add(here, 4242, &v4, true, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "add address 10.1.2.3/24: No such device"));
}

static int count_addr(const struct addr_info *addr, void *arg)
{
	(void)addr;
	++*(int *)arg;
	return 0;
}

static void test_addresses_are_of_one_device(void **state)
{
	struct link_info link;
	struct cidr first;
	int count = 0;

	(void)state;
	run("for i in $(seq 200); do echo addr add 10.9.0.$i/16 dev a1; done | ip -b -");
	run("ip addr add 10.8.0.1/16 dev a0");
	assert_ok(link_get(here, "a0", &link, &err));
	assert_ok(addr_list(here, link.ifindex, count_addr, &count, &err));
	assert_int_equal(count, 1);
	assert_int_equal(addr_find_global(here, link.ifindex, &first, &err), 1);
	assert_int_equal(first.plen, 16);
	assert_ok(link_get(here, "lo", &link, &err));
	assert_int_equal(addr_find_global(here, link.ifindex, &first, &err), 0);
}

/* However many somebody has made, none is beyond what is looked at. */
static void test_the_last_of_many_addresses(void **state)
{
	struct cidr last = cidr("10.9.3.232/16"), absent = cidr("10.9.9.9/16");
	struct addr_info found;
	struct link_info link;
	int count = 0;

	(void)state;
	run("for i in 0 1 2 3; do for j in $(seq 250); do echo addr add 10.9.$i.$j/16 dev a1; "
	    "done; "
	    "done | ip -b -");
	assert_ok(link_get(here, "a1", &link, &err));
	assert_ok(addr_list(here, link.ifindex, count_addr, &count, &err));
	assert_int_equal(count, 1000);
	assert_int_equal(addr_find(here, link.ifindex, &last, &found, &err), 1);
	assert_int_equal(addr_find(here, link.ifindex, &absent, &found, &err), 0);
}

struct tentative {
	int count, tentative;
};

static int count_tentative(const struct addr_info *addr, void *arg)
{
	struct tentative *seen = arg;

	seen->count++;
	seen->tentative += addr->tentative;
	return 0;
}

/* How many addresses the device has, and how many of them are tentative. */
static int count_addrs(int ifindex, int *ret_tentative)
{
	struct tentative seen = { 0 };

	assert_ok(addr_list(here, ifindex, count_tentative, &seen, &err));
	*ret_tentative = seen.tentative;
	return seen.count;
}

/*
 * What ADD relies on: the global address is never tentative, and with accept_dad=0 before up the
 * link-local, which comes up to a second later with the carrier's event, is usable as soon as the
 * kernel's worker has run. DAD would take a second or more.
 */
static void test_no_tentative_address(void **state)
{
	struct link_change up = { .up = 1 };
	struct cidr v6 = cidr("fd00:1::3/64");
	struct link_info link;
	int tentative, tries = 0;

	(void)state;
	assert_ok(link_get(here, "a0", &link, &err));
	assert_ok(sysctl_write_if("ipv6", "a0", "accept_dad", "0", &err));
	assert_ok(addr_add(here, link.ifindex, &v6, true, &err));
	up.ifindex = link.ifindex;
	assert_ok(link_set(here, &up, &err));
	while (count_addrs(link.ifindex, &tentative) < 2 && tries++ < 300)
		(void)usleep(10000);
	assert_true(tries < 300);
	(void)usleep(100000);
	assert_int_equal(count_addrs(link.ifindex, &tentative), 2);
	assert_int_equal(tentative, 0);
	assert_int_equal(sysctl_write_if("ipv6", "nosuch", "accept_dad", "0", &err), -ENOENT);
}

static struct route_spec route_to(const char *dst, const char *gw, int ifindex, uint32_t table)
{
	struct route_spec route = {
		.dst = cidr(dst), .ifindex = ifindex, .table = table, .scope = -1
	};

	if (gw)
		assert_int_equal(ip_parse(gw, &route.gw), 0);
	return route;
}

static void check_route(const struct route_spec *route)
{
	bool exists;

	assert_ok(route_exists(here, route, &exists, &err));
	assert_false(exists);
	assert_ok(route_add(here, route, &err));
	assert_ok(route_add(here, route, &err));
	assert_ok(route_exists(here, route, &exists, &err));
	assert_true(exists);
	assert_ok(route_del(here, route, &err));
	assert_ok(route_del(here, route, &err));
	assert_ok(route_exists(here, route, &exists, &err));
	assert_false(exists);
}

static void test_routes(void **state)
{
	struct route_spec route;
	struct link_info link;

	(void)state;
	run("ip link set a0 up && ip addr add 10.1.0.2/24 dev a1 && ip addr add fd00:2::2/64 dev "
	    "a1 nodad");
	assert_ok(link_get(here, "a1", &link, &err));
	route = route_to("10.0.0.0/8", "10.1.0.1", link.ifindex, 0);
	route.mtu = 1400;
	route.priority = 50;
	check_route(&route);
	route = route_to("0.0.0.0/0", "10.1.0.1", link.ifindex, 103);
	check_route(&route);
	route = route_to("192.168.0.0/16", NULL, link.ifindex, 0);
	check_route(&route);
	route = route_to("::/0", "fd00:2::1", link.ifindex, 1000000);
	check_route(&route);
	route = route_to("10.0.0.0/8", "172.16.0.1", link.ifindex, 0);
	assert_int_equal(route_add(here, &route, &err), -ENETUNREACH);
	assert_non_null(strstr(err.msg, "(")); /* the kernel's extended ack */
}

/* Another way to the same place is not "already there", and DEL leaves it alone. */
static void test_route_of_somebody_else(void **state)
{
	static const char *const ways[][3] = { { "0.0.0.0/0", "10.1.0.1", "10.1.0.7" },
					       { "fd05::/64", "fd00:2::1", "fd00:2::7" } };
	struct route_spec theirs, ours;
	struct link_info link;
	bool exists;

	(void)state;
	run("ip link set a0 up && ip addr add 10.1.0.2/24 dev a1 && ip addr add fd00:2::2/64 dev "
	    "a1 nodad");
	assert_ok(link_get(here, "a1", &link, &err));
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		theirs = route_to(ways[i][0], ways[i][1], link.ifindex, 0);
		ours = route_to(ways[i][0], ways[i][2], link.ifindex, 0);
		assert_ok(route_add(here, &theirs, &err));
		assert_int_equal(route_add(here, &ours, &err), -EEXIST);
		assert_non_null(strstr(err.msg, "File exists"));
		assert_ok(route_del(here, &ours, &err));
		assert_ok(route_exists(here, &theirs, &exists, &err));
		assert_true(exists);
	}
}

/* Of a0 alone: neither what the kernel and routers make, nor what another device has. */
static void test_routes_that_somebody_made(void **state)
{
	struct link_info link;
	struct cidr dst;
	char text[CIDR_TEXT];

	(void)state;
	run("ip link set a0 up && ip addr add 10.8.0.1/24 dev a0 && ip -6 addr add fd08::1/64 dev "
	    "a0 "
	    "nodad && ip -6 route add fd09::/64 dev a0 proto ra && ip route add 10.9.0.0/24 dev "
	    "a1");
	assert_ok(link_get(here, "a0", &link, &err));
	assert_ok(route_find_made(here, link.ifindex, &dst, &err));
	assert_int_equal(dst.ip.family, 0);
	run("ip -6 route add fd0a::/64 dev a0 table 9");
	assert_ok(route_find_made(here, link.ifindex, &dst, &err));
	assert_string_equal(cidr_format(&dst, text), "fd0a::/64");
	run("ip -6 route del fd0a::/64 table 9 && ip route add default nexthop dev a0 nexthop dev "
	    "a1");
	assert_ok(route_find_made(here, link.ifindex, &dst, &err));
	assert_string_equal(cidr_format(&dst, text), "0.0.0.0/0");
}

static void test_permanent_neighbours(void **state)
{
	struct link_info link;
	char text[IP_TEXT];
	struct ip ip;

	(void)state;
	run("ip link set a0 up && ip addr add 10.8.0.1/24 dev a0 && ip neigh add 10.8.0.2 lladdr "
	    "02:00:00:00:00:02 dev a0 nud stale && ip neigh add 10.8.0.3 lladdr 02:00:00:00:00:03 "
	    "dev a1 nud permanent");
	assert_ok(link_get(here, "a0", &link, &err));
	assert_ok(neigh_find_permanent(here, link.ifindex, &ip, &err));
	assert_int_equal(ip.family, 0);
	run("ip neigh add fd08::9 lladdr 02:00:00:00:00:09 dev a0 nud permanent");
	assert_ok(neigh_find_permanent(here, link.ifindex, &ip, &err));
	assert_string_equal(ip_format(&ip, text), "fd08::9");
}

static void test_rules(void **state)
{
	struct rule_spec v4 = { .table = 100, .priority = 1000 },
			 v6 = { .table = 101, .priority = 1000 };

	(void)state;
	assert_int_equal(ip_parse("10.1.0.2", &v4.from), 0);
	assert_int_equal(ip_parse("fd00::2", &v6.from), 0);
	run("ip rule add from 10.1.0.2 lookup 100"); /* somebody else's */
	run("for i in $(seq 250); do echo rule add from 10.7.0.$i lookup 7 protocol 115; done | ip "
	    "-b -");
	assert_int_equal(rule_find(here, &v4, &err), 0);
	assert_ok(rule_add(here, &v4, &err));
	assert_ok(rule_add(here, &v4, &err));
	assert_ok(rule_add(here, &v6, &err));
	assert_int_equal(rule_find(here, &v4, &err), 1);
	assert_int_equal(rule_find(here, &v6, &err), 1);
	assert_ok(rule_del(here, &v4, &err));
	assert_ok(rule_del(here, &v4, &err));
	assert_ok(rule_del(here, &v6, &err));
	assert_int_equal(rule_find(here, &v4, &err), 0);
	assert_int_equal(rule_find(here, &v6, &err), 0);
}

static void remember_nsid(int32_t nsid, void *arg)
{
	int32_t *seen = arg;

	*seen = nsid;
}

static bool claims(const char *name)
{
	struct link_info link;
	bool claimed;

	assert_ok(link_get(here, name, &link, &err));
	assert_ok(upper_claims(here, &link, &claimed, &err));
	return claimed;
}

/* From whatever namespace; and to ask for it changes nothing. */
static void test_upper_claims(void **state)
{
	(void)state;
	run("ip link set a0 up");
	assert_false(claims("a0"));
	assert_false(claims("a0"));
	assert_false(claims("lo"));
	run("ip link add up0 link a0 type macvlan");
	assert_true(claims("a0"));
	assert_false(claims("up0")); /* it would be asked of a0 */
	(void)snprintf(command, sizeof(command), "ip link set up0 netns /proc/%d/fd/%d", getpid(),
		       there_fd);
	run(command);
	assert_true(claims("a0"));
	assert_ok(netns_enter(there_fd, &err));
	run("ip link del up0");
	assert_ok(netns_enter(here_fd, &err));
	assert_false(claims("a0"));
	run("ip link add up0 type bridge && ip link set a0 master up0");
	assert_true(claims("a0"));
	run("ip link del up0");
	assert_false(claims("a0"));
	run("test $(ip -o link | wc -l) = 3");
}

static void find_uppers(struct wire *rt, const char *lower, bool elsewhere, struct upper_list *list)
{
	struct link_info link;

	assert_ok(link_get(here, lower, &link, &err));
	assert_ok(upper_find(rt, &link, elsewhere, list, &err));
}

/* In one namespace and from another; neither the pair's other end, nor what stands upon that. */
static void test_uppers(void **state)
{
	struct upper_list uppers;
	int32_t nsid;

	(void)state;
	run("for n in 1 2 3; do ip link add up$n link a0 type macvlan; done; ip link add b0 link "
	    "a1 "
	    "type macvlan");
	find_uppers(here, "a0", false, &uppers);
	assert_int_equal(uppers.count, 3);
	assert_ok(upper_delete(here, &uppers, &err));
	assert_ok(upper_delete(here, &uppers, &err)); /* they have gone */
	find_uppers(here, "a0", false, &uppers);
	assert_int_equal(uppers.count, 0);
	find_uppers(here, "a1", false, &uppers);
	assert_int_equal(uppers.count, 1);
	(void)snprintf(command, sizeof(command), "ip link set b0 netns /proc/%d/fd/%d", getpid(),
		       there_fd);
	run(command);
	find_uppers(here, "a1", false, &uppers);
	assert_int_equal(uppers.count, 0);
	find_uppers(there, "a1", true, &uppers);
	assert_int_equal(uppers.count, 1);
	assert_ok(nsid_ensure(there, here_fd, &nsid, &err));
	upper_keep(&uppers, nsid + 1);
	assert_int_equal(uppers.count, 0);
	find_uppers(there, "a1", true, &uppers);
	upper_keep(&uppers, nsid);
	assert_int_equal(uppers.count, 1);
	assert_ok(upper_delete(there, &uppers, &err));
	assert_false(claims("a1"));
}

static void test_nsid(void **state)
{
	int32_t nsid = -1, again = -1, gone = -1;
	bool exists;
	int watch, victim;

	(void)state;
	assert_ok(unshare(CLONE_NEWNET));
	victim = open_self();
	assert_ok(netns_enter(here_fd, &err));
	assert_ok(nsid_watch(&watch, &err));
	assert_ok(nsid_ensure(here, victim, &nsid, &err));
	assert_ok(nsid_ensure(here, victim, &again, &err));
	assert_true(nsid >= 0);
	assert_int_equal(nsid, again);
	assert_ok(nsid_exists(here, nsid, &exists, &err));
	assert_true(exists);
	(void)close(victim);
	for (int i = 0; i < 500 && gone != nsid; i++) {
		(void)usleep(10000);
		assert_ok(nsid_watch_read(watch, remember_nsid, &gone, &err));
	}
	assert_int_equal(gone, nsid);
	assert_ok(nsid_exists(here, nsid, &exists, &err));
	assert_false(exists);
	(void)close(watch);
}

static void test_cookies(void **state)
{
	uint64_t mine, its;

	(void)state;
	assert_ok(netns_socket_cookie(wire_fd(here), &mine, &err));
	assert_ok(netns_socket_cookie(wire_fd(there), &its, &err));
	assert_true(mine != its && mine && its);
}

/* Opens a packet socket at the far end, a1. */
static int listen_on_a1(void)
{
	struct sockaddr_ll self = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct timeval patience = { .tv_sec = 3 };
	struct link_info link;
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL));

	assert_true(fd >= 0);
	assert_ok(link_get(here, "a1", &link, &err));
	self.sll_ifindex = link.ifindex;
	assert_ok(bind(fd, (struct sockaddr *)&self, sizeof(self)));
	assert_ok(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
	return fd;
}

/*
 * Waits for the ARP request for our own v4 address, and the neighbour advertisement (ICMPv6 type
 * 136) of our own global v6 address; false if they do not come in time.
 */
static bool hear_both(int fd, const struct ip *v4, const struct ip *v6)
{
	bool arp = false, na = false;
	struct sockaddr_ll from;
	uint8_t packet[2048];

	while (!arp || !na) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &len);

		if (n < 0)
			return false;
		if (from.sll_pkttype == PACKET_OUTGOING || n < 28)
			continue;
		if (from.sll_protocol == htons(ETH_P_ARP))
			arp |= memcmp(packet + 14, v4->bytes, 4) == 0 &&
			       memcmp(packet + 24, v4->bytes, 4) == 0;
		else if (from.sll_protocol == htons(ETH_P_IPV6) && n >= 64)
			na |= packet[6] == IPPROTO_ICMPV6 && packet[40] == 136 &&
			      memcmp(packet + 48, v6->bytes, 16) == 0;
	}
	return true;
}

static void test_announce(void **state)
{
	CLEANUP_CLOSE int fd = -1;
	struct link_info link;
	struct cidr v4 = cidr("10.1.0.9/24"), v6 = cidr("fd00:9::9/64");

	(void)state;
	run("ip link set a0 up && ip addr add 10.1.0.9/24 dev a0 && ip addr add fd00:9::9/64 dev "
	    "a0 nodad");
	assert_ok(link_get(here, "a0", &link, &err));
	fd = listen_on_a1();
	assert_ok(neigh_announce(here, link.ifindex, &link.mac, &v4.ip, &err));
	assert_ok(neigh_announce(here, link.ifindex, &link.mac, &v6.ip, &err));
	assert_true(hear_both(fd, &v4.ip, &v6.ip));
	assert_int_equal(neigh_announce(here, 4242, &link.mac, &v4.ip, &err), -ENODEV);
}

/* What ADD relies on instead of neigh_announce(): addresses first, then up. */
static void test_kernel_announces_on_up(void **state)
{
	struct cidr v4 = cidr("10.1.0.9/24"), v6 = cidr("fd00:9::9/64");
	struct link_change change = { .arp_notify = LINK_CONF(1) };
	CLEANUP_CLOSE int fd = -1;
	struct link_info link;

	(void)state;
	assert_ok(link_get(here, "a0", &link, &err));
	change.ifindex = link.ifindex;
	assert_ok(link_set(here, &change, &err));
	assert_ok(sysctl_write_if("ipv6", "a0", "ndisc_notify", "1", &err));
	assert_ok(addr_add(here, link.ifindex, &v4, true, &err));
	assert_ok(addr_add(here, link.ifindex, &v6, true, &err));
	fd = listen_on_a1();
	change = (struct link_change) { .ifindex = link.ifindex, .up = 1 };
	assert_ok(link_set(here, &change, &err));
	assert_true(hear_both(fd, &v4.ip, &v6.ip));
}

struct link_event {
	int ifindex;
	bool there, gone;
};

static void note_link(int ifindex, bool deleted, void *arg)
{
	struct link_event *event = arg;

	if (ifindex != event->ifindex)
		return;
	event->there |= !deleted;
	event->gone |= deleted;
}

static void test_link_watch(void **state)
{
	struct link_event event = { 0 };
	CLEANUP_CLOSE int fd = -1;
	struct link_info link;

	(void)state;
	assert_ok(link_get(here, "a0", &link, &err));
	event.ifindex = link.ifindex;
	assert_ok(link_watch(&fd, &err));
	assert_ok(link_watch_read(fd, note_link, &event, &err)); /* nothing: does not wait */
	assert_false(event.there || event.gone);
	run("ip link set a0 mtu 1400");
	assert_ok(link_watch_read(fd, note_link, &event, &err));
	assert_true(event.there && !event.gone);
	event.there = false;
	run("ip link del a0");
	assert_ok(link_watch_read(fd, note_link, &event, &err));
	assert_true(event.gone);
}

/* Detection that ends is told like an address that comes or goes. */
static void test_addr_watch(void **state)
{
	struct link_event event = { 0 };
	struct pollfd watched = { .events = POLLIN };
	CLEANUP_CLOSE int fd = -1;
	struct link_info link;
	int tentative = 1;

	(void)state;
	run("ip link set a0 up && ip link set a1 up");
	assert_ok(link_get(here, "a0", &link, &err));
	event.ifindex = link.ifindex;
	assert_ok(addr_watch(&fd, &err));
	watched.fd = fd;
	run("ip addr add fd00:8::8/64 dev a0");
	while (tentative) {
		assert_int_equal(poll(&watched, 1, 10 * 1000), 1);
		assert_ok(addr_watch_read(fd, note_link, &event, &err));
		(void)count_addrs(link.ifindex, &tentative);
	}
	assert_true(event.there && !event.gone);
	run("ip addr del fd00:8::8/64 dev a0");
	assert_ok(addr_watch_read(fd, note_link, &event, &err));
	assert_true(event.gone);
}

/* What is lost is said, once, when the rest has been read; then the socket goes on. */
static void test_link_watch_overrun(void **state)
{
	struct link_event event = { 0 };
	CLEANUP_CLOSE int fd = -1;
	struct link_info link;
	int small = 1, large = 1 << 16;

	(void)state;
	assert_ok(link_get(here, "a0", &link, &err));
	event.ifindex = link.ifindex;
	assert_ok(link_watch(&fd, &err));
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	for (int i = 0; i < 20; i++)
		run("ip link set a0 up && ip link set a0 down");
	assert_int_equal(link_watch_read(fd, note_link, &event, &err), -ENOBUFS);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large)), 0);
	event.there = false;
	run("ip link set a0 up");
	assert_ok(link_watch_read(fd, note_link, &event, &err));
	assert_true(event.there);
}

struct uevent_seen {
	bool added, removed;
};

static void note_uevent(const struct uevent *event, void *arg)
{
	struct uevent_seen *seen = arg;

	if (strcmp(event->subsystem, "net") != 0 || !strstr(event->devpath, "/net/u0"))
		return;
	assert_false(event->has_pci);
	seen->added |= strcmp(event->action, "add") == 0;
	seen->removed |= strcmp(event->action, "remove") == 0;
}

static void test_uevents(void **state)
{
	struct uevent_seen seen = { 0 };
	CLEANUP_CLOSE int fd = -1;

	(void)state;
	assert_ok(uevent_open(&fd, &err));
	assert_ok(uevent_read(fd, note_uevent, &seen, &err)); /* does not wait */
	run("ip link add u0 type veth peer name u1");
	assert_ok(uevent_read(fd, note_uevent, &seen, &err));
	assert_true(seen.added && !seen.removed);
	run("ip link del u0");
	assert_ok(uevent_read(fd, note_uevent, &seen, &err));
	assert_true(seen.removed);
}

static bool sysfs_shows(int root_fd, const char *netdev)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "class/net/%s/ifindex", netdev);
	return faccessat(root_fd, path, R_OK, 0) == 0;
}

/* Each sysfs shows the devices of the namespace that it was made in, wherever its reader stands. */
static void test_sysfs_of_a_namespace(void **state)
{
	CLEANUP_CLOSE int here_sysfs = -1, there_sysfs = -1;
	int written;

	(void)state;
	assert_ok(sysfs_mount(&here_sysfs, &err));
	assert_ok(netns_enter(there_fd, &err));
	assert_ok(sysfs_mount(&there_sysfs, &err));
	assert_ok(netns_enter(here_fd, &err));
	assert_true(sysfs_shows(here_sysfs, "a0") && sysfs_shows(there_sysfs, "lo"));
	assert_false(sysfs_shows(there_sysfs, "a0"));
	(void)snprintf(command, sizeof(command), "ip link set a0 netns /proc/%d/fd/%d", getpid(),
		       there_fd);
	run(command);
	assert_false(sysfs_shows(here_sysfs, "a0"));
	assert_true(sysfs_shows(there_sysfs, "a0"));
	written = fs_write_small(there_sysfs, "class/net/a0/mtu", "1400");
	assert_int_equal(written, -EROFS);
}

#define NETNS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NETNS_TEST(test_link_get),
		NETNS_TEST(test_nobody_else_tells_us),
		NETNS_TEST(test_link_master),
		NETNS_TEST(test_link_move_in_one_message),
		NETNS_TEST(test_link_move_name_taken),
		NETNS_TEST(test_link_move_stops_halfway),
		NETNS_TEST(test_link_move_refused_at_once),
		NETNS_TEST(test_link_move_ifindex),
		NETNS_TEST(test_link_mac_up_altname),
		NETNS_TEST(test_link_list_of_many_pages),
		NETNS_TEST(test_link_longer_than_the_buffer),
		NETNS_TEST(test_addresses),
		NETNS_TEST(test_addresses_are_of_one_device),
		NETNS_TEST(test_the_last_of_many_addresses),
		NETNS_TEST(test_no_tentative_address),
		NETNS_TEST(test_routes),
		NETNS_TEST(test_route_of_somebody_else),
		NETNS_TEST(test_routes_that_somebody_made),
		NETNS_TEST(test_permanent_neighbours),
		NETNS_TEST(test_rules),
		NETNS_TEST(test_upper_claims),
		NETNS_TEST(test_uppers),
		NETNS_TEST(test_nsid),
		NETNS_TEST(test_cookies),
		NETNS_TEST(test_announce),
		NETNS_TEST(test_kernel_announces_on_up),
		NETNS_TEST(test_link_watch),
		NETNS_TEST(test_addr_watch),
		NETNS_TEST(test_link_watch_overrun),
		NETNS_TEST(test_uevents),
		NETNS_TEST(test_sysfs_of_a_namespace),
	};

	if (geteuid() != 0) {
		puts("SKIP: needs root");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
