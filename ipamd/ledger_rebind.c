/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which VFs are bound to their driver anew before they are given out again: noted in the commit
 * that releases them, so that no kill comes between. rebind.c keeps it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipamd/ledger_inside.h"
#include "ipamd/rebind.h"

/* A VF has one name here, whatever name its record has it by. */
static bool vf_key(const struct baseline *device, char key[PROTO_DEVICE_MAX])
{
	char address[PCI_TEXT + 4];
	struct pci_addr pci;

	if (!device->vf.is_vf || !baseline_function(device, &pci))
		return false;
	(void)snprintf(key, PROTO_DEVICE_MAX, "pci:%s", pci_format(&pci, address));
	return true;
}

/* That of the record's pool; else of the first whose rail has its PF. */
static enum pool_rebind policy_of(const struct ledger *ledger, const struct attachment *a)
{
	const struct pool_set *set = &ledger->pools;
	const struct pool *pool = pool_find(set, a->pool);

	for (size_t i = 0; i < set->count && !pool; i++) {
		if (pool_rail_of(&set->pools[i], a->device.vf.pf_netdev, &a->device.vf.pf))
			pool = &set->pools[i];
	}
	return pool ? pool->rebind : POOL_REBIND_AUTO;
}

/*
 * Only where the netdev was given: what user space drives has none that anything could stand on,
 * and in a chain it is another plugin's, and may still be in the pod.
 */
static bool needs_rebind(const struct ledger *ledger, const struct attachment *a,
			 const struct release *how)
{
	if (!a->device.name[0])
		return false;
	switch (policy_of(ledger, a)) {
	case POOL_REBIND_ALWAYS:
		return true;
	case POOL_REBIND_AUTO:
		return how->used_above;
	case POOL_REBIND_NEVER:
		break;
	}
	return false;
}

static bool is_of_this_boot(const struct ledger *ledger, const struct rebind *rebind)
{
	return !ledger_is_rebooted(ledger, rebind->id);
}

static bool find(struct ledger *ledger, const char *device_key, struct rebind *ret_rebind)
{
	if (rebind_get(ledger->store, device_key, ret_rebind) &&
	    is_of_this_boot(ledger, ret_rebind))
		return true;
	*ret_rebind = (struct rebind) { 0 };
	return false;
}

/* What device plugins were told is what was true before the first of several that renumber it. */
void ledger_note_rebind(struct ledger *ledger, const struct attachment *a,
			const struct release *how)
{
	const struct rdma_baseline *rdma = &a->device.rdma;
	char key[PROTO_DEVICE_MAX];
	struct rebind rebind;
	bool renumbered;

	if (!vf_key(&a->device, key) || !needs_rebind(ledger, a, how))
		return;
	if (find(ledger, key, &rebind) && rebind.is_due) /* a dirty one that is tried again */
		return;
	renumbered = rebind_is_renumbered(&rebind);
	rebind.id = a->id;
	rebind.is_due = true;
	(void)snprintf(rebind.netdev, sizeof(rebind.netdev), "%s", a->device.name);
	(void)snprintf(rebind.rdma, sizeof(rebind.rdma), "%s", rdma->name);
	(void)snprintf(rebind.uverbs, sizeof(rebind.uverbs), "%s", rdma->uverbs);
	if (!renumbered)
		(void)snprintf(rebind.promised, sizeof(rebind.promised), "%s", rdma->uverbs);
	rebind_put(ledger->store, key, &rebind);
}

int ledger_rebind_of(struct ledger *ledger, const char *device_key, struct rebind *ret_rebind,
		     struct err *err)
{
	bool own, found;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	found = find(ledger, device_key, ret_rebind);
	r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
	return r < 0 ? r : found ? 0 : -ENOENT;
}

int ledger_rebound(struct ledger *ledger, const char *device_key, const char *uverbs,
		   struct err *err)
{
	struct rebind rebind;

	if (find(ledger, device_key, &rebind)) {
		rebind.is_due = false;
		(void)snprintf(rebind.uverbs, sizeof(rebind.uverbs), "%s", uverbs);
		rebind_put(ledger->store, device_key, &rebind);
	}
	return store_check(ledger->store, err);
}

int ledger_plugin_restarted(struct ledger *ledger, const char *device_key, int *ret_count,
			    struct err *err)
{
	char key_text[PROTO_DEVICE_MAX];
	struct store_key key = { 0 };
	struct rebind rebind;

	*ret_count = 0;
	for (; rebind_next(ledger->store, &key, key_text, &rebind); store_key_next(&key)) {
		if (device_key && strcmp(key_text, device_key) != 0)
			continue;
		if (is_of_this_boot(ledger, &rebind) && rebind_is_renumbered(&rebind))
			(*ret_count)++;
		else if (is_of_this_boot(ledger, &rebind))
			continue;
		memcpy(rebind.promised, rebind.uverbs, sizeof(rebind.promised));
		rebind.is_due = rebind.is_due && is_of_this_boot(ledger, &rebind);
		rebind_put(ledger->store, key_text, &rebind);
	}
	return store_check(ledger->store, err);
}
