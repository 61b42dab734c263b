/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/device.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <linux/if_arp.h>

#include "base/clock.h"
#include "base/log.h"
#include "cni/await.h"
#include "cni/rdma.h"
#include "cni/settings.h"
#include "cni/upper.h"
#include "cni/vf.h"

enum {
	LOOK_AGAIN_MS = 50,
	PAUSE_MS = 5, /* between two looks while the node is busy with other devices */
	SWAP_MS = 1000,
	MENDS_MAX = 2,
	LOOKS_MAX = 100, /* at a device whose name changes while it is looked at */
	LEAVE_MS = 2000, /* for one that the pod moves about, or whose names clash with new ones */
	HIDDEN_MS = 200, /* for one that is in neither place, and may come by */
};

/* Numbers are used again: a device that the pod has made in its place has another peer. */
static bool has_recorded_number(const struct link_info *link, const struct facts *facts)
{
	return facts->ifindex && link->ifindex == facts->ifindex && link->peer == facts->peer;
}

bool device_is(const struct link_info *link, const struct attachment *record,
	       const struct mac *wished, bool in_pod)
{
	const struct baseline *was = &record->device;

	if (strcmp(link->kind, was->kind) != 0 || strcmp(link->parent, was->parent) != 0)
		return false;
	/* A VF has one netdev. Its permanent address is the PF's to give, or has the queue pair of
	 * an IPoIB device in it, which is another each time. */
	if (was->vf.is_vf && was->parent[0])
		return true;
	if (was->perm_mac.len)
		return mac_equal(&link->perm_mac, &was->perm_mac);
	return was->parent[0] || mac_equal(&link->mac, &was->mac) ||
	       (wished->len && mac_equal(&link->mac, wished)) ||
	       (in_pod && has_recorded_number(link, &record->facts));
}

/* Such a device survives its namespace: the kernel sends it back to the host. */
static bool comes_back(const struct baseline *was)
{
	return !was->kind[0] || strcmp(was->kind, "ipoib") == 0;
}

/* The finders return 1 found, 0 not there, or -errno. */

struct search {
	struct site *site;
	struct wire *rt;
	bool in_pod; /* which of the two */
	struct link_info *link;
};

static bool matches(const struct search *search, const struct link_info *link)
{
	return device_is(link, search->site->record, &search->site->conf->mac, search->in_pod);
}

static int find_by_name(const struct search *search, const char *name, struct err *err)
{
	int r = link_get(search->rt, name, search->link, err);

	if (r < 0)
		return r == -ENODEV ? 0 : r;
	return matches(search, search->link);
}

static int find_by_index(const struct search *search, int ifindex, struct err *err)
{
	char name[IFNAME_MAX + 1];
	int r;

	if (ifindex <= 0)
		return 0;
	r = link_get_index(search->rt, ifindex, search->link, err);
	if (r == 0 && matches(search, search->link))
		return 1;
	if (r < 0 && r != -ENODEV)
		return r;
	(void)snprintf(name, sizeof(name), "dev%d", ifindex); /* see evict() */
	return find_by_name(search, name, err);
}

static int compare_one(const struct link_info *link, void *arg)
{
	struct search *search = arg;

	if (!matches(search, link))
		return 0;
	*search->link = *link;
	return 1;
}

/* The netdev of the record's function in the namespace of @sysfs. 1, 0 or -errno. */
static int netdev_of_function(int sysfs, const struct baseline *was, char ret_name[IFNAME_MAX + 1],
			      struct err *err)
{
	const char *slash = strchr(was->parent, '/');
	struct pci_function function = { 0 };
	struct aux_device aux = { 0 };
	int r;

	if (!slash)
		return 0;
	if (pci_parse(slash + 1, &function.addr) == 0)
		r = sysfs_pci_function(sysfs, &function.addr, &function, err);
	else
		r = sysfs_aux_device(sysfs, slash + 1, &aux, err);
	memcpy(ret_name, function.netdev[0] ? function.netdev : aux.netdev, IFNAME_MAX + 1);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	return ret_name[0] != '\0';
}

/* Under its old name, or under both, where it was given another just now. */
static bool is_being_renamed(int r)
{
	return r == 0 || r == -ENOTUNIQ;
}

/*
 * A function has its netdev in one namespace, whatever number and name it has there by now. The pod
 * may give it another between the two looks: then it is looked at again.
 */
static int find_by_function(const struct search *search, struct err *err)
{
	const struct baseline *was = &search->site->record->device;
	char name[IFNAME_MAX + 1];
	int sysfs, r = site_sysfs(search->site, search->in_pod, &sysfs, err);

	if (r < 0)
		return r;
	for (int i = 0; i < LOOKS_MAX; i++) {
		r = netdev_of_function(sysfs, was, name, err);
		if (r == 0)
			return 0;
		if (r > 0)
			r = find_by_name(search, name, err);
		if (!is_being_renamed(r))
			return r;
	}
	return err_set(err, EAGAIN, ERR_AGAIN, "find %s: its name changes while it is looked at",
		       was->name);
}

/*
 * Whatever it is called. Only for a device with an identity of its own: virtual ones share
 * addresses (VLANs with their parent).
 */
static int find_among_all(struct search *search, struct err *err)
{
	if (!comes_back(&search->site->record->device))
		return 0;
	return link_list(search->rt, compare_one, search, err);
}

/*
 * The other end of the record's veth: 1, 0 if none is known, or it is no more (then neither is
 * ours), or -errno.
 */
static int get_peer(const struct site *site, struct link_info *ret_peer, struct err *err)
{
	const struct baseline *was = &site->record->device;
	int r;

	if (!was->peer)
		return 0;
	r = link_get_index(site->host, was->peer, ret_peer, err);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	return strcmp(ret_peer->kind, was->kind) == 0;
}

/* A veth is where its other end says, whatever somebody has made of its name, address, number. */
static int find_by_peer(const struct search *search, const struct link_info *peer, struct err *err)
{
	const struct attachment *record = search->site->record;
	const int in_pod = peer->peer_nsid == record->netns.nsid ? peer->peer : 0;
	const int ifindex = search->in_pod ? in_pod : peer->local_peer;
	int r;

	if (!ifindex)
		return 0;
	r = link_get_index(search->rt, ifindex, search->link, err);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	return strcmp(search->link->kind, record->device.kind) == 0;
}

static int find_by_altname(const struct search *search, struct err *err)
{
	const struct baseline *was = &search->site->record->device;
	int r = 0;

	for (size_t i = 0; r == 0 && i < was->altname_count; i++) {
		r = link_get(search->rt, was->altnames[i], search->link, err);
		if (r == 0 && strcmp(search->link->kind, was->kind) == 0 &&
		    strcmp(search->link->parent, was->parent) == 0)
			return 1;
		r = r == -ENODEV ? 0 : r;
	}
	return r;
}

/* By what a device looks like. A pod could make another one that does, of a kind that it can make.
 */
static int find_by_looks(struct search *search, struct err *err)
{
	const struct attachment *record = search->site->record;
	const char *likely = search->in_pod ? record->ifname : record->device.name;
	const char *halfway = search->in_pod ? record->device.name : record->ifname;
	int r;

	r = find_by_name(search, likely, err);
	if (r == 0) /* where a move that stopped halfway leaves it */
		r = find_by_name(search, halfway, err);
	if (r == 0)
		r = find_by_index(search, record->facts.ifindex, err);
	if (r == 0)
		r = find_by_index(search, record->device.ifindex, err);
	if (r == 0)
		r = find_by_altname(search, err);
	if (r == 0)
		r = find_by_function(search, err);
	/* Without a function, or where no sysfs can be had. */
	if (r < 0 || (r == 0 && !record->device.parent[0]))
		r = find_among_all(search, err);
	return r;
}

/* By the number that the kernel gave it: whatever the pod has made of the rest, or made in its
 * place.
 */
static int find_by_inode(struct search *search, struct err *err)
{
	const struct attachment *record = search->site->record;
	char name[IFNAME_MAX + 1];
	int sysfs, r = site_sysfs(search->site, true, &sysfs, err);

	if (r == 0)
		r = sysfs_find_netdev(sysfs, record->device.inode, record->ifname, name, err);
	if (r <= 0)
		return r;
	r = link_get(search->rt, name, search->link, err);
	if (r < 0) /* it has another name by now */
		return r == -ENODEV || r == -ENOTUNIQ ? 0 : r;
	return strcmp(search->link->kind, record->device.kind) == 0 &&
	       strcmp(search->link->parent, record->device.parent) == 0;
}

/*
 * While the other end of a veth is in the host, where no pod reaches it, nothing else has a say. In
 * the pod looks count only for what the pod cannot make, and for records of an older daemon.
 */
static int find_in(struct search *search, struct err *err)
{
	const struct baseline *was = &search->site->record->device;
	struct link_info peer;
	int r = get_peer(search->site, &peer, err);

	if (r != 0)
		return r < 0 ? r : find_by_peer(search, &peer, err);
	if (search->in_pod && was->inode)
		return find_by_inode(search, err);
	if (search->in_pod && was->peer)
		return 0; /* one half of a veth does not outlive the other */
	return find_by_looks(search, err);
}

int device_find_in_pod(struct site *site, struct link_info *ret_link, struct err *err)
{
	struct search search = { site, site->pod, true, ret_link };

	return site->pod ? find_in(&search, err) : 0;
}

static int find_in_host(struct site *site, struct link_info *ret_link, struct err *err)
{
	struct search search = { site, site->host, false, ret_link };

	return find_in(&search, err);
}

/*
 * A namespace dies asynchronously, and a physical device comes back when it does, a veth goes; an
 * IPoIB device is made anew when its RDMA device has moved.
 */
static bool may_still_come(const struct site *site)
{
	const struct baseline *was = &site->record->device;

	return (site->pod_dead && (comes_back(was) || was->peer)) || was->type == ARPHRD_INFINIBAND;
}

/* Its number is not known before it is there: whatever the kernel tells may be about it. */
static struct await await_any(const struct site *site, int64_t wait_ms)
{
	return (struct await) {
		.event = AWAIT_LINK,
		.site = site,
		.pause_ms = PAUSE_MS,
		.deadline_ms = clock_boot_ms() + wait_ms,
	};
}

/* Its function is there no more, or drives nothing that could be in a pod. */
static int function_is_gone(struct site *site, const struct pci_addr *addr, struct err *err)
{
	struct pci_function function;
	int sysfs, r = site_sysfs(site, false, &sysfs, err);

	if (r < 0)
		return r;
	r = sysfs_pci_function(sysfs, addr, &function, err);
	if (r == -ENODEV)
		return 1;
	return r < 0 ? r : !function.driver[0] || sysfs_driver_is_userspace(function.driver);
}

/* Is there proof that it is in no namespace at all? 1 yes, 0 no, or -errno. */
static int is_proven_gone(struct site *site, struct err *err)
{
	const struct baseline *was = &site->record->device;
	struct pci_addr addr;
	struct link_info peer;
	int r;

	if (baseline_function(was, &addr))
		return function_is_gone(site, &addr, err);
	if (!was->peer)
		return 0;
	r = get_peer(site, &peer, err);
	return r < 0 ? r : !r;
}

struct homecoming {
	struct site *site;
	struct link_info *link;
	bool gone;
};

static int look_at_home(void *arg, struct err *err)
{
	struct homecoming *homecoming = arg;
	int gone, r = find_in_host(homecoming->site, homecoming->link, err);

	if (r != 0 || !homecoming->site->pod_dead)
		return r;
	gone = is_proven_gone(homecoming->site, err);
	homecoming->gone = gone > 0;
	return gone;
}

static int await_in_host(struct site *site, struct link_info *ret_link, struct err *err)
{
	struct homecoming homecoming = { site, ret_link, false };
	struct await await = await_any(site, may_still_come(site) ? SITE_HOMECOMING_MS : 0);
	int r;

	await.look = look_at_home;
	await.arg = &homecoming;
	r = await_look(&await, err);
	return homecoming.gone ? 0 : r;
}

static int look_anywhere(void *arg, struct err *err)
{
	struct site *site = arg;
	int r = device_find_in_pod(site, &site->link, err);

	site->in_pod = r > 0;
	return r != 0 ? r : find_in_host(site, &site->link, err);
}

int device_await(struct site *site, struct err *err)
{
	struct await await = await_any(site, SITE_HOMECOMING_MS);
	int r;

	await.look = look_anywhere;
	await.arg = site;
	r = await_look(&await, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return err_set(err, ETIMEDOUT, ERR_AGAIN, "neither in the pod nor in the host within %d ms",
		       SITE_HOMECOMING_MS);
}

static bool has_altname(const struct link_info *link, const char *altname)
{
	for (int i = 0; i < link->altname_count; i++) {
		if (strcmp(link->altnames[i], altname) == 0)
			return true;
	}
	return false;
}

static bool had_altname(const char *altname, const void *arg)
{
	const struct baseline *was = arg;

	for (size_t i = 0; i < was->altname_count; i++) {
		if (strcmp(was->altnames[i], altname) == 0)
			return true;
	}
	return false;
}

/* An IPoIB address is made of the GUID and a queue pair, and cannot be set. */
static bool has_settable_mac(const struct baseline *was)
{
	return was->mac.len && was->type != ARPHRD_INFINIBAND;
}

/* What the pod has set, and one message takes back. */
static bool has_settings_of(const struct link_info *link, const struct baseline *was)
{
	return !was->settings.known || link_settings_equal(&was->settings, &link->settings);
}

/* Some device that came meanwhile has it: then it is gone for good. */
static bool is_taken(const struct site *site, const char *altname, int ifindex)
{
	struct link_info other;
	struct err absent;

	return link_get(site->host, altname, &other, &absent) == 0 && other.ifindex != ifindex;
}

static bool has_strange_altname(const struct link_info *link, const struct baseline *was)
{
	for (int i = 0; i < link->altname_count; i++) {
		if (!had_altname(link->altnames[i], was))
			return true;
	}
	return link->more_altnames; /* the record has all that it had */
}

static bool has_its_altnames(const struct site *site, const struct link_info *link,
			     const struct baseline *was)
{
	for (size_t i = 0; i < was->altname_count; i++) {
		if (!has_altname(link, was->altnames[i]) &&
		    !is_taken(site, was->altnames[i], link->ifindex))
			return false;
	}
	return !has_strange_altname(link, was);
}

/* In the host. */
static bool is_as_before(const struct site *site, const struct link_info *link)
{
	const struct baseline *was = &site->record->device;

	if (!has_its_altnames(site, link, was))
		return false;
	return strcmp(link->name, was->name) == 0 && link->mtu == (uint32_t)was->mtu &&
	       has_settings_of(link, was) &&
	       (!has_settable_mac(was) || mac_equal(&link->mac, &was->mac)) &&
	       !!(link->flags & IFF_UP) == was->up;
}

/* What has to change so that @link is as before: name, MTU, address, settings, up. */
static struct link_change change_back(const struct link_info *link, const struct baseline *was)
{
	struct link_change change = { .ifindex = link->ifindex };

	if (strcmp(link->name, was->name) != 0)
		change.name = was->name;
	if (link->mtu != (uint32_t)was->mtu)
		change.mtu = (uint32_t)was->mtu;
	if (has_settable_mac(was) && !mac_equal(&link->mac, &was->mac))
		change.mac = &was->mac;
	if (!!(link->flags & IFF_UP) != was->up)
		change.up = was->up ? 1 : -1;
	if (!has_settings_of(link, was)) {
		change.settings = &was->settings;
		change.settings_now = &link->settings;
	}
	return change;
}

/* Names that the pod gave it would clash in the host, or stay. */
static int drop_strange_altnames(const struct site *site, struct wire *rt,
				 const struct link_info *link, struct err *err)
{
	const struct baseline *was = &site->record->device;
	int r = 0;

	if (has_strange_altname(link, was))
		r = link_altnames_prune(rt, link->ifindex, had_altname, was, err);
	return r < 0 ? r : 0;
}

/* One message moves it and makes it what it was: the move closes it, so all of that is allowed. */
static int bring_home(const struct site *site, const struct link_info *link, struct err *err)
{
	const struct baseline *was = &site->record->device;
	struct link_change change = change_back(link, was);
	int r;

	r = drop_strange_altnames(site, site->pod, link, err);
	if (r == 0 && change.mtu)
		r = settings_detach_xdp(site, site->pod, link, err);
	if (r < 0)
		return r;
	change.netns_fd = site->host_fd;
	change.name = was->name;
	change.up = was->up;
	if (vf_is_asked(site, VF_MAC)) /* its PF would not let it yet: settle_in_host() */
		change.mac = NULL;
	return link_set(site->pod, &change, err);
}

/*
 * One of its names is taken in the host: it leaves the pod all the same, as the kernel would name
 * it, and without altnames. Its own are given back there, as far as they are free.
 */
static int evict(const struct site *site, const struct link_info *link, struct err *err)
{
	char name[IFNAME_MAX + 1];
	struct link_change change = { .ifindex = link->ifindex, .netns_fd = site->host_fd };
	int r;

	(void)snprintf(name, sizeof(name), "dev%d", link->ifindex);
	change.name = name;
	if (link->altname_count > 0 &&
	    link_altnames_prune(site->pod, link->ifindex, NULL, NULL, err) < 0)
		return -err->errnum;
	r = link_set(site->pod, &change, err);
	if (r == -EEXIST) { /* another pod's may have come home with it: then any that is free */
		change.name = "dev%d";
		r = link_set(site->pod, &change, err);
	}
	return r;
}

/* 1: it has; 0: it is not there; or -errno, of the way home that it should have gone. */
static int try_to_leave(struct site *site, struct err *err)
{
	struct link_info link;
	struct err why;
	int found, r;

	r = device_find_in_pod(site, &link, err);
	if (r > 0 && upper_clear_in_pod(site, &link))
		r = device_find_in_pod(site, &link, err);
	if (r <= 0)
		return r;
	r = bring_home(site, &link, err);
	if (r == 0)
		return 1;
	/* Parts of a refused message may have been done: ask again. */
	found = device_find_in_pod(site, &link, &why);
	if (found > 0 && evict(site, &link, &why) == 0)
		found = 0;
	return found == 0 ? 1 : r;
}

/* The pod may move it about, or give it more names, between a look and the message: not for ever.
 */
static bool is_evasion(int r)
{
	return r == -ENODEV || r == -EEXIST;
}

/* In a nested namespace, for as long as the pod likes, or on its way from there. */
static bool is_hidden(struct site *site)
{
	struct link_info link;
	struct err absent;

	return site->pod && find_in_host(site, &link, &absent) == 0 &&
	       is_proven_gone(site, &absent) == 0;
}

static int leave_pod(struct site *site, struct err *err)
{
	const int64_t begun_ms = clock_boot_ms();
	bool again;
	int r;

	for (;;) {
		r = try_to_leave(site, err);
		if (r == 0)
			again = clock_left_ms(begun_ms + HIDDEN_MS) > 0 && is_hidden(site);
		else
			again = is_evasion(r) && clock_left_ms(begun_ms + LEAVE_MS) > 0;
		if (!again)
			return r;
		(void)poll(NULL, 0, 1);
	}
}

static int give_back_altname(const struct site *site, const struct link_info *link,
			     const char *altname, struct err *err)
{
	int r = link_altname_add(site->host, link->ifindex, altname, err);

	if (r != -EEXIST)
		return r;
	log_warn("%s: its altname %s is taken by now", site->record->device.name, altname);
	return 0;
}

/*
 * Another device in the host has its name for an altname, which it got while ours was away: a pod
 * may have given it one, and let it come home. A device's own name comes first.
 */
static int free_name(const struct site *site, const char *name, struct err *err)
{
	struct link_info other;
	int r = link_get(site->host, name, &other, err);

	if (r < 0 || strcmp(other.name, name) == 0)
		return r < 0 && r != -ENODEV ? r : -EEXIST;
	log_warn("%s: %s had its name for an altname", name, other.name);
	return link_altname_del(site->host, other.ifindex, name, err);
}

static int change_in_host(const struct site *site, const struct link_change *change,
			  struct err *err)
{
	struct err later;
	int r = link_set(site->host, change, err);

	if (r == -EEXIST && change->name && free_name(site, change->name, &later) == 0)
		r = link_set(site->host, change, err);
	return r;
}

static int mend(const struct site *site, const struct link_info *link, struct err *err)
{
	const struct baseline *was = &site->record->device;
	struct link_change change = change_back(link, was);
	bool up = link->flags & IFF_UP;
	int r = 0;

	if (up && (change.name || change.mac)) { /* many drivers refuse either while it is up */
		r = link_set(site->host,
			     &(struct link_change) { .ifindex = link->ifindex, .up = -1 }, err);
		change.up = was->up;
	}
	if (r == 0)
		r = drop_strange_altnames(site, site->host, link, err);
	if (r == 0 && change.mtu)
		r = settings_detach_xdp(site, site->host, link, err);
	if (r == 0 && (change.name || change.mac || change.mtu || change.up || change.settings))
		r = change_in_host(site, &change, err);
	for (size_t i = 0; r == 0 && i < was->altname_count; i++) {
		if (!has_altname(link, was->altnames[i]))
			r = give_back_altname(site, link, was->altnames[i], err);
	}
	return r;
}

struct renaming {
	const struct site *site;
	struct link_change change;
};

static int look_for_name(void *arg, struct err *err)
{
	const struct renaming *renaming = arg;
	int r = link_set(renaming->site->host, &renaming->change, err);

	return r == -EEXIST ? 0 : r < 0 ? r : 1;
}

/*
 * IPoIB devices that are made anew at the same time may get each other's names. Each lets go of its
 * own, so that the other can have it. What is still taken then stays so: the kernel gave it to one
 * that came while ours was away.
 */
static int swap_name(const struct site *site, const struct link_info *link, struct err *err)
{
	const struct baseline *was = &site->record->device;
	struct renaming renaming = { site, { .ifindex = link->ifindex, .up = -1 } };
	struct await await = await_any(site, SWAP_MS);
	char name[IFNAME_MAX + 1];
	int r;

	(void)snprintf(name, sizeof(name), "dev%d", link->ifindex);
	renaming.change.name = name;
	r = link_set(site->host, &renaming.change, err);
	if (r < 0)
		return r;
	renaming.change.name = was->name;
	renaming.change.up = was->up ? 1 : -1;
	await.look = look_for_name;
	await.arg = &renaming;
	r = await_look(&await, err);
	if (r == 0)
		log_warn("%s: its name is taken by now, it stays %s", was->name, name);
	return r < 0 ? r : 0;
}

/* Its PF allows its address again, and the driver has not noticed yet. */
static bool is_late(const struct baseline *was, int r)
{
	return was->vf.is_vf && (r == -EADDRNOTAVAIL || r == -EPERM || r == -EBUSY || r == -EAGAIN);
}

/* It is in the host, or nowhere. What the pod has put upon it goes before the rest is mended: some
 * change it when they go. */
static int settle_in_host(struct site *site, struct link_info *ret_link, struct err *err)
{
	const struct baseline *was = &site->record->device;
	const int64_t deadline_ms = clock_boot_ms() + VF_PATIENCE_MS;
	bool cleared = false;
	int mends = 0, r;

	for (;;) {
		r = await_in_host(site, ret_link, err);
		if (r > 0 && !cleared && upper_clear_in_host(site, ret_link))
			r = await_in_host(site, ret_link, err);
		cleared = true;
		if (r <= 0)
			return r;
		site->outcome.left = true;
		if (is_as_before(site, ret_link))
			return 1;
		if (mends++ == MENDS_MAX)
			return err_set(err, EIO, ERR_DEVICE,
				       "restore %s: it does not stay as it was", was->name);
		r = mend(site, ret_link, err);
		if (r == -EEXIST && was->type == ARPHRD_INFINIBAND) {
			r = swap_name(site, ret_link, err);
			return r < 0 ? r : 1;
		}
		if (is_late(was, r) && clock_left_ms(deadline_ms) > 0) {
			(void)poll(NULL, 0, LOOK_AGAIN_MS);
			mends = 0;
		} else if (r < 0) {
			return r;
		}
	}
}

/* What leaves no trace of itself (a macvlan) counts as gone with the pod's namespace: nobody can
 * tell. What would (a function with its driver, the other end of a veth) may be in another one. */
static int is_gone_for_good(struct site *site, struct err *err)
{
	const struct baseline *was = &site->record->device;
	struct pci_addr addr;

	if (site->pod_dead && !was->peer && !baseline_function(was, &addr))
		return 1;
	return is_proven_gone(site, err);
}

/* Neither in the pod nor in the host. While it may be anywhere, what it has stays its own. */
static int judge_absence(struct site *site, struct err *err)
{
	const char *name = site->record->device.name;
	int gone = is_gone_for_good(site, err);

	/* Also of one that has moved: the pod may have put another in its place just before. */
	site->outcome.left = gone > 0;
	if (gone < 0)
		return gone;
	if (!gone && site->pod_dead)
		return err_set(
			err, ENODEV, ERR_DEVICE,
			"find %s: the pod has gone, and it is not in the host: it lives in another "
			"namespace",
			name);
	if (!gone && !site->pod)
		return err_set(err, ENODEV, ERR_DEVICE,
			       "find %s: the pod's namespace lives, but no path leads to it", name);
	if (!gone)
		return err_set(err, ENODEV, ERR_DEVICE,
			       "find %s: neither in the pod, which lives, nor in the host", name);
	if (comes_back(&site->record->device))
		return err_set(err, ENODEV, ERR_DEVICE,
			       "find %s: neither in the pod nor in the host", name);
	site->outcome.restored = true; /* it died with its namespace, or its peer did */
	return 0;
}

/* The function itself is no more: sriov_numvfs was changed, or the card is gone. */
static bool is_gone(struct site *site)
{
	char name[SYSFS_NAME_MAX];
	struct err ignored;

	return strncmp(site->record->device.key, "net:", 4) != 0 &&
	       rdma_name_of(site, name, &ignored) == -ENODEV;
}

/*
 * Something stands upon it in a namespace that nobody sees. The driver of a VF can be bound anew,
 * which ends that (the daemon's part); any other device waits until it has gone.
 */
static int refuse_claimed(const struct site *site, struct err *err)
{
	const struct baseline *was = &site->record->device;

	if (!site->claimed || was->vf.is_vf)
		return 0;
	return err_set(err, EBUSY, ERR_DEVICE,
		       "restore %s: it is in use from above, by a device in another namespace",
		       was->name);
}

/*
 * Out of the pod; then itself again, and what its driver was told; then what its PF was told of it,
 * but not while the pod still has the RDMA device.
 */
static int return_netdev(struct site *site, bool rdma_home, struct err *err)
{
	struct link_info link;
	struct err later;
	int released = 0, told = 0, r = leave_pod(site, err);

	if (r < 0)
		return r;
	/* Of a dead pod it is waited for: a driver is bound again only to what is here. */
	site->outcome.left = r > 0 ||
			     (site->pod_dead ? await_in_host(site, &link, &later)
					     : find_in_host(site, &link, &later)) > 0 ||
			     (site->pod_dead && is_gone_for_good(site, &later) > 0);
	if (site->outcome.left && rdma_home)
		released = vf_release(site, err);
	r = settle_in_host(site, &link, released < 0 ? &later : err);
	if (released < 0)
		return released;
	if (r == 0)
		return judge_absence(site, err);
	if (r < 0)
		return r;
	r = settings_return(site, &link, err);
	if (rdma_home)
		told = vf_give_back(site, r < 0 ? &later : err);
	if (r == 0)
		r = told;
	return r < 0 ? r : refuse_claimed(site, err);
}

/* User space had it, or it was not ours to move. */
static int return_function(struct site *site, bool rdma_home, struct err *err)
{
	int r = rdma_home ? vf_release(site, err) : 0;

	site->outcome.left = rdma_home;
	return r < 0 || !rdma_home ? r : vf_give_back(site, err);
}

static int return_all(struct site *site, struct err *err)
{
	const bool has_netdev = site->record->device.name[0];
	struct err later;
	int rdma = rdma_return(site, err), r;

	/* Whatever became of that, the netdev is to leave the pod. */
	r = has_netdev ? return_netdev(site, rdma == 0, rdma < 0 ? &later : err)
		       : return_function(site, rdma == 0, rdma < 0 ? &later : err);
	if (rdma < 0)
		return rdma;
	/* By now: binding a GUID makes it anew. */
	return r < 0 ? r : rdma_restore_name(site, err);
}

int device_return(struct site *site, struct err *err)
{
	int r;

	if (site->outcome.restored)
		return 0;
	if (site->return_tried) { /* by another step: each waits as long as it has a right to */
		*err = site->why_not_returned;
		return -err->errnum;
	}
	site->return_tried = true;
	site->outcome = (struct outcome) { false, false };
	if (!site->record->device.key[0] || is_gone(site)) {
		site->outcome = (struct outcome) { true, true };
		return 0;
	}
	r = return_all(site, err);
	site->outcome.restored = r >= 0;
	if (r < 0)
		site->why_not_returned = *err;
	return r < 0 ? r : 0;
}
