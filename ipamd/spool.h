/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DELs that found no daemon, and the `done` of ADDs that lost it (ipamd/client/spool.c leaves them
 * beside the socket). Read before the first request is answered and whenever one comes: what is
 * older than the DEL is undone with the DEL's own request, and only then its file goes. A file that
 * cannot be read is set aside as NAME.bad.
 *
 * So that a spool of thousands keeps no start waiting, some hundreds are in hand at a time, and the
 * others wait on the disk until those are done: a record whose DEL waits is one that stands.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/proto/proto.h"

struct daemon;
struct spool;

int spool_open(struct daemon *d, struct spool **ret_spool, struct err *err);
void spool_close(struct spool *spool); /* NULL is fine */
/* Reads what is there now. */
void spool_load(struct spool *spool);
/* To be called every second: reads on, or if nobody tells when something comes. */
void spool_tick(struct spool *spool);

/* The request ({"program","env","netconf"}) of a DEL that waits for this record; NULL = none. */
json_t *spool_request(const struct spool *spool, const char *seat_key);
/* The record of this key has gone. */
void spool_undone(struct spool *spool, const char *seat_key);
int spool_count(const struct spool *spool);

/* What a file of it says, borrowed from its JSON. */
struct spool_told {
	struct attachment_key key;
	const char *boot_id;
	int64_t boot_time_ms;
	json_t *request; /* of a DEL; NULL: it is the `done` of an ADD… */
	uint64_t generation;
	struct facts facts; /* …with this */
};
/* Refused: -EINVAL, or what else the readers of JSON return. */
int spool_told_decode(json_t *json, struct spool_told *ret_told, struct err *err);
