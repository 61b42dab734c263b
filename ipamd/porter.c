/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/porter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "ipamd/batch.h"
#include "ipamd/daemon.h"
#include "ipamd/inventory.h"
#include "ipamd/reconcile.h"

static const uint64_t import_max = (uint64_t)512 << 20;
static const uint64_t export_growth_max = (uint64_t)64 << 20;

struct export
{
	const struct conn *conn; /* NULL: the place is free */
	struct ledger *reader;
	struct dump *dump;
	int64_t begun_ms;
	uint64_t store_size; /* when it began */
	char *line;          /* the rest of it, from @at on, goes into the next page */
	size_t len, at;
	uint64_t page_begin; /* bytes before the page that was given last */
	size_t page_len;
	bool page_is_last;
	char page[PORTER_BYTES + 1];
};

enum import_state { IMPORT_NONE, IMPORT_GATHERS, IMPORT_ASKED, IMPORT_OVER };

struct import {
	enum import_state state;
	const struct conn *conn;
	FILE *file;
	uint64_t size;
	int64_t active_ms;
	int r; /* of one that is over */
	struct err why;
	struct dump_report report;
};

struct porter {
	struct daemon *daemon;
	struct export *exports[PORTER_EXPORTS];
	struct import import;
	uv_timer_t timer; /* an import is done outside of any batch */
};

/* --- export --- */

static void export_free(struct export *x)
{
	if (!x)
		return;
	dump_free(x->dump);
	ledger_close(x->reader);
	free(x->line);
	free(x);
}

static struct export **export_of(struct porter *porter, const struct conn *conn)
{
	for (size_t i = 0; i < PORTER_EXPORTS; i++) {
		if (porter->exports[i] && porter->exports[i]->conn == conn)
			return &porter->exports[i];
	}
	return NULL;
}

static void export_end(struct export **place)
{
	export_free(*place);
	*place = NULL;
}

static int export_begin(struct porter *porter, const struct conn *conn, struct export **place,
			struct err *err)
{
	struct export *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return err_nomem(err);
	x->conn = conn;
	x->begun_ms = clock_boot_ms();
	x->store_size = ledger_size(porter->daemon->ledger);
	r = ledger_fork(porter->daemon->ledger, &x->reader, err);
	if (r == 0)
		r = ledger_dump(x->reader, porter->daemon->node, &x->dump, err);
	if (r < 0)
		export_free(x);
	else
		*place = x;
	return r;
}

/* Fills the page; @x->page_is_last when there is nothing behind it. */
static int export_fill(struct export *x, struct err *err)
{
	int r;

	x->page_len = 0;
	while (x->page_len < PORTER_BYTES) {
		size_t n;

		if (x->at == x->len) {
			free(TAKE_PTR(x->line));
			x->len = x->at = 0;
			r = dump_next(x->dump, &x->line, err);
			x->page_is_last = r == -ENOENT;
			if (r < 0)
				return r == -ENOENT ? 0 : r;
			x->len = strlen(x->line);
		}
		n = x->len - x->at < PORTER_BYTES - x->page_len ? x->len - x->at
								: PORTER_BYTES - x->page_len;
		/* Not in the middle of a character. */
		while (x->at + n < x->len && (x->line[x->at + n] & 0xc0) == 0x80)
			n--;
		memcpy(x->page + x->page_len, x->line + x->at, n);
		x->page_len += n;
		x->at += n;
		if (x->at < x->len)
			break;
	}
	return 0;
}

/* A place for a new export of @conn, whose last one ends. */
static int export_place(struct porter *porter, const struct conn *conn, struct export ***ret_place,
			struct err *err)
{
	struct export **old = export_of(porter, conn);

	if (old)
		export_end(old);
	for (size_t i = 0; i < PORTER_EXPORTS; i++) {
		if (!porter->exports[i]) {
			*ret_place = &porter->exports[i];
			return 0;
		}
	}
	return err_set(err, EBUSY, ERR_AGAIN, "export: %d others run", PORTER_EXPORTS);
}

int porter_export(struct porter *porter, struct conn *conn, uint64_t after, const char **ret_text,
		  uint64_t *ret_next, struct err *err)
{
	struct export **place = export_of(porter, conn), *x;
	int r = 0;

	if (after == 0 && ledger_is_tight(porter->daemon->ledger))
		return err_set(err, ENOSPC, ERR_AGAIN,
			       "export: the disk is full, and what is free is for releases");
	if (after == 0) {
		r = export_place(porter, conn, &place, err);
		if (r == 0)
			r = export_begin(porter, conn, place, err);
		if (r < 0)
			return r;
	}
	x = place ? *place : NULL;
	if (!x ||
	    (after != x->page_begin && (after != x->page_begin + x->page_len || x->page_is_last)))
		return err_set(
			err, ESTALE, ERR_VALUE,
			"export: has ended (it does after %d s, on a full disk, and when the "
			"store grows much), or byte %llu is not its next",
			PORTER_MS / 1000, (unsigned long long)after);
	if (after != x->page_begin || after == 0) {
		x->page_begin = after;
		r = export_fill(x, err);
	}
	if (r < 0) {
		export_end(place);
		return r;
	}
	x->page[x->page_len] = '\0';
	*ret_text = x->page;
	*ret_next = x->page_is_last ? 0 : x->page_begin + x->page_len;
	return 0;
}

/* --- import --- */

static void import_end(struct import *import)
{
	if (import->file)
		(void)fclose(import->file);
	*import = (struct import) { 0 };
}

static int import_begin(struct porter *porter, const struct conn *conn, struct err *err)
{
	struct import *import = &porter->import;
	CLEANUP_FREE char *path = NULL;
	CLEANUP_CLOSE int fd = -1;

	if (import->state != IMPORT_NONE && import->conn != conn)
		return err_set(err, EBUSY, ERR_AGAIN, "import: another one runs");
	import_end(import);
	if (asprintf(&path, "%s/import-XXXXXX", porter->daemon->config.state) < 0)
		return err_nomem(err);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0 || unlink(path) < 0)
		return err_sys(err, errno, ERR_IO, "make %s", path);
	import->file = fdopen(fd, "r+");
	if (!import->file)
		return err_nomem(err);
	(void)TAKE_FD(fd);
	import->state = IMPORT_GATHERS;
	import->conn = conn;
	return 0;
}

/* Is byte @after where the import of this connection has come to? */
static int import_check(const struct import *import, const struct conn *conn, uint64_t after,
			struct err *err)
{
	if (import->state == IMPORT_NONE || import->conn != conn || import->size != after)
		return err_set(err, ESTALE, ERR_VALUE,
			       "import: has ended, or byte %llu is not its next",
			       (unsigned long long)after);
	return 0;
}

int porter_gather(struct porter *porter, struct conn *conn, uint64_t after, const char *text,
		  uint64_t *ret_next, struct err *err)
{
	struct import *import = &porter->import;
	size_t len = strlen(text);
	int r = 0;

	if (after == 0)
		r = import_begin(porter, conn, err);
	else if (import->conn == conn && import->size == after + len)
		len = 0; /* the batch that it was in could not be committed */
	else
		r = import_check(import, conn, after, err);
	if (r == 0 && import->state != IMPORT_GATHERS)
		r = err_set(err, EBUSY, ERR_AGAIN, "import: is being done");
	if (r == 0 && import->size + len > import_max)
		r = err_set(err, EFBIG, ERR_VALUE, "import: more than %llu MiB",
			    (unsigned long long)(import_max >> 20));
	if (r == 0 && fwrite(text, 1, len, import->file) != len)
		r = err_sys(err, errno, ERR_IO, "import: write what came");
	if (r < 0)
		return r;
	import->size += len;
	import->active_ms = clock_boot_ms();
	*ret_next = import->size;
	return 0;
}

static int load(struct daemon *d, void *arg, struct err *err)
{
	struct import *import = arg;

	return ledger_load(d->ledger, import->file, &import->report, err);
}

static void on_import(uv_timer_t *timer)
{
	struct porter *porter = timer->data;
	struct import *import = &porter->import;
	struct daemon *d = porter->daemon;
	int64_t begun_ms = clock_boot_ms();

	import->r = fflush(import->file) < 0 || fseek(import->file, 0, SEEK_SET) < 0
			    ? err_sys(&import->why, errno, ERR_IO, "read what came")
		: batch_change(d->batch, load, import, &import->why);
	import->state = IMPORT_OVER;
	if (d->failed)
		return;
	if (import->r < 0) {
		err_prefix(&import->why, "import");
		log_error("%s; nothing was imported", import->why.msg);
	} else {
		log_info("imported %llu attachments in %lld ms",
			 (unsigned long long)import->report.records,
			 (long long)(clock_boot_ms() - begun_ms));
		inventory_recount(d->inventory);
		inventory_repool(d->inventory);
		(void)reconcile_ask(d->reconcile, false);
	}
	batch_wake(d->batch, PORTER_SEAT);
}

int porter_import(struct porter *porter, const struct conn *conn, uint64_t after,
		  json_t **ret_result, struct err *err)
{
	struct import *import = &porter->import;
	const struct dump_report *report = &import->report;
	int r = import_check(import, conn, after, err);

	*ret_result = NULL;
	if (r < 0)
		return r;
	if (import->state == IMPORT_GATHERS) {
		import->state = IMPORT_ASKED;
		(void)uv_timer_start(&porter->timer, on_import, 0, 0);
	}
	if (import->state == IMPORT_ASKED)
		return 0;
	if (import->r < 0) {
		*err = import->why;
		return import->r;
	}
	*ret_result =
		json_pack("{s:I, s:I, s:I}", "records", (json_int_t)report->records, "rebooted",
			  (json_int_t)report->rebooted, "events", (json_int_t)report->events);
	return *ret_result ? 0 : err_nomem(err);
}

/* --- life --- */

int porter_open(struct daemon *d, struct porter **ret_porter, struct err *err)
{
	struct porter *porter = calloc(1, sizeof(*porter));

	if (!porter)
		return err_nomem(err);
	porter->daemon = d;
	(void)uv_timer_init(&d->loop, &porter->timer);
	porter->timer.data = porter;
	*ret_porter = porter;
	return 0;
}

void porter_close(struct porter *porter)
{
	if (!porter)
		return;
	for (size_t i = 0; i < PORTER_EXPORTS; i++)
		export_end(&porter->exports[i]);
	import_end(&porter->import);
	uv_close((uv_handle_t *)&porter->timer, NULL);
}

void porter_free(struct porter *porter)
{
	free(porter);
}

/* Long enough: others pay for it, who cannot use what was freed since. */
static bool export_is_over(const struct porter *porter, const struct export *x)
{
	const struct ledger *ledger = porter->daemon->ledger;

	return clock_boot_ms() - x->begun_ms > PORTER_MS || ledger_is_tight(ledger) ||
	       ledger_size(ledger) > x->store_size + export_growth_max;
}

void porter_yield(struct porter *porter)
{
	for (size_t i = 0; i < PORTER_EXPORTS; i++) {
		if (porter->exports[i] && export_is_over(porter, porter->exports[i]))
			export_end(&porter->exports[i]);
	}
}

void porter_tick(struct porter *porter)
{
	int64_t now_ms = clock_boot_ms();
	struct import *import = &porter->import;

	porter_yield(porter);
	if (import->state != IMPORT_ASKED && now_ms - import->active_ms > PORTER_MS)
		import_end(import);
}

void porter_end(struct porter *porter, const struct conn *conn)
{
	struct export **place = export_of(porter, conn);

	if (place)
		export_end(place);
	if (porter->import.conn != conn)
		return;
	(void)uv_timer_stop(&porter->timer);
	import_end(&porter->import);
}
