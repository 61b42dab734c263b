/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "ipamd/batch.h"
#include "ipamd/daemon.h"
#include "ipamd/undo.h"

enum {
	SPOOL_ENTRY_MAX = 1024 * 1024, /* bytes of a file */
	SPOOL_AT_ONCE = 512,           /* files that are read on end, and DELs that are in hand */
};

/* A DEL whose record still stands. */
struct entry {
	struct entry *next;
	char name[NAME_MAX + 1];
	char key[SEAT_KEY_MAX];
	json_t *request;
};

struct spool {
	struct daemon *daemon;
	int dir_fd;
	char *path;
	struct entry *entries;
	int count;
	uv_fs_event_t event;
	bool watched;
	bool unread; /* there may be more than was read: to be looked at again */
};

static void entry_free(struct entry *entry)
{
	json_decref(entry->request);
	free(entry);
}

static int told_done_decode(json_t *json, struct spool_told *told, struct err *err)
{
	int64_t generation = 0;
	json_t *facts = NULL;
	struct json_reader r;

	json_read(&r, json, "done", err);
	if (!json_int(&r, "generation", 0, INT64_MAX, &generation))
		json_missing(&r, "generation");
	if (!json_obj(&r, "facts", &facts))
		json_missing(&r, "facts");
	if (json_finish(&r, READ_LENIENT) < 0)
		return r.r;
	told->generation = (uint64_t)generation;
	return facts_decode(facts, &told->facts, err);
}

int spool_told_decode(json_t *json, struct spool_told *ret_told, struct err *err)
{
	json_t *key = NULL, *env = NULL, *netconf = NULL, *done = NULL;
	struct spool_told told = { 0 };
	struct json_reader r;

	json_read(&r, json, "", err);
	if (!json_obj(&r, "key", &key))
		json_missing(&r, "key");
	if (!json_str(&r, "bootID", &told.boot_id))
		json_missing(&r, "bootID");
	if (!json_int(&r, "bootTime", 0, INT64_MAX, &told.boot_time_ms))
		json_missing(&r, "bootTime");
	if (!json_obj(&r, "done", &done) && !json_obj(&r, "request", &told.request))
		json_missing(&r, "request");
	if (json_finish(&r, READ_LENIENT) < 0)
		return r.r;
	if (done && told_done_decode(done, &told, err) < 0)
		return -err->errnum;
	*ret_told = told;
	if (done)
		return key_decode(key, &ret_told->key, err);
	json_read(&r, told.request, "request", err);
	if (!json_obj(&r, "env", &env))
		json_missing(&r, "env");
	if (!json_obj(&r, "netconf", &netconf))
		json_missing(&r, "netconf");
	if (json_finish(&r, READ_LENIENT) < 0)
		return r.r;
	return key_decode(key, &ret_told->key, err);
}

static void discard(struct spool *spool, const char *name)
{
	if (unlinkat(spool->dir_fd, name, 0) < 0 && errno != ENOENT)
		log_warn("spool: remove %s/%s: %s", spool->path, name, strerror(errno));
}

static void set_aside(struct spool *spool, const char *name, const char *why)
{
	char bad[NAME_MAX + 1];

	(void)snprintf(bad, sizeof(bad), "%.*s.bad", NAME_MAX - 4, name);
	log_error("spool: %s/%s: %s; it is set aside as %s", spool->path, name, why, bad);
	if (renameat(spool->dir_fd, name, spool->dir_fd, bad) < 0)
		log_error("spool: rename %s/%s: %s", spool->path, name, strerror(errno));
}

static int finish(struct daemon *d, void *arg, struct err *err)
{
	const struct spool_told *told = arg;

	return ledger_done(d->ledger, &told->key, told->generation, &told->facts, err);
}

/* Of an older generation, or of another boot: nobody waits for it. */
static void take_done(struct spool *spool, const char *name, struct spool_told *told)
{
	struct daemon *d = spool->daemon;
	char text[SEAT_KEY_MAX];
	struct seat *seat;
	struct err err;
	int r = -ESTALE;

	if (strcmp(told->boot_id, d->boot_id) == 0)
		r = batch_change(d->batch, finish, told, &err);
	if (r < 0 && r != -ESTALE) {
		log_warn("spool: %s/%s: %s; it is tried again", spool->path, name, err.msg);
		spool->unread = true;
		return;
	}
	seat = seat_find(&d->seats, seat_key(&told->key, text));
	if (r == 0)
		log_info("%s: its ADD had left in the spool that it is done", text);
	if (r == 0 && seat) {
		undo_settled(d, seat);
		batch_wake(d->batch, text);
		seat_put(&d->seats, seat);
	}
	discard(spool, name);
}

/* Is there a record that is older than the DEL? */
static bool told_applies(struct spool *spool, const struct spool_told *told)
{
	struct attachment a = { 0 };
	struct err err;
	bool applies;
	int r;

	if (strcmp(told->boot_id, spool->daemon->boot_id) != 0)
		return false; /* with that boot its namespace went, and its record goes */
	r = ledger_find(spool->daemon->ledger, &told->key, &a, &err);
	if (r < 0) /* a store that cannot be read is no reason to forget a DEL */
		return r != -ENOENT;
	applies = a.boot_time_ms < told->boot_time_ms;
	attachment_free(&a);
	return applies;
}

static int keep(struct spool *spool, const char *name, const struct spool_told *told)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	(void)snprintf(entry->name, sizeof(entry->name), "%s", name);
	(void)seat_key(&told->key, entry->key);
	entry->request = json_incref(told->request);
	entry->next = spool->entries;
	spool->entries = entry;
	spool->count++;
	return 0;
}

static int read_entry(struct spool *spool, const char *name, json_t **ret_json, struct err *err)
{
	CLEANUP_CLOSE int fd = openat(spool->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FREE char *text = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return err_sys(err, errno, ERR_IO, "open");
	r = fs_read_all(fd, SPOOL_ENTRY_MAX, &text, &len);
	if (r < 0)
		return err_sys(err, -r, ERR_IO, "read");
	return json_parse(text, len, ret_json, err);
}

/* Our own trouble, and not the entry's: too large, no file and no JSON it will always be. */
static bool is_passing(int r, const struct err *err)
{
	return r == -ENOMEM || (err->code == ERR_IO && r != -EFBIG && r != -ELOOP && r != -EISDIR);
}

static void load_entry(struct spool *spool, const char *name)
{
	CLEANUP_JSON json_t *json = NULL;
	struct spool_told told = { 0 };
	struct err err;
	int r;

	r = read_entry(spool, name, &json, &err);
	if (r == -ENOENT)
		return;
	if (r < 0 && is_passing(r, &err)) {
		log_warn("spool: %s/%s: %s; it is tried again", spool->path, name, err.msg);
		spool->unread = true;
		return;
	}
	if (r == 0)
		r = spool_told_decode(json, &told, &err);
	if (r < 0) {
		set_aside(spool, name, err.msg);
		return;
	}
	if (!told.request) {
		take_done(spool, name, &told);
		return;
	}
	if (!told_applies(spool, &told)) {
		discard(spool, name);
		return;
	}
	if (keep(spool, name, &told) < 0) {
		log_error("out of memory: %s/%s has to wait", spool->path, name);
		spool->unread = true;
		return;
	}
	undo_ask(spool->daemon, spool->entries->key, "spooled", false);
}

static bool is_new(const struct spool *spool, const char *name)
{
	const char *dot = strrchr(name, '.');

	if (name[0] == '.' || !dot || strcmp(dot, ".json") != 0)
		return false;
	for (const struct entry *e = spool->entries; e; e = e->next) {
		if (strcmp(e->name, name) == 0)
			return false;
	}
	return true;
}

void spool_load(struct spool *spool)
{
	int fd = openat(spool->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), looked = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *found;
	bool enough = false;

	spool->unread = !dir;
	if (!dir) {
		log_error("spool: read %s: %s", spool->path, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while (!enough && (found = readdir(dir))) {
		if (!is_new(spool, found->d_name))
			continue;
		enough = looked++ == SPOOL_AT_ONCE || spool->count == SPOOL_AT_ONCE;
		if (!enough)
			load_entry(spool, found->d_name);
	}
	spool->unread = spool->unread || enough; /* the rest in a second */
	(void)closedir(dir);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct spool *spool = event->data;

	(void)events;
	(void)status;
	spool->unread = true; /* events can be lost: in a second all that is there is looked at */
	if (name && spool->count < SPOOL_AT_ONCE && is_new(spool, name))
		load_entry(spool, name);
	undo_go(spool->daemon->undo);
}

static int make_directory(struct spool *spool, struct err *err)
{
	const char *socket = spool->daemon->config.socket;
	int parent_len = (int)(strrchr(socket, '/') - socket), r;

	if (asprintf(&spool->path, "%.*s/spool", parent_len, socket) < 0) {
		spool->path = NULL;
		return err_nomem(err);
	}
	r = fs_own_directory(spool->path, err); /* what lies there is run with */
	if (r < 0)
		return r;
	spool->dir_fd = open(spool->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (spool->dir_fd < 0)
		return err_sys(err, errno, ERR_IO, "open %s", spool->path);
	return 0;
}

static void spool_free(struct spool *spool)
{
	struct entry *next;

	for (struct entry *e = spool->entries; e; e = next) {
		next = e->next;
		entry_free(e);
	}
	if (spool->dir_fd >= 0)
		(void)close(spool->dir_fd);
	free(spool->path);
	free(spool);
}

int spool_open(struct daemon *d, struct spool **ret_spool, struct err *err)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	int r;

	if (!spool)
		return err_nomem(err);
	*spool = (struct spool) { .daemon = d, .dir_fd = -1 };
	r = make_directory(spool, err);
	if (r < 0) {
		spool_free(spool);
		return r;
	}
	(void)uv_fs_event_init(&d->loop, &spool->event);
	spool->event.data = spool;
	*ret_spool = spool;
	r = uv_fs_event_start(&spool->event, on_event, spool->path, 0);
	spool->watched = r == 0;
	if (r < 0) /* a busy node runs out of inotify instances */
		log_warn("watch %s: %s; it is read every second", spool->path, strerror(-r));
	return 0;
}

void spool_tick(struct spool *spool)
{
	if (!spool->watched || spool->unread)
		spool_load(spool);
}

static void on_closed(uv_handle_t *handle)
{
	spool_free(handle->data);
}

void spool_close(struct spool *spool)
{
	if (spool)
		uv_close((uv_handle_t *)&spool->event, on_closed);
}

json_t *spool_request(const struct spool *spool, const char *key)
{
	for (const struct entry *e = spool->entries; e; e = e->next) {
		if (strcmp(e->key, key) == 0)
			return e->request;
	}
	return NULL;
}

void spool_undone(struct spool *spool, const char *key)
{
	struct entry **link = &spool->entries;

	while (*link) {
		struct entry *e = *link;

		if (strcmp(e->key, key) == 0) {
			*link = e->next;
			spool->count--;
			discard(spool, e->name);
			entry_free(e);
		} else {
			link = &e->next;
		}
	}
}

int spool_count(const struct spool *spool)
{
	return spool->count;
}
