/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one program COUNT times, so many AT ONCE, and prints how long all of it took in ns. MARK
 * (mark.h) in a variable stands for what differs, from number FIRST on. A run that fails ends
 * everything.
 *
 *	fan STEP COUNT AT-ONCE FIRST
 */
#include <spawn.h>

#include <sys/wait.h>

#include "mark.h"
#include "step.h"

static void fan_start(struct step *step, const char *stdin_path, int out_fd)
{
	posix_spawn_file_actions_t files;
	pid_t pid;

	posix_spawn_file_actions_init(&files);
	/* Each has an offset of its own. */
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, stdin_path, O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out_fd, STDOUT_FILENO);
	errno = posix_spawn(&pid, step->argv[0], &files, NULL, step->argv, step->env);
	if (errno)
		die(step->argv[0]);
	posix_spawn_file_actions_destroy(&files);
}

static void fan_wait(const struct step *step)
{
	int status;

	if (wait(&status) < 0)
		die("wait");
	if (status) {
		fprintf(stderr, "%s: wait status %#x\n", step->argv[0], (unsigned int)status);
		exit(1);
	}
}

/* The marks of all variables, as those of one text would be. */
static void marks_find(struct step *step, struct marked *marked)
{
	*marked = (struct marked) { .text = step->env_text };
	for (size_t i = 0; step->env[i]; i++) {
		for (char *at = step->env[i]; (at = strstr(at, MARK)) && marked->count < MARKS_MAX;
		     at += MARK_LEN)
			marked->marks[marked->count++] = (size_t)(at - step->env_text);
	}
}

int main(int argc, char **argv)
{
	static struct step step;
	int out_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	size_t count, at_once, first;
	char stdin_path[FILE_MAX];
	struct marked marked;
	int64_t begun_ns;

	if (argc != 5)
		return 2;
	step_read(&step, argv[1]);
	marks_find(&step, &marked);
	(void)snprintf(stdin_path, sizeof(stdin_path), "%s/stdin", argv[1]);
	count = strtoul(argv[2], NULL, 10);
	at_once = strtoul(argv[3], NULL, 10);
	first = strtoul(argv[4], NULL, 10);
	begun_ns = clock_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < count + at_once; i++) {
		if (i >= at_once)
			fan_wait(&step);
		if (i < count) {
			marked_name(&marked, first + i);
			fan_start(&step, stdin_path, out_fd);
		}
	}
	printf("%ld\n", clock_ns(CLOCK_MONOTONIC) - begun_ns);
	return 0;
}
