/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DEL that found no daemon leaves its request here: one file each, whole or absent, durable.
 * The daemon reads them before it serves and as they come (ipamd/spool.c).
 */
#include "ipamd/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* Opens DIRECTORY-OF-SOCKET/spool, made durably if it is not there. */
static int spool_open(const char *socket_path, int *ret_fd)
{
	const char *slash = strrchr(socket_path, '/');
	CLEANUP_FREE char *parent = NULL;
	CLEANUP_CLOSE int parent_fd = -1;
	int fd;

	if (!slash)
		return -EINVAL;
	parent = strndup(socket_path, (size_t)(slash - socket_path) + 1);
	if (!parent)
		return -ENOMEM;
	if (mkdir(parent, 0700) < 0 && errno != EEXIST)
		return -errno;
	parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd < 0)
		return -errno;
	if (mkdirat(parent_fd, "spool", 0700) < 0 && errno != EEXIST)
		return -errno;
	if (fsync(parent_fd) < 0)
		return -errno;
	fd = openat(parent_fd, "spool", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static json_t *entry_encode(const struct attachment_key *key, const char *program, json_t *env,
			    json_t *netconf, const struct netns_ref *netns, const char *boot_id,
			    int64_t boot_time_ms)
{
	static const struct netns_ref unknown = { .nsid = -1 };
	const struct netns_ref *ns = netns ? netns : &unknown;

	return json_pack("{s:o, s:{s:s, s:I, s:i}, s:s, s:I, s:{s:s, s:O, s:O}}", "key",
			 key_encode(key), "netns", "path", ns->path ? ns->path : "", "cookie",
			 (json_int_t)ns->cookie, "nsid", (int)ns->nsid, "bootID", boot_id,
			 "bootTime", (json_int_t)boot_time_ms, "request", "program", program, "env",
			 env, "netconf", netconf);
}

int client_spool(const char *socket_path, const struct attachment_key *key, const char *program,
		 json_t *env, json_t *netconf, const struct netns_ref *netns, struct err *err)
{
	CLEANUP_JSON json_t *entry = NULL;
	CLEANUP_FREE char *line = NULL;
	CLEANUP_CLOSE int dir_fd = -1;
	int64_t now_ms = clock_boot_ms();
	char boot_id[64], name[64];
	ssize_t n;
	int r;

	n = fs_read_small(AT_FDCWD, BOOT_ID, boot_id, sizeof(boot_id));
	if (n < 0)
		return err_sys(err, (int)-n, ERR_IO, "read %s", BOOT_ID);
	entry = entry_encode(key, program, env, netconf, netns, boot_id, now_ms);
	line = entry ? json_line(entry) : NULL;
	if (!line)
		return err_nomem(err);
	r = spool_open(socket_path, &dir_fd);
	if (r < 0)
		return err_sys(err, -r, ERR_IO, "open the spool beside %s", socket_path);
	(void)snprintf(name, sizeof(name), "%016" PRId64 "-%d.json", now_ms, (int)getpid());
	return fs_write_atomic(dir_fd, name, line, strlen(line), 0600, err);
}
