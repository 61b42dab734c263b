/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: every case of "One hand at a time" and "Who is dead" as a row. */
#include "ipamd/turn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* What is asked for, always: rail0/new/net1 of pod u1 in namespace 7, with net:eth1. */
enum { COOKIE = 7, OTHER_COOKIE = 8 };

struct side {
	enum { NONE, OLD, OLDER } record; /* which of two records stands there */
	struct turn_record is;            /* but for its record */
};

static const struct row {
	const char *name;
	enum attachment_state state; /* of the records */
	uint64_t cookie;
	const char *device;
	struct side key, on_device, pod, identity;
	bool choose; /* no device is named: any free VF will do */
	const char *key_holder;
	enum turn_verdict verdict;
	const char *message; /* of a refusal */
} rows[] = {
	{ "nothing there", .verdict = TURN_RESERVE },
	{ "the key's lock is taken, no record", .key_holder = "process 1", .verdict = TURN_WAIT },

	/* The same key. */
	{ "this very attachment stands", ATTACHMENT_ATTACHED, COOKIE, "net:eth1", .key = { OLD },
	  .on_device = { OLD }, .pod = { OLD }, .verdict = TURN_SERVE },
	{ "it stands, and its namespace need not be looked at", ATTACHMENT_ATTACHED, COOKIE,
	  "net:eth1", .key = { OLD, { .life = TURN_DEAD } }, .verdict = TURN_SERVE },
	{ "it stands, but is to go", ATTACHMENT_ATTACHED, COOKIE, "net:eth1",
	  .key = { OLD, { .undoing = true } }, .verdict = TURN_UNDO },
	{ "another verb has it", ATTACHMENT_ATTACHED, COOKIE, "net:eth1",
	  .key = { OLD, { .holder = "process 1" } }, .key_holder = "process 1",
	  .verdict = TURN_WAIT },
	{ "other namespace, nobody has looked", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .key = { OLD }, .verdict = TURN_LOOK },
	{ "other namespace, alive", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .key = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_REFUSE,
	  .message = "reserve net1: already attached otherwise: rail0/old/net9 of pod ns/p" },
	{ "other namespace, dead", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .key = { OLD, { .life = TURN_DEAD } }, .verdict = TURN_UNDO },
	{ "other device", ATTACHMENT_ATTACHED, COOKIE, "net:eth9",
	  .key = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_REFUSE,
	  .message = "reserve net1: already attached otherwise: rail0/old/net9 of pod ns/p" },
	{ "it stands with the device that was chosen for it", ATTACHMENT_ATTACHED, COOKIE,
	  "pci:0000:1a:00.1", .key = { OLD }, .pod = { OLD }, .choose = true,
	  .verdict = TURN_SERVE },
	{ "a device was chosen, by this connection itself", ATTACHMENT_UNFINISHED, COOKIE,
	  "pci:0000:1a:00.1", .key = { OLD, { .mine = true } }, .choose = true,
	  .verdict = TURN_SERVE },
	{ "a device was chosen, in another namespace", ATTACHMENT_ATTACHED, OTHER_COOKIE,
	  "pci:0000:1a:00.1", .key = { OLD }, .choose = true, .verdict = TURN_LOOK },
	{ "a device is to be chosen, and it stands without one", ATTACHMENT_ATTACHED, COOKIE, "",
	  .key = { OLD, { .life = TURN_ALIVE } }, .choose = true, .verdict = TURN_REFUSE,
	  .message = "reserve net1: already attached otherwise: rail0/old/net9 of pod ns/p" },
	{ "none is asked for, and it stands with one", ATTACHMENT_ATTACHED, COOKIE,
	  "pci:0000:1a:00.1", .key = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_REFUSE,
	  .message = "reserve net1: already attached otherwise: rail0/old/net9 of pod ns/p" },
	{ "a device is to be chosen for a new sandbox", ATTACHMENT_ATTACHED, OTHER_COOKIE,
	  "pci:0000:1a:00.1", .pod = { OLD }, .choose = true, .verdict = TURN_UNDO },
	{ "a device is to be chosen, nothing is there", .choose = true, .verdict = TURN_RESERVE },
	{ "both namespaces unknown are not the same", ATTACHMENT_ATTACHED, 0, "net:eth1",
	  .key = { OLD }, .verdict = TURN_LOOK },
	{ "unfinished, its connection has gone", ATTACHMENT_UNFINISHED, COOKIE, "net:eth1",
	  .key = { OLD }, .verdict = TURN_UNDO },
	{ "unfinished by this connection itself", ATTACHMENT_UNFINISHED, COOKIE, "net:eth1",
	  .key = { OLD, { .mine = true } }, .verdict = TURN_SERVE },
	{ "unfinished since an earlier run", ATTACHMENT_UNFINISHED, COOKIE, "net:eth1",
	  .key = { OLD, { .unseen = true } }, .verdict = TURN_WAIT },
	{ "unconfirmed", ATTACHMENT_UNCONFIRMED, COOKIE, "net:eth1", .key = { OLD },
	  .on_device = { OLD }, .pod = { OLD }, .verdict = TURN_SERVE },
	{ "dirty", ATTACHMENT_DIRTY, COOKIE, "net:eth1", .key = { OLD }, .verdict = TURN_UNDO },
	{ "dirty, and it was tried", ATTACHMENT_DIRTY, COOKIE, "net:eth1",
	  .key = { OLD, { .failed = "no such device" } }, .verdict = TURN_REFUSE,
	  .message = "reserve net1: rail0/old/net9 of pod ns/p: cannot be undone: no such device" },

	/* The device of another key. */
	{ "device of the living", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_REFUSE,
	  .message = "reserve net:eth1: the device belongs to rail0/old/net9 of pod ns/p" },
	{ "device of who knows whom", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD }, .verdict = TURN_LOOK },
	{ "device of the living, unconfirmed", ATTACHMENT_UNCONFIRMED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_REFUSE,
	  .message = "reserve net:eth1: the device belongs to rail0/old/net9 of pod ns/p" },
	{ "device of the dead, unconfirmed", ATTACHMENT_UNCONFIRMED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .life = TURN_DEAD } }, .verdict = TURN_UNDO },
	{ "device of the dead", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .life = TURN_DEAD } }, .verdict = TURN_UNDO },
	{ "device of one that is being released", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .holder = "process 1", .life = TURN_ALIVE } },
	  .verdict = TURN_WAIT },
	{ "device of an ADD that runs", ATTACHMENT_UNFINISHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .holder = "process 1" } }, .verdict = TURN_WAIT },
	{ "device of an ADD that died", ATTACHMENT_UNFINISHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD }, .verdict = TURN_UNDO },
	{ "device of one that is to go", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .undoing = true, .life = TURN_ALIVE } }, .verdict = TURN_UNDO },
	{ "dirty device", ATTACHMENT_DIRTY, OTHER_COOKIE, "net:eth1", .on_device = { OLD },
	  .verdict = TURN_UNDO },
	{ "dirty device, and it was tried", ATTACHMENT_DIRTY, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .failed = "name taken" } }, .verdict = TURN_REFUSE,
	  .message = "reserve net:eth1: rail0/old/net9 of pod ns/p: cannot be undone: name taken" },

	/* The same pod under another container ID. */
	{ "superseded, alive", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .life = TURN_ALIVE } }, .pod = { OLD, { .life = TURN_ALIVE } },
	  .verdict = TURN_UNDO },
	{ "superseded with another device", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth9",
	  .pod = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_UNDO },
	{ "superseded while a verb runs", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .holder = "process 1" } },
	  .pod = { OLD, { .holder = "process 1" } }, .verdict = TURN_WAIT },
	{ "superseded in vain", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth9",
	  .pod = { OLD, { .failed = "busy" } }, .verdict = TURN_RESERVE },
	{ "superseded in vain, and it has the device", ATTACHMENT_DIRTY, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .failed = "busy" } }, .pod = { OLD, { .failed = "busy" } },
	  .verdict = TURN_REFUSE,
	  .message = "reserve net:eth1: rail0/old/net9 of pod ns/p: cannot be undone: busy" },
	{ "superseded, unconfirmed", ATTACHMENT_UNCONFIRMED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .life = TURN_ALIVE } }, .pod = { OLD, { .life = TURN_ALIVE } },
	  .verdict = TURN_UNDO },

	/* Another pod of this name, under the same identity. */
	{ "forced away, its DEL is on its way", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth9",
	  .identity = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_WAIT },
	{ "and it has the device, too", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLD, { .life = TURN_ALIVE } }, .identity = { OLD, { .life = TURN_ALIVE } },
	  .verdict = TURN_WAIT },
	{ "but the device is another's", ATTACHMENT_ATTACHED, OTHER_COOKIE, "net:eth1",
	  .on_device = { OLDER, { .life = TURN_ALIVE } },
	  .identity = { OLD, { .life = TURN_ALIVE } }, .verdict = TURN_REFUSE,
	  .message = "reserve net:eth1: the device belongs to rail0/older/net9 of pod ns/p" },

	/* Two in the way: a refusal beats a wait, a wait an undo. */
	{ "pod superseded, but the device is another's", ATTACHMENT_ATTACHED, OTHER_COOKIE,
	  "net:eth1", .on_device = { OLDER, { .life = TURN_ALIVE } }, .pod = { OLD },
	  .verdict = TURN_REFUSE,
	  .message = "reserve net:eth1: the device belongs to rail0/older/net9 of pod ns/p" },
	{ "pod superseded, and the device is being released", ATTACHMENT_ATTACHED, OTHER_COOKIE,
	  "net:eth1", .on_device = { OLDER, { .holder = "process 1" } }, .pod = { OLD },
	  .verdict = TURN_WAIT },
};

static struct attachment record_of(const struct row *row, int which)
{
	static char names[][8] = { "", "old", "older" };
	static char network[] = "rail0", ifname[] = "net9", namespace[] = "ns", pod[] = "p",
		    uid[] = "u1";
	struct attachment a = {
		.id = (uint64_t)which,
		.state = row->state,
		.network = network,
		.container_id = names[which],
		.ifname = ifname,
		.pod = { namespace, pod, uid },
		.netns.cookie = row->cookie,
	};

	(void)snprintf(a.device.key, sizeof(a.device.key), "%s", row->device ? row->device : "");
	return a;
}

static struct turn_record side_of(const struct side *side, const struct attachment records[3])
{
	struct turn_record record = side->is;

	record.a = side->record == NONE ? NULL : &records[side->record];
	return record;
}

static void decide(const struct row *row)
{
	const struct reserve_request request = {
		.key = { "rail0", "new", "net1" },
		.netns.cookie = row->cookie ? COOKIE : 0,
		.device = row->choose ? NULL : "net:eth1",
		.choose_device = row->choose,
	};
	struct attachment records[3] = { { 0 }, record_of(row, OLD), record_of(row, OLDER) };
	const struct turn_view view = {
		.request = &request,
		.by_key = side_of(&row->key, records),
		.by_device = side_of(&row->on_device, records),
		.by_pod = side_of(&row->pod, records),
		.by_identity = side_of(&row->identity, records),
		.key_holder = row->key_holder,
	};
	struct err err = { .msg = "" };
	const struct attachment *other;
	enum turn_verdict verdict = turn_decide(&view, &other, &err);

	if (verdict != row->verdict)
		fail_msg("%s: verdict %d, not %d (%s)", row->name, verdict, row->verdict, err.msg);
	if (verdict == TURN_UNDO || verdict == TURN_LOOK || verdict == TURN_SERVE)
		assert_non_null(other);
	if (verdict != TURN_REFUSE) {
		assert_string_equal(err.msg, "");
		return;
	}
	assert_int_equal(err.code, ERR_AGAIN);
	if (strcmp(err.msg, row->message) != 0)
		fail_msg("%s: says \"%s\", not \"%s\"", row->name, err.msg, row->message);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		decide(&rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
