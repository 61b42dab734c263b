/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod can set on its network device, beside name, address and MTU, and what stays when the
 * device leaves the pod (docs/kernel-facts.md, "What survives a move"): the words that plugin,
 * daemon and kernel share.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { SETTINGS_ALIAS_MAX = 255 };

/* The longest packets that are built and merged. */
enum settings_limit {
	LIMIT_GSO, /* bytes */
	LIMIT_GSO_SEGS,
	LIMIT_GRO, /* bytes; likewise below */
	LIMIT_GSO_IPV4,
	LIMIT_GRO_IPV4,
	LIMITS,
};

/* Where an XDP program can be attached: by the driver, by the stack, in the NIC. */
enum settings_xdp { XDP_DRIVER, XDP_GENERIC, XDP_HARDWARE, XDP_PLACES };

struct link_settings {
	bool known;     /* false: in the record of an older daemon; nothing is said */
	uint32_t flags; /* IFF_*, of those that can be set: see rt/link.h */
	uint32_t txqlen, group;
	uint32_t limits[LIMITS]; /* 0: the kernel has no such limit */
	uint8_t mode;            /* IF_LINK_MODE_* */
	bool proto_down;
	uint32_t proto_down_reasons;
	struct mac broadcast;
	uint32_t xdp[XDP_PLACES]; /* ids of programs, 0: none */
	char alias[SETTINGS_ALIAS_MAX + 1];
};

/* What an Ethernet device begins with, and nearly all have: a record says what differs from it. */
extern const struct link_settings link_settings_usual;

/* Of the limits that both kernels have: the record may be of an older one. */
bool link_limits_equal(const struct link_settings *was, const struct link_settings *is);
/* Are they the same but for XDP, which takes a message for each program? */
bool link_settings_equal(const struct link_settings *was, const struct link_settings *is);

/* What a driver lets be set, by the names that `ethtool` has for it, where it has one. */
enum ethtool_number {
	RINGS_RX,
	RINGS_RX_MINI,
	RINGS_RX_JUMBO,
	RINGS_TX,
	RINGS_RX_BUF_LEN,
	RINGS_TCP_DATA_SPLIT,
	RINGS_CQE_SIZE,
	RINGS_TX_PUSH,
	CHANNELS_RX,
	CHANNELS_TX,
	CHANNELS_OTHER,
	CHANNELS_COMBINED,
	COALESCE_FIRST, /* ETHTOOL_A_COALESCE_RX_USECS, and on in the order of its attributes */
	COALESCE_LAST = COALESCE_FIRST + 23,
	PAUSE_AUTONEG,
	PAUSE_RX,
	PAUSE_TX,
	PRIVATE_FLAGS, /* a bit mask; likewise below */
	MESSAGE_LEVEL,
	ETHTOOL_NUMBERS,
	ETHTOOL_FEATURES = ETHTOOL_NUMBERS, /* of the bits of "known" */
};

struct ethtool_settings {
	uint64_t known;    /* bit 1 << of an enum ethtool_number, or ETHTOOL_FEATURES */
	uint16_t family;   /* the id of ethtool netlink, which a boot gives: asked for once */
	uint64_t features; /* by the running kernel's numbers: those wanted that can be changed */
	uint32_t numbers[ETHTOOL_NUMBERS];
};

#define ETHTOOL_BIT(setting) (UINT64_C(1) << (setting))

/* Of an RDMA device: adaptive moderation of the completion queues that the kernel itself makes. */
enum rdma_moderation {
	RDMA_MODERATION_UNKNOWN, /* the kernel does not tell (before 5.3), or was not asked */
	RDMA_MODERATION_OFF,
	RDMA_MODERATION_ON,
};

/* "ring rx", "coalesce rx-usecs"…; of ETHTOOL_FEATURES "features". */
const char *ethtool_setting_name(int setting);
/* Do they say the same of one? A setting that one of them does not know: yes. */
bool ethtool_setting_equal(const struct ethtool_settings *a, const struct ethtool_settings *b,
			   int setting);
