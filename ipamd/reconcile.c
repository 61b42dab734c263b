/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/reconcile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hook.h"
#include "base/log.h"
#include "host/netns.h"
#include "ipamd/batch.h"
#include "ipamd/daemon.h"
#include "ipamd/undo.h"
#include "rt/nsid.h"

/* A record, as far as its namespace's id is judged by it. */
struct sighting {
	uint64_t id, cookie;
	int64_t reserved_ms; /* BOOTTIME */
	bool stands;         /* attached or unconfirmed */
};

/* A suspect, while the thread pool follows its path. */
struct glance {
	uint64_t id, cookie;
	char *path;
	bool dead;
};

/* An id that went, and when it did so last: it may be another namespace's by now. */
struct lost_nsid {
	int32_t nsid;
	int64_t at_ms;
	bool is_named; /* a record that is older than the loss has the id still */
};

struct ids {
	uint64_t *ids;
	size_t count, next; /* next: the first that has not been seen to */
};

struct reconcile {
	struct daemon *daemon;
	int watch_fd;
	uv_poll_t watch;
	uv_timer_t every, soon, slice, reclaim, reboot;
	uv_work_t work;
	bool at_work; /* the thread pool has the glances */

	struct lost_nsid *lost;
	size_t lost_count;

	/* The running pass. */
	bool running, force, again, again_force;
	int64_t begun_ms;
	uint64_t number;
	int32_t *nsids;
	size_t nsid_count;
	struct ledger_brief at; /* the last record that it has seen */
	int32_t group_nsid;     /* the id that… */
	struct sighting *group; /* …these records name */
	size_t group_count;
	struct ids suspects, dead, unsettled;
	struct glance glances[RECONCILE_GLANCES];
	size_t glance_count;
	int total;

	struct reconcile_report last;
	struct ids doomed; /* what passes that are over have found dead */
};

/* A growing array: room for one more element, or NULL. */
static void *array_more(void *array, size_t count, size_t element)
{
	if (count & (count - 1)) /* full only at the powers of two, and at first */
		return array;
	return reallocarray(array, count ? count * 2 : 1, element);
}

static void ids_push(struct ids *ids, uint64_t id)
{
	uint64_t *more = array_more(ids->ids, ids->count, sizeof(*more));

	if (!more) {
		log_warn("out of memory: attachment %llu waits for the next look",
			 (unsigned long long)id);
		return;
	}
	ids->ids = more;
	ids->ids[ids->count++] = id;
}

static void ids_free(struct ids *ids)
{
	free(ids->ids);
	*ids = (struct ids) { 0 };
}

static bool slice_is_over(uint64_t begun_ns)
{
	return uv_hrtime() - begun_ns > RECONCILE_SLICE_US * 1000ULL;
}

/* From now on, not from when the loop last looked at the clock: a timer that is due by that look
 * comes before any request. */
static void slice_later(uv_timer_t *timer, uv_timer_cb callback, uint64_t pause_ms)
{
	uv_update_time(timer->loop);
	(void)uv_timer_start(timer, callback, pause_ms, 0);
}

/* --- does a namespace live? --- */

/* Opens the path: may block, so never on the loop's thread. */
static bool path_leads_to(const char *path, uint64_t cookie)
{
	struct err err;
	uint64_t found;
	int r;

	if (!path[0])
		return false;
	r = netns_path_cookie(path, &found, &err);
	if (r == 0)
		return !cookie || found == cookie;
	/* Not there, or not a namespace any more. What else goes wrong is our own trouble. */
	return r != -ENOENT && r != -EINVAL && r != -ENOTDIR;
}

static bool nsid_was_lost(const struct reconcile *rc, int32_t nsid, int64_t reserved_ms)
{
	for (size_t i = 0; i < rc->lost_count; i++) {
		if (rc->lost[i].nsid == nsid && rc->lost[i].at_ms >= reserved_ms)
			return true;
	}
	return false;
}

bool reconcile_has_lost(const struct reconcile *rc)
{
	return rc->lost_count > 0;
}

/* A younger record of another namespace has the id: it went while nobody watched. */
static bool nsid_has_passed_on(const struct reconcile *rc, const struct attachment *a)
{
	struct ledger_brief brief = { .nsid = a->netns.nsid, .id = a->id };
	struct err ignored; /* then nobody says so */

	while (a->netns.nsid >= 0 && ledger_next_brief(rc->daemon->ledger, &brief, &ignored) == 0 &&
	       brief.nsid == a->netns.nsid) {
		if (brief.this_boot && brief.cookie != a->netns.cookie)
			return true;
	}
	return false;
}

bool reconcile_lost(const struct reconcile *rc, const struct attachment *a)
{
	return nsid_was_lost(rc, a->netns.nsid, a->boot_time_ms) || nsid_has_passed_on(rc, a);
}

struct look {
	uv_work_t work;
	struct daemon *daemon;
	char key[SEAT_KEY_MAX];
	uint64_t id; /* of the record */
	char *path;
	uint64_t cookie;
	bool alive;
};

static void look_work(uv_work_t *work)
{
	struct look *look = work->data;

	look->alive = path_leads_to(look->path, look->cookie);
}

static void look_free(struct look *look)
{
	free(look->path);
	free(look);
}

/* A DEL and an ADD may have come meanwhile: what was seen is not of the record that stands now. */
static bool look_counts(const struct look *look)
{
	struct attachment a = { 0 };
	struct err err;
	int r = ledger_find_id(look->daemon->ledger, look->id, &a, &err);

	attachment_free(&a);
	return r == 0;
}

static void look_done(uv_work_t *work, int status)
{
	struct look *look = work->data;
	struct daemon *d = look->daemon;
	struct seat *seat = seat_find(&d->seats, look->key);

	(void)status; /* never cancelled */
	if (seat && !d->stopping) {
		seat->looking = false;
		if (look_counts(look)) {
			seat->life = look->alive ? TURN_ALIVE : TURN_DEAD;
			seat->looked_ns = uv_hrtime();
		}
		batch_wake(d->batch, look->key);
		seat_put(&d->seats, seat);
	}
	look_free(look);
}

static void look_start(struct reconcile *rc, struct seat *seat, const struct attachment *a)
{
	struct look *look = calloc(1, sizeof(*look));

	if (!look)
		return; /* whoever waits gets its deadline */
	look->work.data = look;
	look->daemon = rc->daemon;
	look->id = a->id;
	look->cookie = a->netns.cookie;
	look->path = strdup(a->netns.path);
	memcpy(look->key, seat->key, sizeof(look->key));
	if (!look->path ||
	    uv_queue_work(&rc->daemon->loop, &look->work, look_work, look_done) < 0) {
		look_free(look);
		return;
	}
	seat->looking = true;
}

static bool nsid_stands(struct reconcile *rc, const struct attachment *a,
			const struct netns_ref *asked)
{
	bool exists = true;
	struct err err;

	if (a->netns.nsid < 0)
		return true; /* it never had one that could go */
	if (asked->nsid == a->netns.nsid && asked->cookie != a->netns.cookie)
		return false; /* it is the asking namespace's now */
	if (nsid_was_lost(rc, a->netns.nsid, a->boot_time_ms))
		return false;
	if (nsid_exists(rc->daemon->rt, a->netns.nsid, &exists, &err) < 0)
		log_warn("look at %s: %s", a->netns.path, err.msg);
	return exists;
}

enum turn_life reconcile_look(struct reconcile *rc, const struct attachment *a,
			      const struct netns_ref *asked)
{
	struct attachment_key key = attachment_key(a);
	char text[SEAT_KEY_MAX];
	struct seat *seat;

	if (nsid_stands(rc, a, asked))
		return TURN_ALIVE;
	seat = seat_get(&rc->daemon->seats, seat_key(&key, text));
	if (seat && !seat->looking)
		look_start(rc, seat, a);
	return TURN_UNKNOWN;
}

/* --- a pass --- */

static void collect_nsid(int32_t nsid, void *arg)
{
	struct reconcile *rc = arg;
	int32_t *more = array_more(rc->nsids, rc->nsid_count, sizeof(*more));

	if (!more)
		return;
	rc->nsids = more;
	rc->nsids[rc->nsid_count++] = nsid;
}

static int compare_nsids(const void *a, const void *b)
{
	int32_t one = *(const int32_t *)a, other = *(const int32_t *)b;

	return (one > other) - (one < other);
}

static void pass_reset(struct reconcile *rc)
{
	free(TAKE_PTR(rc->nsids));
	free(TAKE_PTR(rc->group));
	ids_free(&rc->suspects);
	ids_free(&rc->dead);
	ids_free(&rc->unsettled);
	rc->at = (struct ledger_brief) { 0 };
	rc->nsid_count = rc->group_count = 0;
	rc->total = 0;
}

/* The record may be dirty, or be undone in vain, and its next DEL asks too. */
static void name_lost(struct reconcile *rc, int32_t nsid, int64_t reserved_ms)
{
	for (size_t i = 0; i < rc->lost_count; i++) {
		if (rc->lost[i].nsid == nsid && rc->lost[i].at_ms >= reserved_ms)
			rc->lost[i].is_named = true;
	}
}

/* Forgets the losses that no record is left to be judged by. */
static void forget_lost(struct reconcile *rc)
{
	int64_t young_ms = hook_number("SPUR_YOUNG_MS", RECONCILE_YOUNG_MS);
	size_t kept = 0;

	for (size_t i = 0; i < rc->lost_count; i++) {
		struct lost_nsid lost = rc->lost[i];

		if (!lost.is_named && lost.at_ms + young_ms <= rc->begun_ms)
			continue;
		lost.is_named = false;
		rc->lost[kept++] = lost;
	}
	rc->lost_count = kept;
	if (kept == 0)
		free(TAKE_PTR(rc->lost));
}

static void pass_end(struct reconcile *rc, const struct reconcile_report *report)
{
	rc->last = *report;
	rc->last.pass = rc->number;
	metrics_pass(&rc->daemon->metrics, report->error, report->alarm);
	rc->running = rc->force = false;
	pass_reset(rc);
	batch_wake(rc->daemon->batch, RECONCILE_SEAT);
	undo_go(rc->daemon->undo);
	if (rc->again) {
		bool force = rc->again_force;

		rc->again = rc->again_force = false;
		(void)reconcile_ask(rc, force);
	}
}

static void pass_fail(struct reconcile *rc, int r, const struct err *err)
{
	struct reconcile_report report = rc->last;

	log_error("reconcile: %s", err->msg);
	report.error = r;
	(void)snprintf(report.why, sizeof(report.why), "%s", err->msg);
	pass_end(rc, &report);
}

/* The record, if it is still there and nobody is at it; the caller frees it. */
static bool find_if_idle(struct daemon *d, uint64_t id, struct attachment *ret_a,
			 char text[SEAT_KEY_MAX])
{
	struct attachment_key key;
	struct err err;

	if (ledger_find_id(d->ledger, id, ret_a, &err) < 0)
		return false; /* it went by itself; or the next pass tells why */
	key = attachment_key(ret_a);
	if (seat_is_idle(seat_find(&d->seats, seat_key(&key, text))))
		return true;
	attachment_free(ret_a);
	return false;
}

static void reclaim(struct daemon *d, uint64_t id)
{
	char text[SEAT_KEY_MAX];
	struct attachment a;

	if (!find_if_idle(d, id, &a, text))
		return;
	log_info("%s: its namespace %s has gone", text, a.netns.path);
	undo_ask(d, text, "dead", false);
	attachment_free(&a);
}

/* Hands the dead to undo.c, a few at a time: each takes a seat there, and a run of the plugin. */
static void on_reclaim(uv_timer_t *timer)
{
	struct reconcile *rc = timer->data;
	struct ids *doomed = &rc->doomed;
	int room = RECONCILE_QUEUED - undo_queue(rc->daemon);

	for (; doomed->next < doomed->count && room > 0; room--)
		reclaim(rc->daemon, doomed->ids[doomed->next++]);
	undo_go(rc->daemon->undo);
	if (doomed->next < doomed->count)
		(void)uv_timer_start(timer, on_reclaim, RECONCILE_QUEUED_MS, 0);
	else
		ids_free(doomed);
}

/* Dirty; or its ADD may be a good one: `done` could not be written, or the daemon was away. */
static void see_unsettled(struct daemon *d, uint64_t id)
{
	char text[SEAT_KEY_MAX];
	struct attachment a;

	if (!find_if_idle(d, id, &a, text))
		return;
	if (a.state != ATTACHMENT_ATTACHED)
		undo_ask(d, text, attachment_state_name(a.state), a.state != ATTACHMENT_DIRTY);
	attachment_free(&a);
}

static void judge(struct reconcile *rc)
{
	struct reconcile_report report = { .looked = rc->total, .dead = (int)rc->dead.count };

	report.alarm = !rc->force && report.dead >= RECONCILE_MASS && report.dead * 2 > rc->total;
	if (report.alarm && !rc->last.alarm)
		log_error("%d of %d attachments look dead at once: none is reclaimed; if they are, "
			  "say `spurctl reconcile --force`",
			  report.dead, rc->total);
	if (!report.alarm) { /* what an earlier pass has left to do is among them */
		ids_free(&rc->doomed);
		rc->doomed = rc->dead;
		rc->dead = (struct ids) { 0 };
		report.reclaimed = report.dead;
		on_reclaim(&rc->reclaim);
	}
	for (size_t i = 0; i < rc->unsettled.count; i++) /* but for those that are dead */
		see_unsettled(rc->daemon, rc->unsettled.ids[i]);
	forget_lost(rc);
	pass_end(rc, &report);
}

static void glances_work(uv_work_t *work)
{
	struct reconcile *rc = work->data;

	for (size_t i = 0; i < rc->glance_count; i++) {
		struct glance *glance = &rc->glances[i];

		glance->dead = !path_leads_to(glance->path, glance->cookie);
	}
}

static void pass_look(struct reconcile *rc);

static void glances_done(uv_work_t *work, int status)
{
	struct reconcile *rc = work->data;

	(void)status;
	rc->at_work = false;
	for (size_t i = 0; i < rc->glance_count; i++) {
		if (rc->glances[i].dead)
			ids_push(&rc->dead, rc->glances[i].id);
		free(rc->glances[i].path);
	}
	rc->glance_count = 0;
	if (!rc->daemon->stopping)
		pass_look(rc);
}

/* The record of a suspect is read, for its path; it may have gone meanwhile. */
static void glance_at(struct reconcile *rc, uint64_t id)
{
	struct attachment a = { 0 };
	struct err err;
	char *path;

	if (ledger_find_id(rc->daemon->ledger, id, &a, &err) < 0)
		return;
	path = strdup(a.netns.path);
	if (path)
		rc->glances[rc->glance_count++] =
			(struct glance) { .id = id, .cookie = a.netns.cookie, .path = path };
	attachment_free(&a);
}

/* Where do the paths of the next suspects lead? Nobody is dead who was not looked at. */
static void pass_look(struct reconcile *rc)
{
	struct ids *suspects = &rc->suspects;

	while (suspects->next < suspects->count && rc->glance_count < RECONCILE_GLANCES)
		glance_at(rc, suspects->ids[suspects->next++]);
	rc->work.data = rc;
	rc->at_work = rc->glance_count &&
		      uv_queue_work(&rc->daemon->loop, &rc->work, glances_work, glances_done) == 0;
	if (!rc->at_work)
		judge(rc);
}

/*
 * All records that name one id have been seen, the youngest last, and that is whose the id is. Who
 * is older and of another namespace is suspect; all are if nobody has the id.
 */
static void group_judge(struct reconcile *rc)
{
	int64_t young_ms = hook_number("SPUR_YOUNG_MS", RECONCILE_YOUNG_MS);
	bool stands = rc->nsid_count && bsearch(&rc->group_nsid, rc->nsids, rc->nsid_count,
						sizeof(*rc->nsids), compare_nsids);

	for (size_t i = 0; i < rc->group_count; i++) {
		const struct sighting *s = &rc->group[i];

		name_lost(rc, rc->group_nsid, s->reserved_ms);
		if (!s->stands || rc->begun_ms - s->reserved_ms < young_ms)
			continue;
		if (!stands || s->cookie != rc->group[rc->group_count - 1].cookie ||
		    nsid_was_lost(rc, rc->group_nsid, s->reserved_ms))
			ids_push(&rc->suspects, s->id);
	}
	rc->group_count = 0;
}

static void group_add(struct reconcile *rc, const struct ledger_brief *brief)
{
	struct sighting *more;

	if (rc->group_count && rc->group_nsid != brief->nsid)
		group_judge(rc);
	rc->group_nsid = brief->nsid;
	more = array_more(rc->group, rc->group_count, sizeof(*more));
	if (!more)
		return; /* the next pass may have the memory */
	rc->group = more;
	rc->group[rc->group_count++] = (struct sighting) {
		.id = brief->id,
		.cookie = brief->cookie,
		.reserved_ms = brief->boot_time_ms,
		.stands = brief->state == ATTACHMENT_ATTACHED ||
			  brief->state == ATTACHMENT_UNCONFIRMED,
	};
}

static void see(struct reconcile *rc, const struct ledger_brief *brief)
{
	if (!brief->this_boot)
		return;
	rc->total++;
	if (brief->state != ATTACHMENT_ATTACHED)
		ids_push(&rc->unsettled, brief->id);
	if (brief->nsid >= 0)
		group_add(rc, brief);
}

/* One slice of the walk over all records. */
static void on_slice(uv_timer_t *timer)
{
	struct reconcile *rc = timer->data;
	uint64_t begun_ns = uv_hrtime();
	struct err err;
	int r;

	do {
		r = ledger_next_brief(rc->daemon->ledger, &rc->at, &err);
		if (r == 0)
			see(rc, &rc->at);
	} while (r == 0 && !slice_is_over(begun_ns));
	if (r == 0) {
		slice_later(timer, on_slice, RECONCILE_PAUSE_MS);
	} else if (r == -ENOENT) {
		group_judge(rc);
		pass_look(rc);
	} else {
		pass_fail(rc, r, &err);
	}
}

uint64_t reconcile_ask(struct reconcile *rc, bool force)
{
	uint64_t number;
	struct err err;
	int r;

	if (rc->running) {
		rc->again = true;
		rc->again_force = rc->again_force || force;
		return rc->number + 1;
	}
	rc->running = true;
	rc->force = force;
	rc->number++;
	rc->begun_ms = clock_boot_ms();
	r = nsid_list(rc->daemon->rt, collect_nsid, rc, &err);
	if (r < 0) {
		number = rc->number; /* the end of this pass may begin the next one */
		pass_fail(rc, r, &err);
		return number;
	}
	if (rc->nsid_count)
		qsort(rc->nsids, rc->nsid_count, sizeof(*rc->nsids), compare_nsids);
	slice_later(&rc->slice, on_slice, RECONCILE_PAUSE_MS);
	return rc->number;
}

const struct reconcile_report *reconcile_last(const struct reconcile *rc)
{
	return &rc->last;
}

/* --- when --- */

static void on_due(uv_timer_t *timer)
{
	(void)reconcile_ask(timer->data, false);
}

static void on_lost(int32_t nsid, void *arg)
{
	struct reconcile *rc = arg;
	struct lost_nsid *more, lost = { .nsid = nsid, .at_ms = clock_boot_ms() };

	for (size_t i = 0; i < rc->lost_count; i++) {
		if (rc->lost[i].nsid == nsid) {
			rc->lost[i].at_ms = lost.at_ms;
			return;
		}
	}
	more = array_more(rc->lost, rc->lost_count, sizeof(*more));
	if (!more)
		return; /* the timer's pass finds it, unless the id is used again */
	rc->lost = more;
	rc->lost[rc->lost_count++] = lost;
}

static void on_watch(uv_poll_t *poll, int status, int events)
{
	struct reconcile *rc = poll->data;
	struct err err;
	int r;

	(void)events;
	r = nsid_watch_read(rc->watch_fd, on_lost, rc, &err);
	if (status < 0) /* an overrun, which libuv stops at */
		(void)uv_poll_start(poll, UV_READABLE, on_watch);
	if (r < 0 && r != -ENOBUFS)
		log_warn("watch namespaces: %s", strerror(-r));
	if (!uv_is_active((uv_handle_t *)&rc->soon))
		(void)uv_timer_start(&rc->soon, on_due, RECONCILE_SOON_MS, 0);
}

/* --- start and end --- */

/* What the last run of the daemon has left unfinished. */
static void look_at_unfinished(struct daemon *d, uint64_t id)
{
	struct attachment a = { 0 };
	struct attachment_key key;
	char text[SEAT_KEY_MAX];
	struct err err;

	if (ledger_find_id(d->ledger, id, &a, &err) < 0)
		return;
	key = attachment_key(&a);
	undo_ask(d, seat_key(&key, text), "unfinished", true);
	attachment_free(&a);
}

/* Looks for as many as there are, in one transaction. */
static int find_unfinished(struct daemon *d, void *arg, struct err *err)
{
	uint64_t left = *(uint64_t *)arg;
	struct ledger_brief brief = { 0 };
	int r = 0;

	while (left && (r = ledger_next_brief(d->ledger, &brief, err)) == 0) {
		if (!brief.this_boot || brief.state != ATTACHMENT_UNFINISHED)
			continue;
		look_at_unfinished(d, brief.id);
		left--;
	}
	return r == -ENOENT ? 0 : r;
}

/* As many as a slice has time for; *@arg: is there more? */
static int drop_rebooted(struct daemon *d, void *arg, struct err *err)
{
	uint64_t begun_ns = uv_hrtime();
	bool *more = arg;
	size_t count;
	int r;

	do {
		r = ledger_drop_rebooted(d->ledger, RECONCILE_DROPS, &count, err);
		*more = count == RECONCILE_DROPS;
	} while (r == 0 && *more && !slice_is_over(begun_ns));
	return r;
}

/* Nobody can find the records of an earlier boot any more: they go when there is time. */
static void on_reboot(uv_timer_t *timer)
{
	struct reconcile *rc = timer->data;
	int64_t begun_ms = clock_boot_ms();
	bool more = false;
	struct err err;
	int r;

	r = batch_change(rc->daemon->batch, drop_rebooted, &more, &err);
	if (r < 0)
		log_warn("drop attachments of an earlier boot: %s; it is tried again", err.msg);
	if (r < 0)
		(void)uv_timer_start(timer, on_reboot, RECONCILE_EVERY_MS, 0);
	else if (more) /* as long for the others as it took */
		slice_later(timer, on_reboot, (uint64_t)(clock_boot_ms() - begun_ms) + 1);
	else
		log_info("%llu attachments of an earlier boot are dropped",
			 (unsigned long long)ledger_rebooted(rc->daemon->ledger));
}

int reconcile_start(struct reconcile *rc, struct err *err)
{
	struct ledger_counts counts;
	int r;

	r = ledger_counts(rc->daemon->ledger, &counts, err);
	if (r == 0 && counts.unfinished)
		r = batch_change(rc->daemon->batch, find_unfinished, &counts.unfinished, err);
	if (r < 0)
		return r;
	if (counts.rebooted) /* whoever waits for the daemon to start comes first */
		(void)uv_timer_start(&rc->reboot, on_reboot, RECONCILE_SOON_MS, 0);
	(void)reconcile_ask(rc, false);
	return 0;
}

int reconcile_open(struct daemon *d, struct reconcile **ret_reconcile, struct err *err)
{
	struct reconcile *rc = calloc(1, sizeof(*rc));
	int r;

	if (!rc)
		return err_nomem(err);
	rc->daemon = d;
	r = nsid_watch(&rc->watch_fd, err);
	if (r < 0) {
		free(rc);
		return r;
	}
	(void)uv_poll_init(&d->loop, &rc->watch, rc->watch_fd);
	(void)uv_timer_init(&d->loop, &rc->every);
	(void)uv_timer_init(&d->loop, &rc->soon);
	(void)uv_timer_init(&d->loop, &rc->slice);
	(void)uv_timer_init(&d->loop, &rc->reclaim);
	(void)uv_timer_init(&d->loop, &rc->reboot);
	rc->watch.data = rc->every.data = rc->soon.data = rc->slice.data = rc;
	rc->reclaim.data = rc->reboot.data = rc;
	(void)uv_poll_start(&rc->watch, UV_READABLE, on_watch);
	(void)uv_timer_start(&rc->every, on_due, RECONCILE_EVERY_MS, RECONCILE_EVERY_MS);
	*ret_reconcile = rc;
	return 0;
}

void reconcile_close(struct reconcile *rc)
{
	if (!rc)
		return;
	uv_close((uv_handle_t *)&rc->watch, NULL);
	uv_close((uv_handle_t *)&rc->every, NULL);
	uv_close((uv_handle_t *)&rc->soon, NULL);
	uv_close((uv_handle_t *)&rc->slice, NULL);
	uv_close((uv_handle_t *)&rc->reclaim, NULL);
	uv_close((uv_handle_t *)&rc->reboot, NULL);
}

void reconcile_free(struct reconcile *rc)
{
	if (!rc)
		return;
	pass_reset(rc);
	(void)close(rc->watch_fd);
	ids_free(&rc->doomed);
	free(rc->lost);
	free(rc);
}
