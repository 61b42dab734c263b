/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"

enum { WHO_MAX = 64 };

static int address_of(const char *path, struct sockaddr_un *ret_addr, struct err *err)
{
	*ret_addr = (struct sockaddr_un) { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret_addr->sun_path))
		return err_set(err, ENAMETOOLONG, ERR_VALUE, "listen at %s: path too long", path);
	memcpy(ret_addr->sun_path, path, strlen(path) + 1);
	return 0;
}

/* "a spur-ipamd (pid 12)": who called listen(2). One in another PID namespace has no number here.
 */
static const char *listener_name(int fd, char who[WHO_MAX])
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	char path[64], name[32] = "";

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid == 0) {
		(void)snprintf(who, WHO_MAX, "a process of another PID namespace");
		return who;
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer.pid);
	if (fs_read_small(AT_FDCWD, path, name, sizeof(name)) <= 0)
		(void)snprintf(name, sizeof(name), "process");
	(void)snprintf(who, WHO_MAX, "a %s (pid %d)", name, (int)peer.pid);
	return who;
}

/* 0: nobody is there. */
static int probe_socket(const char *path, struct err *err)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;
	char who[WHO_MAX];
	int r;

	if (fd < 0)
		return err_sys(err, errno, ERR_INTERNAL, "open a unix socket");
	r = address_of(path, &addr, err);
	if (r < 0)
		return r;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return err_set(err, EADDRINUSE, ERR_IO, "listen at %s: %s serves there already",
			       path, listener_name(fd, who));
	if (errno == ECONNREFUSED || errno == ENOENT)
		return 0;
	if (errno == EAGAIN)
		return err_set(err, EADDRINUSE, ERR_IO,
			       "listen at %s: a process listens there already, and takes no "
			       "connection",
			       path);
	if (errno == EPROTOTYPE)
		return err_set(err, EADDRINUSE, ERR_IO,
			       "listen at %s: a process has a socket of another kind there", path);
	return err_sys(err, errno, ERR_IO, "look who listens at %s", path);
}

int listener_probe(const char *path, struct err *err)
{
	struct stat there;

	if (lstat(path, &there) < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, ERR_IO, "look at %s", path);
	if (!S_ISSOCK(there.st_mode))
		return err_set(
			err, EEXIST, ERR_IO,
			"listen at %s: what is there is no socket; remove it, or name another "
			"path",
			path);
	return probe_socket(path, err);
}

static int listener_bind(struct listener *listener, int backlog)
{
	struct sockaddr_un addr;
	struct stat there;
	struct err unused;

	if (address_of(listener->path, &addr, &unused) < 0)
		return -unused.errnum;
	if (bind(listener->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    chmod(listener->path, 0600) < 0 || listen(listener->fd, backlog) < 0 ||
	    lstat(listener->path, &there) < 0)
		return -errno;
	listener->dev = there.st_dev;
	listener->ino = there.st_ino;
	return 0;
}

int listener_open(const char *path, int backlog, struct listener *ret_listener, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	int r;

	r = listener_probe(path, err);
	if (r < 0)
		return r;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, errno, ERR_IO, "remove the old socket %s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, ERR_INTERNAL, "open a unix socket");
	*ret_listener = (struct listener) { .path = path, .fd = fd };
	r = listener_bind(ret_listener, backlog);
	if (r < 0)
		return err_sys(err, -r, ERR_IO, "listen at %s", path);
	(void)TAKE_FD(fd);
	return 0;
}

bool listener_is_there(const struct listener *listener)
{
	struct stat there;

	return lstat(listener->path, &there) == 0 && there.st_dev == listener->dev &&
	       there.st_ino == listener->ino;
}

void listener_remove(const struct listener *listener)
{
	if (listener_is_there(listener))
		(void)unlink(listener->path);
}
