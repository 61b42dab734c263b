/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/rdma_task.h"

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
#include "cni/rdma_turn.h"
#include "host/netns.h"

enum { CHILD_FDS_FROM = 64 /* above what we have open; below every limit */ };

_Static_assert(sizeof(struct rdma_answer) < 4096, "one write to a pipe is whole up to PIPE_BUF");

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

static int enter(int netns_fd, struct wire **ret_wire, struct err *err)
{
	int r = netns_enter(netns_fd, err);

	return r < 0 ? r : rdma_open(ret_wire, err);
}

/* Keeps @device up to date. */
static int rename_device(struct wire *wire, struct rdma_device *device, const char *name,
			 struct err *err)
{
	int r;

	if (!name || strcmp(device->name, name) == 0)
		return 0;
	r = rdma_rename(wire, device->index, name, err);
	if (r == 0)
		(void)snprintf(device->name, sizeof(device->name), "%s", name);
	return r;
}

static int set_name(const struct rdma_task *task, struct wire *wire, struct rdma_device *device,
		    struct err *err)
{
	int r = rename_device(wire, device, task->new_name, err);

	return r == -EEXIST && task->spare_name ? rename_device(wire, device, task->spare_name, err)
						: r;
}

/* Named before it leaves, so that nobody meets a name that its pod gave it; but the pod may have
 * given it another one meanwhile. */
static int cross(const struct rdma_task *task, struct wire **wire, struct rdma_answer *answer)
{
	struct rdma_device *device = &answer->device;
	struct err none;
	int r = rdma_move(*wire, device->index, task->to_fd, &answer->err);

	if (r == 0)
		r = enter(task->to_fd, wire, &answer->err);
	if (r == 0)
		r = rdma_get(*wire, device->index, device, &answer->err);
	if (r == 0 && rdma_chardev(*wire, device->index, answer->uverbs, &none) < 0)
		answer->uverbs[0] = '\0'; /* it has none */
	return r < 0 ? r : set_name(task, *wire, device, &answer->err);
}

static int work(const struct rdma_task *task, struct rdma_answer *answer)
{
	struct rdma_device *device = &answer->device;
	struct err *err = &answer->err;
	struct wire *wire;
	int r = enter(task->from_fd, &wire, err);

	if (r == 0)
		r = task->index < 0 ? rdma_find(wire, task->name, device, err)
				    : rdma_get(wire, (uint32_t)task->index, device, err);
	if (r == 0)
		r = set_name(task, wire, device, err);
	if (r == 0 && task->to_fd >= 0)
		r = cross(task, &wire, answer);
	/* A kernel that does not tell it has none. */
	if (r == 0 && task->moderation && device->moderation &&
	    device->moderation != task->moderation)
		r = rdma_set_moderation(wire, device->index, task->moderation, err);
	return r;
}

static _Noreturn void child(const struct rdma_task *given, int answer_fd, pid_t parent)
{
	int fds[] = { answer_fd, given->from_fd, given->to_fd };
	struct rdma_task task = *given;
	struct rdma_answer answer = { 0 };

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
		answer.r = work(&task, &answer);
	}
	(void)fs_write_all(answer_fd, (const char *)&answer, sizeof(answer));
	_exit(0);
}

/* In the parent. */

/* One that hangs in the kernel keeps nobody else waiting. */
static int await_answer(int fd, int64_t deadline_ms, int *turn, struct rdma_answer *ret_answer)
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

int rdma_task_run(const struct rdma_task *task, int *turn, struct rdma_answer *ret_answer,
		  struct err *err)
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
