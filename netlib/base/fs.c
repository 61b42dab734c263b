/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { FS_CHUNK = 16384 }; /* a netconf fits in one read */

ssize_t fs_read_small(int dirfd, const char *path, char *buf, size_t size)
{
	CLEANUP_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -EFBIG;
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return n;
}

int fs_write_small(int dirfd, const char *path, const char *text)
{
	CLEANUP_CLOSE int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int fs_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_and_sync(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	CLEANUP_CLOSE int fd =
		openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = fs_write_all(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

int fs_write_atomic(int dirfd, const char *name, const void *data, size_t len, mode_t mode,
		    struct err *err)
{
	char tmp[256];
	int r;

	if ((size_t)snprintf(tmp, sizeof(tmp), ".%s.%d", name, (int)getpid()) >= sizeof(tmp))
		return err_set(err, ENAMETOOLONG, ERR_IO, "write %s: name too long", name);
	r = write_and_sync(dirfd, tmp, data, len, mode);
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r == 0 && fsync(dirfd) < 0)
		return err_sys(err, errno, ERR_IO, "write %s: sync of its directory", name);
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		return err_sys(err, -r, ERR_IO, "write %s", name);
	}
	return 0;
}

int fs_own_directory(const char *path, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, ERR_IO, "make %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, ERR_IO, "open %s", path);
	if (st.st_uid != geteuid())
		return err_set(err, EPERM, ERR_IO, "open %s: it belongs to uid %u, not to %u", path,
			       st.st_uid, geteuid());
	if (!(st.st_mode & (S_IWGRP | S_IWOTH | S_ISVTX)))
		return 0;
	err_set(err, EPERM, ERR_IO,
		"open %s: it is shared (mode %04o): only its owner may write there", path,
		st.st_mode & 07777);
	err_details(err, "name a directory of its own, or chmod this one; nothing is changed here");
	return -EPERM;
}

int fs_open_log(const char *path, struct err *err)
{
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	CLEANUP_CLOSE int fd = -1;
	struct stat st;

	/* A look before, because to open a device may do something. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, ERR_IO, "open %s: must be a regular file", path);
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, ERR_IO, "open %s", path);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(err, EINVAL, ERR_IO,
			       "open %s: must be a regular file that has no other name", path);
	return TAKE_FD(fd);
}

int fs_read_all(int fd, size_t max, char **ret_data, size_t *ret_len)
{
	CLEANUP_FREE char *data = malloc(FS_CHUNK + 1);
	size_t len = 0, size = FS_CHUNK;

	if (!data)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (len == size) {
			char *more = realloc(data, size * 2 + 1);

			if (!more)
				return -ENOMEM;
			data = more;
			size *= 2;
		}
	}
	data[len] = '\0';
	*ret_data = TAKE_PTR(data);
	*ret_len = len;
	return 0;
}

int fs_read_file(const char *path, size_t max, char **ret_data, size_t *ret_len, struct err *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(err, errno, ERR_IO, "open %s", path);
	r = fs_read_all(fd, max, ret_data, ret_len);
	return r < 0 ? err_sys(err, -r, ERR_IO, "read %s", path) : 0;
}
