/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration says of a VF, of its RDMA device and of InfiniBand. */
#include "cni/reading.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/pkey.h"

enum {
	QOS_MAX = 7,
	RATE_MAX = INT32_MAX, /* Mbit/s */
	RDMA_NAME_LEN = 63,   /* IB_DEVICE_NAME_MAX - 1 */
};

int read_choice(struct json_reader *r, const char *key, const char *const values[], int count,
		const char *allowed)
{
	const char *text;

	if (!json_str(r, key, &text))
		return -1;
	for (int i = 0; i < count; i++) {
		if (strcasecmp(text, values[i]) == 0)
			return i;
	}
	json_bad(r, key, "must be %s", allowed);
	return -1;
}

/* This key is done through the PF. */
static void through_pf(struct reading *reading, const char *path)
{
	if (!reading->pf_key)
		reading->pf_key = path;
}

static void ask(struct reading *reading, enum vf_attr attr, const char *key)
{
	reading->conf->vf.known |= VF_BIT(attr);
	through_pf(reading, key);
}

static void read_vlan(struct reading *reading)
{
	static const char *const protos[] = { "802.1q", "802.1ad" };
	struct vf_state *vf = &reading->conf->vf;
	struct json_reader *r = &reading->top;
	int64_t vlan = -1, qos = 0;
	int proto;

	if (json_int(r, "vlan", 0, VLAN_MAX, &vlan))
		ask(reading, VF_VLAN, "vlan");
	if (json_int(r, "vlanQoS", 0, QOS_MAX, &qos) && vlan < 0)
		json_bad(r, "vlanQoS", "needs \"vlan\"");
	else if (qos > 0 && vlan == 0)
		json_bad(r, "vlanQoS", "must be 0 with \"vlan\" 0");
	proto = read_choice(r, "vlanProto", protos, ARRAY_SIZE(protos),
			    "\"802.1q\" or \"802.1ad\"");
	if (proto >= 0 && vlan < 0)
		json_bad(r, "vlanProto", "needs \"vlan\"");
	else if (proto == 1 && vlan == 0)
		json_bad(r, "vlanProto", "needs a \"vlan\" other than 0");
	vf->vlan = (uint16_t)(vlan < 0 ? 0 : vlan);
	vf->qos = (uint8_t)qos;
	vf->vlan_ad = proto == 1;
}

static void read_rates(struct reading *reading)
{
	struct netconf *conf = reading->conf;
	struct json_reader *r = &reading->top;
	int64_t min = 0, max = 0; /* 0: no limit */

	conf->min_rate_asked = json_int(r, "min_tx_rate", 0, RATE_MAX, &min);
	if (conf->min_rate_asked)
		ask(reading, VF_RATE, "min_tx_rate");
	conf->max_rate_asked = json_int(r, "max_tx_rate", 0, RATE_MAX, &max);
	if (conf->max_rate_asked)
		ask(reading, VF_RATE, "max_tx_rate");
	if (max > 0 && min > max)
		json_bad(r, "min_tx_rate", "must not be above \"max_tx_rate\" (%lld)",
			 (long long)max);
	conf->vf.min_rate = (uint32_t)min;
	conf->vf.max_rate = (uint32_t)max;
}

static void read_switch(struct reading *reading, enum vf_attr attr, bool *ret_on)
{
	static const char *const switches[] = { "off", "on" };
	const char *key = vf_attr_name(attr);
	int on = read_choice(&reading->top, key, switches, ARRAY_SIZE(switches),
			     "\"on\" or \"off\"");

	if (on < 0)
		return;
	*ret_on = on == 1;
	ask(reading, attr, key);
}

void read_vf(struct reading *reading)
{
	static const char *const states[] = {
		[VF_LINK_AUTO] = "auto",
		[VF_LINK_ENABLE] = "enable",
		[VF_LINK_DISABLE] = "disable",
	};
	struct vf_state *vf = &reading->conf->vf;
	int state;

	read_vlan(reading);
	read_rates(reading);
	read_switch(reading, VF_SPOOFCHK, &vf->spoofchk);
	read_switch(reading, VF_TRUST, &vf->trust);
	state = read_choice(&reading->top, "link_state", states, ARRAY_SIZE(states),
			    "\"auto\", \"enable\" or \"disable\"");
	if (state < 0)
		return;
	vf->link_state = (enum vf_link_state)state;
	ask(reading, VF_LINK_STATE, "link_state");
}

void read_guid(struct reading *reading, struct json_reader *r, const char *key, const char *path)
{
	const char *text;
	uint64_t guid;

	if (!json_str(r, key, &text) || !text[0]) /* runtimes also send it empty */
		return;
	if (guid_parse(text, &guid) < 0 || !guid_is_usable(guid)) {
		json_bad(r, key,
			 "must be a GUID (02:00:00:00:00:00:00:01), not all zeros, all ones or "
			 "multicast");
	} else if (!reading->conf->guid) {
		reading->conf->guid = guid;
		through_pf(reading, path);
	}
}

/* rdmaIsolation is ib-sriov-cni's word for it, "rdma" ours. */
static void read_wish(struct reading *reading)
{
	static const char *const wishes[] = {
		[RDMA_WISH_AUTO] = "auto",
		[RDMA_WISH_REQUIRED] = "required",
		[RDMA_WISH_NONE] = "none",
	};
	struct netconf *conf = reading->conf;
	struct json_reader *r = &reading->top;
	int wish = read_choice(r, "rdma", wishes, ARRAY_SIZE(wishes),
			       "\"auto\", \"required\" or \"none\"");

	(void)json_bool(r, "rdmaIsolation", &conf->rdma_isolation);
	if (conf->rdma_isolation && wish >= 0 && wish != RDMA_WISH_REQUIRED)
		json_bad(r, "rdmaIsolation", "contradicts \"rdma\", which says %s", wishes[wish]);
	if (conf->rdma_isolation)
		wish = RDMA_WISH_REQUIRED;
	if (wish >= 0)
		conf->rdma_wish = (enum rdma_wish)wish;
}

static void read_rdma_name(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	const char *name;

	if (!json_str(r, "rdmaName", &name))
		return;
	if (strlen(name) > RDMA_NAME_LEN || !id_is_valid(name))
		json_bad(r, "rdmaName",
			 "must be a name of at most %d letters, digits, '_', '.', '-'",
			 RDMA_NAME_LEN);
	else if (reading->conf->rdma_wish == RDMA_WISH_NONE)
		json_bad(r, "rdmaName", "contradicts \"rdma\", which says none");
	reading->conf->rdma_name = name;
}

/*
 * Set by users of ib-kubernetes: it says in the pod's annotation that the fabric knows the GUID.
 * Until then the pod has to wait, and is tried again.
 */
static void read_ib_kubernetes(struct reading *reading)
{
	struct json_reader *r = &reading->top;
	bool enabled = false;

	if (!json_bool(r, "ibKubernetesEnabled", &enabled) || !enabled || r->r < 0)
		return;
	if (!reading->ib_is_prepared)
		r->r = err_set(reading->err, EAGAIN, ERR_AGAIN,
			       "key \"ibKubernetesEnabled\": true: the pod's annotation "
			       "mellanox.infiniband.app is not \"configured\" (args.cni)");
	else if (!reading->conf->guid)
		r->r = err_set(reading->err, EAGAIN, ERR_AGAIN,
			       "key \"ibKubernetesEnabled\": true: no GUID has been given "
			       "(runtimeConfig.infinibandGUID, args.cni.guid)");
	if (r->r < 0)
		err_details(reading->err, "ib-kubernetes has not seen this pod yet: is it running, "
					  "and does it know the network?");
}

void read_rdma(struct reading *reading)
{
	struct netconf *conf = reading->conf;
	struct json_reader *r = &reading->top;

	read_wish(reading);
	read_rdma_name(reading);
	read_guid(reading, r, "guid", "guid");
	pkey_read(r, &conf->pkey);
	read_ib_kubernetes(reading);
	if (json_bool(r, "vfioPciMode", &conf->vfio) && conf->vfio &&
	    (conf->rdma_wish == RDMA_WISH_REQUIRED || conf->rdma_name))
		json_bad(r, "vfioPciMode",
			 "contradicts \"%s\": with vfio-pci there is no RDMA device",
			 conf->rdma_isolation ? "rdmaIsolation"
			 : conf->rdma_name    ? "rdmaName"
					      : "rdma");
}

/* Only what stands by itself in PCI space can be a VF. Nothing that was asked for is ignored. */
void check_device(struct reading *reading)
{
	const char *device = reading->conf->device, *why, *key = reading->pf_key;
	struct json_reader *r = &reading->top;

	if (!key && reading->conf->vfio)
		key = "vfioPciMode";
	if (strncmp(device, "net:", 4) == 0)
		why = "needs a VF (deviceID), and \"device\" names a netdev";
	else if (strncmp(device, "aux:", 4) == 0)
		why = "needs a VF, and an auxiliary device has no PF to set it through";
	else
		return;
	if (key && r->r == 0)
		r->r = err_set(reading->err, EINVAL, ERR_VALUE, "key \"%s\": %s", key, why);
}

/* In a chain behind the plugin that attached the netdev. */

static const char *const netdev_keys[] = {
	"device",      "rail",
	"ipam",        "mac",
	"mtu",         "dad",
	"routing",     "vlan",
	"vlanQoS",     "vlanProto",
	"min_tx_rate", "max_tx_rate",
	"spoofchk",    "trust",
	"guid",        "vfioPciMode",
	"pkey",        "ibKubernetesEnabled",
	"link_state",  "pkeyMembership",
	"arp",
};

static bool says_something(json_t *value)
{
	return value && !json_is_false(value) &&
	       !(json_is_object(value) && json_object_size(value) == 0);
}

int netconf_rdma_only(struct netconf *conf, struct err *err)
{
	struct json_reader r;

	json_read(&r, conf->json, "", err);
	for (size_t i = 0; i < ARRAY_SIZE(netdev_keys); i++) {
		if (says_something(json_object_get(conf->json, netdev_keys[i])))
			json_bad(&r, netdev_keys[i],
				 "the chain's main plugin has made the interface: leave it out");
	}
	if (conf->rdma_wish == RDMA_WISH_NONE)
		json_bad(&r, "rdma",
			 "the chain's main plugin has made the interface: nothing is left to do");
	conf->rdma_only = true;
	conf->guid = 0; /* args.cni.guid was for the main plugin */
	if (r.r < 0)
		err_details(err, "prevResult has CNI_IFNAME in this pod already: only its RDMA "
				 "device is left to move");
	return json_finish(&r, READ_LENIENT);
}
