/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"

enum {
	MARK_LOCK_TRIES = 50, /* a daemon that ends hands over; one that was killed has children */
	MARK_LOCK_PAUSE_US = 20000,
};

struct mark {
	char *path;
	int fd;
	struct mark_words words;
};

/* --- pure --- */

static void copy_text(struct json_reader *r, const char *name, size_t size, char *ret_text)
{
	const char *text = "";

	if (!json_str(r, name, &text))
		json_missing(r, name);
	else if (strlen(text) >= size)
		json_bad(r, name, "must be at most %zu bytes", size - 1);
	else
		(void)snprintf(ret_text, size, "%s", text);
}

int mark_decode(const char *text, size_t len, struct mark_words *ret_words, struct err *err)
{
	const char *end = memchr(text, '\n', len);
	struct mark_words words = { 0 };
	CLEANUP_JSON json_t *json = NULL;
	struct json_reader r;

	if (!end)
		return err_set(err, EINVAL, ERR_JSON, "its line has no end");
	if (json_parse(text, (size_t)(end - text), &json, err) < 0)
		return -err->errnum;
	json_read(&r, json, "", err);
	copy_text(&r, "bootID", sizeof(words.boot_id), words.boot_id);
	copy_text(&r, "state", sizeof(words.state), words.state);
	copy_text(&r, "ledger", sizeof(words.ledger), words.ledger);
	if (!json_bool(&r, "attachments", &words.attachments))
		json_missing(&r, "attachments");
	if (json_finish(&r, READ_LENIENT) < 0)
		return r.r;
	*ret_words = words;
	return 0;
}

int mark_judge(const struct mark_words *words, const char *boot_id, const char *state,
	       const char *ledger, struct err *err)
{
	bool same = ledger && (!ledger[0] || strcmp(ledger, words->ledger) == 0);

	if (!words->attachments || same || strcmp(words->boot_id, boot_id) != 0)
		return 0;
	(void)err_set(err, ESTALE, ERR_STORE,
		      "open store %.200s: %s, and the one that served in this boot, in %.200s, "
		      "holds attachments",
		      state, ledger ? "it is another ledger" : "there is no ledger", words->state);
	err_details(err, "is its file system mounted, and \"state\" right? To begin anew, without "
			 "the attachments of the pods that live: spur-ipamd --new-ledger");
	return -ESTALE;
}

/* --- the file --- */

static int path_of(const char *socket, char **ret_path, struct err *err)
{
	int parent_len = (int)(strrchr(socket, '/') - socket);

	return asprintf(ret_path, "%.*s/ledger.mark", parent_len, socket) < 0 ? err_nomem(err) : 0;
}

static int words_read(int fd, struct mark_words *ret_words, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t len;
	int r;

	r = fs_read_all(fd, MARK_MAX, &text, &len);
	if (r < 0)
		return err_sys(err, -r, ERR_IO, "read");
	if (len == 0) {
		*ret_words = (struct mark_words) { 0 };
		return 0;
	}
	return mark_decode(text, len, ret_words, err);
}

static int mark_lock(const struct mark *mark, struct err *err)
{
	int r;

	for (int left = MARK_LOCK_TRIES; (r = flock(mark->fd, LOCK_EX | LOCK_NB)) < 0; left--) {
		if (errno != EWOULDBLOCK || left == 0)
			break;
		(void)usleep(MARK_LOCK_PAUSE_US);
	}
	if (r == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return err_sys(err, errno, ERR_IO, "lock %s", mark->path);
	return err_set(err, EBUSY, ERR_IO,
		       "lock %s: another spur-ipamd has this directory, with its socket and spool",
		       mark->path);
}

static void mark_closep(struct mark **mark)
{
	mark_close(*mark);
}

int mark_open(const char *socket, struct mark **ret_mark, struct err *err)
{
	CLEANUP(mark_closep) struct mark *mark = calloc(1, sizeof(*mark));
	struct err why;
	int r;

	if (!mark)
		return err_nomem(err);
	mark->fd = -1;
	r = path_of(socket, &mark->path, err);
	if (r < 0)
		return r;
	mark->fd = open(mark->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (mark->fd < 0)
		return err_sys(err, errno, ERR_IO, "open %s", mark->path);
	r = mark_lock(mark, err);
	if (r < 0)
		return r;
	if (words_read(mark->fd, &mark->words, &why) < 0)
		log_warn("%s: %s; what it said is not known", mark->path, why.msg);
	*ret_mark = TAKE_PTR(mark);
	return 0;
}

void mark_close(struct mark *mark)
{
	if (!mark)
		return;
	if (mark->fd >= 0)
		(void)close(mark->fd);
	free(mark->path);
	free(mark);
}

const struct mark_words *mark_words(const struct mark *mark)
{
	return &mark->words;
}

/* One write, so that a kill leaves the old words or the new ones. */
static int words_write(const struct mark *mark)
{
	const struct mark_words *words = &mark->words;
	CLEANUP_JSON json_t *json =
		json_pack("{s:s, s:s, s:s, s:b}", "bootID", words->boot_id, "state", words->state,
			  "ledger", words->ledger, "attachments", words->attachments);
	CLEANUP_FREE char *line = json ? json_line(json) : NULL;
	size_t len;

	if (!line)
		return -ENOMEM;
	len = strlen(line);
	line[len] = '\n'; /* in place of its NUL */
	if (pwrite(mark->fd, line, len + 1, 0) < 0)
		return -errno;
	return ftruncate(mark->fd, (off_t)len + 1) < 0 ? -errno : 0;
}

void mark_write(struct mark *mark, const struct mark_words *words)
{
	int r;

	mark->words = *words;
	r = words_write(mark);
	if (r < 0)
		log_warn("write %s: %s; a start without its ledger would not be noticed",
			 mark->path, strerror(-r));
}

void mark_tell(struct mark *mark, bool attachments)
{
	struct mark_words words = mark->words;

	if (attachments == words.attachments)
		return;
	words.attachments = attachments;
	mark_write(mark, &words);
}

int mark_read(const char *socket, struct mark_words *ret_words, struct err *err)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_CLOSE int fd = -1;
	int r;

	r = path_of(socket, &path, err);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, errno, ERR_IO, "open %s", path);
	r = words_read(fd, ret_words, err);
	if (r < 0)
		err_prefix(err, "%s", path);
	return r;
}
