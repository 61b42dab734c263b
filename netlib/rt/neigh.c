/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/neigh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "base/cleanup.h"

static int change_own_entry(struct wire *rt, int type, int flags, int ifindex, const struct ip *ip,
			    struct err *err)
{
	struct ndmsg body = {
		.ndm_family = AF_INET,
		.ndm_ifindex = ifindex,
		.ndm_flags = type == RTM_NEWNEIGH ? NTF_USE : 0,
	};
	struct nl_msg *msg = wire_message(type, NLM_F_ACK | flags, &body, sizeof(body));
	char text[IP_TEXT];

	if (!msg || nla_put(msg, NDA_DST, 4, ip->bytes) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_request(rt, msg, err, "announce %s", ip_format(ip, text));
}

/*
 * A gratuitous ARP of the kernel's making: it is told to look for our own address as if it were a
 * neighbour's, and at once to forget about it. A packet socket would do too, but its end waits for
 * an RCU grace period, which is longer than all else that follows a carrier.
 */
static int announce_v4(struct wire *rt, int ifindex, const struct ip *ip, struct err *err)
{
	int r = change_own_entry(rt, RTM_NEWNEIGH, NLM_F_CREATE, ifindex, ip, err);

	return r < 0 ? r : change_own_entry(rt, RTM_DELNEIGH, 0, ifindex, ip, err);
}

static int announce_v6(int ifindex, const struct mac *mac, const struct ip *ip)
{
	CLEANUP_CLOSE int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 }, to = { .sin6_family = AF_INET6 };
	struct {
		struct nd_neighbor_advert na;
		struct nd_opt_hdr option;
		uint8_t mac[ETH_ALEN];
	} packet = { .option = { ND_OPT_TARGET_LINKADDR, 1 } };
	int hops = 255; /* RFC 4861 section 7.1.2: anything less is dropped */

	if (fd < 0)
		return -errno;
	memcpy(&from.sin6_addr, ip->bytes, 16);
	(void)inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	to.sin6_scope_id = (uint32_t)ifindex;
	packet.na.nd_na_type = ND_NEIGHBOR_ADVERT;
	packet.na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	memcpy(&packet.na.nd_na_target, ip->bytes, 16);
	memcpy(packet.mac, mac->bytes, ETH_ALEN);
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ifindex, sizeof(ifindex)) < 0 ||
	    sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return 0;
}

int neigh_announce(struct wire *rt, int ifindex, const struct mac *mac, const struct ip *ip,
		   struct err *err)
{
	char text[IP_TEXT];
	int r;

	if (mac->len != ETH_ALEN)
		return 0; /* IPoIB announces by itself, when the port comes up */
	if (ip->family == AF_INET)
		return announce_v4(rt, ifindex, ip, err);
	r = announce_v6(ifindex, mac, ip);
	return r < 0 ? err_sys(err, -r, ERR_KERNEL, "announce %s", ip_format(ip, text)) : 0;
}

static int match_permanent(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct ndmsg *body = nlmsg_data(header);
	struct nlattr *attrs[NDA_MAX + 1];
	struct ip *found = arg;
	struct ip ip;

	if (header->nlmsg_type != RTM_NEWNEIGH ||
	    nlmsg_parse(header, sizeof(*body), attrs, NDA_MAX, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read neighbour: malformed answer");
	if (!(body->ndm_state & NUD_PERMANENT) || !attrs[NDA_DST] ||
	    (body->ndm_family != AF_INET && body->ndm_family != AF_INET6))
		return 0;
	ip = (struct ip) { .family = body->ndm_family };
	if (nla_len(attrs[NDA_DST]) != ip_bits(&ip) / 8)
		return 0;
	memcpy(ip.bytes, nla_data(attrs[NDA_DST]), (size_t)nla_len(attrs[NDA_DST]));
	*found = ip;
	return 1;
}

int neigh_find_permanent(struct wire *rt, int ifindex, struct ip *ret_ip, struct err *err)
{
	struct ndmsg body = { .ndm_family = AF_UNSPEC };
	struct nl_msg *msg = wire_message(RTM_GETNEIGH, NLM_F_DUMP, &body, sizeof(body));
	struct ip found = { 0 };
	int r;

	if (!msg || nla_put_u32(msg, NDA_IFINDEX, (uint32_t)ifindex) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	r = wire_query(rt, msg, match_permanent, &found, NULL, err, "list neighbours of device %d",
		       ifindex);
	if (r == 0)
		*ret_ip = found;
	return r;
}
