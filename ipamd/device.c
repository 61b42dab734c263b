/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/device.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/sysfs.h"
#include "rt/addr.h"
#include "rt/link.h"

static int bad_key(const char *key, struct err *err)
{
	return err_set(err, EINVAL, ERR_VALUE,
		       "key \"device\": \"%s\": must be net:NAME, pci:ADDRESS or aux:NAME", key);
}

/* The netdev of a function or auxiliary device, "" if it has none here. */
static int netdev_of(int sysfs_fd, const char *key, char ret_name[IFNAME_MAX + 1], struct err *err)
{
	struct pci_function function;
	struct aux_device aux;
	struct pci_addr addr;
	int r;

	if (strncmp(key, "aux:", 4) == 0) {
		r = sysfs_aux_device(sysfs_fd, key + 4, &aux, err);
		if (r == 0)
			memcpy(ret_name, aux.netdev, sizeof(aux.netdev));
		return r;
	}
	if (strncmp(key, "pci:", 4) != 0 || pci_parse(key + 4, &addr) < 0)
		return bad_key(key, err);
	r = sysfs_pci_function(sysfs_fd, &addr, &function, err);
	if (r == 0)
		memcpy(ret_name, function.netdev, sizeof(function.netdev));
	return r;
}

static int find_link(struct wire *rt, int sysfs_fd, const char *key, struct link_info *ret_link,
		     struct err *err)
{
	char name[IFNAME_MAX + 1] = "";
	int r;

	if (strncmp(key, "net:", 4) == 0)
		return link_get(rt, key + 4, ret_link, err);
	r = netdev_of(sysfs_fd, key, name, err);
	if (r < 0)
		return r;
	if (!name[0])
		return err_set(err, ENODEV, ERR_DEVICE, "reserve %s: it has no network device here",
			       key);
	return link_get(rt, name, ret_link, err);
}

static int refuse_link(struct wire *rt, const char *key, const struct link_info *link,
		       struct err *err)
{
	struct addr_list list;
	char text[CIDR_TEXT];
	int r;

	if (link->flags & IFF_LOOPBACK)
		return err_set(err, EINVAL, ERR_DEVICE, "reserve %s: it is the loopback device",
			       key);
	if (link->master)
		return err_set(err, EBUSY, ERR_DEVICE,
			       "reserve %s: it has a master (ifindex %d), which a move would lose",
			       key, link->master);
	r = addr_dump(rt, link->ifindex, &list, err);
	for (int i = 0; r == 0 && i < list.count; i++) {
		if (list.addrs[i].scope == RT_SCOPE_UNIVERSE)
			r = err_set(err, EBUSY, ERR_DEVICE,
				    "reserve %s: it has the address %s, which a move would lose",
				    key, cidr_format(&list.addrs[i].cidr, text));
	}
	return r;
}

static int baseline_of(const char *key, const struct link_info *link, struct baseline *ret_device,
		       struct err *err)
{
	struct baseline device = {
		.ifindex = link->ifindex,
		.mtu = link->mtu,
		.mac = link->mac,
		.perm_mac = link->perm_mac,
		.up = link->flags & IFF_UP,
	};

	(void)snprintf(device.key, sizeof(device.key), "%s", key);
	memcpy(device.name, link->name, sizeof(device.name));
	memcpy(device.kind, link->kind, sizeof(device.kind));
	memcpy(device.parent, link->parent, sizeof(device.parent));
	for (int i = 0; i < link->altname_count && i < PROTO_ALTNAMES_MAX; i++) {
		device.altnames[i] = strdup(link->altnames[i]);
		if (!device.altnames[i]) {
			baseline_free(&device);
			return err_nomem(err);
		}
		device.altname_count++;
	}
	*ret_device = device;
	return 0;
}

int device_observe(struct wire *rt, int sysfs_fd, const char *key, struct baseline *ret_device,
		   struct err *err)
{
	struct link_info link;
	int r;

	r = find_link(rt, sysfs_fd, key, &link, err);
	if (r < 0)
		return r;
	r = refuse_link(rt, key, &link, err);
	if (r < 0)
		return r;
	return baseline_of(key, &link, ret_device, err);
}
