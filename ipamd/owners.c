/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/owners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- what is owned --- */

static bool is_aux(const struct baseline *device)
{
	return strncmp(device->key, "aux:", 4) == 0;
}

/* The PF of a VF or subfunction; a NIC that is used whole is its own. */
static bool find_pf(const struct baseline *device, struct pci_addr *ret_pf)
{
	if (!device->vf.is_vf && !is_aux(device))
		return baseline_function(device, ret_pf);
	*ret_pf = device->vf.pf;
	return true;
}

static struct mac address_of(const struct baseline *device, const struct station *station)
{
	if (station->mac.len)
		return station->mac;
	if (mac_is_usable(&device->mac))
		return device->mac;
	return mac_is_usable(&device->vf.state.mac) ? device->vf.state.mac : (struct mac) { 0 };
}

static int vlan_of(const struct baseline *device, const struct station *station)
{
	if (station->has_vlan)
		return station->vlan;
	if (device->vf.is_vf && device->vf.state.known & VF_BIT(VF_VLAN))
		return device->vf.state.vlan;
	return OWNED_ANY_VLAN;
}

static uint64_t own_guid(const struct vf_state *state, const struct mac *mac)
{
	if (state->known & VF_BIT(VF_PORT_GUID) && guid_is_usable(state->port_guid))
		return state->port_guid;
	return mac_guid(mac);
}

struct owned owned_of(const struct baseline *device, const struct station *station, uint64_t guid)
{
	struct owned owned = {
		.vlan = vlan_of(device, station),
		.mac = address_of(device, station),
		.guid = guid ? guid : own_guid(&device->vf.state, &device->mac),
	};

	owned.has_pf = find_pf(device, &owned.pf);
	return owned;
}

struct owned owned_of_record(const struct attachment *a)
{
	struct station station = a->station;
	struct owned owned;

	/* An older daemon has not kept what was asked for. */
	if (!station.mac.len && mac_is_usable(&a->facts.mac))
		station.mac = a->facts.mac;
	owned = owned_of(&a->device, &station, a->guid);
	owned.id = a->id;
	return owned;
}

/* --- the list --- */

int owners_make_room(struct owners *owners)
{
	size_t size = owners->size ? owners->size * 2 : 16;
	struct owned *more;

	if (owners->count < owners->size)
		return 0;
	more = reallocarray(owners->at, size, sizeof(*more));
	if (!more)
		return -ENOMEM;
	owners->at = more;
	owners->size = size;
	return 0;
}

void owners_add(struct owners *owners, const struct owned *owned)
{
	owners->at[owners->count++] = *owned;
}

void owners_remove(struct owners *owners, uint64_t id)
{
	for (size_t i = 0; i < owners->count; i++) {
		if (owners->at[i].id == id) {
			owners->at[i] = owners->at[--owners->count];
			return;
		}
	}
}

void owners_free(struct owners *owners)
{
	free(owners->at);
	*owners = (struct owners) { 0 };
}

/* --- who has it --- */

static bool same_vlan(int a, int b)
{
	return a == b || a == OWNED_ANY_VLAN || b == OWNED_ANY_VLAN;
}

static bool clashes(const struct owned *wanted, const struct owned *other, bool *ret_by_guid)
{
	*ret_by_guid = wanted->guid && wanted->guid == other->guid;
	if (*ret_by_guid)
		return true;
	return wanted->mac.len && wanted->has_pf && other->has_pf &&
	       pci_same(&wanted->pf, &other->pf) && mac_equal(&wanted->mac, &other->mac) &&
	       same_vlan(wanted->vlan, other->vlan);
}

/* As its PF showed it last. */
static struct owned owned_of_vf(const struct pf_entry *pf, const struct vf_entry *vf)
{
	const bool knows_vlan = vf->now.known & VF_BIT(VF_VLAN);

	return (struct owned) {
		.has_pf = true,
		.pf = pf->addr,
		.vlan = knows_vlan ? vf->now.vlan : OWNED_ANY_VLAN,
		.mac = mac_is_usable(&vf->now.mac) ? vf->now.mac : (struct mac) { 0 },
		.guid = own_guid(&vf->now, &vf->mac),
	};
}

/* On all VLANs: the host may have any of them on it. */
static struct owned owned_of_pf(const struct pf_entry *pf)
{
	return (struct owned) {
		.has_pf = true,
		.pf = pf->addr,
		.vlan = OWNED_ANY_VLAN,
		.mac = mac_is_usable(&pf->mac) ? pf->mac : (struct mac) { 0 },
		.guid = mac_guid(&pf->mac),
	};
}

/* Of the VFs without a record only those count that are in use elsewhere. */
static bool find_on_pf(const struct pf_entry *pf, const struct pci_addr *self,
		       const struct owned *wanted, struct owners_clash *clash)
{
	struct owned other = owned_of_pf(pf);

	clash->pf = pf;
	if (!pci_same(&pf->addr, self) && clashes(wanted, &other, &clash->by_guid))
		return true;
	for (size_t i = 0; i < pf->vf_count; i++) {
		clash->vf = &pf->vfs[i];
		if (clash->vf->use != VF_AWAY || pci_same(&clash->vf->addr, self))
			continue;
		other = owned_of_vf(pf, clash->vf);
		if (clashes(wanted, &other, &clash->by_guid))
			return true;
	}
	return false;
}

bool owners_find(const struct owners *owners, const struct picture *picture,
		 const struct pci_addr *self, const struct owned *wanted,
		 struct owners_clash *ret_clash)
{
	*ret_clash = (struct owners_clash) { 0 };
	for (size_t i = 0; i < owners->count; i++) {
		ret_clash->id = owners->at[i].id;
		if (clashes(wanted, &owners->at[i], &ret_clash->by_guid))
			return true;
	}
	for (size_t i = 0; i < picture->pf_count; i++) {
		*ret_clash = (struct owners_clash) { 0 };
		if (find_on_pf(&picture->pfs[i], self, wanted, ret_clash))
			return true;
	}
	return false;
}
