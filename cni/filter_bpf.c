/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run when spur is built: prints its filter of system calls as C, the program that the kernel
 * takes, for the architecture that this was built for. The same libseccomp prints the same text.
 *
 * What is here is what spur needs when it starts no other program, and no more: execve is not. A
 * library's call that fails with ENOSYS may pass unseen, so tests/netns/hostile_confine.py looks
 * for any that does.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <linux/filter.h>
#include <linux/nsfs.h>

#include "base/cleanup.h"
#include "filter/filter.h"

enum { PROGRAM_MAX = 4096 /* instructions: BPF_MAXINSNS */ };

#define NEW_NAMESPACES                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)

static const char *const calls[] = {
	/* files: sysfs, sysctls, the spool, the device's information, the log */
	"close",
	"close_range",
	"dup2",
	"dup3",
	"fchmod",
	"fcntl",
	"flock",
	"fstat",
	"fstatfs",
	"fsync",
	"getdents64",
	"lseek",
	"mkdir",
	"mkdirat",
	"newfstatat",
	"openat",
	"openat2",
	"pipe2",
	"read",
	"readlink",
	"readlinkat",
	"rename",
	"renameat",
	"renameat2",
	"unlink",
	"unlinkat",
	"write",
	"writev",
	/* the sysfs of a pod, mounted nowhere */
	"fsconfig",
	"fsmount",
	"fsopen",
	/* memory */
	"brk",
	"madvise",
	"mremap",
	"munmap",
	/* waiting, and the time */
	"clock_gettime",
	"clock_nanosleep",
	"futex",
	"nanosleep",
	"poll",
	"ppoll",
	"restart_syscall",
	/* itself, and the child that moves an RDMA device */
	"exit",
	"exit_group",
	"geteuid",
	"getpid",
	"getppid",
	"getrandom",
	"gettid",
	"kill",
	"rseq",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"set_robust_list",
	"tgkill",
	"wait4",
	/* sockets */
	"bind",
	"connect",
	"getsockname",
	"getsockopt",
	"recvfrom",
	"recvmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
};

/* An ioctl has its number in 32 bits, as the kernel takes it; whoever calls it may give more. */
#define IOCTL(number) SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (number))

static const struct filter_part parts[] = {
	{ "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0) },
	{ "setns", SCMP_A1(SCMP_CMP_EQ, CLONE_NEWNET) },
	{ "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) }, /* all of its code is there */
	{ "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) },
	{ "ioctl", IOCTL(NS_GET_NSTYPE) },
	{ "ioctl", IOCTL(TCGETS) }, /* the C library's: is it a terminal? */
	{ "prctl", SCMP_A0(SCMP_CMP_EQ, PR_SET_PDEATHSIG) },
	{ "socket", SCMP_A0(SCMP_CMP_EQ, AF_UNIX) },
	{ "socket", SCMP_A0(SCMP_CMP_EQ, AF_NETLINK) },
};

static void print_one(struct sock_filter i)
{
	printf("{ %#x, %u, %u, %#x },\n", i.code, i.jt, i.jf, i.k);
}

/*
 * While it loads a filter the kernel tries it with each number, to spare later calls; but not
 * beyond an instruction that it cannot follow there (seccomp_is_const_allow(), since 5.11). For
 * less than a hundred calls that is too dear, so the first is one, which does nothing.
 */
static void print(const struct sock_filter *program, size_t count)
{
	print_one((struct sock_filter)BPF_STMT(BPF_MISC | BPF_TAX, 0));
	for (size_t i = 0; i < count; i++)
		print_one(program[i]);
}

/* libseccomp writes to a file only. */
static int export(scmp_filter_ctx filter)
{
	static struct sock_filter program[PROGRAM_MAX];
	CLEANUP_CLOSE int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0 && seccomp_export_bpf(filter, fd) == 0)
		n = pread(fd, program, sizeof(program), 0);
	if (n <= 0 || (size_t)n == sizeof(program))
		return -EIO;
	print(program, (size_t)n / sizeof(program[0]));
	return fflush(stdout) == 0 ? 0 : -EIO;
}

int main(void)
{
	const struct filter_list list = { calls, ARRAY_SIZE(calls), parts, ARRAY_SIZE(parts) };
	scmp_filter_ctx filter;
	struct err err;

	if (filter_make(&list, &filter, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	return export(filter) < 0;
}
