/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/view.h"

#include <errno.h>
#include <string.h>

#include <linux/if_arp.h>

#include "cni/site.h"

static int name_is_taken(const struct site *site, const char *name, bool *ret_taken,
			 struct err *err)
{
	struct link_info link;
	int r = link_get(site->pod, name, &link, err);

	if (r < 0 && r != -ENODEV)
		return r;
	*ret_taken = r == 0;
	return 0;
}

static int read_names(const struct site *site, struct view *view, struct err *err)
{
	const struct attachment *record = site->record;
	int r = name_is_taken(site, record->ifname, &view->ifname_taken, err);

	for (size_t i = 0; r == 0 && i < record->device.altname_count; i++) {
		bool taken;

		if (strcmp(record->device.altnames[i], record->ifname) == 0)
			continue; /* it is deleted before the move */
		r = name_is_taken(site, record->device.altnames[i], &taken, err);
		if (r == 0 && taken && !view->altname_taken)
			view->altname_taken = record->device.altnames[i];
	}
	return r;
}

/* In a chain it is not in the record. */
static int read_type(const struct site *site, struct view *view, struct err *err)
{
	struct link_info link;
	int r = link_get(site->pod, site->record->ifname, &link, err);

	if (r < 0)
		return r == -ENODEV ? 0 : r;
	view->infiniband = link.type == ARPHRD_INFINIBAND;
	return 0;
}

int view_read(struct site *site, struct view *ret_view, struct err *err)
{
	const struct baseline *device = &site->record->device;
	struct view view = { .rdma_mode = RDMA_ABSENT };
	int r = 0;

	if (device->name[0])
		r = read_names(site, &view, err);
	else if (site->conf->rdma_only)
		r = read_type(site, &view, err);
	if (r == 0 && device->rdma.name[0] && site->conf->rdma_wish != RDMA_WISH_NONE)
		r = site_rdma_mode(site, &view.rdma_mode, err);
	if (r == 0)
		*ret_view = view;
	return r;
}
