/* SPDX-License-Identifier: Apache-2.0 */
/* When a wait looks again, and when it ends. The kernel's events are bytes in a pipe. */
#include "cni/await.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

enum { OURS = 7, OTHERS = 8, LOST = 9 }; /* the number of a device; LOST: an overrun */

static int writer; /* of the pipe: the last one that was opened */
static int watches;
static char entered[8]; /* which namespaces, by the first letter of their names */

int __wrap_netns_enter(int netns_fd, struct err *err);
int __wrap_netns_enter(int netns_fd, struct err *err)
{
	size_t n = strlen(entered);

	(void)err;
	assert_true(n + 1 < sizeof(entered));
	entered[n] = (char)netns_fd;
	return 0;
}

static void tell(const char *events)
{
	for (; *events; events++)
		assert_int_equal(write(writer, events, 1), 1);
}

int __wrap_link_watch(int *ret_fd, struct err *err);
int __wrap_link_watch(int *ret_fd, struct err *err)
{
	int fds[2];

	(void)err;
	assert_int_equal(pipe(fds), 0);
	*ret_fd = fds[0];
	writer = fds[1];
	watches++;
	return 0;
}

/* One digit an event. All of them are there: the pipe is read in one go. */
int __wrap_link_watch_read(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
			   struct err *err);
int __wrap_link_watch_read(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
			   struct err *err)
{
	char events[64];
	ssize_t n = read(fd, events, sizeof(events));
	int r = 0;

	for (ssize_t i = 0; i < n; i++) {
		if (events[i] - '0' == LOST)
			r = err_set(err, ENOBUFS, ERR_KERNEL, "lost");
		else
			each(events[i] - '0', false, arg);
	}
	return r;
}

/* What each look finds, and what the kernel tells after it. */
struct script {
	const int *finds;
	const char *const *events;
	int looks;
};

static int look(void *arg, struct err *err)
{
	struct script *script = arg;
	int i = script->looks++;

	if (script->finds[i] < 0)
		return err_set(err, -script->finds[i], ERR_KERNEL, "look");
	if (watches && script->events[i])
		tell(script->events[i]);
	return script->finds[i];
}

static int play_at(const struct site *site, int ifindex, const int *finds,
		   const char *const *events, int wait_ms, int *ret_looks)
{
	struct script script = { finds, events, 0 };
	const struct await await = {
		.event = AWAIT_LINK,
		.site = site,
		.ifindex = ifindex,
		.deadline_ms = clock_boot_ms() + wait_ms,
		.look = look,
		.arg = &script,
	};
	struct err err;
	int r;

	watches = 0;
	memset(entered, 0, sizeof(entered));
	r = await_look(&await, &err);
	if (watches)
		(void)close(writer);
	*ret_looks = script.looks;
	return r;
}

static int play(const int *finds, const char *const *events, int wait_ms, int *ret_looks)
{
	return play_at(NULL, OURS, finds, events, wait_ms, ret_looks);
}

enum { LONG_MS = 60 * 1000, SHORT_MS = 50 };

static void test_who_need_not_wait_watches_nothing(void **state)
{
	int looks;

	(void)state;
	assert_int_equal(play((int[]) { 1 }, NULL, LONG_MS, &looks), 1);
	assert_true(looks == 1 && watches == 0);
	assert_int_equal(play((int[]) { 0 }, NULL, 0, &looks), 0);
	assert_true(looks == 1 && watches == 0);
	assert_int_equal(play((int[]) { -EIO }, NULL, LONG_MS, &looks), -EIO);
}

/* Between the first look and the watch: nothing tells of it. */
static void test_nothing_is_missed(void **state)
{
	int looks;

	(void)state;
	assert_int_equal(play((int[]) { 0, 1 }, (const char *[2]) { 0 }, LONG_MS, &looks), 1);
	assert_true(looks == 2 && watches == 1);
}

static void test_one_look_for_all_that_was_told(void **state)
{
	int looks;

	(void)state;
	/* others alone: no look before the deadline, and one at it */
	assert_int_equal(play((int[]) { 0, 0, 0 }, (const char *const[]) { NULL, "8888", NULL },
			      SHORT_MS, &looks),
			 0);
	assert_int_equal(looks, 3);
	/* ours, four times at once; ours among others; some were lost */
	assert_int_equal(play((int[]) { 0, 0, 0, 0, 1 },
			      (const char *const[]) { NULL, "7777", "887", "9", NULL }, LONG_MS,
			      &looks),
			 1);
	assert_int_equal(looks, 5);
	assert_int_equal(play((int[]) { 0, 0, -EIO }, (const char *const[]) { NULL, "7", NULL },
			      LONG_MS, &looks),
			 -EIO);
}

/* Whatever it is by then, in the pod that we stand in or in the host. */
static void test_any_device_in_both_places(void **state)
{
	const char *const events[] = { NULL, "8", NULL };
	struct site site = { .host_fd = 'h', .pod_fd = 'p' };
	int looks;

	(void)state;
	assert_int_equal(play_at(&site, 0, (int[]) { 0, 0, 1 }, events, LONG_MS, &looks), 1);
	assert_int_equal(watches, 1);
	assert_string_equal(entered, "");
	site.pod = (struct wire *)&site; /* nobody asks it */
	assert_int_equal(play_at(&site, 0, (int[]) { 0, 0, 1 }, events, LONG_MS, &looks), 1);
	assert_true(looks == 3 && watches == 2);
	assert_string_equal(entered, "hp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_need_not_wait_watches_nothing),
		cmocka_unit_test(test_nothing_is_missed),
		cmocka_unit_test(test_one_look_for_all_that_was_told),
		cmocka_unit_test(test_any_device_in_both_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
