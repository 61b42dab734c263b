/* SPDX-License-Identifier: Apache-2.0 */
#include "base/settings.h"

#include <string.h>

const struct link_settings link_settings_usual = {
	.known = true,
	.flags = 0x1000, /* IFF_MULTICAST */
	.txqlen = 1000,
	.limits = { 65536, 65535, 65536, 65536, 65536 },
	.broadcast = { .len = 6, .bytes = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
};

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

const char *ethtool_setting_name(int setting)
{
	static const char *const names[ETHTOOL_NUMBERS + 1] = {
		[RINGS_RX] = "ring rx",
		[RINGS_RX_MINI] = "ring rx-mini",
		[RINGS_RX_JUMBO] = "ring rx-jumbo",
		[RINGS_TX] = "ring tx",
		[RINGS_RX_BUF_LEN] = "ring rx-buf-len",
		[RINGS_TCP_DATA_SPLIT] = "ring tcp-data-split",
		[RINGS_CQE_SIZE] = "ring cqe-size",
		[RINGS_TX_PUSH] = "ring tx-push",
		[CHANNELS_RX] = "channels rx",
		[CHANNELS_TX] = "channels tx",
		[CHANNELS_OTHER] = "channels other",
		[CHANNELS_COMBINED] = "channels combined",
		[COALESCE_FIRST] = "coalesce rx-usecs",
		"coalesce rx-frames",
		"coalesce rx-usecs-irq",
		"coalesce rx-frames-irq",
		"coalesce tx-usecs",
		"coalesce tx-frames",
		"coalesce tx-usecs-irq",
		"coalesce tx-frames-irq",
		"coalesce stats-block-usecs",
		"coalesce adaptive-rx",
		"coalesce adaptive-tx",
		"coalesce pkt-rate-low",
		"coalesce rx-usecs-low",
		"coalesce rx-frames-low",
		"coalesce tx-usecs-low",
		"coalesce tx-frames-low",
		"coalesce pkt-rate-high",
		"coalesce rx-usecs-high",
		"coalesce rx-frames-high",
		"coalesce tx-usecs-high",
		"coalesce tx-frames-high",
		"coalesce sample-interval",
		"coalesce cqe-mode-tx",
		[COALESCE_LAST] = "coalesce cqe-mode-rx",
		[PAUSE_AUTONEG] = "pause autoneg",
		[PAUSE_RX] = "pause rx",
		[PAUSE_TX] = "pause tx",
		[PRIVATE_FLAGS] = "private flags",
		[MESSAGE_LEVEL] = "message level",
		[ETHTOOL_FEATURES] = "features",
	};

	return names[setting];
}

bool ethtool_setting_equal(const struct ethtool_settings *a, const struct ethtool_settings *b,
			   int setting)
{
	if (!(a->known & b->known & ETHTOOL_BIT(setting)))
		return true;
	return setting == ETHTOOL_FEATURES ? a->features == b->features
					   : a->numbers[setting] == b->numbers[setting];
}
