/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/rebind.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "rt/addr.h"

static int look(struct rebind *b, struct err *err)
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

int rebind_look(struct rebind *b, struct err *err)
{
	int r = look(b, err);

	if (r < 0)
		return r;
	if (!b->function.is_vf)
		return err_set(err, EINVAL, ERR_DEVICE, "it is no VF");
	if (!b->function.pf_netdev[0])
		return err_set(err, ENODEV, ERR_DEVICE, "its PF has no network device here");
	return 0;
}

bool rebind_has_guid(const struct rebind *b)
{
	return b->link.ifindex && b->link.mac.len == MAC_MAX && mac_guid(&b->link.mac) == b->guid;
}

/* What the host uses itself. */
static int refuse_used(const struct rebind *b, struct err *err)
{
	char upper[IFNAME_MAX + 1], text[CIDR_TEXT];
	struct cidr cidr;
	int r;

	if (b->link.master)
		return err_set(err, EBUSY, ERR_DEVICE, "%s has a master (ifindex %d)", b->link.name,
			       b->link.master);
	if (sysfs_upper(b->sysfs_fd, b->link.name, upper))
		return err_set(err, EBUSY, ERR_DEVICE, "%s has the upper device %s", b->link.name,
			       upper);
	r = addr_find_global(b->host, b->link.ifindex, &cidr, err);
	if (r > 0)
		return err_set(err, EBUSY, ERR_DEVICE, "%s has the address %s", b->link.name,
			       cidr_format(&cidr, text));
	return r;
}

int rebind_may(const struct rebind *b, struct err *err)
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
	r = b->is_free ? refuse_used(b, err) : 0;
	return r < 0 ? r : 1;
}

static bool is_back(const struct rebind *b, bool has_rdma)
{
	return b->link.ifindex && (b->function.rdma[0] || !has_rdma) &&
	       (!b->guid || rebind_has_guid(b));
}

static int say_what_is_missing(const struct rebind *b, struct err *err)
{
	char mac[MAC_TEXT];

	if (!b->link.ifindex)
		return err_set(err, ETIMEDOUT, ERR_AGAIN,
			       "its network device has not come back in time");
	if (!b->guid || rebind_has_guid(b))
		return err_set(err, ETIMEDOUT, ERR_AGAIN,
			       "its RDMA device has not come back in time");
	return err_set(err, ETIMEDOUT, ERR_KERNEL,
		       "%s came back with the address %s, which is of another GUID", b->link.name,
		       mac_format(&b->link.mac, mac));
}

int rebind_run(struct rebind *b, bool has_rdma, int64_t deadline_ms, struct err *err)
{
	const bool had_driver = b->function.driver[0];
	int r;

	has_rdma = has_rdma || b->function.rdma[0];
	r = sysfs_rebind(b->sysfs_fd, b->vf, err);
	if (r == -ENODEV && !had_driver)
		return 0;
	while (r == 0) {
		r = look(b, err);
		if (r < 0 || is_back(b, has_rdma))
			return r;
		if (clock_left_ms(deadline_ms) == 0)
			return say_what_is_missing(b, err);
		(void)usleep(REBIND_POLL_MS * 1000);
	}
	return r;
}
