/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/netconf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/pkey.h"
#include "cni/devinfo.h"
#include "cni/reading.h"

enum {
	MTU_MIN = 68, /* RFC 791, what IPv4 needs; ETH_MIN_MTU */
	MTU_MAX = 65535,
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
		return err_set(err, EINVAL, ERR_VALUE, "key \"name\": %s",
			       json_object_get(json, "name") ? "must be a string" : "is required");
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

/* Returns whether it names one. */
static bool read_function(struct json_reader *r, const char *key, char device[PROTO_DEVICE_MAX])
{
	char found[PROTO_DEVICE_MAX] = "", pci[PCI_TEXT + 4];
	struct pci_addr addr;
	const char *text;

	if (!json_str(r, key, &text) || !text[0]) /* runtimes also send it empty */
		return false;
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
	return found[0];
}

static void read_device(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	char *device = reading->conf->device;
	const char *name;
	bool by_id;

	by_id = read_function(r, "deviceID", device);
	if (read_function(r, "pciBusID", device) && by_id) /* Multus writes both */
		reading->conf->from_plugin = true;
	if (json_str(r, "device", &name)) {
		if (!ifname_is_valid(name))
			json_bad(r, "device", "must be the name of a network device");
		else if (device[0]) /* Multus adds the ID; the daemon sees if both are one */
			reading->conf->netdev = name;
		else
			(void)snprintf(device, PROTO_DEVICE_MAX, "net:%s", name);
	}
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
	json_leave(top, &r, READ_STRICT);
}

static void read_arp(struct reading *reading)
{
	static const char *const values[] = { "strict", "kernel" };
	struct netconf *conf = reading->conf;
	struct json_reader *r = &reading->top;
	int value = read_choice(r, "arp", values, ARRAY_SIZE(values), "\"strict\" or \"kernel\"");

	conf->arp_asked = value >= 0;
	conf->arp_kernel = value == 1;
	if (conf->arp_asked && conf->ipam == IPAM_NONE)
		json_bad(r, "arp",
			 "needs \"ipam\": without an address there is nothing to answer for");
	else if (conf->arp_kernel && conf->routing.asked)
		json_bad(r, "arp", "contradicts \"routing\", which is strict");
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
	json_leave(top, &r, READ_STRICT);
}

/* Its addresses. */

static bool add_claim(struct netconf *conf, const char *name)
{
	if (!name || !pool_name_is_valid(name) || conf->claim_count == PROTO_RAILS_MAX)
		return false;
	for (size_t i = 0; i < conf->claim_count; i++) {
		if (strcmp(conf->claim[i], name) == 0)
			return false;
	}
	conf->claim[conf->claim_count++] = name;
	return true;
}

/* "all", or rails by name. Whoever came before has precedence. */
static void read_claim(struct json_reader *r, struct netconf *conf)
{
	bool decided = conf->claim_all || conf->claim_count;
	struct netconf asked = { 0 };
	json_t *value, *name;
	bool good;
	size_t i;

	if (!json_any(r, "claim", &value))
		return;
	asked.claim_all = json_is_string(value) && strcmp(json_string_value(value), "all") == 0;
	good = asked.claim_all || json_array_size(value) > 0;
	json_array_foreach (value, i, name)
		good = good && add_claim(&asked, json_string_value(name));
	if (!good) {
		json_bad(r, "claim", "must be \"all\" or 1..%d names of rails, each once",
			 PROTO_RAILS_MAX);
	} else if (!decided) {
		conf->claim_all = asked.claim_all;
		conf->claim_count = asked.claim_count;
		memcpy(conf->claim, asked.claim, sizeof(conf->claim));
	}
}

/* What only our pools can do. */
static void check_pool_args(struct reading *reading)
{
	const struct netconf *conf = reading->conf;
	struct json_reader *r = &reading->top;

	if (conf->ipam == IPAM_OURS && conf->has_index && conf->ip_count > 0)
		json_bad(r, "args.cni.allocateIPWithIndex", "excludes addresses asked for by name");
	if (conf->ipam == IPAM_OURS)
		return;
	if (conf->claim_all || conf->claim_count)
		json_bad(r, "args.cni.claim", "needs \"ipam\" spur-ipam");
	if (conf->sticky)
		json_bad(r, "args.cni.sticky", "needs \"ipam\" spur-ipam");
}

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
	read_claim(&r, conf);
	read_socket(&r, &conf->socket);
	json_leave(&reading->top, &r, READ_STRICT);
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
	json_leave(top, &r, READ_LENIENT);
	if (top->r < 0)
		return;
	reading->conf->ipam_type = type;
	reading->conf->ipam = strcmp(type, "spur-ipam") == 0 ? IPAM_OURS : IPAM_FOREIGN;
	if (reading->conf->ipam == IPAM_OURS)
		read_ours(reading, ipam);
}

/*
 * "rail" at top level says which rail the device is on; it has to be the addresses' own. Where no
 * device is named any VF of that rail will do.
 */
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
	conf->choose_device = !conf->device[0];
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

static void read_devinfo(struct json_reader *r, struct netconf *conf)
{
	if (json_str(r, "CNIDeviceInfoFile", &conf->devinfo_file) &&
	    !devinfo_path_is_valid(conf->devinfo_file))
		json_bad(r, "CNIDeviceInfoFile",
			 "must be a file below /run/k8s.cni.cncf.io/devinfo or "
			 "/var/run/k8s.cni.cncf.io/devinfo, without \"..\"");
}

static int read_runtime(struct reading *reading, json_t *obj)
{
	struct netconf *conf = reading->conf;
	struct json_reader r;

	if (!json_is_object(obj))
		return 0;
	json_read(&r, obj, "runtimeConfig", reading->err);
	conf->from_plugin = read_function(&r, "deviceID", conf->device);
	read_mac(&r, &conf->mac);
	read_ips(&r, conf);
	read_guid(reading, &r, "infinibandGUID", "runtimeConfig.infinibandGUID");
	read_devinfo(&r, conf);
	return json_finish(&r, READ_LENIENT);
}

static void read_sticky(struct json_reader *r, struct netconf *conf)
{
	if (json_str(r, "sticky", &conf->sticky) && !sticky_is_valid(conf->sticky))
		json_bad(r, "sticky", "must be 1..%d letters, digits, '/', '.', '_', '-', ':'",
			 PROTO_STICKY_MAX);
}

/* As nv-ipam has it. */
static void read_index(struct json_reader *r, struct netconf *conf)
{
	int64_t index = 0;

	conf->has_index = json_int(r, "allocateIPWithIndex", 0, UINT32_MAX, &index);
	conf->index = (uint32_t)index;
	conf->gateway = json_is_true(json_object_get(r->obj, "allocateDefaultGateway"));
}

static int read_cni_args(struct reading *reading, json_t *obj)
{
	struct json_reader r;
	const char *app;

	if (!json_is_object(obj))
		return 0;
	json_read(&r, obj, "args.cni", reading->err);
	read_ips(&r, reading->conf);
	read_guid(reading, &r, "guid", "args.cni.guid");
	read_claim(&r, reading->conf);
	read_sticky(&r, reading->conf);
	read_index(&r, reading->conf);
	app = text_of(obj, "mellanox.infiniband.app");
	reading->ib_is_prepared = app && strcmp(app, "configured") == 0;
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

/* Last, so that a misspelt key is told rather than the one that it was meant to be. */
static void check_required(struct reading *reading)
{
	struct json_reader *r = &reading->top;

	if (!reading->conf->network)
		json_missing(r, "name");
	if (!reading->conf->device[0] && !reading->conf->choose_device)
		json_missing(r, "deviceID\", \"device\" or \"rail");
}

static void read_ours_alone(struct reading *reading)
{
	struct json_reader *r = &reading->top;

	read_ipam(reading);
	if (!reading->conf->network)
		json_missing(r, "name");
	if (reading->conf->ipam != IPAM_OURS)
		json_missing(r, "ipam.pool");
	check_pool_args(reading);
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
	read_arp(reading);
	read_ready(reading);
	read_socket(r, &conf->socket);
	read_logging(r, conf);
	read_prev_result(reading);
	pass_over(r);
	check_pool_args(reading);
	if (conf->ip_count > 0 && conf->ipam == IPAM_NONE)
		json_bad(r, "ipam", "is needed, because addresses are asked for");
	check_required(reading);
	if (json_finish(r, READ_STRICT) == 0)
		check_device(reading);
}

int netconf_read(json_t *json, const struct args *args, bool ipam_only, struct netconf *ret_conf,
		 struct err *err)
{
	struct netconf conf;
	struct reading reading = { .conf = &conf, .err = err };
	int r;

	netconf_init(json, &conf);
	if (json_object_get(json, "name")) { /* absent: told last */
		r = skim_name(json, &conf, err);
		if (r < 0)
			return r;
	}
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

/* nv-ipam lets a pod choose its pool; here the network has it. */
static void refuse_pools(struct json_reader *r, const struct netconf *conf)
{
	static const char *const types[] = { "ippool", "cidrpool" };
	json_t *names = NULL;
	const char *name;

	if (json_arr(r, "poolNames", &names)) {
		name = json_string_value(json_array_get(names, 0));
		if (json_array_size(names) != 1 || !name || !conf->pool ||
		    strcmp(name, conf->pool) != 0)
			json_bad(r, "poolNames",
				 "must name the one pool of the network, \"ipam.pool\" \"%s\"",
				 conf->pool ? conf->pool : "");
	}
	/* A pool of ours is either, so there is nothing to choose. */
	(void)read_choice(r, "poolType", types, ARRAY_SIZE(types), "\"ippool\" or \"cidrpool\"");
}

static void refuse_gateway(struct json_reader *r, const struct netconf *conf)
{
	const char *with = conf->ip_count                         ? "addresses asked for by name"
			   : conf->has_index                      ? "\"allocateIPWithIndex\""
			   : conf->claim_all || conf->claim_count ? "\"claim\""
								  : NULL;

	(void)json_bool(r, "allocateDefaultGateway", &(bool) { false });
	if (conf->gateway && conf->ipam == IPAM_NONE)
		json_bad(r, "allocateDefaultGateway", "needs \"ipam\" spur-ipam");
	else if (conf->gateway && with)
		json_bad(r, "allocateDefaultGateway", "excludes %s", with);
}

static int refuse_args(const struct netconf *conf, struct err *err)
{
	json_t *args = json_object_get(json_object_get(conf->json, "args"), "cni");
	struct json_reader r;

	if (!json_is_object(args) || conf->ipam == IPAM_FOREIGN)
		return 0;
	json_read(&r, args, "args.cni", err);
	refuse_pools(&r, conf);
	refuse_gateway(&r, conf);
	return json_finish(&r, READ_LENIENT);
}

int netconf_refuse(const struct netconf *conf, struct err *err)
{
	struct json_reader r;

	json_read(&r, conf->json, "", err);
	if (pkey_is_default(conf->pkey))
		json_bad(&r, "pkey",
			 "is the default partition, which every port is in: name another, or leave "
			 "it out");
	return json_finish(&r, READ_LENIENT) < 0 ? r.r : refuse_args(conf, err);
}
