/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for the plugin that the daemon starts, where the crowd of tests/torture/crowd.py plays
 * the runtime. A file DIRECTORY/standing/CONTAINER-IFNAME-GENERATION is the attachment in the
 * kernel: CHECK finds it or not, DEL takes it away. Until there is a file DIRECTORY/calm, some DELs
 * fail, and some leave a device unrestored. DIRECTORY is where this program lies.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "ipamd/client/client.h"

enum { WAIT_MS = 20000, TROUBLE = 16 /* one of so many DELs */ };

static int fail(const char *why)
{
	(void)printf("{\"code\":101,\"msg\":\"%s\"}\n", why);
	return 1;
}

static bool is_troubled(int dir_fd)
{
	unsigned int number;

	return faccessat(dir_fd, "calm", F_OK, 0) < 0 &&
	       getrandom(&number, sizeof(number), 0) == sizeof(number) && number % TROUBLE == 0;
}

static int open_directory(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0)
		return -1;
	path[n] = '\0';
	return open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int check(struct client *client, int dir_fd, const struct attachment *a,
		 const char *standing)
{
	struct facts facts = { .rdma = { .index = -1, .gid_index = -1 } };
	struct err err;

	if (faccessat(dir_fd, standing, F_OK, 0) < 0)
		return fail("it is not in the pod");
	if (a->state == ATTACHMENT_ATTACHED || a->state == ATTACHMENT_DIRTY)
		return 0;
	return client_settle(client, a, &facts, clock_boot_ms() + WAIT_MS, &err) < 0
		       ? fail("the daemon says no")
		       : 0;
}

static int undo(struct client *client, int dir_fd, const struct attachment *a, const char *standing)
{
	struct release how = { .left = true, .restored = true, .reason = "undo" };
	struct err err;

	if (is_troubled(dir_fd))
		return fail("the kernel says no");
	how.restored = !is_troubled(dir_fd);
	(void)unlinkat(dir_fd, standing, 0);
	if (client_release(client, a, &how, clock_boot_ms() + WAIT_MS, &err) < 0)
		return fail("the daemon says no");
	return 0;
}

static int serve(json_t *conf)
{
	struct attachment_key key = { json_string_value(json_object_get(conf, "name")),
				      getenv("CNI_CONTAINERID"), getenv("CNI_IFNAME") };
	const char *path = json_string_value(json_object_get(conf, "socket"));
	CLEANUP(client_close) struct client client = { .fd = -1 };
	CLEANUP(attachment_free) struct attachment a = { 0 };
	CLEANUP_CLOSE int dir_fd = open_directory();
	char standing[NAME_MAX];
	struct err err;
	bool found;

	if (dir_fd < 0 || !path || !key.network || !key.container_id || !key.ifname)
		return fail("it was not told enough");
	if (client_open(&client, path, &err) < 0 ||
	    client_get(&client, &key, clock_boot_ms() + WAIT_MS, &a, &found, &err) < 0)
		return fail("the daemon does not answer");
	(void)snprintf(standing, sizeof(standing), "standing/%s-%s-%" PRIu64, key.container_id,
		       key.ifname, found ? a.generation : 0);
	if (strcmp(getenv("CNI_COMMAND"), "CHECK") == 0)
		return found ? check(&client, dir_fd, &a, standing) : fail("it is not there");
	return found ? undo(&client, dir_fd, &a, standing) : 0;
}

int main(void)
{
	CLEANUP_FREE char *text = NULL;
	CLEANUP_JSON json_t *conf = NULL;
	struct err err;
	size_t len;

	if (!getenv("CNI_COMMAND"))
		return 2;
	if (fs_read_all(STDIN_FILENO, 1 << 20, &text, &len) < 0 ||
	    json_parse(text, len, &conf, &err) < 0)
		return fail("it cannot read its network");
	return serve(conf);
}
