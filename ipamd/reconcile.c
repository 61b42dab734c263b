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

/* One attached record, as far as a pass needs it. */
struct sighting {
	uint64_t id;
	int32_t nsid;
	uint64_t cookie;
	int64_t reserved_ms; /* BOOTTIME */
	char *path, *key;
	bool young, suspect, dead;
};

/* An id that went, and when: it may be another namespace's by now. */
struct lost_nsid {
	int32_t nsid;
	int64_t at_ms;
};

struct reconcile {
	struct daemon *daemon;
	int watch_fd;
	uv_poll_t watch;
	uv_timer_t every, soon, slice;
	uv_work_t work;
	bool at_work; /* the thread pool has the sightings */

	struct lost_nsid *lost;
	size_t lost_count;

	/* The running pass. */
	bool running, force, again, again_force;
	int64_t begun_ms;
	uint64_t number, after; /* the last record it has seen */
	int32_t *nsids;
	size_t nsid_count;
	struct sighting *seen;
	size_t seen_count;
	int total;

	struct reconcile_report last;
};

/* A growing array: room for one more element, or NULL. */
static void *array_more(void *array, size_t count, size_t element)
{
	if (count & (count - 1)) /* full only at the powers of two, and at first */
		return array;
	return reallocarray(array, count ? count * 2 : 1, element);
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

struct look {
	uv_work_t work;
	struct daemon *daemon;
	char key[SEAT_KEY_MAX];
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

static void look_done(uv_work_t *work, int status)
{
	struct look *look = work->data;
	struct seat *seat = seat_find(&look->daemon->seats, look->key);

	(void)status; /* never cancelled */
	if (seat && !look->daemon->stopping) {
		seat->looking = false;
		seat->life = look->alive ? TURN_ALIVE : TURN_DEAD;
		seat->looked_ns = uv_hrtime();
		batch_wake(look->daemon->batch, look->key);
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

/* By nsid, the older record first. */
static int compare_sightings(const void *a, const void *b)
{
	const struct sighting *one = a, *other = b;

	if (one->nsid != other->nsid)
		return compare_nsids(&one->nsid, &other->nsid);
	return (one->id > other->id) - (one->id < other->id);
}

static void pass_reset(struct reconcile *rc)
{
	for (size_t i = 0; i < rc->seen_count; i++) {
		free(rc->seen[i].path);
		free(rc->seen[i].key);
	}
	free(TAKE_PTR(rc->seen));
	free(TAKE_PTR(rc->nsids));
	rc->seen_count = rc->nsid_count = 0;
	rc->after = 0;
	rc->total = 0;
}

/* Forgets the losses that every record has been old enough to be judged by. */
static void forget_lost(struct reconcile *rc)
{
	int64_t young_ms = hook_number("SPUR_YOUNG_MS", RECONCILE_YOUNG_MS);
	size_t kept = 0;

	for (size_t i = 0; i < rc->lost_count; i++) {
		if (rc->lost[i].at_ms + young_ms > rc->begun_ms)
			rc->lost[kept++] = rc->lost[i];
	}
	rc->lost_count = kept;
	if (kept == 0)
		free(TAKE_PTR(rc->lost));
}

static void pass_end(struct reconcile *rc, const struct reconcile_report *report)
{
	rc->last = *report;
	rc->last.pass = rc->number;
	rc->running = rc->force = false;
	forget_lost(rc);
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

static void reclaim(struct daemon *d, const struct sighting *s)
{
	const struct seat *seat = seat_find(&d->seats, s->key);
	struct attachment a = { 0 };
	struct err err;

	if (seat && (seat->holder || seat->work != SEAT_IDLE))
		return;
	if (ledger_find_id(d->ledger, s->id, &a, &err) < 0)
		return;
	log_info("%s: its namespace %s has gone", s->key, s->path);
	undo_ask(d, s->key, "dead", false);
	attachment_free(&a);
}

static void judge(struct reconcile *rc)
{
	struct reconcile_report report = { .looked = rc->total };

	for (size_t i = 0; i < rc->seen_count; i++)
		report.dead += rc->seen[i].dead;
	report.alarm = !rc->force && report.dead >= RECONCILE_MASS && report.dead * 2 > rc->total;
	if (report.alarm && !rc->last.alarm)
		log_error("%d of %d attachments look dead at once: none is reclaimed; if they are, "
			  "say `spurctl reconcile --force`",
			  report.dead, rc->total);
	for (size_t i = 0; i < rc->seen_count && !report.alarm; i++) {
		if (rc->seen[i].dead)
			reclaim(rc->daemon, &rc->seen[i]);
	}
	report.reclaimed = report.alarm ? 0 : report.dead;
	pass_end(rc, &report);
}

static void suspects_work(uv_work_t *work)
{
	struct reconcile *rc = work->data;

	for (size_t i = 0; i < rc->seen_count; i++) {
		struct sighting *s = &rc->seen[i];

		s->dead = s->suspect && !path_leads_to(s->path, s->cookie);
	}
}

static void suspects_done(uv_work_t *work, int status)
{
	struct reconcile *rc = work->data;

	(void)status;
	rc->at_work = false;
	if (!rc->daemon->stopping)
		judge(rc);
}

/* Whose nsid has gone, or is a younger record's by now? */
static bool find_suspects(struct reconcile *rc)
{
	bool any = false;

	if (rc->seen_count)
		qsort(rc->seen, rc->seen_count, sizeof(*rc->seen), compare_sightings);
	for (size_t i = 0; i < rc->seen_count; i++) {
		struct sighting *s = &rc->seen[i];
		const struct sighting *next = i + 1 < rc->seen_count ? s + 1 : NULL;

		if (s->young || s->nsid < 0)
			continue;
		s->suspect = nsid_was_lost(rc, s->nsid, s->reserved_ms) ||
			     (next && next->nsid == s->nsid && next->cookie != s->cookie) ||
			     rc->nsid_count == 0 ||
			     !bsearch(&s->nsid, rc->nsids, rc->nsid_count, sizeof(*rc->nsids),
				      compare_nsids);
		any = any || s->suspect;
	}
	return any;
}

static void pass_look(struct reconcile *rc)
{
	if (!find_suspects(rc)) {
		judge(rc);
		return;
	}
	rc->work.data = rc;
	rc->at_work =
		uv_queue_work(&rc->daemon->loop, &rc->work, suspects_work, suspects_done) == 0;
	if (!rc->at_work)
		judge(rc); /* nothing is dead that was not looked at */
}

static int sight(struct reconcile *rc, const struct attachment *a, const char *key)
{
	struct sighting *more = array_more(rc->seen, rc->seen_count, sizeof(*more));
	struct sighting s = {
		.id = a->id,
		.nsid = a->netns.nsid,
		.cookie = a->netns.cookie,
		.reserved_ms = a->boot_time_ms,
		.path = strdup(a->netns.path),
		.key = strdup(key),
		.young = rc->begun_ms - a->boot_time_ms <
			 hook_number("SPUR_YOUNG_MS", RECONCILE_YOUNG_MS),
	};

	if (more)
		rc->seen = more;
	if (!more || !s.path || !s.key) {
		free(s.path);
		free(s.key);
		return -ENOMEM;
	}
	rc->seen[rc->seen_count++] = s;
	return 0;
}

static void see(struct reconcile *rc, const struct attachment *a)
{
	struct attachment_key key = attachment_key(a);
	const struct seat *seat;
	char text[SEAT_KEY_MAX];

	rc->total++;
	seat = seat_find(&rc->daemon->seats, seat_key(&key, text));
	if (a->state == ATTACHMENT_ATTACHED) {
		if (sight(rc, a, text) < 0)
			log_warn("out of memory: %s is not looked at", text);
	} else if (!seat || (!seat->holder && seat->work == SEAT_IDLE)) {
		/* Left unfinished, for its `done` could not be written: it may be good all the
		 * same. */
		undo_ask(rc->daemon, text, a->state == ATTACHMENT_DIRTY ? "dirty" : "unfinished",
			 a->state == ATTACHMENT_UNFINISHED);
	}
}

/* One slice of the walk over all records. */
static void on_slice(uv_timer_t *timer)
{
	struct reconcile *rc = timer->data;
	struct attachment a = { 0 };
	struct err err;
	int r = 0;

	for (int i = 0; i < RECONCILE_SLICE; i++) {
		r = ledger_next(rc->daemon->ledger, rc->after, &a, &err);
		if (r < 0)
			break;
		rc->after = a.id;
		see(rc, &a);
		attachment_free(&a);
	}
	if (r == 0) {
		(void)uv_timer_start(&rc->slice, on_slice, 0, 0);
		return;
	}
	if (r != -ENOENT) {
		pass_fail(rc, r, &err);
		return;
	}
	pass_look(rc);
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
	(void)uv_timer_start(&rc->slice, on_slice, 0, 0);
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
	struct lost_nsid *more = array_more(rc->lost, rc->lost_count, sizeof(*more));

	if (!more)
		return; /* the timer's pass finds it, unless the id is used again */
	rc->lost = more;
	rc->lost[rc->lost_count++] = (struct lost_nsid) { nsid, clock_boot_ms() };
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

struct first_look {
	struct reconcile *rc;
	uint64_t after;
	int count, dropped;
};

static void leave_to_rest(struct daemon *d, const struct attachment *a)
{
	struct attachment_key key = attachment_key(a);
	char text[SEAT_KEY_MAX];
	struct seat *seat = seat_get(&d->seats, seat_key(&key, text));

	if (!seat)
		return;
	seat->rest_until_ms = a->boot_time_ms + hook_number("SPUR_REST_MS", PROTO_ADD_MS);
	undo_ask(d, text, "unfinished", true);
}

static int first_slice(struct daemon *d, void *arg, struct err *err)
{
	struct first_look *look = arg;
	struct attachment a = { 0 };
	size_t dropped;
	int r;

	r = ledger_drop_rebooted(d->ledger, RECONCILE_SLICE, &dropped, err);
	look->dropped += (int)dropped;
	look->count = (int)dropped;
	for (size_t i = 0; i < dropped; i++)
		metrics_reclaimed(&d->metrics, "reboot");
	for (; r == 0 && look->count < RECONCILE_SLICE; look->count++) {
		r = ledger_next(d->ledger, look->after, &a, err);
		if (r < 0)
			break;
		look->after = a.id;
		if (a.state == ATTACHMENT_UNFINISHED)
			leave_to_rest(d, &a);
		attachment_free(&a);
	}
	return r == -ENOENT ? 0 : r;
}

int reconcile_start(struct reconcile *rc, struct err *err)
{
	struct first_look look = { .rc = rc };
	int r;

	do {
		r = batch_change(rc->daemon->batch, first_slice, &look, err);
	} while (r == 0 && look.count == RECONCILE_SLICE);
	if (r < 0)
		return r;
	if (look.dropped)
		log_info("dropped %d attachments of an earlier boot", look.dropped);
	rc->last.rebooted = look.dropped;
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
	rc->watch.data = rc->every.data = rc->soon.data = rc->slice.data = rc;
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
}

void reconcile_free(struct reconcile *rc)
{
	if (!rc)
		return;
	if (!rc->at_work) /* else a path hangs: the thread keeps what it looks at */
		pass_reset(rc);
	(void)close(rc->watch_fd);
	free(rc->lost);
	if (!rc->at_work)
		free(rc);
}
