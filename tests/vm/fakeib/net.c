// SPDX-License-Identifier: GPL-2.0
/*
 * net_devices, and the two fabrics that join them, in whatever namespaces they are: one of all
 * InfiniBand, one of all Ethernet ones. Ethernet VFs reach only those of their own VLAN.
 */
#include <linux/etherdevice.h>
#include <linux/if_arp.h>
#include <linux/if_infiniband.h>
#include <linux/rtnetlink.h>

#include "fake.h"

/* What precedes a packet on the InfiniBand fabric; IPoIB keeps the address elsewhere. */
struct ib_header {
	u8 target[INFINIBAND_ALEN];
	__be16 proto;
	__be16 zero;
};

static LIST_HEAD(fabric);

/* Of an Ethernet function; read without a lock, as hardware would. */
static u16 vlan_of(struct net_device *dev)
{
	struct fake_vf *vf = fake_of(dev)->vf;

	return vf ? READ_ONCE(vf->now.vlan) : 0;
}

static bool is_multicast(bool ib, const u8 *target)
{
	return ib ? target[4] == 0xff : is_multicast_ether_addr(target);
}

static bool is_target(struct net_device *from, struct net_device *to, const u8 *target)
{
	bool ib = fake_of(from)->ib;

	if (to == from || fake_of(to)->ib != ib || !netif_running(to) || !netif_carrier_ok(to))
		return false;
	if (!ib && vlan_of(from) != vlan_of(to))
		return false;
	return is_multicast(ib, target) || !memcmp(target, to->dev_addr, to->addr_len);
}

static void receive(struct net_device *dev, struct sk_buff *skb)
{
	skb_scrub_packet(skb, true);
	dev->stats.rx_packets++;
	dev->stats.rx_bytes += skb->len;
	if (fake_of(dev)->ib) {
		struct ib_header *header = (void *)skb->data;

		skb->dev = dev;
		skb->protocol = header->proto;
		skb->pkt_type = is_multicast(true, header->target) ? PACKET_BROADCAST : PACKET_HOST;
		skb_reset_mac_header(skb);
		__skb_pull(skb, sizeof(*header));
		skb_reset_network_header(skb);
	} else {
		skb->protocol = eth_type_trans(skb, dev);
	}
	netif_rx(skb);
}

static netdev_tx_t fake_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct fake_net *to;

	if (!pskb_may_pull(skb, dev->hard_header_len)) {
		dev->stats.tx_errors++;
		dev_kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	dev->stats.tx_packets++;
	dev->stats.tx_bytes += skb->len;
	skb_tx_timestamp(skb);
	rcu_read_lock();
	list_for_each_entry_rcu(to, &fabric, list)
	{
		struct sk_buff *copy;

		if (!is_target(dev, to->dev, skb->data))
			continue;
		copy = skb_copy(skb, GFP_ATOMIC);
		if (copy)
			receive(to->dev, copy);
	}
	rcu_read_unlock();
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static int ib_header_create(struct sk_buff *skb, struct net_device *dev, unsigned short type,
			    const void *target, const void *source, unsigned int len)
{
	struct ib_header *header = skb_push(skb, sizeof(*header));

	memset(header, 0, sizeof(*header));
	header->proto = htons(type);
	if (!target)
		return -(int)sizeof(*header);
	memcpy(header->target, target, INFINIBAND_ALEN);
	return sizeof(*header);
}

static const struct header_ops ib_header_ops = { .create = ib_header_create };

/*
 * A VF may not leave the address that its PF gave it, unless it is trusted. While the PF is still
 * at it, the VF has to come again.
 */
static int fake_eth_set_mac(struct net_device *dev, void *addr)
{
	const u8 *mac = ((struct sockaddr *)addr)->sa_data;
	struct fake_vf *vf = fake_of(dev)->vf;

	if (!is_valid_ether_addr(mac))
		return -EADDRNOTAVAIL;
	if (vf) {
		if (!ether_addr_equal(vf->now.mac, vf->wanted.mac))
			return -EAGAIN;
		if (!is_zero_ether_addr(vf->now.mac) && !vf->now.trust &&
		    !ether_addr_equal(vf->now.mac, mac))
			return -EADDRNOTAVAIL;
	}
	eth_hw_addr_set(dev, mac);
	return 0;
}

static const struct net_device_ops ib_pf_ops = {
	.ndo_start_xmit = fake_xmit,
	.ndo_set_vf_guid = fake_set_vf_guid,
	.ndo_get_vf_guid = fake_get_vf_guid,
	.ndo_get_vf_config = fake_get_vf_config,
	.ndo_set_vf_link_state = fake_set_vf_link_state,
};

static const struct net_device_ops eth_pf_ops = {
	.ndo_start_xmit = fake_xmit,
	.ndo_set_mac_address = fake_eth_set_mac,
	.ndo_set_vf_mac = fake_set_vf_mac,
	.ndo_set_vf_vlan = fake_set_vf_vlan,
	.ndo_set_vf_rate = fake_set_vf_rate,
	.ndo_set_vf_spoofchk = fake_set_vf_spoofchk,
	.ndo_set_vf_trust = fake_set_vf_trust,
	.ndo_set_vf_link_state = fake_set_vf_link_state,
	.ndo_get_vf_config = fake_get_vf_config,
};

static const struct net_device_ops ib_vf_ops = {
	.ndo_start_xmit = fake_xmit,
};

static const struct net_device_ops eth_vf_ops = {
	.ndo_start_xmit = fake_xmit,
	.ndo_set_mac_address = fake_eth_set_mac,
};

static void ib_setup(struct net_device *dev)
{
	static const u8 broadcast[INFINIBAND_ALEN] = { 0x00, 0xff, 0xff, 0xff, 0xff, 0x12, 0x40,
						       0x1b, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
						       0x00, 0x00, 0xff, 0xff, 0xff, 0xff };

	dev->type = ARPHRD_INFINIBAND;
	dev->addr_len = INFINIBAND_ALEN;
	dev->hard_header_len = sizeof(struct ib_header);
	dev->header_ops = &ib_header_ops;
	dev->flags = IFF_BROADCAST | IFF_MULTICAST;
	dev->mtu = 2044;
	dev->min_mtu = 68;
	dev->max_mtu = 4092;
	dev->tx_queue_len = 256;
	memcpy(dev->broadcast, broadcast, INFINIBAND_ALEN);
}

static void eth_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->max_mtu = 9216;
}

/* Four bytes of flags and queue pair, then the port's GID; the number tells VFs without a GUID
 * apart. */
static void ib_set_address(struct net_device *dev, struct fake *fake)
{
	u8 address[INFINIBAND_ALEN] = {
		0, 0, fake->pdev->bus->number, fake->pdev->devfn, 0xfe, 0x80
	};
	__be64 guid = cpu_to_be64(fake->port_guid);

	memcpy(address + 12, &guid, sizeof(guid));
	dev_addr_set(dev, address);
}

static void eth_set_address(struct net_device *dev, struct fake *fake)
{
	struct fake_vf *vf = fake->vf;
	u8 own[ETH_ALEN] = { 0x52, 0x54, 0x00, 0xfa, fake->pdev->bus->number, fake->pdev->devfn };

	if (vf && !is_zero_ether_addr(vf->now.mac))
		eth_hw_addr_set(dev, vf->now.mac);
	else
		eth_hw_addr_set(dev, own);
}

void fake_net_update_carrier(struct fake *fake)
{
	struct fake_vf *vf = fake->vf;
	int state = vf ? vf->now.link_state : IFLA_VF_LINK_STATE_AUTO;
	bool on = state == IFLA_VF_LINK_STATE_ENABLE;

	if (state == IFLA_VF_LINK_STATE_AUTO)
		on = !fake->ib || !vf || vf->now.port_guid;
	if (!fake->dev || on == netif_carrier_ok(fake->dev))
		return;
	if (on)
		netif_carrier_on(fake->dev);
	else
		netif_carrier_off(fake->dev);
	fake_rdma_port_changed(fake, on);
}

/* Makes the function's net_device in a namespace. */
int fake_net_add(struct fake *fake, struct net *net)
{
	struct net_device *dev;
	struct fake_net *priv;
	int err;

	dev = alloc_netdev(sizeof(*priv), fake->ib ? "ib%d" : "eth%d", NET_NAME_ENUM,
			   fake->ib ? ib_setup : eth_setup);
	if (!dev)
		return -ENOMEM;
	priv = netdev_priv(dev);
	priv->dev = dev;
	priv->fake = fake;
	SET_NETDEV_DEV(dev, &fake->pdev->dev);
	dev_net_set(dev, net);
	if (fake->pdev->is_virtfn)
		dev->netdev_ops = fake->ib ? &ib_vf_ops : &eth_vf_ops;
	else
		dev->netdev_ops = fake->ib ? &ib_pf_ops : &eth_pf_ops;
	netif_carrier_off(dev);

	rtnl_lock();
	if (fake->ib)
		ib_set_address(dev, fake);
	else
		eth_set_address(dev, fake);
	err = register_netdevice(dev);
	if (!err) {
		fake->dev = dev;
		list_add_tail_rcu(&priv->list, &fabric);
		fake_net_update_carrier(fake);
	}
	rtnl_unlock();
	if (err)
		free_netdev(dev);
	return err;
}

/* In whatever namespace it is. */
void fake_net_remove(struct fake *fake)
{
	struct net_device *dev;

	rtnl_lock();
	dev = fake->dev;
	if (dev) {
		list_del_rcu(&((struct fake_net *)netdev_priv(dev))->list);
		unregister_netdevice(dev); /* waits for the readers of the list */
		fake->dev = NULL;
	}
	rtnl_unlock();
	if (dev)
		free_netdev(dev);
}
