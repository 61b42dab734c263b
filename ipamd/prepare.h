/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be done to a VF while it is free, so that no ADD has to.
 *
 * Each InfiniBand VF gets its GUID: finds the rail of its PF, has the ledger assign one, and starts
 * `spur bind-guid PCI GUID` where the VF shows another. One VF of each PF at a time, at most
 * PREPARE_AT_ONCE.
 *
 * A VF whose release asked for it (ledger_rebind_of) has its driver bound anew by `spur rebind
 * PCI`, with its GUID if it has one: one VF at a time and nothing beside it, so that no two take
 * each other's names and numbers. The ledger says so until that has succeeded.
 *
 * What fails is tried again, after the others.
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
