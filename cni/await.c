/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/await.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rt/addr.h"
#include "rt/link.h"

static const struct {
	int (*watch)(int *ret_fd, struct err *err);
	int (*read)(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
		    struct err *err);
} events[] = {
	[AWAIT_LINK] = { link_watch, link_watch_read },
	[AWAIT_ADDRESS] = { addr_watch, addr_watch_read },
};

struct hearing {
	int ifindex;
	bool heard;
};

static void hear_one(int ifindex, bool deleted, void *arg)
{
	struct hearing *hearing = arg;

	(void)deleted;
	hearing->heard = hearing->heard || !hearing->ifindex || ifindex == hearing->ifindex;
}

/* Until the kernel tells of the device, or the deadline passes. */
static int hear(const struct await *await, int fd, struct err *err)
{
	struct hearing hearing = { .ifindex = await->ifindex };
	struct pollfd watched = { .fd = fd, .events = POLLIN };

	while (!hearing.heard && clock_left_ms(await->deadline_ms) > 0) {
		int r = 0;

		if (poll(&watched, 1, (int)clock_left_ms(await->deadline_ms)) > 0)
			r = events[await->event].read(fd, hear_one, &hearing, err);
		if (r < 0 && r != -ENOBUFS)
			return r;
		hearing.heard = hearing.heard || r == -ENOBUFS; /* it may have been among them */
	}
	return 0;
}

int await_look(const struct await *await, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	int r = await->look(await->arg, err);

	while (r == 0 && clock_left_ms(await->deadline_ms) > 0) {
		/* What happens between the first look and the watch is seen by the second look. */
		r = fd < 0 ? events[await->event].watch(&fd, err) : hear(await, fd, err);
		if (r == 0)
			r = await->look(await->arg, err);
	}
	return r;
}
