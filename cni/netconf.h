/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network configuration: what stdin says, checked, with the rules of precedence applied.
 * docs/netconf.md is its reference. No host access.
 *
 * Two readings. netconf_read() is ADD's: every value is checked, an unknown key is an error, and
 * what cannot be done for such a device is refused rather than ignored. netconf_skim() is for all
 * other verbs: it takes what it needs where that is well formed and never fails for a key, so that
 * an edited configuration can always be deleted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "base/vf.h"
#include "cni/args.h"
#include "ipamd/proto/proto.h"

enum cni_version { CNI_0_3_0, CNI_0_3_1, CNI_0_4_0, CNI_1_0_0, CNI_1_1_0, CNI_VERSIONS };

extern const char *const cni_version_names[CNI_VERSIONS];
/* -EINVAL if we do not speak it. */
int cni_version_parse(const char *text, enum cni_version *ret_version);

enum ipam_kind {
	IPAM_NONE,
	IPAM_OURS,    /* the daemon's pools: "spur-ipam" */
	IPAM_FOREIGN, /* another binary, by delegation */
};

enum rdma_wish {
	RDMA_WISH_AUTO,     /* moved in exclusive mode, reported in shared mode; none: as well */
	RDMA_WISH_REQUIRED, /* there must be one */
	RDMA_WISH_NONE,     /* stays where it is, and is not looked for */
};

enum {
	READY_DEFAULT_MS = 200,       /* how long ADD waits for a carrier when nobody says */
	READY_RDMA_DEFAULT_MS = 2000, /* the same, for the RDMA device */
};

struct netconf {
	json_t *json; /* borrowed: the whole */
	enum cni_version version;
	const char *network;
	const char *socket;

	/* Key for the daemon: "net:…", "pci:…", "aux:…"; "" = none. */
	char device[PROTO_DEVICE_MAX];
	const char *netdev; /* "device" beside a device ID: must be its netdev; NULL: any */
	bool choose_device; /* no device, but a rail: a free VF of it, whichever */
	bool from_plugin;   /* a device plugin gave it: kubelet has chosen its uverbs already */
	bool rdma_only;     /* in a chain: the netdev is in the pod already (netconf_rdma_only) */
	struct mac mac;     /* len 0: keep */
	int64_t mtu;        /* 0: keep */
	bool dad;
	bool arp_asked;  /* the key "arp" is there */
	bool arp_kernel; /* it says "kernel": the device also answers for the pod's other addresses
			  */
	bool ready_required;
	int64_t ready_ms;
	struct {
		bool asked;
		int64_t table; /* 0: "auto" */
		bool rules;
	} routing;

	struct vf_state vf; /* known: what is asked for, VF_VLAN … VF_LINK_STATE but not VF_MAC */
	bool min_rate_asked; /* of VF_RATE: the half that was not asked for */
	bool max_rate_asked; /* stays as the baseline has it */
	enum rdma_wish rdma_wish;
	bool rdma_isolation;   /* required, and the mode must be exclusive */
	const char *rdma_name; /* its name in the pod; NULL: as it is */
	uint64_t guid;         /* asked for by name; 0: the VF's own */
	uint16_t pkey;         /* its top bit: full member; 0: the rail's */
	bool vfio;             /* vfioPciMode: user space must have the function */

	enum ipam_kind ipam;
	const char *ipam_type;
	const char *pool, *rail; /* IPAM_OURS; rail NULL: the only one of the pool */
	struct cidr ips[PROTO_IPS_MAX];
	size_t ip_count; /* addresses asked for by name */
	bool gateway;    /* the pod is to be its rail's gateway, and gets that address */
	bool has_index;
	uint32_t index; /* of the rail: the same, asked for by number */
	bool claim_all; /* the pod is to get every rail of the pool, or none… */
	const char *claim[PROTO_RAILS_MAX]; /* …or these */
	size_t claim_count;
	const char *sticky; /* whose index this is to be again; NULL: nobody's */

	const char *devinfo_file; /* runtimeConfig.CNIDeviceInfoFile */
	json_t *prev_result, *dns, *valid_attachments;
	enum log_level log_level;
	const char *log_file; /* NULL: stderr */
};

/*
 * An unknown version is the newest here: request.c has refused it where it matters.
 *
 * ADD's reading. @ipam_only: we run as spur-ipam, where all keys but `ipam` belong to another
 * plugin. All of *@ret_conf borrows from @json.
 */
int netconf_read(json_t *json, const struct args *args, bool ipam_only, struct netconf *ret_conf,
		 struct err *err);
/*
 * What an ADD of today is refused, though earlier versions took it: their records are read as they
 * are, or nothing of them could be given back.
 */
int netconf_refuse(const struct netconf *conf, struct err *err);
/*
 * The chain's main plugin has put CNI_IFNAME into the pod: only the RDMA device is left to move.
 * Sets conf->rdma_only; a key that is about the netdev is an error (ERR_VALUE).
 */
int netconf_rdma_only(struct netconf *conf, struct err *err);
/* Fails only without a usable name (ERR_VALUE). */
int netconf_skim(json_t *json, struct netconf *ret_conf, struct err *err);
