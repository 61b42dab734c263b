/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/recorded.h"

#include <string.h>

#include <linux/rtnetlink.h>

#include "rt/addr.h"

#include "host/sysfs.h"

static const char *env_of(const struct attachment *record, const char *name)
{
	return json_string_value(json_object_get(record->env, name));
}

/* The record has no prevResult. But only there has somebody else moved the netdev before. */
static bool is_rdma_only(const struct attachment *record)
{
	const struct baseline *device = &record->device;

	return device->key[0] && !device->name[0] && !sysfs_driver_is_userspace(device->driver);
}

int recorded_read(const struct attachment *record, struct recorded *ret_recorded, struct err *err)
{
	struct recorded *recorded = ret_recorded;
	const bool ipam_only = strcmp(record->program, "spur-ipam") == 0;
	int r;

	*recorded = (struct recorded) {
		.record = record,
		.env = { .container_id = record->container_id,
			 .ifname = record->ifname,
			 .netns = env_of(record, "CNI_NETNS"),
			 .args = env_of(record, "CNI_ARGS"),
			 .path = env_of(record, "CNI_PATH") },
	};
	r = args_parse(recorded->env.args, &recorded->args, err);
	if (r == 0)
		r = netconf_read(record->netconf, &recorded->args, ipam_only, &recorded->conf, err);
	if (r == 0 && is_rdma_only(record))
		r = netconf_rdma_only(&recorded->conf, err);
	if (r < 0) /* another version of spur wrote it: what it holds must come back all the same */
		r = netconf_skim(record->netconf, &recorded->conf, err);
	return r;
}

void recorded_free(struct recorded *recorded)
{
	args_free(&recorded->args);
}

static int take_global(const struct addr_info *addr, void *arg)
{
	struct ip_config *net = arg;

	if (net->ip_count == PROTO_IPS_MAX)
		return 1;
	if (addr->scope == RT_SCOPE_UNIVERSE)
		net->ips[net->ip_count++].cidr = addr->cidr;
	return 0;
}

int recorded_addresses(struct site *site, int ifindex, struct ip_config *net, struct err *err)
{
	int r = addr_list(site->pod, ifindex, take_global, net, err);

	return r < 0 ? r : 0;
}

static int addresses_of_device(struct site *site, struct ip_config *net, struct err *err)
{
	struct link_info link;
	struct err absent;

	if (!site->pod || link_get(site->pod, site->record->ifname, &link, &absent) < 0)
		return 0;
	return recorded_addresses(site, link.ifindex, net, err);
}

int recorded_plan(const struct recorded *recorded, struct site *site, struct plan *ret_plan,
		  struct err *err)
{
	const struct attachment *record = recorded->record;
	struct ip_config net = record->facts.net.ip_count ? record->facts.net : record->net;
	int r = 0;

	if (recorded->conf.ipam == IPAM_FOREIGN && net.ip_count == 0)
		r = addresses_of_device(site, &net, err);
	if (r < 0)
		return r;
	return plan_make(&recorded->conf, record, &net, NULL, ret_plan, err);
}
