/* SPDX-License-Identifier: Apache-2.0 */
#include "host/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>

#include "base/cleanup.h"
#include "host/caps.h"

/* Does this handle lie on a file system of that kind? */
static bool is_on(int fd, long magic)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == magic;
}

/* Is it /proc/PID/ns/net or /proc/PID/task/TID/ns/net? Those of "self" are nobody's. */
static bool is_process_path(const char *path)
{
	int end = -1;

	(void)sscanf(path, "/proc/%*[0-9]/ns/net%n", &end);
	if (end < 0)
		(void)sscanf(path, "/proc/%*[0-9]/task/%*[0-9]/ns/net%n", &end);
	return end >= 0 && path[end] == '\0';
}

/*
 * A handle (O_PATH): whatever lies there is not opened. Symbolic links are followed. What only
 * looks like a link, and leads into a process (/proc/PID/root, fd/N, cwd), is not: a path could
 * lead anywhere through it.
 */
static int path_handle(const char *path, uint64_t resolve)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = resolve };
	long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The one that may be followed is the last part of the path of a process's namespace. */
static int process_handle(const char *path)
{
	CLEANUP_FREE char *dir = strndup(path, strlen(path) - strlen("/net"));
	CLEANUP_CLOSE int dir_fd = -1;
	int fd;

	if (!dir)
		return -ENOMEM;
	dir_fd = path_handle(dir, RESOLVE_NO_SYMLINKS);
	if (dir_fd < 0)
		return dir_fd;
	if (!is_on(dir_fd, PROC_SUPER_MAGIC))
		return -EINVAL;
	fd = openat(dir_fd, "net", O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int netns_open(const char *path, int *ret_fd, struct err *err)
{
	CLEANUP_CLOSE int handle = is_process_path(path) ? process_handle(path)
							 : path_handle(path, RESOLVE_NO_MAGICLINKS);
	CLEANUP_CLOSE int fd = -1;
	char self[32];

	if (handle == -ELOOP)
		return err_set(err, EINVAL, ERR_ENV,
			       "open network namespace %s: leads through a link of a process",
			       path);
	if (handle < 0)
		return err_sys(err, -handle, ERR_ENV, "open network namespace %s", path);
	if (is_on(handle, NSFS_MAGIC)) {
		(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", handle);
		fd = open(self, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, errno, ERR_ENV, "open network namespace %s", path);
	}
	if (fd < 0 || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set(err, EINVAL, ERR_ENV,
			       "open network namespace %s: not a network namespace", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int netns_enter(int netns_fd, struct err *err)
{
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, ERR_KERNEL, "enter network namespace");
	return 0;
}

int netns_socket_cookie(int socket_fd, uint64_t *ret_cookie, struct err *err)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	if (getsockopt(socket_fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return err_sys(err, errno, ERR_KERNEL, "get cookie of network namespace");
	*ret_cookie = cookie;
	return 0;
}

struct cookie_look {
	const char *path;
	uint64_t cookie;
	struct err *err;
	int r;
};

static int look_inside(struct cookie_look *look)
{
	CLEANUP_CLOSE int netns_fd = -1;
	CLEANUP_CLOSE int sock = -1;
	int r = caps_raise(look->err);

	if (r == 0)
		r = netns_open(look->path, &netns_fd, look->err);
	if (r == 0)
		r = netns_enter(netns_fd, look->err);
	if (r < 0)
		return r;
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return err_sys(look->err, errno, ERR_KERNEL, "open socket in %s", look->path);
	return netns_socket_cookie(sock, &look->cookie, look->err);
}

static void *look_thread(void *arg)
{
	struct cookie_look *look = arg;

	look->r = look_inside(look);
	return NULL;
}

int netns_path_cookie(const char *path, uint64_t *ret_cookie, struct err *err)
{
	struct cookie_look look = { .path = path, .err = err };
	pthread_t thread;
	int r = pthread_create(&thread, NULL, look_thread, &look);

	if (r != 0)
		return err_sys(err, r, ERR_INTERNAL, "start thread to look at %s", path);
	(void)pthread_join(thread, NULL); /* our own, joinable, joined once: cannot fail */
	if (look.r == 0)
		*ret_cookie = look.cookie;
	return look.r;
}
