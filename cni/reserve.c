/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/reserve.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rt/nsid.h"

/* Nothing may be done on the word of a record that is not the one that was asked for. */
static int check_record(const struct reserve_request *asked, const struct attachment *record,
			struct err *err)
{
	if (strcmp(record->network, asked->key.network) == 0 &&
	    strcmp(record->container_id, asked->key.container_id) == 0 &&
	    strcmp(record->ifname, asked->key.ifname) == 0 &&
	    !record->device.key[0] == !(asked->device || asked->choose_device))
		return 0;
	return err_set(err, EPROTO, ERR_INTERNAL,
		       "attachment.reserve: the answer is the record of another attachment");
}

int reserve(struct client *client, const struct request *request, const struct site *site,
	    struct attachment *ret_record, struct err *err)
{
	const struct netconf *conf = &request->conf;
	CLEANUP_JSON json_t *env = request_env_encode(request);
	CLEANUP_JSON json_t *netconf = request_netconf(request);
	struct reserve_request ask = {
		.key = request_key(request),
		.pod = request->args.pod,
		.netns = { .path = (char *)request->env.netns, .cookie = site->pod_cookie },
		.program = request_program(request),
		.env = env,
		.netconf = netconf,
		.device = conf->device[0] ? conf->device : NULL,
		.netdev = conf->netdev,
		.choose_device = conf->choose_device,
		.rdma_only = conf->rdma_only,
		.from_plugin = conf->from_plugin,
		.station = { conf->mac, conf->vf.known & VF_BIT(VF_VLAN), conf->vf.vlan },
		.guid = conf->guid,
		.pkey = conf->pkey,
		.pool = conf->pool,
		.rail = conf->rail,
		.deadline_ms = clock_boot_ms() + PROTO_WAIT_MS,
	};
	int r;

	if (!env || !netconf)
		return err_nomem(err);
	if (conf->ipam == IPAM_OURS) { /* another IPAM reads them itself */
		memcpy(ask.ips, conf->ips, sizeof(ask.ips));
		ask.ip_count = conf->ip_count;
		ask.gateway = conf->gateway;
		ask.has_index = conf->has_index;
		ask.index = conf->index;
		ask.claim_all = conf->claim_all;
		memcpy(ask.claim, conf->claim, sizeof(ask.claim));
		ask.claim_count = conf->claim_count;
		ask.auto_table = conf->routing.asked && !conf->routing.table;
		ask.sticky = conf->sticky;
	}
	r = nsid_ensure(site->host, site->pod_fd, &ask.netns.nsid, err);
	if (r < 0)
		return r;
	r = client_reserve(client, &ask, ret_record, err);
	return r < 0 ? r : check_record(&ask, ret_record, err);
}
