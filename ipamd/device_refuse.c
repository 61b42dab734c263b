/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/device_refuse.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "base/utf8.h"
#include "host/sysfs.h"
#include "rt/addr.h"
#include "rt/neigh.h"
#include "rt/route.h"

static int lost(const char *key, const char *what, const char *name, struct err *err)
{
	return err_set(err, EBUSY, ERR_DEVICE,
		       "reserve %s: it has the %s %s, which a move would lose", key, what, name);
}

/* Of a bridge or bond the kernel says so itself; the others are known to sysfs alone. */
static int refuse_upper(const struct device_view *view, const char *key,
			const struct link_info *link, struct err *err)
{
	char name[IFNAME_MAX + 1];
	struct link_info master;
	int r;

	if (link->master) {
		r = link_get_index(view->rt, link->master, &master, err);
		return r < 0 ? r : lost(key, "master", master.name, err);
	}
	return sysfs_upper(view->sysfs_fd, link->name, name) ? lost(key, "upper device", name, err)
							     : 0;
}

static int refuse_addresses(struct wire *rt, const char *key, int ifindex, struct err *err)
{
	char text[CIDR_TEXT];
	struct cidr cidr;
	int r = addr_find_global(rt, ifindex, &cidr, err);

	return r > 0 ? lost(key, "address", cidr_format(&cidr, text), err) : r;
}

static int refuse_routes(struct wire *rt, const char *key, int ifindex, struct err *err)
{
	char text[CIDR_TEXT];
	struct cidr dst;
	int r = route_find_made(rt, ifindex, &dst, err);

	return r == 0 && dst.ip.family ? lost(key, "route", cidr_format(&dst, text), err) : r;
}

static int refuse_neighbours(struct wire *rt, const char *key, int ifindex, struct err *err)
{
	char text[IP_TEXT];
	struct ip ip;
	int r = neigh_find_permanent(rt, ifindex, &ip, err);

	return r == 0 && ip.family ? lost(key, "permanent neighbour", ip_format(&ip, text), err)
				   : r;
}

/* A record is JSON, and gives back the names that it holds: all that it does not are deleted. */
static int refuse_names(const char *key, const struct link_info *link, struct err *err)
{
	const char *bad = utf8_is_valid(link->name) ? NULL : link->name;

	if (link->more_altnames)
		return err_set(err, E2BIG, ERR_DEVICE,
			       "reserve %s: it has more altnames than a record holds, which are %d",
			       key, LINK_ALTNAMES_MAX);
	for (int i = 0; i < link->altname_count && !bad; i++)
		bad = utf8_is_valid(link->altnames[i]) ? NULL : link->altnames[i];
	if (!bad)
		return 0;
	return err_set(err, EILSEQ, ERR_DEVICE,
		       "reserve %s: its name \"%s\" is not UTF-8, and no record could hold it", key,
		       bad);
}

int device_refuse_link(const struct device_view *view, const char *key,
		       const struct link_info *link, struct err *err)
{
	int r;

	if (link->flags & IFF_LOOPBACK)
		return err_set(err, EINVAL, ERR_DEVICE, "reserve %s: it is the loopback device",
			       key);
	r = refuse_names(key, link, err);
	if (r == 0)
		r = refuse_upper(view, key, link, err);
	if (r == 0)
		r = refuse_addresses(view->rt, key, link->ifindex, err);
	if (r < 0 || strncmp(key, "net:", 4) != 0)
		return r;
	if (link->flags & IFF_UP) /* else it has none */
		r = refuse_routes(view->rt, key, link->ifindex, err);
	return r < 0 ? r : refuse_neighbours(view->rt, key, link->ifindex, err);
}
