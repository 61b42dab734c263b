/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/inventory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/uevent.h"
#include "ipamd/batch.h"
#include "ipamd/daemon.h"
#include "ipamd/prepare.h"
#include "ipamd/scan.h"
#include "rt/link.h"

enum { WANTS_MAX = 256 /* more functions than this at once: all */ };

struct inventory {
	struct daemon *daemon;
	struct picture picture;
	struct owners owners;
	struct prepare *prepare;
	struct ledger_vfs vfs;
	struct scanner *scanner; /* the thread's while at_work */

	/* What is to be read next. */
	struct scan_want wants[WANTS_MAX];
	size_t want_count;
	bool all;
	int64_t noted_ms; /* the first of them; 0: none */
	uv_timer_t quiet;

	/* The reading under way, and how the last one went. */
	uv_work_t work;
	bool at_work;
	struct scan_want read[WANTS_MAX];
	size_t read_count;
	bool read_all;
	uint64_t begun_ns; /* uv_hrtime() */
	struct scan scan;
	int result;
	struct err why;
	int64_t begun_ms, ended_ms;
	uint64_t number; /* of the last that has ended */

	int uevent_fd, link_fd;
	uv_poll_t uevents, links;
};

const struct picture *inventory_picture(const struct inventory *inventory)
{
	return &inventory->picture;
}

uint64_t inventory_last(const struct inventory *inventory)
{
	return inventory->number;
}

/* --- owners --- */

static struct vf_entry *vf_of(const struct inventory *inventory, const struct attachment *a)
{
	struct pci_addr addr;

	if (inventory->picture.pf_count == 0 || !baseline_function(&a->device, &addr))
		return NULL;
	return picture_vf(&inventory->picture, &addr, NULL);
}

void inventory_learn(struct inventory *inventory, struct vf_entry *vf)
{
	char key[PROTO_DEVICE_MAX], text[PCI_TEXT + 4];
	struct rebind rebind = { 0 };
	struct err err;
	int r;

	(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&vf->addr, text));
	r = ledger_rebind_of(inventory->daemon->ledger, key, &rebind, &err);
	if (r < 0 && r != -ENOENT)
		log_error("see whether VF %s is to be bound anew: %s", text, err.msg);
	vf->to_rebind = rebind.is_due;
	vf->renumbered = rebind_is_renumbered(&rebind);
	picture_judge(vf);
}

void inventory_learn_all(struct inventory *inventory)
{
	struct picture *picture = &inventory->picture;

	for (size_t i = 0; i < picture->pf_count; i++) {
		for (size_t j = 0; j < picture->pfs[i].vf_count; j++)
			inventory_learn(inventory, &picture->pfs[i].vfs[j]);
	}
}

void inventory_taken(struct inventory *inventory, const struct attachment *a)
{
	struct vf_entry *vf = vf_of(inventory, a);
	struct owned owned = owned_of_record(a);

	if (vf)
		picture_own(vf, a->id, NULL, NULL);
	if (a->device.key[0])
		owners_add(&inventory->owners, &owned);
}

int inventory_find_owner(struct inventory *inventory, const struct baseline *device,
			 const struct owned *wanted, struct owners_clash *ret_clash)
{
	struct pci_addr self = { 0 };

	if (owners_make_room(&inventory->owners) < 0)
		return -ENOMEM;
	(void)baseline_function(device, &self);
	return owners_find(&inventory->owners, &inventory->picture, &self, wanted, ret_clash);
}

void inventory_released(struct inventory *inventory, const struct attachment *a)
{
	struct vf_entry *vf = vf_of(inventory, a);

	owners_remove(&inventory->owners, a->id);
	if (!vf || vf->owner != a->id)
		return;
	inventory_learn(inventory, vf);
	picture_release(vf, uv_hrtime());
	(void)inventory_note(inventory, &vf->addr);
}

struct claim_offer {
	struct inventory *inventory;
	const struct rail *rail;
	const char *not_this;
	char *key;
	struct err *err;
};

static int offer_for_claim(const struct pf_entry *pf, const struct vf_entry *vf, void *arg)
{
	const struct claim_offer *offer = arg;
	char text[PCI_TEXT + 4];
	bool is_free;
	int r;

	if (!rail_matches(offer->rail, pf->netdev, &pf->addr))
		return 0;
	(void)snprintf(offer->key, PROTO_DEVICE_MAX, "pci:%s", pci_format(&vf->addr, text));
	if (strcmp(offer->key, offer->not_this) == 0)
		return 0;
	r = ledger_device_is_free(offer->inventory->daemon->ledger, offer->key, &is_free,
				  offer->err);
	return r < 0 ? r : is_free;
}

static int choose_claimed(const struct rail *rail, const char *not_this, char key[PROTO_DEVICE_MAX],
			  void *arg, struct err *err)
{
	struct inventory *inventory = arg;
	struct claim_offer offer = { inventory, rail, not_this, key, err };
	int r;

	r = picture_offer(&inventory->picture, offer_for_claim, &offer);
	if (r == -ENOMEM)
		return err_nomem(err);
	if (r != 0)
		return r < 0 ? r : 0;
	(void)err_set(err, EBUSY, ERR_AGAIN, "claim rail %s: none of its VFs is free", rail->name);
	err_details(err, "see `spurctl vfs`; a VF is free when its pod has gone");
	return -EBUSY;
}

static void note_claimed(const char *device_key, bool taken, void *arg)
{
	struct inventory *inventory = arg;
	struct pci_addr addr;
	struct vf_entry *vf;

	if (pci_parse(device_key + strlen("pci:"), &addr) < 0)
		return;
	vf = picture_vf(&inventory->picture, &addr, NULL);
	if (vf)
		picture_claim(vf, taken);
}

static void claim_again(const char *device_key, void *arg)
{
	note_claimed(device_key, true, arg);
}

static void own_again(const struct attachment *a, void *arg)
{
	struct inventory *inventory = arg;
	struct vf_entry *vf = vf_of(inventory, a);
	struct owned owned = owned_of_record(a);

	if (owners_make_room(&inventory->owners) == 0)
		owners_add(&inventory->owners, &owned);
	else
		log_error("see who owns the addresses: out of memory");
	if (!vf)
		return;
	/* Of one that was never seen free the record alone knows what it was like. */
	if (vf->fresh && a->device.vf.is_vf)
		picture_own(vf, a->id, &a->device.vf.state, &a->device.ethtool);
	else
		picture_own(vf, a->id, NULL, NULL);
}

void inventory_recount(struct inventory *inventory)
{
	struct picture *picture = &inventory->picture;
	struct err err;

	inventory->owners.count = 0;
	for (size_t i = 0; i < picture->pf_count; i++) {
		for (size_t j = 0; j < picture->pfs[i].vf_count; j++) {
			picture->pfs[i].vfs[j].owner = 0;
			picture->pfs[i].vfs[j].claimed = false;
		}
	}
	if (ledger_claimed_each(inventory->daemon->ledger, claim_again, inventory, &err) < 0)
		log_error("see which VFs are claimed: %s", err.msg);
	if (ledger_devices_each(inventory->daemon->ledger, own_again, inventory, &err) < 0)
		log_error("see who owns the VFs: %s", err.msg);
	for (size_t i = 0; i < picture->pf_count; i++) {
		for (size_t j = 0; j < picture->pfs[i].vf_count; j++)
			picture->pfs[i].vfs[j].fresh = false;
	}
	inventory_learn_all(inventory);
}

/* --- a reading --- */

static void tell(const struct pf_entry *pf, const struct vf_entry *vf)
{
	char text[PCI_TEXT + 4];

	if (!vf && pf->why[0])
		log_warn("PF %s: its VFs are served without a baseline: %s",
			 pci_format(&pf->addr, text), pf->why);
	else if (!vf)
		log_info("PF %s: its VFs can be read", pci_format(&pf->addr, text));
	else if (vf->drifted)
		log_warn("VF %s: %s", pci_format(&vf->addr, text), vf->why);
	else
		log_info("VF %s: is again as it was", pci_format(&vf->addr, text));
}

static void read_now(struct inventory *inventory)
{
	inventory->result =
		scan_read(inventory->scanner, inventory->read_all ? NULL : inventory->read,
			  inventory->read_count, &inventory->scan, &inventory->why);
}

/* What was noted becomes what is read. */
static void reading_begin(struct inventory *inventory)
{
	memcpy(inventory->read, inventory->wants, sizeof(inventory->read));
	inventory->read_count = inventory->want_count;
	inventory->read_all = inventory->all;
	inventory->want_count = 0;
	inventory->all = false;
	inventory->noted_ms = 0;
	inventory->begun_ms = clock_boot_ms();
	inventory->begun_ns = uv_hrtime();
	inventory->scan = (struct scan) { 0 };
}

static void quiet_arm(struct inventory *inventory);

static void reading_end(struct inventory *inventory)
{
	bool fresh = false;
	int r = inventory->result;

	inventory->number++;
	inventory->ended_ms = clock_boot_ms();
	if (r == 0) {
		inventory->scan.begun_ns = inventory->begun_ns;
		r = picture_take(&inventory->picture, &inventory->scan, &fresh, tell);
		if (r < 0)
			(void)err_nomem(&inventory->why);
	}
	if (fresh || inventory->number == 1)
		inventory_recount(inventory);
	if (r < 0) {
		log_error("read the VFs: %s", inventory->why.msg);
		inventory->begun_ms = inventory->ended_ms - INVENTORY_PAUSE_MS; /* not at once */
		(void)inventory_note(inventory, NULL);
	}
}

static void scan_work(uv_work_t *work)
{
	read_now(work->data);
}

static void scan_done(uv_work_t *work, int status)
{
	struct inventory *inventory = work->data;
	struct daemon *d = inventory->daemon;

	(void)status; /* never cancelled */
	inventory->at_work = false;
	if (d->stopping || d->failed) {
		scan_free(&inventory->scan);
		return;
	}
	reading_end(inventory);
	prepare_go(inventory->prepare);
	batch_wake(d->batch, INVENTORY_SEAT);
	quiet_arm(inventory);
}

static void on_quiet(uv_timer_t *timer)
{
	struct inventory *inventory = timer->data;

	if (inventory->at_work || inventory->daemon->stopping)
		return;
	reading_begin(inventory);
	inventory->work.data = inventory;
	inventory->at_work = uv_queue_work(&inventory->daemon->loop, &inventory->work, scan_work,
					   scan_done) == 0;
}

/* When the next reading begins: after the burst, and not so often that the kernel feels it. */
static void quiet_arm(struct inventory *inventory)
{
	int64_t now_ms = clock_boot_ms(), pause_ms, at_ms;

	if (inventory->at_work || !inventory->noted_ms)
		return;
	pause_ms = (inventory->ended_ms - inventory->begun_ms) * INVENTORY_DUTY;
	if (pause_ms > INVENTORY_PAUSE_MS)
		pause_ms = INVENTORY_PAUSE_MS;
	at_ms = now_ms + INVENTORY_QUIET_MS;
	if (at_ms > inventory->noted_ms + INVENTORY_LATE_MS)
		at_ms = inventory->noted_ms + INVENTORY_LATE_MS;
	if (at_ms < inventory->ended_ms + pause_ms)
		at_ms = inventory->ended_ms + pause_ms;
	(void)uv_timer_start(&inventory->quiet, on_quiet,
			     at_ms > now_ms ? (uint64_t)(at_ms - now_ms) : 0, 0);
}

static void add_want(struct inventory *inventory, const struct pci_addr *addr, bool list)
{
	for (size_t i = 0; i < inventory->want_count; i++) {
		if (pci_same(&inventory->wants[i].addr, addr)) {
			inventory->wants[i].list = inventory->wants[i].list || list;
			return;
		}
	}
	if (inventory->want_count == WANTS_MAX)
		inventory->all = true;
	else
		inventory->wants[inventory->want_count++] = (struct scan_want) { *addr, list };
}

static uint64_t note(struct inventory *inventory, const struct pci_addr *addr, bool list)
{
	struct pf_entry *pf = NULL;

	if (!addr)
		inventory->all = true;
	else if (picture_vf(&inventory->picture, addr, &pf) ||
		 (pf = picture_pf(&inventory->picture, addr)))
		add_want(inventory, &pf->addr, list || pf->why[0]);
	else
		add_want(inventory, addr, true);
	if (!inventory->noted_ms)
		inventory->noted_ms = clock_boot_ms();
	quiet_arm(inventory);
	return inventory->number + 1 + inventory->at_work;
}

uint64_t inventory_note(struct inventory *inventory, const struct pci_addr *addr)
{
	return note(inventory, addr, true);
}

/* --- events --- */

static void on_uevent(const struct uevent *event, void *arg)
{
	struct inventory *inventory = arg;
	bool pci = strcmp(event->subsystem, "pci") == 0;

	if (!event->has_pci || (!pci && strcmp(event->subsystem, "net") != 0 &&
				strcmp(event->subsystem, "infiniband") != 0))
		return;
	if (!pci && inventory->picture.pf_count == 0)
		return; /* a NIC without VFs; those that get some are told of on "pci" */
	(void)note(inventory, &event->pci, pci);
	if (pci && strcmp(event->action, "remove") == 0)
		picture_forget(&inventory->picture, &event->pci);
}

/* What is missed is looked up. */
static void after_events(struct inventory *inventory, int r)
{
	if (r == 0)
		return;
	if (r != -ENOBUFS)
		log_warn("watch devices: %s", strerror(-r));
	(void)inventory_note(inventory, NULL);
}

static void on_uevents(uv_poll_t *poll, int status, int events)
{
	struct inventory *inventory = poll->data;
	struct err err;

	(void)events;
	after_events(inventory, uevent_read(inventory->uevent_fd, on_uevent, inventory, &err));
	if (status < 0) /* an overrun, which libuv stops at */
		(void)uv_poll_start(poll, UV_READABLE, on_uevents);
}

static void on_link(int ifindex, bool deleted, void *arg)
{
	struct inventory *inventory = arg;

	(void)deleted;
	for (size_t i = 0; i < inventory->picture.pf_count; i++) {
		const struct pf_entry *pf = &inventory->picture.pfs[i];

		if (pf->ifindex == ifindex)
			(void)inventory_note(inventory, &pf->addr);
	}
}

static void on_links(uv_poll_t *poll, int status, int events)
{
	struct inventory *inventory = poll->data;
	struct err err;

	(void)events;
	after_events(inventory, link_watch_read(inventory->link_fd, on_link, inventory, &err));
	if (status < 0) /* as above */
		(void)uv_poll_start(poll, UV_READABLE, on_links);
}

void inventory_repool(struct inventory *inventory)
{
	if (inventory)
		prepare_go(inventory->prepare);
}

void inventory_tick(struct inventory *inventory)
{
	prepare_tick(inventory->prepare);
}

/* --- start and end --- */

int inventory_start(struct inventory *inventory, struct err *err)
{
	(void)inventory_note(inventory, NULL);
	(void)uv_timer_stop(&inventory->quiet);
	reading_begin(inventory);
	read_now(inventory);
	if (inventory->result < 0) {
		*err = inventory->why;
		return inventory->result;
	}
	reading_end(inventory);
	prepare_go(inventory->prepare);
	return 0;
}

int inventory_open(struct daemon *d, struct inventory **ret_inventory, struct err *err)
{
	struct inventory *inventory = calloc(1, sizeof(*inventory));
	int r;

	if (!inventory)
		return err_nomem(err);
	inventory->daemon = d;
	inventory->uevent_fd = inventory->link_fd = -1;
	inventory->vfs = (struct ledger_vfs) { choose_claimed, note_claimed, inventory };
	r = scanner_open(&inventory->scanner, err);
	if (r == 0)
		r = prepare_open(d, &inventory->picture, &inventory->prepare, err);
	if (r == 0)
		r = uevent_open(&inventory->uevent_fd, err);
	if (r == 0)
		r = link_watch(&inventory->link_fd, err);
	if (r < 0) {
		prepare_free(inventory->prepare);
		scanner_close(inventory->scanner);
		if (inventory->uevent_fd >= 0)
			(void)close(inventory->uevent_fd);
		free(inventory);
		return r;
	}
	(void)uv_timer_init(&d->loop, &inventory->quiet);
	(void)uv_poll_init(&d->loop, &inventory->uevents, inventory->uevent_fd);
	(void)uv_poll_init(&d->loop, &inventory->links, inventory->link_fd);
	inventory->quiet.data = inventory->uevents.data = inventory->links.data = inventory;
	(void)uv_poll_start(&inventory->uevents, UV_READABLE, on_uevents);
	(void)uv_poll_start(&inventory->links, UV_READABLE, on_links);
	ledger_set_vfs(d->ledger, &inventory->vfs);
	*ret_inventory = inventory;
	return 0;
}

void inventory_close(struct inventory *inventory)
{
	if (!inventory)
		return;
	prepare_close(inventory->prepare);
	uv_close((uv_handle_t *)&inventory->quiet, NULL);
	uv_close((uv_handle_t *)&inventory->uevents, NULL);
	uv_close((uv_handle_t *)&inventory->links, NULL);
}

void inventory_free(struct inventory *inventory)
{
	if (!inventory)
		return;
	prepare_free(inventory->prepare);
	scanner_close(inventory->scanner);
	scan_free(&inventory->scan);
	picture_free(&inventory->picture);
	owners_free(&inventory->owners);
	(void)close(inventory->link_fd);
	(void)close(inventory->uevent_fd);
	free(inventory);
}
