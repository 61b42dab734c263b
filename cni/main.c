/* SPDX-License-Identifier: Apache-2.0 */
/* Environment and stdin in, one JSON document on stdout. All else is in the library. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "cni/cmd.h"
#include "cni/request.h"
#include "cni/result.h"

static int (*const verbs[])(const struct request *request, struct err *err) = {
	[VERB_ADD] = cmd_add,       [VERB_DEL] = cmd_del, [VERB_CHECK] = cmd_check,
	[VERB_STATUS] = cmd_status, [VERB_GC] = cmd_gc,   [VERB_VERSION] = cmd_version,
};

/* jansson would open /dev/urandom for it. */
static void seed_json(void)
{
	uint32_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0 || seed == 0)
		seed = 1; /* early in boot; 0 would mean "choose yourself" */
	json_object_seed(seed);
}

static int read_stdin(char **ret_text, size_t *ret_len, struct err *err)
{
	int r = fs_read_all(STDIN_FILENO, REQUEST_MAX, ret_text, ret_len);

	if (r == -EFBIG)
		return err_set(err, EFBIG, ERR_IO, "read the configuration: more than %d bytes",
			       REQUEST_MAX);
	return r < 0 ? err_sys(err, -r, ERR_IO, "read the configuration") : 0;
}

/*
 * What cannot be logged is not worth a failed attachment: then it goes to stderr, with the reason.
 * Root appends to no file that somebody else may have put in its place.
 */
static void open_log(const struct netconf *conf)
{
	struct err err;
	int fd;

	log_init(STDERR_FILENO, conf->log_level, false);
	if (!conf->log_file)
		return;
	fd = fs_open_log(conf->log_file, &err);
	if (fd < 0)
		log_warn("key \"logFile\": %s", err.msg);
	else
		log_init(fd, conf->log_level, false);
}

static int run(struct request *request, const struct request_env *env, bool ipam_only,
	       struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t len;
	int r;

	r = read_stdin(&text, &len, err);
	if (r == 0)
		r = request_read(env, ipam_only, text, len, request, err);
	if (r < 0)
		return r;
	open_log(&request->conf);
	r = verbs[request->verb](request, err);
	if (r < 0 && request->conf.log_file)
		log_error("%s %s: %s", env->command, env->container_id ? env->container_id : "",
			  err->msg);
	return r;
}

static void print_error(const struct request *request, const struct err *err)
{
	CLEANUP_JSON json_t *json = json_pack("{s:s, s:i, s:s, s:s}", "cniVersion",
					      cni_version_names[request->conf.version], "code",
					      err->code, "msg", err->msg, "details", err->details);
	struct err ignored;

	if (json)
		(void)result_print(json, &ignored); /* there is no other place to say it */
}

/* Not a CNI call, but what spur-ipamd has done by us: "spur bind-guid PCI GUID". */
static bool is_called(int argc, char **argv, const char *what)
{
	return argc > 1 && strcmp(argv[1], what) == 0;
}

int main(int argc, char **argv)
{
	const struct request_env env = {
		.command = getenv("CNI_COMMAND"),
		.container_id = getenv("CNI_CONTAINERID"),
		.ifname = getenv("CNI_IFNAME"),
		.netns = getenv("CNI_NETNS"),
		.args = getenv("CNI_ARGS"),
		.path = getenv("CNI_PATH"),
	};
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;
	struct request request = { .conf.version = CNI_1_1_0 };
	struct err err;
	int r;

	if (argc > 0)
		name = name ? name + 1 : argv[0];
	(void)signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error, not an end */
	(void)signal(SIGCHLD,
		     SIG_DFL); /* ignored by whoever started us, no child could be waited for */
	seed_json();
	if (is_called(argc, argv, "bind-guid"))
		r = cmd_bind_guid(argc > 2 ? argv[2] : "", argc > 3 ? argv[3] : "", &err);
	else if (is_called(argc, argv, "rebind"))
		r = cmd_rebind(argc > 2 ? argv[2] : "", &err);
	else
		r = run(&request, &env, name && strcmp(name, "spur-ipam") == 0, &err);
	if (r < 0)
		print_error(&request, &err);
	request_free(&request);
	return r < 0;
}
