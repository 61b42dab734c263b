/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A step: a program with all that it is given, from a directory with the files `argv` and `env`
 * (each string NUL-terminated), `stdin`, and `daemon`, the pid whose CPU time counts too (empty:
 * none).
 */
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include "figures.h"

enum { FILE_MAX = 4096, STRINGS_MAX = 64 };

struct step {
	char argv_text[FILE_MAX], env_text[FILE_MAX];
	char *argv[STRINGS_MAX], *env[STRINGS_MAX];
	int stdin_fd;
	clockid_t daemon; /* its CPU clock; CLOCK_REALTIME: there is none */
};

static inline int step_open(const char *dir, const char *name)
{
	char path[FILE_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

static inline void step_text(const char *dir, const char *name, char text[FILE_MAX])
{
	int fd = step_open(dir, name);
	ssize_t len = read(fd, text, FILE_MAX - 1);

	if (len < 0 || len == FILE_MAX - 1)
		die(name);
	text[len] = '\0';
	close(fd);
}

static inline void strings_split(char *text, char *strings[STRINGS_MAX])
{
	size_t n = 0;

	for (; *text && n < STRINGS_MAX - 1; text += strlen(text) + 1)
		strings[n++] = text;
	strings[n] = NULL;
}

static inline void step_read(struct step *step, const char *dir)
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
