/* SPDX-License-Identifier: Apache-2.0 */
/* Results: what an IPAM printed, read; what we print, built, in the shape of each version. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "cni/netconf.h"
#include "cni/request.h"
#include "ipamd/proto/proto.h"

/* Reads another IPAM's result. No address at all is an error. */
int result_read(json_t *json, const char *plugin, struct ip_config *ret_net, struct err *err);

/*
 * What ADD prints. @facts: as applied. @dns may be NULL: the configuration's own. The result is a
 * new reference.
 */
int result_build(const struct request *request, const struct attachment *record,
		 const struct facts *facts, json_t *dns, json_t **ret_result, struct err *err);

/* The interface of @result called @ifname in @sandbox, or NULL; *@ret_index is its place. */
json_t *result_interface(json_t *result, const char *ifname, const char *sandbox,
			 size_t *ret_index);

/* The addresses of that interface in @result, as far as they are well formed. */
void result_addresses(json_t *result, const char *ifname, const char *sandbox,
		      struct ip_config *ret_net);
/* Prints @json on stdout as one line. A reader that has gone is an error like any other. */
int result_print(json_t *json, struct err *err);
