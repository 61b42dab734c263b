/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/netconf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/json.h"

enum {
	VLAN_MAX = 4094, /* IEEE 802.1Q: 4095 is reserved */
	QOS_MAX = 7,
	MTU_MIN = 68, /* RFC 791, what IPv4 needs; ETH_MIN_MTU */
	MTU_MAX = 65535,
	RATE_MAX = INT32_MAX, /* Mbit/s */
	READY_MAX_MS = 30 * 1000,
	SOCKET_PATH_MAX = 107, /* sockaddr_un */
	AUX_NAME_MAX = 63,
};

const char *const cni_version_names[CNI_VERSIONS] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

int cni_version_parse(const char *text, enum cni_version *ret_version)
{
	for (int i = 0; i < CNI_VERSIONS; i++) {
		if (strcmp(text, cni_version_names[i]) == 0) {
			*ret_version = (enum cni_version)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* What all verbs read. */

static const char *text_of(json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static void netconf_init(json_t *json, struct netconf *conf)
{
	const char *version = text_of(json, "cniVersion");

	*conf = (struct netconf) {
		.json = json,
		.version = CNI_1_1_0,
		.socket = PROTO_SOCKET,
		.ready_ms = READY_DEFAULT_MS,
		.dns = json_object_get(json, "dns"),
		.log_level = LOG_LEVEL_INFO,
	};
	if (version)
		(void)cni_version_parse(version, &conf->version);
}

static bool socket_is_valid(const char *path)
{
	return path && path[0] == '/' && strlen(path) <= SOCKET_PATH_MAX;
}

/* A plugin's name is looked up in CNI_PATH: never a path. */
static bool plugin_is_valid(const char *type)
{
	return id_is_valid(type);
}

static bool pool_name_is_valid(const char *name)
{
	return strlen(name) <= PROTO_POOL_MAX && id_is_valid(name);
}

static int skim_name(json_t *json, struct netconf *conf, struct err *err)
{
	conf->network = text_of(json, "name");
	if (!conf->network)
		return err_set(err, EINVAL, ERR_VALUE, "key \"name\": must be a string");
	if (!id_is_valid(conf->network))
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"name\": \"%.64s\": must match [a-zA-Z0-9][a-zA-Z0-9_.-]*",
			       conf->network);
	return 0;
}

static void skim_ipam(json_t *ipam, struct netconf *conf)
{
	const char *type = text_of(ipam, "type");
	const char *name;

	if (!type || !plugin_is_valid(type))
		return;
	conf->ipam_type = type;
	conf->ipam = strcmp(type, "spur-ipam") == 0 ? IPAM_OURS : IPAM_FOREIGN;
	if (conf->ipam != IPAM_OURS)
		return;
	name = text_of(ipam, "pool");
	if (name && pool_name_is_valid(name))
		conf->pool = name;
	name = text_of(ipam, "socket");
	if (socket_is_valid(name))
		conf->socket = name;
}

int netconf_skim(json_t *json, struct netconf *ret_conf, struct err *err)
{
	struct netconf conf;
	const char *text;
	int r;

	netconf_init(json, &conf);
	r = skim_name(json, &conf, err);
	if (r < 0)
		return r;
	skim_ipam(json_object_get(json, "ipam"), &conf);
	text = text_of(json, "socket");
	if (socket_is_valid(text))
		conf.socket = text;
	text = text_of(json, "logLevel");
	if (text)
		(void)log_level_parse(text, &conf.log_level);
	text = text_of(json, "logFile");
	if (text && text[0] == '/')
		conf.log_file = text;
	conf.prev_result = json_object_get(json, "prevResult");
	conf.valid_attachments = json_object_get(json, "cni.dev/valid-attachments");
	if (!conf.valid_attachments) /* the name that the drafts of 1.1.0 had */
		conf.valid_attachments = json_object_get(json, "cni.dev/attachments");
	*ret_conf = conf;
	return 0;
}

/* ADD's reading, from here to the end. */

struct reading {
	struct json_reader top;
	struct netconf *conf;
	struct err *err;
	/* The first key that asks for what this version cannot do, by what it needs. */
	const char *vf_key, *rdma_key, *ib_key, *vfio_key;
};

static void ask(const char **slot, const char *key)
{
	if (!*slot)
		*slot = key;
}

/* A string that is one of @values (any case); returns its index, or -1 if absent or wrong. */
static int read_choice(struct json_reader *r, const char *key, const char *const values[],
		       int count, const char *allowed)
{
	const char *text;

	if (!json_str(r, key, &text))
		return -1;
	for (int i = 0; i < count; i++) {
		if (strcasecmp(text, values[i]) == 0)
			return i;
	}
	json_bad(r, key, "must be %s", allowed);
	return -1;
}

static void read_path(struct json_reader *r, const char *key, const char **ret_path)
{
	const char *path;

	if (!json_str(r, key, &path))
		return;
	if (path[0] != '/')
		json_bad(r, key, "must be an absolute path");
	else
		*ret_path = path;
}

static void read_socket(struct json_reader *r, const char **ret_path)
{
	const char *path;

	if (!json_str(r, "socket", &path))
		return;
	if (!socket_is_valid(path))
		json_bad(r, "socket", "must be an absolute path of at most %d bytes",
			 SOCKET_PATH_MAX);
	else
		*ret_path = path;
}

static void read_pool_name(struct json_reader *r, const char *key, const char **ret_name)
{
	const char *name;

	if (!json_str(r, key, &name))
		return;
	if (!pool_name_is_valid(name))
		json_bad(r, key, "must be a name of at most %d characters", PROTO_POOL_MAX);
	else
		*ret_name = name;
}

/* Which device. */

static void read_function(struct json_reader *r, const char *key, char device[PROTO_DEVICE_MAX])
{
	char found[PROTO_DEVICE_MAX] = "", pci[PCI_TEXT + 4];
	struct pci_addr addr;
	const char *text;

	if (!json_str(r, key, &text) || !text[0]) /* runtimes also send it empty */
		return;
	if (pci_parse(text, &addr) == 0)
		(void)snprintf(found, sizeof(found), "pci:%s", pci_format(&addr, pci));
	else if (id_is_valid(text) && strchr(text, '.') && strlen(text) <= AUX_NAME_MAX)
		(void)snprintf(found, sizeof(found), "aux:%s", text);
	else
		json_bad(r, key,
			 "must be a PCI address (0000:1a:00.1) or an auxiliary device "
			 "(mlx5_core.sf.4)");
	if (device[0] && found[0] && strcmp(device, found) != 0)
		json_bad(r, key, "contradicts another key, which says %s", strchr(device, ':') + 1);
	else if (found[0])
		(void)snprintf(device, PROTO_DEVICE_MAX, "%s", found);
}

static void read_device(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	char *device = reading->conf->device;
	const char *name;

	read_function(r, "deviceID", device);
	read_function(r, "pciBusID", device);
	if (json_str(r, "device", &name)) {
		if (!ifname_is_valid(name))
			json_bad(r, "device", "must be the name of a network device");
		else if (device[0])
			json_bad(r, "device", "cannot be given together with deviceID");
		else
			(void)snprintf(device, PROTO_DEVICE_MAX, "net:%s", name);
	}
	if (!device[0])
		json_missing(r, "deviceID\" or \"device");
}

/* Attributes of a VF: checked now, set by a later version. */

static void read_vlan(struct reading *reading)
{
	static const char *const protos[] = { "802.1q", "802.1ad" };
	struct json_reader *r = &reading->top;
	int64_t vlan = -1, qos = 0;
	int proto;

	if (json_int(r, "vlan", 0, VLAN_MAX, &vlan))
		ask(&reading->vf_key, "vlan");
	if (json_int(r, "vlanQoS", 0, QOS_MAX, &qos) && vlan < 0)
		json_bad(r, "vlanQoS", "needs \"vlan\"");
	else if (qos > 0 && vlan == 0)
		json_bad(r, "vlanQoS", "must be 0 with \"vlan\" 0");
	proto = read_choice(r, "vlanProto", protos, ARRAY_SIZE(protos),
			    "\"802.1q\" or \"802.1ad\"");
	if (proto >= 0 && vlan < 0)
		json_bad(r, "vlanProto", "needs \"vlan\"");
	else if (proto == 1 && vlan == 0)
		json_bad(r, "vlanProto", "needs a \"vlan\" other than 0");
}

static void read_rates(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	int64_t min = 0, max = 0; /* 0: no limit */

	if (json_int(r, "min_tx_rate", 0, RATE_MAX, &min))
		ask(&reading->vf_key, "min_tx_rate");
	if (json_int(r, "max_tx_rate", 0, RATE_MAX, &max))
		ask(&reading->vf_key, "max_tx_rate");
	if (max > 0 && min > max)
		json_bad(r, "min_tx_rate", "must not be above \"max_tx_rate\" (%lld)",
			 (long long)max);
}

static void read_vf(struct reading *reading)
{
	static const char *const switches[] = { "on", "off" };
	static const char *const states[] = { "auto", "enable", "disable" };
	struct json_reader *r = &reading->top;

	read_vlan(reading);
	read_rates(reading);
	if (read_choice(r, "spoofchk", switches, ARRAY_SIZE(switches), "\"on\" or \"off\"") >= 0)
		ask(&reading->vf_key, "spoofchk");
	if (read_choice(r, "trust", switches, ARRAY_SIZE(switches), "\"on\" or \"off\"") >= 0)
		ask(&reading->vf_key, "trust");
	if (read_choice(r, "link_state", states, ARRAY_SIZE(states),
			"\"auto\", \"enable\" or \"disable\"") >= 0)
		ask(&reading->vf_key, "link_state");
}

/* RDMA and InfiniBand: likewise. */

static void read_guid(struct reading *reading, struct json_reader *r, const char *key)
{
	const char *text;
	uint64_t guid;

	if (!json_str(r, key, &text))
		return;
	if (guid_parse(text, &guid) < 0)
		json_bad(r, key, "must be a GUID (02:00:00:00:00:00:00:01), not all zeros or ones");
	else
		ask(&reading->ib_key, key);
}

static void read_pkey(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	const char *text;
	unsigned long value;
	char *end;

	if (!json_str(r, "pkey", &text))
		return;
	value = strtoul(text, &end, 16);
	if (strncasecmp(text, "0x", 2) != 0 || *end || end - text > 6 || !(value & 0x7fff))
		json_bad(r, "pkey", "must be 0x0001..0xffff with a partition in its low 15 bits");
	else
		ask(&reading->ib_key, "pkey");
}

static void read_rdma(struct reading *reading)
{
	static const char *const wishes[] = { "auto", "none", "required" };
	struct json_reader *r = &reading->top;
	bool value = false;

	if (read_choice(r, "rdma", wishes, ARRAY_SIZE(wishes),
			"\"auto\", \"required\" or \"none\"") == 2)
		ask(&reading->rdma_key, "rdma");
	if (json_bool(r, "rdmaIsolation", &value) && value)
		ask(&reading->rdma_key, "rdmaIsolation");
	value = false;
	if (json_bool(r, "ibKubernetesEnabled", &value) && value)
		ask(&reading->ib_key, "ibKubernetesEnabled");
	value = false;
	if (json_bool(r, "vfioPciMode", &value) && value)
		ask(&reading->vfio_key, "vfioPciMode");
	read_guid(reading, r, "guid");
	read_pkey(reading);
}

/* Whatever is asked and cannot be done yet. Silence would be a lie. */
static void refuse_unbuilt(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	bool netdev = strncmp(reading->conf->device, "net:", 4) == 0;

	if (reading->vf_key && netdev)
		json_bad(r, reading->vf_key,
			 "needs a VF (deviceID), and \"device\" names a netdev");
	else if (reading->vf_key)
		json_bad(r, reading->vf_key, "this version does not set VF attributes yet");
	if (reading->rdma_key)
		json_bad(r, reading->rdma_key, "this version does not move RDMA devices yet");
	if (reading->ib_key)
		json_bad(r, reading->ib_key, "this version does not configure InfiniBand yet");
	if (reading->vfio_key)
		json_bad(r, reading->vfio_key, "this version does not serve vfio-pci yet");
}

/* How it is to look in the pod. */

static void read_mac(struct json_reader *r, struct mac *mac)
{
	const char *text;
	struct mac found;

	if (!json_str(r, "mac", &text) || !text[0]) /* runtimes also send it empty */
		return;
	if (mac_parse(text, &found) < 0 || !mac_is_usable(&found))
		json_bad(r, "mac", "must be an Ethernet unicast address");
	else if (!mac->len) /* whoever came before has precedence */
		*mac = found;
}

static void read_table(struct json_reader *r, struct netconf *conf)
{
	json_t *table = json_object_get(r->obj, "table");

	if (json_is_string(table)) {
		(void)json_any(r, "table", &table); /* now it is known */
		if (strcmp(json_string_value(table), "auto") != 0)
			json_bad(r, "table", "must be \"auto\" or an integer 1..4294967295");
		else if (conf->ipam != IPAM_OURS)
			json_bad(r, "table", "needs a rail, and only \"ipam\" spur-ipam has rails");
	} else if (!json_int(r, "table", 1, UINT32_MAX, &conf->routing.table)) {
		json_missing(r, "table");
	}
}

static void read_routing(struct reading *reading)
{
	struct json_reader *top = &reading->top, r;
	struct netconf *conf = reading->conf;
	json_t *obj;

	if (!json_obj(top, "routing", &obj))
		return;
	json_read(&r, obj, "routing", reading->err);
	conf->routing.asked = true;
	conf->routing.rules = true;
	read_table(&r, conf);
	(void)json_bool(&r, "rules", &conf->routing.rules);
	top->r = json_finish(&r, READ_STRICT);
}

static void read_ready(struct reading *reading)
{
	struct json_reader *top = &reading->top, r;
	json_t *obj;

	if (!json_obj(top, "ready", &obj))
		return;
	json_read(&r, obj, "ready", reading->err);
	if (json_int(&r, "timeout_ms", 0, READY_MAX_MS, &reading->conf->ready_ms))
		reading->conf->ready_required = reading->conf->ready_ms > 0;
	top->r = json_finish(&r, READ_STRICT);
}

/* Its addresses. */

static void read_ours(struct reading *reading, json_t *ipam)
{
	struct netconf *conf = reading->conf;
	struct json_reader r;
	const char *type;

	json_read(&r, ipam, "ipam", reading->err);
	(void)json_str(&r, "type", &type);
	read_pool_name(&r, "pool", &conf->pool);
	if (!conf->pool)
		json_missing(&r, "pool");
	read_pool_name(&r, "rail", &conf->rail);
	read_socket(&r, &conf->socket);
	reading->top.r = json_finish(&r, READ_STRICT);
}

static void read_ipam(struct reading *reading)
{
	struct json_reader *top = &reading->top, r;
	json_t *ipam;
	const char *type = "";

	if (!json_obj(top, "ipam", &ipam) || json_object_size(ipam) == 0)
		return;
	json_read(&r, ipam, "ipam", reading->err);
	if (!json_str(&r, "type", &type))
		json_missing(&r, "type");
	else if (!plugin_is_valid(type))
		json_bad(&r, "type", "must be the name of a plugin");
	else if (strcmp(type, "dhcp") == 0)
		json_bad(&r, "type", "needs the device in the pod before there are addresses");
	top->r = json_finish(&r, READ_LENIENT);
	if (top->r < 0)
		return;
	reading->conf->ipam_type = type;
	reading->conf->ipam = strcmp(type, "spur-ipam") == 0 ? IPAM_OURS : IPAM_FOREIGN;
	if (reading->conf->ipam == IPAM_OURS)
		read_ours(reading, ipam);
}

/* "rail" at top level says which rail the device is on; it has to be the addresses' own. */
static void read_rail(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	struct netconf *conf = reading->conf;
	const char *rail = NULL;

	read_pool_name(r, "rail", &rail);
	if (!rail)
		return;
	if (!conf->pool)
		json_bad(r, "rail", "needs \"ipam\" spur-ipam with a pool");
	else if (conf->rail && strcmp(conf->rail, rail) != 0)
		json_bad(r, "rail", "contradicts \"ipam.rail\", which says %s", conf->rail);
	conf->rail = rail;
}

static void read_ips(struct json_reader *r, struct netconf *conf)
{
	json_t *list, *item;
	size_t i;

	if (!json_arr(r, "ips", &list))
		return;
	if (json_array_size(list) > PROTO_IPS_MAX) {
		json_bad(r, "ips", "must have at most %d addresses", PROTO_IPS_MAX);
		return;
	}
	if (conf->ip_count > 0) /* whoever came before has precedence */
		return;
	json_array_foreach (list, i, item) {
		if (!json_is_string(item) ||
		    cidr_parse(json_string_value(item), &conf->ips[i]) < 0) {
			json_bad(r, "ips", "must be a list of addresses");
			return;
		}
	}
	conf->ip_count = json_array_size(list);
}

/* What the runtime and the user of the pod ask for; read before the file, because it wins. */

static int read_runtime(struct reading *reading, json_t *obj)
{
	struct netconf *conf = reading->conf;
	struct json_reader r;

	if (!json_is_object(obj))
		return 0;
	json_read(&r, obj, "runtimeConfig", reading->err);
	read_function(&r, "deviceID", conf->device);
	read_mac(&r, &conf->mac);
	read_ips(&r, conf);
	read_guid(reading, &r, "infinibandGUID");
	read_path(&r, "CNIDeviceInfoFile", &conf->devinfo_file);
	return json_finish(&r, READ_LENIENT);
}

static int read_cni_args(struct reading *reading, json_t *obj)
{
	struct json_reader r;

	if (!json_is_object(obj))
		return 0;
	json_read(&r, obj, "args.cni", reading->err);
	read_ips(&r, reading->conf);
	read_guid(reading, &r, "guid");
	return json_finish(&r, READ_LENIENT);
}

static void read_args(struct netconf *conf, const struct args *args)
{
	if (!conf->mac.len)
		conf->mac = args->mac;
	if (conf->ip_count == 0) {
		conf->ip_count = args->ip_count;
		memcpy(conf->ips, args->ips, sizeof(conf->ips));
	}
}

/* The top level. */

static void read_logging(struct json_reader *r, struct netconf *conf)
{
	const char *text;

	if (json_str(r, "logLevel", &text) && log_level_parse(text, &conf->log_level) < 0)
		json_bad(r, "logLevel", "must be panic, error, warning, info or debug");
	read_path(r, "logFile", &conf->log_file);
}

/* What belongs to the specification, to libcni or to a runtime, and is not ours to judge. */
static void pass_over(struct json_reader *r)
{
	static const char *const keys[] = { "cniVersion",   "name",         "type",
					    "dns",          "args",         "runtimeConfig",
					    "capabilities", "disableCheck", "disableGC" };
	const char *key;
	json_t *value;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		(void)json_any(r, keys[i], &value);
	json_object_foreach (r->obj, key, value) {
		if (strncmp(key, "cni.dev/", 8) == 0)
			(void)json_any(r, key, &value);
	}
}

static void read_ours_alone(struct reading *reading)
{
	struct json_reader *r = &reading->top;

	read_ipam(reading);
	if (reading->conf->ipam != IPAM_OURS)
		json_missing(r, "ipam.pool");
}

/* Only as far as we extend it: the rest is passed on as it is. */
static void read_prev_result(struct reading *reading)
{
	static const char *const lists[] = { "interfaces", "ips", "routes" };
	struct json_reader *r = &reading->top;
	json_t *prev = NULL, *item;
	struct cidr cidr;
	size_t i;

	if (!json_obj(r, "prevResult", &prev))
		return;
	reading->conf->prev_result = prev;
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		item = json_object_get(prev, lists[i]);
		if (item && !json_is_array(item))
			json_bad(r, "prevResult", "must be a CNI result");
	}
	json_array_foreach (json_object_get(prev, "ips"), i, item) {
		const char *text = text_of(item, "address");

		if (!text || cidr_parse(text, &cidr) < 0)
			json_bad(r, "prevResult", "must be a CNI result");
	}
}

static void read_main(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	struct netconf *conf = reading->conf;

	read_device(reading);
	read_mac(r, &conf->mac);
	(void)json_int(r, "mtu", MTU_MIN, MTU_MAX, &conf->mtu);
	(void)json_bool(r, "dad", &conf->dad);
	read_vf(reading);
	read_rdma(reading);
	read_ipam(reading);
	read_rail(reading);
	read_routing(reading);
	read_ready(reading);
	read_socket(r, &conf->socket);
	read_logging(r, conf);
	read_prev_result(reading);
	pass_over(r);
	if (conf->ip_count > 0 && conf->ipam == IPAM_NONE)
		json_bad(r, "ipam", "is needed, because addresses are asked for");
	if (json_finish(r, READ_STRICT) == 0)
		refuse_unbuilt(reading);
}

int netconf_read(json_t *json, const struct args *args, bool ipam_only, struct netconf *ret_conf,
		 struct err *err)
{
	struct netconf conf;
	struct reading reading = { .conf = &conf, .err = err };
	int r;

	netconf_init(json, &conf);
	r = skim_name(json, &conf, err);
	if (r < 0)
		return r;
	json_read(&reading.top, json, "", err);
	r = read_runtime(&reading, json_object_get(json, "runtimeConfig"));
	if (r == 0)
		r = read_cni_args(&reading, json_object_get(json_object_get(json, "args"), "cni"));
	if (r < 0)
		return r;
	read_args(&conf, args);
	if (ipam_only)
		read_ours_alone(&reading);
	else
		read_main(&reading);
	r = json_finish(&reading.top, READ_LENIENT);
	if (r == 0)
		*ret_conf = conf;
	return r;
}

/* In a chain behind the plugin that attached the netdev. */

static const char *const netdev_keys[] = { "device",
					   "rail",
					   "ipam",
					   "mac",
					   "mtu",
					   "dad",
					   "routing",
					   "vlan",
					   "vlanQoS",
					   "vlanProto",
					   "min_tx_rate",
					   "trust",
					   "spoofchk",
					   "max_tx_rate",
					   "link_state",
					   "guid",
					   "pkey",
					   "vfioPciMode",
					   "ibKubernetesEnabled" };

static bool says_something(json_t *value)
{
	return value && !json_is_false(value) &&
	       !(json_is_object(value) && json_object_size(value) == 0);
}

int netconf_rdma_only(struct netconf *conf, struct err *err)
{
	struct json_reader r;

	json_read(&r, conf->json, "", err);
	for (size_t i = 0; i < ARRAY_SIZE(netdev_keys); i++) {
		if (says_something(json_object_get(conf->json, netdev_keys[i])))
			json_bad(&r, netdev_keys[i],
				 "the chain's main plugin has made the interface: leave it out");
	}
	if (conf->rdma_wish == RDMA_WISH_NONE)
		json_bad(&r, "rdma",
			 "the chain's main plugin has made the interface: nothing is left to do");
	conf->rdma_only = true;
	conf->guid = 0; /* args.cni.guid was for the main plugin */
	return json_finish(&r, READ_LENIENT);
}
