/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/scan.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "ethtool/ethtool.h"
#include "host/sysfs.h"
#include "rdma/rdma.h"
#include "rt/link.h"
#include "rt/vf.h"
#include "wire/wire.h"

struct scanner {
	struct wire *rt;
	struct ethtool *ethtool;
	struct wire *rdma; /* NULL until there is a device: opening it loads ib_core */
	int sysfs_fd;
};

int scanner_open(struct scanner **ret_scanner, struct err *err)
{
	struct scanner *scanner = calloc(1, sizeof(*scanner));
	int r;

	if (!scanner)
		return err_nomem(err);
	scanner->sysfs_fd = -1;
	r = wire_open(NETLINK_ROUTE, &scanner->rt, err);
	if (r == 0)
		r = ethtool_open(0, &scanner->ethtool, err);
	if (r == 0)
		r = sysfs_open_own(&scanner->sysfs_fd, err);
	if (r < 0) {
		scanner_close(scanner);
		return r;
	}
	*ret_scanner = scanner;
	return 0;
}

void scanner_close(struct scanner *scanner)
{
	if (!scanner)
		return;
	wire_close(scanner->rt);
	ethtool_close(scanner->ethtool);
	wire_close(scanner->rdma);
	if (scanner->sysfs_fd >= 0)
		(void)close(scanner->sysfs_fd);
	free(scanner);
}

/* A growing array: room for one more element, or NULL. */
static void *array_more(void *array, size_t count, size_t element)
{
	if (count & (count - 1)) /* full only at the powers of two, and at first */
		return array;
	return reallocarray(array, count ? count * 2 : 1, element);
}

/* --- one PF --- */

static void say_why(char why[PICTURE_WHY_MAX], const struct err *err)
{
	utf8_print(why, PICTURE_WHY_MAX, "%s", err->msg);
}

struct pf_reading {
	struct scanner *scanner;
	struct scan_pf *pf;
	struct err *err;
};

/* A VF that goes while it is looked at is left out: an event tells of it. 0 or -ENOMEM. */
static int read_vf(int index, const struct pci_addr *addr, void *arg)
{
	struct pf_reading *reading = arg;
	struct scan_pf *pf = reading->pf;
	struct scan_vf *vfs = array_more(pf->vfs, pf->vf_count, sizeof(*vfs)), *vf;
	struct pci_function function;
	struct err err;
	int r;

	if (!vfs)
		return err_nomem(reading->err);
	pf->vfs = vfs;
	r = sysfs_pci_function(reading->scanner->sysfs_fd, addr, &function, &err);
	if (r == -ENODEV)
		return 0;
	vf = &pf->vfs[pf->vf_count++];
	if (r < 0) {
		*vf = (struct scan_vf) { .addr = *addr, .index = index, .numa_node = -1 };
		say_why(vf->why, &err);
		return 0;
	}
	*vf = (struct scan_vf) {
		.addr = *addr,
		.index = index,
		.userspace = sysfs_driver_is_userspace(function.driver),
		.numa_node = function.numa_node,
	};
	memcpy(vf->netdev, function.netdev, sizeof(vf->netdev));
	memcpy(vf->rdma, function.rdma, sizeof(vf->rdma));
	memcpy(vf->driver, function.driver, sizeof(vf->driver));
	return 0;
}

/* The PF's netdev; one that has none here, or lost it just now, is no failure. */
static void read_pf_link(struct scanner *scanner, struct scan_pf *pf)
{
	struct pci_function function;
	struct link_info link = { 0 };
	struct err err;
	int r;

	r = sysfs_pci_function(scanner->sysfs_fd, &pf->addr, &function, &err);
	if (r == 0 && function.netdev[0]) {
		memcpy(pf->netdev, function.netdev, sizeof(pf->netdev));
		r = link_get(scanner->rt, pf->netdev, &link, &err);
	}
	if (r < 0 || !pf->netdev[0]) {
		utf8_print(pf->why, sizeof(pf->why), "%s",
			   r < 0 ? err.msg : "it has no network device here");
		return;
	}
	pf->ifindex = link.ifindex;
	pf->mtu = link.mtu;
	pf->mac = link.mac;
	pf->infiniband = link.type == ARPHRD_INFINIBAND;
}

static int take_state(int index, const struct vf_state *state, void *arg)
{
	struct scan_pf *pf = arg;

	for (size_t i = 0; i < pf->vf_count; i++) {
		if (pf->vfs[i].index == index) {
			pf->vfs[i].state = *state;
			pf->vfs[i].said = true;
		}
	}
	return 0;
}

static void read_list(struct scanner *scanner, struct scan_pf *pf)
{
	struct err err;

	pf->listed = true;
	if (pf->ifindex && vf_list(scanner->rt, pf->ifindex, take_state, pf, &err) < 0)
		say_why(pf->why, &err);
}

/* Where the PF does not tell the GUID, the VF's own address does. */
static void read_addresses(struct scanner *scanner, struct scan_pf *pf)
{
	struct link_info link;
	struct err err;

	for (size_t i = 0; pf->infiniband && i < pf->vf_count; i++) {
		struct scan_vf *vf = &pf->vfs[i];

		if (vf->netdev[0] && link_get(scanner->rt, vf->netdev, &link, &err) == 0)
			vf->mac = link.mac;
	}
}

/* Of those that are here, and so in nobody's hands. One that goes meanwhile is not known. */
static void read_ethtool(struct scanner *scanner, struct scan_pf *pf)
{
	struct link_info link;
	struct err err;

	for (size_t i = 0; i < pf->vf_count; i++) {
		struct scan_vf *vf = &pf->vfs[i];

		if (vf->netdev[0] && link_get(scanner->rt, vf->netdev, &link, &err) == 0)
			(void)ethtool_read(scanner->ethtool, link.ifindex, &vf->ethtool, &err);
	}
}

static void take_moderation(const struct rdma_device *device, void *arg)
{
	struct scan_pf *pf = arg;

	for (size_t i = 0; i < pf->vf_count; i++) {
		if (strcmp(pf->vfs[i].rdma, device->name) == 0)
			pf->vfs[i].moderation = device->moderation;
	}
}

/* Likewise of those that are here: one list has them all. */
static void read_moderation(struct scanner *scanner, struct scan_pf *pf)
{
	bool any = false;
	struct err err;

	for (size_t i = 0; i < pf->vf_count; i++)
		any = any || pf->vfs[i].rdma[0];
	if (any && (scanner->rdma || rdma_open(&scanner->rdma, &err) == 0))
		(void)rdma_list(scanner->rdma, take_moderation, pf, &err);
}

/* One PF that cannot be read is no reason not to read the others: only -ENOMEM is returned. */
static int read_pf(struct scanner *scanner, struct scan_pf *pf, bool list, struct err *err)
{
	struct pf_reading reading = { scanner, pf, err };
	int r;

	r = sysfs_list_vfs(scanner->sysfs_fd, &pf->addr, read_vf, &reading, err);
	if (r == -ENOMEM)
		return r;
	if (r < 0 && r != -ENODEV) {
		pf->listed = pf->unread = true;
		say_why(pf->why, err);
		return 0;
	}
	if (r < 0 || pf->vf_count == 0)
		return 0; /* it has gone */
	read_pf_link(scanner, pf);
	if (list) {
		read_list(scanner, pf);
		read_ethtool(scanner, pf);
		read_moderation(scanner, pf);
	}
	read_addresses(scanner, pf);
	return 0;
}

/* --- which PFs --- */

struct pf_choice {
	struct scan_want *pfs;
	size_t count;
	struct err *err;
};

static int choose_pf(struct pf_choice *choice, const struct pci_addr *addr, bool list)
{
	struct scan_want *more;

	for (size_t i = 0; i < choice->count; i++) {
		if (pci_same(&choice->pfs[i].addr, addr)) {
			choice->pfs[i].list = choice->pfs[i].list || list;
			return 0;
		}
	}
	more = array_more(choice->pfs, choice->count, sizeof(*more));
	if (!more)
		return err_nomem(choice->err);
	choice->pfs = more;
	choice->pfs[choice->count++] = (struct scan_want) { *addr, list };
	return 0;
}

static int choose_listed(const struct pci_addr *pf, void *arg)
{
	return choose_pf(arg, pf, true);
}

static int choose_wanted(struct scanner *scanner, const struct scan_want *want,
			 struct pf_choice *choice)
{
	struct pci_function function;
	struct err err;
	int r;

	/* One that has gone may have been a PF. */
	r = sysfs_pci_function(scanner->sysfs_fd, &want->addr, &function, &err);
	return choose_pf(choice, r == 0 && function.is_vf ? &function.pf_addr : &want->addr,
			 want->list);
}

static int choose_pfs(struct scanner *scanner, const struct scan_want *wants, size_t count,
		      struct pf_choice *choice, struct err *err)
{
	int r = 0;

	if (!wants)
		return sysfs_list_pfs(scanner->sysfs_fd, choose_listed, choice, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = choose_wanted(scanner, &wants[i], choice);
	return r;
}

int scan_read(struct scanner *scanner, const struct scan_want *wants, size_t want_count,
	      struct scan *ret_scan, struct err *err)
{
	struct pf_choice choice = { .err = err };
	struct scan scan = { .all = !wants };
	CLEANUP_FREE struct scan_want *owned = NULL;
	int r;

	r = choose_pfs(scanner, wants, want_count, &choice, err);
	owned = choice.pfs;
	scan.pfs = calloc(choice.count + 1, sizeof(*scan.pfs));
	if (r == 0 && !scan.pfs)
		r = err_nomem(err);
	for (size_t i = 0; r == 0 && i < choice.count; i++) {
		scan.pfs[i].addr = choice.pfs[i].addr;
		scan.pf_count++;
		r = read_pf(scanner, &scan.pfs[i], choice.pfs[i].list, err);
	}
	if (r < 0) {
		scan_free(&scan);
		return r;
	}
	*ret_scan = scan;
	return 0;
}
