/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_arp.h>
#include <linux/rtnetlink.h>

#include "cni/refusal.h"

/* Everything that plan_make() is given, and the plan as far as it has come. */
struct draft {
	const struct netconf *conf;
	const struct attachment *record;
	const struct ip_config *net;
	const struct view *view; /* NULL: what has been done */
	struct plan *plan;
};

static bool has_family(const struct ip_config *net, int family)
{
	for (size_t i = 0; i < net->ip_count; i++) {
		if (net->ips[i].cidr.ip.family == family)
			return true;
	}
	return false;
}

/* The steps. */

static struct step *add(const struct draft *draft, enum step_kind kind)
{
	struct step *step = &draft->plan->steps[draft->plan->count++];

	*step = (struct step) { .kind = kind };
	return step;
}

static bool has_netdev(const struct draft *draft)
{
	return draft->record->device.name[0];
}

static bool is_infiniband(const struct draft *draft)
{
	return draft->record->device.type == ARPHRD_INFINIBAND ||
	       (draft->view && draft->view->infiniband);
}

static bool has_rdma(const struct draft *draft)
{
	return draft->record->device.rdma.name[0] && draft->conf->rdma_wish != RDMA_WISH_NONE;
}

/* Without a view: as far as it may have gone. */
static bool moves_rdma(const struct draft *draft)
{
	return has_rdma(draft) && draft->record->device.rdma.count == 1 &&
	       (!draft->view || draft->view->rdma_mode == RDMA_EXCLUSIVE);
}

bool plan_binds_guid(const struct netconf *conf, const struct attachment *record)
{
	const struct vf_baseline *vf = &record->device.vf;

	return conf->guid && vf->is_vf && conf->guid != vf->state.port_guid;
}

static void add_vf(const struct draft *draft, enum vf_attr attr)
{
	const struct netconf *conf = draft->conf;
	struct step *step;

	if (!(conf->vf.known & VF_BIT(attr)))
		return;
	step = add(draft, STEP_VF);
	step->vf.attr = attr;
	step->vf.state = conf->vf;
	/* The kernel takes both rates at once; the one that nobody asked for stays. */
	if (!conf->min_rate_asked)
		step->vf.state.min_rate = draft->record->device.vf.state.min_rate;
	if (!conf->max_rate_asked)
		step->vf.state.max_rate = draft->record->device.vf.state.max_rate;
}

static void plan_mac(const struct draft *draft)
{
	const struct baseline *was = &draft->record->device;
	const struct netconf *conf = draft->conf;
	const bool new_mac = conf->mac.len && !mac_equal(&conf->mac, &was->mac);

	if (new_mac && was->up)
		add(draft, STEP_DOWN);
	if (conf->mac.len && was->vf.is_vf)
		add(draft, STEP_VF_MAC)->mac = conf->mac;
	else if (new_mac)
		add(draft, STEP_MAC)->mac = conf->mac;
}

static void plan_host(const struct draft *draft)
{
	const struct baseline *was = &draft->record->device;

	for (size_t i = 0; i < was->altname_count; i++) {
		if (strcmp(was->altnames[i], draft->record->ifname) == 0)
			add(draft, STEP_ALTNAME)->altname = was->altnames[i];
	}
	if (plan_binds_guid(draft->conf, draft->record))
		add(draft, STEP_GUID)->guid = draft->conf->guid;
	add_vf(draft, VF_VLAN);
	plan_mac(draft);
	add_vf(draft, VF_RATE);
	add_vf(draft, VF_SPOOFCHK);
	add_vf(draft, VF_TRUST);
	add_vf(draft, VF_LINK_STATE);
}

static void plan_rdma(const struct draft *draft)
{
	if (moves_rdma(draft))
		add(draft, STEP_RDMA)->rdma_name = draft->conf->rdma_name;
}

static void plan_ready(const struct draft *draft)
{
	struct step *step;

	if (!has_rdma(draft))
		return;
	step = add(draft, STEP_READY);
	if (draft->net->ip_count && !is_infiniband(draft))
		step->ready.ip = draft->net->ips[0].cidr.ip;
	step->ready.required = draft->conf->ready_required;
	/* 0 was asked for too: it does not wait. */
	step->ready.wait_ms = draft->conf->ready_required || draft->conf->ready_ms == 0
				      ? draft->conf->ready_ms
				      : READY_RDMA_DEFAULT_MS;
}

static void plan_move(const struct draft *draft)
{
	const struct netconf *conf = draft->conf;
	struct step *step = add(draft, STEP_MOVE);

	step->move.name = draft->record->ifname;
	if (conf->mtu != draft->record->device.mtu)
		step->move.mtu = (uint32_t)conf->mtu;
	/* Else a neighbour may learn the address of one rail with the MAC of another. */
	step->move.strict_arp =
		conf->routing.asked || (!conf->arp_kernel && draft->net->ip_count > 0);
	step->move.source_routing = conf->routing.asked;
}

/*
 * Ethernet: netdev, then RDMA device. InfiniBand: the other way round, for the kernel makes the
 * IPoIB device anew when its RDMA device moves.
 */
static void plan_moves(const struct draft *draft)
{
	if (!is_infiniband(draft)) {
		plan_move(draft);
		plan_rdma(draft);
		return;
	}
	plan_rdma(draft);
	if (moves_rdma(draft) || plan_binds_guid(draft->conf, draft->record))
		add(draft, STEP_NETDEV);
	plan_move(draft);
}

static void add_conf6(const struct draft *draft, const char *name, const char *value)
{
	struct step *step = add(draft, STEP_CONF6);

	step->conf6.name = name;
	step->conf6.value = value;
}

/* Also a device without IPv6 addresses gets a link-local one, which must not be tentative either.
 */
static void plan_conf6(const struct draft *draft)
{
	if (!draft->conf->dad)
		add_conf6(draft, "accept_dad", "0");
	if (has_family(draft->net, AF_INET6)) {
		add_conf6(draft, "disable_ipv6", "0");
		add_conf6(draft, "ndisc_notify", "1");
	}
}

static void plan_addresses(const struct draft *draft)
{
	for (size_t i = 0; i < draft->net->ip_count; i++) {
		struct step *step = add(draft, STEP_ADDRESS);

		step->address.cidr = draft->net->ips[i].cidr;
		step->address.nodad = !draft->conf->dad;
	}
}

static void plan_up(const struct draft *draft)
{
	struct step *step;

	add(draft, STEP_UP);
	step = add(draft, STEP_CARRIER);
	step->carrier.wait_ms = draft->conf->ready_ms;
	step->carrier.required = draft->conf->ready_required;
}

static const struct ip *gateway_of(const struct ip_config *net, int family)
{
	for (size_t i = 0; i < net->ip_count; i++) {
		if (net->ips[i].cidr.ip.family == family && net->ips[i].gateway.family)
			return &net->ips[i].gateway;
	}
	return NULL;
}

/* The kernel has made this one with the address; by a gateway it would be another. */
static bool is_own_prefix(const struct ip_config *net, const struct cidr *dst)
{
	for (size_t i = 0; i < net->ip_count; i++) {
		struct ip network = cidr_network(&net->ips[i].cidr);

		if (net->ips[i].cidr.plen == dst->plen && ip_compare(&network, &dst->ip) == 0)
			return true;
	}
	return false;
}

/* As CNI plugins do: a route without a gateway takes that of the addresses, unless it is on link.
 */
static struct route complete_route(const struct draft *draft, const struct route *given)
{
	const struct ip *gateway = gateway_of(draft->net, given->dst.ip.family);
	struct route route = *given;

	if (!route.gw.family && route.scope != RT_SCOPE_LINK && gateway &&
	    !is_own_prefix(draft->net, &route.dst) &&
	    !(route.dst.plen == ip_bits(gateway) && ip_compare(&route.dst.ip, gateway) == 0))
		route.gw = *gateway;
	/* With `routing`, main is left to the pod's first network: two rails may say the same. */
	if (!route.table)
		route.table = draft->plan->table;
	return route;
}

/* What is on link first: the gateways of the others are reached through it. */
static void plan_given_routes(const struct draft *draft, bool on_link)
{
	for (size_t i = 0; i < draft->net->route_count; i++) {
		struct route route = complete_route(draft, &draft->net->routes[i]);
		struct step *step;

		if (!route.gw.family != on_link)
			continue;
		step = add(draft, STEP_ROUTE);
		step->route = route;
		step->given = (int)i;
	}
}

static bool is_planned(const struct draft *draft, const struct route *route)
{
	for (size_t i = 0; i < draft->plan->count; i++) {
		const struct step *step = &draft->plan->steps[i];

		if (step->kind == STEP_ROUTE && step->route.table == route->table &&
		    step->route.dst.plen == route->dst.plen &&
		    ip_compare(&step->route.dst.ip, &route->dst.ip) == 0)
			return true;
	}
	return false;
}

/* Into the rail's table, unless the IPAM has said it itself, or another address has. @gw NULL: on
 * link. */
static void add_to_table(const struct draft *draft, const struct cidr *dst, const struct ip *gw)
{
	struct route route = { .table = draft->plan->table, .dst = *dst, .scope = -1 };
	struct step *step;

	if (gw)
		route.gw = *gw;
	if (is_planned(draft, &route))
		return;
	step = add(draft, STEP_ROUTE);
	step->route = route;
	step->given = -1;
}

/* The way to what is on link: the subnet, and a gateway outside of it. */
static void plan_table_on_link(const struct draft *draft)
{
	for (size_t i = 0; draft->plan->table && i < draft->net->ip_count; i++) {
		const struct address *address = &draft->net->ips[i];
		const struct ip *gateway = &address->gateway;
		struct cidr dst = { cidr_network(&address->cidr), address->cidr.plen };

		if (dst.plen < ip_bits(&dst.ip))
			add_to_table(draft, &dst, NULL);
		if (!gateway->family || cidr_contains(&address->cidr, gateway))
			continue;
		dst = (struct cidr) { *gateway, (uint8_t)ip_bits(gateway) };
		add_to_table(draft, &dst, NULL);
	}
}

static void plan_table_default(const struct draft *draft)
{
	for (size_t i = 0; draft->plan->table && i < draft->net->ip_count; i++) {
		const struct ip *gateway = &draft->net->ips[i].gateway;
		const struct cidr everything = { .ip = { .family = gateway->family } };

		if (gateway->family)
			add_to_table(draft, &everything, gateway);
	}
}

static void plan_rules(const struct draft *draft)
{
	for (size_t i = 0; draft->conf->routing.rules && i < draft->net->ip_count; i++) {
		struct step *step = add(draft, STEP_RULE);

		step->rule.from = draft->net->ips[i].cidr.ip;
		step->rule.table = draft->plan->table;
	}
}

static uint32_t choose_table(const struct draft *draft)
{
	const struct rail_ref *rail = &draft->record->rail;
	const struct netconf *conf = draft->conf;

	if (!conf->routing.asked)
		return 0;
	if (conf->routing.table)
		return (uint32_t)conf->routing.table;
	if (!rail->name[0])
		return 0;
	/* An older ledger knew of one attachment to a rail only. */
	return rail->table ? rail->table : rail_table(rail->number, 0);
}

static void plan_netdev(const struct draft *draft)
{
	plan_moves(draft);
	plan_conf6(draft);
	plan_addresses(draft);
	plan_up(draft);
	plan_given_routes(draft, true);
	plan_table_on_link(draft);
	plan_given_routes(draft, false);
	plan_table_default(draft);
	if (draft->plan->table)
		plan_rules(draft);
	if (draft->conf->dad)
		add(draft, STEP_DAD);
}

int plan_make(const struct netconf *conf, const struct attachment *record,
	      const struct ip_config *net, const struct view *view, struct plan *ret_plan,
	      struct err *err)
{
	const struct draft draft = { conf, record, net, view, ret_plan };
	int r = view ? refusal_find(conf, record, net, view, err) : 0;

	if (r < 0)
		return r;
	ret_plan->count = 0;
	ret_plan->table = has_netdev(&draft) ? choose_table(&draft) : 0;
	if (!conf->rdma_only)
		plan_host(&draft);
	if (has_netdev(&draft))
		plan_netdev(&draft);
	else
		plan_rdma(&draft);
	plan_ready(&draft);
	if (conf->devinfo_file && strncmp(record->device.key, "pci:", 4) == 0)
		add(&draft, STEP_DEVINFO)->path = conf->devinfo_file;
	return 0;
}
