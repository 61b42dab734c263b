/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/neigh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "base/cleanup.h"

static int announce_v4(int ifindex, const struct mac *mac, const struct ip *ip)
{
	CLEANUP_CLOSE int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = ifindex,
		.sll_halen = ETH_ALEN,
		.sll_addr = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	};
	struct ether_arp arp = {
		.ea_hdr = { htons(ARPHRD_ETHER), htons(ETH_P_IP), ETH_ALEN, 4,
			    htons(ARPOP_REQUEST) },
	};

	memcpy(arp.arp_sha, mac->bytes, ETH_ALEN);
	memcpy(arp.arp_spa, ip->bytes, 4);
	memcpy(arp.arp_tpa, ip->bytes, 4);
	if (fd < 0 || sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return 0;
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

int neigh_announce(int ifindex, const struct mac *mac, const struct ip *ip, struct err *err)
{
	char text[IP_TEXT];
	int r;

	if (mac->len != ETH_ALEN)
		return 0; /* IPoIB announces by itself, when the port comes up */
	r = ip->family == AF_INET ? announce_v4(ifindex, mac, ip) : announce_v6(ifindex, mac, ip);
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
	return 0;
}

static void forget_permanent(void *arg)
{
	struct ip *found = arg;

	*found = (struct ip) { 0 };
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
	r = wire_query(rt, msg, match_permanent, &found, forget_permanent, err,
		       "list neighbours of device %d", ifindex);
	if (r == 0)
		*ret_ip = found;
	return r;
}
