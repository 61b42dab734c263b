/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/rdma.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "cni/rdma_turn.h"
#include "host/netns.h"
#include "host/sysfs.h"

enum {
	LOOK_AGAIN_MS = 20,
	READY_POLL_MS = 5,
	SWAP_MS = 3000,      /* a node that binds many anew is a busy one */
	CHILD_FDS_FROM = 64, /* above what we have open; below every limit */
};

/* Of the way home: the ADD's own may be what has passed. */
static const int64_t NO_DEADLINE = INT64_MAX;

/* What the child is to do. */
struct task {
	int from_fd, to_fd; /* namespaces; to_fd -1: it stays */
	const char *name;
	const char *new_name;            /* equal to name: keeps it */
	enum rdma_moderation moderation; /* that it is to have afterwards; unknown: as it is */
	int64_t deadline_ms;
};

/* What the child tells. One write: shorter than PIPE_BUF. */
struct answer {
	int r;
	struct err err;
	char uverbs[RDMA_CHARDEV_MAX + 1]; /* afterwards */
};

_Static_assert(sizeof(struct answer) < 4096, "one write to a pipe is whole up to PIPE_BUF");

/* In the child. */

/* Keeps the @count descriptors, as 0, 1, …, and nothing else. */
static int keep_only(int fds[], int count)
{
	for (int i = 0; i < count; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, CHILD_FDS_FROM);
		if (fds[i] < 0)
			return -errno;
	}
	for (int i = 0; i < count; i++) {
		if (dup2(fds[i], i) < 0)
			return -errno;
		fds[i] = i;
	}
	return close_range((unsigned int)count, ~0U, 0) < 0 ? -errno : 0;
}

static int find_in(int netns_fd, const char *name, struct wire **ret_wire,
		   struct rdma_device *ret_device, struct err *err)
{
	int r = netns_enter(netns_fd, err);

	if (r == 0)
		r = rdma_open(ret_wire, err);
	return r < 0 ? r : rdma_find(*ret_wire, name, ret_device, err);
}

/* @wire and @device are those of the target afterwards. */
static int cross(const struct task *task, struct wire **wire, struct rdma_device *device,
		 char uverbs[RDMA_CHARDEV_MAX + 1], struct err *err)
{
	struct err none;
	int r = rdma_move(*wire, device->index, task->to_fd, err);

	if (r == 0)
		r = find_in(task->to_fd, task->new_name, wire, device, err);
	if (r == 0 && rdma_chardev(*wire, device->index, uverbs, &none) < 0)
		uverbs[0] = '\0'; /* it has none */
	return r;
}

static int work(const struct task *task, char uverbs[RDMA_CHARDEV_MAX + 1], struct err *err)
{
	struct rdma_device device;
	struct wire *wire;
	int r;

	r = find_in(task->from_fd, task->name, &wire, &device, err);
	if (r == 0 && strcmp(task->name, task->new_name) != 0)
		r = rdma_rename(wire, device.index, task->new_name, err);
	if (r == 0 && task->to_fd >= 0)
		r = cross(task, &wire, &device, uverbs, err);
	/* A kernel that does not tell it has none. */
	if (r == 0 && task->moderation && device.moderation &&
	    device.moderation != task->moderation)
		r = rdma_set_moderation(wire, device.index, task->moderation, err);
	return r;
}

static _Noreturn void child(const struct task *given, int answer_fd, pid_t parent)
{
	int fds[] = { answer_fd, given->from_fd, given->to_fd };
	struct task task = *given;
	struct answer answer = { 0 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	answer.r = keep_only(fds, given->to_fd < 0 ? 2 : 3);
	if (answer.r < 0) {
		err_sys(&answer.err, -answer.r, ERR_INTERNAL, "keep descriptors");
	} else {
		answer_fd = fds[0];
		task.from_fd = fds[1];
		task.to_fd = given->to_fd < 0 ? -1 : fds[2];
		answer.r = work(&task, answer.uverbs, &answer.err);
	}
	(void)fs_write_all(answer_fd, (const char *)&answer, sizeof(answer));
	_exit(0);
}

/* In the parent. */

/* One that hangs in the kernel keeps nobody else waiting. */
static int await_answer(int fd, int64_t deadline_ms, int *turn, struct answer *ret_answer)
{
	struct pollfd watched = { .fd = fd, .events = POLLIN };
	const int turn_ms = (int)MIN(clock_left_ms(deadline_ms), RDMA_TURN_MS);
	ssize_t n = -1;
	int ready = poll(&watched, 1, turn_ms);

	rdma_turn_end(turn);
	if (ready == 0)
		ready = poll(&watched, 1, (int)clock_left_ms(deadline_ms));
	if (ready > 0)
		n = read(fd, ret_answer, sizeof(*ret_answer));
	return n == (ssize_t)sizeof(*ret_answer) ? 0 : n == 0 ? -EPIPE : -ETIMEDOUT;
}

/* Ends the turn, if it has one. */
static int run(const struct task *task, int *turn, struct answer *ret_answer, struct err *err)
{
	CLEANUP_CLOSE int read_fd = -1;
	const pid_t parent = getpid();
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, ERR_INTERNAL, "make a pipe");
	read_fd = fds[0];
	pid = fork();
	if (pid == 0)
		child(task, fds[1], parent);
	(void)close(fds[1]);
	if (pid < 0)
		return err_sys(err, errno, ERR_INTERNAL, "fork");
	r = await_answer(read_fd, task->deadline_ms, turn, ret_answer);
	if (r == 0) {
		(void)waitpid(pid, NULL, 0);
		*err = ret_answer->err;
		return ret_answer->r;
	}
	/* In the kernel it cannot be killed: it dies when that lets go of it, and is not waited
	 * for. */
	(void)kill(pid, SIGKILL);
	if (r == -EPIPE)
		return err_set(err, EIO, ERR_INTERNAL, "the process that was to do it has died");
	err_set(err, ETIMEDOUT, ERR_AGAIN, "the kernel has not done it in time");
	err_details(err, "a process may still use the device");
	return -ETIMEDOUT;
}

static const char *bus_of(const char *key)
{
	return strncmp(key, "aux:", 4) == 0 ? "auxiliary" : "pci";
}

int rdma_name_of(struct site *site, bool in_pod, char ret_name[SYSFS_NAME_MAX], struct err *err)
{
	const char *key = site->record->device.key;
	int count, sysfs;
	int r = site_sysfs(site, in_pod, &sysfs, err);

	if (r < 0)
		return r;
	return sysfs_rdma_of(sysfs, bus_of(key), key + strlen("pci:"), ret_name, &count, err);
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
static int run_task(struct site *site, const struct task *asked, int64_t deadline_ms,
		    struct answer *ret_answer, struct err *err)
{
	struct task task = *asked;
	CLEANUP_CLOSE int turn = -1;
	int r;

	if (site->rdma.hangs)
		return err_set(err, ETIMEDOUT, ERR_AGAIN, "an earlier move still hangs");
	if (task.to_fd >= 0)
		turn = rdma_turn_take(site->conf->socket, deadline_ms);
	task.deadline_ms = MIN(clock_boot_ms() + RDMA_MOVE_MS, deadline_ms);
	r = run(&task, &turn, ret_answer, err);
	site->rdma.hangs = r == -ETIMEDOUT;
	return r;
}

int rdma_take(struct site *site, const char *name, struct err *err)
{
	char now[SYSFS_NAME_MAX];
	const struct task task = {
		.from_fd = site->host_fd,
		.to_fd = site->pod_fd,
		.name = now,
		.new_name = name ? name : now,
	};
	struct answer answer;
	int r = rdma_name_of(site, false, now, err);

	if (r == 0 && !now[0])
		r = err_set(err, ENODEV, ERR_DEVICE, "it is not in the host any more");
	if (r == 0)
		r = run_task(site, &task, site->deadline_ms, &answer, err);
	if (r == -EOPNOTSUPP)
		err_details(err, "its driver cannot take it from its users; \"rdma\": \"none\" "
				 "leaves it in the host");
	if (r == -EEXIST) /* of all names of the node, in whatever namespace */
		err->code = ERR_NAME;
	if (r < 0)
		return r;
	site->rdma.moved = true;
	(void)snprintf(site->rdma.name, sizeof(site->rdma.name), "%s", task.new_name);
	(void)snprintf(site->rdma.uverbs, sizeof(site->rdma.uverbs), "%s", answer.uverbs);
	return compare_uverbs(site, err);
}

static int move_home(struct site *site, const char *name, struct err *err)
{
	const struct task task = {
		.from_fd = site->pod_fd,
		.to_fd = site->host_fd,
		.name = name,
		.new_name = name,
		.moderation = site->record->device.rdma.moderation,
	};
	struct answer answer;
	int r = run_task(site, &task, NO_DEADLINE, &answer, err);

	if (r < 0)
		err_prefix(err, "bring RDMA device %s home", name);
	return r;
}

/* And gives back what the pod told it. */
static int rename_at_home(struct site *site, const char *name, const char *new_name,
			  struct err *err)
{
	const struct task task = {
		.from_fd = site->host_fd,
		.to_fd = -1,
		.name = name,
		.new_name = new_name,
		.moderation = site->record->device.rdma.moderation,
	};
	struct answer answer;

	return run_task(site, &task, NO_DEADLINE, &answer, err);
}

/* Character devices are shown in every namespace: without one there is no RDMA device anywhere. */
static int is_anywhere(struct site *site, bool *ret_anywhere, struct err *err)
{
	const char *key = site->record->device.key;
	int sysfs;
	int r = site_sysfs(site, false, &sysfs, err);

	*ret_anywhere = true;
	if (r == 0 && site->record->device.rdma.uverbs[0]) /* else it never had one */
		*ret_anywhere = sysfs_has_uverbs(sysfs, bus_of(key), key + strlen("pci:"));
	return r;
}

/*
 * In the host, under whatever name; "": it is no more. A namespace that dies gives it back when it
 * gets to it.
 */
static int await_home(struct site *site, char ret_name[SYSFS_NAME_MAX], struct err *err)
{
	const int64_t deadline_ms = clock_boot_ms() + SITE_HOMECOMING_MS;
	bool anywhere = true;
	int r;

	for (;;) {
		r = rdma_name_of(site, false, ret_name, err);
		if (r < 0 || ret_name[0])
			return r;
		if (!site->pod_dead || clock_left_ms(deadline_ms) == 0)
			break;
		(void)poll(NULL, 0, LOOK_AGAIN_MS);
	}
	r = is_anywhere(site, &anywhere, err);
	if (r < 0 || !anywhere)
		return r;
	return err_set(
		err, ENODEV, ERR_DEVICE, "find RDMA device %s: %s", site->record->device.rdma.name,
		site->pod || site->pod_dead ? "neither in the pod nor in the host"
					    : "the pod's namespace lives, but no path leads to it");
}

/* It never left, but whoever sees it can tell it something. */
static int return_shared(struct site *site, struct err *err)
{
	char name[SYSFS_NAME_MAX] = "";
	int r = 0;

	if (site->rdma_mode_known && site->rdma_mode == RDMA_SHARED &&
	    site->record->device.rdma.moderation)
		r = rdma_name_of(site, false, name, err);
	return r < 0 || !name[0] ? r : rename_at_home(site, name, name, err);
}

int rdma_return(struct site *site, struct err *err)
{
	char name[SYSFS_NAME_MAX] = "";
	bool movable;
	int r = rdma_is_movable(site, &movable, err);

	if (r < 0 || !movable)
		return r < 0 ? r : return_shared(site, err);
	if (site->pod)
		r = rdma_name_of(site, true, name, err);
	if (r == 0 && name[0])
		return move_home(site, name, err);
	if (r == 0)
		r = await_home(site, name, err);
	/* A move that was given up may still be under way: behind it, the device is here, or not.
	 */
	return r < 0 || !name[0] ? r : rename_at_home(site, name, name, err);
}

/*
 * Devices that are made anew at the same time may get each other's names: each lets go of its own,
 * so that the other can have it. What is still taken then stays so.
 */
static int swap_names(struct site *site, const char *name, struct err *err)
{
	const char *wanted = site->record->device.rdma.name;
	const int64_t deadline_ms = clock_boot_ms() + SWAP_MS;
	char own[SYSFS_NAME_MAX];
	int r;

	(void)snprintf(own, sizeof(own), "spur-%s", site->record->device.key + strlen("pci:"));
	for (char *c = own; *c; c++) {
		if (*c == ':')
			*c = '-';
	}
	r = rename_at_home(site, name, own, err);
	while (r == 0) {
		r = rename_at_home(site, own, wanted, err);
		if (r != -EEXIST)
			return r;
		if (clock_left_ms(deadline_ms) == 0) {
			if (!site->conf->guid) /* it is free again when a pod gives it back */
				return r;
			log_warn("RDMA device %s: its name is taken by now, it stays %s", wanted,
				 own);
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
	char name[SYSFS_NAME_MAX] = "";
	bool movable;
	int r = rdma_is_movable(site, &movable, err);

	if (r == 0 && movable)
		r = rdma_name_of(site, false, name, err);
	if (r < 0 || !movable || !name[0] || strcmp(name, wanted) == 0)
		return r;
	r = rename_at_home(site, name, wanted, err);
	if (r == -EEXIST)
		r = swap_names(site, name, err);
	if (r < 0)
		err_prefix(err, "rename RDMA device %s to %s", name, wanted);
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
