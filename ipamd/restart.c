/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/restart.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ipamd/daemon.h"

struct restart {
	struct daemon *daemon;
	struct stat seen; /* of the file that @file was read from */
	struct config file;
	struct err err;
	int r;
};

static json_t *change_json(const struct daemon *d, const struct config_change *change)
{
	bool lost = strcmp(change->key, "state") == 0 && ledger_has_attachments(d->ledger) &&
		    !ledger_is_there(change->new);

	return json_pack("{s:s, s:s, s:s, s:s*}", "key", change->key, "old", change->old, "new",
			 change->new, "why",
			 lost ? "there is no ledger, and the one in use holds attachments: the "
				"start would be refused"
			      : NULL);
}

json_t *restart_changes(const struct daemon *d, const struct config *file)
{
	struct config_change changes[CONFIG_CHANGES_MAX];
	size_t count = config_compare(&d->config, file, changes);
	json_t *list = json_array();

	for (size_t i = 0; list && i < count; i++)
		(void)json_array_append_new(list, change_json(d, &changes[i]));
	return list;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads the file if it is another one than was read last. */
static void restart_read(struct restart *restart)
{
	const char *path = restart->daemon->config_path;
	struct stat now = { 0 };

	if (stat(path, &now) == 0 && is_same_file(&now, &restart->seen))
		return;
	config_free(&restart->file);
	restart->r = config_load(path, &restart->file, &restart->err);
	restart->seen = now; /* none: it is looked for each time */
}

json_t *restart_look(struct restart *restart)
{
	restart_read(restart);
	if (restart->r < 0)
		return json_pack("{s:[], s:s}", "changes", "error", restart->err.msg);
	return json_pack("{s:o}", "changes", restart_changes(restart->daemon, &restart->file));
}

int restart_open(struct daemon *d, struct restart **ret_restart, struct err *err)
{
	struct restart *restart = calloc(1, sizeof(*restart));

	if (!restart)
		return err_nomem(err);
	restart->daemon = d;
	*ret_restart = restart;
	return 0;
}

void restart_free(struct restart *restart)
{
	if (!restart)
		return;
	config_free(&restart->file);
	free(restart);
}
