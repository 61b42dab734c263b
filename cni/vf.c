/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/vf.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "cni/guid.h"
#include "cni/plan.h"
#include "host/sysfs.h"
#include "rt/link.h"
#include "rt/vf.h"

enum {
	VF_POLL_MS = 20,
	GUID_BACK_MS = 20 * 1000, /* for a driver to be bound again */
};

static bool is_not_yet(int r)
{
	return r == -EBUSY || r == -EAGAIN;
}

/* Returns false when the patience is over. */
static bool wait_a_bit(int64_t deadline_ms)
{
	if (clock_left_ms(deadline_ms) == 0)
		return false;
	(void)poll(NULL, 0, VF_POLL_MS);
	return true;
}

static int set_patiently(struct wire *host, int pf_ifindex, int vf, enum vf_attr attr,
			 const struct vf_state *state, int64_t deadline_ms, struct err *err)
{
	int r;

	do {
		r = vf_set(host, pf_ifindex, vf, attr, state, err);
	} while (is_not_yet(r) && wait_a_bit(deadline_ms));
	return r;
}

/* Both rates are one attribute: if a minimum was asked for, it is what drivers refuse. */
static int name_key(int r, enum vf_attr attr, const struct site *site, struct err *err)
{
	const bool minimum =
		attr == VF_RATE && site->conf->min_rate_asked && site->conf->vf.min_rate;

	if (r < 0) {
		err_prefix(err, "key \"%s\"", minimum ? "min_tx_rate" : vf_attr_name(attr));
		if (r == -EOPNOTSUPP)
			err_details(err, "the driver of PF %s cannot set it",
				    site->record->device.vf.pf_netdev);
	}
	return r;
}

int vf_apply(const struct site *site, enum vf_attr attr, const struct vf_state *state,
	     struct err *err)
{
	const struct vf_baseline *vf = &site->record->device.vf;
	int r = set_patiently(site->host, vf->pf_ifindex, vf->index, attr, state,
			      clock_boot_ms() + VF_PATIENCE_MS, err);

	return name_key(r, attr, site, err);
}

/* The netdev's own: 0 if it is as wished by now. */
static int set_netdev_mac(const struct site *site, const struct mac *mac, struct err *err)
{
	const struct link_change change = { .ifindex = site->record->device.ifindex, .mac = mac };
	struct link_info link;
	int r;

	if (!change.ifindex)
		return 0;
	r = link_get_index(site->host, change.ifindex, &link, err);
	if (r < 0 || mac_equal(&link.mac, mac))
		return r;
	return link_set(site->host, &change, err);
}

/*
 * With an administrative address some drivers let the netdev have no other, nor that one (igb). All
 * zeros take it away.
 */
static void unlock_mac(struct wire *host, int pf_ifindex, int vf)
{
	const struct vf_state none = { .mac = { .len = 6 } };
	struct err ignored; /* then it is locked, and the next one says so */

	(void)vf_set(host, pf_ifindex, vf, VF_MAC, &none, &ignored);
}

int vf_apply_mac(const struct site *site, const struct mac *mac, struct err *err)
{
	const struct vf_baseline *vf = &site->record->device.vf;
	const struct vf_state state = { .mac = *mac };
	const int64_t deadline_ms = clock_boot_ms() + VF_PATIENCE_MS;
	struct err before;
	int r, own;

	do {
		own = set_netdev_mac(site, mac, &before);
		if (own < 0) {
			unlock_mac(site->host, vf->pf_ifindex, vf->index);
			own = set_netdev_mac(site, mac, &before);
		}
		r = vf_set(site->host, vf->pf_ifindex, vf->index, VF_MAC, &state, err);
		if (r == 0 && own < 0) /* now the PF has allowed it */
			r = set_netdev_mac(site, mac, err);
		else if (r < 0 && !is_not_yet(r))
			break;
	} while (r < 0 && wait_a_bit(deadline_ms));
	return name_key(r, VF_MAC, site, err);
}

bool vf_is_asked(const struct site *site, enum vf_attr attr)
{
	const struct netconf *conf = site->conf;

	if (!site->record->device.vf.is_vf || conf->rdma_only)
		return false;
	return attr == VF_MAC ? conf->mac.len > 0 : conf->vf.known & VF_BIT(attr);
}

/* What a fresh VF has, for what the driver has not told. */
static struct vf_state baseline_of(const struct vf_baseline *vf)
{
	struct vf_state state = vf->state;

	if (!(state.known & VF_BIT(VF_SPOOFCHK)))
		state.spoofchk = true;
	if (!(state.known & VF_BIT(VF_MAC)) || state.mac.len != 6)
		state.mac = (struct mac) { .len = 6 };
	return state; /* all else is zero where it is not known */
}

/* The PF as it is now: it may have been renamed, or have come anew, since ADD. */
static int find_pf(struct site *site, struct pci_function *ret_function, struct link_info *ret_pf,
		   struct err *err)
{
	struct pci_addr addr;
	int sysfs, r;

	if (pci_parse(site->record->device.key + strlen("pci:"), &addr) < 0)
		return err_set(err, EINVAL, ERR_DEVICE, "device %s: is no PCI function",
			       site->record->device.key);
	r = site_sysfs(site, false, &sysfs, err);
	if (r == 0)
		r = sysfs_pci_function(sysfs, &addr, ret_function, err);
	if (r == 0 && !ret_function->pf_netdev[0])
		r = err_set(err, ENODEV, ERR_DEVICE, "restore %s: its PF has no network device",
			    site->record->device.key);
	return r < 0 ? r : link_get(site->host, ret_function->pf_netdev, ret_pf, err);
}

struct vf_search {
	int index;
	struct vf_state *found;
};

static int compare_index(int vf, const struct vf_state *state, void *arg)
{
	const struct vf_search *search = arg;

	if (vf != search->index)
		return 0;
	*search->found = *state;
	return 1;
}

static int read_state(struct site *site, struct err *err)
{
	struct vf_search search = { .found = &site->vf };
	struct pci_function function = { 0 };
	struct link_info pf = { 0 };
	int r;

	if (site->vf_known)
		return 0;
	r = find_pf(site, &function, &pf, err);
	if (r < 0)
		return r;
	search.index = function.vf_index;
	r = vf_list(site->host, pf.ifindex, compare_index, &search, err);
	site->vf_known = r >= 0 || r == -EMSGSIZE; /* more VFs than the kernel can show */
	return site->vf_known ? 0 : r;
}

int vf_check(struct site *site, enum vf_attr attr, const struct vf_state *should, struct err *err)
{
	char is_text[VF_VALUE_TEXT], should_text[VF_VALUE_TEXT];
	int r = read_state(site, err);

	if (r < 0 || vf_attr_equal(&site->vf, should, attr))
		return r;
	return err_set(err, ESTALE, ERR_DRIFT, "%s: %s is %s, should be %s",
		       site->record->device.key, vf_attr_name(attr),
		       vf_attr_format(&site->vf, attr, is_text),
		       vf_attr_format(should, attr, should_text));
}

static bool anything_asked(const struct site *site)
{
	for (int attr = 0; attr < VF_ATTRS; attr++) {
		if (vf_is_asked(site, (enum vf_attr)attr))
			return true;
	}
	return false;
}

int vf_release(struct site *site, struct err *err)
{
	const struct baseline *was = &site->record->device;
	const bool binds_guid = plan_binds_guid(site->conf, site->record);
	struct pci_function function = { 0 };
	struct link_info pf = { 0 };
	int sysfs;
	int r;

	if (!vf_is_asked(site, VF_MAC) && !binds_guid)
		return 0;
	r = find_pf(site, &function, &pf, err);
	if (r == 0 && vf_is_asked(site, VF_MAC))
		unlock_mac(site->host, pf.ifindex, function.vf_index);
	if (r < 0 || !binds_guid)
		return r;
	r = site_sysfs(site, false, &sysfs, err);
	if (r == 0)
		r = guid_bind(site->host, sysfs, &function.addr, was->vf.state.port_guid,
			      clock_boot_ms() + GUID_BACK_MS, err);
	if (r == 0 && was->vf.state.node_guid != was->vf.state.port_guid)
		r = vf_set(site->host, pf.ifindex, function.vf_index, VF_NODE_GUID, &was->vf.state,
			   err);
	return r;
}

int vf_give_back(struct site *site, struct err *err)
{
	/* The address before trust: without it some drivers refuse to let it go. */
	static const enum vf_attr order[] = { VF_VLAN,  VF_SPOOFCHK, VF_MAC,
					      VF_TRUST, VF_RATE,     VF_LINK_STATE };
	const struct vf_baseline *vf = &site->record->device.vf;
	const struct vf_state state = baseline_of(vf);
	const int64_t deadline_ms = clock_boot_ms() + VF_PATIENCE_MS; /* of all together */
	struct pci_function function = { 0 };
	struct link_info pf = { 0 };
	struct err later;
	int r, failed = 0;

	if (!anything_asked(site))
		return 0;
	r = find_pf(site, &function, &pf, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (!vf_is_asked(site, order[i]))
			continue;
		r = set_patiently(site->host, pf.ifindex, function.vf_index, order[i], &state,
				  deadline_ms, failed ? &later : err);
		/* What it cannot set it has not set in ADD either. */
		if (r < 0 && r != -EOPNOTSUPP && !failed)
			failed = name_key(r, order[i], site, err);
	}
	return failed;
}
