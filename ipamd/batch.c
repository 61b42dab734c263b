/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "ipamd/daemon.h"
#include "ipamd/inventory.h"
#include "ipamd/mark.h"
#include "ipamd/method.h"
#include "ipamd/porter.h"
#include "ipamd/undo.h"

/* Requests in order of arrival. */
struct line {
	struct request *first, **last;
	size_t count;
};

struct batch {
	struct daemon *daemon;
	struct line inbox, waiting;
	struct line ready; /* waited, and are to be served again: before the inbox */
	size_t looked;     /* how many there were at the last look: has the poll brought more? */
	uv_check_t check;  /* after each poll */
	uv_idle_t idle;    /* makes the next poll return at once */
	uv_timer_t done_timer, deadline_timer;
};

static void line_init(struct line *line)
{
	*line = (struct line) { .last = &line->first };
}

static void line_push(struct line *line, struct request *q)
{
	q->next = NULL;
	*line->last = q;
	line->last = &q->next;
	line->count++;
}

static struct request *line_pop(struct line *line)
{
	struct request *q = line->first;

	if (!q)
		return NULL;
	line->first = q->next;
	if (!line->first)
		line->last = &line->first;
	line->count--;
	return q;
}

static void request_free(struct request *q)
{
	if (!q)
		return;
	rpc_request_free(&q->rpc);
	conn_unref(q->conn);
	free(q->answer);
	free(q->why);
	free(q);
}

static bool is_notification(const struct request *q)
{
	return q->method && !q->rpc.id;
}

/* --- coming in --- */

/* Keeps the loop turning while there is something in hand. */
static void on_idle(uv_idle_t *idle)
{
	(void)idle;
}

static void batch_push(struct batch *batch, struct request *q)
{
	line_push(&batch->inbox, q);
	(void)uv_idle_start(&batch->idle, on_idle);
}

static struct request *request_new(struct conn *conn)
{
	struct request *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->conn = conn_ref(conn);
	q->since_ms = clock_boot_ms();
	q->begun_ns = uv_hrtime();
	return q;
}

static void request_fail(struct request *q, int code, const struct err *err)
{
	free(q->why);
	q->why = strdup(err->msg); /* for the log; without memory it says less */
	q->code = err->code;
	q->answer = rpc_error(q->rpc.id, code, err);
}

/* A deadline that lies further off than any verb takes is cut. */
static int64_t deadline_of(const struct request *q)
{
	json_t *asked = json_object_get(q->rpc.params, "deadline");
	int64_t latest = q->since_ms + PROTO_ADD_MS;

	if (!json_is_integer(asked))
		return q->since_ms + PROTO_WAIT_MS;
	return json_integer_value(asked) < latest ? json_integer_value(asked) : latest;
}

static void request_read(struct request *q, const char *line, size_t len)
{
	struct err err;
	int code;

	q->line_len = len;
	if (rpc_parse(line, len, &q->rpc, &code, &err) < 0) {
		q->is_garbage = true;
		request_fail(q, code, &err);
		return;
	}
	q->deadline_ms = deadline_of(q);
	q->method = method_find(q->rpc.method);
	if (!q->method) {
		(void)err_set(&err, ENOSYS, ERR_VALUE, "method \"%s\": is not known",
			      q->rpc.method);
		request_fail(q, RPC_METHOD, &err);
	}
}

bool batch_line(void *arg, struct conn *conn, char *line, size_t len)
{
	struct batch *batch = arg;
	struct request *q = request_new(conn);

	if (!q) {
		log_error("out of memory: a request is not served");
		conn_dismiss(conn, NULL);
		return true;
	}
	request_read(q, line, len);
	batch_push(batch, q);
	return !is_notification(q);
}

/* What the end of its connection does not make void. */
static bool outlives(const struct request *q)
{
	return method_is_done(q->method) || q->take_back;
}

/* Takes what @conn still waits for out of @line. */
static void line_drop(struct line *line, const struct conn *conn)
{
	struct request *q = line->first;

	line_init(line);
	while (q) {
		struct request *next = q->next;

		if (q->conn == conn && !outlives(q))
			request_free(q);
		else
			line_push(line, q);
		q = next;
	}
}

void batch_end(void *arg, struct conn *conn)
{
	struct batch *batch = arg;
	struct request *q;

	line_drop(&batch->inbox, conn);
	line_drop(&batch->waiting, conn);
	line_drop(&batch->ready, conn);
	porter_end(batch->daemon->porter, conn);
	if (!conn->holds)
		return;
	q = request_new(conn);
	if (!q) {
		log_error("out of memory: the locks of process %d are kept", (int)conn->pid);
		return;
	}
	q->is_end = true;
	batch_push(batch, q);
}

void batch_wake(struct batch *batch, const char *seat_key)
{
	struct request *q = batch->waiting.first;

	line_init(&batch->waiting);
	while (q) {
		struct request *next = q->next;

		line_push(strcmp(q->blocker, seat_key) == 0 ? &batch->ready : &batch->waiting, q);
		q = next;
	}
	if (batch->ready.first)
		(void)uv_idle_start(&batch->idle, on_idle);
}

/* --- serving --- */

static bool is_about_params(const struct err *err)
{
	return err->code == ERR_KEY || err->code == ERR_ENV || err->code == ERR_JSON ||
	       err->code == ERR_VALUE;
}

static void request_serve(struct daemon *d, struct request *q)
{
	json_t *result = NULL;
	struct err err;
	int r;

	free(TAKE_PTR(q->answer));
	free(TAKE_PTR(q->why));
	q->about = (struct about) { 0 };
	q->code = 0;
	q->reserved = 0;
	q->blocker[0] = '\0';
	q->again_ms = 0;
	r = q->method->serve(d, q, &result, &err);
	if (r == METHOD_WAITS)
		return;
	if (r < 0 && is_notification(q))
		log_warn("%s from process %d: %s", q->method->name, (int)q->conn->pid, err.msg);
	if (r < 0)
		request_fail(q, is_about_params(&err) ? RPC_PARAMS : RPC_FAILED, &err);
	else if (!is_notification(q) && !q->answer)
		q->answer = rpc_answer(q->rpc.id, TAKE_PTR(result));
	json_decref(result);
}

/* Why a request that waits for this seat has not had its turn. */
static const char *busy_with(const struct daemon *d, const struct request *q)
{
	const struct seat *seat = seat_find(&d->seats, q->blocker);

	if (d->stopping)
		return "the daemon stops";
	if (seat && seat->holder)
		return seat->holder_name;
	if (seat && seat->work != SEAT_IDLE)
		return seat->check ? "the daemon looks at it" : "it is being undone";
	if (strcmp(q->blocker, INVENTORY_SEAT) == 0)
		return "its VF is being read, or its GUID or driver bound";
	return "the deadline has passed";
}

static void refuse_late(struct daemon *d, struct request *q)
{
	struct err err;

	(void)err_set(&err, ETIMEDOUT, ERR_AGAIN, "%s: %s is busy: %s", q->method->name,
		      q->blocker[0] ? q->blocker : "the daemon", busy_with(d, q));
	err_details(&err, "another operation has its turn; try again");
	request_fail(q, RPC_FAILED, &err);
}

/* Serves one; returns false if it has to wait. */
static bool serve_one(struct batch *batch, struct request *q)
{
	struct daemon *d = batch->daemon;

	q->turn_ns = uv_hrtime();
	q->served_ns = 0; /* an earlier turn was one to wait, or was aborted */
	if (q->is_end) {
		method_end(d, q->conn);
	} else if (q->take_back) {
		method_take_back(d, q);
	} else if (q->method && q->deadline_ms < clock_boot_ms() && !method_is_done(q->method)) {
		refuse_late(d, q);
	} else if (q->method) {
		request_serve(d, q);
		if (q->blocker[0])
			return false;
		q->served_ns = uv_hrtime();
	}
	return true;
}

/* Returns -errno if nobody will read the answer. */
static int answer(struct request *q)
{
	char *line = TAKE_PTR(q->answer);

	if (q->is_garbage) {
		conn_dismiss(q->conn, line);
		return 0;
	}
	if (!is_notification(q))
		return conn_answer(q->conn, line);
	free(line);
	conn_unanswered(q->conn);
	return 0;
}

/* A new reservation that nobody will ever use goes in the next batch, before all that waits. */
static void take_back(struct batch *batch, struct request *q, const char *why)
{
	q->take_back = why;
	line_push(&batch->ready, q);
	(void)uv_idle_start(&batch->idle, on_idle);
}

/* The disk may have stalled: what was in time when it was served may be late by now. */
static void deliver(struct batch *batch, struct request *q)
{
	const uint64_t now_ns = uv_hrtime();
	const char *lost = NULL;

	if (q->is_end || q->take_back) {
		request_free(q);
		return;
	}
	if (q->reserved && q->deadline_ms < clock_boot_ms()) {
		free(TAKE_PTR(q->answer));
		refuse_late(batch->daemon, q);
		lost = "late";
	}
	if (q->method)
		metrics_request(&batch->daemon->metrics, q, now_ns);
	about_log(q, now_ns);
	if (answer(q) < 0 && q->reserved && !lost)
		lost = "undelivered";
	if (lost)
		take_back(batch, q, lost);
	else
		request_free(q);
}

static int commit(struct batch *batch, size_t size, struct err *err)
{
	struct daemon *d = batch->daemon;
	uint64_t begun = uv_hrtime();
	int r;

	if (ledger_has_attachments(d->ledger))
		mark_tell(d->mark, true); /* before anybody is told of them */
	r = ledger_commit(d->ledger, err);
	if (r == 0)
		metrics_commit(&d->metrics, size, uv_hrtime() - begun);
	return r;
}

/* Nobody else says `done` again. Past an ADD's time a look of reconcile.c finds out. */
static bool is_to_be_repeated(const struct daemon *d, const struct request *q)
{
	return method_is_done(q->method) && is_notification(q) && !d->stopping &&
	       q->since_ms + PROTO_ADD_MS > clock_boot_ms();
}

/* A batch that could not be committed, one by one: one bad request harms no other. */
static void serve_alone(struct batch *batch, struct request *q)
{
	struct daemon *d = batch->daemon;
	struct err err;
	int r;

	if (q->is_end || !q->method) {
		deliver(batch, q);
		return;
	}
	r = ledger_begin(d->ledger, &err);
	if (r == 0 && !serve_one(batch, q)) {
		line_push(&batch->waiting, q);
		ledger_abort(d->ledger);
		return;
	}
	if (r == 0)
		r = commit(batch, 1, &err);
	if (r < 0) {
		if (ledger_is_broken(&err)) {
			daemon_fail(d, r, &err);
			request_free(q);
			return;
		}
		free(TAKE_PTR(q->answer));
		q->reserved = 0;
		request_fail(q, RPC_FAILED, &err);
		inventory_recount(d->inventory);
		if (is_to_be_repeated(d, q)) {
			log_warn("%s from process %d: %s; it is tried again", q->method->name,
				 (int)q->conn->pid, err.msg);
			batch_push(batch, q);
			return;
		}
	}
	deliver(batch, q);
}

static void batch_run(struct batch *batch)
{
	struct daemon *d = batch->daemon;
	struct line served;
	struct request *q;
	struct err err;
	int r;

	line_init(&served);
	server_reap(d->server); /* who has hung up is served no more */
	r = ledger_begin(d->ledger, &err);
	if (r < 0) {
		daemon_fail(d, r, &err);
		return;
	}
	porter_yield(d->porter);
	while ((q = line_pop(&batch->ready)) || (q = line_pop(&batch->inbox)))
		line_push(serve_one(batch, q) ? &served : &batch->waiting, q);
	r = commit(batch, served.count, &err);
	if (r < 0 && ledger_is_broken(&err))
		daemon_fail(d, r, &err);
	else if (r < 0) {
		log_error("%s; its requests are served one by one", err.msg);
		inventory_recount(d->inventory);
	}
	while (!d->failed && (q = line_pop(&served)))
		r < 0 ? serve_alone(batch, q) : deliver(batch, q);
	while ((q = line_pop(&served)))
		request_free(q);
	batch->looked = 0;
	undo_go(d->undo);
}

/* --- when --- */

static void on_deadline(uv_timer_t *timer);

/* When a request that waits is served again at the latest. */
static int64_t latest_turn_ms(const struct request *q)
{
	return q->again_ms && q->again_ms < q->deadline_ms ? q->again_ms : q->deadline_ms;
}

static void arm_deadline(struct batch *batch)
{
	int64_t first = INT64_MAX;

	for (const struct request *q = batch->waiting.first; q; q = q->next)
		first = latest_turn_ms(q) < first ? latest_turn_ms(q) : first;
	if (first == INT64_MAX)
		(void)uv_timer_stop(&batch->deadline_timer);
	else
		(void)uv_timer_start(&batch->deadline_timer, on_deadline,
				     (uint64_t)clock_left_ms(first) + 1, 0);
}

/* Only `done`, and the ends of connections that sent one: they can ride with the next commit. */
static bool can_ride(const struct batch *batch)
{
	if (batch->ready.first || batch->waiting.first || batch->inbox.count >= BATCH_MAX)
		return false;
	for (const struct request *q = batch->inbox.first; q; q = q->next) {
		bool rides = method_is_done(q->method) && is_notification(q);

		for (const struct request *p = batch->inbox.first; q->is_end && p != q; p = p->next)
			rides = rides || (p->conn == q->conn && method_is_done(p->method));
		if (!rides)
			return false;
	}
	return true;
}

static void on_done_timer(uv_timer_t *timer)
{
	struct batch *batch = timer->data;

	batch_run(batch);
	arm_deadline(batch);
}

static void on_deadline(uv_timer_t *timer)
{
	struct batch *batch = timer->data;
	int64_t now_ms = clock_boot_ms();
	struct request *q = batch->waiting.first;

	line_init(&batch->waiting);
	while (q) {
		struct request *next = q->next;

		line_push(latest_turn_ms(q) < now_ms ? &batch->ready : &batch->waiting, q);
		q = next;
	}
	batch_run(batch);
	arm_deadline(batch);
}

static void on_check(uv_check_t *check)
{
	struct batch *batch = check->data;
	size_t count = batch->inbox.count + batch->ready.count;

	if (count == 0 || batch->daemon->failed) {
		(void)uv_idle_stop(&batch->idle);
		return;
	}
	if (count > batch->looked && count < BATCH_MAX) {
		batch->looked = count; /* the next poll returns at once: is there more? */
		(void)uv_idle_start(&batch->idle, on_idle);
		return;
	}
	(void)uv_idle_stop(&batch->idle);
	if (can_ride(batch)) {
		if (!uv_is_active((uv_handle_t *)&batch->done_timer))
			(void)uv_timer_start(&batch->done_timer, on_done_timer, BATCH_DONE_MS, 0);
		return;
	}
	(void)uv_timer_stop(&batch->done_timer);
	batch_run(batch);
	arm_deadline(batch);
}

int batch_open(struct daemon *d, struct batch **ret_batch, struct err *err)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return err_nomem(err);
	batch->daemon = d;
	line_init(&batch->inbox);
	line_init(&batch->waiting);
	line_init(&batch->ready);
	(void)uv_check_init(&d->loop, &batch->check);
	(void)uv_idle_init(&d->loop, &batch->idle);
	(void)uv_timer_init(&d->loop, &batch->done_timer);
	(void)uv_timer_init(&d->loop, &batch->deadline_timer);
	batch->check.data = batch->done_timer.data = batch->deadline_timer.data = batch;
	(void)uv_check_start(&batch->check, on_check);
	*ret_batch = batch;
	return 0;
}

void batch_finish(struct batch *batch)
{
	struct request *q;

	while (!batch->daemon->failed && (batch->inbox.first || batch->ready.first))
		batch_run(batch);
	while ((q = line_pop(&batch->waiting))) {
		refuse_late(batch->daemon, q);
		deliver(batch, q);
	}
}

void batch_close(struct batch *batch)
{
	struct request *q;

	if (!batch)
		return;
	while ((q = line_pop(&batch->inbox)) || (q = line_pop(&batch->waiting)) ||
	       (q = line_pop(&batch->ready)))
		request_free(q);
	uv_close((uv_handle_t *)&batch->check, NULL);
	uv_close((uv_handle_t *)&batch->idle, NULL);
	uv_close((uv_handle_t *)&batch->done_timer, NULL);
	uv_close((uv_handle_t *)&batch->deadline_timer, NULL);
}

int batch_change(struct batch *batch, int (*change)(struct daemon *d, void *arg, struct err *err),
		 void *arg, struct err *err)
{
	struct daemon *d = batch->daemon;
	int r;

	r = ledger_begin(d->ledger, err);
	if (r < 0)
		return r;
	r = change(d, arg, err);
	if (r < 0) {
		ledger_abort(d->ledger);
		inventory_recount(d->inventory);
		return r;
	}
	r = commit(batch, 1, err);
	if (r < 0 && ledger_is_broken(err))
		daemon_fail(d, r, err);
	else if (r < 0)
		inventory_recount(d->inventory);
	return r;
}
