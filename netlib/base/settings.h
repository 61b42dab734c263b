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

/* Of the limits that both kernels have: the record may be of an older one. */
bool link_limits_equal(const struct link_settings *was, const struct link_settings *is);
/* Are they the same but for XDP, which takes a message for each program? */
bool link_settings_equal(const struct link_settings *was, const struct link_settings *is);
