/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/refusal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_arp.h>

enum { IPV6_MTU_MIN = 1280 }; /* RFC 8200; below it the kernel takes IPv6 off the device */

struct wishes {
	const struct netconf *conf;
	const struct attachment *record;
	const struct ip_config *net;
	const struct view *view;
};

/* The device as a person knows it. */
static const char *device_name(const struct attachment *record)
{
	const struct baseline *device = &record->device;

	return device->name[0] ? device->name : device->key + strlen("pci:");
}

static int refuse_names(const struct wishes *w, struct err *err)
{
	const struct view *view = w->view;

	if (view->ifname_taken)
		err_set(err, EEXIST, ERR_NAME, "name %s: is taken in the pod", w->record->ifname);
	else if (view->altname_taken)
		err_set(err, EEXIST, ERR_NAME, "altname %s of %s: is taken in the pod",
			view->altname_taken, w->record->device.name);
	else
		return 0;
	err_details(err, "another network of this pod uses the name, or an earlier ADD did not get "
			 "its DEL");
	return -EEXIST;
}

static bool has_v6(const struct ip_config *net)
{
	for (size_t i = 0; i < net->ip_count; i++) {
		if (net->ips[i].cidr.ip.family == AF_INET6)
			return true;
	}
	return false;
}

static int refuse_mtu(const struct wishes *w, struct err *err)
{
	const struct baseline *device = &w->record->device;
	const int64_t mtu = w->conf->mtu ? w->conf->mtu : device->mtu;

	if (w->conf->mtu && device->vf.is_vf && device->vf.pf_mtu && mtu > device->vf.pf_mtu)
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"mtu\": %lld: must not be above that of PF %s, %lld",
			       (long long)mtu, device->vf.pf_netdev, (long long)device->vf.pf_mtu);
	if (device->name[0] && mtu < IPV6_MTU_MIN && has_v6(w->net))
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"mtu\": %lld: IPv6 addresses need at least %d", (long long)mtu,
			       IPV6_MTU_MIN);
	return 0;
}

static int refuse_table(const struct wishes *w, struct err *err)
{
	if (w->conf->routing.asked && !w->conf->routing.table && !w->record->rail.name[0])
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"routing.table\": \"auto\": needs a rail, and there is none");
	return 0;
}

/* What is set through a PF needs one. */
static int refuse_vf(const struct wishes *w, struct err *err)
{
	const struct baseline *device = &w->record->device;
	const bool user_space = !device->name[0] && !w->conf->rdma_only;

	for (int attr = 0; attr < VF_ATTRS && !device->vf.is_vf; attr++) {
		const bool minimum = attr == VF_RATE && !w->conf->max_rate_asked;

		if (w->conf->vf.known & VF_BIT(attr))
			return err_set(err, EINVAL, ERR_VALUE, "key \"%s\": %s is no VF",
				       minimum ? "min_tx_rate" : vf_attr_name((enum vf_attr)attr),
				       device_name(w->record));
	}
	if (user_space && (w->conf->mtu || w->conf->routing.asked || w->conf->arp_asked))
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"%s\": %s has no network device, user space drives it (%s)",
			       w->conf->mtu             ? "mtu"
			       : w->conf->routing.asked ? "routing"
							: "arp",
			       device_name(w->record), device->driver);
	if (w->conf->vfio && !user_space)
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"vfioPciMode\": true: %s has the driver %s, which is not one "
			       "of user space",
			       device_name(w->record), device->driver);
	return 0;
}

static int refuse_identity(const struct wishes *w, struct err *err)
{
	const struct baseline *device = &w->record->device;
	const bool ethernet = device->name[0] ? device->mac.len == 6 : device->vf.is_vf;

	if (w->conf->mac.len && (!ethernet || device->type == ARPHRD_INFINIBAND))
		return err_set(err, EINVAL, ERR_VALUE, "key \"mac\": %s is no Ethernet device",
			       device_name(w->record));
	/* Behind vfio nobody can tell what it is but its PF, which refuses. */
	if (w->conf->guid &&
	    (!device->vf.is_vf || (device->name[0] && device->type != ARPHRD_INFINIBAND)))
		return err_set(err, EINVAL, ERR_VALUE, "key \"guid\": %s is no InfiniBand VF",
			       device_name(w->record));
	return 0;
}

static int refuse_shared(const struct wishes *w, struct err *err)
{
	err_set(err, EINVAL, ERR_VALUE,
		"key \"%s\": RDMA device %s cannot be moved: this node shares RDMA devices "
		"between namespaces",
		w->conf->rdma_isolation ? "rdmaIsolation" : "rdmaName",
		w->record->device.rdma.name);
	err_details(err, "put \"options ib_core netns_mode=0\" into /etc/modprobe.d, and reboot; "
			 "or \"rdma system set netns exclusive\" while no namespace exists");
	return -EINVAL;
}

static int refuse_rdma(const struct wishes *w, struct err *err)
{
	const struct rdma_baseline *rdma = &w->record->device.rdma;
	const enum rdma_wish wish = w->conf->rdma_wish;

	if (wish == RDMA_WISH_NONE)
		return 0;
	if (!rdma->name[0] && (wish == RDMA_WISH_REQUIRED || w->conf->rdma_name))
		return err_set(err, ENODEV, ERR_DEVICE, "find RDMA device of %s: it has none",
			       device_name(w->record));
	if (!rdma->name[0])
		return 0;
	if (w->view->rdma_mode != RDMA_EXCLUSIVE)
		return w->conf->rdma_isolation || w->conf->rdma_name ? refuse_shared(w, err) : 0;
	if (w->conf->rdma_only && w->view->infiniband) {
		err_set(err, EINVAL, ERR_VALUE,
			"key \"prevResult\": %s is InfiniBand: it would be made anew, without its "
			"addresses, when its RDMA device moves",
			w->record->ifname);
		err_details(err, "put spur first in the chain");
		return -EINVAL;
	}
	if (rdma->count == 1)
		return 0;
	err_set(err, ENOTUNIQ, ERR_DEVICE, "move RDMA device of %s: it has %d, %s among them",
		device_name(w->record), rdma->count, rdma->name);
	err_details(err, "\"rdma\": \"none\" leaves them in the host");
	return -ENOTUNIQ;
}

int refusal_find(const struct netconf *conf, const struct attachment *record,
		 const struct ip_config *net, const struct view *view, struct err *err)
{
	static int (*const checks[])(const struct wishes *, struct err *) = {
		refuse_names, refuse_table, refuse_mtu, refuse_vf, refuse_identity, refuse_rdma,
	};
	const struct wishes wishes = { conf, record, net, view };
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(checks) / sizeof(checks[0]); i++)
		r = checks[i](&wishes, err);
	return r;
}
