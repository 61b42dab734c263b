/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON to structs: the inverse of encode.c. Every value is checked here, once, so that the rest of
 * the daemon may trust what it holds.
 *
 * The read_* functions borrow their strings from the JSON; attachment_decode() then takes copies.
 */
#include "ipamd/proto/proto.h"

#include <limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/json.h"

static void read_join(const struct json_reader *r, const char *key, char path[JSON_PATH_MAX])
{
	int len = snprintf(path, JSON_PATH_MAX, "%s%s%s", r->path, r->path[0] ? "." : "", key);

	if (len >= JSON_PATH_MAX)
		memcpy(path + JSON_PATH_MAX - 4, "...", 4);
}

/* Begins to read an optional object inside another; the caller ends it with read_end(). */
static bool read_begin(struct json_reader *r, const char *key, struct json_reader *ret_part)
{
	char path[JSON_PATH_MAX];
	json_t *obj;

	if (!json_obj(r, key, &obj))
		return false;
	read_join(r, key, path);
	json_read(ret_part, obj, path, r->err);
	return true;
}

static void read_end(struct json_reader *r, struct json_reader *part)
{
	r->r = json_finish(part, READ_LENIENT);
}

/* "" if absent. */
static char *read_text(struct json_reader *r, const char *key)
{
	const char *text = "";

	(void)json_str(r, key, &text);
	return (char *)text;
}

static const char *read_required(struct json_reader *r, const char *key)
{
	const char *text = "";

	if (!json_str(r, key, &text))
		json_missing(r, key);
	return text;
}

static void read_array_text(struct json_reader *r, const char *key, char *buf, size_t size)
{
	const char *text = "";

	if (json_str(r, key, &text) && strlen(text) >= size)
		json_bad(r, key, "must be at most %zu bytes long", size - 1);
	if (r->r == 0)
		(void)snprintf(buf, size, "%s", text);
}

static int64_t read_number(struct json_reader *r, const char *key, int64_t min, int64_t max,
			   int64_t absent)
{
	int64_t value = absent;

	(void)json_int(r, key, min, max, &value);
	return value;
}

static void read_mac(struct json_reader *r, const char *key, struct mac *mac)
{
	const char *text;

	if (json_str(r, key, &text) && mac_parse(text, mac) < 0)
		json_bad(r, key, "must be a hardware address");
}

static void read_station(struct json_reader *r, struct station *station)
{
	int64_t vlan = 0;

	read_mac(r, "mac", &station->mac);
	if (station->mac.len && !mac_is_usable(&station->mac))
		json_bad(r, "mac", "must be an Ethernet unicast address");
	station->has_vlan = json_int(r, "vlan", 0, VLAN_MAX, &vlan);
	station->vlan = (uint16_t)vlan;
}

/* Whatever a VF may have had: also what no port could use, so that it can be given back. */
static bool read_guid(struct json_reader *r, const char *key, uint64_t *guid)
{
	const char *text;

	if (!json_str(r, key, &text))
		return false;
	if (strcmp(text, "00:00:00:00:00:00:00:00") == 0)
		*guid = 0;
	else if (strcasecmp(text, "ff:ff:ff:ff:ff:ff:ff:ff") == 0)
		*guid = UINT64_MAX;
	else if (guid_parse(text, guid) < 0)
		json_bad(r, key, "must be a GUID");
	return r->r == 0;
}

static void read_pkey(struct json_reader *r, uint16_t *pkey)
{
	const char *text;

	if (json_str(r, "pkey", &text) && pkey_parse(text, pkey) < 0)
		json_bad(r, "pkey", "must be a P_Key");
}

/* One of @count texts; its place, or -1 if absent or wrong. */
static int read_word(struct json_reader *r, const char *key, const char *const words[], int count,
		     const char *allowed)
{
	const char *text;

	if (!json_str(r, key, &text))
		return -1;
	for (int i = 0; i < count; i++) {
		if (strcmp(text, words[i]) == 0)
			return i;
	}
	json_bad(r, key, "must be %s", allowed);
	return -1;
}

static void read_ip(struct json_reader *r, const char *key, struct ip *ip)
{
	const char *text;

	if (json_str(r, key, &text) && ip_parse(text, ip) < 0)
		json_bad(r, key, "must be an IP address");
}

static void read_cidr(struct json_reader *r, const char *key, struct cidr *cidr)
{
	const char *text = read_required(r, key);

	if (r->r == 0 && cidr_parse(text, cidr) < 0)
		json_bad(r, key, "must be an IP address with a prefix length");
}

int address_decode(json_t *json, const char *path, struct address *ret_address, struct err *err)
{
	struct address address = { 0 };
	struct json_reader r;

	json_read(&r, json, path, err);
	read_cidr(&r, "address", &address.cidr);
	read_ip(&r, "gateway", &address.gateway);
	if (r.r == 0 && address.gateway.family && address.gateway.family != address.cidr.ip.family)
		json_bad(&r, "gateway", "must be of the family of the address");
	if (json_finish(&r, READ_LENIENT) == 0)
		*ret_address = address;
	return r.r;
}

int route_decode(json_t *json, const char *path, struct route *ret_route, struct err *err)
{
	struct route route = { 0 };
	struct json_reader r;

	json_read(&r, json, path, err);
	read_cidr(&r, "dst", &route.dst);
	read_ip(&r, "gw", &route.gw);
	route.mtu = read_number(&r, "mtu", 0, UINT32_MAX, 0);
	route.advmss = read_number(&r, "advmss", 0, UINT32_MAX, 0);
	route.priority = read_number(&r, "priority", 0, UINT32_MAX, 0);
	route.table = read_number(&r, "table", 0, UINT32_MAX, 0);
	route.scope = read_number(&r, "scope", 0, UINT8_MAX, -1);
	if (r.r == 0 && route.gw.family && route.gw.family != route.dst.ip.family)
		json_bad(&r, "gw", "must be of the family of \"dst\"");
	if (json_finish(&r, READ_LENIENT) == 0)
		*ret_route = route;
	return r.r;
}

/* Reads an optional array; false if there is nothing to walk. */
static bool read_array(struct json_reader *r, const char *key, size_t max, json_t **ret_array)
{
	if (!json_arr(r, key, ret_array))
		return false;
	if (json_array_size(*ret_array) > max)
		json_bad(r, key, "must have at most %zu elements", max);
	return r->r == 0;
}

static void read_element(const struct json_reader *r, const char *key, size_t i,
			 char path[JSON_PATH_MAX])
{
	char name[32];

	(void)snprintf(name, sizeof(name), "%s[%zu]", key, i);
	read_join(r, name, path);
}

static void read_ip_config(struct json_reader *r, struct ip_config *net)
{
	char path[JSON_PATH_MAX];
	json_t *array, *element;
	size_t i;

	if (read_array(r, "ips", PROTO_IPS_MAX, &array)) {
		json_array_foreach (array, i, element) {
			read_element(r, "ips", i, path);
			if (r->r == 0)
				r->r = address_decode(element, path, &net->ips[i], r->err);
		}
		net->ip_count = i;
	}
	if (read_array(r, "routes", PROTO_ROUTES_MAX, &array)) {
		json_array_foreach (array, i, element) {
			read_element(r, "routes", i, path);
			if (r->r == 0)
				r->r = route_decode(element, path, &net->routes[i], r->err);
		}
		net->route_count = i;
	}
}

/* The store keys on these texts: they must fit into one of its keys. */
static void read_key(struct json_reader *r, struct attachment_key *key)
{
	key->network = read_required(r, "network");
	if (r->r == 0 && !id_is_valid(key->network))
		json_bad(r, "network", "must be letters, digits, '_', '.', '-'");
	key->container_id = read_required(r, "containerID");
	if (r->r == 0 && !id_is_valid(key->container_id))
		json_bad(r, "containerID", "must be letters, digits, '_', '.', '-'");
	key->ifname = read_required(r, "ifname");
	if (r->r == 0 && !ifname_is_valid(key->ifname))
		json_bad(r, "ifname", "must be an interface name");
	if (r->r == 0 &&
	    strlen(key->network) + strlen(key->container_id) + strlen(key->ifname) > PROTO_KEY_MAX)
		r->r = err_set(r->err, ENAMETOOLONG, ERR_ENV,
			       "attachment key: network, container ID and interface name are "
			       "together longer than %d bytes",
			       PROTO_KEY_MAX);
}

int key_decode(json_t *params, struct attachment_key *ret_key, struct err *err)
{
	struct attachment_key key = { 0 };
	struct json_reader r;

	json_read(&r, params, "", err);
	read_key(&r, &key);
	if (json_finish(&r, READ_LENIENT) == 0)
		*ret_key = key;
	return r.r;
}

/* @key: read before; the store also keys on UID, network and interface name. */
static void read_pod(struct json_reader *r, const struct attachment_key *key, struct pod_ref *pod)
{
	struct json_reader part;

	*pod = (struct pod_ref) { (char *)"", (char *)"", (char *)"" };
	if (!read_begin(r, "pod", &part))
		return;
	pod->namespace = read_text(&part, "namespace");
	pod->name = read_text(&part, "name");
	pod->uid = read_text(&part, "uid");
	if (part.r == 0 &&
	    strlen(pod->uid) + strlen(key->network) + strlen(key->ifname) > PROTO_KEY_MAX)
		json_bad(&part, "uid", "must be at most %d bytes long with network and ifname",
			 PROTO_KEY_MAX);
	read_end(r, &part);
}

static void read_netns(struct json_reader *r, struct netns_ref *netns)
{
	struct json_reader part;

	*netns = (struct netns_ref) { .path = (char *)"", .nsid = -1 };
	if (!read_begin(r, "netns", &part))
		return;
	netns->path = read_text(&part, "path");
	netns->cookie = (uint64_t)read_number(&part, "cookie", 0, INT64_MAX, 0);
	netns->nsid = (int32_t)read_number(&part, "nsid", -1, INT32_MAX, -1);
	read_end(r, &part);
}

/* The daemon starts a program with this environment: CNI's variables and nothing else. */
static void read_env(struct json_reader *r, json_t **env)
{
	const char *name;
	json_t *value;

	if (!json_obj(r, "env", env)) {
		json_missing(r, "env");
		return;
	}
	json_object_foreach (*env, name, value) {
		if (strncmp(name, "CNI_", 4) != 0 || strchr(name, '=') || !json_is_string(value))
			json_bad(r, "env", "must hold CNI_ variables, as strings");
	}
}

/* @env and @netconf NULL: they are not asked for. */
static void read_request(struct json_reader *r, const char **program, json_t **env,
			 json_t **netconf)
{
	struct json_reader part;

	if (!read_begin(r, "request", &part)) {
		json_missing(r, "request");
		return;
	}
	*program = read_required(&part, "program");
	if (part.r == 0 && strcmp(*program, "spur") != 0 && strcmp(*program, "spur-ipam") != 0)
		json_bad(&part, "program", "must be \"spur\" or \"spur-ipam\"");
	if (env)
		read_env(&part, env);
	if (netconf && !json_obj(&part, "netconf", netconf))
		json_missing(&part, "netconf");
	read_end(r, &part);
}

static void read_altnames(struct json_reader *r, struct baseline *device)
{
	json_t *array, *element;
	size_t i;

	if (!read_array(r, "altnames", PROTO_ALTNAMES_MAX, &array))
		return;
	json_array_foreach (array, i, element) {
		if (!json_is_string(element)) {
			json_bad(r, "altnames", "must be strings");
			return;
		}
		device->altnames[i] = (char *)json_string_value(element);
	}
	device->altname_count = i;
}

static void read_vlan(struct json_reader *r, struct vf_state *vf)
{
	static const char *const protos[] = { "802.1q", "802.1ad" };
	int64_t vlan;

	if (!json_int(r, "vlan", 0, 4095, &vlan))
		return;
	vf->known |= VF_BIT(VF_VLAN);
	vf->vlan = (uint16_t)vlan;
	vf->qos = (uint8_t)read_number(r, "qos", 0, 7, 0);
	vf->vlan_ad =
		read_word(r, "proto", protos, ARRAY_SIZE(protos), "\"802.1q\" or \"802.1ad\"") == 1;
}

static void read_rates(struct json_reader *r, struct vf_state *vf)
{
	int64_t max;

	if (!json_int(r, "maxRate", 0, UINT32_MAX, &max))
		return;
	vf->known |= VF_BIT(VF_RATE);
	vf->max_rate = (uint32_t)max;
	vf->min_rate = (uint32_t)read_number(r, "minRate", 0, UINT32_MAX, 0);
}

static void read_vf_state(struct json_reader *r, struct vf_state *vf)
{
	static const char *const link_states[] = { "auto", "enable", "disable" };
	int link_state;

	read_vlan(r, vf);
	read_mac(r, "mac", &vf->mac);
	if (vf->mac.len)
		vf->known |= VF_BIT(VF_MAC);
	read_rates(r, vf);
	if (json_bool(r, "spoofchk", &vf->spoofchk))
		vf->known |= VF_BIT(VF_SPOOFCHK);
	if (json_bool(r, "trust", &vf->trust))
		vf->known |= VF_BIT(VF_TRUST);
	link_state = read_word(r, "linkState", link_states, ARRAY_SIZE(link_states),
			       "\"auto\", \"enable\" or \"disable\"");
	if (link_state >= 0) {
		vf->known |= VF_BIT(VF_LINK_STATE);
		vf->link_state = (enum vf_link_state)link_state;
	}
	if (read_guid(r, "nodeGUID", &vf->node_guid))
		vf->known |= VF_BIT(VF_NODE_GUID);
	if (read_guid(r, "portGUID", &vf->port_guid))
		vf->known |= VF_BIT(VF_PORT_GUID);
}

static void read_vf(struct json_reader *r, struct vf_baseline *vf)
{
	struct json_reader part;
	const char *pf;

	if (!read_begin(r, "vf", &part))
		return;
	vf->is_vf = true;
	pf = read_required(&part, "pf");
	if (part.r == 0 && pci_parse(pf, &vf->pf) < 0)
		json_bad(&part, "pf", "must be a PCI address");
	vf->index = (int)read_number(&part, "index", 0, INT_MAX, 0);
	read_array_text(&part, "pfNetdev", vf->pf_netdev, sizeof(vf->pf_netdev));
	vf->pf_ifindex = (int)read_number(&part, "pfIfindex", 0, INT_MAX, 0);
	vf->pf_mtu = read_number(&part, "pfMTU", 0, UINT32_MAX, 0);
	read_vf_state(&part, &vf->state);
	read_end(r, &part);
}

static void read_rdma(struct json_reader *r, struct rdma_baseline *rdma)
{
	struct json_reader part;
	bool on;

	if (!read_begin(r, "rdma", &part))
		return;
	read_array_text(&part, "name", rdma->name, sizeof(rdma->name));
	read_array_text(&part, "uverbs", rdma->uverbs, sizeof(rdma->uverbs));
	rdma->count = (int)read_number(&part, "count", 0, INT_MAX, 1);
	if (json_bool(&part, "adaptiveModeration", &on))
		rdma->moderation = on ? RDMA_MODERATION_ON : RDMA_MODERATION_OFF;
	read_end(r, &part);
}

static void read_numbers(struct json_reader *r, const char *key, uint32_t *numbers, size_t max)
{
	json_t *array, *element;
	size_t i;

	if (!read_array(r, key, max, &array))
		return;
	json_array_foreach (array, i, element) {
		json_int_t value = json_is_integer(element) ? json_integer_value(element) : -1;

		if (value < 0 || value > UINT32_MAX) {
			json_bad(r, key, "must be numbers");
			return;
		}
		numbers[i] = (uint32_t)value;
	}
}

/* Empty: it has none. */
static void read_broadcast(struct json_reader *r, struct mac *mac)
{
	const char *text;

	if (!json_str(r, "broadcast", &text))
		return;
	*mac = (struct mac) { 0 };
	if (text[0] && mac_parse(text, mac) < 0)
		json_bad(r, "broadcast", "must be a hardware address");
}

/* What is absent is as usual. */
static void read_settings(struct json_reader *r, struct link_settings *settings)
{
	const struct link_settings *usual = &link_settings_usual;
	struct json_reader part;

	if (!read_begin(r, "settings", &part))
		return;
	*settings = *usual;
	settings->flags = (uint32_t)read_number(&part, "flags", 0, UINT32_MAX, usual->flags);
	settings->txqlen = (uint32_t)read_number(&part, "txqlen", 0, UINT32_MAX, usual->txqlen);
	settings->group = (uint32_t)read_number(&part, "group", 0, UINT32_MAX, 0);
	read_numbers(&part, "limits", settings->limits, LIMITS);
	settings->mode = (uint8_t)read_number(&part, "mode", 0, UINT8_MAX, 0);
	(void)json_bool(&part, "protoDown", &settings->proto_down);
	settings->proto_down_reasons =
		(uint32_t)read_number(&part, "protoDownReasons", 0, UINT32_MAX, 0);
	read_broadcast(&part, &settings->broadcast);
	read_numbers(&part, "xdp", settings->xdp, XDP_PLACES);
	read_array_text(&part, "alias", settings->alias, sizeof(settings->alias));
	read_end(r, &part);
}

static void read_ethtool(struct json_reader *r, struct ethtool_settings *ethtool)
{
	struct json_reader part;
	int64_t value;
	size_t left;

	if (!read_begin(r, "ethtool", &part))
		return;
	left = json_object_size(part.obj);
	if (json_int(&part, "family", 0, UINT16_MAX, &value)) {
		ethtool->family = (uint16_t)value;
		left--;
	}
	if (json_int(&part, "features", INT64_MIN, INT64_MAX, &value)) {
		ethtool->known |= ETHTOOL_BIT(ETHTOOL_FEATURES);
		ethtool->features = (uint64_t)value;
		left--; /* a device that is named has nothing else */
	}
	for (int i = 0; left > 0 && i < ETHTOOL_NUMBERS; i++) {
		if (!json_int(&part, ethtool_setting_name(i), 0, UINT32_MAX, &value))
			continue;
		ethtool->known |= ETHTOOL_BIT(i);
		ethtool->numbers[i] = (uint32_t)value;
		left--;
	}
	read_end(r, &part);
}

static void read_baseline(struct json_reader *r, struct baseline *device)
{
	struct json_reader part;

	device->numa_node = -1;
	if (!read_begin(r, "device", &part))
		return;
	read_array_text(&part, "key", device->key, sizeof(device->key));
	device->ifindex = (int)read_number(&part, "ifindex", 0, INT_MAX, 0);
	read_array_text(&part, "name", device->name, sizeof(device->name));
	read_altnames(&part, device);
	device->mtu = read_number(&part, "mtu", 0, UINT32_MAX, 0);
	read_mac(&part, "mac", &device->mac);
	read_mac(&part, "permMAC", &device->perm_mac);
	(void)json_bool(&part, "up", &device->up);
	read_array_text(&part, "kind", device->kind, sizeof(device->kind));
	device->peer = (int)read_number(&part, "peer", 0, INT_MAX, 0);
	device->inode = (uint64_t)read_number(&part, "inode", 0, INT64_MAX, 0);
	read_array_text(&part, "parent", device->parent, sizeof(device->parent));
	device->type = (uint16_t)read_number(&part, "type", 0, UINT16_MAX, 0);
	read_array_text(&part, "driver", device->driver, sizeof(device->driver));
	device->numa_node = (int)read_number(&part, "numa", -1, INT_MAX, -1);
	read_settings(&part, &device->settings);
	read_ethtool(&part, &device->ethtool);
	read_vf(&part, &device->vf);
	read_rdma(&part, &device->rdma);
	read_end(r, &part);
}

static void read_rdma_facts(struct json_reader *r, struct facts *facts)
{
	struct json_reader part;

	facts->rdma.index = facts->rdma.gid_index = -1;
	if (!read_begin(r, "rdma", &part))
		return;
	read_array_text(&part, "name", facts->rdma.name, sizeof(facts->rdma.name));
	read_array_text(&part, "uverbs", facts->rdma.uverbs, sizeof(facts->rdma.uverbs));
	(void)json_bool(&part, "moved", &facts->rdma.moved);
	facts->rdma.index = (int)read_number(&part, "index", -1, INT_MAX, -1);
	facts->rdma.gid_index = (int)read_number(&part, "gidIndex", -1, INT_MAX, -1);
	read_end(r, &part);
}

static void read_facts(struct json_reader *r, struct facts *facts)
{
	facts->ifindex = (int)read_number(r, "ifindex", 0, INT_MAX, 0);
	facts->peer = (int)read_number(r, "peer", 0, INT_MAX, 0);
	read_mac(r, "mac", &facts->mac);
	facts->mtu = read_number(r, "mtu", 0, UINT32_MAX, 0);
	facts->table = read_number(r, "table", 0, UINT32_MAX, 0);
	read_rdma_facts(r, facts);
	read_ip_config(r, &facts->net);
}

int facts_decode(json_t *json, struct facts *ret_facts, struct err *err)
{
	struct facts facts = { 0 };
	struct json_reader r;

	json_read(&r, json, "facts", err);
	read_facts(&r, &facts);
	if (json_finish(&r, READ_LENIENT) == 0)
		*ret_facts = facts;
	return r.r;
}

static void read_rail(struct json_reader *r, struct rail_ref *rail)
{
	struct json_reader part;

	if (!read_begin(r, "rail", &part))
		return;
	read_array_text(&part, "name", rail->name, sizeof(rail->name));
	rail->number = (int)read_number(&part, "number", 0, INT_MAX, 0);
	rail->index = (uint32_t)read_number(&part, "index", 0, UINT32_MAX, 0);
	rail->table = (uint32_t)read_number(&part, "table", 0, UINT32_MAX, 0);
	read_end(r, &part);
}

static void read_state(struct json_reader *r, enum attachment_state *state)
{
	const char *text = read_required(r, "state");

	for (int i = 0; i < ATTACHMENT_STATES; i++) {
		if (strcmp(text, attachment_state_name((enum attachment_state)i)) == 0) {
			*state = (enum attachment_state)i;
			return;
		}
	}
	json_bad(r, "state", "must be \"unfinished\", \"attached\", \"dirty\" or \"unconfirmed\"");
}

static uint64_t read_id(struct json_reader *r, const char *key)
{
	int64_t id = 0;

	if (!json_int(r, key, 1, INT64_MAX, &id))
		json_missing(r, key);
	return (uint64_t)id;
}

/* All but what was asked for. */
static void read_head(struct json_reader *r, struct attachment *a)
{
	struct attachment_key key = { "", "", "" };
	struct json_reader part;

	a->id = read_id(r, "id");
	a->generation = read_id(r, "generation");
	read_state(r, &a->state);
	read_key(r, &key);
	a->network = (char *)key.network;
	a->container_id = (char *)key.container_id;
	a->ifname = (char *)key.ifname;
	read_pod(r, &key, &a->pod);
	read_netns(r, &a->netns);
	a->boot_id = read_text(r, "bootID");
	read_baseline(r, &a->device);
	read_station(r, &a->station);
	read_array_text(r, "pool", a->pool, sizeof(a->pool));
	read_rail(r, &a->rail);
	read_array_text(r, "sticky", a->sticky, sizeof(a->sticky));
	read_ip_config(r, &a->net);
	(void)read_guid(r, "guid", &a->guid);
	read_pkey(r, &a->pkey);
	a->facts.rdma.index = a->facts.rdma.gid_index = -1;
	if (read_begin(r, "facts", &part)) {
		read_facts(&part, &a->facts);
		read_end(r, &part);
	}
	a->reserved_at_ms = read_number(r, "reservedAt", 0, INT64_MAX, 0);
	a->boot_time_ms = read_number(r, "bootTime", 0, INT64_MAX, 0);
}

static int attachment_read(json_t *json, bool whole, struct attachment *ret_a, struct err *err)
{
	struct attachment a = { 0 };
	struct json_reader r;

	json_read(&r, json, "", err);
	read_head(&r, &a);
	read_request(&r, (const char **)&a.program, whole ? &a.env : NULL,
		     whole ? &a.netconf : NULL);
	return json_finish(&r, READ_LENIENT) < 0 ? r.r : attachment_copy(&a, ret_a, err);
}

int attachment_decode(json_t *json, struct attachment *ret_a, struct err *err)
{
	return attachment_read(json, true, ret_a, err);
}

int attachment_decode_head(json_t *json, struct attachment *ret_a, struct err *err)
{
	return attachment_read(json, false, ret_a, err);
}

/* An optional name; NULL if absent. */
static const char *read_name(struct json_reader *r, const char *key, size_t max)
{
	const char *text = NULL;

	if (json_str(r, key, &text) && (text[0] == '\0' || strlen(text) > max))
		json_bad(r, key, "must be 1..%zu bytes long", max);
	return text;
}

static void read_ips(struct json_reader *r, struct reserve_request *request)
{
	json_t *array, *element;
	size_t i;

	if (!read_array(r, "ips", PROTO_IPS_MAX, &array))
		return;
	json_array_foreach (array, i, element) {
		if (!json_is_string(element) ||
		    cidr_parse(json_string_value(element), &request->ips[i]) < 0) {
			json_bad(r, "ips", "must be IP addresses, with or without prefix length");
			return;
		}
	}
	request->ip_count = i;
}

/* Which device, and what of it. */
static void read_device(struct json_reader *r, struct reserve_request *request)
{
	request->device = read_name(r, "device", PROTO_DEVICE_MAX - 1);
	request->netdev = read_name(r, "netdev", IFNAME_MAX);
	(void)json_bool(r, "chooseDevice", &request->choose_device);
	(void)json_bool(r, "rdmaOnly", &request->rdma_only);
	(void)json_bool(r, "fromPlugin", &request->from_plugin);
	if (read_guid(r, "guid", &request->guid) && !guid_is_usable(request->guid))
		json_bad(r, "guid", "must be a GUID that a port can have");
	read_pkey(r, &request->pkey);
	read_station(r, &request->station);
	if (request->choose_device && request->device)
		json_bad(r, "chooseDevice", "cannot be given together with \"device\"");
	if (request->choose_device && !(request->pool && request->rail))
		json_bad(r, "chooseDevice", "needs \"pool\" and \"rail\"");
	if (request->netdev && !request->device)
		json_bad(r, "netdev", "needs \"device\"");
	if (request->rdma_only && !request->device)
		json_bad(r, "rdmaOnly", "needs \"device\"");
}

static void read_index(struct json_reader *r, struct reserve_request *request)
{
	int64_t index;

	if (json_bool(r, "gateway", &request->gateway) && request->gateway && !request->pool)
		json_bad(r, "gateway", "needs \"pool\"");
	else if (request->gateway && request->ip_count)
		json_bad(r, "gateway", "cannot be given together with \"ips\"");
	request->has_index = json_int(r, "index", 0, UINT32_MAX, &index);
	if (!request->has_index)
		return;
	request->index = (uint32_t)index;
	if (!request->pool)
		json_bad(r, "index", "needs \"pool\"");
	else if (request->ip_count)
		json_bad(r, "index", "cannot be given together with \"ips\"");
	else if (request->gateway)
		json_bad(r, "index", "cannot be given together with \"gateway\"");
}

static void read_claim(struct json_reader *r, struct reserve_request *request)
{
	json_t *array, *element;
	size_t i;

	if (!read_array(r, "claim", PROTO_RAILS_MAX, &array))
		return;
	if (request->gateway)
		json_bad(r, "claim", "cannot be given together with \"gateway\"");
	json_array_foreach (array, i, element) {
		const char *name = json_string_value(element);

		if (!name || !name[0] || strlen(name) > PROTO_POOL_MAX) {
			json_bad(r, "claim", "must be names of rails, or only \"*\"");
			return;
		}
		request->claim[i] = name;
		request->claim_all = request->claim_all || strcmp(name, "*") == 0;
	}
	request->claim_count = request->claim_all ? 0 : i;
	if (i == 0 || (request->claim_all && i > 1))
		json_bad(r, "claim", "must be names of rails, or only \"*\"");
	else if (!request->pool)
		json_bad(r, "claim", "needs \"pool\"");
}

static void read_table(struct json_reader *r, struct reserve_request *request)
{
	const char *table;

	request->auto_table = json_str(r, "table", &table);
	if (request->auto_table && strcmp(table, "auto") != 0)
		json_bad(r, "table", "must be \"auto\"");
	else if (request->auto_table && !request->pool)
		json_bad(r, "table", "needs \"pool\"");
}

/* Keys of the store have it. */
static void read_pod_namespace(struct json_reader *r, struct reserve_request *request)
{
	if (strlen(request->pod.namespace) > PROTO_NAMESPACE_MAX)
		json_bad(r, "pod", "its namespace must be at most %d bytes long",
			 PROTO_NAMESPACE_MAX);
}

static void read_sticky(struct json_reader *r, struct reserve_request *request)
{
	if (json_str(r, "sticky", &request->sticky) && !sticky_is_valid(request->sticky))
		json_bad(r, "sticky", "must be 1..%d letters, digits, '/', '.', '_', '-', ':'",
			 PROTO_STICKY_MAX);
}

int reserve_decode(json_t *params, struct reserve_request *ret_request, struct err *err)
{
	struct reserve_request request = { 0 };
	struct json_reader r;

	json_read(&r, params, "", err);
	read_key(&r, &request.key);
	read_pod(&r, &request.key, &request.pod);
	read_pod_namespace(&r, &request);
	read_netns(&r, &request.netns);
	read_request(&r, &request.program, &request.env, &request.netconf);
	request.pool = read_name(&r, "pool", PROTO_POOL_MAX);
	request.rail = read_name(&r, "rail", PROTO_POOL_MAX);
	read_device(&r, &request);
	read_ips(&r, &request);
	read_index(&r, &request);
	read_claim(&r, &request);
	read_table(&r, &request);
	read_sticky(&r, &request);
	if (!json_int(&r, "deadline", 0, INT64_MAX, &request.deadline_ms))
		json_missing(&r, "deadline");
	if (json_finish(&r, READ_LENIENT) == 0)
		*ret_request = request;
	return r.r;
}
