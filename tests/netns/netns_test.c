/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of network namespaces: which lead to one, and that what is none is never opened. In a mount
 * namespace of the test's own, with a bind mount as runtimes make it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "host/netns.h"

static struct err err;
static char dir[] = "/tmp/spur-netns-XXXXXX";
static uint64_t cookie; /* of the namespace that the paths lead to */

/* In the test's directory, unless it is absolute; PID is this process. */
static const char *path_of(const char *name)
{
	static char path[256];
	const char *pid;
	int len = 0;

	if (name[0] != '/')
		len = snprintf(path, sizeof(path), "%s/", dir);
	while ((pid = strstr(name, "PID"))) {
		len += snprintf(path + len, sizeof(path) - (size_t)len, "%.*s%d", (int)(pid - name),
				name, getpid());
		name = pid + strlen("PID");
	}
	(void)snprintf(path + len, sizeof(path) - (size_t)len, "%s", name);
	return path;
}

static void make_file(const char *name, mode_t mode, dev_t device)
{
	assert_int_equal(mknod(path_of(name), mode, device), 0);
}

static void make_link(const char *target, const char *name)
{
	CLEANUP_FREE char *to = strdup(target[0] == '/' ? path_of(target) : target);

	assert_int_equal(symlink(to, path_of(name)), 0);
}

static int setup(void **state)
{
	CLEANUP_CLOSE int sock = -1;

	(void)state;
	if (!mkdtemp(dir) || unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mkdir(path_of("run"), 0700) < 0)
		return -1;
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || netns_socket_cookie(sock, &cookie, &err) < 0)
		return -1;
	make_file("run/pod", S_IFREG | 0600, 0);
	if (mount("/proc/self/ns/net", path_of("run/pod"), NULL, MS_BIND, NULL) < 0)
		return -1;
	make_file("run/uts", S_IFREG | 0600, 0);
	if (mount("/proc/self/ns/uts", path_of("run/uts"), NULL, MS_BIND, NULL) < 0)
		return -1;
	make_link("run", "var-run");
	make_link("run/pod", "pod");
	make_link("/proc/PID/ns/net", "link-to-process");
	make_link("/etc/shadow", "link-to-shadow");
	make_link("loop", "loop");
	make_file("file", S_IFREG | 0600, 0);
	make_file("fifo", S_IFIFO | 0600, 0);
	make_file("device", S_IFCHR | 0600, makedev(1, 3));
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	(void)umount(path_of("run/pod"));
	(void)umount(path_of("run/uts"));
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command); /* NOLINT: a string of this file */
}

static void test_what_leads_there(void **state)
{
	const char *const names[] = {
		"run/pod", "var-run/pod", "pod", "/proc/PID/ns/net", "/proc/PID/task/PID/ns/net",
	};
	uint64_t found;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		found = 0;
		if (netns_path_cookie(path_of(names[i]), &found, &err) < 0)
			fail_msg("%s: %s", names[i], err.msg);
		assert_true(found == cookie);
	}
}

static void test_what_does_not(void **state)
{
	const char *const names[] = {
		"/proc/self/ns/net",
		"/proc/thread-self/ns/net",
		"/proc/PID/ns/mnt",
		"/proc/PID/ns/net/",
		"/proc/PID/./ns/net",
		"/proc/PID/root/etc/hostname",
		"/proc/PID/cwd",
		"/proc/PID/fd/0",
		"/proc/PID/status",
		"link-to-process",
		"link-to-shadow",
		"loop",
		"file",
		"fifo",
		"device",
		"run/uts",
		"run",
		"/",
		"/dev/null",
		"/etc/shadow",
	};
	int fd;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int r = netns_open(path_of(names[i]), &fd, &err);

		if (r != -EINVAL && r != -ENOTDIR)
			fail_msg("%s: %d %s", names[i], r, r < 0 ? err.msg : "was opened");
		assert_int_equal(err.code, ERR_ENV);
	}
	assert_int_equal(netns_open(path_of("no-such"), &fd, &err), -ENOENT);
	assert_int_equal(netns_open("/proc/4194305/ns/net", &fd, &err), -ENOENT);
	assert_int_equal(netns_open("", &fd, &err), -ENOENT);
}

/* A device may act when it is opened, a FIFO lets its writer go on. A look is no opening. */
static void test_nothing_else_is_opened(void **state)
{
	const char *const names[] = { "file", "fifo", "device" };
	CLEANUP_CLOSE int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char event[512];
	int fd;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_true(inotify_add_watch(watch, path_of(names[i]), IN_OPEN) >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(netns_open(path_of(names[i]), &fd, &err), -EINVAL);
	assert_int_equal(read(watch, event, sizeof(event)), -1);
	assert_int_equal(errno, EAGAIN);
	fd = open(path_of("file"), O_RDONLY | O_CLOEXEC); /* it would have been seen */
	assert_true(fd >= 0 && read(watch, event, sizeof(event)) > 0);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_leads_there),
		cmocka_unit_test(test_what_does_not),
		cmocka_unit_test(test_nothing_else_is_opened),
	};

	if (geteuid() != 0) {
		puts("SKIP: root, to make namespaces");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
