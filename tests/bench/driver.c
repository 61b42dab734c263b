/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a cycle of programs again and again and says what each run cost. Small and static: what it
 * is itself shows in nobody's figures (a child's peak memory begins with that of its parent).
 *
 *	driver COUNT STEP…
 *
 * A step is a directory: `argv` and `env` (each string NUL-terminated), `stdin`, and `daemon`,
 *the pid whose CPU time counts too (empty: none). One line a run: index of the step, wall ns, CPU
 *ns of the program and all it waited for, CPU ns of the daemon, peak memory in KiB. A run that
 *fails ends everything, with its output on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { STEPS_MAX = 16, FILE_MAX = 4096, STRINGS_MAX = 64 };
enum { QUIET_NS = 2 * 1000 * 1000, QUIET_TRIES = 100 };

struct step {
	char argv_text[FILE_MAX], env_text[FILE_MAX];
	char *argv[STRINGS_MAX], *env[STRINGS_MAX];
	int stdin_fd;
	clockid_t daemon; /* its CPU clock; CLOCK_REALTIME: there is none */
};

struct cost {
	int64_t wall_ns, cpu_ns, daemon_ns;
	long rss_kib;
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		die("clock_gettime");
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int step_open(const char *dir, const char *name)
{
	char path[FILE_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

static void step_text(const char *dir, const char *name, char text[FILE_MAX])
{
	int fd = step_open(dir, name);
	ssize_t len = read(fd, text, FILE_MAX - 1);

	if (len < 0 || len == FILE_MAX - 1)
		die(name);
	text[len] = '\0';
	close(fd);
}

static void strings_split(char *text, char *strings[STRINGS_MAX])
{
	size_t n = 0;

	for (; *text && n < STRINGS_MAX - 1; text += strlen(text) + 1)
		strings[n++] = text;
	strings[n] = NULL;
}

static void step_read(struct step *step, const char *dir)
{
	char pid[FILE_MAX];

	memset(step, 0, sizeof(*step));
	step_text(dir, "argv", step->argv_text);
	step_text(dir, "env", step->env_text);
	step_text(dir, "daemon", pid);
	strings_split(step->argv_text, step->argv);
	strings_split(step->env_text, step->env);
	step->stdin_fd = step_open(dir, "stdin");
	step->daemon = CLOCK_REALTIME;
	if (*pid && clock_getcpuclockid(atoi(pid), &step->daemon) != 0)
		die("clock of the daemon");
}

/* What the daemon has used, once it rests: it may have work left when the program has ended. */
static int64_t daemon_ns(const struct step *step)
{
	const struct timespec quiet = { .tv_nsec = QUIET_NS };
	int64_t now, before = -1;

	if (step->daemon == CLOCK_REALTIME)
		return 0;
	now = clock_ns(step->daemon);
	for (int i = 0; i < QUIET_TRIES && now != before; i++) {
		before = now;
		nanosleep(&quiet, NULL);
		now = clock_ns(step->daemon);
	}
	return now;
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
