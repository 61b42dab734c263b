/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/undo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/utf8.h"
#include "ipamd/batch.h"
#include "ipamd/child.h"
#include "ipamd/daemon.h"
#include "ipamd/spool.h"

struct run {
	struct child child;
	struct undo *undo; /* NULL: this place is free */
	char key[SEAT_KEY_MAX];
	uint64_t id; /* of the record */
	bool check;
	char *input;
};

struct undo {
	struct daemon *daemon;
	struct run runs[UNDO_AT_ONCE];
};

int undo_open(struct daemon *d, struct undo **ret_undo, struct err *err)
{
	struct undo *undo = calloc(1, sizeof(*undo));

	if (!undo)
		return err_nomem(err);
	undo->daemon = d;
	*ret_undo = undo;
	return 0;
}

void undo_close(struct undo *undo)
{
	for (size_t i = 0; undo && i < UNDO_AT_ONCE; i++) {
		if (undo->runs[i].undo)
			child_kill(&undo->runs[i].child);
	}
}

void undo_free(struct undo *undo)
{
	free(undo);
}

void undo_ask(struct daemon *d, const char *seat_key, const char *reason, bool check)
{
	struct seat *seat = seat_get(&d->seats, seat_key);

	if (!seat) {
		log_error("out of memory: %s is not undone now", seat_key);
		return;
	}
	if (seat->work == SEAT_RUNNING || (check && seat->work != SEAT_IDLE) ||
	    (seat->work == SEAT_QUEUED && !seat->check))
		return;
	seat->work = SEAT_QUEUED;
	seat->check = check;
	seat->reason = reason;
}

/* --- what the plugin is told --- */

struct order {
	char **env;    /* "NAME=VALUE" */
	char *input;   /* the netconf */
	char *program; /* argv[0] */
};

static void order_free(struct order *order)
{
	for (char **p = order->env; p && *p; p++)
		free(*p);
	free(order->env);
	free(order->input);
	free(order->program);
}

static char **env_make(json_t *env, const char *verb)
{
	char **list = calloc(json_object_size(env) + 4, sizeof(*list));
	const char *name;
	json_t *value;
	size_t n = 0;

	if (!list)
		return NULL;
	if (asprintf(&list[n++], "CNI_COMMAND=%s", verb) < 0 ||
	    !(list[n++] = strdup(PROTO_UNDO_ENV "=1")) ||
	    !(list[n++] =
		      strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")))
		goto fail;
	json_object_foreach (env, name, value) {
		if (strcmp(name, "CNI_COMMAND") == 0 || !json_is_string(value))
			continue;
		if (asprintf(&list[n++], "%s=%s", name, json_string_value(value)) < 0)
			goto fail;
	}
	return list;
fail:
	list[n - 1] = NULL; /* asprintf() leaves it undefined */
	order_free(&(struct order) { .env = list });
	return NULL;
}

/* CHECK came with 0.4.0: a network of an older version is CHECKed as one of that. */
static char *netconf_make(json_t *netconf, bool check)
{
	CLEANUP_JSON json_t *copy = json_copy(netconf);
	const char *version = json_string_value(json_object_get(netconf, "cniVersion"));

	if (copy && check && (!version || strncmp(version, "0.3.", 4) == 0) &&
	    json_object_set_new(copy, "cniVersion", json_string("0.4.0")) < 0)
		return NULL;
	return copy ? json_line(copy) : NULL;
}

/* From the record, or from the spooled DEL that asks for it. */
static int order_make(struct daemon *d, const struct attachment *a, const char *key, bool check,
		      struct order *ret_order, struct err *err)
{
	json_t *spooled = spool_request(d->spool, key);
	json_t *env = spooled ? json_object_get(spooled, "env") : a->env;
	json_t *netconf = spooled ? json_object_get(spooled, "netconf") : a->netconf;
	struct order order = {
		.env = env_make(env, check ? "CHECK" : "DEL"),
		.input = netconf_make(netconf, check),
		.program = strdup(a->program),
	};

	if (!order.env || !order.input || !order.program) {
		order_free(&order);
		return err_nomem(err);
	}
	*ret_order = order;
	return 0;
}

/* --- how it ended --- */

static void log_output(const struct run *run)
{
	const char *text = run->child.err.text;

	while (*text) {
		int len = (int)strcspn(text, "\n");

		if (len > 0)
			log_info("undo %s: %.*s", run->key, len, text);
		text += len + (text[len] == '\n');
	}
}

static void back_off(struct daemon *d, struct seat *seat, const char *why)
{
	int64_t wait_ms = UNDO_BACKOFF_MS;

	for (int i = 0; i < seat->failures && wait_ms < UNDO_BACKOFF_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > UNDO_BACKOFF_MAX_MS)
		wait_ms = UNDO_BACKOFF_MAX_MS;
	seat->failures++;
	seat->failed_ns = uv_hrtime();
	seat->retry_ms = clock_boot_ms() + wait_ms;
	seat->work = SEAT_BACKOFF;
	utf8_print(seat->why, sizeof(seat->why), "%s", why);
	metrics_undo(&d->metrics, NULL);
	log_warn("undo %s (%s): %s; again in %lld s", seat->key, seat->reason, why,
		 (long long)wait_ms / 1000);
}

static int unconfirm(struct daemon *d, void *arg, struct err *err)
{
	const struct attachment *a = arg;
	struct attachment_key key = attachment_key(a);

	return ledger_unconfirm(d->ledger, &key, a->generation, err);
}

/* Whatever the CHECK has found of it, it has said `done` if the device is in the pod. */
static void check_ended(struct daemon *d, struct seat *seat, const struct attachment *a,
			const char *why)
{
	struct err err;

	if (spool_request(d->spool, seat->key)) { /* its DEL has come: good or not, it goes */
		undo_ask(d, seat->key, "spooled", false);
	} else if (a->state == ATTACHMENT_ATTACHED) {
		log_info("%s is finished after a restart%s%s", seat->key,
			 why[0] ? ", but not as its ADD left it: " : "", why);
	} else if (a->state == ATTACHMENT_UNFINISHED) {
		log_warn("%s is unconfirmed: %s", seat->key, why);
		if (batch_change(d->batch, unconfirm, (void *)a, &err) < 0)
			log_warn("%s: %s; it is looked at again", seat->key, err.msg);
	}
}

static void delete_ended(struct daemon *d, struct seat *seat, const struct attachment *a, int code,
			 const char *why)
{
	if (code == 0)
		why = a->state == ATTACHMENT_DIRTY ? "the device is not restored"
						   : "the record still stands";
	back_off(d, seat, why);
}

void undo_settled(struct daemon *d, struct seat *seat)
{
	bool is_asked = seat->work == SEAT_QUEUED || seat->work == SEAT_BACKOFF;

	seat->owes_done = seat->abandoned = false;
	if (is_asked && (seat->check || strcmp(seat->reason, "unfinished") == 0) &&
	    !spool_request(d->spool, seat->key))
		seat_forget(seat);
}

void undo_needless(struct daemon *d, struct seat *seat)
{
	seat_forget(seat);
	spool_undone(d->spool, seat->key);
}

static void on_ended(struct child *child)
{
	struct run *run = child->arg;
	struct daemon *d = run->undo->daemon;
	struct seat *seat = seat_find(&d->seats, run->key);
	struct attachment a = { 0 };
	char why[CHILD_WHY_MAX];
	int code = child_verdict(&run->child, why);
	struct err err;
	bool again;
	int r;

	run->undo = NULL;
	free(TAKE_PTR(run->input));
	log_output(run);
	if (d->stopping || !seat)
		return;
	seat->work = SEAT_IDLE;
	r = ledger_find_id(d->ledger, run->id, &a, &err);
	if (r == -ENOENT) {
		log_info("%s %s (%s)", run->check ? "gone meanwhile:" : "undone:", seat->key,
			 seat->reason);
		if (!run->check)
			metrics_undo(&d->metrics, seat->reason);
		again = seat->abandoned;
		undo_needless(d, seat);
		if (again)
			undo_ask(d, seat->key, "unfinished", false);
	} else if (r < 0)
		back_off(d, seat, err.msg);
	else if (run->check)
		check_ended(d, seat, &a, code ? why : "");
	else
		delete_ended(d, seat, &a, code, why);
	attachment_free(&a);
	batch_wake(d->batch, run->key);
	seat_put(&d->seats, seat);
	undo_go(d->undo);
}

/* --- starting --- */

static int run_start(struct undo *undo, struct run *run, struct seat *seat,
		     const struct attachment *a, struct err *err)
{
	struct daemon *d = undo->daemon;
	struct order order = { 0 };
	int r;

	r = order_make(d, a, seat->key, seat->check, &order, err);
	if (r < 0)
		return r;
	run->undo = undo;
	run->id = a->id;
	run->check = seat->check;
	run->input = TAKE_PTR(order.input);
	memcpy(run->key, seat->key, sizeof(run->key));
	child_start(&run->child, &d->loop,
		    &(struct child_spec) { .file = d->plugin,
					   .argv = (char *[]) { order.program, NULL },
					   .env = order.env,
					   .input = run->input,
					   .timeout_ms = PROTO_ADD_MS,
					   .ended = on_ended,
					   .arg = run });
	seat->child_pid = run->child.process.pid;
	order_free(&order);
	return 0;
}

static void seat_start(struct undo *undo, struct run *run, struct seat *seat)
{
	struct daemon *d = undo->daemon;
	char parts[SEAT_KEY_MAX];
	struct attachment_key key = seat_key_split(seat->key, parts);
	struct attachment a = { 0 };
	struct err err;
	int r;

	r = ledger_find_whole(d->ledger, &key, &a, &err);
	if (r == -ENOENT) { /* somebody else was quicker */
		seat->work = SEAT_IDLE;
		undo_needless(d, seat);
		batch_wake(d->batch, seat->key);
		return;
	}
	if (r < 0) {
		back_off(d, seat, err.msg);
		return;
	}
	log_info("%s %s (%s)", seat->check ? "check" : "undo", seat->key, seat->reason);
	seat->work = SEAT_RUNNING;
	r = run_start(undo, run, seat, &a, &err);
	if (r < 0)
		back_off(d, seat, err.msg);
	attachment_free(&a);
}

static void pick_due(struct seat *seat, void *arg)
{
	struct seat **picked = arg;

	if (seat->work == SEAT_BACKOFF && seat->retry_ms <= clock_boot_ms())
		seat->work = SEAT_QUEUED;
	if (!*picked && seat->work == SEAT_QUEUED)
		*picked = seat;
}

void undo_go(struct undo *undo)
{
	struct daemon *d = undo->daemon;

	for (size_t i = 0; i < UNDO_AT_ONCE && !d->stopping && !d->failed; i++) {
		while (!undo->runs[i].undo) {
			struct seat *seat = NULL;

			seats_each(&d->seats, pick_due, &seat);
			if (!seat)
				return;
			seat_start(undo, &undo->runs[i], seat);
			seat_put(&d->seats, seat);
		}
	}
}

struct undo_tally {
	int queued, backed_off, running;
};

static void tally(struct seat *seat, void *arg)
{
	struct undo_tally *t = arg;

	t->queued += seat->work == SEAT_QUEUED;
	t->backed_off += seat->work == SEAT_BACKOFF;
	t->running += seat->work == SEAT_RUNNING;
}

void undo_count(const struct daemon *d, int *ret_queued, int *ret_running)
{
	struct undo_tally t = { 0 };

	seats_each(&d->seats, tally, &t);
	*ret_queued = t.queued + t.backed_off;
	*ret_running = t.running;
}

int undo_queue(const struct daemon *d)
{
	struct undo_tally t = { 0 };

	seats_each(&d->seats, tally, &t);
	return t.queued;
}
