/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/await.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/netns.h"
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

/* Where it listens: here, and in the host. -1: not there. */
enum { PLACES = 2 };

static int watch_host(const struct await *await, int *ret_fd, struct err *err)
{
	const struct site *site = await->site;
	struct err later;
	int r, back;

	r = netns_enter(site->host_fd, err);
	if (r < 0)
		return r;
	r = events[await->event].watch(ret_fd, err);
	back = netns_enter(site->pod_fd, r < 0 ? &later : err);
	return r < 0 ? r : back;
}

static int watch(const struct await *await, int fds[PLACES], struct err *err)
{
	int r = events[await->event].watch(&fds[0], err);

	if (r == 0 && await->site && await->site->pod) /* else we stand in the host */
		r = watch_host(await, &fds[1], err);
	return r;
}

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

static int read_events(const struct await *await, int fd, struct hearing *hearing, struct err *err)
{
	int r = events[await->event].read(fd, hear_one, hearing, err);

	if (r != -ENOBUFS)
		return r;
	hearing->heard = true; /* it may have been among those that are lost */
	return 0;
}

/* Until the kernel tells of the device, or the deadline passes. */
static int hear(const struct await *await, const int fds[PLACES], struct err *err)
{
	struct hearing hearing = { .ifindex = await->ifindex };
	struct pollfd watched[PLACES];
	int64_t left_ms;
	int r = 0;

	for (int i = 0; i < PLACES; i++)
		watched[i] = (struct pollfd) { .fd = fds[i], .events = POLLIN };
	while (r == 0 && !hearing.heard && (left_ms = clock_left_ms(await->deadline_ms)) > 0) {
		int n = poll(watched, PLACES, (int)left_ms);

		for (int i = 0; r == 0 && n > 0 && i < PLACES; i++) {
			if (watched[i].revents)
				r = read_events(await, fds[i], &hearing, err);
		}
	}
	return r;
}

/* What happens between the first look and the watch is seen by the second look. */
static int look_on(const struct await *await, int fds[PLACES], struct err *err)
{
	int r = watch(await, fds, err);

	if (r == 0)
		r = await->look(await->arg, err);
	while (r == 0 && clock_left_ms(await->deadline_ms) > 0) {
		const int64_t rested_ms = clock_boot_ms() + await->pause_ms;

		r = hear(await, fds, err);
		if (await->pause_ms)
			(void)poll(NULL, 0, (int)clock_left_ms(rested_ms));
		if (r == 0)
			r = await->look(await->arg, err);
	}
	return r;
}

int await_look(const struct await *await, struct err *err)
{
	int fds[PLACES] = { -1, -1 };
	int r = await->look(await->arg, err);

	if (r == 0 && clock_left_ms(await->deadline_ms) > 0)
		r = look_on(await, fds, err);
	for (int i = 0; i < PLACES; i++)
		cleanup_closep(&fds[i]);
	return r;
}
