/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/site.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/netns.h"
#include "host/node.h"
#include "rt/nsid.h"

int site_open(struct site *site, int64_t deadline_ms, struct err *err)
{
	*site = (struct site) {
		.host_fd = -1,
		.pod_fd = -1,
		.host_sysfs = -1,
		.pod_sysfs = -1,
		.rdma = { .index = -1, .gid_index = -1 },
		.deadline_ms = deadline_ms,
	};
	site->host_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (site->host_fd < 0)
		return err_sys(err, errno, ERR_IO, "open /proc/self/ns/net");
	return wire_open(NETLINK_ROUTE, &site->host, err);
}

/* Steps in, opens the socket, asks who this is. On failure steps out again. */
static int enter(struct site *site, int pod_fd, struct err *err)
{
	struct err ignored;
	int r;

	r = netns_enter(pod_fd, err);
	if (r < 0)
		return r;
	r = wire_open(NETLINK_ROUTE, &site->pod, err);
	if (r == 0)
		r = netns_socket_cookie(wire_fd(site->pod), &site->pod_cookie, err);
	if (r < 0)
		(void)netns_enter(site->host_fd, &ignored);
	return r;
}

static void leave(struct site *site)
{
	struct err ignored;

	wire_close(site->pod);
	site->pod = NULL;
	(void)netns_enter(site->host_fd, &ignored); /* we have just come from there */
}

int site_enter(struct site *site, const char *path, struct err *err)
{
	CLEANUP_CLOSE int pod_fd = -1;
	uint64_t host_cookie;
	int r;

	r = netns_open(path, &pod_fd, err);
	if (r < 0) {
		err->code = ERR_ENV;
		err_prefix(err, "CNI_NETNS");
		return r;
	}
	r = netns_socket_cookie(wire_fd(site->host), &host_cookie, err);
	if (r == 0)
		r = enter(site, pod_fd, err);
	if (r < 0)
		return r;
	if (site->pod_cookie == host_cookie) {
		leave(site);
		return err_set(err, EINVAL, ERR_ENV,
			       "CNI_NETNS: %s: is the namespace of the host itself", path);
	}
	site->pod_fd = TAKE_FD(pod_fd);
	return 0;
}

/* Is the record's namespace behind @path? Then we are in it. */
static bool enter_if_recorded(struct site *site, const char *path)
{
	CLEANUP_CLOSE int pod_fd = -1;
	struct err ignored; /* whatever is there, it is not the pod */

	if (!path || !path[0] || netns_open(path, &pod_fd, &ignored) < 0 ||
	    enter(site, pod_fd, &ignored) < 0)
		return false;
	if (site->pod_cookie != site->record->netns.cookie) {
		leave(site);
		return false;
	}
	site->pod_fd = TAKE_FD(pod_fd);
	return true;
}

/* docs/architecture.md, "Who is dead" */
static int ask_whether_dead(struct site *site, struct err *err)
{
	bool exists = true;
	int r = 0;

	if (site->record->netns.nsid >= 0)
		r = nsid_exists(site->host, site->record->netns.nsid, &exists, err);
	site->pod_dead = !exists || site->record->netns.lost;
	return r;
}

int site_enter_recorded(struct site *site, const char *path, struct err *err)
{
	const char *recorded = site->record->netns.path;
	char boot_id[BOOT_ID_TEXT];
	int r;

	r = node_boot_id(boot_id, err);
	if (r < 0)
		return r;
	site->other_boot = strcmp(boot_id, site->record->boot_id) != 0;
	site->pod_dead = site->other_boot;
	if (site->other_boot) /* cookies begin anew: the path may lead to another's */
		return 0;
	if (enter_if_recorded(site, recorded))
		return 0;
	if (path && strcmp(path, recorded) != 0 && enter_if_recorded(site, path))
		return 0;
	return ask_whether_dead(site, err);
}

int site_sysfs(struct site *site, bool in_pod, int *ret_fd, struct err *err)
{
	int *fd = in_pod ? &site->pod_sysfs : &site->host_sysfs;
	int r = 0;

	if (*fd < 0)
		r = in_pod ? sysfs_mount(fd, err) : sysfs_open(fd, err);
	*ret_fd = *fd;
	return r;
}

static int open_rdma_in_host(struct site *site, struct err *err)
{
	struct err later;
	int r = netns_enter(site->host_fd, err), back;

	if (r < 0)
		return r;
	r = rdma_open(&site->host_rdma, err);
	back = netns_enter(site->pod_fd, r < 0 ? &later : err);
	return r < 0 ? r : back;
}

int site_rdma(struct site *site, bool in_pod, struct wire **ret_wire, struct err *err)
{
	struct wire **wire = in_pod ? &site->pod_rdma : &site->host_rdma;
	int r = 0;

	if (!*wire)
		r = !in_pod && site->pod ? open_rdma_in_host(site, err) : rdma_open(wire, err);
	*ret_wire = *wire;
	return r;
}

int site_rdma_mode(struct site *site, enum rdma_mode *ret_mode, struct err *err)
{
	struct wire *wire; /* the mode is the node's: it is told in either namespace */
	int r = 0;

	if (!site->rdma_mode_known) {
		r = site_rdma(site, site->pod, &wire, err);
		if (r == 0)
			r = rdma_mode(wire, &site->rdma_mode, err);
		site->rdma_mode_known = r == 0;
	}
	*ret_mode = site->rdma_mode;
	return r;
}

int site_leave(const struct site *site, struct err *err)
{
	return netns_enter(site->host_fd, err);
}

void site_close(struct site *site)
{
	struct wire *const sockets[] = { site->host, site->pod, site->host_rdma, site->pod_rdma };
	const int fds[] = { site->host_fd, site->pod_fd, site->host_sysfs, site->pod_sysfs };

	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
		wire_close(sockets[i]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cleanup_closep(&fds[i]);
}
