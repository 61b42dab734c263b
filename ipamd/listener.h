/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening socket, and the path that leads to it. A path is taken only from a socket that
 * nobody serves any more, and given up only while it still leads to the socket that was bound here.
 * Two that look at one path at once would each take it: mark.h has the lock.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct listener {
	const char *path; /* borrowed */
	int fd;
	dev_t dev; /* what the path led to once it was bound. The socket keeps its inode: while it
		      is open nobody else's can have this number */
	ino_t ino;
};

/*
 * Is @path free to be bound? Nothing is changed. -EADDRINUSE (ERR_IO): somebody listens there, also
 * one that takes no connection, and the error names the process (SO_PEERCRED); -EEXIST (ERR_IO):
 * what is there is no socket.
 */
int listener_probe(const char *path, struct err *err);
/*
 * Binds a socket to @path, in the place of one that nobody serves, for root only, and lets at most
 * @backlog wait there. The caller closes ret_listener->fd.
 */
int listener_open(const char *path, int backlog, struct listener *ret_listener, struct err *err);
/* Does the path still lead to this socket? */
bool listener_is_there(const struct listener *listener);
/* Removes the path if it does. To be called before the socket is closed. */
void listener_remove(const struct listener *listener);
