/* SPDX-License-Identifier: Apache-2.0 */
#include "host/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/nsfs.h>

#include "base/cleanup.h"

int netns_open(const char *path, int *ret_fd, struct err *err)
{
	/* Non-blocking: a FIFO that somebody left there must not hang us. */
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_sys(err, errno, ERR_ENV, "open network namespace %s", path);
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
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
	int r = netns_open(look->path, &netns_fd, look->err);

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
