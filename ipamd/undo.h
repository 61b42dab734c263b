/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing what nobody else will undo: the daemon starts the plugin with the record's own request
 * and CNI_COMMAND=DEL, and the plugin connects back and takes its turn like any DEL. At most
 * UNDO_AT_ONCE run; a failure is tried again, later each time.
 *
 * An attachment that was unfinished when the daemon started is looked at, in the same way, by a
 * CHECK: that finds the device in the pod and says `done` for the ADD. Where it does not, the
 * record is unconfirmed, and is looked at again by each pass of reconcile.c. Nothing is undone for
 * it: a device in a pod that lives is nobody's to take.
 */
#pragma once

#include "base/err.h"
#include "ipamd/seat.h"

enum { UNDO_AT_ONCE = 4, UNDO_BACKOFF_MS = 1000, UNDO_BACKOFF_MAX_MS = 60000 };

struct daemon;
struct undo;

int undo_open(struct daemon *d, struct undo **ret_undo, struct err *err);
/* Ends what runs. Its children are gone once the loop has run dry. NULL is fine. */
void undo_close(struct undo *undo);
void undo_free(struct undo *undo);

/*
 * Asks for the record of this key to be undone (@check: only to be looked at). @reason is a
 * constant. One that waits for its next try is tried at once; one that was only to be looked at is
 * undone without. Nothing starts before undo_go().
 */
void undo_ask(struct daemon *d, const char *seat_key, const char *reason, bool check);
/* The record of this seat has gone by another hand. */
void undo_needless(struct daemon *d, struct seat *seat);
/* `done` has come: what was asked for because it had not is void. */
void undo_settled(struct daemon *d, struct seat *seat);
/* Starts what is asked for and due. */
void undo_go(struct undo *undo);
/* How many are queued or wait for their next try, and how many run. */
void undo_count(const struct daemon *d, int *ret_queued, int *ret_running);
int undo_queue(const struct daemon *d); /* how many wait for nothing but a place */
