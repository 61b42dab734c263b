/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/settings.h"

#include <errno.h>

#include "ethtool/ethtool.h"
#include "host/netns.h"

int settings_detach_xdp(const struct site *site, struct wire *rt, const struct link_info *link,
			struct err *err)
{
	const struct link_settings *was = &site->record->device.settings;
	const uint32_t *is = link->settings.xdp;
	int r = 0;

	for (int i = 0; r == 0 && was->known && i < XDP_PLACES; i++) {
		if (is[i] && is[i] != was->xdp[i])
			r = link_xdp_detach(rt, link->ifindex, (enum settings_xdp)i, err);
	}
	return r;
}

/* The pod's XDP programs go. One that was there before cannot be attached again. */
static int return_xdp(const struct site *site, const struct link_info *link, struct err *err)
{
	const struct baseline *was = &site->record->device;
	int r = settings_detach_xdp(site, site->host, link, err);

	for (int i = 0; r == 0 && i < XDP_PLACES; i++) {
		if (was->settings.xdp[i] && link->settings.xdp[i] != was->settings.xdp[i])
			r = err_set(err, ENOENT, ERR_DEVICE,
				    "restore %s: the pod has detached its XDP program %u",
				    was->name, was->settings.xdp[i]);
	}
	return r;
}

/* Its socket is of the namespace that we stand in: the pod's, if that could be entered. */
static int open_in_host(const struct site *site, struct ethtool **ret_ethtool, struct err *err)
{
	struct err later;
	int r, back = 0;

	if (site->pod) {
		r = netns_enter(site->host_fd, err);
		if (r < 0)
			return r;
	}
	r = ethtool_open(site->record->device.ethtool.family, ret_ethtool, err);
	if (site->pod)
		back = netns_enter(site->pod_fd, r < 0 ? &later : err);
	if (r == 0 && back < 0)
		ethtool_close(*ret_ethtool);
	return r < 0 ? r : back;
}

static int return_ethtool(const struct site *site, const struct link_info *link, struct err *err)
{
	struct ethtool *ethtool;
	int r = open_in_host(site, &ethtool, err);

	if (r < 0)
		return r;
	r = ethtool_restore(ethtool, link->ifindex, &site->record->device.ethtool, err);
	ethtool_close(ethtool);
	return r;
}

int settings_return(const struct site *site, const struct link_info *link, struct err *err)
{
	const struct baseline *was = &site->record->device;
	struct err later;
	int r = 0, told = 0;

	if (was->settings.known)
		r = return_xdp(site, link, err);
	if (was->ethtool.known)
		told = return_ethtool(site, link, r < 0 ? &later : err);
	return r < 0 ? r : told;
}
