/* SPDX-License-Identifier: Apache-2.0 */
#include "base/settings.h"

#include <string.h>

bool link_limits_equal(const struct link_settings *was, const struct link_settings *is)
{
	for (int i = 0; i < LIMITS; i++) {
		if (was->limits[i] && is->limits[i] && was->limits[i] != is->limits[i])
			return false;
	}
	return true;
}

bool link_settings_equal(const struct link_settings *was, const struct link_settings *is)
{
	return was->flags == is->flags && was->txqlen == is->txqlen && was->group == is->group &&
	       link_limits_equal(was, is) && was->mode == is->mode &&
	       was->proto_down == is->proto_down &&
	       was->proto_down_reasons == is->proto_down_reasons &&
	       mac_equal(&was->broadcast, &is->broadcast) && strcmp(was->alias, is->alias) == 0;
}
