/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/guid.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/rtnetlink.h>

#include "base/clock.h"
#include "host/sysfs.h"
#include "rt/addr.h"
#include "rt/link.h"
#include "rt/vf.h"

enum { GUID_POLL_MS = 5 /* devices come back within 20 ms to some seconds */ };

struct binding {
	struct wire *host;
	int sysfs_fd;
	const struct pci_addr *vf;
	uint64_t guid;
	bool is_free;                 /* no record owns it */
	struct pci_function function; /* as last seen */
	struct link_info link;        /* of its netdev; ifindex 0: it has none here */
};

static bool carries_guid(const struct mac *mac, uint64_t guid)
{
	return mac->len == MAC_MAX && mac_guid(mac) == guid;
}

static int look(struct binding *b, struct err *err)
{
	struct err gone;
	int r = sysfs_pci_function(b->sysfs_fd, b->vf, &b->function, err);

	b->link.ifindex = 0;
	if (r < 0 || !b->function.netdev[0])
		return r;
	r = link_get(b->host, b->function.netdev, &b->link, &gone);
	if (r == -ENODEV) /* renamed between the two looks */
		return 0;
	if (r < 0)
		*err = gone;
	return r;
}

/* Two messages: of two GUIDs in one the kernel takes the first and says that all is well. */
static int set_guids(const struct binding *b, struct err *err)
{
	const struct vf_state state = { .node_guid = b->guid, .port_guid = b->guid };
	const int vf = b->function.vf_index;
	struct link_info pf;
	int r = link_get(b->host, b->function.pf_netdev, &pf, err);

	if (r == 0)
		r = vf_set(b->host, pf.ifindex, vf, VF_NODE_GUID, &state, err);
	if (r == 0)
		r = vf_set(b->host, pf.ifindex, vf, VF_PORT_GUID, &state, err);
	return r;
}

static int check_function(const struct binding *b, struct err *err)
{
	const struct pci_function *function = &b->function;

	if (!function->is_vf)
		return err_set(err, EINVAL, ERR_DEVICE, "it is no VF");
	if (!function->pf_netdev[0])
		return err_set(err, ENODEV, ERR_DEVICE, "its PF has no network device here");
	return 0;
}

/* What the host uses itself. */
static int refuse_used(const struct binding *b, struct err *err)
{
	char text[CIDR_TEXT];
	struct cidr cidr;
	int r;

	if (b->link.master)
		return err_set(err, EBUSY, ERR_DEVICE, "%s has a master (ifindex %d)", b->link.name,
			       b->link.master);
	r = addr_find_global(b->host, b->link.ifindex, &cidr, err);
	if (r > 0)
		return err_set(err, EBUSY, ERR_DEVICE, "%s has the address %s", b->link.name,
			       cidr_format(&cidr, text));
	return r;
}

/*
 * Does a driver have to read the GUID anew? A guest does that itself. A netdev that is not here may
 * be in a pod, and a VF in use must not lose its driver.
 */
static int needs_rebind(const struct binding *b, struct err *err)
{
	const struct pci_function *function = &b->function;
	int r;

	if (!function->driver[0])
		return b->is_free && sysfs_may_probe(b->sysfs_fd, b->vf);
	if (sysfs_driver_is_userspace(function->driver))
		return 0;
	if (!b->link.ifindex)
		return err_set(err, EBUSY, ERR_DEVICE,
			       "it has the driver %s, but no network device here: that is in "
			       "another namespace, or ib_ipoib is not loaded",
			       function->driver);
	if (carries_guid(&b->link.mac, b->guid))
		return 0;
	r = b->is_free ? refuse_used(b, err) : 0;
	return r < 0 ? r : 1;
}

static bool is_back(const struct binding *b, bool had_rdma)
{
	return b->link.ifindex && (b->function.rdma[0] || !had_rdma) &&
	       (!b->guid || carries_guid(&b->link.mac, b->guid));
}

static int say_what_is_missing(const struct binding *b, struct err *err)
{
	char mac[MAC_TEXT];

	if (!b->link.ifindex)
		return err_set(err, ETIMEDOUT, ERR_AGAIN,
			       "its network device has not come back in time");
	if (!b->guid || carries_guid(&b->link.mac, b->guid))
		return err_set(err, ETIMEDOUT, ERR_AGAIN,
			       "its RDMA device has not come back in time");
	return err_set(err, ETIMEDOUT, ERR_KERNEL,
		       "%s came back with the address %s, which is of another GUID", b->link.name,
		       mac_format(&b->link.mac, mac));
}

static int rebind(struct binding *b, int64_t deadline_ms, struct err *err)
{
	const bool had_rdma = b->function.rdma[0], had_driver = b->function.driver[0];
	int r = sysfs_rebind(b->sysfs_fd, b->vf, err);

	if (r == -ENODEV && !had_driver)
		return 0;
	while (r == 0) {
		r = look(b, err);
		if (r < 0 || is_back(b, had_rdma))
			return r;
		if (clock_left_ms(deadline_ms) == 0)
			return say_what_is_missing(b, err);
		(void)usleep(GUID_POLL_MS * 1000);
	}
	return r;
}

static int bind_guid(struct binding *b, int64_t deadline_ms, struct err *err)
{
	char text[GUID_TEXT], addr[PCI_TEXT + 4];
	int r = look(b, err);

	if (r == 0)
		r = check_function(b, err);
	if (r == 0)
		r = needs_rebind(b, err);
	if (r >= 0) {
		const bool again = r > 0;

		r = set_guids(b, err);
		if (r == 0 && again)
			r = rebind(b, deadline_ms, err);
	}
	if (r < 0)
		err_prefix(err, "give VF %s the GUID %s", pci_format(b->vf, addr),
			   guid_format(b->guid, text));
	return r;
}

int guid_bind(struct wire *host, int sysfs_fd, const struct pci_addr *vf, uint64_t guid,
	      int64_t deadline_ms, struct err *err)
{
	struct binding b = { .host = host, .sysfs_fd = sysfs_fd, .vf = vf, .guid = guid };

	return bind_guid(&b, deadline_ms, err);
}

int guid_bind_free(struct wire *host, int sysfs_fd, const struct pci_addr *vf, uint64_t guid,
		   int64_t deadline_ms, struct err *err)
{
	struct binding b = {
		.host = host, .sysfs_fd = sysfs_fd, .vf = vf, .guid = guid, .is_free = true
	};

	return bind_guid(&b, deadline_ms, err);
}
