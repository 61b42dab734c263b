/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/rtnetlink.h>

enum { IPV6_MTU_MIN = 1280 }; /* RFC 8200; below it the kernel takes IPv6 off the device */

/* Everything that plan_make() is given, and the plan as far as it has come. */
struct draft {
	const struct netconf *conf;
	const struct attachment *record;
	const struct ip_config *net;
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

/* Refusals: better now, while nothing has been touched. */

static int refuse_names(const struct draft *draft, const struct view *view, struct err *err)
{
	const struct attachment *record = draft->record;

	if (view->ifname_taken)
		err_set(err, EEXIST, ERR_NAME, "name %s: is taken in the pod", record->ifname);
	else if (view->altname_taken)
		err_set(err, EEXIST, ERR_NAME, "altname %s of %s: is taken in the pod",
			view->altname_taken, record->device.name);
	else
		return 0;
	err_details(err, "another network of this pod uses the name, or an earlier ADD did not get "
			 "its DEL");
	return -EEXIST;
}

static int refuse_values(const struct draft *draft, struct err *err)
{
	const struct netconf *conf = draft->conf;
	int64_t mtu = conf->mtu ? conf->mtu : draft->record->device.mtu;

	if (conf->routing.asked && !conf->routing.table && !draft->record->rail.name[0])
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"routing.table\": \"auto\": needs a rail, and there is none");
	if (mtu < IPV6_MTU_MIN && has_family(draft->net, AF_INET6))
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"mtu\": %lld: IPv6 addresses need at least %d", (long long)mtu,
			       IPV6_MTU_MIN);
	if (conf->mac.len && draft->record->device.mac.len != conf->mac.len)
		return err_set(err, EINVAL, ERR_VALUE, "key \"mac\": %s is no Ethernet device",
			       draft->record->device.name);
	return 0;
}

/* The steps. */

static struct step *add(const struct draft *draft, enum step_kind kind)
{
	struct step *step = &draft->plan->steps[draft->plan->count++];

	*step = (struct step) { .kind = kind };
	return step;
}

static void plan_host(const struct draft *draft)
{
	const struct baseline *was = &draft->record->device;
	const struct netconf *conf = draft->conf;
	const bool new_mac = conf->mac.len && !mac_equal(&conf->mac, &was->mac);

	if (new_mac && was->up)
		add(draft, STEP_DOWN);
	for (size_t i = 0; i < was->altname_count; i++) {
		if (strcmp(was->altnames[i], draft->record->ifname) == 0)
			add(draft, STEP_ALTNAME)->altname = was->altnames[i];
	}
	if (new_mac)
		add(draft, STEP_MAC)->mac = conf->mac;
}

static void plan_move(const struct draft *draft)
{
	const struct netconf *conf = draft->conf;
	struct step *step = add(draft, STEP_MOVE);

	step->move.name = draft->record->ifname;
	if (conf->mtu != draft->record->device.mtu)
		step->move.mtu = (uint32_t)conf->mtu;
	step->move.source_routing = conf->routing.asked;
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

/* As CNI plugins do: a route without a gateway takes that of the addresses, unless it is on link.
 */
static struct route complete_route(const struct draft *draft, const struct route *given)
{
	const struct ip *gateway = gateway_of(draft->net, given->dst.ip.family);
	struct route route = *given;

	if (!route.gw.family && route.scope != RT_SCOPE_LINK && gateway &&
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

		if (!route.gw.family == on_link)
			add(draft, STEP_ROUTE)->route = route;
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

	if (gw)
		route.gw = *gw;
	if (!is_planned(draft, &route))
		add(draft, STEP_ROUTE)->route = route;
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
	const struct netconf *conf = draft->conf;

	if (!conf->routing.asked)
		return 0;
	if (conf->routing.table)
		return (uint32_t)conf->routing.table;
	return draft->record->rail.name[0] ? AUTO_TABLE_BASE + (uint32_t)draft->record->rail.number
					   : 0;
}

int plan_make(const struct netconf *conf, const struct attachment *record,
	      const struct ip_config *net, const struct view *view, struct plan *ret_plan,
	      struct err *err)
{
	const struct draft draft = { conf, record, net, ret_plan };
	int r = 0;

	if (view)
		r = refuse_names(&draft, view, err);
	if (view && r == 0)
		r = refuse_values(&draft, err);
	if (r < 0)
		return r;
	ret_plan->count = 0;
	ret_plan->table = choose_table(&draft);
	plan_host(&draft);
	plan_move(&draft);
	plan_conf6(&draft);
	plan_addresses(&draft);
	plan_up(&draft);
	plan_given_routes(&draft, true);
	plan_table_on_link(&draft);
	plan_given_routes(&draft, false);
	plan_table_default(&draft);
	if (ret_plan->table)
		plan_rules(&draft);
	if (conf->dad)
		add(&draft, STEP_DAD);
	if (conf->devinfo_file && strncmp(record->device.key, "pci:", 4) == 0)
		add(&draft, STEP_DEVINFO)->path = conf->devinfo_file;
	return 0;
}
