/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/view.h"

#include <errno.h>
#include <string.h>

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

int view_read(const struct site *site, struct view *ret_view, struct err *err)
{
	const struct attachment *record = site->record;
	struct view view = { false, NULL };
	int r;

	r = name_is_taken(site, record->ifname, &view.ifname_taken, err);
	for (size_t i = 0; r == 0 && i < record->device.altname_count; i++) {
		bool taken;

		if (strcmp(record->device.altnames[i], record->ifname) == 0)
			continue; /* it is deleted before the move */
		r = name_is_taken(site, record->device.altnames[i], &taken, err);
		if (r == 0 && taken && !view.altname_taken)
			view.altname_taken = record->device.altnames[i];
	}
	if (r == 0)
		*ret_view = view;
	return r;
}
