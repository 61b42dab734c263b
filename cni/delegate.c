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
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

enum {
	ANSWER_MAX = 1024 * 1024,
	CHUNK = 16 * 1024,
	PLUGIN_PATH_MAX = 4096,
	CNI_VARIABLES = 6,
	REAP_POLL_MS = 10,
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
	return err_set(err, ENOENT, ERR_ENV, "find %s in CNI_PATH: not there", how->plugin);
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

/* In the child. Nothing but system calls; 127 is what shells say for "could not be started". */
__attribute__((noreturn)) static void become(const char *path, char **envp, int in, int out,
					     int host_fd)
{
	char *const argv[] = { (char *)path, NULL };

	(void)signal(SIGPIPE, SIG_DFL);
	if ((host_fd < 0 || setns(host_fd, CLONE_NEWNET) == 0) && dup2(in, STDIN_FILENO) >= 0 &&
	    dup2(out, STDOUT_FILENO) >= 0)
		(void)execve(path, argv, envp);
	_exit(127);
}

/* Reads all that it prints, until it closes its stdout. */
static int read_answer(const struct delegation *how, int fd, char *text, size_t *ret_len,
		       struct err *err)
{
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&pfd, 1, clock_left_ms(how->deadline_ms));

		if (n == 0)
			return err_set(err, ETIMEDOUT, ERR_AGAIN, "%s %s: not done in time",
				       how->plugin, how->command);
		if (n > 0)
			n = read(fd, text + len, ANSWER_MAX - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, ERR_IO, "read the answer of %s", how->plugin);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == ANSWER_MAX)
			return err_set(err, EFBIG, ERR_IO, "%s: answers with more than %d bytes",
				       how->plugin, ANSWER_MAX);
	}
	*ret_len = len;
	return 0;
}

/* Waits for its end, at most to the deadline. */
static int reap(const struct delegation *how, pid_t pid, int *ret_status, struct err *err)
{
	for (;;) {
		pid_t done = waitpid(pid, ret_status, WNOHANG);

		if (done == pid)
			return 0;
		if (done < 0 && errno != EINTR)
			return err_sys(err, errno, ERR_INTERNAL, "wait for %s", how->plugin);
		if (clock_left_ms(how->deadline_ms) == 0)
			return err_set(err, ETIMEDOUT, ERR_AGAIN, "%s %s: not done in time",
				       how->plugin, how->command);
		(void)poll(NULL, 0, REAP_POLL_MS);
	}
}

/* {"code", "msg", "details"}: its code and words become ours. */
static int pass_on_error(const struct delegation *how, json_t *answer, int status, struct err *err)
{
	const char *msg = json_string_value(json_object_get(answer, "msg"));
	const char *details = json_string_value(json_object_get(answer, "details"));
	json_t *code = json_object_get(answer, "code");

	if (json_is_integer(code) && msg)
		err_set(err, EREMOTEIO, (int)json_integer_value(code), "%s %s: %s", how->plugin,
			how->command, msg);
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

static int run(const struct delegation *how, const char *path, char **envp, json_t **ret_answer,
	       struct err *err)
{
	CLEANUP_FREE char *text = malloc(ANSWER_MAX);
	CLEANUP_CLOSE int in = -1;
	int out[2], status = 0, r;
	size_t len = 0;
	pid_t pid;

	if (!text)
		return err_nomem(err);
	r = make_stdin(how, &in, err);
	if (r < 0)
		return r;
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, ERR_INTERNAL, "create stdout of %s", how->plugin);
	pid = fork();
	if (pid == 0)
		become(path, envp, in, out[1], how->host_fd);
	(void)close(out[1]);
	if (pid < 0)
		r = err_sys(err, errno, ERR_INTERNAL, "start %s", path);
	else
		r = read_answer(how, out[0], text, &len, err);
	(void)close(out[0]);
	if (pid < 0)
		return r;
	if (r == 0)
		r = reap(how, pid, &status, err);
	if (r < 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		return r;
	}
	return judge(how, text, len, status, ret_answer, err);
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
