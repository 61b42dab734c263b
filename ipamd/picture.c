/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/picture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

bool pci_same(const struct pci_addr *a, const struct pci_addr *b)
{
	return a->domain == b->domain && a->bus == b->bus && a->device == b->device &&
	       a->function == b->function;
}

static int compare_addrs(const struct pci_addr *a, const struct pci_addr *b)
{
	if (a->domain != b->domain)
		return a->domain < b->domain ? -1 : 1;
	if (a->bus != b->bus)
		return a->bus - b->bus;
	if (a->device != b->device)
		return a->device - b->device;
	return a->function - b->function;
}

/* --- finding --- */

struct pf_entry *picture_pf(const struct picture *picture, const struct pci_addr *addr)
{
	for (size_t i = 0; i < picture->pf_count; i++) {
		if (pci_same(&picture->pfs[i].addr, addr))
			return &picture->pfs[i];
	}
	return NULL;
}

static struct vf_entry *find_vf(const struct pf_entry *pf, const struct pci_addr *addr)
{
	for (size_t i = 0; pf && i < pf->vf_count; i++) {
		if (pci_same(&pf->vfs[i].addr, addr))
			return &pf->vfs[i];
	}
	return NULL;
}

struct vf_entry *picture_vf(const struct picture *picture, const struct pci_addr *addr,
			    struct pf_entry **ret_pf)
{
	for (size_t i = 0; i < picture->pf_count; i++) {
		struct vf_entry *vf = find_vf(&picture->pfs[i], addr);

		if (!vf)
			continue;
		if (ret_pf)
			*ret_pf = &picture->pfs[i];
		return vf;
	}
	return NULL;
}

/* --- drift --- */

/* Of what its driver told, behind @len bytes. */
static void ethtool_differences(const struct ethtool_settings *was,
				const struct ethtool_settings *is, char why[PICTURE_WHY_MAX],
				size_t len)
{
	for (int i = 0; i <= ETHTOOL_FEATURES && len < PICTURE_WHY_MAX; i++) {
		const bool bits = i == ETHTOOL_FEATURES;

		if (ethtool_setting_equal(was, is, i))
			continue;
		len += (size_t)snprintf(why + len, PICTURE_WHY_MAX - len,
					bits ? "%s%s is 0x%" PRIx64 ", was 0x%" PRIx64
					     : "%s%s is %" PRIu64 ", was %" PRIu64,
					len ? "; " : "", ethtool_setting_name(i),
					bits ? is->features : is->numbers[i],
					bits ? was->features : was->numbers[i]);
	}
}

/* Of its RDMA device, where both are known; likewise. Returns how many bytes there are then. */
static size_t moderation_difference(enum rdma_moderation was, enum rdma_moderation is,
				    char why[PICTURE_WHY_MAX], size_t len)
{
	if (!was || !is || was == is || len >= PICTURE_WHY_MAX)
		return len;
	return len + (size_t)snprintf(why + len, PICTURE_WHY_MAX - len,
				      "%sadaptive-moderation is %s", len ? "; " : "",
				      is == RDMA_MODERATION_ON ? "on, was off" : "off, was on");
}

/* "trust is on, was off; …": "" if all is as it was. */
static void differences(const struct vf_entry *vf, char why[PICTURE_WHY_MAX])
{
	const struct vf_state *was = &vf->baseline, *is = &vf->now;
	size_t len = 0;

	why[0] = '\0';
	for (int i = 0; i < VF_ATTRS && len < PICTURE_WHY_MAX; i++) {
		char now[VF_VALUE_TEXT], before[VF_VALUE_TEXT];
		enum vf_attr attr = (enum vf_attr)i;

		if (vf_attr_equal(was, is, attr))
			continue;
		len += (size_t)snprintf(why + len, PICTURE_WHY_MAX - len, "%s%s is %s, was %s",
					len ? "; " : "", vf_attr_name(attr),
					vf_attr_format(is, attr, now),
					vf_attr_format(was, attr, before));
	}
	len = moderation_difference(vf->moderation, vf->moderation_now, why, len);
	ethtool_differences(&vf->ethtool, &vf->ethtool_now, why, len);
}

/* What is known of it as it is now becomes what it is given back as. */
static void take_baseline(struct vf_entry *vf)
{
	vf->baseline = vf->now;
	if (vf->ethtool_now.known)
		vf->ethtool = vf->ethtool_now;
	if (vf->moderation_now)
		vf->moderation = vf->moderation_now;
}

/* Its PF, its driver and its RDMA device tell, as far as they did when it was free? */
static bool is_told(const struct vf_entry *vf)
{
	return (vf->now.known || !vf->baseline.known) &&
	       (vf->ethtool_now.known || !vf->ethtool.known) &&
	       (vf->moderation_now || !vf->moderation || !vf->rdma[0]);
}

bool picture_is_away(const struct vf_entry *vf)
{
	return vf->unread[0] || (vf->driver[0] && !vf->userspace && !vf->netdev[0] && !vf->unseen);
}

void picture_judge(struct vf_entry *vf)
{
	if (vf->owner)
		vf->use = VF_HELD;
	else if (vf->preparing || (vf->to_rebind && !vf->broken))
		vf->use = VF_PREPARING;
	else if (vf->broken)
		vf->use = VF_BROKEN;
	else if (picture_is_away(vf))
		vf->use = VF_AWAY;
	else if (!vf->driver[0])
		vf->use = VF_DRIVERLESS;
	else if (vf->userspace)
		vf->use = VF_USERSPACE;
	else
		vf->use = vf->claimed ? VF_CLAIMED : VF_FREE;
}

/* What a driver makes anew is no drift; what it does not tell yet is taken when it does. */
static void take_rebound(struct vf_entry *vf)
{
	if (!is_told(vf))
		return;
	vf->baseline.mac = vf->now.mac;
	if (vf->ethtool_now.known)
		vf->ethtool = vf->ethtool_now;
	if (vf->moderation_now)
		vf->moderation = vf->moderation_now;
	vf->rebound = false;
}

/* What was read of a VF that nobody owns, and that may have come back changed. */
static void compare(struct vf_entry *vf, const struct pf_entry *pf,
		    void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	char why[PICTURE_WHY_MAX];

	if (vf->rebound)
		take_rebound(vf);
	differences(vf, why);
	if (!why[0] && !is_told(vf))
		return; /* what is not said of it may differ */
	if (!why[0]) {
		bool over = vf->drifted;

		take_baseline(vf);
		vf->touched = vf->drifted = false;
		vf->why[0] = '\0';
		if (over)
			tell(pf, vf);
		return;
	}
	if (vf->drifted && strcmp(vf->why, why) == 0)
		return;
	vf->drifted = true;
	memcpy(vf->why, why, sizeof(why));
	tell(pf, vf);
}

/* --- taking a reading --- */

static void take_facts(struct vf_entry *vf, const struct scan_vf *seen)
{
	vf->index = seen->index;
	memcpy(vf->unread, seen->why, sizeof(vf->unread));
	if (seen->why[0])
		return;
	memcpy(vf->netdev, seen->netdev, sizeof(vf->netdev));
	memcpy(vf->rdma, seen->rdma, sizeof(vf->rdma));
	memcpy(vf->driver, seen->driver, sizeof(vf->driver));
	vf->userspace = seen->userspace;
	vf->mac = seen->mac;
	vf->numa_node = seen->numa_node;
}

static void take_state(struct vf_entry *vf, const struct pf_entry *pf, const struct scan_vf *seen,
		       void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	vf->now = seen->said ? seen->state : (struct vf_state) { 0 };
	vf->ethtool_now = seen->ethtool;
	vf->moderation_now = seen->moderation;
	if (vf->owner || vf->to_rebind)
		return;
	if (vf->touched)
		compare(vf, pf, tell);
	else
		take_baseline(vf);
}

/* @vf is what was known of it, or a new entry. */
static void take_vf(struct vf_entry *vf, const struct pf_entry *pf, const struct scan *scan,
		    const struct scan_pf *from, const struct scan_vf *seen,
		    void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	/* Begun before it was given back, a reading shows it as it was in the pod. */
	if (vf->changed_ns >= scan->begun_ns && !vf->fresh)
		return;
	take_facts(vf, seen);
	if (!vf->owner)
		vf->unseen = false;
	if (from->listed)
		take_state(vf, pf, seen, tell);
	picture_judge(vf);
}

static void copy_why(struct pf_entry *pf, const struct scan_pf *seen,
		     void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	if (!seen->listed || strcmp(pf->why, seen->why) == 0)
		return;
	memcpy(pf->why, seen->why, sizeof(pf->why));
	tell(pf, NULL);
}

static void copy_pf(struct pf_entry *pf, const struct scan_pf *seen,
		    void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	pf->addr = seen->addr;
	memcpy(pf->netdev, seen->netdev, sizeof(pf->netdev));
	pf->ifindex = seen->ifindex;
	pf->mtu = seen->mtu;
	if (seen->mac.len)
		pf->mac = seen->mac;
	pf->infiniband = seen->infiniband;
	copy_why(pf, seen, tell);
}

/* The VFs of a PF as they are now, each with what was known of it. @vfs has room for all. */
static bool take_pf(struct pf_entry *pf, struct vf_entry *vfs, const struct scan *scan,
		    const struct scan_pf *seen,
		    void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	bool fresh = false;

	copy_pf(pf, seen, tell);
	for (size_t i = 0; i < seen->vf_count; i++) {
		const struct vf_entry *known = find_vf(pf, &seen->vfs[i].addr);

		vfs[i] = known ? *known
			       : (struct vf_entry) { .addr = seen->vfs[i].addr, .fresh = true };
		fresh = fresh || vfs[i].fresh;
		take_vf(&vfs[i], pf, scan, seen, &seen->vfs[i], tell);
	}
	free(pf->vfs);
	pf->vfs = vfs;
	pf->vf_count = seen->vf_count;
	return fresh;
}

static void remove_pf(struct picture *picture, struct pf_entry *pf)
{
	free(pf->vfs);
	picture->pf_count--;
	memmove(pf, pf + 1, (size_t)(&picture->pfs[picture->pf_count] - pf) * sizeof(*pf));
}

static struct pf_entry *insert_pf(struct picture *picture, const struct pci_addr *addr)
{
	size_t at = 0;

	while (at < picture->pf_count && compare_addrs(&picture->pfs[at].addr, addr) < 0)
		at++;
	memmove(&picture->pfs[at + 1], &picture->pfs[at],
		(picture->pf_count - at) * sizeof(*picture->pfs));
	picture->pf_count++;
	picture->pfs[at] = (struct pf_entry) { .addr = *addr };
	return &picture->pfs[at];
}

/* True if the reading has no VFs of the PF to take: it has none, or they stay as they were. */
static bool take_none(struct picture *picture, struct pf_entry *pf, const struct scan_pf *seen,
		      void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	if (pf && seen->unread) {
		copy_why(pf, seen, tell);
		return true;
	}
	if (seen->vf_count || seen->unread)
		return false;
	if (pf)
		remove_pf(picture, pf);
	return true;
}

static void drop_unseen(struct picture *picture, const struct scan *scan)
{
	for (size_t i = picture->pf_count; i-- > 0;) {
		bool seen = false;

		for (size_t j = 0; j < scan->pf_count; j++)
			seen = seen || pci_same(&picture->pfs[i].addr, &scan->pfs[j].addr);
		if (!seen)
			remove_pf(picture, &picture->pfs[i]);
	}
}

static int make_room(struct picture *picture, size_t more)
{
	struct pf_entry *pfs;

	if (more == 0)
		return 0;
	pfs = reallocarray(picture->pfs, picture->pf_count + more, sizeof(*pfs));
	if (!pfs)
		return -ENOMEM;
	picture->pfs = pfs;
	return 0;
}

int picture_take(struct picture *picture, struct scan *scan, bool *ret_fresh,
		 void (*tell)(const struct pf_entry *pf, const struct vf_entry *vf))
{
	int r = make_room(picture, scan->pf_count);

	*ret_fresh = false;
	if (r == 0 && scan->all)
		drop_unseen(picture, scan);
	for (size_t i = 0; r == 0 && i < scan->pf_count; i++) {
		const struct scan_pf *seen = &scan->pfs[i];
		struct pf_entry *pf = picture_pf(picture, &seen->addr);
		struct vf_entry *vfs;

		if (take_none(picture, pf, seen, tell))
			continue;
		vfs = calloc(seen->vf_count + 1, sizeof(*vfs));
		if (!vfs) {
			r = -ENOMEM;
			break;
		}
		if (!pf)
			pf = insert_pf(picture, &seen->addr);
		if (take_pf(pf, vfs, scan, seen, tell))
			*ret_fresh = true;
	}
	scan_free(scan);
	return r;
}

void scan_free(struct scan *scan)
{
	for (size_t i = 0; i < scan->pf_count; i++)
		free(scan->pfs[i].vfs);
	free(scan->pfs);
	*scan = (struct scan) { 0 };
}

void picture_free(struct picture *picture)
{
	for (size_t i = 0; i < picture->pf_count; i++)
		free(picture->pfs[i].vfs);
	free(picture->pfs);
	*picture = (struct picture) { 0 };
}

/* --- owners --- */

void picture_forget(struct picture *picture, const struct pci_addr *addr)
{
	struct pf_entry *pf;
	struct vf_entry *vf = picture_vf(picture, addr, &pf);

	if (!vf)
		return;
	pf->vf_count--;
	memmove(vf, vf + 1, (size_t)(&pf->vfs[pf->vf_count] - vf) * sizeof(*vf));
}

void picture_own(struct vf_entry *vf, uint64_t id, const struct vf_state *baseline,
		 const struct ethtool_settings *ethtool)
{
	if (baseline)
		vf->baseline = *baseline;
	if (ethtool)
		vf->ethtool = *ethtool;
	vf->owner = id;
	vf->fresh = false;
	vf->touched = true;
	vf->unseen = vf->settled = false;
	picture_judge(vf);
}

void picture_release(struct vf_entry *vf, uint64_t now_ns)
{
	vf->owner = 0;
	vf->unseen = true;
	vf->changed_ns = now_ns;
	picture_judge(vf);
}

void picture_rebound(struct vf_entry *vf, uint64_t now_ns)
{
	vf->to_rebind = false;
	vf->rebound = vf->touched = true;
	picture_release(vf, now_ns);
}

void picture_claim(struct vf_entry *vf, bool claimed)
{
	vf->claimed = claimed;
	picture_judge(vf);
}

const char *picture_trouble(const struct vf_entry *vf)
{
	return vf->to_rebind ? "its driver was not bound anew" : "it has not got its GUID";
}

/* --- choosing --- */

struct pf_load {
	const struct pf_entry *pf;
	size_t in_use;
};

static int compare_loads(const void *a, const void *b)
{
	const struct pf_load *one = a, *other = b;

	if (one->in_use != other->in_use)
		return one->in_use < other->in_use ? -1 : 1;
	return one->pf < other->pf ? -1 : 1;
}

static size_t count_in_use(const struct pf_entry *pf)
{
	size_t count = 0;

	for (size_t i = 0; i < pf->vf_count; i++)
		count += pf->vfs[i].use == VF_HELD || pf->vfs[i].use == VF_CLAIMED;
	return count;
}

int picture_offer(const struct picture *picture,
		  int (*take)(const struct pf_entry *pf, const struct vf_entry *vf, void *arg),
		  void *arg)
{
	CLEANUP_FREE struct pf_load *loads = calloc(picture->pf_count + 1, sizeof(*loads));
	int r = 0;

	if (!loads)
		return -ENOMEM;
	for (size_t i = 0; i < picture->pf_count; i++)
		loads[i] = (struct pf_load) { &picture->pfs[i], count_in_use(&picture->pfs[i]) };
	qsort(loads, picture->pf_count, sizeof(*loads), compare_loads);
	for (size_t i = 0; r == 0 && i < picture->pf_count; i++) {
		const struct pf_entry *pf = loads[i].pf;

		for (size_t j = 0; r == 0 && j < pf->vf_count; j++) {
			if (pf->vfs[j].use == VF_FREE)
				r = take(pf, &pf->vfs[j], arg);
		}
	}
	return r;
}

/* --- GUIDs --- */

bool picture_needs_guid(const struct vf_entry *vf)
{
	const struct vf_state want = {
		.known = VF_BIT(VF_NODE_GUID) | VF_BIT(VF_PORT_GUID),
		.node_guid = vf->guid,
		.port_guid = vf->guid,
	};

	if (!vf->guid)
		return false;
	if (!vf->driver[0] && !vf->settled)
		return true;
	if (!vf_attr_equal(&want, &vf->now, VF_NODE_GUID) ||
	    !vf_attr_equal(&want, &vf->now, VF_PORT_GUID))
		return true;
	if (vf->mac.len == MAC_MAX)
		return mac_guid(&vf->mac) != vf->guid;
	return !(vf->now.known & VF_BIT(VF_PORT_GUID)) && vf->bound != vf->guid;
}
