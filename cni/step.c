/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/step.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/rtnetlink.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cni/await.h"
#include "cni/device.h"
#include "cni/devinfo.h"
#include "cni/guid.h"
#include "cni/rdma.h"
#include "cni/vf.h"
#include "host/sysctl.h"
#include "rt/addr.h"
#include "rt/neigh.h"
#include "rt/route.h"
#include "rt/rule.h"

enum {
	DAD_MAX_MS = 10 * 1000, /* RFC 4862: one probe a second, after up to a second */
	METRIC_V6 = 1024,       /* IP6_RT_PRIO_USER */
	METRICS_MAX = 256,      /* of routes of one pod to one destination */
};

#define drift(err, ...) err_set(err, ESTALE, ERR_DRIFT, __VA_ARGS__)

/* Through the PF. */

static int guid_apply(const struct step *step, struct site *site, struct err *err)
{
	struct pci_addr addr;
	int sysfs, r;

	if (pci_parse(site->record->device.key + strlen("pci:"), &addr) < 0)
		return err_set(err, EINVAL, ERR_DEVICE, "it is no PCI function");
	r = site_sysfs(site, false, &sysfs, err);
	return r < 0 ? r : guid_bind(site->host, sysfs, &addr, step->guid, site->deadline_ms, err);
}

static void guid_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	char guid[GUID_TEXT];

	(void)snprintf(buf, size, "bind GUID %s to %s", guid_format(step->guid, guid),
		       site->record->device.key);
}

static int vf_step_apply(const struct step *step, struct site *site, struct err *err)
{
	return vf_apply(site, step->vf.attr, &step->vf.state, err);
}

static int vf_step_check(const struct step *step, struct site *site, struct err *err)
{
	return vf_check(site, step->vf.attr, &step->vf.state, err);
}

static void vf_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	const struct vf_baseline *vf = &site->record->device.vf;

	(void)snprintf(buf, size, "set %s of VF %d of %s", vf_attr_name(step->vf.attr), vf->index,
		       vf->pf_netdev);
}

static int vf_mac_apply(const struct step *step, struct site *site, struct err *err)
{
	return vf_apply_mac(site, &step->mac, err);
}

static void vf_mac_describe(const struct step *step, const struct site *site, char *buf,
			    size_t size)
{
	const struct vf_baseline *vf = &site->record->device.vf;
	char mac[MAC_TEXT];

	(void)snprintf(buf, size, "set address %s of VF %d of %s", mac_format(&step->mac, mac),
		       vf->index, vf->pf_netdev);
}

/* In the host, before the move. The device is where the daemon saw it a moment ago. */

static int down_apply(const struct step *step, struct site *site, struct err *err)
{
	const struct link_change change = { .ifindex = site->record->device.ifindex, .up = -1 };

	(void)step;
	return link_set(site->host, &change, err);
}

static void down_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	(void)step;
	(void)snprintf(buf, size, "take down %s", site->record->device.name);
}

static int altname_apply(const struct step *step, struct site *site, struct err *err)
{
	return link_altname_del(site->host, site->record->device.ifindex, step->altname, err);
}

static void altname_describe(const struct step *step, const struct site *site, char *buf,
			     size_t size)
{
	(void)snprintf(buf, size, "delete altname %s of %s", step->altname,
		       site->record->device.name);
}

static int mac_apply(const struct step *step, struct site *site, struct err *err)
{
	const struct link_change change = { .ifindex = site->record->device.ifindex,
					    .mac = &step->mac };

	return link_set(site->host, &change, err);
}

static void mac_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	char mac[MAC_TEXT];

	(void)snprintf(buf, size, "set address %s of %s", mac_format(&step->mac, mac),
		       site->record->device.name);
}

/* Whatever was done to the device: it is given back as it was, wherever it is. */
static int device_revert(const struct step *step, struct site *site, struct err *err)
{
	(void)step;
	return device_return(site, err);
}

/* The move. */

static int netdev_apply(const struct step *step, struct site *site, struct err *err)
{
	(void)step;
	return device_await(site, err);
}

static void netdev_describe(const struct step *step, const struct site *site, char *buf,
			    size_t size)
{
	(void)step;
	(void)snprintf(buf, size, "find the network device of %s again", site->record->device.key);
}

static int move_apply(const struct step *step, struct site *site, struct err *err)
{
	struct link_change change = {
		.ifindex = site->link.ifindex ? site->link.ifindex : site->record->device.ifindex,
		.netns_fd = site->in_pod ? 0 : site->pod_fd,
		.name = step->move.name,
		.mtu = step->move.mtu,
		.arp_notify = LINK_CONF(1),
	};
	int r;

	if (step->move.strict_arp) {
		change.arp_ignore = LINK_CONF(1);
		change.arp_announce = LINK_CONF(2);
	}
	if (step->move.source_routing)
		change.rp_filter = LINK_CONF(2);
	r = link_set(site->in_pod ? site->pod : site->host, &change, err);
	if (r < 0)
		return r;
	site->in_pod = true;
	return link_get(site->pod, step->move.name, &site->link, err);
}

static int move_check(const struct step *step, struct site *site, struct err *err)
{
	const struct attachment *record = site->record;

	(void)step;
	if (device_is(&site->link, record, &site->conf->mac, true))
		return 0;
	return drift(err, "%s: is another device than %s of the record", site->link.name,
		     record->device.name);
}

static void move_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	(void)snprintf(buf, size, "move %s into the pod as %s", site->record->device.name,
		       step->move.name);
}

static int rdma_apply(const struct step *step, struct site *site, struct err *err)
{
	return rdma_take(site, step->rdma_name, err);
}

static int rdma_check(const struct step *step, struct site *site, struct err *err)
{
	const char *was = site->record->facts.rdma.name;
	struct rdma_device device = { 0 };
	int r;

	(void)step;
	if (!site->record->facts.rdma.moved)
		return 0;
	r = rdma_look(site, true, &device, err);
	if (r < 0 || (r > 0 && strcmp(device.name, was) == 0))
		return r < 0 ? r : 0;
	return drift(err, "RDMA device %s: is not in the pod", was);
}

static void rdma_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	(void)snprintf(buf, size, "move RDMA device %s into the pod%s%s",
		       site->record->device.rdma.name, step->rdma_name ? " as " : "",
		       step->rdma_name ? step->rdma_name : "");
}

/* In the pod. */

static int conf6_apply(const struct step *step, struct site *site, struct err *err)
{
	int r = sysctl_write_if("ipv6", site->link.name, step->conf6.name, step->conf6.value, err);

	/* A kernel without IPv6 says so itself, if there are addresses. */
	return r == -ENOENT ? 0 : r;
}

static void conf6_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	(void)snprintf(buf, size, "set ipv6 %s of %s to %s", step->conf6.name, site->record->ifname,
		       step->conf6.value);
}

static int address_apply(const struct step *step, struct site *site, struct err *err)
{
	return addr_add(site->pod, site->link.ifindex, &step->address.cidr, step->address.nodad,
			err);
}

static int address_check(const struct step *step, struct site *site, struct err *err)
{
	const struct cidr *cidr = &step->address.cidr;
	char text[CIDR_TEXT];
	struct addr_info found;
	int r = addr_find(site->pod, site->link.ifindex, cidr, &found, err);

	if (r < 0)
		return r;
	if (r == 0)
		return drift(err, "%s: address %s is missing", site->link.name,
			     cidr_format(cidr, text));
	if (found.dadfailed)
		return drift(err, "%s: another node has address %s too", site->link.name,
			     cidr_format(cidr, text));
	return 0;
}

static void address_describe(const struct step *step, const struct site *site, char *buf,
			     size_t size)
{
	char text[CIDR_TEXT];

	(void)snprintf(buf, size, "add %s to %s", cidr_format(&step->address.cidr, text),
		       site->record->ifname);
}

static int up_apply(const struct step *step, struct site *site, struct err *err)
{
	const struct link_change change = { .ifindex = site->link.ifindex, .up = 1 };

	(void)step;
	return link_set(site->pod, &change, err);
}

static int up_check(const struct step *step, struct site *site, struct err *err)
{
	(void)step;
	if (site->link.flags & IFF_UP)
		return 0;
	return drift(err, "%s: is down", site->link.name);
}

static void up_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	(void)step;
	(void)snprintf(buf, size, "bring up %s", site->record->ifname);
}

/* What the pod has added meanwhile is its own affair. */
struct announcement {
	struct ip ips[PROTO_IPS_MAX];
	size_t count;
};

static int take_announced(const struct addr_info *addr, void *arg)
{
	struct announcement *announcement = arg;

	if (addr->scope == RT_SCOPE_UNIVERSE)
		announcement->ips[announcement->count++] = addr->cidr.ip;
	return announcement->count == ARRAY_SIZE(announcement->ips);
}

/*
 * The kernel told the neighbours when the device came up, and there was nobody to hear it. They
 * would find out by themselves, later: no reason to fail.
 */
static int announce_addresses(struct site *site, struct err *err)
{
	struct announcement announcement = { .count = 0 };
	struct err ignored;
	int r = addr_list(site->pod, site->link.ifindex, take_announced, &announcement, err);

	for (size_t i = 0; r >= 0 && i < announcement.count; i++)
		(void)neigh_announce(site->pod, site->link.ifindex, &site->link.mac,
				     &announcement.ips[i], &ignored);
	return r < 0 ? r : 0;
}

/* A wait for the site's device. */
struct waiting {
	struct site *site;
	int looks;
};

static int64_t wait_until(const struct site *site, int64_t wait_ms)
{
	int64_t deadline_ms = clock_boot_ms() + wait_ms;

	return deadline_ms < site->deadline_ms ? deadline_ms : site->deadline_ms;
}

static int look_for_carrier(void *arg, struct err *err)
{
	struct waiting *waiting = arg;
	struct site *site = waiting->site;
	int r = link_get_index(site->pod, site->link.ifindex, &site->link, err);

	waiting->looks++;
	return r < 0 ? r : site->link.carrier;
}

static int carrier_apply(const struct step *step, struct site *site, struct err *err)
{
	struct waiting waiting = { .site = site };
	const struct await await = {
		.event = AWAIT_LINK,
		.ifindex = site->link.ifindex,
		.deadline_ms = wait_until(site, step->carrier.wait_ms),
		.look = look_for_carrier,
		.arg = &waiting,
	};
	int r = await_look(&await, err);

	if (r > 0)
		return waiting.looks > 1 ? announce_addresses(site, err) : 0;
	if (r < 0 || !step->carrier.required)
		return r;
	return err_set(err, ETIMEDOUT, ERR_AGAIN, "no carrier within %lld ms",
		       (long long)step->carrier.wait_ms);
}

static void carrier_describe(const struct step *step, const struct site *site, char *buf,
			     size_t size)
{
	(void)step;
	(void)snprintf(buf, size, "wait for the carrier of %s", site->record->ifname);
}

static struct route_spec route_spec(const struct route *route, const struct site *site)
{
	return (struct route_spec) {
		.dst = route->dst,
		.gw = route->gw,
		.ifindex = site->link.ifindex,
		.table = route->table,
		.priority = route->priority,
		.mtu = route->mtu,
		.advmss = route->advmss,
		.scope = route->scope,
	};
}

const char *step_route_text(const struct route *route, char buf[STEP_TEXT])
{
	char dst[CIDR_TEXT], gw[IP_TEXT], table[24] = "";

	if (route->table)
		(void)snprintf(table, sizeof(table), " table %u", route->table);
	(void)snprintf(buf, STEP_TEXT, "%s%s%s%s", cidr_format(&route->dst, dst),
		       route->gw.family ? " via " : "",
		       route->gw.family ? ip_format(&route->gw, gw) : "", table);
	return buf;
}

static bool is_in_main(const struct route_spec *spec)
{
	return !spec->table || spec->table == RT_TABLE_MAIN;
}

/* Without one the kernel gives an IPv4 route 0, and an IPv6 route 1024. */
static uint32_t next_metric(const struct route_spec *spec)
{
	uint32_t metric = spec->priority;

	if (!metric && spec->dst.ip.family == AF_INET6)
		metric = METRIC_V6;
	return metric + 1;
}

static int route_apply(const struct step *step, struct site *site, struct err *err)
{
	struct route_spec spec = route_spec(&step->route, site);
	int r = route_add(site->pod, &spec, err);

	/* Another network of the pod leads there too. The kernel alone knows what is free, also
	 * when two ADDs meet: a number is not asked about, but taken. */
	for (int i = 0; r == -EEXIST && is_in_main(&spec) && i < METRICS_MAX; i++) {
		spec.priority = next_metric(&spec);
		r = route_add(site->pod, &spec, err);
	}
	if (r == 0 && step->given >= 0)
		site->priorities[step->given] = spec.priority;
	return r;
}

int step_route_exists(const struct route *route, const struct site *site, bool anywhere,
		      bool *ret_exists, struct err *err)
{
	struct route_spec spec = route_spec(route, site);

	spec.any_table = anywhere;
	return route_exists(site->pod, &spec, ret_exists, err);
}

static int route_check(const struct step *step, struct site *site, struct err *err)
{
	char text[STEP_TEXT];
	bool exists;
	int r = step_route_exists(&step->route, site, false, &exists, err);

	if (r < 0 || exists)
		return r;
	return drift(err, "%s: route %s is missing", site->link.name,
		     step_route_text(&step->route, text));
}

static void route_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	char text[STEP_TEXT];

	(void)snprintf(buf, size, "add route %s dev %s", step_route_text(&step->route, text),
		       site->record->ifname);
}

static struct rule_spec rule_spec(const struct step *step)
{
	return (struct rule_spec) { .from = step->rule.from,
				    .table = step->rule.table,
				    .priority = RULE_PRIORITY };
}

static int rule_apply(const struct step *step, struct site *site, struct err *err)
{
	const struct rule_spec spec = rule_spec(step);

	return rule_add(site->pod, &spec, err);
}

/* Rules outlive the device: the only thing that a move back leaves in the pod. */
static int rule_revert(const struct step *step, struct site *site, struct err *err)
{
	const struct rule_spec spec = rule_spec(step);

	return site->pod ? rule_del(site->pod, &spec, err) : 0;
}

static int rule_check(const struct step *step, struct site *site, struct err *err)
{
	const struct rule_spec want = rule_spec(step);
	char from[IP_TEXT];
	int r = rule_find(site->pod, &want, err);

	if (r != 0)
		return r < 0 ? r : 0;
	return drift(err, "rule from %s lookup %u: is missing", ip_format(&want.from, from),
		     want.table);
}

static void rule_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	char from[IP_TEXT];

	(void)site;
	(void)snprintf(buf, size, "add rule from %s lookup %u", ip_format(&step->rule.from, from),
		       step->rule.table);
}

struct dad {
	struct cidr failed; /* no family: none has */
	bool tentative;
};

static int judge_dad(const struct addr_info *addr, void *arg)
{
	struct dad *dad = arg;

	if (addr->dadfailed)
		dad->failed = addr->cidr;
	dad->tentative = dad->tentative || addr->tentative;
	return addr->dadfailed;
}

static int look_for_tentative(void *arg, struct err *err)
{
	const struct waiting *waiting = arg;
	const struct site *site = waiting->site;
	struct dad dad = { .tentative = false };
	char text[CIDR_TEXT];
	int r = addr_list(site->pod, site->link.ifindex, judge_dad, &dad, err);

	if (r < 0)
		return r;
	if (dad.failed.ip.family)
		return err_set(err, EADDRINUSE, ERR_KERNEL,
			       "address %s: another node answers for it",
			       cidr_format(&dad.failed, text));
	return !dad.tentative;
}

static int dad_apply(const struct step *step, struct site *site, struct err *err)
{
	struct waiting waiting = { .site = site };
	const struct await await = {
		.event = AWAIT_ADDRESS,
		.ifindex = site->link.ifindex,
		.deadline_ms = wait_until(site, DAD_MAX_MS),
		.look = look_for_tentative,
		.arg = &waiting,
	};
	int r = await_look(&await, err);

	(void)step;
	if (r != 0)
		return r < 0 ? r : 0;
	return err_set(err, ETIMEDOUT, ERR_AGAIN, "duplicate address detection: not over in time");
}

static void dad_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	(void)step;
	(void)snprintf(buf, size, "wait for duplicate address detection on %s",
		       site->record->ifname);
}

/* By default a device that is not ready is no reason to fail; the record then has no GID index. */
static int ready_apply(const struct step *step, struct site *site, struct err *err)
{
	int r = rdma_await_ready(site, &step->ready.ip, step->ready.wait_ms, err);

	if (r == 0 || step->ready.required)
		return r;
	log_warn("RDMA device %s: %s", site->rdma.name, err->msg);
	return 0;
}

static void ready_describe(const struct step *step, const struct site *site, char *buf, size_t size)
{
	(void)step;
	(void)snprintf(buf, size, "wait for RDMA device %s", site->record->device.rdma.name);
}

static int devinfo_apply(const struct step *step, struct site *site, struct err *err)
{
	return devinfo_write(step->path, site->record, site->rdma.name, err);
}

static int devinfo_revert(const struct step *step, struct site *site, struct err *err)
{
	(void)err;
	devinfo_remove(step->path, site->record);
	return 0;
}

static void devinfo_describe(const struct step *step, const struct site *site, char *buf,
			     size_t size)
{
	(void)site;
	(void)snprintf(buf, size, "write %.100s", step->path);
}

static const struct step_ops table[STEP_KINDS] = {
	[STEP_GUID] = { guid_apply, device_revert, NULL, guid_describe },
	[STEP_VF] = { vf_step_apply, device_revert, vf_step_check, vf_describe },
	[STEP_DOWN] = { down_apply, device_revert, NULL, down_describe },
	[STEP_ALTNAME] = { altname_apply, device_revert, NULL, altname_describe },
	[STEP_MAC] = { mac_apply, device_revert, NULL, mac_describe },
	[STEP_VF_MAC] = { vf_mac_apply, device_revert, NULL, vf_mac_describe },
	[STEP_NETDEV] = { netdev_apply, device_revert, NULL, netdev_describe },
	[STEP_MOVE] = { move_apply, device_revert, move_check, move_describe },
	[STEP_RDMA] = { rdma_apply, device_revert, rdma_check, rdma_describe },
	[STEP_CONF6] = { conf6_apply, NULL, NULL, conf6_describe },
	[STEP_ADDRESS] = { address_apply, NULL, address_check, address_describe },
	[STEP_UP] = { up_apply, NULL, up_check, up_describe },
	[STEP_CARRIER] = { carrier_apply, NULL, NULL, carrier_describe },
	[STEP_ROUTE] = { route_apply, NULL, route_check, route_describe },
	[STEP_RULE] = { rule_apply, rule_revert, rule_check, rule_describe },
	[STEP_DAD] = { dad_apply, NULL, NULL, dad_describe },
	[STEP_READY] = { ready_apply, NULL, NULL, ready_describe },
	[STEP_DEVINFO] = { devinfo_apply, devinfo_revert, NULL, devinfo_describe },
};

const struct step_ops *step_ops(enum step_kind kind)
{
	return &table[kind];
}
