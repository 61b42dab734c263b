/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/device.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "host/sysfs.h"
#include "ipamd/device_refuse.h"
#include "rt/link.h"

/* What is behind a key. */
struct found {
	bool has_function;
	struct pci_function function; /* of an auxiliary device: that it hangs from */
	bool is_aux;
	char netdev[IFNAME_MAX + 1]; /* "" = none here */
	char rdma[SYSFS_NAME_MAX];
	int rdma_count;
	struct link_info link; /* ifindex 0: there is no netdev here */
};

static int bad_key(const char *key, struct err *err)
{
	return err_set(err, EINVAL, ERR_VALUE,
		       "key \"device\": \"%s\": must be net:NAME, pci:ADDRESS or aux:NAME", key);
}

static int find_function(int sysfs_fd, const struct pci_addr *addr, struct found *found,
			 struct err *err)
{
	int r = sysfs_pci_function(sysfs_fd, addr, &found->function, err);

	if (r < 0)
		return r;
	found->has_function = true;
	if (found->is_aux)
		return 0;
	memcpy(found->netdev, found->function.netdev, sizeof(found->netdev));
	memcpy(found->rdma, found->function.rdma, sizeof(found->rdma));
	found->rdma_count = found->function.rdma_count;
	return 0;
}

static int find_aux(int sysfs_fd, const char *name, struct found *found, struct err *err)
{
	struct aux_device aux;
	int r = sysfs_aux_device(sysfs_fd, name, &aux, err);

	if (r < 0)
		return r;
	found->is_aux = true;
	memcpy(found->netdev, aux.netdev, sizeof(found->netdev));
	memcpy(found->rdma, aux.rdma, sizeof(found->rdma));
	found->rdma_count = aux.rdma_count;
	return find_function(sysfs_fd, &aux.pci, found, err);
}

/* A netdev may hang from a function, an auxiliary device, or nothing that we know. */
static int find_netdev(const struct device_view *view, const char *name, struct found *found,
		       struct err *err)
{
	static const char pci[] = "pci/", aux[] = "auxiliary/";
	struct pci_addr addr;
	int r;

	r = link_get(view->rt, name, &found->link, err);
	if (r < 0)
		return r;
	if (strncmp(found->link.parent, aux, strlen(aux)) == 0)
		r = find_aux(view->sysfs_fd, found->link.parent + strlen(aux), found, err);
	else if (strncmp(found->link.parent, pci, strlen(pci)) == 0 &&
		 pci_parse(found->link.parent + strlen(pci), &addr) == 0)
		r = find_function(view->sysfs_fd, &addr, found, err);
	memcpy(found->netdev, found->link.name, sizeof(found->netdev));
	return r;
}

static int find(const struct device_view *view, const char *key, struct found *found,
		struct err *err)
{
	struct pci_addr addr;
	int r;

	if (strncmp(key, "net:", 4) == 0)
		return find_netdev(view, key + 4, found, err);
	if (strncmp(key, "aux:", 4) == 0)
		r = find_aux(view->sysfs_fd, key + 4, found, err);
	else if (strncmp(key, "pci:", 4) == 0 && pci_parse(key + 4, &addr) == 0)
		r = find_function(view->sysfs_fd, &addr, found, err);
	else
		return bad_key(key, err);
	if (r == 0 && found->netdev[0])
		r = link_get(view->rt, found->netdev, &found->link, err);
	return r;
}

/* --- refusals --- */

static int refuse_without_netdev(const char *key, const struct found *found, struct err *err)
{
	const struct pci_function *function = &found->function;

	if (!found->is_aux && !function->driver[0])
		return err_set(err, ENODEV, ERR_DEVICE, "reserve %s: it has no driver bound", key);
	if (function->is_vf && sysfs_driver_is_userspace(function->driver))
		return 0;
	if (!found->is_aux && !function->is_vf && sysfs_driver_is_userspace(function->driver))
		return err_set(err, ENODEV, ERR_DEVICE,
			       "reserve %s: it is no VF, and %s drives it: there is nothing to "
			       "configure or to move",
			       key, function->driver);
	if (found->rdma[0])
		return err_set(
			err, ENODEV, ERR_DEVICE,
			"reserve %s: it has the RDMA device %s and no network device here: in "
			"another namespace, ib_ipoib not loaded, or a kind (EFA) that has none",
			key, found->rdma);
	return err_set(err, ENODEV, ERR_DEVICE,
		       "reserve %s: its network device is not here: in another namespace?", key);
}

static int refuse_pf(const struct device_view *view, const char *key, const struct found *found,
		     struct err *err)
{
	const struct pf_entry *pf;

	if (!found->has_function || found->is_aux)
		return 0;
	pf = picture_pf(view->picture, &found->function.addr);
	if (!pf)
		return 0;
	return err_set(err, EBUSY, ERR_DEVICE,
		       "reserve %s: it is a PF with %zu VFs, which need it in the host", key,
		       pf->vf_count);
}

static int refuse(const struct device_view *view, const char *key, const struct found *found,
		  bool rdma_only, struct err *err)
{
	int r = refuse_pf(view, key, found, err);

	if (r < 0)
		return r;
	if (rdma_only)
		return found->rdma[0] ? 0
				      : err_set(err, ENODEV, ERR_DEVICE,
						"reserve %s: it has no RDMA device here", key);
	return found->link.ifindex ? device_refuse_link(view, key, &found->link, err)
				   : refuse_without_netdev(key, found, err);
}

/* --- the baseline --- */

static int take_link(const struct link_info *link, struct baseline *device, struct err *err)
{
	device->ifindex = link->ifindex;
	device->mtu = link->mtu;
	device->mac = link->mac;
	device->perm_mac = link->perm_mac;
	device->up = link->flags & IFF_UP;
	device->type = link->type;
	device->settings = link->settings;
	memcpy(device->name, link->name, sizeof(device->name));
	memcpy(device->kind, link->kind, sizeof(device->kind));
	memcpy(device->parent, link->parent, sizeof(device->parent));
	if (strcmp(link->kind, "veth") == 0)
		device->peer = link->local_peer;
	for (int i = 0; i < link->altname_count; i++) {
		device->altnames[i] = strdup(link->altnames[i]);
		if (!device->altnames[i])
			return err_nomem(err);
		device->altname_count++;
	}
	return 0;
}

static int take_rdma(int sysfs_fd, const struct found *found, struct baseline *device,
		     struct err *err)
{
	if (!found->rdma[0])
		return 0;
	if (!utf8_is_valid(found->rdma))
		return err_set(
			err, EILSEQ, ERR_DEVICE,
			"reserve %s: the name \"%s\" of its RDMA device is not UTF-8, and no "
			"record could hold it",
			device->key, found->rdma);
	memcpy(device->rdma.name, found->rdma, sizeof(device->rdma.name));
	device->rdma.count = found->rdma_count;
	return sysfs_rdma_uverbs(sysfs_fd, found->rdma, device->rdma.uverbs, err);
}

/* Of its PF, and what its driver told while it was free, as the picture has it. */
static int take_vf(const struct device_view *view, const char *key,
		   const struct pci_function *function, bool has_guid, struct baseline *device,
		   struct err *err)
{
	struct pf_entry *pf;
	const struct vf_entry *vf = picture_vf(view->picture, &function->addr, &pf);

	if (!vf)
		return DEVICE_UNREAD;
	if (vf->use == VF_BROKEN && (!has_guid || vf->to_rebind))
		return err_set(err, EAGAIN, ERR_AGAIN, "reserve %s: %s: %s", key,
			       picture_trouble(vf), vf->trouble);
	device->ethtool = vf->ethtool;
	device->rdma.moderation = vf->moderation;
	device->vf = (struct vf_baseline) {
		.is_vf = true,
		.pf = pf->addr,
		.index = vf->index,
		.pf_ifindex = pf->ifindex,
		.pf_mtu = pf->mtu,
		.state = vf->baseline,
	};
	memcpy(device->vf.pf_netdev, pf->netdev, sizeof(device->vf.pf_netdev));
	return DEVICE_OBSERVED;
}

/* An auxiliary device is on the rail of the PF that it hangs from. */
static void take_pf_of_aux(const struct pci_function *function, struct vf_baseline *ret_vf)
{
	const char *netdev = function->is_vf ? function->pf_netdev : function->netdev;

	ret_vf->pf = function->is_vf ? function->pf_addr : function->addr;
	memcpy(ret_vf->pf_netdev, netdev, sizeof(ret_vf->pf_netdev));
}

static int take(const struct device_view *view, const char *key, const struct found *found,
		bool has_guid, struct baseline *device, struct err *err)
{
	const bool is_vf = found->has_function && !found->is_aux && found->function.is_vf;
	int r;

	(void)snprintf(device->key, sizeof(device->key), "%s", key);
	device->numa_node = -1;
	if (found->has_function) {
		device->numa_node = found->function.numa_node;
		memcpy(device->driver, found->function.driver, sizeof(device->driver));
	}
	if (found->link.ifindex) {
		r = take_link(&found->link, device, err);
		if (r < 0)
			return r;
		if (!device->parent[0])
			device->inode = sysfs_netdev_inode(view->sysfs_fd, device->name);
	}
	r = take_rdma(view->sysfs_fd, found, device, err);
	if (r == 0 && found->is_aux)
		take_pf_of_aux(&found->function, &device->vf);
	if (r == 0 && is_vf)
		return take_vf(view, key, &found->function, has_guid, device, err);
	if (r == 0 && found->link.ifindex)
		r = ethtool_read_features(view->ethtool, found->link.ifindex, &device->ethtool,
					  err);
	return r;
}

int device_observe(const struct device_view *view, const char *key, bool rdma_only, bool has_guid,
		   struct baseline *ret_device, struct pci_addr *ret_addr, struct err *err)
{
	struct found found = { 0 };
	struct baseline device = { 0 };
	const struct vf_entry *vf;
	int r;

	r = find(view, key, &found, err);
	*ret_addr = found.function.addr;
	/* While its GUID or driver is bound, what can be seen of it comes and goes. */
	vf = found.has_function ? picture_vf(view->picture, ret_addr, NULL) : NULL;
	if (vf && vf->use == VF_PREPARING)
		return DEVICE_PREPARING;
	if (r == 0)
		r = refuse(view, key, &found, rdma_only, err);
	if (r == 0)
		r = take(view, key, &found, has_guid, &device, err);
	if (r == DEVICE_OBSERVED)
		*ret_device = device;
	else
		baseline_free(&device);
	return r;
}
