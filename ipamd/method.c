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
#include "ipamd/device.h"
#include "ipamd/inspect.h"
#include "ipamd/inventory.h"
#include "ipamd/porter.h"
#include "ipamd/preview.h"
#include "ipamd/reconcile.h"
#include "ipamd/status.h"
#include "ipamd/turn.h"
#include "ipamd/undo.h"

enum {
	METHOD_RECORD_MAX = 46 * 1024, /* of a reserve: leaves room for what the record adds */
	METHOD_LIST_MAX = 100,         /* records of one answer */
	METHOD_ANSWER_MAX = PROTO_LINE_MAX - 2048,
	METHOD_HISTORY_MAX = 200,
	METHOD_DEVICES_MAX = 32, /* a VF with its owner's names takes up to 1900 bytes */
};

/* --- seats --- */

static struct seat *seat_of(struct daemon *d, const struct attachment_key *key)
{
	char text[SEAT_KEY_MAX];

	return seat_get(&d->seats, seat_key(key, text));
}

static int wait_for(struct request *q, const char *seat)
{
	(void)snprintf(q->blocker, sizeof(q->blocker), "%s", seat);
	return METHOD_WAITS;
}

static int wait_for_record(struct request *q, const struct attachment *a)
{
	struct attachment_key key = attachment_key(a);

	(void)seat_key(&key, q->blocker);
	return METHOD_WAITS;
}

/* Is it to be left alone by @conn? Not if that is the CHECK which the daemon has started. */
static bool is_at_rest(const struct seat *seat, const struct conn *conn)
{
	bool ours = seat->work == SEAT_RUNNING && seat->check && seat->child_pid == conn->pid;

	return seat->rest_until_ms > clock_boot_ms() && !ours;
}

/* Why a record goes: a plugin that we have started ourselves cannot know. */
static const char *reason_of(const struct seat *seat, const struct request *q, const char *told)
{
	bool ours = seat->work == SEAT_RUNNING && seat->child_pid == q->conn->pid;

	return ours ? seat->reason : told;
}

/* Takes the lock of @key, or METHOD_WAITS. */
static int take_seat(struct daemon *d, struct request *q, const struct attachment_key *key,
		     struct seat **ret_seat, struct err *err)
{
	struct seat *seat = seat_of(d, key);

	if (!seat)
		return err_nomem(err);
	if (seat_is_held_by_other(seat, q->conn) || is_at_rest(seat, q->conn))
		return wait_for(q, seat->key);
	seat_lock(seat, q->conn, q->method->name);
	*ret_seat = seat;
	return 0;
}

/* --- attachment.reserve --- */

/* The records in the way of a request; they belong to it. */
struct obstacles {
	struct attachment by_key, by_device, by_pod;
	struct turn_view view;
};

static void obstacles_free(struct obstacles *o)
{
	attachment_free(&o->by_key);
	attachment_free(&o->by_device);
	attachment_free(&o->by_pod);
}

/* What is going on around a record that was found. @r is what the search returned. */
static int obstacle(struct daemon *d, const struct request *q, int r, const struct attachment *a,
		    struct turn_record *ret_record)
{
	struct attachment_key key;
	char text[SEAT_KEY_MAX];
	const struct seat *seat;

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	key = attachment_key(a);
	ret_record->a = a;
	seat = seat_find(&d->seats, seat_key(&key, text));
	if (!seat)
		return 0;
	ret_record->holder = seat_is_held_by_other(seat, q->conn) ? seat->holder_name : NULL;
	ret_record->mine = seat->holder == q->conn;
	ret_record->resting =
		seat->rest_until_ms > clock_boot_ms() || (seat->check && seat->work != SEAT_IDLE);
	ret_record->undoing = !seat->check && seat->work != SEAT_IDLE;
	if (seat->life == TURN_DEAD || seat->looked_ns > q->begun_ns)
		ret_record->life = seat->life;
	if (seat->failures && seat->failed_ns > q->begun_ns)
		ret_record->failed = seat->why;
	return 0;
}

static int obstacles_find(struct daemon *d, const struct request *q,
			  const struct reserve_request *request, struct obstacles *o,
			  struct err *err)
{
	struct turn_view *view = &o->view;
	const struct seat *seat;
	char text[SEAT_KEY_MAX];
	int r;

	view->request = request;
	seat = seat_find(&d->seats, seat_key(&request->key, text));
	if (seat && seat_is_held_by_other(seat, q->conn))
		view->key_holder = seat->holder_name;
	r = ledger_find(d->ledger, &request->key, &o->by_key, err);
	r = obstacle(d, q, r, &o->by_key, &view->by_key);
	if (r == 0 && request->device) {
		r = ledger_find_device(d->ledger, request->device, &o->by_device, err);
		r = obstacle(d, q, r, &o->by_device, &view->by_device);
	}
	if (r == 0 && request->pod.uid && request->pod.uid[0]) {
		r = ledger_find_pod(d->ledger, request->pod.uid, &request->key, &o->by_pod, err);
		if (r == -ENOENT && (request->claim_all || request->claim_count))
			r = ledger_find_pod_other(d->ledger, request->pod.uid,
						  request->key.container_id, &o->by_pod, err);
		r = obstacle(d, q, r, &o->by_pod, &view->by_pod);
	}
	return r;
}

/* Marks as alive every obstacle that is this record. */
static void obstacles_alive(struct obstacles *o, const struct attachment *a)
{
	struct turn_record *records[] = { &o->view.by_key, &o->view.by_device, &o->view.by_pod };

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		if (records[i]->a && records[i]->a->id == a->id)
			records[i]->life = TURN_ALIVE;
	}
}

struct held {
	const struct conn *conn;
	int ifindex;
	struct seat *found;
};

static void find_holder_of_link(struct seat *seat, void *arg)
{
	struct held *held = arg;

	if (seat_is_held_by_other(seat, held->conn) && seat->held_ifindex == held->ifindex)
		held->found = seat;
}

/* The device is one of a request that has not moved it yet, by another key ("pci:…" and "net:…").
 */
static struct seat *holder_of_link(struct daemon *d, const struct request *q, int ifindex)
{
	struct held held = { .conn = q->conn, .ifindex = ifindex };

	if (ifindex)
		seats_each(&d->seats, find_holder_of_link, &held);
	return held.found;
}

/* A VF that nobody has read yet is waited for, once. */
static int wait_for_reading(struct daemon *d, struct request *q, const char *device_key,
			    const struct pci_addr *addr, struct err *err)
{
	if (!q->ticket)
		q->ticket = inventory_note(d->inventory, addr);
	if (inventory_last(d->inventory) < q->ticket)
		return wait_for(q, INVENTORY_SEAT);
	return err_set(err, ENODEV, ERR_AGAIN, "reserve %s: the VF could not be read", device_key);
}

/* A VF has two names: its PCI address and its netdev's. One of them is in @device->key. */
static const char *other_key(const struct baseline *device, char buf[PROTO_DEVICE_MAX])
{
	const char *address = strchr(device->parent, '/');

	if (strncmp(device->key, "pci:", 4) == 0 && device->name[0])
		(void)snprintf(buf, PROTO_DEVICE_MAX, "net:%s", device->name);
	else if (strncmp(device->key, "net:", 4) == 0 && strncmp(device->parent, "pci/", 4) == 0)
		(void)snprintf(buf, PROTO_DEVICE_MAX, "pci:%s", address + 1);
	else
		return NULL;
	return buf;
}

/* No two records may have one device under two names. */
static int refuse_by_other_key(struct daemon *d, const struct baseline *device, struct err *err)
{
	char key[PROTO_DEVICE_MAX], name[TURN_NAME_MAX];
	struct attachment owner;
	int r;

	if (!other_key(device, key))
		return 0;
	r = ledger_find_device(d->ledger, key, &owner, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (strcmp(owner.device.parent, device->parent) == 0) /* else it had the name before */
		r = err_set(err, EBUSY, ERR_AGAIN,
			    "reserve %s: the device belongs to %s, which has it as %s", device->key,
			    turn_name(&owner, name), key);
	attachment_free(&owner);
	return r;
}

/* The device as it is now; METHOD_WAITS for whoever is at it. */
static int observe(struct daemon *d, struct request *q, const struct reserve_request *request,
		   const char *device_key, struct baseline *ret_device, struct err *err)
{
	const struct device_view view = { d->rt, d->sysfs_fd, inventory_picture(d->inventory) };
	struct pci_addr addr;
	struct seat *holder;
	int r;

	r = device_observe(&view, device_key, request->rdma_only, request->guid, ret_device, &addr,
			   err);
	if (r == DEVICE_UNREAD)
		return wait_for_reading(d, q, device_key, &addr, err);
	if (r == DEVICE_PREPARING)
		return wait_for(q, INVENTORY_SEAT);
	if (r < 0)
		return r;
	holder = holder_of_link(d, q, ret_device->ifindex);
	r = holder ? wait_for(q, holder->key) : refuse_by_other_key(d, ret_device, err);
	if (r != 0)
		baseline_free(ret_device);
	return r;
}

/* A search for a VF that nobody has. */
struct choice {
	struct daemon *d;
	struct request *q;
	const struct reserve_request *request;
	const struct rail *rail;
	struct baseline *ret_device;
	struct err *err;
};

enum { CHOICE_MADE = 1 };

/* One that cannot be taken is passed over: the next one may do. */
static int choose_if_free(const struct pf_entry *pf, const struct vf_entry *vf, void *arg)
{
	struct choice *choice = arg;
	char key[PROTO_DEVICE_MAX], text[PCI_TEXT + 4];
	struct err err;
	bool is_free;
	int r;

	if (!rail_matches(choice->rail, pf->netdev, &pf->addr))
		return 0;
	(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&vf->addr, text));
	r = ledger_device_is_free(choice->d->ledger, key, &is_free, choice->err);
	if (r < 0 || !is_free)
		return r;
	r = observe(choice->d, choice->q, choice->request, key, choice->ret_device, &err);
	if (r < 0)
		log_debug("%s: passed over: %s", key, err.msg);
	if (r == 0 && choice->ret_device->ifindex)
		return CHOICE_MADE;
	if (r == 0) /* user space has got it meanwhile */
		baseline_free(choice->ret_device);
	return 0;
}

struct rail_tally {
	int vfs, preparing;
};

static struct rail_tally tally_rail(const struct picture *picture, const struct rail *rail)
{
	struct rail_tally tally = { 0 };

	for (size_t i = 0; i < picture->pf_count; i++) {
		const struct pf_entry *pf = &picture->pfs[i];

		for (size_t j = 0; j < pf->vf_count && rail_matches(rail, pf->netdev, &pf->addr);
		     j++) {
			tally.vfs++;
			tally.preparing += pf->vfs[j].use == VF_PREPARING;
		}
	}
	return tally;
}

/* The one that the pod has claimed, if it can be had; -ENOENT: another one. */
static int choose_claimed(struct daemon *d, struct request *q,
			  const struct reserve_request *request, struct baseline *ret_device,
			  struct err *err)
{
	char key[PROTO_DEVICE_MAX];
	struct err why;
	int r;

	r = ledger_claimed_device(d->ledger, request, key, err);
	if (r < 0)
		return r;
	r = observe(d, q, request, key, ret_device, &why);
	if (r == METHOD_WAITS || (r == 0 && ret_device->ifindex))
		return r;
	if (r == 0)
		baseline_free(ret_device);
	else
		log_warn("%s: was claimed, and is passed over: %s", key, why.msg);
	return -ENOENT;
}

static int choose(struct daemon *d, struct request *q, const struct reserve_request *request,
		  struct baseline *ret_device, struct err *err)
{
	const struct picture *picture = inventory_picture(d->inventory);
	struct choice choice = { d, q, request, NULL, ret_device, err };
	struct rail_tally tally;
	int r;

	r = choose_claimed(d, q, request, ret_device, err);
	if (r != -ENOENT)
		return r;
	r = ledger_find_rail(d->ledger, request, &choice.rail, err);
	if (r < 0)
		return r;
	r = picture_offer(picture, choose_if_free, &choice);
	q->blocker[0] = '\0'; /* one that was passed over may have set it */
	if (r == -ENOMEM)
		return err_nomem(err);
	if (r != 0)
		return r < 0 ? r : 0;
	tally = tally_rail(picture, choice.rail);
	if (tally.preparing)
		return wait_for(q, INVENTORY_SEAT);
	(void)err_set(err, EBUSY, ERR_AGAIN, "rail %s: none of its %d VFs is free",
		      choice.rail->name, tally.vfs);
	err_details(err, "see `spurctl vfs`; a VF is free when its pod has gone");
	return -EBUSY;
}

/*
 * Answers with the record of @key, between @before and @after: its text as the ledger has it, for
 * to parse it and put it together again would cost more than all else that the request does.
 */
static int answer_record(struct daemon *d, struct request *q, const struct attachment_key *key,
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

static int find_device(struct daemon *d, struct request *q, const struct reserve_request *request,
		       struct baseline *ret_device, struct err *err)
{
	if (request->device)
		return observe(d, q, request, request->device, ret_device, err);
	return request->choose_device ? choose(d, q, request, ret_device, err) : 0;
}

static int reserve_new(struct daemon *d, struct request *q, const struct reserve_request *request,
		       struct err *err)
{
	struct attachment a = { 0 };
	struct baseline device = { 0 };
	struct seat *seat;
	int r;

	r = take_seat(d, q, &request->key, &seat, err);
	if (r == 0)
		r = find_device(d, q, request, &device, err);
	if (r != 0)
		return r;
	r = ledger_reserve(d->ledger, request, device.key[0] ? &device : NULL, &a, err);
	if (r == 0) {
		seat_forget(seat);
		seat->held_ifindex = device.ifindex;
		seat->finished = false;
		inventory_taken(d->inventory, &a);
		q->reserved = a.generation;
		about_attachment(&q->about, &a);
		r = answer_record(d, q, &request->key, "", "", err);
	}
	baseline_free(&device);
	attachment_free(&a);
	return r;
}

static int serve_standing(struct daemon *d, struct request *q, const struct attachment *a,
			  struct err *err)
{
	struct attachment_key key = attachment_key(a);
	struct seat *seat;
	int r;

	r = take_seat(d, q, &key, &seat, err);
	return r != 0 ? r : answer_record(d, q, &key, "", "", err);
}

static const char *reason_to_undo(const struct attachment *a, const struct obstacles *o)
{
	if (a->state == ATTACHMENT_UNFINISHED)
		return "unfinished";
	if (a->state == ATTACHMENT_DIRTY)
		return "dirty";
	return a == o->view.by_pod.a ? "superseded" : "dead";
}

static int take_turn(struct daemon *d, struct request *q, const struct reserve_request *request,
		     struct obstacles *o, struct err *err)
{
	const struct attachment *other;
	char text[SEAT_KEY_MAX];
	struct attachment_key key;

	for (;;) {
		switch (turn_decide(&o->view, &other, err)) {
		case TURN_RESERVE:
			return reserve_new(d, q, request, err);
		case TURN_SERVE:
			return serve_standing(d, q, other, err);
		case TURN_REFUSE:
			return -EBUSY;
		case TURN_WAIT:
			return other ? wait_for_record(q, other)
				     : wait_for(q, seat_key(&request->key, text));
		case TURN_UNDO:
			key = attachment_key(other);
			undo_ask(d, seat_key(&key, text), reason_to_undo(other, o), false);
			return wait_for(q, text);
		case TURN_LOOK:
			if (reconcile_look(d->reconcile, other, &request->netns) != TURN_ALIVE)
				return wait_for_record(q, other);
			obstacles_alive(o, other);
			break; /* and decide again */
		}
	}
}

static int serve_reserve(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	struct reserve_request request = { 0 };
	struct obstacles o = { 0 };
	int r;

	(void)ret_result; /* the answer is written */
	if (q->line_len > METHOD_RECORD_MAX)
		return err_set(err, E2BIG, ERR_VALUE,
			       "attachment.reserve: %zu bytes, more than %d: the network "
			       "configuration is too large",
			       q->line_len, METHOD_RECORD_MAX);
	r = reserve_decode(q->rpc.params, &request, err);
	if (r < 0)
		return r;
	r = obstacles_find(d, q, &request, &o, err);
	if (r == 0)
		r = take_turn(d, q, &request, &o, err);
	obstacles_free(&o);
	return r;
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
	seat = seat_find(&d->seats, seat_key(&key, text));
	if (seat && seat_is_held_by_other(seat, q->conn))
		return err_set(err, EBUSY, ERR_AGAIN, "done %s: the lock is held by %s", text,
			       seat->holder_name);
	if (ledger_done(d->ledger, &key, generation, &facts, err) < 0)
		return -err->errnum;
	if (seat && seat->holder)
		seat->finished = true;
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
	struct attachment a = { 0 };
	bool gone;
	int r;

	r = ledger_find(d->ledger, key, &a, err);
	if (r == 0 && !a.device.key[0] && strcmp(a.program, "spur-ipam") == 0) {
		about_attachment(&q->about, &a);
		r = ledger_release(d->ledger, key, a.generation, true, true, reason, NULL, &gone,
				   err);
	}
	attachment_free(&a);
	return r;
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
		r = take_seat(d, q, &key, &seat, err);
	if (r == 0 && reason)
		r = release_addresses(d, q, &key, reason_of(seat, q, reason), err);
	if (r == 0)
		r = answer_record(d, q, &key, "{\"attachment\":", "}", err);
	if (r != -ENOENT)
		return r;
	*ret_result = json_pack("{s:n}", "attachment");
	return *ret_result ? 0 : err_nomem(err);
}

/* The record goes, or stays dirty; a VF that is free again is looked at. */
static int release(struct daemon *d, struct request *q, const struct attachment_key *key,
		   uint64_t generation, bool left, bool restored, const char *reason,
		   struct err *err)
{
	struct attachment was = { 0 };
	bool gone;
	int r;

	r = ledger_release(d->ledger, key, generation, left, restored, reason, &was, &gone, err);
	if (r < 0 || !was.id)
		return r;
	about_attachment(&q->about, &was);
	if (gone)
		inventory_released(d->inventory, &was);
	attachment_free(&was);
	return 0;
}

static int serve_release(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *reason = "DEL";
	struct attachment_key key;
	bool left, restored;
	uint64_t generation;
	struct json_reader read;
	struct seat *seat;
	int r;

	r = key_decode(q->rpc.params, &key, err);
	if (r < 0)
		return r;
	json_read(&read, q->rpc.params, "", err);
	(void)read_generation(&read, &generation);
	if (!json_bool(&read, "left", &left))
		json_missing(&read, "left");
	if (!json_bool(&read, "restored", &restored))
		json_missing(&read, "restored");
	(void)json_str(&read, "reason", &reason);
	r = json_finish(&read, READ_LENIENT);
	if (r == 0)
		r = take_seat(d, q, &key, &seat, err);
	if (r != 0)
		return r;
	r = release(d, q, &key, generation, left, restored, reason_of(seat, q, reason), err);
	if (r < 0)
		return r;
	seat->held_ifindex = 0;
	seat->finished = false;
	*ret_result = json_object();
	return 0;
}

void method_take_back(struct daemon *d, struct request *q)
{
	char text[SEAT_KEY_MAX];
	struct attachment_key key;
	struct seat *seat;
	struct err err;

	if (key_decode(q->rpc.params, &key, &err) < 0 ||
	    release(d, q, &key, q->reserved, true, true, q->take_back, &err) < 0) {
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
	seat = seat_of(d, &key);
	if (!seat)
		return err_nomem(err);
	if (q->ticket && seat->failures && seat->failed_ns > q->begun_ns)
		return err_set(err, EBUSY, ERR_AGAIN, "undo %s: %s", seat->key, seat->why);
	q->ticket = 1;
	undo_ask(d, seat->key, "forced", false);
	return wait_for(q, seat->key);
}

/* --- attachment.list --- */

/* Beside the record, what is being done about it: {"reason", "why"} of an undo. */
static int list_add_undo(const struct daemon *d, const struct attachment *a, json_t *record)
{
	struct attachment_key key = attachment_key(a);
	char text[SEAT_KEY_MAX];
	const struct seat *seat = seat_find(&d->seats, seat_key(&key, text));

	if (!seat || seat->work == SEAT_IDLE)
		return 0;
	return json_object_set_new(
		record, "undo", json_pack("{s:s, s:s}", "reason", seat->reason, "why", seat->why));
}

/* More than an answer can hold would never be told: then without what the network said. */
static int list_cut(json_t *record, size_t *size)
{
	json_t *request = json_object_get(record, "request");

	if (json_object_set_new(request, "netconf", json_object()) < 0)
		return -ENOMEM;
	*size = json_dumpb(record, NULL, 0, JSON_COMPACT) + 1;
	return 0;
}

static int list_append(const struct daemon *d, json_t *list, const struct attachment *a,
		       size_t *size, struct err *err)
{
	CLEANUP_JSON json_t *record = attachment_encode(a);

	if (!record || list_add_undo(d, a, record) < 0)
		return err_nomem(err);
	*size += json_dumpb(record, NULL, 0, JSON_COMPACT) + 1;
	if (*size > METHOD_ANSWER_MAX && json_array_size(list) > 0)
		return METHOD_WAITS; /* full */
	if (*size > METHOD_ANSWER_MAX && list_cut(record, size) < 0)
		return err_nomem(err);
	return json_array_append(list, record) < 0 ? err_nomem(err) : 0;
}

/* Fills @list; *@ret_next is where the next page begins after, 0 = this was the last. */
static int list_page(struct daemon *d, const char *network, uint64_t after, size_t limit,
		     json_t *list, uint64_t *ret_next, struct err *err)
{
	struct attachment a = { 0 };
	size_t size = 0;
	int r = 0;

	*ret_next = 0;
	while (r == 0) {
		r = ledger_next(d->ledger, after, &a, err);
		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return r;
		if (json_array_size(list) == limit)
			r = METHOD_WAITS;
		else if (!network || strcmp(network, a.network) == 0)
			r = list_append(d, list, &a, &size, err);
		if (r == 0)
			after = a.id;
		attachment_free(&a);
	}
	*ret_next = after;
	return r < 0 ? r : 0;
}

static int serve_list(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	CLEANUP_JSON json_t *list = json_array();
	int64_t after = 0, limit = METHOD_LIST_MAX;
	const char *network = NULL;
	struct json_reader r;
	uint64_t next;

	if (!list)
		return err_nomem(err);
	json_read(&r, q->rpc.params, "", err);
	(void)json_str(&r, "network", &network);
	(void)json_int(&r, "after", 0, INT64_MAX, &after);
	(void)json_int(&r, "limit", 1, METHOD_LIST_MAX, &limit);
	if (json_finish(&r, READ_LENIENT) < 0 ||
	    list_page(d, network, (uint64_t)after, (size_t)limit, list, &next, err) < 0)
		return -err->errnum;
	*ret_result = json_pack("{s:O, s:I}", "attachments", list, "next", (json_int_t)next);
	return *ret_result ? 0 : err_nomem(err);
}

/* --- pool.list, history.get, node.* --- */

static int serve_pools(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *pool = NULL;
	int64_t after = 0;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_str(&r, "pool", &pool);
	(void)json_int(&r, "after", 0, INT32_MAX, &after);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	/* The rest is for what is in no pool any more. */
	return status_pools(d, pool, (size_t)after, METHOD_ANSWER_MAX * 3 / 4, ret_result, err);
}

static int serve_pool_diff(struct daemon *d, struct request *q, json_t **ret_result,
			   struct err *err)
{
	return preview_file(d->ledger, q->rpc.params, METHOD_ANSWER_MAX - ERR_MSG_MAX, ret_result,
			    err);
}

static int serve_devices(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	int64_t after = 0, limit = METHOD_DEVICES_MAX;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_int(&r, "after", 0, INT32_MAX, &after);
	(void)json_int(&r, "limit", 1, METHOD_DEVICES_MAX, &limit);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	return status_devices(d, (size_t)after, (size_t)limit, ret_result, err);
}

static int history_read(json_t *params, struct history_query *ret_query, struct err *err)
{
	struct history_query query = { .bytes = METHOD_ANSWER_MAX, .to_ms = INT64_MAX };
	int64_t after = 0, limit = METHOD_HISTORY_MAX;
	struct json_reader r;

	json_read(&r, params, "", err);
	(void)json_int(&r, "after", 0, INT64_MAX, &after);
	(void)json_int(&r, "limit", 1, METHOD_HISTORY_MAX, &limit);
	(void)json_str(&r, "match", &query.match);
	(void)json_int(&r, "from", 0, INT64_MAX, &query.from_ms);
	(void)json_int(&r, "to", 0, INT64_MAX, &query.to_ms);
	query.after = (uint64_t)after;
	query.limit = (size_t)limit;
	*ret_query = query;
	return json_finish(&r, READ_LENIENT);
}

static int serve_history(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	struct history_query query;
	struct history_page page;
	char after[80];
	int r;

	(void)ret_result;
	r = history_read(q->rpc.params, &query, err);
	if (r == 0)
		r = ledger_history(d->ledger, &query, &page, err);
	if (r < 0)
		return r;
	(void)snprintf(after, sizeof(after), ",\"next\":%llu,\"last\":%llu}",
		       (unsigned long long)page.next, (unsigned long long)page.last);
	q->answer = rpc_answer_text(q->rpc.id, "{\"events\":", page.events, after);
	free(page.events);
	return q->answer ? 0 : err_nomem(err);
}

static int serve_status(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *pool = NULL;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_str(&r, "pool", &pool);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	if (pool && !pool_find(ledger_pools(d->ledger), pool))
		return err_set(err, ENOENT, ERR_UNAVAILABLE, "pool \"%s\": is not configured",
			       pool);
	return status_node(d, ret_result, err);
}

static int serve_reconcile(struct daemon *d, struct request *q, json_t **ret_result,
			   struct err *err)
{
	const struct reconcile_report *last = reconcile_last(d->reconcile);
	bool force = false;
	struct json_reader r;

	json_read(&r, q->rpc.params, "", err);
	(void)json_bool(&r, "force", &force);
	if (json_finish(&r, READ_LENIENT) < 0)
		return -err->errnum;
	if (!q->ticket)
		q->ticket = reconcile_ask(d->reconcile, force);
	if (last->pass < q->ticket)
		return wait_for(q, RECONCILE_SEAT);
	if (last->error)
		return err_set(err, -last->error, ERR_AGAIN, "look who is dead: %s", last->why);
	*ret_result = json_pack("{s:i, s:i, s:i, s:b}", "looked", last->looked, "dead", last->dead,
				"reclaimed", last->reclaimed, "alarm", last->alarm);
	return *ret_result ? 0 : err_nomem(err);
}

/* --- ledger.* --- */

static int serve_check(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const struct inspect_report *last = inspect_last(d->inspect);

	if (!q->ticket)
		q->ticket = inspect_ask(d->inspect);
	if (last->number < q->ticket)
		return wait_for(q, INSPECT_SEAT);
	if (!last->audit) {
		*err = last->why;
		return -err->errnum;
	}
	*ret_result = json_incref(last->audit);
	return 0;
}

static int serve_export(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *text;
	int64_t after = 0;
	struct json_reader r;
	uint64_t next;

	json_read(&r, q->rpc.params, "", err);
	(void)json_int(&r, "after", 0, INT64_MAX, &after);
	if (json_finish(&r, READ_LENIENT) < 0 ||
	    porter_export(d->porter, q->conn, (uint64_t)after, &text, &next, err) < 0)
		return -err->errnum;
	*ret_result = json_pack("{s:s, s:I}", "text", text, "next", (json_int_t)next);
	return *ret_result ? 0 : err_nomem(err);
}

static int serve_import(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
{
	const char *text = NULL;
	int64_t after = 0;
	struct json_reader read;
	uint64_t next;
	int r;

	json_read(&read, q->rpc.params, "", err);
	(void)json_int(&read, "after", 0, INT64_MAX, &after);
	(void)json_str(&read, "text", &text);
	r = json_finish(&read, READ_LENIENT);
	if (r < 0)
		return r;
	if (!text) {
		r = porter_import(d->porter, q->conn, (uint64_t)after, ret_result, err);
		return r == 0 && !*ret_result ? wait_for(q, PORTER_SEAT) : r;
	}
	r = porter_gather(d->porter, q->conn, (uint64_t)after, text, &next, err);
	if (r == 0)
		*ret_result = json_pack("{s:I}", "next", (json_int_t)next);
	return r < 0 || *ret_result ? r : err_nomem(err);
}

/* --- the table --- */

const struct method methods[METHOD_COUNT] = {
	{ "attachment.reserve", serve_reserve },
	{ "attachment.done", serve_done },
	{ "attachment.get", serve_get },
	{ "attachment.release", serve_release },
	{ "attachment.undo", serve_undo },
	{ "attachment.list", serve_list },
	{ "pool.list", serve_pools },
	{ "pool.diff", serve_pool_diff },
	{ "device.list", serve_devices },
	{ "history.get", serve_history },
	{ "node.status", serve_status },
	{ "node.reconcile", serve_reconcile },
	{ "ledger.check", serve_check },
	{ "ledger.export", serve_export },
	{ "ledger.import", serve_import },
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

/* What the holder of this seat has left behind. */
static void undo_if_unfinished(struct daemon *d, struct seat *seat)
{
	char parts[SEAT_KEY_MAX];
	struct attachment_key key = seat_key_split(seat->key, parts);
	struct attachment a = { 0 };
	struct err err;
	int r;

	r = ledger_find(d->ledger, &key, &a, &err);
	if (r == -ENOENT)
		undo_needless(d, seat);
	else if (r == 0 && a.state == ATTACHMENT_UNFINISHED && seat->work == SEAT_IDLE)
		undo_ask(d, seat->key, "unfinished", false); /* else it is seen to already */
	else if (r < 0)
		log_error("%s: %s", seat->key, err.msg);
	attachment_free(&a);
}

static void let_go(struct daemon *d, struct seat *seat)
{
	bool finished = seat->finished;

	seat_unlock(seat);
	if (!finished)
		undo_if_unfinished(d, seat);
	batch_wake(d->batch, seat->key);
	seat_put(&d->seats, seat);
}

void method_end(struct daemon *d, struct conn *conn)
{
	while (conn->holds)
		let_go(d, conn->holds);
}
