/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/method.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "ipamd/daemon.h"
#include "ipamd/inventory.h"
#include "ipamd/method_inside.h"
#include "ipamd/reconcile.h"
#include "ipamd/undo.h"

/* --- seats --- */

struct seat *method_seat(struct daemon *d, const struct attachment_key *key)
{
	char text[SEAT_KEY_MAX];

	return seat_get(&d->seats, seat_key(key, text));
}

int method_wait(struct request *q, const char *seat)
{
	(void)snprintf(q->blocker, sizeof(q->blocker), "%s", seat);
	return METHOD_WAITS;
}

int method_wait_for(struct request *q, const struct attachment *a)
{
	struct attachment_key key = attachment_key(a);

	(void)seat_key(&key, q->blocker);
	return METHOD_WAITS;
}

/* Why a record goes: a plugin that we have started ourselves cannot know. */
static const char *reason_of(const struct seat *seat, const struct request *q, const char *told)
{
	return seat_is_worked_by(seat, q->conn) ? seat->reason : told;
}

int method_take_seat(struct daemon *d, struct request *q, const struct attachment_key *key,
		     struct seat **ret_seat, struct err *err)
{
	struct seat *seat = method_seat(d, key);

	if (!seat)
		return err_nomem(err);
	if (seat_is_held_by_other(seat, q->conn))
		return method_wait(q, seat->key);
	seat_lock(seat, q->conn, q->method->name);
	*ret_seat = seat;
	return 0;
}

int method_answer_record(struct daemon *d, struct request *q, const struct attachment_key *key,
			 const char *before, const char *after, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	int r;

	r = ledger_find_text(d->ledger, key, &text, err);
	if (r < 0)
		return r;
	q->answer = rpc_answer_text(q->rpc.id, before, text, after);
	return q->answer ? 0 : err_nomem(err);
}

/* --- attachment.done, .get, .release --- */

static int read_generation(struct json_reader *r, uint64_t *ret_generation)
{
	int64_t generation = 0;

	if (!json_int(r, "generation", 0, INT64_MAX, &generation))
		json_missing(r, "generation");
	*ret_generation = (uint64_t)generation;
	return r->r;
}

static int serve_done(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	struct attachment_key key;
	struct facts facts = { 0 };
	char text[SEAT_KEY_MAX];
	struct seat *seat;
	uint64_t generation;
	json_t *told = NULL;
	struct json_reader r;

	if (key_decode(q->rpc.params, &key, err) < 0)
		return -err->errnum;
	json_read(&r, q->rpc.params, "", err);
	(void)read_generation(&r, &generation);
	if (!json_obj(&r, "facts", &told))
		json_missing(&r, "facts");
	if (json_finish(&r, READ_LENIENT) < 0 || facts_decode(told, &facts, err) < 0)
		return -err->errnum;
	if (ledger_done(d->ledger, &key, generation, &facts, err) < 0)
		return -err->errnum;
	/* Whoever has the lock: an ADD whose connection broke says it on another one. */
	seat = seat_find(&d->seats, seat_key(&key, text));
	if (seat)
		undo_settled(d, seat);
	*ret_result = json_object();
	return 0;
}

/*
 * An attachment of addresses alone has nothing in the kernel that a DEL would have to undo first:
 * it goes in the same commit. Any other stays.
 */
static int release_addresses(struct daemon *d, struct request *q, const struct attachment_key *key,
			     const char *reason, struct err *err)
{
	const struct release how = { .left = true, .restored = true, .reason = reason };
	struct attachment a = { 0 };
	bool gone;
	int r;

	r = ledger_find(d->ledger, key, &a, err);
	if (r == 0 && !a.device.key[0] && strcmp(a.program, "spur-ipam") == 0) {
		about_attachment(&q->about, &a);
		r = ledger_release(d->ledger, key, a.generation, &how, NULL, &gone, err);
	}
	attachment_free(&a);
	return r;
}

/* Has the id of its namespace gone? Who looks for the device asks. */
static int netns_is_lost(struct daemon *d, const struct request *q,
			 const struct attachment_key *key, const struct seat *seat, bool *ret_lost,
			 struct err *err)
{
	CLEANUP(attachment_free) struct attachment a = { 0 };
	const bool ours = seat_is_worked_by(seat, q->conn); /* has the time to look */
	int r;

	*ret_lost = ours && strcmp(seat->reason, "dead") == 0;
	if (*ret_lost || (!ours && !reconcile_has_lost(d->reconcile)))
		return 0;
	r = ledger_find(d->ledger, key, &a, err);
	if (r == 0)
		*ret_lost = reconcile_lost(d->reconcile, &a);
	return r;
}

static int answer_found(struct daemon *d, struct request *q, const struct attachment_key *key,
			const struct seat *seat, struct err *err)
{
	bool lost;
	int r = netns_is_lost(d, q, key, seat, &lost, err);

	return r < 0 ? r
		     : method_answer_record(
			       d, q, key, "{\"attachment\":", lost ? ",\"lost\":true}" : "}", err);
}

static int serve_get(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *reason = NULL;
	struct attachment_key key;
	struct json_reader read;
	struct seat *seat;
	int r;

	r = key_decode(q->rpc.params, &key, err);
	if (r < 0)
		return r;
	json_read(&read, q->rpc.params, "", err);
	(void)json_str(&read, "release", &reason);
	r = json_finish(&read, READ_LENIENT);
	if (r == 0)
		r = method_take_seat(d, q, &key, &seat, err);
	if (r == 0 && reason)
		r = release_addresses(d, q, &key, reason_of(seat, q, reason), err);
	if (r == 0)
		r = answer_found(d, q, &key, seat, err);
	if (r != -ENOENT)
		return r;
	*ret_result = json_pack("{s:n}", "attachment");
	return *ret_result ? 0 : err_nomem(err);
}

/* The record goes, or stays dirty; a VF that is free again is looked at. */
static int release(struct daemon *d, struct request *q, const struct attachment_key *key,
		   uint64_t generation, const struct release *how, struct err *err)
{
	struct attachment was = { 0 };
	bool gone;
	int r;

	r = ledger_release(d->ledger, key, generation, how, &was, &gone, err);
	if (r < 0 || !was.id)
		return r;
	about_attachment(&q->about, &was);
	if (gone)
		inventory_released(d->inventory, &was);
	attachment_free(&was);
	return 0;
}

/* What a plugin that says nothing of it may have set up counts as set up. */
static int read_release(json_t *params, uint64_t *ret_generation, struct release *ret_how,
			struct err *err)
{
	struct release how = { .reason = "DEL" };
	struct json_reader read;

	json_read(&read, params, "", err);
	(void)read_generation(&read, ret_generation);
	if (!json_bool(&read, "left", &how.left))
		json_missing(&read, "left");
	if (!json_bool(&read, "restored", &how.restored))
		json_missing(&read, "restored");
	(void)json_bool(&read, "neverUp", &how.never_up);
	(void)json_bool(&read, "usedAbove", &how.used_above);
	(void)json_str(&read, "reason", &how.reason);
	*ret_how = how;
	return json_finish(&read, READ_LENIENT);
}

static int serve_release(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	struct attachment_key key;
	uint64_t generation;
	struct release how;
	struct seat *seat;
	int r;

	r = key_decode(q->rpc.params, &key, err);
	if (r == 0)
		r = read_release(q->rpc.params, &generation, &how, err);
	if (r == 0)
		r = method_take_seat(d, q, &key, &seat, err);
	if (r != 0)
		return r;
	how.reason = reason_of(seat, q, how.reason);
	r = release(d, q, &key, generation, &how, err);
	if (r < 0)
		return r;
	seat->held_ifindex = 0;
	seat->owes_done = false;
	*ret_result = json_object();
	return 0;
}

void method_take_back(struct daemon *d, struct request *q)
{
	const struct release how = {
		.left = true, .restored = true, .never_up = true, .reason = q->take_back
	};
	char text[SEAT_KEY_MAX];
	struct attachment_key key;
	struct seat *seat;
	struct err err;

	if (key_decode(q->rpc.params, &key, &err) < 0 ||
	    release(d, q, &key, q->reserved, &how, &err) < 0) {
		log_error("take back a reservation: %s",
			  err.msg); /* its connection's end undoes it */
		return;
	}
	log_info("%s: its reservation is taken back (%s)", seat_key(&key, text), q->take_back);
	metrics_reclaimed(&d->metrics, q->take_back);
	seat = seat_find(&d->seats, text);
	if (seat && seat->holder == q->conn)
		seat->held_ifindex = 0;
}

/* --- attachment.undo --- */

/* Undoes a record as a DEL of its own would, and answers when it has gone or cannot go. */
static int serve_undo(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	struct attachment a = { 0 };
	struct attachment_key key;
	struct seat *seat;
	int r;

	r = key_decode(q->rpc.params, &key, err);
	if (r < 0)
		return r;
	r = ledger_find(d->ledger, &key, &a, err);
	if (r == -ENOENT) {
		*ret_result = json_object();
		return *ret_result ? 0 : err_nomem(err);
	}
	if (r < 0)
		return r;
	attachment_free(&a);
	seat = method_seat(d, &key);
	if (!seat)
		return err_nomem(err);
	if (q->ticket && seat->failures && seat->failed_ns > q->begun_ns)
		return err_set(err, EBUSY, ERR_AGAIN, "undo %s: %s", seat->key, seat->why);
	q->ticket = 1;
	undo_ask(d, seat->key, "forced", false);
	return method_wait(q, seat->key);
}

/* --- the table --- */

/* As many as METHOD_COUNT says, or it does not compile. */
const struct method methods[] = {
	{ "attachment.reserve", method_reserve },
	{ "attachment.done", serve_done },
	{ "attachment.get", serve_get },
	{ "attachment.release", serve_release },
	{ "attachment.undo", serve_undo },
	{ "attachment.list", method_list },
	{ "pool.list", method_pools },
	{ "pool.diff", method_pool_diff },
	{ "device.list", method_devices },
	{ "device.accept", method_device_accept },
	{ "history.get", method_history },
	{ "node.status", method_status },
	{ "node.reconcile", method_reconcile },
	{ "ledger.check", method_check },
	{ "ledger.export", method_export },
	{ "ledger.import", method_import },
};

const struct method *method_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	}
	return NULL;
}

bool method_is_done(const struct method *method)
{
	return method && method->serve == serve_done;
}

/* --- the end of a connection --- */

/* What the holder of this seat has left behind. An ADD that ends without `done` has failed. */
static void see_what_is_left(struct daemon *d, struct seat *seat, bool owed_done)
{
	char parts[SEAT_KEY_MAX];
	struct attachment_key key = seat_key_split(seat->key, parts);
	struct attachment a = { 0 };
	struct err err;
	int r;

	r = ledger_find(d->ledger, &key, &a, &err);
	if (r == -ENOENT)
		undo_needless(d, seat);
	else if (r < 0)
		log_error("%s: %s", seat->key, err.msg);
	seat->abandoned = r == 0 && owed_done && a.state == ATTACHMENT_UNFINISHED;
	if (seat->abandoned) /* if an undo runs, of the record before it, then after that */
		undo_ask(d, seat->key, "unfinished", false);
	attachment_free(&a);
}

static void let_go(struct daemon *d, struct seat *seat)
{
	bool owed_done = seat->owes_done;

	seat_unlock(seat);
	see_what_is_left(d, seat, owed_done);
	batch_wake(d->batch, seat->key);
	seat_put(&d->seats, seat);
}

void method_end(struct daemon *d, struct conn *conn)
{
	while (conn->holds)
		let_go(d, conn->holds);
}
