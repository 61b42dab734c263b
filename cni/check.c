/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/check.h"

#include <errno.h>
#include <string.h>

#include "cni/result.h"
#include "cni/step.h"
#include "rt/addr.h"

#define drift(err, ...) err_set(err, ESTALE, ERR_DRIFT, __VA_ARGS__)

int check_mac(const struct site *site, const struct mac *should, struct err *err)
{
	char is_text[MAC_TEXT], should_text[MAC_TEXT];

	if (mac_equal(&site->link.mac, should))
		return 0;
	return drift(err, "%s: address is %s, should be %s", site->link.name,
		     mac_format(&site->link.mac, is_text), mac_format(should, should_text));
}

int check_mtu(const struct site *site, int64_t should, struct err *err)
{
	if (site->link.mtu == should)
		return 0;
	return drift(err, "%s: MTU is %u, should be %lld", site->link.name, site->link.mtu,
		     (long long)should);
}

/* Of those, as ADD has left it, or wished, or as it was. */
static int check_recorded_link(const struct recorded *recorded, const struct site *site,
			       struct err *err)
{
	const struct attachment *record = recorded->record;
	struct mac mac = record->facts.mac;
	int64_t mtu = record->facts.mtu;
	int r;

	if (!mac.len)
		mac = recorded->conf.mac.len ? recorded->conf.mac : record->device.mac;
	if (!mtu)
		mtu = recorded->conf.mtu ? recorded->conf.mtu : record->device.mtu;
	r = check_mac(site, &mac, err);
	return r < 0 ? r : check_mtu(site, mtu, err);
}

/* prevResult's own words for our interface. */
static int check_told_link(const struct site *site, json_t *interface, struct err *err)
{
	const char *text = json_string_value(json_object_get(interface, "mac"));
	int64_t mtu = json_integer_value(json_object_get(interface, "mtu"));
	struct mac mac;
	int r = 0;

	if (text && text[0]) {
		if (mac_parse(text, &mac) < 0)
			return drift(err, "prevResult: \"%.32s\": is no address", text);
		r = check_mac(site, &mac, err);
	}
	return r < 0 || mtu <= 0 ? r : check_mtu(site, mtu, err);
}

bool check_is_open_route(const struct recorded *recorded, const struct plan *plan,
			 const struct step *step)
{
	(void)recorded;
	return step->kind == STEP_ROUTE && (!plan->table || step->route.table != plan->table);
}

/* What prevResult has the last word on. */
static bool is_told(const struct recorded *recorded, const struct plan *plan,
		    const struct step *step)
{
	return check_is_open_route(recorded, plan, step) ||
	       (step->kind == STEP_ADDRESS && recorded->conf.ipam == IPAM_FOREIGN);
}

/* One of prevResult's addresses. 1 it is there, 0 it is not, or it is no address, or -errno. */
static int find_told_address(const struct site *site, const char *text, struct err *err)
{
	struct addr_info found;
	struct cidr cidr;

	if (!text || cidr_parse(text, &cidr) < 0)
		return 0;
	return addr_find(site->pod, site->link.ifindex, &cidr, &found, err);
}

/* prevResult's addresses of our interface. */
static int check_told_addresses(const struct site *site, json_t *prev_result, size_t index,
				struct err *err)
{
	json_t *ip;
	size_t i;

	json_array_foreach (json_object_get(prev_result, "ips"), i, ip) {
		const char *text = json_string_value(json_object_get(ip, "address"));
		json_t *of = json_object_get(ip, "interface");
		int r;

		if (!json_is_integer(of) || (size_t)json_integer_value(of) != index)
			continue;
		r = find_told_address(site, text, err);
		if (r < 0)
			return r;
		if (r == 0)
			return drift(err, "%s: address %.64s of prevResult is missing",
				     site->link.name, text ? text : "(none)");
	}
	return 0;
}

/*
 * Does prevResult still state this route, as our result did? A route has no interface there: one
 * to the same destination through another gateway is another plugin's.
 */
static bool is_stated(json_t *stated, const struct route *route)
{
	const char *dst_text = json_string_value(json_object_get(stated, "dst"));
	const char *gw_text = json_string_value(json_object_get(stated, "gw"));
	struct ip is, should, gw;
	struct cidr dst;

	if (!dst_text || cidr_parse(dst_text, &dst) < 0 || dst.plen != route->dst.plen)
		return false;
	is = cidr_network(&dst);
	should = cidr_network(&route->dst);
	if (ip_compare(&is, &should) != 0)
		return false;
	return !gw_text || !gw_text[0] ||
	       (ip_parse(gw_text, &gw) == 0 && ip_compare(&gw, &route->gw) == 0);
}

/* A plugin may have put it into a table of its own and not say so (sbr): any one will do. */
static int check_told_route(const struct step *step, json_t *stated, struct site *site,
			    struct err *err)
{
	int64_t table = json_integer_value(json_object_get(stated, "table"));
	struct route route = step->route;
	char text[STEP_TEXT];
	bool exists;
	int r;

	if (table > 0)
		route.table = (uint32_t)table;
	r = step_route_exists(&route, site, table <= 0, &exists, err);
	if (r < 0 || exists)
		return r;
	return drift(err, "%s: route %s of prevResult is missing", site->link.name,
		     step_route_text(&route, text));
}

static int check_told_routes(const struct recorded *recorded, const struct plan *plan,
			     struct site *site, json_t *prev_result, struct err *err)
{
	json_t *stated;
	size_t i;
	int r = 0;

	for (size_t k = 0; k < plan->count; k++) {
		const struct step *step = &plan->steps[k];

		if (!check_is_open_route(recorded, plan, step))
			continue;
		json_array_foreach (json_object_get(prev_result, "routes"), i, stated) {
			if (r == 0 && is_stated(stated, &step->route))
				r = check_told_route(step, stated, site, err);
		}
	}
	return r;
}

static int check_told(const struct recorded *recorded, const struct plan *plan, struct site *site,
		      json_t *prev_result, struct err *err)
{
	const char *netns = recorded->env.netns ? recorded->env.netns : "";
	json_t *interface;
	size_t index;
	int r;

	interface = result_interface(prev_result, recorded->env.ifname, netns, &index);
	if (!interface)
		return drift(err, "prevResult: has no interface %s in %s", recorded->env.ifname,
			     netns);
	r = check_told_link(site, interface, err);
	if (r == 0)
		r = check_told_addresses(site, prev_result, index, err);
	return r < 0 ? r : check_told_routes(recorded, plan, site, prev_result, err);
}

static int find_link(const struct attachment *record, struct site *site, struct err *err)
{
	int r = link_get(site->pod, record->ifname, &site->link, err);

	if (r == -ENODEV || (r == 0 && strcmp(site->link.name, record->ifname) != 0))
		return drift(err, "%s: is not in the pod", record->ifname);
	return r;
}

int check_steps(const struct recorded *recorded, struct site *site,
		bool (*skips)(const struct recorded *recorded, const struct plan *plan,
			      const struct step *step),
		struct plan *ret_plan, struct err *err)
{
	const struct attachment *record = recorded->record;
	int r = 0;

	ret_plan->count = 0;
	if (!site->pod)
		return drift(err, "%s: no path leads to the pod's namespace", record->ifname);
	if (record->device.name[0])
		r = find_link(record, site, err);
	if (r == 0)
		r = recorded_plan(recorded, site, ret_plan, err);
	for (size_t i = 0; r == 0 && i < ret_plan->count; i++) {
		const struct step *step = &ret_plan->steps[i];
		const struct step_ops *ops = step_ops(step->kind);

		if (ops->check && !(skips && skips(recorded, ret_plan, step)))
			r = ops->check(step, site, err);
	}
	return r;
}

int check_attachment(const struct recorded *recorded, struct site *site, json_t *prev_result,
		     struct err *err)
{
	const struct attachment *record = recorded->record;
	struct plan plan;
	int r;

	if (recorded->conf.ipam == IPAM_FOREIGN && record->facts.net.ip_count == 0)
		return drift(err, "%s: ADD ended before it knew the addresses of %s",
			     record->ifname, recorded->conf.ipam_type);
	r = check_steps(recorded, site, prev_result ? is_told : NULL, &plan, err);
	if (r < 0 || !record->device.name[0])
		return r;
	return prev_result ? check_told(recorded, &plan, site, prev_result, err)
			   : check_recorded_link(recorded, site, err);
}
