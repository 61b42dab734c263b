/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces: open one safely, tell which one it is, tell whether it still lives. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Opens @path as a network namespace. What is none (a device, a FIFO, a file, a namespace of
 * another kind) is never opened: -EINVAL with ERR_ENV. So is a path that leads through a link of a
 * process, unless it is /proc/PID[/task/TID]/ns/net itself. Not there: -ENOENT. The caller owns
 * *@ret_fd (CLOEXEC).
 */
int netns_open(const char *path, int *ret_fd, struct err *err);

/* setns(2) of the calling thread. */
int netns_enter(int netns_fd, struct err *err);

/*
 * The cookie of the namespace that a socket is bound to (SO_NETNS_COOKIE, since Linux 5.14):
 * unique for the life of the kernel, never reused. Any socket family.
 */
int netns_socket_cookie(int socket_fd, uint64_t *ret_cookie, struct err *err);

/*
 * The cookie of the namespace at @path, looked at from a short-lived thread, which makes effective
 * what capabilities the caller is permitted: the caller's namespace and capabilities do not change,
 * and nothing stays open. -ENOENT if the path leads to none.
 */
int netns_path_cookie(const char *path, uint64_t *ret_cookie, struct err *err);
