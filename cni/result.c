/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/result.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"

/* The kernel takes most of these, and the pod would speak with nobody, or for everybody. */
static int refuse_unusable(const struct address *address, struct err *err)
{
	const char *what = ip_unusable(&address->cidr.ip);
	char text[CIDR_TEXT];

	if (address->cidr.plen == 0)
		what = "default";
	if (what)
		return err_set(
			err, EINVAL, ERR_IO,
			"key \"ips\": \"%s\": is a%s %s address, which no device of a pod can "
			"have",
			cidr_format(&address->cidr, text), what[0] == 'u' ? "n" : "", what);
	what = address->gateway.family ? ip_unusable(&address->gateway) : NULL;
	return what ? err_set(err, EINVAL, ERR_IO,
			      "key \"ips\": \"%s\": its gateway is a%s %s address",
			      cidr_format(&address->cidr, text), what[0] == 'u' ? "n" : "", what)
		    : 0;
}

int result_read(json_t *json, const char *plugin, struct ip_config *ret_net, struct err *err)
{
	json_t *ips = json_object_get(json, "ips"), *routes = json_object_get(json, "routes");
	struct ip_config net = { 0 };
	json_t *item;
	size_t i;
	int r = 0;

	if (json_array_size(ips) == 0)
		return err_set(err, EINVAL, ERR_IO, "%s: gave no address", plugin);
	if (json_array_size(ips) > PROTO_IPS_MAX || json_array_size(routes) > PROTO_ROUTES_MAX)
		return err_set(err, EFBIG, ERR_IO, "%s: gave more than %d addresses or %d routes",
			       plugin, PROTO_IPS_MAX, PROTO_ROUTES_MAX);
	json_array_foreach (ips, i, item) {
		if (r == 0)
			r = address_decode(item, "ips", &net.ips[net.ip_count++], err);
		if (r == 0)
			r = refuse_unusable(&net.ips[i], err);
	}
	json_array_foreach (routes, i, item) {
		if (r == 0)
			r = route_decode(item, "routes", &net.routes[net.route_count++], err);
	}
	if (r < 0) {
		err_prefix(err, "answer of %s", plugin);
		return r;
	}
	*ret_net = net;
	return 0;
}

/* A build in progress. Any allocation that fails is remembered and told at the end. */
struct build {
	const struct request *request;
	const struct attachment *record;
	const struct facts *facts;
	json_t *result;
	bool failed;
};

static void append(struct build *build, const char *key, json_t *item)
{
	json_t *list = json_object_get(build->result, key);

	if (!list) {
		list = json_array();
		if (json_object_set_new(build->result, key, list) < 0)
			build->failed = true;
	}
	if (json_array_append_new(list, item) < 0)
		build->failed = true;
}

static void set(struct build *build, json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) < 0)
		build->failed = true;
}

/* A VF that user space drives has no netdev to be read: it is as its PF was told, or was before. */
static const struct mac *mac_of(const struct build *build)
{
	const struct mac *asked = &build->request->conf.mac;

	if (build->facts->mac.len)
		return &build->facts->mac;
	return asked->len ? asked : &build->record->device.vf.state.mac;
}

static int64_t mtu_of(const struct build *build)
{
	return build->facts->mtu ? build->facts->mtu : build->record->device.vf.pf_mtu;
}

static void add_interface(struct build *build)
{
	const struct request *request = build->request;
	const struct mac *mac = mac_of(build);
	const char *device = build->record->device.key;
	char text[MAC_TEXT];
	json_t *interface =
		json_pack("{s:s, s:s}", "name", request->env.ifname, "sandbox", request->env.netns);

	if (build->facts->mac.len || mac_is_usable(mac)) /* a PF shows zeros where none is set */
		set(build, interface, "mac", json_string(mac_format(mac, text)));
	if (request->conf.version >= CNI_1_1_0) {
		if (mtu_of(build))
			set(build, interface, "mtu", json_integer(mtu_of(build)));
		if (strncmp(device, "pci:", 4) == 0)
			set(build, interface, "pciID", json_string(device + 4));
	}
	append(build, "interfaces", interface);
}

static void add_ips(struct build *build)
{
	const struct ip_config *net = &build->facts->net;
	const json_t *interfaces = json_object_get(build->result, "interfaces");

	for (size_t i = 0; i < net->ip_count; i++) {
		const bool v6 = net->ips[i].cidr.ip.family == AF_INET6;
		json_t *ip = address_encode(&net->ips[i]);

		if (build->request->conf.version < CNI_1_0_0)
			set(build, ip, "version", json_string(v6 ? "6" : "4"));
		if (!build->request->ipam_only)
			set(build, ip, "interface",
			    json_integer((json_int_t)json_array_size(interfaces) - 1));
		append(build, "ips", ip);
	}
}

static void add_routes(struct build *build)
{
	static const char *const since_1_1_0[] = { "mtu", "advmss", "priority", "table", "scope" };
	const struct ip_config *net = &build->facts->net;

	for (size_t i = 0; i < net->route_count; i++) {
		json_t *route = route_encode(&net->routes[i]);

		for (size_t k = 0; k < ARRAY_SIZE(since_1_1_0); k++) {
			if (build->request->conf.version < CNI_1_1_0)
				(void)json_object_del(route, since_1_1_0[k]); /* absent: as well */
		}
		append(build, "routes", route);
	}
}

/* The chain's earlier result is passed on and extended; its dns stands. */
static void begin(struct build *build, json_t *dns)
{
	const struct netconf *conf = &build->request->conf;
	const bool chained = conf->prev_result && !build->request->ipam_only;

	build->result = chained ? json_deep_copy(conf->prev_result) : json_object();
	set(build, build->result, "cniVersion", json_string(cni_version_names[conf->version]));
	if (conf->rdma_only) /* it has all that there is to say */
		return;
	if (!dns)
		dns = conf->dns;
	if (!json_object_get(build->result, "dns"))
		set(build, build->result, "dns", dns ? json_incref(dns) : json_object());
}

int result_build(const struct request *request, const struct attachment *record,
		 const struct facts *facts, json_t *dns, json_t **ret_result, struct err *err)
{
	struct build build = { request, record, facts, NULL, false };

	begin(&build, dns);
	if (!request->ipam_only && !request->conf.rdma_only)
		add_interface(&build);
	if (!request->conf.rdma_only) {
		add_ips(&build);
		add_routes(&build);
	}
	if (build.failed) {
		json_decref(build.result);
		return err_nomem(err);
	}
	*ret_result = build.result;
	return 0;
}

json_t *result_interface(json_t *result, const char *ifname, const char *sandbox, size_t *ret_index)
{
	json_t *interfaces = json_object_get(result, "interfaces"), *interface;
	size_t i;

	json_array_foreach (interfaces, i, interface) {
		const char *name = json_string_value(json_object_get(interface, "name"));
		const char *where = json_string_value(json_object_get(interface, "sandbox"));

		if (name && where && strcmp(name, ifname) == 0 && strcmp(where, sandbox) == 0) {
			*ret_index = i;
			return interface;
		}
	}
	return NULL;
}

void result_addresses(json_t *result, const char *ifname, const char *sandbox,
		      struct ip_config *ret_net)
{
	struct ip_config *net = ret_net;
	size_t index, i;
	json_t *ip;

	*net = (struct ip_config) { 0 };
	if (!result_interface(result, ifname, sandbox, &index))
		return;
	json_array_foreach (json_object_get(result, "ips"), i, ip) {
		const char *text = json_string_value(json_object_get(ip, "address"));
		json_t *of = json_object_get(ip, "interface");

		if (text && json_is_integer(of) && (size_t)json_integer_value(of) == index &&
		    net->ip_count < PROTO_IPS_MAX &&
		    cidr_parse(text, &net->ips[net->ip_count].cidr) == 0)
			net->ip_count++;
	}
}

int result_print(json_t *json, struct err *err)
{
	CLEANUP_FREE char *line = json_line(json);
	size_t len;
	int r;

	if (!line)
		return err_nomem(err);
	len = strlen(line);
	line[len] = '\n'; /* in place of its NUL */
	r = fs_write_all(STDOUT_FILENO, line, len + 1);
	return r < 0 ? err_sys(err, -r, ERR_IO, "write the result") : 0;
}
