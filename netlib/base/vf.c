/* SPDX-License-Identifier: Apache-2.0 */
#include "base/vf.h"

#include <stdio.h>

const char *vf_attr_name(enum vf_attr attr)
{
	static const char *const names[VF_ATTRS] = {
		[VF_VLAN] = "vlan",           [VF_MAC] = "mac",
		[VF_RATE] = "max_tx_rate",    [VF_SPOOFCHK] = "spoofchk",
		[VF_TRUST] = "trust",         [VF_LINK_STATE] = "link_state",
		[VF_NODE_GUID] = "node guid", [VF_PORT_GUID] = "port guid",
	};

	return names[attr];
}

bool vf_attr_equal(const struct vf_state *a, const struct vf_state *b, enum vf_attr attr)
{
	if (!(a->known & b->known & VF_BIT(attr)))
		return true;
	switch (attr) {
	case VF_VLAN:
		return a->vlan == b->vlan && a->qos == b->qos && a->vlan_ad == b->vlan_ad;
	case VF_MAC:
		return mac_equal(&a->mac, &b->mac);
	case VF_RATE:
		return a->min_rate == b->min_rate && a->max_rate == b->max_rate;
	case VF_SPOOFCHK:
		return a->spoofchk == b->spoofchk;
	case VF_TRUST:
		return a->trust == b->trust;
	case VF_LINK_STATE:
		return a->link_state == b->link_state;
	case VF_NODE_GUID:
		return a->node_guid == b->node_guid;
	case VF_PORT_GUID:
		return a->port_guid == b->port_guid;
	case VF_ATTRS:
		break;
	}
	return true;
}

static const char *on_off(bool on)
{
	return on ? "on" : "off";
}

const char *vf_attr_format(const struct vf_state *state, enum vf_attr attr, char buf[VF_VALUE_TEXT])
{
	static const char *const links[] = { "auto", "enable", "disable" };

	switch (attr) {
	case VF_VLAN:
		(void)snprintf(buf, VF_VALUE_TEXT, "%u qos %u %s", state->vlan, state->qos,
			       state->vlan_ad ? "802.1ad" : "802.1q");
		return buf;
	case VF_MAC:
		return mac_format(&state->mac, buf);
	case VF_RATE:
		(void)snprintf(buf, VF_VALUE_TEXT, "%u (min %u)", state->max_rate, state->min_rate);
		return buf;
	case VF_SPOOFCHK:
		return on_off(state->spoofchk);
	case VF_TRUST:
		return on_off(state->trust);
	case VF_LINK_STATE:
		return links[state->link_state];
	case VF_NODE_GUID:
		return guid_format(state->node_guid, buf);
	case VF_PORT_GUID:
		return guid_format(state->port_guid, buf);
	case VF_ATTRS:
		break;
	}
	return "";
}
