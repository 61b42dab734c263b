/* SPDX-License-Identifier: Apache-2.0 */
/* What a dump says is between the daemon and itself: here it is bytes, which are not looked at. */
#include "ipamd/ctl/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ipamd/ctl/answer.h"

enum { PIECE_BYTES = 28 * 1024 /* JSON may double it, and a line has 64 KiB */ };

/* --- check --- */

static void print_count(json_t *counts, const char *key, const char *words)
{
	if (number_of(counts, key))
		printf("%10lld %s\n", number_of(counts, key), words);
}

static void print_check(json_t *audit)
{
	json_t *counts = json_object_get(audit, "counts"), *finding;
	long long found = number_of(audit, "found");
	size_t i;

	printf("%10lld attachments\n", number_of(counts, "records"));
	print_count(counts, "held", "indexes held");
	print_count(counts, "draining", "of these draining: outside of today's pools");
	print_count(counts, "resting", "indexes resting");
	print_count(counts, "claimed", "indexes claimed");
	print_count(counts, "claims", "claims");
	print_count(counts, "guids", "GUIDs with an owner");
	print_count(counts, "identities", "identities");
	print_count(counts, "events", "events");
	json_array_foreach (json_object_get(audit, "notes"), i, finding)
		printf("%s\n", json_string_value(finding));
	json_array_foreach (json_object_get(audit, "findings"), i, finding)
		printf("%s\n", json_string_value(finding));
	if (found > (long long)json_array_size(json_object_get(audit, "findings")))
		printf("… and others\n");
	if (found)
		printf("%lld findings: see \"The store is damaged\" in docs/operations.md\n",
		       found);
	else
		printf("all of it fits together\n");
}

int ledger_check_run(struct ctl *ctl, struct err *err)
{
	CLEANUP_JSON json_t *audit = NULL;
	int r;

	r = ctl_call(ctl, "ledger.check",
		     json_pack("{s:I}", "deadline", (json_int_t)clock_boot_ms() + PROTO_ADD_MS),
		     &audit, err);
	if (r == 0 && ctl->json)
		r = print_json(audit, err);
	else if (r == 0)
		print_check(audit);
	if (r < 0)
		return r;
	return json_is_true(json_object_get(audit, "ok")) ? 0 : COMMAND_FOUND;
}

/* --- export --- */

static int export_to(struct ctl *ctl, FILE *file, const char *path, struct err *err)
{
	json_int_t after = 0;

	do {
		CLEANUP_JSON json_t *page = NULL;
		json_t *text;
		int r;

		r = ctl_call_raw(ctl, "ledger.export", json_pack("{s:I}", "after", after), &page,
				 err);
		if (r < 0)
			return r;
		text = json_object_get(page, "text");
		if (fwrite(text_of(page, "text"), 1, json_string_length(text), file) !=
		    json_string_length(text))
			return err_sys(err, errno, ERR_IO, "write %s", path);
		after = number_of(page, "next");
	} while (after);
	if (fflush(file) < 0)
		return err_sys(err, errno, ERR_IO, "write %s", path);
	return 0;
}

/* The file gets its name when it is whole, and on the disk; until then it has one of its own. */
static int export_to_file(struct ctl *ctl, const char *path, struct err *err)
{
	CLEANUP_FREE char *temp = NULL;
	CLEANUP_FILE FILE *file = NULL;
	CLEANUP_CLOSE int fd = -1;
	int r;

	if (asprintf(&temp, "%s.XXXXXX", path) < 0)
		return err_nomem(err);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, ERR_IO, "create %s", temp);
	file = fdopen(fd, "w");
	if (file)
		(void)TAKE_FD(fd);
	else
		return err_nomem(err);
	r = export_to(ctl, file, temp, err);
	if (r == 0 && (fsync(fileno(file)) < 0 || rename(temp, path) < 0))
		r = err_sys(err, errno, ERR_IO, "write %s", path);
	if (r < 0)
		(void)unlink(temp);
	return r;
}

int ledger_export_run(struct ctl *ctl, struct err *err)
{
	return ctl->argument ? export_to_file(ctl, ctl->argument, err)
			     : export_to(ctl, stdout, "the export", err);
}

/* --- import --- */

/* Sends @len bytes but for a character that is cut at their end; returns how many, or -errno. */
static ssize_t import_piece(struct ctl *ctl, const char *piece, size_t len, json_int_t after,
			    struct err *err)
{
	CLEANUP_JSON json_t *result = NULL;
	size_t whole = len;
	json_t *params;
	int r;

	if (len == PIECE_BYTES) {
		while (whole > 1 && ((unsigned char)piece[whole - 1] & 0xc0) == 0x80)
			whole--;
		if ((unsigned char)piece[whole - 1] >= 0xc0)
			whole--;
		else
			whole = len;
	}
	params = json_pack("{s:I, s:s%}", "after", after, "text", piece, whole);
	if (!params)
		return err_set(err, EINVAL, ERR_VALUE, "%s: is no export: it is not UTF-8 text",
			       ctl->argument);
	r = ctl_call(ctl, "ledger.import", params, &result, err);
	return r < 0 ? r : (ssize_t)whole;
}

static int import_all(struct ctl *ctl, FILE *file, json_int_t *ret_size, struct err *err)
{
	CLEANUP_FREE char *piece = malloc(PIECE_BYTES);
	size_t len = 0;
	ssize_t sent;

	*ret_size = 0;
	if (!piece)
		return err_nomem(err);
	for (;;) {
		len += fread(piece + len, 1, PIECE_BYTES - len, file);
		if (ferror(file))
			return err_sys(err, errno, ERR_IO, "read %s", ctl->argument);
		if (len == 0)
			return 0;
		sent = import_piece(ctl, piece, len, *ret_size, err);
		if (sent < 0)
			return (int)sent;
		*ret_size += sent;
		len -= (size_t)sent;
		memmove(piece, piece + sent, len);
	}
}

int ledger_import_run(struct ctl *ctl, struct err *err)
{
	CLEANUP_FILE FILE *file = fopen(ctl->argument, "re");
	CLEANUP_JSON json_t *report = NULL;
	json_int_t size;
	int r;

	if (!file)
		return err_sys(err, errno, ERR_IO, "open %s", ctl->argument);
	r = import_all(ctl, file, &size, err);
	if (r == 0)
		r = ctl_call(ctl, "ledger.import",
			     json_pack("{s:I, s:I}", "after", size, "deadline",
				       (json_int_t)clock_boot_ms() + PROTO_ADD_MS),
			     &report, err);
	if (r < 0)
		return r;
	if (ctl->json)
		return print_json(report, err);
	printf("%lld attachments imported, %lld events\n", number_of(report, "records"),
	       number_of(report, "events"));
	if (number_of(report, "rebooted"))
		printf("%lld of the attachments are of another boot: they are dropped behind\n",
		       number_of(report, "rebooted"));
	return 0;
}
