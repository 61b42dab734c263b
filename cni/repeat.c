/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/repeat.h"

#include <errno.h>
#include <string.h>

#include "cni/check.h"
#include "cni/step.h"

#define otherwise(err, ...) err_set(err, ESTALE, ERR_DRIFT, __VA_ARGS__)

static bool holds_address(const struct attachment *record, const struct ip *ip)
{
	for (size_t i = 0; i < record->net.ip_count; i++) {
		if (ip_compare(&record->net.ips[i].cidr.ip, ip) == 0)
			return true;
	}
	return false;
}

/* What was asked of the ledger by name. */
static int compare_wishes(const struct netconf *conf, const struct attachment *record,
			  struct err *err)
{
	char text[IP_TEXT];

	if (conf->ipam != IPAM_OURS)
		return 0;
	if (strcmp(conf->pool, record->pool) != 0)
		return otherwise(err, "pool \"%s\" was asked for, its addresses are of \"%s\"",
				 conf->pool, record->pool);
	if (conf->rail && strcmp(conf->rail, record->rail.name) != 0)
		return otherwise(err, "rail \"%s\" was asked for, its addresses are of \"%s\"",
				 conf->rail, record->rail.name);
	if (conf->has_index && conf->index != record->rail.index)
		return otherwise(err, "index %u was asked for, it has %u", conf->index,
				 record->rail.index);
	for (size_t i = 0; i < conf->ip_count; i++) {
		if (!holds_address(record, &conf->ips[i].ip))
			return otherwise(err, "address %s was asked for, it has another",
					 ip_format(&conf->ips[i].ip, text));
	}
	return 0;
}

/* Those that still stand, in whatever table. */
static int read_routes(const struct plan *plan, const struct site *site, struct ip_config *net,
		       struct err *err)
{
	bool stands[PROTO_ROUTES_MAX] = { false };
	size_t left = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->kind == STEP_ROUTE && step->given >= 0)
			r = step_route_exists(&step->route, site, true, &stands[step->given], err);
	}
	for (size_t i = 0; i < net->route_count; i++) {
		if (stands[i])
			net->routes[left++] = net->routes[i];
	}
	net->route_count = left;
	return r;
}

static int look_at_device(const struct request *request, const struct attachment *record,
			  struct site *site, struct facts *facts, struct err *err)
{
	const struct recorded asked = {
		.record = record,
		.conf = request->conf,
		.env = request->env,
	};
	struct plan plan;
	/* An open route is the wish of the pool, or of the IPAM, not of the request. */
	int r = check_steps(&asked, site, check_is_open_route, &plan, err);

	if (r < 0 || !record->device.name[0])
		return r;
	if (request->conf.mac.len)
		r = check_mac(site, &request->conf.mac, err);
	if (r == 0 && request->conf.mtu)
		r = check_mtu(site, request->conf.mtu, err);
	facts->mac = site->link.mac;
	facts->mtu = site->link.mtu;
	return r < 0 ? r : read_routes(&plan, site, &facts->net, err);
}

int repeat_look(const struct request *request, const struct attachment *record, struct site *site,
		struct facts *ret_facts, struct err *err)
{
	int r = compare_wishes(&request->conf, record, err);

	*ret_facts = record->facts;
	if (r < 0 || request->ipam_only)
		return r;
	return look_at_device(request, record, site, ret_facts, err);
}
