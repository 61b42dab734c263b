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
 * Makes sure that the directory @path is ours and that nobody has more of it than @mode gives: made
 * if it is not there (its parent must be), and what its mode has beyond @mode is taken from it,
 * *@ret_was then being the mode that it had (else 0). -EPERM (ERR_IO): it belongs to another user.
 */
int fs_own_directory(const char *path, mode_t mode, mode_t *ret_was, struct err *err);

/*
 * Reads @fd to its end into a new NUL-terminated buffer of at most @max bytes.
 * Returns -EFBIG beyond that. The caller frees *@ret_data.
 */
int fs_read_all(int fd, size_t max, char **ret_data, size_t *ret_len);
/* The same of the file at @path, which the error (ERR_IO) names. */
int fs_read_file(const char *path, size_t max, char **ret_data, size_t *ret_len, struct err *err);

/* Writes all of @data, or returns -errno (-EPIPE needs SIGPIPE ignored). */
int fs_write_all(int fd, const void *data, size_t len);
