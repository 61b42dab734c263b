/* SPDX-License-Identifier: Apache-2.0 */
/* attachment.reserve: what is in its way, which device it gets, and whose turn it is. */
#include "ipamd/method_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "ipamd/daemon.h"
#include "ipamd/device.h"
#include "ipamd/inventory.h"
#include "ipamd/reconcile.h"
#include "ipamd/turn.h"
#include "ipamd/undo.h"

enum {
	METHOD_RECORD_MAX = 46 * 1024, /* of a reserve: leaves room for what the record adds */
	PATIENCE_MS = 5 * 1000,        /* for the DEL of a pod of the same name */
	PATIENCE_LEAVES_MS = 1000,     /* of the deadline, for what comes then */
};

/* The records in the way of a request; they belong to it. */
struct obstacles {
	struct attachment by_key, by_device, by_pod, by_identity;
	struct turn_view view;
};

static void obstacles_free(struct obstacles *o)
{
	attachment_free(&o->by_key);
	attachment_free(&o->by_device);
	attachment_free(&o->by_pod);
	attachment_free(&o->by_identity);
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
	if (a->state == ATTACHMENT_UNFINISHED && seat_is_idle(seat)) {
		undo_ask(d, text, "unfinished", true); /* its end was not seen, or not written */
		seat = seat_find(&d->seats, text);
	}
	if (!seat)
		return 0;
	ret_record->holder = seat_is_held_by_other(seat, q->conn) ? seat->holder_name : NULL;
	ret_record->mine = seat->holder == q->conn;
	ret_record->unseen =
		seat->check && seat->work != SEAT_IDLE && a->state == ATTACHMENT_UNFINISHED;
	ret_record->undoing = !seat->check && seat->work != SEAT_IDLE;
	if (seat->life == TURN_DEAD || seat->looked_ns > q->begun_ns)
		ret_record->life = seat->life;
	if (seat->failures && seat->failed_ns > q->begun_ns)
		ret_record->failed = seat->why;
	return 0;
}

/* Until when a request waits for the pod that had its identity before it. */
static int64_t patience_end_ms(const struct request *q)
{
	int64_t end_ms = q->since_ms + PATIENCE_MS;
	int64_t latest_ms = q->deadline_ms - PATIENCE_LEAVES_MS;

	return end_ms < latest_ms ? end_ms : latest_ms;
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
	if (r == 0 && request->sticky && patience_end_ms(q) > clock_boot_ms()) {
		r = ledger_find_namesake(d->ledger, request, &o->by_identity, err);
		r = obstacle(d, q, r, &o->by_identity, &view->by_identity);
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
		return method_wait(q, INVENTORY_SEAT);
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

/* Who has the device by another key than @device->key, or by any: -ENOENT if nobody is known. */
static int find_other_owner(struct daemon *d, const struct baseline *device,
			    const struct pci_addr *addr, struct attachment *ret_owner,
			    struct err *err)
{
	const struct picture *picture = inventory_picture(d->inventory);
	const struct vf_entry *vf = device->vf.is_vf ? picture_vf(picture, addr, NULL) : NULL;
	char key[PROTO_DEVICE_MAX];

	/* One that came home by itself has any name that its pod gave it. */
	if (vf && vf->owner)
		return ledger_find_id(d->ledger, vf->owner, ret_owner, err);
	return other_key(device, key) ? ledger_find_device(d->ledger, key, ret_owner, err)
				      : -ENOENT;
}

/* No two records may have one device under two names. */
static int refuse_by_other_key(struct daemon *d, const struct baseline *device,
			       const struct pci_addr *addr, struct err *err)
{
	char name[TURN_NAME_MAX];
	struct attachment owner;
	int r;

	r = find_other_owner(d, device, addr, &owner, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (strcmp(owner.device.parent, device->parent) == 0) /* else it had the name before */
		r = err_set(err, EBUSY, ERR_AGAIN,
			    "reserve %s: the device belongs to %s, which has it as %s", device->key,
			    turn_name(&owner, name), owner.device.key);
	attachment_free(&owner);
	return r;
}

/* Who has what is asked for, in words. */
static const char *owner_name(struct daemon *d, const struct owners_clash *clash,
			      char buf[TURN_NAME_MAX])
{
	char addr[PCI_TEXT + 4];
	struct attachment owner;
	struct err err;

	if (clash->id && ledger_find_id(d->ledger, clash->id, &owner, &err) == 0) {
		(void)turn_name(&owner, buf);
		attachment_free(&owner);
	} else if (clash->id) {
		(void)snprintf(buf, TURN_NAME_MAX, "attachment %" PRIu64, clash->id);
	} else if (clash->vf) {
		(void)snprintf(buf, TURN_NAME_MAX, "VF %s, which is in use elsewhere",
			       pci_format(&clash->vf->addr, addr));
	} else {
		utf8_print(buf, TURN_NAME_MAX, "PF %s itself (%s)",
			   pci_format(&clash->pf->addr, addr), clash->pf->netdev);
	}
	return buf;
}

/* An address on a PF and in a VLAN, and a GUID, are one pod's at a time. */
static int refuse_owned(struct daemon *d, const struct reserve_request *request,
			const struct baseline *device, struct err *err)
{
	char name[TURN_NAME_MAX], text[MAC_TEXT];
	struct owners_clash clash;
	uint64_t guid = request->guid;
	struct owned wanted;
	int r = 0;

	if (!guid)
		r = ledger_guid_of(d->ledger, device->key, &guid, err);
	if (r < 0 && r != -ENOENT)
		return r;
	wanted = owned_of(device, &request->station, guid);
	r = inventory_find_owner(d->inventory, device, &wanted, &clash);
	if (r <= 0)
		return r < 0 ? err_nomem(err) : 0;
	(void)err_set(err, EADDRINUSE, ERR_AGAIN, "reserve %s: the %s %s belongs to %s",
		      device->key, clash.by_guid ? "GUID" : "address",
		      clash.by_guid ? guid_format(wanted.guid, text)
				    : mac_format(&wanted.mac, text),
		      owner_name(d, &clash, name));
	err_details(err, "%s has one owner at a time: it can be had when that one has gone",
		    clash.by_guid ? "a GUID" : "an address on a PF and in a VLAN");
	return -EADDRINUSE;
}

/* A network may name a device twice, by its ID and by its netdev. */
static int check_netdev(const struct baseline *device, const char *netdev, struct err *err)
{
	if (!netdev || strcmp(device->name, netdev) == 0)
		return 0;
	for (size_t i = 0; i < device->altname_count; i++) {
		if (strcmp(device->altnames[i], netdev) == 0)
			return 0;
	}
	return err_set(err, EINVAL, ERR_VALUE,
		       "key \"device\": \"%s\": is not the network device of %s%s%s", netdev,
		       strchr(device->key, ':') + 1, device->name[0] ? ", which is " : "",
		       device->name);
}

/* The device as it is now; METHOD_WAITS for whoever is at it. */
static int observe(struct daemon *d, struct request *q, const struct reserve_request *request,
		   const char *device_key, struct baseline *ret_device, struct err *err)
{
	const struct device_view view = { d->rt, d->ethtool, d->sysfs_fd,
					  inventory_picture(d->inventory) };
	struct pci_addr addr;
	struct seat *holder;
	int r;

	r = device_observe(&view, device_key, request->rdma_only, request->guid, ret_device, &addr,
			   err);
	if (r == DEVICE_UNREAD)
		return wait_for_reading(d, q, device_key, &addr, err);
	if (r == DEVICE_PREPARING)
		return method_wait(q, INVENTORY_SEAT);
	if (r < 0)
		return r;
	r = check_netdev(ret_device, request->netdev, err);
	if (r < 0) {
		baseline_free(ret_device);
		return r;
	}
	holder = holder_of_link(d, q, ret_device->ifindex);
	r = holder ? method_wait(q, holder->key) : refuse_by_other_key(d, ret_device, &addr, err);
	if (r == 0)
		r = refuse_owned(d, request, ret_device, err);
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
	struct err owned; /* why one was passed over whose address or GUID is another's */
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
	if (r == -EADDRINUSE)
		choice->owned = err;
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

/* The one that the pod has claimed, if it can be had, and is still on the rail; -ENOENT: another
 * one. */
static int choose_claimed(const struct choice *choice)
{
	struct baseline *device = choice->ret_device;
	char key[PROTO_DEVICE_MAX];
	struct err why;
	int r;

	r = ledger_claimed_device(choice->d->ledger, choice->request, key, choice->err);
	if (r < 0)
		return r;
	r = observe(choice->d, choice->q, choice->request, key, device, &why);
	if (r == METHOD_WAITS)
		return r;
	if (r == 0 && device->ifindex &&
	    rail_matches(choice->rail, device->vf.pf_netdev, &device->vf.pf))
		return 0;
	log_warn("%s: was claimed, and is passed over: %s", key,
		 r < 0 ? why.msg : "it has no netdev, or has left its rail");
	if (r == 0)
		baseline_free(device);
	return -ENOENT;
}

static int choose(struct daemon *d, struct request *q, const struct reserve_request *request,
		  struct baseline *ret_device, struct err *err)
{
	const struct picture *picture = inventory_picture(d->inventory);
	struct choice choice = { d, q, request, NULL, ret_device, err, { 0 } };
	struct rail_tally tally;
	int r;

	r = ledger_find_rail(d->ledger, request, &choice.rail, err);
	if (r < 0)
		return r;
	r = choose_claimed(&choice);
	if (r != -ENOENT)
		return r;
	r = picture_offer(picture, choose_if_free, &choice);
	q->blocker[0] = '\0'; /* one that was passed over may have set it */
	if (r == -ENOMEM)
		return err_nomem(err);
	if (r != 0)
		return r < 0 ? r : 0;
	tally = tally_rail(picture, choice.rail);
	if (tally.preparing)
		return method_wait(q, INVENTORY_SEAT);
	if (choice.owned.errnum) {
		*err = choice.owned;
		return -EADDRINUSE;
	}
	(void)err_set(err, EBUSY, ERR_AGAIN, "rail %s: none of its %d VFs is free",
		      choice.rail->name, tally.vfs);
	err_details(err, "see `spurctl vfs`; a VF is free when its pod has gone");
	return -EBUSY;
}

static int find_device(struct daemon *d, struct request *q, const struct reserve_request *request,
		       struct baseline *ret_device, struct err *err)
{
	if (request->device)
		return observe(d, q, request, request->device, ret_device, err);
	return request->choose_device ? choose(d, q, request, ret_device, err) : 0;
}

/* The pod has been given the character device that the plugin was told of: it could open no other.
 * One that the daemon chooses was promised to nobody. */
static int refuse_renumbered(struct daemon *d, const struct reserve_request *request,
			     const struct baseline *device, struct err *err)
{
	const char *is = device->rdma.uverbs;
	char key[PROTO_DEVICE_MAX], text[PCI_TEXT + 4];
	struct rebind rebind;
	struct pci_addr addr;
	int r;

	if (!request->from_plugin || !device->vf.is_vf || !baseline_function(device, &addr))
		return 0;
	(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&addr, text));
	r = ledger_rebind_of(d->ledger, key, &rebind, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!rebind_is_renumbered(&rebind) || strcmp(rebind.promised, is) == 0)
		return 0;
	err_set(err, EAGAIN, ERR_AGAIN,
		"reserve %s: it has %s by now, and its device plugin has promised %s", key,
		is[0] ? is : "no RDMA character device", rebind.promised);
	err_details(err, "start the device plugin again, then say so: spurctl vfs "
			 "--plugin-restarted");
	return -EAGAIN;
}

static int reserve_new(struct daemon *d, struct request *q, const struct reserve_request *request,
		       struct err *err)
{
	struct attachment a = { 0 };
	struct baseline device = { 0 };
	struct seat *seat;
	int r;

	r = method_take_seat(d, q, &request->key, &seat, err);
	if (r == 0)
		r = find_device(d, q, request, &device, err);
	if (r != 0)
		return r;
	r = refuse_renumbered(d, request, &device, err);
	if (r == 0)
		r = ledger_reserve(d->ledger, request, device.key[0] ? &device : NULL, &a, err);
	if (r == 0) {
		seat_forget(seat);
		seat->held_ifindex = device.ifindex;
		seat->owes_done = true;
		inventory_taken(d->inventory, &a);
		q->reserved = a.generation;
		about_attachment(&q->about, &a);
		r = method_answer_record(d, q, &request->key, "", "", err);
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

	r = method_take_seat(d, q, &key, &seat, err);
	return r != 0 ? r : method_answer_record(d, q, &key, "", "", err);
}

static const char *reason_to_undo(const struct attachment *a, const struct obstacles *o)
{
	if (a->state == ATTACHMENT_UNFINISHED)
		return "unfinished";
	if (a->state == ATTACHMENT_DIRTY)
		return "dirty";
	/* It may stand in the way by its device, too. */
	return o->by_pod.id && a->id == o->by_pod.id ? "superseded" : "dead";
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
			if (o->view.by_identity.a)
				q->again_ms = patience_end_ms(q);
			return other ? method_wait_for(q, other)
				     : method_wait(q, seat_key(&request->key, text));
		case TURN_UNDO:
			key = attachment_key(other);
			undo_ask(d, seat_key(&key, text), reason_to_undo(other, o), false);
			return method_wait(q, text);
		case TURN_LOOK:
			if (reconcile_look(d->reconcile, other, &request->netns) != TURN_ALIVE)
				return method_wait_for(q, other);
			obstacles_alive(o, other);
			break; /* and decide again */
		}
	}
}

int method_reserve(struct daemon *d, struct request *q, json_t **ret_result, struct err *err)
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
