/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives each InfiniBand VF its GUID while it is free, so that no ADD has to: finds the rail of its
 * PF, has the ledger assign one, and starts `spur bind-guid PCI GUID` where the VF shows another.
 * One VF of each PF at a time, at most PREPARE_AT_ONCE. What fails is tried again, after the
 * others.
 */
#pragma once

#include "base/err.h"
#include "ipamd/picture.h"

enum {
	PREPARE_AT_ONCE = 4,
	PREPARE_TIMEOUT_MS = 30000,
	PREPARE_RETRY_MS = 60000, /* without an event */
	PREPARE_EVENT_MS =
		10000, /* with one, if none has failed for as long: failures make events */
};

struct daemon;
struct prepare;

/* @picture is the inventory's. */
int prepare_open(struct daemon *d, struct picture *picture, struct prepare **ret_prepare,
		 struct err *err);
void prepare_close(struct prepare *prepare); /* what runs goes on without us */
void prepare_free(struct prepare *prepare);

/* After a reading, or new pools: who needs a GUID? Never inside a batch. */
void prepare_go(struct prepare *prepare);
/* To be called every second. */
void prepare_tick(struct prepare *prepare);
