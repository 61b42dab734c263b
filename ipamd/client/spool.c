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

/* What every entry says of itself, and in @what what is to be done. Steals @what. */
static json_t *entry_encode(const struct attachment_key *key, const char *member, json_t *what,
			    int64_t boot_time_ms, struct err *err)
{
	char boot_id[64];
	ssize_t n = fs_read_small(AT_FDCWD, BOOT_ID, boot_id, sizeof(boot_id));
	json_t *entry;

	if (n < 0) {
		(void)err_sys(err, (int)-n, ERR_IO, "read %s", BOOT_ID);
		json_decref(what);
		return NULL;
	}
	entry = json_pack("{s:o, s:s, s:I, s:o}", "key", key_encode(key), "bootID", boot_id,
			  "bootTime", (json_int_t)boot_time_ms, member, what);
	if (!entry)
		(void)err_nomem(err);
	return entry;
}

static int entry_write(const char *socket_path, json_t *entry, int64_t now_ms, struct err *err)
{
	CLEANUP_FREE char *line = json_line(entry);
	CLEANUP_CLOSE int dir_fd = -1;
	char name[64];
	int r;

	if (!line)
		return err_nomem(err);
	r = spool_open(socket_path, &dir_fd);
	if (r < 0)
		return err_sys(err, -r, ERR_IO, "open the spool beside %s", socket_path);
	(void)snprintf(name, sizeof(name), "%016" PRId64 "-%d.json", now_ms, (int)getpid());
	return fs_write_atomic(dir_fd, name, line, strlen(line), 0600, err);
}

int client_spool(const char *socket_path, const struct attachment_key *key, const char *program,
		 json_t *env, json_t *netconf, const struct netns_ref *netns, struct err *err)
{
	static const struct netns_ref unknown = { .nsid = -1 };
	const struct netns_ref *ns = netns ? netns : &unknown;
	int64_t now_ms = clock_boot_ms();
	json_t *request =
		json_pack("{s:s, s:O, s:O}", "program", program, "env", env, "netconf", netconf);
	CLEANUP_JSON json_t *entry = entry_encode(key, "request", request, now_ms, err);
	json_t *netns_json = json_pack("{s:s, s:I, s:i}", "path", ns->path ? ns->path : "",
				       "cookie", (json_int_t)ns->cookie, "nsid", (int)ns->nsid);

	if (!entry) {
		json_decref(netns_json);
		return -err->errnum;
	}
	if (json_object_set_new(entry, "netns", netns_json) < 0)
		return err_nomem(err);
	return entry_write(socket_path, entry, now_ms, err);
}

int client_spool_done(const char *socket_path, const struct attachment *a,
		      const struct facts *facts, struct err *err)
{
	const struct attachment_key key = attachment_key(a);
	int64_t now_ms = clock_boot_ms();
	json_t *done = json_pack("{s:I, s:o}", "generation", (json_int_t)a->generation, "facts",
				 facts_encode(facts));
	CLEANUP_JSON json_t *entry = entry_encode(&key, "done", done, now_ms, err);

	return entry ? entry_write(socket_path, entry, now_ms, err) : -err->errnum;
}
