/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/prepare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "ipamd/batch.h"
#include "ipamd/child.h"
#include "ipamd/daemon.h"
#include "ipamd/inventory.h"

struct binding {
	struct child child;
	struct prepare *prepare; /* NULL: this place is free */
	struct pci_addr pf, vf;
	uint64_t guid;
	bool rebinds; /* the driver, too */
	char input[1024];
};

struct prepare {
	struct daemon *daemon;
	struct picture *picture;
	struct binding bindings[PREPARE_AT_ONCE];
	bool wanted;         /* there is something to be tried again */
	bool unassigned;     /* the ledger could not be asked, or told: no VF's guid counts */
	int64_t assigned_ms; /* when that was tried last, BOOTTIME */
	int64_t failed_ms;   /* when a binding failed last */
};

int prepare_open(struct daemon *d, struct picture *picture, struct prepare **ret_prepare,
		 struct err *err)
{
	struct prepare *prepare = calloc(1, sizeof(*prepare));

	if (!prepare)
		return err_nomem(err);
	prepare->daemon = d;
	prepare->picture = picture;
	*ret_prepare = prepare;
	return 0;
}

/* Killed, it could leave a VF without its driver; it has a deadline of its own. */
void prepare_close(struct prepare *prepare)
{
	for (size_t i = 0; i < PREPARE_AT_ONCE; i++) {
		if (prepare->bindings[i].prepare)
			child_leave(&prepare->bindings[i].child);
	}
}

void prepare_free(struct prepare *prepare)
{
	free(prepare);
}

/* --- which GUID --- */

static const struct rail *guid_rail(const struct prepare *prepare, const struct pf_entry *pf)
{
	if (!pf->infiniband)
		return NULL;
	return pool_set_guid_rail(ledger_pools(prepare->daemon->ledger), pf->netdev, &pf->addr);
}

static void learn_guid(uint64_t guid, const char *owner, void *arg)
{
	struct prepare *prepare = arg;
	struct pci_addr addr;
	struct vf_entry *vf;

	if (strncmp(owner, "pci:", 4) != 0 || pci_parse(owner + 4, &addr) < 0)
		return;
	vf = picture_vf(prepare->picture, &addr, NULL);
	if (vf)
		vf->guid = guid;
}

static bool is_running(const struct prepare *prepare, const struct vf_entry *vf)
{
	for (size_t i = 0; i < PREPARE_AT_ONCE; i++) {
		if (prepare->bindings[i].prepare && pci_same(&prepare->bindings[i].vf, &vf->addr))
			return true;
	}
	return false;
}

/* One in use keeps what it has; one that is away may be in use by somebody else. */
static bool may_prepare(const struct prepare *prepare, const struct vf_entry *vf)
{
	return !vf->owner && !vf->fresh && !vf->unseen && !picture_is_away(vf) &&
	       !is_running(prepare, vf);
}

static void fail(struct prepare *prepare, struct vf_entry *vf, const char *why)
{
	char text[PCI_TEXT + 4];

	if (!vf->broken || strcmp(vf->trouble, why) != 0)
		log_warn("VF %s: %s: %s", pci_format(&vf->addr, text), picture_trouble(vf), why);
	vf->broken = true;
	vf->failed_ms = clock_boot_ms();
	utf8_print(vf->trouble, sizeof(vf->trouble), "%s", why);
	prepare->wanted = true;
}

static bool lies_in(const struct rail *rail, uint64_t guid)
{
	return guid >= rail->guid_base && guid - rail->guid_base < rail->guid_count;
}

/* @arg: the prepare. Each VF that needs one is given one; what cannot be is told. */
static int assign_all(struct daemon *d, void *arg, struct err *err)
{
	struct prepare *prepare = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < prepare->picture->pf_count; i++) {
		struct pf_entry *pf = &prepare->picture->pfs[i];
		const struct rail *rail = guid_rail(prepare, pf);

		for (size_t j = 0; rail && r == 0 && j < pf->vf_count; j++) {
			struct vf_entry *vf = &pf->vfs[j];
			char key[PROTO_DEVICE_MAX], text[PCI_TEXT + 4];

			if (!may_prepare(prepare, vf) || lies_in(rail, vf->guid))
				continue;
			(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&vf->addr, text));
			r = ledger_guid_assign(d->ledger, rail, key, &vf->guid, err);
			if (r == -EAGAIN) { /* the block is used up: the others keep theirs */
				fail(prepare, vf, err->msg);
				r = 0;
			}
		}
	}
	return r;
}

static bool any_unassigned(const struct prepare *prepare)
{
	for (size_t i = 0; i < prepare->picture->pf_count; i++) {
		const struct pf_entry *pf = &prepare->picture->pfs[i];
		const struct rail *rail = guid_rail(prepare, pf);

		for (size_t j = 0; rail && j < pf->vf_count; j++) {
			if (may_prepare(prepare, &pf->vfs[j]) && !lies_in(rail, pf->vfs[j].guid))
				return true;
		}
	}
	return false;
}

static bool any_infiniband(const struct picture *picture)
{
	for (size_t i = 0; i < picture->pf_count; i++) {
		if (picture->pfs[i].infiniband)
			return true;
	}
	return false;
}

static int assign_now(struct prepare *prepare, struct err *err)
{
	int r;

	for (size_t i = 0; i < prepare->picture->pf_count; i++) {
		for (size_t j = 0; j < prepare->picture->pfs[i].vf_count; j++)
			prepare->picture->pfs[i].vfs[j].guid = 0;
	}
	r = ledger_guid_each(prepare->daemon->ledger, learn_guid, prepare, err);
	if (r == 0 && any_unassigned(prepare))
		r = batch_change(prepare->daemon->batch, assign_all, prepare, err);
	return r;
}

static bool assign(struct prepare *prepare)
{
	struct err err;

	prepare->assigned_ms = clock_boot_ms();
	prepare->unassigned = any_infiniband(prepare->picture) && assign_now(prepare, &err) < 0;
	if (prepare->unassigned)
		log_error("give the VFs their GUIDs: %s", err.msg);
	return !prepare->unassigned;
}

/* --- binding --- */

static void start_due(struct prepare *prepare, int64_t retry_ms);

static void bind_failed(struct prepare *prepare, struct vf_entry *vf, const char *why)
{
	fail(prepare, vf, why);
	prepare->failed_ms = vf->failed_ms;
}

static void is_well(struct vf_entry *vf)
{
	vf->broken = false;
	vf->failed_ms = 0;
}

static void vf_ended(struct prepare *prepare, struct vf_entry *vf, uint64_t guid, int code,
		     const char *why)
{
	char addr[PCI_TEXT + 4], text[GUID_TEXT];

	vf->bound = code ? 0 : guid;
	vf->settled = !code;
	picture_release(vf, uv_hrtime());
	if (code) {
		bind_failed(prepare, vf, why);
		return;
	}
	is_well(vf);
	vf->unconfirmed = true;
	vf->baseline.node_guid = vf->baseline.port_guid = guid;
	log_info("VF %s: has the GUID %s", pci_format(&vf->addr, addr), guid_format(guid, text));
}

struct rebound {
	char key[PROTO_DEVICE_MAX];
	const char *uverbs;
};

static int write_rebound(struct daemon *d, void *arg, struct err *err)
{
	const struct rebound *rebound = arg;

	return ledger_rebound(d->ledger, rebound->key, rebound->uverbs, err);
}

/* Until it is in the ledger it is not done. */
static int rebind_note(struct daemon *d, const struct child *child, const struct pci_addr *vf,
		       char why[CHILD_WHY_MAX])
{
	CLEANUP_JSON json_t *told = json_loads(child->out.text, 0, NULL);
	const char *uverbs = json_string_value(json_object_get(told, "uverbs"));
	struct rebound rebound = { .uverbs = uverbs ? uverbs : "" };
	char text[PCI_TEXT + 4];
	struct err err;

	(void)snprintf(rebound.key, sizeof(rebound.key), "pci:%s", pci_format(vf, text));
	if (batch_change(d->batch, write_rebound, &rebound, &err) == 0)
		return 0;
	utf8_print(why, CHILD_WHY_MAX, "%s", err.msg);
	return err.code;
}

static void rebind_ended(struct prepare *prepare, struct vf_entry *vf, uint64_t guid, int code,
			 const char *why)
{
	char addr[PCI_TEXT + 4];

	if (code) {
		picture_release(vf, uv_hrtime()); /* what it shows may be others by now */
		bind_failed(prepare, vf, why);
		return;
	}
	is_well(vf);
	vf->bound = guid;
	vf->settled = true;
	picture_rebound(vf, uv_hrtime());
	inventory_learn(prepare->daemon->inventory, vf);
	log_info("VF %s: its driver is bound anew", pci_format(&vf->addr, addr));
	if (vf->renumbered)
		log_warn("VF %s: has another RDMA character device than device plugins were told "
			 "of; see `spurctl vfs`",
			 addr);
}

static void on_ended(struct child *child)
{
	struct binding *binding = child->arg;
	struct prepare *prepare = binding->prepare;
	struct daemon *d = prepare->daemon;
	struct vf_entry *vf = picture_vf(prepare->picture, &binding->vf, NULL);
	char why[CHILD_WHY_MAX];
	int code = child_verdict(child, why);

	binding->prepare = NULL;
	if (d->stopping)
		return;
	if (code == 0 && binding->rebinds && !d->failed)
		code = rebind_note(d, child, &binding->vf, why);
	if (vf && binding->rebinds)
		rebind_ended(prepare, vf, binding->guid, code, why);
	else if (vf)
		vf_ended(prepare, vf, binding->guid, code, why);
	(void)inventory_note(d->inventory, &binding->vf);
	if (!d->failed && assign(prepare))
		start_due(prepare, PREPARE_RETRY_MS);
}

/* What the program is to bring back, on its stdin. */
static int rebind_words(struct daemon *d, const struct vf_entry *vf, char *buf, size_t size,
			struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	char key[PROTO_DEVICE_MAX], text[PCI_TEXT + 4], guid[GUID_TEXT];
	struct rebind rebind;
	size_t len;
	int r;

	(void)snprintf(key, sizeof(key), "pci:%s", pci_format(&vf->addr, text));
	r = ledger_rebind_of(d->ledger, key, &rebind, err);
	if (r < 0 && r != -ENOENT)
		return r;
	json = json_pack("{s:s, s:s, s:s, s:s, s:s}", "socket", d->config.socket, "netdev",
			 rebind.netdev, "rdma", rebind.rdma, "uverbs", rebind.uverbs, "guid",
			 vf->guid ? guid_format(vf->guid, guid) : "");
	len = json ? json_dumpb(json, buf, size - 1, JSON_COMPACT) : 0;
	if (len == 0 || len >= size)
		return err_nomem(err);
	buf[len] = '\0';
	return 0;
}

/* @argv: without the program. */
static void program_start(struct prepare *prepare, struct binding *binding, char *argv[4])
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	struct daemon *d = prepare->daemon;

	argv[0] = d->plugin;
	child_start(&binding->child, &d->loop,
		    &(struct child_spec) { .file = d->plugin,
					   .argv = argv,
					   .env = (char *[]) { path, NULL },
					   .input = binding->input,
					   .timeout_ms = PREPARE_TIMEOUT_MS,
					   .ended = on_ended,
					   .arg = binding });
}

static void bind_start(struct prepare *prepare, struct binding *binding, const struct pf_entry *pf,
		       struct vf_entry *vf)
{
	static char bind_guid[] = "bind-guid", rebind[] = "rebind";
	char addr[PCI_TEXT + 4], guid[GUID_TEXT];
	struct err err;

	*binding = (struct binding) {
		.pf = pf->addr,
		.vf = vf->addr,
		.guid = vf->guid,
		.rebinds = vf->to_rebind,
	};
	if (vf->to_rebind &&
	    rebind_words(prepare->daemon, vf, binding->input, sizeof(binding->input), &err) < 0) {
		bind_failed(prepare, vf, err.msg);
		return;
	}
	binding->prepare = prepare;
	(void)pci_format(&vf->addr, addr);
	(void)guid_format(vf->guid, guid);
	program_start(prepare, binding,
		      vf->to_rebind ? (char *[]) { NULL, rebind, addr, NULL, NULL }
				    : (char *[]) { NULL, bind_guid, addr, guid, NULL });
}

/* One that is away is looked at by the program: its release has told that nobody has it. */
static bool may_rebind(const struct prepare *prepare, const struct vf_entry *vf)
{
	return vf->to_rebind && !vf->owner && !vf->fresh && !vf->unseen && !is_running(prepare, vf);
}

static bool is_due(const struct prepare *prepare, bool has_rail, const struct vf_entry *vf,
		   int64_t retry_ms)
{
	const bool may = vf->to_rebind
				 ? may_rebind(prepare, vf)
				 : has_rail && may_prepare(prepare, vf) && picture_needs_guid(vf);

	return may && (!vf->broken || clock_boot_ms() - vf->failed_ms >= retry_ms);
}

/* What the last reading says of a VF that was given its GUID, or failed to be. */
static void confirm(struct prepare *prepare, struct vf_entry *vf)
{
	if (!may_prepare(prepare, vf))
		return;
	if (vf->unconfirmed && picture_needs_guid(vf))
		bind_failed(prepare, vf, "it was bound, and the VF shows another one");
	if (vf->guid && !picture_needs_guid(vf))
		is_well(vf);
	vf->unconfirmed = false;
	vf->settled = vf->settled || vf->driver[0];
}

/* Is it due, and what is shown of it brought up to date? */
static bool mark(struct prepare *prepare, bool has_rail, struct vf_entry *vf, int64_t retry_ms)
{
	bool due;

	if (has_rail && !vf->to_rebind)
		confirm(prepare, vf);
	else if (!vf->to_rebind)
		is_well(vf);
	due = is_due(prepare, has_rail, vf, retry_ms);
	vf->preparing = due || is_running(prepare, vf);
	prepare->wanted = prepare->wanted || vf->broken;
	picture_judge(vf);
	return due;
}

/*
 * Marks what is to be prepared; returns the one whose turn it is: what fails waits until the
 * others have been tried.
 */
static struct vf_entry *mark_all(struct prepare *prepare, struct pf_entry *pf, int64_t retry_ms,
				 bool *changed)
{
	bool has_rail = guid_rail(prepare, pf);
	struct vf_entry *next = NULL;

	for (size_t i = 0; i < pf->vf_count; i++) {
		struct vf_entry *vf = &pf->vfs[i];
		enum vf_use was = vf->use;

		if (mark(prepare, has_rail, vf, retry_ms) &&
		    (!next || vf->failed_ms < next->failed_ms))
			next = vf;
		*changed = *changed || vf->use != was;
	}
	return next;
}

/* Who has to be waited for: another VF of this PF; one whose driver is bound anew; if that is what
 * @vf needs, any. */
static bool is_busy(const struct prepare *prepare, const struct pf_entry *pf,
		    const struct vf_entry *vf)
{
	for (size_t i = 0; i < PREPARE_AT_ONCE; i++) {
		const struct binding *binding = &prepare->bindings[i];

		if (binding->prepare &&
		    (vf->to_rebind || binding->rebinds || pci_same(&binding->pf, &pf->addr)))
			return true;
	}
	return false;
}

static void start_due(struct prepare *prepare, int64_t retry_ms)
{
	bool changed = false;

	prepare->wanted = false;
	for (size_t i = 0; i < prepare->picture->pf_count; i++) {
		struct pf_entry *pf = &prepare->picture->pfs[i];
		struct vf_entry *vf = mark_all(prepare, pf, retry_ms, &changed);

		for (size_t j = 0; vf && !is_busy(prepare, pf, vf) && j < PREPARE_AT_ONCE; j++) {
			if (!prepare->bindings[j].prepare)
				bind_start(prepare, &prepare->bindings[j], pf, vf);
		}
	}
	if (changed)
		batch_wake(prepare->daemon->batch, INVENTORY_SEAT);
}

void prepare_go(struct prepare *prepare)
{
	if (prepare->daemon->stopping || prepare->daemon->failed || !assign(prepare))
		return;
	/* What fails makes events of its own. */
	if (clock_boot_ms() - prepare->failed_ms < PREPARE_EVENT_MS)
		start_due(prepare, PREPARE_RETRY_MS);
	else
		start_due(prepare, PREPARE_EVENT_MS);
}

void prepare_tick(struct prepare *prepare)
{
	if (prepare->daemon->stopping || prepare->daemon->failed)
		return;
	if (prepare->unassigned && clock_boot_ms() - prepare->assigned_ms >= PREPARE_RETRY_MS)
		prepare_go(prepare);
	else if (prepare->wanted && !prepare->unassigned)
		start_due(prepare, PREPARE_RETRY_MS);
}
