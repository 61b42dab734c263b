/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark beside the socket, DIRECTORY/ledger.mark: which daemon has that directory, and which
 * ledger has served there in this boot. Its lock is held as long as a daemon runs, so that two that
 * start at once do not each take the other's socket for a leftover, and none drains the spool of
 * another. Its words tell a start that the ledger which it finds, or does
 * not find, is another one than that of the pods that live: a file system that is not mounted, a
 * "state" that was edited.
 *
 * The words are written in place, before what they tell of is answered, and without fsync: they
 * are of no use after a power cut, which begins another boot. "Attachments" may be said too long
 * (a kill between the last release and the word), and never too late.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "host/node.h"
#include "ipamd/ledger.h"

enum {
	MARK_MAX = 16 * 1024, /* bytes that are read */
	MARK_STATE_MAX = 4096,
};

struct mark_words {
	char boot_id[BOOT_ID_TEXT];
	char state[MARK_STATE_MAX];    /* the directory of the store */
	char ledger[LEDGER_NAME_TEXT]; /* "": none */
	bool attachments;              /* it may hold some */
};

/* Pure. The first line of @text; what follows it is left from longer words. */
int mark_decode(const char *text, size_t len, struct mark_words *ret_words, struct err *err);

/*
 * Pure. May a daemon serve the ledger called @ledger (NULL: there is none, "": one that has no name
 * yet, which an older program made) from directory @state, after what @words say of this boot?
 * -ESTALE (ERR_STORE): no, that served until now is another one, and held attachments.
 */
int mark_judge(const struct mark_words *words, const char *boot_id, const char *state,
	       const char *ledger, struct err *err);

struct mark;

/*
 * Opens, or makes, the mark beside the socket at @socket, locks it, and reads what it says. A mark
 * that cannot be understood says nothing; that is logged. -EBUSY (ERR_IO): another daemon has the
 * lock.
 */
int mark_open(const char *socket, struct mark **ret_mark, struct err *err);
void mark_close(struct mark *mark); /* NULL is fine */
const struct mark_words *mark_words(const struct mark *mark);
/* From now on it says this. A failure is logged. */
void mark_write(struct mark *mark, const struct mark_words *words);
/* Are there attachments? No system call while that stays as it is. */
void mark_tell(struct mark *mark, bool attachments);

/* The words of the mark beside @socket, without its lock: for who only looks. -ENOENT: none. */
int mark_read(const char *socket, struct mark_words *ret_words, struct err *err);
