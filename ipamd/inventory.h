/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PFs and VFs of this node, as sysfs and the PFs' own netdevs show them (picture.h): what
 * `attachment.reserve` takes a VF's baseline from, and `device.list` shows. Read in the thread
 * pool, never on the path of an ADD or DEL: at start before anything is served, after uevents and
 * link events (inventory_note), after each release of a VF; a burst of events is one reading. A
 * node without VFs looks for PFs at start, and at a PCI function when an event tells of it.
 *
 * After a reading free VFs are prepared for those who come (prepare.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipamd/owners.h"
#include "ipamd/picture.h"
#include "ipamd/proto/proto.h"

enum {
	INVENTORY_QUIET_MS = 200,
	INVENTORY_LATE_MS = 1000,  /* the longest that an event waits for the next ones */
	INVENTORY_DUTY = 10,       /* readings take at most one part in so many of the time… */
	INVENTORY_PAUSE_MS = 5000, /* …as far as a pause of so long does that */
};

struct daemon;
struct inventory;

int inventory_open(struct daemon *d, struct inventory **ret_inventory, struct err *err);
/* The first reading; before anything is served. */
int inventory_start(struct inventory *inventory, struct err *err);
void inventory_close(struct inventory *inventory); /* NULL is fine */
void inventory_free(struct inventory *inventory);

/*
 * Does somebody have what @wanted names, other than @device itself? 1: see owners_find(). 0: nobody
 * does, and inventory_taken() has room. -ENOMEM.
 */
int inventory_find_owner(struct inventory *inventory, const struct baseline *device,
			 const struct owned *wanted, struct owners_clash *ret_clash);
/* What was read last; the pointers into it are valid until the loop turns. */
const struct picture *inventory_picture(const struct inventory *inventory);

/*
 * Something has happened (or may have) to this PF or VF (NULL: anywhere): read again when it is
 * quiet. Returns the number of the reading that will tell: it has ended when inventory_last() is as
 * high.
 */
uint64_t inventory_note(struct inventory *inventory, const struct pci_addr *addr);
uint64_t inventory_last(const struct inventory *inventory);
/* Whoever waits for a reading, or for a VF that is prepared, waits for this seat. */
#define INVENTORY_SEAT "inventory"

/* A record owns, or has given back, its device. Inside a batch: see inventory_recount(). */
void inventory_taken(struct inventory *inventory, const struct attachment *a);
void inventory_released(struct inventory *inventory, const struct attachment *a);
/* A batch was not committed: who owns what is as the ledger has it. */
void inventory_recount(struct inventory *inventory);
/* What the ledger says of rebinding it, or them, has changed. */
void inventory_learn(struct inventory *inventory, struct vf_entry *vf);
void inventory_learn_all(struct inventory *inventory);
/* The pools have changed, and with them the GUIDs. */
void inventory_repool(struct inventory *inventory);
/* To be called every second. */
void inventory_tick(struct inventory *inventory);
