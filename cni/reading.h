/* SPDX-License-Identifier: Apache-2.0 */
/* ADD's reading of a configuration while it goes on: what netconf.c and netconf_vf.c share. */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "cni/netconf.h"

struct reading {
	struct json_reader top;
	struct netconf *conf;
	struct err *err;
	const char *pf_key;  /* the first that is done through the PF, with its path */
	bool ib_is_prepared; /* args.cni: ib-kubernetes has done its part */
};

/* A string that is one of @values (any case); returns its index, or -1 if absent or wrong. */
int read_choice(struct json_reader *r, const char *key, const char *const values[], int count,
		const char *allowed);

/* An InfiniBand GUID. Whoever came before has precedence. @path: of the key, for errors. */
void read_guid(struct reading *reading, struct json_reader *r, const char *key, const char *path);
/* vlan, rates, spoofchk, trust, link_state. */
void read_vf(struct reading *reading);
/* rdma…, guid, pkey, vfioPciMode. */
void read_rdma(struct reading *reading);
/* Refuses what this device cannot be given. Last, when all has been read. */
void check_device(struct reading *reading);
