/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/delegate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "host/caps.h"

enum {
	ANSWER_MAX = 1024 * 1024,
	CHUNK = 16 * 1024,
	PLUGIN_PATH_MAX = 4096,
	CNI_VARIABLES = 6,
};

/* The first executable of that name in CNI_PATH. */
static int find_plugin(const struct delegation *how, char path[PLUGIN_PATH_MAX], struct err *err)
{
	CLEANUP_FREE char *dirs = strdup(how->env->path ? how->env->path : "");
	char *rest = dirs, *dir;

	if (!dirs)
		return err_nomem(err);
	while ((dir = strsep(&rest, ":"))) {
		if (!dir[0] ||
		    snprintf(path, PLUGIN_PATH_MAX, "%s/%s", dir, how->plugin) >= PLUGIN_PATH_MAX)
			continue;
		if (access(path, X_OK) == 0)
			return 0;
	}
	return err_set(err, ENOENT, ERR_ENV,
		       "find %s in the directories of CNI_PATH (%s): not there", how->plugin,
		       how->env->path ? how->env->path : "");
}

/* A file in memory: neither side waits for the other, as it might with a pipe. */
static int make_stdin(const struct delegation *how, int *ret_fd, struct err *err)
{
	CLEANUP_FREE char *text = json_line(how->netconf);
	CLEANUP_CLOSE int fd = -1;
	int r;

	if (!text)
		return err_nomem(err);
	fd = memfd_create("netconf", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, ERR_INTERNAL, "create stdin of %s", how->plugin);
	r = fs_write_all(fd, text, strlen(text));
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, r < 0 ? -r : errno, ERR_INTERNAL, "write stdin of %s",
			       how->plugin);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

struct envp {
	char *own[CNI_VARIABLES]; /* "NAME=VALUE", owned */
	char **all;               /* with the rest of our environment, NULL-terminated */
};

static void envp_free(struct envp *envp)
{
	for (size_t i = 0; i < CNI_VARIABLES; i++)
		free(envp->own[i]);
	free(envp->all);
}

static int envp_make(const struct delegation *how, struct envp *envp, struct err *err)
{
	const struct {
		const char *name, *value;
	} own[CNI_VARIABLES] = {
		{ "CNI_COMMAND", how->command },  { "CNI_CONTAINERID", how->env->container_id },
		{ "CNI_NETNS", how->env->netns }, { "CNI_IFNAME", how->env->ifname },
		{ "CNI_ARGS", how->env->args },   { "CNI_PATH", how->env->path },
	};
	size_t count = 0, at = 0;

	while (environ[count])
		count++;
	envp->all = calloc(count + CNI_VARIABLES + 1, sizeof(char *));
	if (!envp->all)
		return err_nomem(err);
	for (size_t i = 0; i < count; i++) {
		if (strncmp(environ[i], "CNI_", 4) != 0)
			envp->all[at++] = environ[i];
	}
	for (size_t i = 0; i < CNI_VARIABLES; i++) {
		if (!own[i].value)
			continue;
		if (asprintf(&envp->own[i], "%s=%s", own[i].name, own[i].value) < 0) {
			envp->own[i] = NULL;
			return err_nomem(err);
		}
		envp->all[at++] = envp->own[i];
	}
	return 0;
}

/* In the child, with all that we were given. Nothing but system calls; 127 is what shells say for
 * "could not be started". */
__attribute__((noreturn)) static void become(const char *path, char **envp, int in, int out,
					     int host_fd)
{
	char *const argv[] = { (char *)path, NULL };
	struct err ignored;

	(void)caps_raise(&ignored);
	(void)signal(SIGPIPE, SIG_DFL);
	if ((host_fd < 0 || setns(host_fd, CLONE_NEWNET) == 0) && dup2(in, STDIN_FILENO) >= 0 &&
	    dup2(out, STDOUT_FILENO) >= 0)
		(void)execve(path, argv, envp);
	_exit(127);
}

/* A program that runs, and what it has said. */
struct running {
	int pidfd, out; /* out: -1 once all is read */
	char *text;     /* of ANSWER_MAX bytes */
	size_t len;
};

/* One piece; at the end of it, or when there is no more for now, nothing. */
static int read_piece(const struct delegation *how, struct running *child, bool *ret_more,
		      struct err *err)
{
	ssize_t n = read(child->out, child->text + child->len, ANSWER_MAX - child->len);

	*ret_more = n > 0 || (n < 0 && errno == EINTR);
	if (n < 0 && errno != EINTR && errno != EAGAIN)
		return err_sys(err, errno, ERR_IO, "read the answer of %s", how->plugin);
	if (n == 0)
		child->out = -1;
	child->len += n > 0 ? (size_t)n : 0;
	if (child->len == ANSWER_MAX)
		return err_set(err, EFBIG, ERR_IO, "%s: answers with more than %d bytes",
			       how->plugin, ANSWER_MAX);
	return 0;
}

/*
 * Reads all that it prints, and waits for its end. What it has left behind may hold its stdout
 * open: what it has said by its end is all.
 */
static int listen_to(const struct delegation *how, struct running *child, struct err *err)
{
	bool ended = false, more = true;

	while (!ended || (more && child->out >= 0)) {
		struct pollfd fds[] = { { .fd = child->pidfd, .events = POLLIN },
					{ .fd = child->out, .events = POLLIN } };
		int n = ended ? 1 : poll(fds, ARRAY_SIZE(fds), clock_left_ms(how->deadline_ms));
		int r = 0;

		if (n == 0)
			return err_set(err, ETIMEDOUT, ERR_AGAIN, "%s %s: not done in time",
				       how->plugin, how->command);
		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, ERR_INTERNAL, "wait for %s", how->plugin);
		if (n > 0 && !ended)
			ended = fds[0].revents;
		if (n > 0 && child->out >= 0)
			r = read_piece(how, child, &more, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* {"code", "msg", "details"}: its code and words become ours. */
static int pass_on_error(const struct delegation *how, json_t *answer, int status, struct err *err)
{
	const char *msg = json_string_value(json_object_get(answer, "msg"));
	const char *details = json_string_value(json_object_get(answer, "details"));
	json_t *code = json_object_get(answer, "code");

	if (json_is_integer(code) && msg)
		err_set(err, EREMOTEIO, json_cni_code(code), "%s %s: %s", how->plugin, how->command,
			msg);
	else if (WIFSIGNALED(status))
		err_set(err, EREMOTEIO, ERR_INTERNAL, "%s %s: ended by signal %d", how->plugin,
			how->command, WTERMSIG(status));
	else
		err_set(err, EREMOTEIO, ERR_INTERNAL, "%s %s: exit status %d without a reason",
			how->plugin, how->command, WEXITSTATUS(status));
	if (details)
		err_details(err, "%s", details);
	return -EREMOTEIO;
}

static int judge(const struct delegation *how, const char *text, size_t len, int status,
		 json_t **ret_answer, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	struct err syntax;
	int r = json_parse(text, len, &answer, &syntax);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return pass_on_error(how, answer, status, err);
	if (!ret_answer)
		return 0;
	if (r < 0)
		return err_set(err, EBADMSG, ERR_JSON, "%s %s: its answer: %s", how->plugin,
			       how->command, syntax.msg);
	*ret_answer = TAKE_PTR(answer);
	return 0;
}

/* *@ret_out: our end of its stdout, which is read without waiting. */
static int start(const struct delegation *how, const char *path, char **envp, int *ret_out,
		 pid_t *ret_pid, struct err *err)
{
	CLEANUP_CLOSE int in = -1, out = -1, ours = -1;
	int ends[2], r = make_stdin(how, &in, err);
	pid_t pid;

	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, ERR_INTERNAL, "create stdout of %s", how->plugin);
	ours = ends[0];
	out = ends[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(err, errno, ERR_INTERNAL, "create stdout of %s", how->plugin);
	pid = fork();
	if (pid == 0)
		become(path, envp, in, out, how->host_fd);
	if (pid < 0)
		return err_sys(err, errno, ERR_INTERNAL, "start %s", path);
	*ret_out = TAKE_FD(ours);
	*ret_pid = pid;
	return 0;
}

static int run(const struct delegation *how, const char *path, char **envp, json_t **ret_answer,
	       struct err *err)
{
	CLEANUP_FREE char *text = malloc(ANSWER_MAX);
	CLEANUP_CLOSE int out = -1, pidfd = -1;
	struct running child = { .text = text };
	int status = 0, r;
	pid_t pid = -1;

	if (!text)
		return err_nomem(err);
	r = start(how, path, envp, &out, &pid, err);
	if (r < 0)
		return r;
	pidfd = pidfd_open(pid, 0);
	child.pidfd = pidfd;
	child.out = out;
	r = pidfd < 0 ? err_sys(err, errno, ERR_INTERNAL, "watch %s", how->plugin)
		      : listen_to(how, &child, err);
	if (r < 0)
		(void)kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) < 0 && r == 0)
		r = err_sys(err, errno, ERR_INTERNAL, "wait for %s", how->plugin);
	return r < 0 ? r : judge(how, text, child.len, status, ret_answer, err);
}

int delegate_run(const struct delegation *how, json_t **ret_answer, struct err *err)
{
	CLEANUP(envp_free) struct envp envp = { .all = NULL };
	char path[PLUGIN_PATH_MAX];
	int r;

	r = find_plugin(how, path, err);
	if (r == 0)
		r = envp_make(how, &envp, err);
	if (r < 0)
		return r;
	return run(how, path, envp.all, ret_answer, err);
}
