/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/guard.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <linux/capability.h>

#include "base/cleanup.h"
#include "filter/filter.h"
#include "host/caps.h"

/* docs/operations.md says what each is for. */
#define PLUGIN_CAPS (CAPS_BIT(CAP_NET_ADMIN) | CAPS_BIT(CAP_SYS_ADMIN) | CAPS_BIT(CAP_SYS_PTRACE))

#define NEW_NAMESPACES                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)

/* clone3 is not here: its flags cannot be seen, and everybody falls back on clone. */
static const char *const allowed[] = {
	/* files */
	"access", "chdir", "chmod", "close", "close_range", "copy_file_range", "dup", "dup2",
	"dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat",
	"fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd",
	"getdents", "getdents64", "inotify_add_watch", "inotify_init1", "inotify_rm_watch", "ioctl",
	"link", "linkat", "lseek", "lstat", "memfd_create", "mkdir", "mkdirat", "newfstatat",
	"open", "openat", "openat2", "pipe", "pipe2", "pread64", "preadv", "pwrite64", "pwritev",
	"read", "readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir",
	"sendfile", "stat", "statfs", "statx", "symlink", "symlinkat", "truncate", "umask",
	"unlink", "unlinkat", "utimensat", "write", "writev",
	/* the sysfs of a pod, mounted nowhere */
	"fsconfig", "fsmount", "fsopen",
	/* memory */
	"brk", "madvise", "membarrier", "mmap", "mprotect", "mremap", "msync", "munmap",
	/* waiting, and the time */
	"alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "epoll_create1", "epoll_ctl",
	"epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "futex", "getitimer",
	"gettimeofday", "nanosleep", "pause", "poll", "ppoll", "pselect6", "restart_syscall",
	"select", "setitimer", "signalfd4", "time", "timer_create", "timer_delete", "timer_settime",
	"timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
	/* itself, its threads and its children */
	"arch_prctl", "capget", "capset", "execve", "exit", "exit_group", "fork", "get_robust_list",
	"getcpu", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid",
	"getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage",
	"getsid", "gettid", "getuid", "kill", "pidfd_open", "pidfd_send_signal", "prctl",
	"prlimit64", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
	"rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sched_getaffinity", "sched_getparam",
	"sched_getscheduler", "sched_yield", "set_robust_list", "set_tid_address", "setpgid",
	"setsid", "sigaltstack", "sysinfo", "tgkill", "tkill", "uname", "vfork", "wait4", "waitid",
	/* sockets */
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt",
	"listen", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt",
	"shutdown",
#ifdef SPUR_SANITIZED
	"ptrace", /* the leak checker stops its own threads */
#endif
};

/* AF_PACKET is not: nobody needs it. */
static const struct filter_part parts[] = {
	{ "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0) },
	{ "setns", SCMP_A1(SCMP_CMP_EQ, CLONE_NEWNET) },
	{ "socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX) },
	{ "socket", SCMP_A0(SCMP_CMP_EQ, AF_UNIX) },
	{ "socket", SCMP_A0(SCMP_CMP_EQ, AF_NETLINK) },
	{ "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET) },
	{ "socket", SCMP_A0(SCMP_CMP_EQ, AF_INET6) },
};

static int filter_load(struct err *err)
{
	const struct filter_list list = { allowed, ARRAY_SIZE(allowed), parts, ARRAY_SIZE(parts) };
	scmp_filter_ctx filter;
	int r = filter_make(&list, &filter, err);

	if (r < 0)
		return r;
	r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_sys(err, -r, ERR_KERNEL, "load the filter of system calls") : 0;
}

int guard_raise(struct err *err)
{
	int r = caps_keep(PLUGIN_CAPS, err);

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, ERR_KERNEL, "renounce new privileges");
	return filter_load(err);
}
