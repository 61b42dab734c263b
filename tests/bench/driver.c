/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a cycle of programs again and again and says what each run cost. Small and static: what it
 * is itself shows in nobody's figures (a child's peak memory begins with that of its parent).
 *
 *	driver COUNT STEP…
 *
 * A step is a directory (step.h). One line a run: index of the step, wall ns, CPU ns of the program
 * and all it waited for, CPU ns of the daemon, peak memory in KiB. A run that fails ends
 * everything, with its output on stderr.
 */
#include <spawn.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "step.h"

enum { STEPS_MAX = 16 };

struct cost {
	int64_t wall_ns, cpu_ns, daemon_ns;
	long rss_kib;
};

/* 0 without a daemon. */
static int64_t daemon_ns(const struct step *step)
{
	return step->daemon == CLOCK_REALTIME ? 0 : rested_ns(step->daemon);
}

static int64_t rusage_cpu_ns(const struct rusage *usage)
{
	return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000000LL +
	       (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1000LL;
}

static void output_show(int out_fd)
{
	char text[FILE_MAX];
	ssize_t len = pread(out_fd, text, sizeof(text), 0);

	if (len > 0)
		fprintf(stderr, "%.*s\n", (int)len, text);
}

static struct cost step_run(struct step *step, int out_fd)
{
	int64_t daemon_before = daemon_ns(step), begun;
	posix_spawn_file_actions_t files;
	struct rusage usage;
	struct cost cost;
	int status;
	pid_t pid;

	if (ftruncate(out_fd, 0) < 0 || lseek(out_fd, 0, SEEK_SET) < 0 ||
	    lseek(step->stdin_fd, 0, SEEK_SET) < 0)
		die("rewind");
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, step->stdin_fd, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, out_fd, STDOUT_FILENO);
	begun = clock_ns(CLOCK_MONOTONIC);
	errno = posix_spawn(&pid, step->argv[0], &files, NULL, step->argv, step->env);
	if (errno || wait4(pid, &status, 0, &usage) < 0)
		die(step->argv[0]);
	cost.wall_ns = clock_ns(CLOCK_MONOTONIC) - begun;
	cost.cpu_ns = rusage_cpu_ns(&usage);
	cost.rss_kib = usage.ru_maxrss;
	cost.daemon_ns = daemon_ns(step) - daemon_before;
	posix_spawn_file_actions_destroy(&files);
	if (status) {
		output_show(out_fd);
		fprintf(stderr, "%s: wait status %#x\n", step->argv[0], (unsigned int)status);
		exit(1);
	}
	return cost;
}

int main(int argc, char **argv)
{
	static struct step steps[STEPS_MAX];
	int out_fd = memfd_create("stdout", MFD_CLOEXEC);
	int count = argc > 2 ? atoi(argv[1]) : 0;

	if (count < 1 || argc - 2 > STEPS_MAX || out_fd < 0)
		return 2;
	for (int i = 2; i < argc; i++)
		step_read(&steps[i - 2], argv[i]);
	for (int run = 0; run < count; run++) {
		for (int i = 0; i < argc - 2; i++) {
			struct cost cost = step_run(&steps[i], out_fd);

			printf("%d %ld %ld %ld %ld\n", i, cost.wall_ns, cost.cpu_ns, cost.daemon_ns,
			       cost.rss_kib);
		}
	}
	return 0;
}
