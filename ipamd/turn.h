/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose turn it is: may a reservation be served, given what already stands in its way? Pure, so
 * that every case of docs/architecture.md ("One hand at a time", "Who is dead") is a row of a
 * table in its test.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "ipamd/proto/proto.h"

enum turn_life {
	TURN_UNKNOWN, /* nobody has looked yet */
	TURN_ALIVE,
	TURN_DEAD,
};

/* One record in the way, and what is going on around it. */
struct turn_record {
	const struct attachment *a; /* NULL: none */
	const char *holder;         /* another connection that holds its lock; NULL = nobody */
	bool mine;                  /* the asking connection itself holds its lock */
	bool unseen;  /* left unfinished by an earlier run of the daemon, and to be looked at first
		       */
	bool undoing; /* it was decided that it has to go */
	enum turn_life life;
	const char *failed; /* why an undo failed that was tried for this request; NULL: none was */
};

/*
 * by_device: of the device that the request names. One that is yet to be chosen (choose_device) has
 * no record by definition. by_identity: ledger_find_namesake(), as long as the request waits for
 * it.
 */
struct turn_view {
	const struct reserve_request *request;
	/* Two may be the same record. */
	struct turn_record by_key, by_device, by_pod, by_identity;
	const char *key_holder; /* another connection holds the lock of the key itself, or NULL */
};

/* In order of weight: a refusal beats a wait, a wait an undo. */
enum turn_verdict {
	TURN_RESERVE, /* nothing is in the way */
	TURN_SERVE,   /* answer with the record that stands: view.by_key.a */
	TURN_LOOK,    /* find out whether the namespace of *@ret_other lives, then ask again */
	TURN_UNDO,    /* undo *@ret_other, then ask again */
	TURN_WAIT,    /* until *@ret_other (NULL: the key's lock) is let go, then ask again */
	TURN_REFUSE,  /* @err says why: code 11 with the owner's name */
};

/* @err is set with TURN_REFUSE only. */
enum turn_verdict turn_decide(const struct turn_view *view, const struct attachment **ret_other,
			      struct err *err);

/* "network/containerID/ifname of pod namespace/name", for sentences. */
enum { TURN_NAME_MAX = 256 };
const char *turn_name(const struct attachment *a, char buf[TURN_NAME_MAX]);
