/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that netlib/rt sends, and what it makes of answers, without a kernel: the linker puts
 * the functions below in the place of wire_query(), wire_request() and wire_make_room()
 * (-Wl,--wrap).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cmocka.h>

#include "rt/addr.h"
#include "rt/link.h"
#include "rt/nsid.h"
#include "rt/route.h"
#include "rt/rule.h"
#include "rt/vf.h"

enum { HEX_MAX = 1024 };

static struct err err;
static char sent[HEX_MAX];          /* the last message as text */
static struct nl_msg *answer;       /* what wire_query() answers with */
static char what_text[ERR_MSG_MAX]; /* how the caller names the operation */

int __wrap_wire_query(struct wire *rt, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *ret_err, const char *what, ...)
	__attribute__((format(printf, 7, 8)));
int __wrap_wire_request(struct wire *rt, struct nl_msg *msg, struct err *ret_err, const char *what,
			...) __attribute__((format(printf, 4, 5)));

int __wrap_wire_make_room(struct wire *rt, size_t size);

int __wrap_wire_make_room(struct wire *rt, size_t size)
{
	(void)rt;
	assert_true(size >= 256 * 1024);
	return 0;
}

/* type, flags, then everything after the header; sequence and port are not the message's own. */
__attribute__((format(printf, 2, 0))) static void remember(struct nl_msg *msg, const char *what,
							   va_list ap)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	const unsigned char *bytes = nlmsg_data(header);
	int n = snprintf(sent, sizeof(sent), "%u %x ", header->nlmsg_type, header->nlmsg_flags);

	for (int i = 0; i < nlmsg_datalen(header); i++)
		n += snprintf(sent + n, sizeof(sent) - (size_t)n, "%02x", bytes[i]);
	(void)vsnprintf(what_text, sizeof(what_text), what, ap);
	nlmsg_free(msg);
}

int __wrap_wire_request(struct wire *rt, struct nl_msg *msg, struct err *ret_err, const char *what,
			...)
{
	va_list ap;

	(void)rt;
	(void)ret_err;
	va_start(ap, what);
	remember(msg, what, ap);
	va_end(ap);
	return 0;
}

int __wrap_wire_query(struct wire *rt, struct nl_msg *msg, wire_parse_fn parse, void *arg,
		      void (*restart)(void *arg), struct err *ret_err, const char *what, ...)
{
	va_list ap;
	int r;

	(void)rt;
	(void)restart;
	va_start(ap, what);
	remember(msg, what, ap);
	va_end(ap);
	r = answer ? parse(nlmsg_hdr(answer), arg, ret_err) : 0;
	return r < 0 ? r : 0;
}

static int drop_answer(void **state)
{
	(void)state;
	nlmsg_free(answer);
	answer = NULL;
	return 0;
}

static struct ip ip(const char *text)
{
	struct ip address;

	assert_int_equal(ip_parse(text, &address), 0);
	return address;
}

static struct cidr cidr(const char *text)
{
	struct cidr prefix;

	assert_int_equal(cidr_parse(text, &prefix), 0);
	return prefix;
}

/* RTEXT_FILTER_SKIP_STATS (8) and nothing else: with RTEXT_FILTER_VF a PF costs milliseconds. */
#define EXT_MASK "08001d0008000000"

static void test_link_get(void **state)
{
	struct link_info link;

	(void)state;
	(void)link_get(NULL, "eth5", &link, &err);
	assert_string_equal(sent, "18 1 00000000000000000000000000000000"
				  "090003006574683500000000" EXT_MASK);
	assert_string_equal(what_text, "find device eth5");
	(void)link_get_index(NULL, 7, &link, &err);
	assert_string_equal(sent, "18 1 00000000070000000000000000000000" EXT_MASK);
	assert_string_equal(what_text, "find device 7");
	/* Longer than IFNAMSIZ - 1: only as an altname (IFLA_ALT_IFNAME = 53). */
	(void)link_get(NULL, "sixteen-bytes-xx", &link, &err);
	assert_non_null(strstr(sent, "150035007369787465656e2d62797465732d787800000000"));
	(void)link_list(NULL, NULL, NULL, &err);
	assert_string_equal(sent, "18 301 00000000000000000000000000000000" EXT_MASK);
}

static void test_link_set(void **state)
{
	struct link_change change = { .ifindex = 7, .netns_fd = 9, .name = "net1", .mtu = 9000 };
	struct mac mac;

	(void)state;
	assert_int_equal(mac_parse("02:11:22:33:44:55", &mac), 0);
	change.mac = &mac;
	change.arp_notify = LINK_CONF(1);
	change.arp_ignore = LINK_CONF(0);
	assert_int_equal(link_set(NULL, &change, &err), 0);
	/* RTM_NEWLINK without NLM_F_CREATE; no flags: up is a message of its own. */
	assert_string_equal(sent, "16 5 00000000070000000000000000000000"
				  "08001c0009000000"         /* IFLA_NET_NS_FD */
				  "0a0001000211223344550000" /* IFLA_ADDRESS */
				  "0800040028230000"         /* IFLA_MTU */
				  "090003006e65743100000000" /* IFLA_IFNAME */
				  "1c001a801800028014000180" /* AF_SPEC, INET, CONF */
				  "0800160001000000"         /* arp_notify */
				  "0800130000000000");       /* arp_ignore = 0 */
	change = (struct link_change) { .ifindex = 7, .up = 1 };
	assert_int_equal(link_set(NULL, &change, &err), 0);
	assert_string_equal(sent, "16 5 00000000070000000100000001000000");
	change.up = -1;
	assert_int_equal(link_set(NULL, &change, &err), 0);
	assert_string_equal(sent, "16 5 00000000070000000000000001000000");
}

/* Only what differs is told; of the limits all, for the first sets the fourth too. */
static void test_link_settings(void **state)
{
	struct link_settings was = { .known = true,
				     .flags = IFF_MULTICAST,
				     .txqlen = 1000,
				     .limits = { 65536, 65535, 65536, 65536, 65536 } };
	struct link_settings now = was;
	const struct link_change change = {
		.ifindex = 7, .up = 1, .settings = &was, .settings_now = &now
	};

	(void)state;
	now.flags = IFF_NOARP | IFF_PROMISC;
	assert_int_equal(link_set(NULL, &change, &err), 0);
	/* up and MULTICAST (1001) of what changes (1181) */
	assert_string_equal(sent, "16 5 00000000070000000110000081110000");
	now = was;
	now.txqlen = 77;
	now.group = 4;
	(void)snprintf(now.alias, sizeof(now.alias), "x");
	now.limits[LIMIT_GSO] = 30000;
	was.limits[LIMIT_GRO_IPV4] = 0; /* of an older kernel */
	assert_int_equal(link_set(NULL, &change, &err), 0);
	assert_string_equal(sent, "16 5 00000000070000000100000001000000"
				  "08000d00e8030000"   /* IFLA_TXQLEN */
				  "08001b0000000000"   /* IFLA_GROUP */
				  "0500140000000000"   /* IFLA_IFALIAS: none */
				  "0800290000000100"   /* IFLA_GSO_MAX_SIZE */
				  "08002800ffff0000"   /* IFLA_GSO_MAX_SEGS */
				  "08003a0000000100"   /* IFLA_GRO_MAX_SIZE */
				  "08003f0000000100"); /* IFLA_GSO_IPV4_MAX_SIZE */
	was = now;
	now.proto_down = true;
	now.proto_down_reasons = 8;
	assert_int_equal(link_set(NULL, &change, &err), 0);
	assert_string_equal(sent, "16 5 00000000070000000100000001000000"
				  "140037800800010" /* IFLA_PROTO_DOWN_REASON, MASK */
				  "0ffffffff0800020000000000"
				  "0500270000000000"); /* IFLA_PROTO_DOWN */
	assert_int_equal(link_xdp_detach(NULL, 7, XDP_GENERIC, &err), 0);
	assert_string_equal(sent, "16 5 00000000070000000000000000000000"
				  "14002b8008000100ffffffff0800030002000000");
}

static void test_link_altname(void **state)
{
	(void)state;
	assert_int_equal(link_altname_del(NULL, 7, "abc", &err), 0);
	assert_string_equal(sent, "109 5 00000000070000000000000000000000"
				  "0c0034800800350061626300");
	assert_int_equal(link_altname_add(NULL, 7, "abc", &err), 0);
	assert_memory_equal(sent, "108 e05 ", 8);
	assert_string_equal(what_text, "add altname abc of device 7");
}

static void test_addr(void **state)
{
	struct cidr v4 = cidr("10.1.2.3/20"), p2p = cidr("10.1.2.3/31"), v6 = cidr("fd00::3/64");
	struct addr_info found;

	(void)state;
	assert_int_equal(addr_add(NULL, 7, &v4, true, &err), 0);
	assert_string_equal(sent, "20 605 0214000007000000"
				  "080002000a010203" /* IFA_LOCAL */
				  "080001000a010203" /* IFA_ADDRESS */
				  "080004000a010fff" /* IFA_BROADCAST */);
	assert_int_equal(addr_add(NULL, 7, &p2p, true, &err), 0);
	assert_null(strstr(sent, "08000400")); /* no broadcast address */
	assert_int_equal(addr_add(NULL, 7, &v6, true, &err), 0);
	assert_string_equal(sent, "20 605 0a40000007000000"
				  "14000200fd000000000000000000000000000003"
				  "14000100fd000000000000000000000000000003"
				  "0800080002000000"); /* IFA_FLAGS: IFA_F_NODAD */
	assert_int_equal(addr_add(NULL, 7, &v6, false, &err), 0);
	assert_null(strstr(sent, "08000800"));
	assert_int_equal(addr_del(NULL, 7, &v4, &err), 0);
	assert_memory_equal(sent, "21 5 02140000", 13);
	assert_int_equal(addr_find(NULL, 7, &v4, &found, &err), 0);
	assert_string_equal(sent, "22 301 0000000007000000");
}

static void test_route(void **state)
{
	struct route_spec route = { .dst = cidr("10.9.9.9/8"),
				    .gw = ip("10.1.0.1"),
				    .ifindex = 7,
				    .table = 300,
				    .mtu = 1400,
				    .priority = 5,
				    .scope = -1 };

	(void)state;
	assert_int_equal(route_add(NULL, &route, &err), 0);
	assert_string_equal(sent, "24 605 020800000073000100000000"
				  "080001000a000000"           /* host bits cleared */
				  "080005000a010001"           /* RTA_GATEWAY */
				  "0800040007000000"           /* RTA_OIF */
				  "08000f002c010000"           /* RTA_TABLE */
				  "0800060005000000"           /* RTA_PRIORITY */
				  "0c0008800800020078050000"); /* RTAX_MTU */
	route = (struct route_spec) { .dst = cidr("0.0.0.0/0"), .ifindex = 7, .scope = -1 };
	assert_int_equal(route_del(NULL, &route, &err), 0);
	/* on link: scope link (253); a default has no RTA_DST */
	assert_string_equal(sent, "25 5 020000000073fd0100000000"
				  "0800040007000000"
				  "08000f00fe000000");
}

static void test_rule(void **state)
{
	struct rule_spec rule = { .from = ip("10.1.0.2"), .table = 300, .priority = 1000 };

	(void)state;
	assert_int_equal(rule_add(NULL, &rule, &err), 0);
	assert_string_equal(sent, "32 605 020020000000000100000000"
				  "080002000a010002" /* FRA_SRC */
				  "08000f002c010000" /* FRA_TABLE */
				  "08000600e8030000" /* FRA_PRIORITY */
				  "0500150073000000" /* FRA_PROTOCOL */);
	assert_int_equal(rule_del(NULL, &rule, &err), 0);
	assert_memory_equal(sent, "33 5 ", 5);
	assert_int_equal(rule_find(NULL, &rule, &err), 0);
	assert_memory_equal(sent, "34 301 02", 9);
}

static void test_nsid(void **state)
{
	bool exists;

	(void)state;
	assert_int_equal(nsid_exists(NULL, 3, &exists, &err), 0);
	assert_string_equal(sent, "90 1 000000000800010003000000");
	assert_true(exists);
}

/* An answer of another kind, or cut short, is an error that leaves the result as it was. */
static void test_malformed_answers(void **state)
{
	static const struct ifinfomsg body = { .ifi_index = 7 };
	struct link_info link = { .mtu = 42 };
	const struct rule_spec rule = { .from = ip("10.1.0.2") };
	struct cidr global = { .plen = 42 };

	(void)state;
	answer = wire_message(RTM_NEWLINK, 0, &body, sizeof(body)); /* no IFLA_IFNAME */
	assert_int_equal(link_get(NULL, "eth5", &link, &err), -EBADMSG);
	assert_int_equal(link.mtu, 42);
	assert_int_equal(addr_find_global(NULL, 7, &global, &err), -EBADMSG);
	assert_int_equal(global.plen, 42);
	assert_int_equal(rule_find(NULL, &rule, &err), -EBADMSG);
	nlmsg_free(answer);
	answer = wire_message(RTM_NEWLINK, 0, &body, 4); /* shorter than its fixed header */
	assert_int_equal(link_get(NULL, "eth5", &link, &err), -EBADMSG);
}

/* What no veth has: a permanent address, a parent device, more altnames than we keep. */
static void test_link_of_a_function(void **state)
{
	static const unsigned char ib[MAC_MAX] = { 0x80, [19] = 7 };
	static const struct ifinfomsg body = { .ifi_index = 7, .ifi_type = 32 };
	struct link_info link;
	struct nlattr *list;
	char altname[16];

	(void)state;
	answer = wire_message(RTM_NEWLINK, 0, &body, sizeof(body));
	assert_int_equal(nla_put_string(answer, IFLA_IFNAME, "ib0"), 0);
	assert_int_equal(nla_put(answer, IFLA_ADDRESS, MAC_MAX, ib), 0);
	assert_int_equal(nla_put(answer, IFLA_PERM_ADDRESS, 32, answer), 0); /* too long: none */
	assert_int_equal(nla_put_string(answer, IFLA_PARENT_DEV_BUS_NAME, "pci"), 0);
	assert_int_equal(nla_put_string(answer, IFLA_PARENT_DEV_NAME, "0000:1a:00.1"), 0);
	list = nla_nest_start(answer, IFLA_PROP_LIST);
	for (int i = 0; i < LINK_ALTNAMES_MAX + 3; i++) {
		(void)snprintf(altname, sizeof(altname), "alt%d", i);
		assert_int_equal(nla_put_string(answer, IFLA_ALT_IFNAME, altname), 0);
	}
	(void)nla_nest_end(answer, list);
	assert_int_equal(link_get(NULL, "ib0", &link, &err), 0);
	assert_string_equal(link.name, "ib0");
	assert_int_equal(link.type, 32);
	assert_int_equal(link.mac.len, MAC_MAX);
	assert_memory_equal(link.mac.bytes, ib, MAC_MAX);
	assert_int_equal(link.perm_mac.len, 0);
	assert_string_equal(link.parent, "pci/0000:1a:00.1");
	assert_int_equal(link.altname_count, LINK_ALTNAMES_MAX);
	assert_string_equal(link.altnames[LINK_ALTNAMES_MAX - 1], "alt15");
}

#define VF_HEADER "16 5 00000000070000000000000000000000"

static void test_vf_set(void **state)
{
	struct vf_state vf = { .vlan = 100, .qos = 5, .min_rate = 16, .max_rate = 256 };

	(void)state;
	assert_int_equal(mac_parse("02:11:22:33:44:55", &vf.mac), 0);
	vf.link_state = VF_LINK_DISABLE;
	vf.spoofchk = true;
	assert_int_equal(vf_set(NULL, 7, 3, VF_VLAN, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "18001680" /* IFLA_VFINFO_LIST */
					    "14000180" /* IFLA_VF_INFO */
					    "10000200030000006400000005000000");
	assert_string_equal(what_text, "set vlan of VF 3");
	vf.vlan_ad = true;
	assert_int_equal(vf_set(NULL, 7, 3, VF_VLAN, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "200016801c000180"
					    "18000c80" /* IFLA_VF_VLAN_LIST */
					    "1400010003000000640000000500000088a80000");
	assert_int_equal(vf_set(NULL, 7, 3, VF_MAC, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "300016802c000180"
					    "2800010003000000021122334455"
					    "0000000000000000000000000000000000000000000000000000");
	assert_int_equal(vf_set(NULL, 7, 3, VF_RATE, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "1800168014000180"
					    "10000600030000001000000000010000");
	assert_int_equal(vf_set(NULL, 7, 3, VF_SPOOFCHK, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "14001680100001800c0004000300000001000000");
	assert_int_equal(vf_set(NULL, 7, 3, VF_TRUST, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "14001680100001800c0009000300000000000000");
	assert_string_equal(what_text, "set trust of VF 3");
	assert_int_equal(vf_set(NULL, 7, 3, VF_LINK_STATE, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "14001680100001800c0005000300000002000000");
}

/* A GUID is sent as a number, its first byte the highest. */
static void test_vf_set_guid(void **state)
{
	struct vf_state vf = { .node_guid = 0x0200000000000001, .port_guid = 0x0200000000000002 };

	(void)state;
	assert_int_equal(vf_set(NULL, 7, 3, VF_NODE_GUID, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "1c00168018000180"
					    "14000a0003000000000000000100000000000002");
	assert_int_equal(vf_set(NULL, 7, 3, VF_PORT_GUID, &vf, &err), 0);
	assert_string_equal(sent, VF_HEADER "1c00168018000180"
					    "14000b0003000000000000000200000000000002");
	assert_string_equal(what_text, "set port guid of VF 3");
}

enum { VFS_MAX = 300 };

static struct {
	int count, stop_at, numbers[VFS_MAX];
	struct vf_state states[VFS_MAX];
} seen;

static int note_vf(int vf, const struct vf_state *state, void *arg)
{
	(void)arg;
	assert_true(seen.count < VFS_MAX);
	seen.numbers[seen.count] = vf;
	seen.states[seen.count] = *state;
	return ++seen.count == seen.stop_at;
}

static int list_vfs(int stop_at)
{
	seen.count = 0;
	seen.stop_at = stop_at;
	return vf_list((struct wire *)&seen, 7, note_vf, NULL, &err); /* any that is not NULL */
}

static void put(int type, const void *body, size_t len)
{
	assert_int_equal(nla_put(answer, type, (int)len, body), 0);
}

#define PUT(type, ...) put(type, &(__VA_ARGS__), sizeof(__VA_ARGS__))

/* What every driver makes the kernel say, which presets what the driver leaves. */
static struct nlattr *begin_vf(uint32_t vf)
{
	struct nlattr *info = nla_nest_start(answer, IFLA_VF_INFO);

	assert_non_null(info);
	PUT(IFLA_VF_MAC, (struct ifla_vf_mac) { .vf = vf, .mac = { 2, 0, 0, 0, 0, 9 } });
	PUT(IFLA_VF_VLAN, (struct ifla_vf_vlan) { .vf = vf, .vlan = 100, .qos = 5 });
	PUT(IFLA_VF_RATE, (struct ifla_vf_rate) { vf, 16, 256 });
	PUT(IFLA_VF_TX_RATE, (struct ifla_vf_tx_rate) { vf, 256 });
	PUT(IFLA_VF_SPOOFCHK, (struct ifla_vf_spoofchk) { vf, vf == 0 ? 1 : UINT32_MAX });
	PUT(IFLA_VF_LINK_STATE, (struct ifla_vf_link_state) { vf, vf == 0 ? 2 : 0 });
	PUT(IFLA_VF_TRUST, (struct ifla_vf_trust) { vf, vf == 0 ? 0 : UINT32_MAX });
	return info;
}

static struct nlattr *begin_pf(uint16_t type)
{
	struct ifinfomsg body = { .ifi_index = 7, .ifi_type = type };

	nlmsg_free(answer);
	answer = nlmsg_alloc_size(512 * 1024);
	assert_non_null(nlmsg_put(answer, 0, 0, RTM_NEWLINK, 0, 0));
	assert_int_equal(nlmsg_append(answer, &body, sizeof(body), NLMSG_ALIGNTO), 0);
	assert_int_equal(nla_put_u32(answer, IFLA_NUM_VF, 2), 0);
	return nla_nest_start(answer, IFLA_VFINFO_LIST);
}

static void make_two_vfs(void)
{
	struct nlattr *list = begin_pf(ARPHRD_ETHER), *vf = begin_vf(0), *vlans;

	vlans = nla_nest_start(answer, IFLA_VF_VLAN_LIST);
	PUT(IFLA_VF_VLAN_INFO, (struct ifla_vf_vlan_info) {
				       .vlan = 200, .qos = 1, .vlan_proto = htons(ETH_P_8021AD) });
	(void)nla_nest_end(answer, vlans);
	(void)nla_nest_end(answer, vf);
	vf = begin_vf(5);
	(void)nla_nest_end(answer, vf);
	(void)nla_nest_end(answer, list);
}

static void test_vf_list(void **state)
{
	const uint32_t always =
		VF_BIT(VF_VLAN) | VF_BIT(VF_MAC) | VF_BIT(VF_RATE) | VF_BIT(VF_LINK_STATE);
	const struct vf_state *s = seen.states;

	(void)state;
	make_two_vfs();
	assert_int_equal(list_vfs(0), 0);
	/* RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS */
	assert_string_equal(sent, "18 1 00000000070000000000000000000000"
				  "08001d0009000000");
	assert_string_equal(what_text, "list VFs of device 7");
	assert_int_equal(seen.count, 2);
	assert_true(seen.numbers[0] == 0 && seen.numbers[1] == 5);
	assert_int_equal(s[0].known, always | VF_BIT(VF_SPOOFCHK) | VF_BIT(VF_TRUST));
	assert_true(s[0].vlan == 200 && s[0].qos == 1 && s[0].vlan_ad);
	assert_true(s[0].mac.len == 6 && s[0].mac.bytes[5] == 9);
	assert_true(s[0].min_rate == 16 && s[0].max_rate == 256);
	assert_true(s[0].spoofchk && !s[0].trust && s[0].link_state == VF_LINK_DISABLE);
	/* What its driver says nothing of is not known, the plain VLAN is 802.1Q. */
	assert_int_equal(s[1].known, always);
	assert_true(s[1].vlan == 100 && s[1].qos == 5 && !s[1].vlan_ad);
	assert_int_equal(list_vfs(1), 1);
	assert_int_equal(seen.count, 1);
}

static void test_vf_list_of_infiniband(void **state)
{
	struct nlattr *list = begin_pf(ARPHRD_INFINIBAND), *vf = begin_vf(0);

	(void)state;
	PUT(IFLA_VF_IB_NODE_GUID, (struct ifla_vf_guid) { .guid = 0x0200000000000001 });
	PUT(IFLA_VF_IB_PORT_GUID, (struct ifla_vf_guid) { .guid = 0 });
	(void)nla_nest_end(answer, vf);
	(void)nla_nest_end(answer, list);
	assert_int_equal(list_vfs(0), 0);
	assert_false(seen.states[0].known & VF_BIT(VF_MAC));
	assert_true(seen.states[0].known & VF_BIT(VF_NODE_GUID));
	assert_true(seen.states[0].known & VF_BIT(VF_PORT_GUID));
	assert_true(seen.states[0].node_guid == 0x0200000000000001);
	assert_true(seen.states[0].port_guid == 0);
}

/* @count VFs in a list whose length is what the kernel makes of it: the low 16 bits. */
static void make_vfs(uint32_t count)
{
	struct nlattr *list = begin_pf(ARPHRD_ETHER);

	for (uint32_t i = 0; i < count; i++) {
		struct nlattr *vf = begin_vf(i);

		(void)nla_nest_end(answer, vf);
	}
	list->nla_len = (uint16_t)((char *)nlmsg_tail(nlmsg_hdr(answer)) - (char *)list);
	assert_int_equal(nla_put_u32(answer, IFLA_NUM_VF, count), 0);
}

static void test_vf_list_too_long(void **state)
{
	(void)state;
	make_vfs(256);
	assert_int_equal(list_vfs(0), 0);
	assert_int_equal(seen.count, 256);
	/* An attribute is 64 KiB at most: the list wraps, and what is left of it is not the list.
	 */
	make_vfs(600);
	assert_int_equal(list_vfs(0), -EMSGSIZE);
	assert_int_equal(seen.count, 0);
}

static void test_vf_list_malformed(void **state)
{
	struct nlattr *list = begin_pf(ARPHRD_ETHER), *vf;

	(void)state;
	(void)nla_nest_end(answer, list);
	assert_int_equal(list_vfs(0), 0); /* no VFs */
	assert_int_equal(seen.count, 0);
	list = begin_pf(ARPHRD_ETHER);
	vf = nla_nest_start(answer, IFLA_VF_INFO);
	PUT(IFLA_VF_TRUST, (struct ifla_vf_trust) { 3, 1 });
	(void)nla_nest_end(answer, vf);
	(void)nla_nest_end(answer, list);
	assert_int_equal(list_vfs(0), -EBADMSG); /* of which VF? */
	list = begin_pf(ARPHRD_ETHER);
	vf = nla_nest_start(answer, IFLA_VF_INFO);
	PUT(IFLA_VF_MAC, (struct ifla_vf_mac) { .vf = 3 });
	PUT(IFLA_VF_TRUST, (uint32_t) { 3 }); /* shorter than it has to be, as are the others */
	PUT(IFLA_VF_RATE, (uint32_t) { 3 });
	PUT(IFLA_VF_VLAN, (uint32_t) { 3 });
	PUT(IFLA_VF_IB_NODE_GUID, (uint32_t) { 3 });
	(void)nla_nest_end(answer, vf);
	(void)nla_nest_end(answer, list);
	assert_int_equal(list_vfs(0), 0);
	assert_int_equal(seen.states[0].known, VF_BIT(VF_MAC));
}

#define MESSAGE_TEST(f) cmocka_unit_test_teardown(f, drop_answer)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MESSAGE_TEST(test_link_get),
		MESSAGE_TEST(test_link_set),
		MESSAGE_TEST(test_link_settings),
		MESSAGE_TEST(test_link_altname),
		MESSAGE_TEST(test_addr),
		MESSAGE_TEST(test_route),
		MESSAGE_TEST(test_rule),
		MESSAGE_TEST(test_nsid),
		MESSAGE_TEST(test_malformed_answers),
		MESSAGE_TEST(test_link_of_a_function),
		MESSAGE_TEST(test_vf_set),
		MESSAGE_TEST(test_vf_set_guid),
		MESSAGE_TEST(test_vf_list),
		MESSAGE_TEST(test_vf_list_of_infiniband),
		MESSAGE_TEST(test_vf_list_too_long),
		MESSAGE_TEST(test_vf_list_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
