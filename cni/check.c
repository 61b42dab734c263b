/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/check.h"

#include <errno.h>
#include <string.h>

#include "cni/apply.h"
#include "cni/result.h"
#include "rt/addr.h"

#define drift(err, ...) err_set(err, ESTALE, ERR_DRIFT, __VA_ARGS__)

static int check_mac(const struct site *site, const struct mac *should, struct err *err)
{
	char is_text[MAC_TEXT], should_text[MAC_TEXT];

	if (mac_equal(&site->link.mac, should))
		return 0;
	return drift(err, "%s: address is %s, should be %s", site->link.name,
		     mac_format(&site->link.mac, is_text), mac_format(should, should_text));
}

static int check_mtu(const struct site *site, int64_t should, struct err *err)
{
	if (site->link.mtu == should)
		return 0;
	return drift(err, "%s: MTU is %u, should be %lld", site->link.name, site->link.mtu,
		     (long long)should);
}

/* What the device should be: told last by the chain, else by ADD, else wished, else as it was. */
static int check_link(const struct recorded *recorded, const struct site *site,
		      json_t *prev_interface, struct err *err)
{
	const struct attachment *record = recorded->record;
	const char *told = json_string_value(json_object_get(prev_interface, "mac"));
	json_t *told_mtu = json_object_get(prev_interface, "mtu");
	struct mac mac = record->facts.mac;
	int64_t mtu = record->facts.mtu;
	int r;

	if (!mac.len)
		mac = recorded->conf.mac.len ? recorded->conf.mac : record->device.mac;
	if (!mtu)
		mtu = recorded->conf.mtu ? recorded->conf.mtu : record->device.mtu;
	if (told && mac_parse(told, &mac) < 0)
		return drift(err, "prevResult: \"%.32s\": is no address", told);
	if (json_integer_value(told_mtu) > 0)
		mtu = json_integer_value(told_mtu);
	r = check_mac(site, &mac, err);
	return r < 0 ? r : check_mtu(site, mtu, err);
}

static bool has_address(const struct addr_list *list, const struct cidr *cidr)
{
	for (int i = 0; i < list->count; i++) {
		if (ip_compare(&list->addrs[i].cidr.ip, &cidr->ip) == 0 &&
		    list->addrs[i].cidr.plen == cidr->plen)
			return true;
	}
	return false;
}

/* prevResult's addresses of our interface. */
static int check_told_addresses(const struct site *site, json_t *prev_result, size_t index,
				struct err *err)
{
	struct addr_list list;
	json_t *ip;
	size_t i;
	int r = addr_dump(site->pod, site->link.ifindex, &list, err);

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(prev_result, "ips"), i, ip) {
		const char *text = json_string_value(json_object_get(ip, "address"));
		json_t *of = json_object_get(ip, "interface");
		struct cidr cidr;

		if (!json_is_integer(of) || (size_t)json_integer_value(of) != index)
			continue;
		if (!text || cidr_parse(text, &cidr) < 0 || !has_address(&list, &cidr))
			return drift(err, "%s: address %.64s of prevResult is missing",
				     site->link.name, text ? text : "(none)");
	}
	return 0;
}

static int check_told(const struct recorded *recorded, const struct site *site, json_t *prev_result,
		      struct err *err)
{
	const char *netns = recorded->env.netns ? recorded->env.netns : "";
	json_t *interface = NULL;
	size_t index = 0;
	int r;

	if (prev_result) {
		interface = result_interface(prev_result, recorded->env.ifname, netns, &index);
		if (!interface)
			return drift(err, "prevResult: has no interface %s in %s",
				     recorded->env.ifname, netns);
	}
	r = check_link(recorded, site, interface, err);
	if (r == 0 && interface)
		r = check_told_addresses(site, prev_result, index, err);
	return r;
}

static int find_link(const struct attachment *record, struct site *site, struct err *err)
{
	int r = link_get(site->pod, record->ifname, &site->link, err);

	if (r == -ENODEV || (r == 0 && strcmp(site->link.name, record->ifname) != 0))
		return drift(err, "%s: is not in the pod", record->ifname);
	return r;
}

int check_attachment(const struct recorded *recorded, struct site *site, json_t *prev_result,
		     struct err *err)
{
	const struct attachment *record = recorded->record;
	const bool has_netdev = record->device.name[0];
	struct plan plan;
	int r = 0;

	if (!site->pod)
		return drift(err, "%s: no path leads to the pod's namespace", record->ifname);
	if (recorded->conf.ipam == IPAM_FOREIGN && record->facts.net.ip_count == 0)
		return drift(err, "%s: ADD ended before it knew the addresses of %s",
			     record->ifname, recorded->conf.ipam_type);
	if (has_netdev)
		r = find_link(record, site, err);
	if (r == 0)
		r = recorded_plan(recorded, site, &plan, err);
	if (r == 0)
		r = plan_check(&plan, site, err);
	if (r == 0 && has_netdev)
		r = check_told(recorded, site, prev_result, err);
	return r;
}
