/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structs to JSON. What is empty, zero or unset is left out, and decode.c reads it back as such.
 *
 * An object under construction is handed on by pointer; it turns NULL when memory runs out, and
 * later puts do nothing: the caller looks once, at the end. A name that is no UTF-8 is mended: what
 * a record must give back as it was has been refused before (ipamd/device_refuse).
 */
#include "ipamd/proto/proto.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

/* Takes @value, also on failure. */
static void put(json_t **obj, const char *key, json_t *value)
{
	if (!*obj) {
		json_decref(value);
		return;
	}
	if (json_object_set_new(*obj, key, value) < 0) {
		json_decref(*obj);
		*obj = NULL;
	}
}

static void put_text(json_t **obj, const char *key, const char *text)
{
	if (text && text[0])
		put(obj, key, json_text(text));
}

static void put_number(json_t **obj, const char *key, int64_t value)
{
	if (value)
		put(obj, key, json_integer(value));
}

static void put_flag(json_t **obj, const char *key, bool value)
{
	if (value)
		put(obj, key, json_true());
}

static void put_guid(json_t **obj, const char *key, uint64_t guid)
{
	char text[GUID_TEXT];

	put(obj, key, json_string(guid_format(guid, text)));
}

static void put_pkey(json_t **obj, uint16_t pkey)
{
	char text[PKEY_TEXT];

	if (pkey)
		put(obj, "pkey", json_string(pkey_format(pkey, text)));
}

static void put_mac(json_t **obj, const char *key, const struct mac *mac)
{
	char text[MAC_TEXT];

	put_text(obj, key, mac_format(mac, text));
}

static void put_station(json_t **obj, const struct station *station)
{
	put_mac(obj, "mac", &station->mac);
	if (station->has_vlan)
		put(obj, "vlan", json_integer(station->vlan));
}

/* Also that it has none. */
static void put_any_mac(json_t **obj, const char *key, const struct mac *mac)
{
	char text[MAC_TEXT];

	put(obj, key, json_string(mac_format(mac, text)));
}

static void put_ip(json_t **obj, const char *key, const struct ip *ip)
{
	char text[IP_TEXT];

	if (ip->family)
		put(obj, key, json_string(ip_format(ip, text)));
}

static void put_cidr(json_t **obj, const char *key, const struct cidr *cidr)
{
	char text[CIDR_TEXT];

	put(obj, key, json_string(cidr_format(cidr, text)));
}

/* Takes @value, also on failure. */
static void append(json_t **array, json_t *value)
{
	if (!*array) {
		json_decref(value);
		return;
	}
	if (json_array_append_new(*array, value) < 0) {
		json_decref(*array);
		*array = NULL;
	}
}

json_t *address_encode(const struct address *address)
{
	json_t *obj = json_object();

	put_cidr(&obj, "address", &address->cidr);
	put_ip(&obj, "gateway", &address->gateway);
	return obj;
}

json_t *route_encode(const struct route *route)
{
	json_t *obj = json_object();

	put_cidr(&obj, "dst", &route->dst);
	put_ip(&obj, "gw", &route->gw);
	put_number(&obj, "mtu", route->mtu);
	put_number(&obj, "advmss", route->advmss);
	put_number(&obj, "priority", route->priority);
	put_number(&obj, "table", route->table);
	if (route->scope >= 0)
		put(&obj, "scope", json_integer(route->scope));
	return obj;
}

static void put_ip_config(json_t **obj, const struct ip_config *net)
{
	json_t *ips = json_array(), *routes = json_array();

	for (size_t i = 0; i < net->ip_count; i++)
		append(&ips, address_encode(&net->ips[i]));
	for (size_t i = 0; i < net->route_count; i++)
		append(&routes, route_encode(&net->routes[i]));
	put(obj, "ips", ips);
	put(obj, "routes", routes);
}

static void put_key(json_t **obj, const struct attachment_key *key)
{
	put(obj, "network", json_text(key->network));
	put(obj, "containerID", json_text(key->container_id));
	put(obj, "ifname", json_text(key->ifname));
}

json_t *key_encode(const struct attachment_key *key)
{
	json_t *obj = json_object();

	put_key(&obj, key);
	return obj;
}

static json_t *pod_encode(const struct pod_ref *pod)
{
	json_t *obj = json_object();

	put_text(&obj, "namespace", pod->namespace);
	put_text(&obj, "name", pod->name);
	put_text(&obj, "uid", pod->uid);
	return obj;
}

static json_t *netns_encode(const struct netns_ref *netns)
{
	json_t *obj = json_object();

	put_text(&obj, "path", netns->path);
	put_number(&obj, "cookie", (int64_t)netns->cookie);
	put(&obj, "nsid", json_integer(netns->nsid));
	return obj;
}

static json_t *request_encode(const char *program, json_t *env, json_t *netconf)
{
	json_t *obj = json_object();

	put(&obj, "program", json_text(program));
	put(&obj, "env", json_incref(env));
	put(&obj, "netconf", json_incref(netconf));
	return obj;
}

/* Of an attribute that nobody knows nothing is said. */
static void put_vf_state(json_t **obj, const struct vf_state *vf)
{
	static const char *const link_states[] = { "auto", "enable", "disable" };

	if (vf->known & VF_BIT(VF_VLAN)) {
		put(obj, "vlan", json_integer(vf->vlan));
		put(obj, "qos", json_integer(vf->qos));
		put(obj, "proto", json_string(vf->vlan_ad ? "802.1ad" : "802.1q"));
	}
	if (vf->known & VF_BIT(VF_MAC))
		put_mac(obj, "mac", &vf->mac);
	if (vf->known & VF_BIT(VF_RATE)) {
		put(obj, "minRate", json_integer(vf->min_rate));
		put(obj, "maxRate", json_integer(vf->max_rate));
	}
	if (vf->known & VF_BIT(VF_SPOOFCHK))
		put(obj, "spoofchk", json_boolean(vf->spoofchk));
	if (vf->known & VF_BIT(VF_TRUST))
		put(obj, "trust", json_boolean(vf->trust));
	if (vf->known & VF_BIT(VF_LINK_STATE))
		put(obj, "linkState", json_string(link_states[vf->link_state]));
	if (vf->known & VF_BIT(VF_NODE_GUID))
		put_guid(obj, "nodeGUID", vf->node_guid);
	if (vf->known & VF_BIT(VF_PORT_GUID))
		put_guid(obj, "portGUID", vf->port_guid);
}

static json_t *vf_encode(const struct vf_baseline *vf)
{
	json_t *obj = json_object();
	char pf[PCI_TEXT + 4];

	put(&obj, "pf", json_string(pci_format(&vf->pf, pf)));
	put(&obj, "index", json_integer(vf->index));
	put_text(&obj, "pfNetdev", vf->pf_netdev);
	put_number(&obj, "pfIfindex", vf->pf_ifindex);
	put_number(&obj, "pfMTU", vf->pf_mtu);
	put_vf_state(&obj, &vf->state);
	return obj;
}

static json_t *rdma_encode(const struct rdma_baseline *rdma)
{
	json_t *obj = json_object();

	put(&obj, "name", json_text(rdma->name));
	put_text(&obj, "uverbs", rdma->uverbs);
	put(&obj, "count", json_integer(rdma->count));
	if (rdma->moderation)
		put(&obj, "adaptiveModeration",
		    json_boolean(rdma->moderation == RDMA_MODERATION_ON));
	return obj;
}

static json_t *numbers_encode(const uint32_t *numbers, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		append(&array, json_integer(numbers[i]));
	return array;
}

/* What is not as usual. */
static json_t *settings_encode(const struct link_settings *settings)
{
	const struct link_settings *usual = &link_settings_usual;
	json_t *obj = json_object();

	if (settings->flags != usual->flags)
		put(&obj, "flags", json_integer(settings->flags));
	if (settings->txqlen != usual->txqlen)
		put(&obj, "txqlen", json_integer(settings->txqlen));
	put_number(&obj, "group", settings->group);
	if (memcmp(settings->limits, usual->limits, sizeof(usual->limits)) != 0)
		put(&obj, "limits", numbers_encode(settings->limits, LIMITS));
	put_number(&obj, "mode", settings->mode);
	put_flag(&obj, "protoDown", settings->proto_down);
	put_number(&obj, "protoDownReasons", settings->proto_down_reasons);
	if (!mac_equal(&settings->broadcast, &usual->broadcast))
		put_any_mac(&obj, "broadcast", &settings->broadcast);
	if (settings->xdp[XDP_DRIVER] || settings->xdp[XDP_GENERIC] || settings->xdp[XDP_HARDWARE])
		put(&obj, "xdp", numbers_encode(settings->xdp, XDP_PLACES));
	if (utf8_is_valid(settings->alias)) /* it may be any bytes: then it is not kept */
		put_text(&obj, "alias", settings->alias);
	return obj;
}

static json_t *ethtool_encode(const struct ethtool_settings *ethtool)
{
	json_t *obj = json_object();

	put_number(&obj, "family", ethtool->family);
	if (ethtool->known & ETHTOOL_BIT(ETHTOOL_FEATURES))
		put(&obj, "features", json_integer((json_int_t)ethtool->features));
	for (int i = 0; i < ETHTOOL_NUMBERS; i++) {
		if (ethtool->known & ETHTOOL_BIT(i))
			put(&obj, ethtool_setting_name(i), json_integer(ethtool->numbers[i]));
	}
	return obj;
}

static json_t *baseline_encode(const struct baseline *device)
{
	json_t *obj = json_object(), *altnames = json_array();

	for (size_t i = 0; i < device->altname_count; i++)
		append(&altnames, json_text(device->altnames[i]));
	put(&obj, "key", json_text(device->key));
	put_number(&obj, "ifindex", device->ifindex);
	put_text(&obj, "name", device->name);
	put(&obj, "altnames", altnames);
	put_number(&obj, "mtu", device->mtu);
	put_mac(&obj, "mac", &device->mac);
	put_mac(&obj, "permMAC", &device->perm_mac);
	put(&obj, "up", json_boolean(device->up));
	put_text(&obj, "kind", device->kind);
	put_number(&obj, "peer", device->peer);
	put_number(&obj, "inode", (int64_t)device->inode);
	put_text(&obj, "parent", device->parent);
	put_number(&obj, "type", device->type);
	put_text(&obj, "driver", device->driver);
	if (device->numa_node >= 0)
		put(&obj, "numa", json_integer(device->numa_node));
	if (device->settings.known)
		put(&obj, "settings", settings_encode(&device->settings));
	if (device->ethtool.known)
		put(&obj, "ethtool", ethtool_encode(&device->ethtool));
	if (device->vf.is_vf)
		put(&obj, "vf", vf_encode(&device->vf));
	if (device->rdma.name[0])
		put(&obj, "rdma", rdma_encode(&device->rdma));
	return obj;
}

static json_t *rdma_facts_encode(const struct facts *facts)
{
	json_t *obj = json_object();

	put(&obj, "name", json_text(facts->rdma.name));
	put_text(&obj, "uverbs", facts->rdma.uverbs);
	put(&obj, "moved", json_boolean(facts->rdma.moved));
	if (facts->rdma.index >= 0)
		put(&obj, "index", json_integer(facts->rdma.index));
	if (facts->rdma.gid_index >= 0)
		put(&obj, "gidIndex", json_integer(facts->rdma.gid_index));
	return obj;
}

json_t *facts_encode(const struct facts *facts)
{
	json_t *obj = json_object();

	put_number(&obj, "ifindex", facts->ifindex);
	put_number(&obj, "peer", facts->peer);
	put_mac(&obj, "mac", &facts->mac);
	put_number(&obj, "mtu", facts->mtu);
	put_number(&obj, "table", facts->table);
	if (facts->rdma.name[0])
		put(&obj, "rdma", rdma_facts_encode(facts));
	put_ip_config(&obj, &facts->net);
	return obj;
}

static json_t *rail_encode(const struct rail_ref *rail)
{
	json_t *obj = json_object();

	put(&obj, "name", json_text(rail->name));
	put(&obj, "number", json_integer(rail->number));
	put(&obj, "index", json_integer(rail->index));
	put_number(&obj, "table", rail->table);
	return obj;
}

static json_t *head_encode(const struct attachment *a)
{
	struct attachment_key key = attachment_key(a);
	json_t *obj = json_object();

	put(&obj, "id", json_integer((json_int_t)a->id));
	put(&obj, "generation", json_integer((json_int_t)a->generation));
	put(&obj, "state", json_string(attachment_state_name(a->state)));
	put_key(&obj, &key);
	put(&obj, "pod", pod_encode(&a->pod));
	put(&obj, "netns", netns_encode(&a->netns));
	put_text(&obj, "bootID", a->boot_id);
	if (a->device.key[0])
		put(&obj, "device", baseline_encode(&a->device));
	put_station(&obj, &a->station);
	if (a->pool[0]) {
		put(&obj, "pool", json_text(a->pool));
		put(&obj, "rail", rail_encode(&a->rail));
	}
	put_text(&obj, "sticky", a->sticky);
	put_ip_config(&obj, &a->net);
	if (a->guid)
		put_guid(&obj, "guid", a->guid);
	put_pkey(&obj, a->pkey);
	put(&obj, "facts", facts_encode(&a->facts));
	put_number(&obj, "reservedAt", a->reserved_at_ms);
	put_number(&obj, "bootTime", a->boot_time_ms);
	return obj;
}

json_t *attachment_encode(const struct attachment *a)
{
	json_t *obj = head_encode(a);

	put(&obj, "request", request_encode(a->program, a->env, a->netconf));
	return obj;
}

json_t *attachment_encode_head(const struct attachment *a)
{
	json_t *obj = head_encode(a);

	put(&obj, "request", json_pack("{s:s}", "program", a->program));
	return obj;
}

/* The rails by name, or "*". */
static void put_claim(json_t **obj, const struct reserve_request *request)
{
	json_t *rails = json_array();

	if (request->claim_all)
		append(&rails, json_string("*"));
	for (size_t i = 0; i < request->claim_count; i++)
		append(&rails, json_text(request->claim[i]));
	if (rails && json_array_size(rails) == 0)
		json_decref(rails);
	else
		put(obj, "claim", rails);
}

json_t *reserve_encode(const struct reserve_request *request)
{
	json_t *obj = json_object(), *ips = json_array();
	char text[CIDR_TEXT];

	for (size_t i = 0; i < request->ip_count; i++)
		append(&ips, json_string(cidr_format(&request->ips[i], text)));
	put_key(&obj, &request->key);
	put(&obj, "pod", pod_encode(&request->pod));
	put(&obj, "netns", netns_encode(&request->netns));
	put(&obj, "request", request_encode(request->program, request->env, request->netconf));
	put_text(&obj, "device", request->device);
	put_text(&obj, "netdev", request->netdev);
	put_flag(&obj, "chooseDevice", request->choose_device);
	put_flag(&obj, "rdmaOnly", request->rdma_only);
	put_flag(&obj, "fromPlugin", request->from_plugin);
	put_station(&obj, &request->station);
	if (request->guid)
		put_guid(&obj, "guid", request->guid);
	put_pkey(&obj, request->pkey);
	put_text(&obj, "pool", request->pool);
	put_text(&obj, "rail", request->rail);
	put(&obj, "ips", ips);
	if (request->has_index)
		put(&obj, "index", json_integer(request->index));
	put_flag(&obj, "gateway", request->gateway);
	put_claim(&obj, request);
	if (request->auto_table)
		put(&obj, "table", json_string("auto"));
	put_text(&obj, "sticky", request->sticky);
	put(&obj, "deadline", json_integer(request->deadline_ms));
	return obj;
}
