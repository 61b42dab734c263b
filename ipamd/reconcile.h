/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is dead (docs/architecture.md): at start, when a namespace id goes, and on a timer, all
 * records are looked at. A record of an earlier boot is dropped, one whose namespace has gone is
 * undone, a dirty one is tried again. If too many look dead at once, it is our eyes that fail:
 * nothing is reclaimed and an alarm is raised.
 *
 * Nothing of it keeps a request waiting for long: the walk goes in slices, over an index that tells
 * suspects from others without a look at their records, and keeps their ids only. Paths of
 * namespaces are opened in the thread pool: they may block.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipamd/seat.h"

enum {
	RECONCILE_EVERY_MS = 30000,
	RECONCILE_SOON_MS = 1000,   /* after an event: a runtime's own DEL may be on its way */
	RECONCILE_YOUNG_MS = 10000, /* records younger than this are not looked at */
	RECONCILE_SLICE_US = 2000,  /* of work on end, between the requests */
	RECONCILE_PAUSE_MS = 1,     /* between two slices: whoever asks comes first */
	RECONCILE_GLANCES = 32,     /* paths that are followed at once */
	RECONCILE_DROPS = 8,        /* records between two looks at the clock */
	RECONCILE_QUEUED = 64, /* dead ones that wait for the plugin; the others wait for them… */
	RECONCILE_QUEUED_MS = 100, /* …and are asked for so often */
	RECONCILE_MASS = 4,        /* this many dead, and more than half of all: an alarm */
};

struct daemon;
struct reconcile;

struct reconcile_report {
	uint64_t pass; /* its number, from 1 */
	int looked, dead, reclaimed;
	bool alarm; /* too many looked dead: none was reclaimed */
	int error;  /* -errno: the pass ended before it was over, and the figures are older */
	char why[ERR_MSG_MAX];
};

int reconcile_open(struct daemon *d, struct reconcile **ret_reconcile, struct err *err);
/* Its handles are closed; the struct goes with reconcile_free(), after the loop has run dry. */
void reconcile_close(struct reconcile *reconcile);
void reconcile_free(struct reconcile *reconcile);

/*
 * Before anything is served: asks for a look at what an earlier run of the daemon has left
 * unfinished. The records of earlier boots count as absent already, and go behind what is served.
 */
int reconcile_start(struct reconcile *reconcile, struct err *err);

/* Begins a pass (or another one after the running one) and returns its number. */
uint64_t reconcile_ask(struct reconcile *reconcile, bool force);
/* The last pass that has ended; pass 0: none yet. */
const struct reconcile_report *reconcile_last(const struct reconcile *reconcile);

/*
 * Whether the namespace of @a lives: TURN_ALIVE, or TURN_UNKNOWN and the seat is woken when it is
 * known. @asked is the namespace of whoever asks.
 */
enum turn_life reconcile_look(struct reconcile *reconcile, const struct attachment *a,
			      const struct netns_ref *asked);
/*
 * Has the id of the record's namespace gone since it was reserved? The loss was heard, or a younger
 * record of another namespace has the id. Cheap to ask first: was any heard?
 */
bool reconcile_has_lost(const struct reconcile *reconcile);
bool reconcile_lost(const struct reconcile *reconcile, const struct attachment *a);
/* Whoever waits for the end of a pass waits for this seat. */
#define RECONCILE_SEAT "reconcile"
