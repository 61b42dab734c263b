/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/settle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/rtnetlink.h>

#include "base/clock.h"
#include "cni/device.h"
#include "cni/plan.h"
#include "cni/rdma.h"
#include "rt/addr.h"

bool settle_is_due(const struct attachment *record)
{
	return record->state == ATTACHMENT_UNFINISHED || record->state == ATTACHMENT_UNCONFIRMED;
}

static int drift(const struct attachment *record, const char *why, struct err *err)
{
	(void)err_set(err, ESTALE, ERR_DRIFT, "%s: %s", record->ifname, why);
	err_details(err,
		    "the daemon was restarted during its ADD, and nobody knows how that ended");
	return -ESTALE;
}

/* What it was called when it moved, if it has: by now its pod may call it anything. */
static int take_rdma(struct site *site, struct facts *facts, struct err *err)
{
	const char *name = site->conf->rdma_name;
	struct rdma_device device = { 0 };
	struct wire *wire;
	struct err none;
	bool movable;
	int r = rdma_is_movable(site, &movable, err);

	if (r == 0 && movable)
		r = rdma_look(site, true, &device, err);
	if (r <= 0)
		return r;
	facts->rdma.moved = true;
	facts->rdma.index = (int)device.index;
	(void)snprintf(facts->rdma.name, sizeof(facts->rdma.name), "%s",
		       name ? name : site->record->device.rdma.name);
	r = site_rdma(site, true, &wire, err);
	if (r == 0 && rdma_chardev(wire, device.index, facts->rdma.uverbs, &none) < 0)
		facts->rdma.uverbs[0] = '\0'; /* it has none */
	return r;
}

/* Address and MTU are not learnt: they are to be what ADD was to make them. */
static int take_device(const struct recorded *recorded, struct site *site, struct facts *facts,
		       struct err *err)
{
	struct link_info link;
	struct plan plan;
	int r = device_find_in_pod(site, &link, err);

	if (r <= 0)
		return r < 0 ? r : drift(recorded->record, "is not in the pod", err);
	facts->ifindex = link.ifindex;
	facts->peer = link.peer;
	r = 0;
	if (recorded->conf.ipam == IPAM_FOREIGN)
		r = recorded_addresses(site, link.ifindex, &facts->net, err);
	if (r == 0)
		r = recorded_plan(recorded, site, &plan, err);
	if (r == 0)
		facts->table = plan.table;
	return r;
}

static int take_all(const struct recorded *recorded, struct site *site, struct facts *facts,
		    struct err *err)
{
	const struct attachment *record = recorded->record;
	int r = 0;

	if (!site->pod)
		return drift(record, "no path leads to the pod's namespace", err);
	if (record->device.name[0])
		r = take_device(recorded, site, facts, err);
	return r < 0 ? r : take_rdma(site, facts, err);
}

int settle(struct client *client, const struct recorded *recorded, struct site *site,
	   struct attachment *record, struct err *err)
{
	struct facts facts = { .rdma = { .index = -1, .gid_index = -1 }, .net = record->net };
	int r = 0;

	if (site)
		r = take_all(recorded, site, &facts, err);
	if (r == 0)
		r = client_settle(client, record, &facts, clock_boot_ms() + PROTO_WAIT_MS, err);
	if (r == 0)
		record->facts = facts;
	return r;
}
