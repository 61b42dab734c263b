/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/rdma.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cni/rdma_name.h"
#include "cni/rdma_task.h"
#include "cni/rdma_turn.h"
#include "host/sysfs.h"

enum {
	RDMA_MOVE_MS = 10 * 1000,
	LOOK_AGAIN_MS = 20,
	READY_POLL_MS = 5,
	SWAP_MS = 3000,  /* a node that binds many anew is a busy one */
	SQUAT_MS = 3000, /* a pod may take a name again as soon as it was taken from it */
};

/* Of the way home: the ADD's own may be what has passed. */
static const int64_t NO_DEADLINE = INT64_MAX;

static const char *bus_of(const char *key)
{
	return strncmp(key, "aux:", 4) == 0 ? "auxiliary" : "pci";
}

int rdma_name_of(struct site *site, char ret_name[SYSFS_NAME_MAX], struct err *err)
{
	const char *key = site->record->device.key;
	int sysfs, r = site_sysfs(site, false, &sysfs, err);

	return r < 0 ? r : sysfs_rdma_name(sysfs, bus_of(key), key + strlen("pci:"), ret_name, err);
}

static int own_index(const struct site *site)
{
	return site->rdma.index >= 0 ? site->rdma.index : site->record->facts.rdma.index;
}

int rdma_look(struct site *site, bool in_pod, struct rdma_device *ret_device, struct err *err)
{
	const int index = own_index(site);
	char name[SYSFS_NAME_MAX] = "";
	struct wire *wire;
	int r = site_rdma(site, in_pod, &wire, err);

	if (r == 0 && index >= 0) {
		r = rdma_get(wire, (uint32_t)index, ret_device, err);
		if (r != -ENODEV)
			return r < 0 ? r : 1;
		r = 0;
	}
	/* A driver that was bound anew has made another one, with another index. */
	if (r == 0)
		r = rdma_name_of(site, name, err);
	if (r < 0 || !name[0])
		return r;
	r = rdma_find(wire, name, ret_device, err);
	return r < 0 && r != -ENODEV ? r : r == 0;
}

int rdma_is_movable(struct site *site, bool *ret_movable, struct err *err)
{
	const struct rdma_baseline *was = &site->record->device.rdma;
	enum rdma_mode mode = RDMA_ABSENT;
	int r = 0;

	if (was->name[0] && was->count == 1 && site->conf->rdma_wish != RDMA_WISH_NONE)
		r = site_rdma_mode(site, &mode, err);
	*ret_movable = mode == RDMA_EXCLUSIVE;
	return r;
}

/* kubelet has told the pod the number that it had: another one means a device that cannot be
 * opened.
 */
static int compare_uverbs(const struct site *site, struct err *err)
{
	const char *was = site->record->device.rdma.uverbs, *is = site->rdma.uverbs;

	if (!site->conf->from_plugin || !was[0] || strcmp(was, is) == 0)
		return 0;
	err_set(err, EAGAIN, ERR_AGAIN, "the move has made %s of %s, which the pod was promised",
		is[0] ? is : "nothing", was);
	err_details(err, "another device came or went meanwhile; the next attempt gets what is "
			 "there then");
	return -EAGAIN;
}

/* @deadline_ms: past which nobody waits for an answer. A move has its time from its turn on. */
static int run_task(struct site *site, const struct rdma_task *asked, int64_t deadline_ms,
		    struct rdma_answer *ret_answer, struct err *err)
{
	struct rdma_task task = *asked;
	CLEANUP_CLOSE int turn = -1;
	int r;

	if (site->rdma.hangs)
		return err_set(err, ETIMEDOUT, ERR_AGAIN, "an earlier move still hangs");
	if (task.to_fd >= 0)
		turn = rdma_turn_take(site->conf->socket, deadline_ms);
	task.deadline_ms = MIN(clock_boot_ms() + RDMA_MOVE_MS, deadline_ms);
	r = rdma_task_run(&task, &turn, ret_answer, err);
	site->rdma.hangs = r == -ETIMEDOUT;
	return r;
}

/* As run_task(), but what a pod has called like that is renamed, as often as the pod does so. */
static int run_named(struct site *site, const struct rdma_task *task, int64_t deadline_ms,
		     struct rdma_answer *ret_answer, struct err *err)
{
	const int64_t give_up_ms = MIN(clock_boot_ms() + SQUAT_MS, deadline_ms);
	int r, freed;

	for (;;) {
		r = run_task(site, task, deadline_ms, ret_answer, err);
		if (r != -EEXIST)
			return r;
		freed = rdma_name_reclaim(site, task->new_name, err);
		if ((freed < 0 && freed != -EAGAIN) || clock_left_ms(give_up_ms) == 0)
			return freed < 0 ? freed : r;
	}
}

int rdma_take(struct site *site, const char *name, struct err *err)
{
	char now[SYSFS_NAME_MAX] = "";
	const struct rdma_task task = {
		.from_fd = site->host_fd,
		.to_fd = site->pod_fd,
		.index = -1,
		.name = now,
		.new_name = name,
	};
	struct rdma_answer answer = { 0 };
	int r = rdma_name_of(site, now, err);

	if (r == 0 && !now[0])
		r = err_set(err, ENODEV, ERR_DEVICE, "it is not in the host any more");
	if (r == 0)
		r = run_named(site, &task, site->deadline_ms, &answer, err);
	if (r == -EOPNOTSUPP)
		err_details(err, "its driver cannot take it from its users; \"rdma\": \"none\" "
				 "leaves it in the host");
	if (r == -EEXIST) /* of all names of the node, in whatever namespace */
		err->code = ERR_NAME;
	if (r < 0)
		return r;
	site->rdma.moved = true;
	site->rdma.index = (int)answer.device.index;
	(void)snprintf(site->rdma.name, sizeof(site->rdma.name), "%s", name ? name : now);
	(void)snprintf(site->rdma.uverbs, sizeof(site->rdma.uverbs), "%s", answer.uverbs);
	return compare_uverbs(site, err);
}

/* Out of the pod, or where it is in the host: by its own name, or by one that nobody wants. */
static int bring_home(struct site *site, bool in_pod, const struct rdma_device *device,
		      struct err *err)
{
	const struct rdma_baseline *was = &site->record->device.rdma;
	char spare[RDMA_NAME_MAX + 1];
	const struct rdma_task task = {
		.from_fd = in_pod ? site->pod_fd : site->host_fd,
		.to_fd = in_pod ? site->host_fd : -1,
		.index = (int)device->index,
		.new_name = was->name,
		.spare_name = spare,
		.moderation = was->moderation,
	};
	struct rdma_answer answer = { 0 };
	int r;

	rdma_name_spare(site->record->device.key + strlen("pci:"), spare);
	r = run_task(site, &task, NO_DEADLINE, &answer, err);
	if (r < 0)
		err_prefix(err, "bring RDMA device %s home", was->name);
	return r;
}

/* Is it called, and does it moderate, as before? */
static bool is_as_before(const struct rdma_device *device, const struct rdma_baseline *was)
{
	return strcmp(device->name, was->name) == 0 &&
	       (!was->moderation || !device->moderation || device->moderation == was->moderation);
}

static int rename_at_home(struct site *site, uint32_t index, const char *new_name, struct err *err)
{
	const struct rdma_task task = {
		.from_fd = site->host_fd,
		.to_fd = -1,
		.index = (int)index,
		.new_name = new_name,
	};
	struct rdma_answer answer = { 0 };

	return run_named(site, &task, NO_DEADLINE, &answer, err);
}

/*
 * In the host: 1, or 0: it is no more. A namespace that dies gives it back when it gets to it.
 */
static int await_home(struct site *site, struct rdma_device *ret_device, struct err *err)
{
	const int64_t deadline_ms = clock_boot_ms() + SITE_HOMECOMING_MS;
	const char *key = site->record->device.key;
	int sysfs, r;

	for (;;) {
		r = rdma_look(site, false, ret_device, err);
		if (r != 0)
			return r;
		if (!site->pod_dead || clock_left_ms(deadline_ms) == 0)
			break;
		(void)poll(NULL, 0, LOOK_AGAIN_MS);
	}
	r = site_sysfs(site, false, &sysfs, err);
	if (r < 0 || !sysfs_has_rdma(sysfs, bus_of(key), key + strlen("pci:")))
		return r;
	return err_set(
		err, ENODEV, ERR_DEVICE, "find RDMA device %s: %s", site->record->device.rdma.name,
		site->pod || site->pod_dead ? "neither in the pod nor in the host"
					    : "the pod's namespace lives, but no path leads to it");
}

/* It never left, but whoever sees it can rename it, and tell it something. */
static bool is_shared(const struct site *site)
{
	return site->rdma_mode_known && site->rdma_mode == RDMA_SHARED;
}

int rdma_return(struct site *site, struct err *err)
{
	struct rdma_device device = { 0 };
	bool movable;
	int r = rdma_is_movable(site, &movable, err);

	if (r < 0 || (!movable && !is_shared(site)))
		return r;
	if (movable && site->pod)
		r = rdma_look(site, true, &device, err);
	if (r > 0)
		return bring_home(site, true, &device, err);
	/* A move that was given up may still be under way: behind it, the device is here, or not.
	 */
	if (r == 0)
		r = await_home(site, &device, err);
	return r <= 0 || is_as_before(&device, &site->record->device.rdma)
		       ? MIN(r, 0)
		       : bring_home(site, false, &device, err);
}

/*
 * Devices that are made anew at the same time may get each other's names: each lets go of its own,
 * so that the other can have it. What is still taken then stays so.
 */
static int swap_names(struct site *site, uint32_t index, struct err *err)
{
	const char *wanted = site->record->device.rdma.name;
	const int64_t deadline_ms = clock_boot_ms() + SWAP_MS;
	char spare[RDMA_NAME_MAX + 1];
	int r;

	rdma_name_spare(site->record->device.key + strlen("pci:"), spare);
	r = rename_at_home(site, index, spare, err);
	while (r == 0) {
		r = rename_at_home(site, index, wanted, err);
		if (r != -EEXIST)
			return r;
		if (clock_left_ms(deadline_ms) == 0) {
			if (!site->conf->guid) /* it is free again when a pod gives it back */
				return r;
			log_warn("RDMA device %s: its name is taken by now, it stays %s", wanted,
				 spare);
			return 0;
		}
		(void)poll(NULL, 0, LOOK_AGAIN_MS);
		r = 0;
	}
	return r;
}

int rdma_restore_name(struct site *site, struct err *err)
{
	const char *wanted = site->record->device.rdma.name;
	struct rdma_device device = { 0 };
	bool movable;
	int r = rdma_is_movable(site, &movable, err);

	if (r == 0 && (movable || is_shared(site)))
		r = rdma_look(site, false, &device, err);
	if (r <= 0 || strcmp(device.name, wanted) == 0)
		return MIN(r, 0);
	r = rename_at_home(site, device.index, wanted, err);
	if (r == -EEXIST && !movable) { /* any pod may rename any device, also one that is free */
		log_warn("RDMA device %s: its name is taken by now", wanted);
		return 0;
	}
	if (r == -EEXIST)
		r = swap_names(site, device.index, err);
	if (r < 0)
		err_prefix(err, "rename RDMA device %s to %s", device.name, wanted);
	return r;
}

/* Without a netdev of ours in the pod (a chain) the GID is whosever it is. */
static int is_ready(int sysfs, struct site *site, const struct ip *ip, bool *ready, struct err *err)
{
	int r = sysfs_rdma_port_active(sysfs, site->rdma.name, ready, err);

	if (r < 0 || !ip->family)
		return r;
	r = sysfs_rdma_gid_index(sysfs, site->rdma.name, ip, site->link.name, &site->rdma.gid_index,
				 err);
	*ready = *ready && site->rdma.gid_index >= 0;
	return r;
}

int rdma_await_ready(struct site *site, const struct ip *ip, int64_t wait_ms, struct err *err)
{
	const struct rdma_baseline *was = &site->record->device.rdma;
	int64_t deadline_ms = clock_boot_ms() + wait_ms;
	bool ready;
	int sysfs;
	int r = site_sysfs(site, true, &sysfs, err);

	if (!site->rdma.moved) {
		(void)snprintf(site->rdma.name, sizeof(site->rdma.name), "%s", was->name);
		(void)snprintf(site->rdma.uverbs, sizeof(site->rdma.uverbs), "%s", was->uverbs);
	}
	if (deadline_ms > site->deadline_ms)
		deadline_ms = site->deadline_ms;
	while (r == 0) {
		r = is_ready(sysfs, site, ip, &ready, err);
		if (r < 0 || ready)
			return r;
		if (clock_left_ms(deadline_ms) == 0)
			return err_set(err, ETIMEDOUT, ERR_AGAIN, "not ready within %lld ms: %s",
				       (long long)wait_ms,
				       ip->family && site->rdma.gid_index < 0
					       ? "no RoCE v2 GID of its address"
					       : "its port is not active");
		(void)poll(NULL, 0, READY_POLL_MS);
	}
	return r;
}
