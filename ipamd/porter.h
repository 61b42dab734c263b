/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries the ledger out and in, piece by piece over a connection. An export is a snapshot of one
 * moment that ends with its connection, after PORTER_MS, and when the disk is full or the store has
 * grown much meanwhile: as long as it is read, the store cannot use again what was freed since. An
 * import is gathered in a file without a name, and done in one transaction when it is whole: nobody
 * sees half of it.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/server.h"

struct daemon;
struct porter;

enum {
	PORTER_EXPORTS = 2, /* at once */
	PORTER_MS = 60 * 1000,
	PORTER_BYTES = 28 * 1024, /* of a page: JSON may double it, and a line has 64 KiB */
};

#define PORTER_SEAT "the import"

int porter_open(struct daemon *d, struct porter **ret_porter, struct err *err);
void porter_close(struct porter *porter); /* while the loop still runs; NULL is fine */
void porter_free(struct porter *porter);
void porter_tick(struct porter *porter); /* every second */
void porter_yield(
	struct porter *porter); /* before a batch writes: ends exports that cost too much */
void porter_end(struct porter *porter, const struct conn *conn); /* the connection has ended */

/*
 * The page behind the first @after bytes, 0: of a new snapshot. The last page may be asked for
 * again. *@ret_next: the @after of the next; 0: that was all. *@ret_text is borrowed, and ends at
 * the end of a character. Refused: too many exports (ERR_AGAIN), one that has ended (ERR_VALUE).
 */
int porter_export(struct porter *porter, struct conn *conn, uint64_t after, const char **ret_text,
		  uint64_t *ret_next, struct err *err);

/* Adds @text behind the first @after bytes, 0: of a new import. Repeating one does no harm. */
int porter_gather(struct porter *porter, struct conn *conn, uint64_t after, const char *text,
		  uint64_t *ret_next, struct err *err);
/*
 * Imports what was gathered: *@ret_result is the answer, or NULL if it is not over: PORTER_SEAT
 * will be woken.
 */
int porter_import(struct porter *porter, const struct conn *conn, uint64_t after,
		  json_t **ret_result, struct err *err);
