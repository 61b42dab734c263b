/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record says was asked: its configuration and environment, read again. DEL, GC and CHECK
 * work from this, not from what they are given: that may have been edited since.
 */
#pragma once

#include "base/err.h"
#include "cni/args.h"
#include "cni/netconf.h"
#include "cni/plan.h"
#include "cni/request.h"
#include "cni/site.h"
#include "ipamd/proto/proto.h"

struct recorded {
	const struct attachment *record; /* borrowed */
	struct args args;
	struct netconf conf;
	struct request_env env;
};

/* The caller calls recorded_free(), also after a failure. */
int recorded_read(const struct attachment *record, struct recorded *ret_recorded, struct err *err);
void recorded_free(struct recorded *recorded);

/*
 * The plan that ADD walked, or was walking. Addresses of a foreign IPAM that never came to the
 * record are read from the device at @site.
 */
int recorded_plan(const struct recorded *recorded, struct site *site, struct plan *ret_plan,
		  struct err *err);

/*
 * A foreign IPAM's answer is lost with the ADD that had it: what is on the device is all that can
 * be known. The first PROTO_IPS_MAX global addresses of the pod's @ifindex go to @net.
 */
int recorded_addresses(struct site *site, int ifindex, struct ip_config *net, struct err *err);
