/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/guard.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <linux/capability.h>
#include <seccomp.h>

#include "base/cleanup.h"
#include "host/caps.h"

/* docs/operations.md says what each is for. */
#define PLUGIN_CAPS (CAPS_BIT(CAP_NET_ADMIN) | CAPS_BIT(CAP_SYS_ADMIN) | CAPS_BIT(CAP_SYS_PTRACE))

#define NEW_NAMESPACES                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)

/*
 * Whatever is not here does not exist (ENOSYS). clone3 is not: its flags cannot be seen, and
 * everybody falls back on clone. A name that this machine or libseccomp does not know is none.
 */
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

/* AF_PACKET is not: only an ADD sends through it, and nobody starts one here. */
static const int families[] = { AF_UNIX, AF_NETLINK, AF_INET, AF_INET6 };

static int allow_names(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++) {
		int number = seccomp_syscall_resolve_name(allowed[i]);

		/* Below zero: a call that this architecture has not. */
		if (number >= 0)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	}
	return r;
}

/* Calls of which a part is allowed, by an argument. */
static int allow_parts(scmp_filter_ctx filter)
{
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0));

	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setns), 1,
				     SCMP_A1(SCMP_CMP_EQ, CLONE_NEWNET));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
				     SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	return r;
}

static int filter_load(struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!filter)
		return err_nomem(err);
	/* Another architecture's calls (x32 is one) have other numbers. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
	if (r == 0)
		r = allow_names(filter);
	if (r == 0)
		r = allow_parts(filter);
	if (r == 0)
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
