/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/seat.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *seat_key(const struct attachment_key *key, char buf[SEAT_KEY_MAX])
{
	(void)snprintf(buf, SEAT_KEY_MAX, "%s/%s/%s", key->network, key->container_id, key->ifname);
	return buf;
}

struct attachment_key seat_key_split(const char *text, char buf[SEAT_KEY_MAX])
{
	struct attachment_key key;

	(void)snprintf(buf, SEAT_KEY_MAX, "%s", text);
	key.network = strsep(&buf, "/");
	key.container_id = strsep(&buf, "/");
	key.ifname = strsep(&buf, "/");
	return key;
}

static int seat_compare(const void *a, const void *b)
{
	return strcmp(((const struct seat *)a)->key, ((const struct seat *)b)->key);
}

struct seat *seat_find(const struct seats *seats, const char *key)
{
	struct seat wanted;
	void *node;

	(void)snprintf(wanted.key, sizeof(wanted.key), "%s", key);
	node = tfind(&wanted, &seats->tree, seat_compare);
	return node ? *(struct seat **)node : NULL;
}

struct seat *seat_get(struct seats *seats, const char *key)
{
	struct seat *seat = seat_find(seats, key);

	if (seat)
		return seat;
	seat = calloc(1, sizeof(*seat));
	if (!seat)
		return NULL;
	(void)snprintf(seat->key, sizeof(seat->key), "%s", key);
	if (!tsearch(seat, &seats->tree, seat_compare)) {
		free(seat);
		return NULL;
	}
	seats->count++;
	return seat;
}

void seat_put(struct seats *seats, struct seat *seat)
{
	if (seat->holder || seat->work != SEAT_IDLE || seat->looking || seat->life != TURN_UNKNOWN)
		return;
	(void)tdelete(seat, &seats->tree, seat_compare);
	seats->count--;
	free(seat);
}

struct seat_walk {
	void (*each)(struct seat *seat, void *arg);
	void *arg;
};

static void walk_node(const void *node, VISIT visit, void *closure)
{
	const struct seat_walk *walk = closure;

	if (visit == postorder || visit == leaf)
		walk->each(*(struct seat *const *)node, walk->arg);
}

void seats_each(const struct seats *seats, void (*each)(struct seat *seat, void *arg), void *arg)
{
	struct seat_walk walk = { each, arg };

	twalk_r(seats->tree, walk_node, &walk);
}

void seat_lock(struct seat *seat, struct conn *conn, const char *what)
{
	if (!seat->holder) {
		seat->holder = conn_ref(conn);
		seat->next = conn->holds;
		if (seat->next)
			seat->next->prev = seat;
		conn->holds = seat;
	}
	(void)snprintf(seat->holder_name, sizeof(seat->holder_name), "process %d (%s)",
		       (int)conn->pid, what);
}

void seat_unlock(struct seat *seat)
{
	if (seat->prev)
		seat->prev->next = seat->next;
	else
		seat->holder->holds = seat->next;
	if (seat->next)
		seat->next->prev = seat->prev;
	seat->next = seat->prev = NULL;
	conn_unref(seat->holder);
	seat->holder = NULL;
	seat->held_ifindex = 0;
	seat->owes_done = false;
}

/* When the store has failed, nobody has let go of the locks before. */
static void seat_free(void *node)
{
	struct seat *seat = node;

	if (seat->holder)
		seat_unlock(seat);
	free(seat);
}

void seats_free(struct seats *seats)
{
	tdestroy(seats->tree, seat_free);
	*seats = (struct seats) { 0 };
}

/* The pid of a peer in another PID namespace is 0, as is that of a plugin that did not start. */
bool seat_is_worked_by(const struct seat *seat, const struct conn *conn)
{
	return seat->work == SEAT_RUNNING && conn->pid && seat->child_pid == conn->pid;
}

bool seat_is_idle(const struct seat *seat)
{
	return !seat || (!seat->holder && seat->work == SEAT_IDLE);
}

bool seat_is_held_by_other(const struct seat *seat, const struct conn *conn)
{
	return seat->holder && seat->holder != conn;
}

void seat_forget(struct seat *seat)
{
	seat->abandoned = false;
	seat->life = TURN_UNKNOWN;
	seat->looked_ns = 0;
	seat->failures = 0;
	seat->why[0] = '\0';
	if (seat->work != SEAT_RUNNING) {
		seat->work = SEAT_IDLE;
		seat->check = false;
	}
}
