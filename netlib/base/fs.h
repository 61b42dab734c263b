/* SPDX-License-Identifier: Apache-2.0 */
/* Small files: sysfs, /proc/sys, and files that must be whole or absent after a power cut. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * Reads all of @path (below @dirfd) into @buf, NUL-terminated, without its trailing newline.
 * Returns the length, or -errno; -EFBIG if it does not fit. Sets no struct err: "absent" is
 * usually an answer, not a failure.
 */
ssize_t fs_read_small(int dirfd, const char *path, char *buf, size_t size);

/* Writes @text to an existing file (sysfs, /proc/sys) in one write. 0 or -errno. */
int fs_write_small(int dirfd, const char *path, const char *text);

/*
 * Makes @name in @dirfd hold exactly @data, durably: temporary file, fsync, rename, fsync of the
 * directory. After a failure the old file is untouched (unless it was the last fsync that failed)
 * and no temporary file is left; after a kill ".NAME.PID" may be.
 */
int fs_write_atomic(int dirfd, const char *name, const void *data, size_t len, mode_t mode,
		    struct err *err);

/*
 * A directory that nobody else can write: made with 0700 if it is not there (its parent must be),
 * else taken as it is, for it may be somebody else's to set up. -EPERM (ERR_IO): it belongs to
 * another user, or others may write there, or it is sticky, as a shared one is.
 */
int fs_own_directory(const char *path, struct err *err);

/*
 * Reads @fd to its end into a new NUL-terminated buffer of at most @max bytes.
 * Returns -EFBIG beyond that. The caller frees *@ret_data.
 */
int fs_read_all(int fd, size_t max, char **ret_data, size_t *ret_len);
/* The same of the file at @path, which the error (ERR_IO) names. */
int fs_read_file(const char *path, size_t max, char **ret_data, size_t *ret_len, struct err *err);

/*
 * Opens @path to append to it, or makes it (0600), and returns the descriptor. Only a regular file
 * with one name, and no symbolic link: nothing else is opened at all (ERR_IO), and nothing waits.
 */
int fs_open_log(const char *path, struct err *err);

/* Writes all of @data, or returns -errno (-EPIPE needs SIGPIPE ignored). */
int fs_write_all(int fd, const void *data, size_t len);
