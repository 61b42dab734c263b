/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "ipamd/daemon.h"
#include "ipamd/inventory.h"
#include "ipamd/reconcile.h"
#include "ipamd/restart.h"
#include "ipamd/spool.h"
#include "ipamd/undo.h"

#define LEDGER_GONE "the ledger in %.150s has gone, or is another file: a restart would not find it"

bool status_mass_death(const struct daemon *d)
{
	return reconcile_last(d->reconcile)->alarm;
}

const char *status_unwell(const struct daemon *d, char buf[STATUS_WHY_MAX])
{
	buf[0] = '\0';
	if (!d->stopping && !server_is_there(d->server))
		(void)snprintf(buf, STATUS_WHY_MAX,
			       "the socket %.107s has gone, or is another's; restart the daemon",
			       d->config.socket);
	return buf;
}

const char *status_unready(const struct daemon *d, char buf[STATUS_WHY_MAX])
{
	(void)status_unwell(d, buf);
	if (buf[0])
		return buf;
	if (d->stopping)
		(void)snprintf(buf, STATUS_WHY_MAX, "the daemon stops");
	else if (!ledger_is_there_still(d->ledger))
		(void)snprintf(buf, STATUS_WHY_MAX, LEDGER_GONE, d->config.state);
	else if (access(d->plugin, X_OK) < 0)
		(void)snprintf(buf, STATUS_WHY_MAX, "the plugin %.200s: %s", d->plugin,
			       strerror(errno));
	else if (ledger_pools(d->ledger)->count == 0)
		(void)snprintf(buf, STATUS_WHY_MAX, "no pool is configured");
	else if (ledger_is_tight(d->ledger))
		(void)snprintf(buf, STATUS_WHY_MAX, "the file system of %.200s is full",
			       d->config.state);
	return buf;
}

int status_renumbered(const struct daemon *d)
{
	const struct picture *picture = inventory_picture(d->inventory);
	int count = 0;

	for (size_t i = 0; i < picture->pf_count; i++) {
		for (size_t j = 0; j < picture->pfs[i].vf_count; j++)
			count += picture->pfs[i].vfs[j].renumbered;
	}
	return count;
}

static json_t *alarms_of(const struct daemon *d)
{
	const int renumbered = status_renumbered(d);
	const struct reconcile_report *last = reconcile_last(d->reconcile);
	json_t *alarms = json_array();

	if (alarms && !d->config_ok)
		(void)json_array_append_new(
			alarms,
			json_sprintf("the configuration was not taken: %s", d->config_error));
	if (alarms && ledger_is_tight(d->ledger))
		(void)json_array_append_new(alarms,
					    json_sprintf("the file system of %s is full: no "
							 "reservation is taken",
							 d->config.state));
	if (alarms && !ledger_is_there_still(d->ledger))
		(void)json_array_append_new(alarms, json_sprintf(LEDGER_GONE, d->config.state));
	if (alarms && last->alarm)
		(void)json_array_append_new(
			alarms, json_sprintf("%d of %d attachments look dead at once: none was "
					     "reclaimed",
					     last->dead, last->looked));
	if (alarms && renumbered)
		(void)json_array_append_new(
			alarms,
			json_sprintf("%d VFs have another RDMA character device than device "
				     "plugins were told of: start those again, then `spurctl vfs "
				     "--plugin-restarted`",
				     renumbered));
	return alarms;
}

int status_node(struct daemon *d, json_t **ret_json, struct err *err)
{
	struct ledger_counts counts;
	struct metrics_totals totals;
	int queued, running, r;

	r = ledger_counts(d->ledger, &counts, err);
	if (r < 0)
		return r;
	metrics_total(&d->metrics, &totals);
	undo_count(d, &queued, &running);
	*ret_json = json_pack(
		"{s:s, s:s, s:s, s:I, s:s, s:{s:I, s:I, s:I, s:I}, s:I, s:I, s:{s:i, s:i}, s:i, "
		"s:i,"
		" s:{s:b, s:I, s:s}, s:o, s:{s:I, s:I, s:I, s:f, s:f}}",
		"version", SPUR_VERSION, "node", d->node, "bootID", d->boot_id, "uptime",
		(json_int_t)((clock_boot_ms() - d->started_ms) / 1000), "state", d->config.state,
		"attachments", "unfinished", (json_int_t)counts.unfinished, "attached",
		(json_int_t)counts.attached, "dirty", (json_int_t)counts.dirty, "unconfirmed",
		(json_int_t)counts.unconfirmed, "rebooted", (json_int_t)counts.rebooted, "pools",
		(json_int_t)ledger_pools(d->ledger)->count, "undo", "queued", queued, "running",
		running, "spooled", spool_count(d->spool), "connections", server_conns(d->server),
		"config", "ok", d->config_ok, "time", (json_int_t)d->config_ms, "error",
		d->config_error, "alarms", alarms_of(d), "totals", "requests",
		(json_int_t)totals.requests, "refused", (json_int_t)totals.refused, "commits",
		(json_int_t)totals.commits, "requestSeconds", totals.request_s, "commitSeconds",
		totals.commit_s);
	if (!*ret_json || json_object_set_new(*ret_json, "restart", restart_look(d->restart)) < 0)
		return err_nomem(err);
	return 0;
}

static json_t *cidr_json(const struct cidr *cidr)
{
	char text[CIDR_TEXT];

	return cidr->ip.family ? json_string(cidr_format(cidr, text)) : NULL;
}

static json_t *ip_json(const struct ip *ip)
{
	char text[IP_TEXT];

	return ip->family ? json_string(ip_format(ip, text)) : NULL;
}

static int add_rail(struct daemon *d, const struct pool *pool, const struct rail *rail,
		    json_t *rails, struct err *err)
{
	struct rail_usage usage;
	json_t *json;
	int r;

	r = ledger_usage(d->ledger, pool, rail, &usage, err);
	if (r < 0)
		return r;
	json = json_pack("{s:s, s:o*, s:o*, s:o*, s:o*, s:I, s:I, s:I, s:I, s:I}", "name",
			 rail->name, "cidr", cidr_json(&rail->cidr), "cidr6",
			 cidr_json(&rail->cidr6), "gateway", ip_json(&rail->gateway), "gateway6",
			 ip_json(&rail->gateway6), "capacity", (json_int_t)usage.capacity, "held",
			 (json_int_t)usage.held, "resting", (json_int_t)usage.resting, "draining",
			 (json_int_t)usage.draining, "claimed", (json_int_t)usage.claimed);
	return json_array_append_new(rails, json) < 0 ? err_nomem(err) : 0;
}

static int add_pool(struct daemon *d, const struct pool *pool, json_t *pools, struct err *err)
{
	CLEANUP_JSON json_t *rails = json_array();
	json_t *json;
	int r = rails ? 0 : err_nomem(err);

	for (size_t i = 0; r == 0 && i < pool->rail_count; i++)
		r = add_rail(d, pool, &pool->rails[i], rails, err);
	if (r < 0)
		return r;
	json = json_pack("{s:s, s:I, s:s, s:s, s:O}", "name", pool->name, "cooldown_s",
			 (json_int_t)(pool->cooldown_ms / 1000), "restFor",
			 pool_rest_for_name(pool->rest_for), "rebind",
			 pool_rebind_name(pool->rebind), "rails", rails);
	if (json && pool->slots.bits < RAIL_ONE_SLOT)
		(void)json_object_update_new(
			json, json_pack("{s:i, s:s, s:I}", "blockBits", pool->slots.bits, "subnet",
					pool->slots.subnets ? "slot" : "rail", "slots",
					(json_int_t)rail_slot_count(&pool->rails[0])));
	return json_array_append_new(pools, json) < 0 ? err_nomem(err) : 0;
}

static json_t *pool_entry(json_t *pools, const char *name)
{
	json_t *pool;
	size_t i;

	json_array_foreach (pools, i, pool) {
		if (strcmp(json_string_value(json_object_get(pool, "name")), name) == 0)
			return pool;
	}
	return NULL;
}

static int add_removed_rail(const struct rail_held *on, json_t *pools, struct err *err)
{
	json_t *pool = pool_entry(pools, on->pool), *rail;

	if (!pool) {
		pool = json_pack("{s:s, s:b, s:[]}", "name", on->pool, "removed", 1, "rails");
		if (json_array_append_new(pools, pool) < 0)
			return err_nomem(err);
	}
	rail = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "name", on->rail, "removed", 1,
			 "capacity", (json_int_t)0, "held", (json_int_t)on->held, "resting",
			 (json_int_t)0, "draining", (json_int_t)on->draining, "claimed",
			 (json_int_t)0);
	return json_array_append_new(json_object_get(pool, "rails"), rail) < 0 ? err_nomem(err) : 0;
}

/*
 * What left the pools while something was held there, until that is released: rails of the pools on
 * this page, and on the last page also pools that are gone.
 */
static int add_removed(struct daemon *d, const char *name, bool is_last, json_t *pools,
		       struct err *err)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	int r;

	r = ledger_draining(d->ledger, &held, err);
	for (size_t i = 0; r == 0 && i < held.count; i++) {
		const struct rail_held *on = &held.at[i];
		const struct pool *pool = pool_find(ledger_pools(d->ledger), on->pool);

		if (name && strcmp(name, on->pool) != 0)
			continue;
		if (pool ? !pool_rail(pool, on->rail) && pool_entry(pools, on->pool) : is_last)
			r = add_removed_rail(on, pools, err);
	}
	return r;
}

int status_pools(struct daemon *d, const char *name, size_t after, size_t max, json_t **ret_json,
		 struct err *err)
{
	const struct pool_set *set = ledger_pools(d->ledger);
	CLEANUP_JSON json_t *pools = json_array();
	size_t next = 0;
	int r = pools ? 0 : err_nomem(err);

	for (size_t i = after; r == 0 && !next && i < set->count; i++) {
		if (name && strcmp(name, set->pools[i].name) != 0)
			continue;
		r = add_pool(d, &set->pools[i], pools, err);
		if (r == 0 && json_array_size(pools) > 1 &&
		    json_dumpb(pools, NULL, 0, JSON_COMPACT) > max) {
			(void)json_array_remove(pools, json_array_size(pools) - 1);
			next = i;
		}
	}
	if (r == 0)
		r = add_removed(d, name, !next, pools, err);
	if (r < 0)
		return r;
	*ret_json = json_pack("{s:O, s:I}", "pools", pools, "next", (json_int_t)next);
	return *ret_json ? 0 : err_nomem(err);
}

/* --- VFs --- */

const char *status_vf_use(enum vf_use use)
{
	static const char *const names[] = {
		[VF_FREE] = "free",           [VF_HELD] = "held",
		[VF_USERSPACE] = "userspace", [VF_DRIVERLESS] = "driverless",
		[VF_AWAY] = "away",           [VF_PREPARING] = "preparing",
		[VF_BROKEN] = "broken",       [VF_CLAIMED] = "claimed",
	};

	return names[use];
}

const char *status_rail_of(struct daemon *d, const struct pf_entry *pf)
{
	const struct rail *rail = pool_set_rail_of(ledger_pools(d->ledger), pf->netdev, &pf->addr);

	return rail ? rail->name : "";
}

/* The record that owns it: pod and key. NULL if it has gone, or on failure. */
static json_t *owner_json(struct daemon *d, const struct vf_entry *vf)
{
	struct attachment a = { 0 };
	json_t *json;
	struct err err;

	if (!vf->owner || ledger_find_id(d->ledger, vf->owner, &a, &err) < 0)
		return NULL;
	json = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s}", "id", (json_int_t)a.id, "state",
			 attachment_state_name(a.state), "network", a.network, "containerID",
			 a.container_id, "ifname", a.ifname, "namespace", a.pod.namespace, "pod",
			 a.pod.name);
	attachment_free(&a);
	return json;
}

static json_t *guid_json(uint64_t guid)
{
	char text[GUID_TEXT];

	return guid ? json_string(guid_format(guid, text)) : NULL;
}

/* {"promised", "is"}: its RDMA character device. NULL: it is as promised, or on failure. */
static json_t *renumbered_json(struct daemon *d, const struct vf_entry *vf)
{
	char key[PROTO_DEVICE_MAX], addr[PCI_TEXT + 4];
	struct rebind rebind;
	struct err err;

	(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&vf->addr, addr));
	if (!vf->renumbered || ledger_rebind_of(d->ledger, key, &rebind, &err) < 0)
		return NULL;
	return json_pack("{s:s, s:s}", "promised", rebind.promised, "is", rebind.uverbs);
}

static const char *trouble_of(const struct pf_entry *pf, const struct vf_entry *vf)
{
	if (vf->use == VF_BROKEN)
		return vf->trouble;
	if (vf->use == VF_PREPARING && vf->to_rebind)
		return "its driver is to be bound anew";
	return vf->unread[0] ? vf->unread : pf->why;
}

static json_t *vf_json(struct daemon *d, const struct pf_entry *pf, const struct vf_entry *vf)
{
	const char *trouble = trouble_of(pf, vf);
	char addr[PCI_TEXT + 4], pf_addr[PCI_TEXT + 4];

	return json_pack(
		"{s:o, s:s, s:o, s:i, s:o, s:o, s:o, s:i, s:s, s:s, s:o*, s:o*, s:o*, s:o*, s:o*}",
		"device", json_sprintf("pci:%s", pci_format(&vf->addr, addr)), "pf",
		pci_format(&pf->addr, pf_addr), "pfNetdev", json_text(pf->netdev), "vf", vf->index,
		"netdev", json_text(vf->netdev), "rdma", json_text(vf->rdma), "driver",
		json_text(vf->driver), "numa", vf->numa_node, "rail", status_rail_of(d, pf),
		"state", status_vf_use(vf->use), "drift", vf->drifted ? json_string(vf->why) : NULL,
		"why", trouble[0] ? json_string(trouble) : NULL, "guid", guid_json(vf->guid),
		"owner", owner_json(d, vf), "renumbered", renumbered_json(d, vf));
}

int status_devices(struct daemon *d, size_t after, size_t limit, json_t **ret_json, struct err *err)
{
	const struct picture *picture = inventory_picture(d->inventory);
	CLEANUP_JSON json_t *devices = json_array();
	size_t number = 0, next = 0;

	for (size_t i = 0; i < picture->pf_count; i++) {
		const struct pf_entry *pf = &picture->pfs[i];

		for (size_t j = 0; j < pf->vf_count; j++, number++) {
			if (number < after)
				continue;
			if (number >= after + limit) {
				next = number;
				break;
			}
			if (json_array_append_new(devices, vf_json(d, pf, &pf->vfs[j])) < 0)
				return err_nomem(err);
		}
		if (next)
			break;
	}
	*ret_json = json_pack("{s:O, s:I}", "devices", devices, "next", (json_int_t)next);
	return *ret_json ? 0 : err_nomem(err);
}
