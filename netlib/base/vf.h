/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a virtual function: the words that plugin, daemon and kernel share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* What can be set of a VF. One message each: of two GUIDs in one message only the first is applied,
 * with success; and a refusal then names what was refused. */
enum vf_attr {
	VF_VLAN, /* with qos and protocol */
	VF_MAC,  /* the administrative one */
	VF_RATE, /* min and max, always both */
	VF_SPOOFCHK,
	VF_TRUST,
	VF_LINK_STATE,
	VF_NODE_GUID,
	VF_PORT_GUID,
	VF_ATTRS,
};

enum vf_link_state { VF_LINK_AUTO, VF_LINK_ENABLE, VF_LINK_DISABLE }; /* IFLA_VF_LINK_STATE_* */

enum { VLAN_MAX = 4094 /* IEEE 802.1Q: 4095 is reserved */ };

struct vf_state {
	uint32_t known; /* bit 1 << VF_*: of which attributes something is said */
	uint16_t vlan;
	uint8_t qos;
	bool vlan_ad; /* 802.1ad, else 802.1Q */
	struct mac mac;
	uint32_t min_rate, max_rate; /* Mbit/s, 0: none */
	bool spoofchk, trust;
	enum vf_link_state link_state;
	uint64_t node_guid, port_guid; /* 0: none */
};

#define VF_BIT(attr) (UINT32_C(1) << (attr))

/* The key of the network configuration that an attribute goes by: "vlan", "mac", "trust"… */
const char *vf_attr_name(enum vf_attr attr);

enum { VF_VALUE_TEXT = 64 };

/* The value of @attr in words, in @buf or a constant. */
const char *vf_attr_format(const struct vf_state *state, enum vf_attr attr,
			   char buf[VF_VALUE_TEXT]);

/* Do they say the same of @attr? An attribute that one of them does not know: yes. */
bool vf_attr_equal(const struct vf_state *a, const struct vf_state *b, enum vf_attr attr);
