/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/rdma_turn.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum { TRY_AGAIN_MS = 5, PATH_SIZE = 256 };

/* Without the directory there is no daemon. */
static int open_directory(const char *socket)
{
	const char *end = strrchr(socket, '/');
	char dir[PATH_SIZE];

	if (!end ||
	    snprintf(dir, sizeof(dir), "%.*s", (int)(end - socket) + 1, socket) >= PATH_SIZE)
		return -1;
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int rdma_turn_take(const char *socket, int64_t deadline_ms)
{
	const int64_t patience_ms = clock_boot_ms() + RDMA_TURN_WAIT_MS;
	CLEANUP_CLOSE int fd = open_directory(socket);

	if (deadline_ms > patience_ms)
		deadline_ms = patience_ms;
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (clock_left_ms(deadline_ms) == 0)
			return -1;
		(void)poll(NULL, 0, TRY_AGAIN_MS);
	}
	return TAKE_FD(fd);
}

void rdma_turn_end(int *turn)
{
	cleanup_closep(turn);
	*turn = -1;
}
