/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's end of the socket, against daemons that answer badly, late or not at all. */
#include "ipamd/client/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

enum { PATIENCE_MS = 60000, SHORT_MS = 200 }; /* for what comes; for what never does */

static char directory[] = "/tmp/spur-client-XXXXXX";
static char path[64];

static int listen_here(int backlog)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	(void)unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* A daemon that reads one line and answers @answer, in two pieces; NULL: never. */
static void serve_once(int fd, const char *answer)
{
	int conn = accept(fd, NULL, NULL);
	char c = 0;

	while (c != '\n' && read(conn, &c, 1) == 1) {
	}
	if (!answer)
		(void)pause();
	(void)fs_write_all(conn, answer, strlen(answer) / 2);
	(void)usleep(20000);
	(void)fs_write_all(conn, answer + strlen(answer) / 2, strlen(answer) - strlen(answer) / 2);
}

/* One call to such a daemon; what came of it. */
static int call_once(const char *answer, int timeout_ms, json_t **ret_result, struct err *err)
{
	CLEANUP_CLOSE int fd = listen_here(1);
	struct client client;
	pid_t pid = fork();
	int r;

	if (pid == 0) {
		serve_once(fd, answer);
		_exit(0);
	}
	assert_int_equal(client_open(&client, path, err), 0);
	r = client_call(&client, "m", json_object(), clock_boot_ms() + timeout_ms, ret_result, err);
	client_close(&client);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return r;
}

#define ANSWER(id, rest) "{\"jsonrpc\":\"2.0\",\"id\":" id "," rest "}\n"
#define BUSY \
	"\"error\":{\"code\":-32000,\"message\":\"busy\",\"data\":{\"cni\":11,\"details\":\"d\"}}"

static const struct {
	const char *answer;
	int r;    /* 0, or the errno; -1: any */
	int code; /* of the error */
	const char *message;
} rows[] = {
	{ ANSWER("1", "\"result\":{\"a\":1}"), 0, 0, NULL },
	{ ANSWER("1", BUSY), -1, ERR_AGAIN, "busy" },
	{ ANSWER("null", BUSY), -1, ERR_AGAIN, "busy" }, /* about the connection */
	{ ANSWER("2", BUSY), EPROTO, ERR_INTERNAL, "the answer is to another request" },
	{ ANSWER("2", "\"result\":{}"), EPROTO, ERR_INTERNAL, "the answer is to another request" },
	{ ANSWER("null", "\"result\":{}"), EPROTO, ERR_INTERNAL, "another request" },
	{ ANSWER("1", "\"x\":1"), EPROTO, ERR_INTERNAL, "the answer has no result" },
	{ "nonsense\n", EINVAL, ERR_JSON, "read the answer of spur-ipamd: parse JSON" },
	{ "{\"half\":", EPIPE, ERR_AGAIN, "read the answer of spur-ipamd" },
	{ "", EPIPE, ERR_AGAIN, "read the answer of spur-ipamd" },
	{ NULL, ETIMEDOUT, ERR_AGAIN, "read the answer of spur-ipamd" },
};

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP_JSON json_t *result = NULL;
		struct err err = { 0 };
		int r = call_once(rows[i].answer, rows[i].answer ? PATIENCE_MS : SHORT_MS, &result,
				  &err);

		if ((r == 0) != (rows[i].r == 0) || (rows[i].r > 0 && r != -rows[i].r))
			fail_msg("%s: %d (%s)", rows[i].answer, r, err.msg);
		if (r < 0 && (err.code != rows[i].code || !strstr(err.msg, rows[i].message)))
			fail_msg("%s: code %d, %s", rows[i].answer, err.code, err.msg);
	}
}

static void test_long_answer(void **state)
{
	static char line[PROTO_LINE_MAX + 2];
	CLEANUP_JSON json_t *result = NULL;
	struct err err;

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	assert_int_equal(call_once(line, PATIENCE_MS, &result, &err), -EMSGSIZE);
}

static void test_long_request(void **state)
{
	static char text[PROTO_LINE_MAX];
	CLEANUP_CLOSE int fd = listen_here(1);
	CLEANUP_JSON json_t *result = NULL;
	struct client client;
	struct err err;

	(void)state;
	(void)fd; /* listens, that is all */
	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(client_open(&client, path, &err), 0);
	assert_int_equal(client_call(&client, "m", json_pack("{s:s}", "a", text),
				     clock_boot_ms() + PATIENCE_MS, &result, &err),
			 -E2BIG);
	client_close(&client);
}

static void test_nobody_there(void **state)
{
	static char longer[200];
	struct client client, second;
	struct err err;
	int fd;

	(void)state;
	(void)unlink(path);
	assert_int_equal(client_open(&client, path, &err), -ENOENT);
	assert_int_equal(err.code, ERR_AGAIN);
	assert_non_null(strstr(err.msg, path));
	fd = listen_here(0);
	assert_int_equal(client_open(&client, path, &err), 0); /* fills the backlog */
	assert_int_equal(client_open(&second, path, &err), -ETIMEDOUT);
	client_close(&client);
	(void)close(fd);
	assert_int_equal(client_open(&client, path, &err), -ECONNREFUSED);
	memset(longer, 'x', sizeof(longer) - 1);
	assert_int_equal(client_open(&client, longer, &err), -ENAMETOOLONG);
	client_close(&client);
}

/* The only entry of the spool directory. */
static json_t *spooled(void)
{
	char name[128], text[4096];
	struct dirent *entry;
	json_t *json;
	struct err err;
	DIR *dir;

	(void)snprintf(name, sizeof(name), "%s/spool", directory);
	dir = opendir(name);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			break;
	}
	assert_non_null(entry);
	assert_non_null(strstr(entry->d_name, ".json"));
	assert_true(fs_read_small(dirfd(dir), entry->d_name, text, sizeof(text)) > 0);
	assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	(void)closedir(dir);
	assert_int_equal(json_parse(text, strlen(text), &json, &err), 0);
	return json;
}

static void test_spool(void **state)
{
	const struct attachment_key key = { "rail0", "c1", "net1" };
	char netns[] = "/run/netns/a";
	const struct netns_ref ref = { .path = netns, .cookie = 5, .nsid = 3 };
	CLEANUP_JSON json_t *env = json_pack("{s:s}", "CNI_COMMAND", "DEL");
	CLEANUP_JSON json_t *netconf = json_pack("{s:s}", "name", "rail0");
	int64_t before_ms = clock_boot_ms(), time_ms;
	struct err err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		CLEANUP_JSON json_t *entry = NULL;

		assert_int_equal(
			client_spool(path, &key, "spur", env, netconf, i ? NULL : &ref, &err), 0);
		entry = spooled();
		time_ms = json_integer_value(json_object_get(entry, "bootTime"));
		assert_true(time_ms >= before_ms && time_ms <= clock_boot_ms());
		assert_int_equal(strlen(json_string_value(json_object_get(entry, "bootID"))), 36);
		assert_true(json_equal(
			json_object_get(json_object_get(entry, "request"), "netconf"), netconf));
		assert_int_equal(json_integer_value(json_object_get(json_object_get(entry, "netns"),
								    "cookie")),
				 i ? 0 : 5);
	}
	assert_true(client_spool("/proc/nowhere/ipamd.sock", &key, "spur", env, netconf, NULL,
				 &err) < 0);
	assert_int_equal(err.code, ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),      cmocka_unit_test(test_long_answer),
		cmocka_unit_test(test_long_request), cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_spool),
	};
	char spool[128];
	int failed;

	if (!mkdtemp(directory))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/sock", directory);
	(void)signal(SIGPIPE, SIG_IGN);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)unlink(path);
	(void)snprintf(spool, sizeof(spool), "%s/spool", directory);
	(void)rmdir(spool);
	(void)rmdir(directory);
	return failed;
}
