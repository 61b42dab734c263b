/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/turn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *turn_name(const struct attachment *a, char buf[TURN_NAME_MAX])
{
	bool has_pod = a->pod.name && a->pod.name[0];

	(void)snprintf(buf, TURN_NAME_MAX, "%s/%s/%s%s%s%s%s", a->network, a->container_id,
		       a->ifname, has_pod ? " of pod " : "", has_pod ? a->pod.namespace : "",
		       has_pod ? "/" : "", has_pod ? a->pod.name : "");
	return buf;
}

static bool same_netns(const struct turn_view *view, const struct attachment *a)
{
	const struct netns_ref *asked = &view->request->netns;

	return asked->cookie && asked->cookie == a->netns.cookie;
}

static bool same_device(const struct turn_view *view, const struct attachment *a)
{
	const char *asked = view->request->device ? view->request->device : "";

	/* A repeated ADD does not know which one was chosen for it. */
	if (view->request->choose_device)
		return a->device.key[0];
	return strcmp(asked, a->device.key) == 0;
}

static bool same_record(const struct turn_record *one, const struct turn_record *other)
{
	return one->a && other->a && one->a->id == other->a->id;
}

static enum turn_verdict refuse(const struct attachment *a, const char *what, const char *why,
				const char *advice, struct err *err)
{
	char name[TURN_NAME_MAX];

	(void)err_set(err, EBUSY, ERR_AGAIN, "reserve %s: %s %s", what, why, turn_name(a, name));
	err_details(err, "%s", advice);
	return TURN_REFUSE;
}

/* A record that must go first: undo it, unless that was just tried in vain. */
static enum turn_verdict undo_first(const struct turn_record *record, const char *what,
				    struct err *err)
{
	char name[TURN_NAME_MAX];

	if (!record->failed)
		return TURN_UNDO;
	(void)err_set(err, EBUSY, ERR_AGAIN, "reserve %s: %s: cannot be undone: %s", what,
		      turn_name(record->a, name), record->failed);
	err_details(err, "%s; the daemon tries again by itself",
		    record->a->state == ATTACHMENT_DIRTY ? "the device is dirty"
							 : "the earlier attachment still stands");
	return TURN_REFUSE;
}

/* What goes for any record in the way: hands off while another hand is at it. */
static bool is_settled(const struct turn_record *record)
{
	return !record->holder && !record->unseen;
}

/* Of the unconfirmed nobody knows better. */
static bool stands(const struct attachment *a)
{
	return a->state == ATTACHMENT_ATTACHED || a->state == ATTACHMENT_UNCONFIRMED;
}

static enum turn_verdict decide_attached(const struct turn_record *record, const char *what,
					 const char *why, const char *advice, struct err *err)
{
	if (record->undoing)
		return undo_first(record, what, err);
	switch (record->life) {
	case TURN_UNKNOWN:
		return TURN_LOOK;
	case TURN_DEAD:
		return undo_first(record, what, err);
	case TURN_ALIVE:
		break;
	}
	return refuse(record->a, what, why, advice, err);
}

static enum turn_verdict decide_key(const struct turn_view *view, struct err *err)
{
	const struct turn_record *record = &view->by_key;
	const struct attachment *a = record->a;
	const char *what = view->request->key.ifname;

	if (view->key_holder)
		return TURN_WAIT;
	if (!a)
		return TURN_RESERVE;
	if (!is_settled(record))
		return TURN_WAIT;
	if (stands(a) || (a->state == ATTACHMENT_UNFINISHED && record->mine)) {
		if (!record->undoing && same_netns(view, a) && same_device(view, a))
			return TURN_SERVE;
		return decide_attached(record, what, "already attached otherwise:",
				       "this container has this interface; DEL it first", err);
	}
	return undo_first(record, what, err);
}

static enum turn_verdict decide_device(const struct turn_view *view, struct err *err)
{
	const struct turn_record *record = &view->by_device;
	const char *what;

	if (!record->a || same_record(record, &view->by_key))
		return TURN_RESERVE;
	what = record->a->device.key;
	if (!is_settled(record) || same_record(record, &view->by_identity))
		return TURN_WAIT;
	if (!stands(record->a) || same_record(record, &view->by_pod))
		return undo_first(record, what, err);
	return decide_attached(record, what, "the device belongs to",
			       "the device is in use on this node; see `spurctl attachments`", err);
}

/*
 * The same pod, network and ifname under an earlier container ID: superseded, alive or not. What
 * cannot be undone keeps what it has, and the pod gets something else.
 */
static enum turn_verdict decide_pod(const struct turn_view *view, struct err *err)
{
	const struct turn_record *record = &view->by_pod;

	(void)err; /* nothing of the pod's own is in its way */
	if (!record->a || same_record(record, &view->by_key))
		return TURN_RESERVE;
	if (!is_settled(record))
		return TURN_WAIT;
	return record->failed ? TURN_RESERVE : TURN_UNDO;
}

/* A pod of this name was forced away, and its index is this one's: its DEL passes us. */
static enum turn_verdict decide_identity(const struct turn_view *view, struct err *err)
{
	(void)err;
	return view->by_identity.a ? TURN_WAIT : TURN_RESERVE;
}

enum turn_verdict turn_decide(const struct turn_view *view, const struct attachment **ret_other,
			      struct err *err)
{
	const struct {
		enum turn_verdict (*decide)(const struct turn_view *view, struct err *err);
		const struct attachment *other;
	} sides[] = {
		{ decide_key, view->by_key.a },
		{ decide_device, view->by_device.a },
		{ decide_pod, view->by_pod.a },
		{ decide_identity, view->by_identity.a },
	};
	enum turn_verdict verdict = TURN_RESERVE;

	*ret_other = NULL;
	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
		struct err why;
		enum turn_verdict one = sides[i].decide(view, &why);

		if (one <= verdict)
			continue;
		verdict = one;
		*ret_other = sides[i].other;
		if (one == TURN_REFUSE)
			*err = why;
	}
	return verdict;
}
