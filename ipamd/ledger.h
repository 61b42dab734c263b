/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: requests become changes of the store. Knows records, pools, rest and history; knows
 * nothing of sockets, locks, the kernel or processes. One thread.
 *
 * Every change happens between ledger_begin() and ledger_commit(): one write transaction for a
 * whole batch (group commit). A change validates first and writes then, so that a refusal leaves
 * the batch as it was, but for records of an earlier boot that it has met. A store error poisons
 * the batch: ledger_commit() aborts it and returns the error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/audit.h"
#include "ipamd/dump.h"
#include "ipamd/history.h"
#include "ipamd/pool.h"
#include "ipamd/proto/proto.h"
#include "ipamd/rebind.h"

struct ledger;

/*
 * Opens (or creates) the store in directory @state: flock first, then the environment. @boot_id is
 * that of the running kernel: records of another boot count as absent, and a lookup that meets one
 * inside a batch drops it. A store of an older schema is brought up to date. Errors (ERR_STORE): a
 * second daemon, a foreign file, a newer schema, no permission, full or read-only disk.
 */
int ledger_open(const char *state, const char *boot_id, struct ledger **ret_ledger,
		struct err *err);
void ledger_close(struct ledger *ledger); /* NULL is fine */

enum { LEDGER_NAME_TEXT = 33 /* bytes, with the NUL */ };

/* Is there a store in directory @state? One that cannot be looked at counts as there. */
bool ledger_is_there(const char *state);
/* Does the directory still lead to the store that is open? Its file system may have been unmounted,
 * or somebody has removed it: what is written would be lost with the process. */
bool ledger_is_there_still(const struct ledger *ledger);
/*
 * What tells this ledger from any other: random, kept in the store, and not in an export. "": it
 * has none yet. ledger_give_name() gives it one, in a batch of its own, and returns it too.
 */
int ledger_name(struct ledger *ledger, char ret_name[LEDGER_NAME_TEXT], struct err *err);
int ledger_give_name(struct ledger *ledger, char ret_name[LEDGER_NAME_TEXT], struct err *err);
/* Attachments of this boot; inside a batch with its changes. No look at the store. */
bool ledger_has_attachments(const struct ledger *ledger);

/*
 * Makes @set (taken on success) the effective pools and keeps its source in the store, in a batch
 * of its own. Refused, whole (-EBUSY, ERR_VALUE), if an attachment holds an address that would map
 * to another index, rail or pool, or an index that would get another address, or if a GUID that has
 * an owner would come to a rail of other PFs. What is held outside the new pools stays held, as
 * draining; nothing new is given from there.
 */
int ledger_set_pools(struct ledger *ledger, struct pool_set *set, struct err *err);
/* The pools kept in the store by the last ledger_set_pools(), which are the effective ones from
 * ledger_open() on; -ENOENT if there are none yet. */
int ledger_stored_pools(struct ledger *ledger, struct pool_set *ret_set, struct err *err);
const struct pool_set *ledger_pools(const struct ledger *ledger);

/* A rail that holds something; it may have left the pools. */
struct rail_held {
	char pool[PROTO_POOL_MAX + 1], rail[PROTO_POOL_MAX + 1];
	uint64_t held;
	uint64_t draining; /* of these: what the pools do not give any more */
};
struct rails_held {
	struct rail_held *at;
	size_t count;
};
void rails_held_free(struct rails_held *held);
/* Appends a copy; returns it, or NULL if out of memory. */
struct rail_held *rails_held_add(struct rails_held *held, const struct rail_held *rail);

/*
 * What ledger_set_pools() would answer to @set; nothing is changed. *@ret_held: the rails that hold
 * something, with what would drain; on -EBUSY too. The caller frees it.
 */
int ledger_try_pools(struct ledger *ledger, const struct pool_set *set, struct rails_held *ret_held,
		     struct err *err);
/* The rails, of the pools and of none, on which something drains. The caller frees it. */
int ledger_draining(struct ledger *ledger, struct rails_held *ret_held, struct err *err);

int ledger_begin(struct ledger *ledger, struct err *err);
int ledger_commit(struct ledger *ledger, struct err *err); /* durable on success */
void ledger_abort(struct ledger *ledger);
/* Of what a commit returned: a flush failed, and nobody knows what is on the disk. Only a new start
 * can tell. */
bool ledger_is_broken(const struct err *err);

/* The disk is full: only what is there can be changed, no reservation is taken. */
bool ledger_is_tight(const struct ledger *ledger);
/* Bytes of the store, used or free, when the last batch began. */
uint64_t ledger_size(const struct ledger *ledger);

/*
 * Reads. Inside a batch they see its changes; outside they open a read transaction of their own.
 * Not found: -ENOENT, no @err set. The caller frees *@ret_a with attachment_free(). It is a head,
 * without env and netconf, but from ledger_find_whole() and ledger_next().
 */
int ledger_find(struct ledger *ledger, const struct attachment_key *key, struct attachment *ret_a,
		struct err *err);
int ledger_find_whole(struct ledger *ledger, const struct attachment_key *key,
		      struct attachment *ret_a, struct err *err);
/* As ledger_find(), but the JSON text of the record; the caller frees it. */
int ledger_find_text(struct ledger *ledger, const struct attachment_key *key, char **ret_text,
		     struct err *err);
int ledger_find_id(struct ledger *ledger, uint64_t id, struct attachment *ret_a, struct err *err);
int ledger_find_device(struct ledger *ledger, const char *device_key, struct attachment *ret_a,
		       struct err *err);
/* By pod UID + network + ifname. */
int ledger_find_pod(struct ledger *ledger, const char *uid, const struct attachment_key *key,
		    struct attachment *ret_a, struct err *err);
/* The first record with an id greater than @after; -ENOENT at the end. */
int ledger_next(struct ledger *ledger, uint64_t after, struct attachment *ret_a, struct err *err);

/* Every record that has a device, in no order that means anything; the others, which may be many
 * more, are not looked at. @visit must not call the ledger. */
int ledger_devices_each(struct ledger *ledger, void (*visit)(const struct attachment *a, void *arg),
			void *arg, struct err *err);

/* What a pass over all records asks of each; no record is read for it. */
struct ledger_brief {
	uint64_t id;
	int32_t nsid; /* -1 = none */
	uint64_t cookie;
	enum attachment_state state;
	int64_t boot_time_ms;
	bool this_boot;
};
/* The one after *@brief, by nsid (-1 last) and then id. Begin with a zeroed one; -ENOENT at the
 * end. */
int ledger_next_brief(struct ledger *ledger, struct ledger_brief *brief, struct err *err);

/* How many records there are, without a look at them. */
struct ledger_counts {
	uint64_t unfinished, attached, dirty, unconfirmed;
	uint64_t rebooted; /* of an earlier boot: nobody can find them any more */
};
int ledger_counts(struct ledger *ledger, struct ledger_counts *ret_counts, struct err *err);

/* Drops at most @limit records of earlier boots; only inside a batch. *@ret_count: how many. */
int ledger_drop_rebooted(struct ledger *ledger, size_t limit, size_t *ret_count, struct err *err);
/* How many were dropped since the ledger was opened, also by a lookup. */
uint64_t ledger_rebooted(const struct ledger *ledger);

/*
 * The rail that @request names (of the pool that it names, else of the first pool with such a
 * rail), for a VF to be chosen by: see rail_has_match() and rail_matches(). *@ret_rail lives until
 * the next ledger_set_pools(). -ENOENT (ERR_VALUE): there is no such pool or rail; -EINVAL
 * (ERR_VALUE): none is named, and the pool has several.
 */
int ledger_find_rail(const struct ledger *ledger, const struct reserve_request *request,
		     const struct rail **ret_rail, struct err *err);

/*
 * The VFs that a pod claims without naming them: the ledger knows no devices but those it is told
 * of. Both are called inside a batch.
 */
struct ledger_vfs {
	/* Any free VF of @rail but @not_this; -EBUSY (ERR_AGAIN): there is none. */
	int (*choose)(const struct rail *rail, const char *not_this, char key[PROTO_DEVICE_MAX],
		      void *arg, struct err *err);
	/* The VF is kept for a pod, or is free again. */
	void (*claimed)(const char *device_key, bool taken, void *arg);
	void *arg;
};
/* Until then no VF can be claimed. *@vfs outlives the ledger. */
void ledger_set_vfs(struct ledger *ledger, const struct ledger_vfs *vfs);

/* Has neither a record nor a claim this device? Inside a batch, or outside. */
int ledger_device_is_free(struct ledger *ledger, const char *device_key, bool *ret_free,
			  struct err *err);
/* The VF that the container of @request has claimed on its rail; -ENOENT: none. */
int ledger_claimed_device(struct ledger *ledger, const struct reserve_request *request,
			  char device_key[PROTO_DEVICE_MAX], struct err *err);
/* Every VF that is claimed now. @visit must not call the ledger. */
int ledger_claimed_each(struct ledger *ledger, void (*visit)(const char *device_key, void *arg),
			void *arg, struct err *err);
/* By pod UID, under another container than @container_id: what a claim has to wait for. */
int ledger_find_pod_other(struct ledger *ledger, const char *uid, const char *container_id,
			  struct attachment *ret_a, struct err *err);

/*
 * The first attachment under the identity of @request that holds an index and is of the same pod by
 * namespace and name, in another container and not under the same UID: that pod has been forced
 * away, and its DEL is on its way. -ENOENT, too, if the request has no use for an identity (its
 * index is named, or the pool remembers none), or its container is under the identity already.
 */
int ledger_find_namesake(struct ledger *ledger, const struct reserve_request *request,
			 struct attachment *ret_a, struct err *err);

/*
 * Claims end by themselves: is one due? Cheap, to be asked each second. The sweep, inside a batch,
 * frees what has waited longer than its pool's "claim_s", or is of an earlier boot.
 */
bool ledger_claims_due(const struct ledger *ledger);
int ledger_claims_sweep(struct ledger *ledger, size_t *ret_count, struct err *err);

/*
 * Changes; only inside a batch.
 *
 * reserve: writes a record in state unfinished with the addresses chosen and @device (the observed
 * baseline, or NULL for none) and returns it in *@ret_a. No text of @request is NULL where
 * reserve_decode() gives none. The caller has made sure that key and
 * device are free (a taken one is -EEXIST, ERR_AGAIN).
 * The rail is the one that the request names, else the one that the device's PF is on, else the
 * pool's only one. GUID and P_Key are those asked for, else the device's own (ledger_guid_of) and
 * the rail's.
 * The index: the one asked for by address or number, which may rest; else the one that the
 * container has claimed there; else the one that it has on another rail of the pool, if it is free
 * here; else the one that its identity ("sticky") had, if nobody else has it or has left it to
 * rest; else one that still rests of the pod itself; else the one that has rested longest; else one
 * that was never used. A claim takes, beside
 * the own rail, an index on each rail that it names and that the container has nothing on yet (the
 * same on all, if one is found), and a VF if one is chosen here too: all in this change, or
 * nothing. Later reserves of the container find them. Refusals: no such pool or rail, a device that
 * is not on it (ERR_VALUE), a static address outside the rail or excluded (ERR_VALUE), held by
 * another or pool exhausted (ERR_AGAIN, with how many rest and until when), a claim of rails that
 * the pool has not or that names one twice (ERR_VALUE), a claimed rail without a free index or VF
 * (ERR_AGAIN), a GUID that no port can have (ERR_VALUE), or that another VF or record has
 * (-EEXIST, ERR_AGAIN, with its name).
 */
int ledger_reserve(struct ledger *ledger, const struct reserve_request *request,
		   const struct baseline *device, struct attachment *ret_a, struct err *err);
/* Writes the facts and state attached. Another generation or no record: -ESTALE. */
int ledger_done(struct ledger *ledger, const struct attachment_key *key, uint64_t generation,
		const struct facts *facts, struct err *err);
/* Of a record that is unfinished: it is unconfirmed now. Of any other, or none: nothing. */
int ledger_unconfirm(struct ledger *ledger, const struct attachment_key *key, uint64_t generation,
		     struct err *err);
/*
 * left && restored (or no device): the record goes, its index rests, history says why.
 * left && !restored: addresses rest, the record stays, dirty. !left: the record stays whole, dirty.
 * never_up: the index rests no longer than it would have without this attachment.
 * used_above: its VF may be due to be rebound (below), whatever becomes of the record.
 * No record, or another generation: success without effect. *@ret_gone: has the record gone now?
 * *@ret_was (unless NULL) is the record that it was about, which the caller frees; id 0: none.
 */
int ledger_release(struct ledger *ledger, const struct attachment_key *key, uint64_t generation,
		   const struct release *how, struct attachment *ret_was, bool *ret_gone,
		   struct err *err);

/*
 * GUIDs: each has one owner. That is the VF that it belongs to, in use or not, or the record that
 * asked for it by name, which gives it up when it goes.
 *
 * guid_of: the VF's own; -ENOENT if it has none. guid_assign, only inside a batch: the VF's own if
 * it lies in the rail's block (or a record owns the VF: it is in use), else the lowest one there
 * that is free, which is then its own, and the one that it had is free. -ENOENT (ERR_VALUE): the
 * rail has no guidBase; -EAGAIN (ERR_AGAIN): its block is used up.
 * guid_each: in order of GUIDs, with the owner: a device key, or "record:ID". @visit must not call
 * the ledger.
 */
int ledger_guid_of(struct ledger *ledger, const char *device_key, uint64_t *ret_guid,
		   struct err *err);
int ledger_guid_assign(struct ledger *ledger, const struct rail *rail, const char *device_key,
		       uint64_t *ret_guid, struct err *err);
int ledger_guid_each(struct ledger *ledger,
		     void (*visit)(uint64_t guid, const char *owner, void *arg), void *arg,
		     struct err *err);

/*
 * VFs that are bound to their driver anew before they are given out again: which ones a release
 * says (its `used_above`) together with the pool's `rebind`. After another boot none is.
 *
 * rebind_of: of the VF "pci:ADDRESS"; -ENOENT: there is nothing to be said of it.
 * Only inside a batch: rebound: it is done, and the VF has the RDMA character device @uverbs ("":
 * none) now. plugin_restarted: device plugins have been told what the VFs (NULL: all) have now;
 * *@ret_count of them had been renumbered.
 */
int ledger_rebind_of(struct ledger *ledger, const char *device_key, struct rebind *ret_rebind,
		     struct err *err);
int ledger_rebound(struct ledger *ledger, const char *device_key, const char *uverbs,
		   struct err *err);
int ledger_plugin_restarted(struct ledger *ledger, const char *device_key, int *ret_count,
			    struct err *err);

/* Figures for status and metrics, by rail of each pool: exact. The rest may be reserved now. */
struct rail_usage {
	uint64_t capacity, held, resting, draining, claimed;
};
int ledger_usage(struct ledger *ledger, const struct pool *pool, const struct rail *rail,
		 struct rail_usage *ret_usage, struct err *err);

/*
 * A ledger that only reads, for one other thread: on the same store, with what was last committed
 * when it begins to read, and the pools of that. It ends with ledger_close(), before @ledger does.
 * While it is open the store's map cannot grow: not for longer than a minute.
 */
int ledger_fork(struct ledger *ledger, struct ledger **ret_reader, struct err *err);

/* Does all that is kept fit together? See audit_store(). */
int ledger_audit(struct ledger *ledger, const atomic_bool *cancel, struct audit *ret_audit,
		 struct err *err);

/*
 * dump: all that is kept, as lines (dump.h), by a ledger of ledger_fork(), which does nothing else
 * until dump_free().
 * load: the other way, only inside a batch of its own. Refused (-EEXIST, ERR_VALUE) if there are
 * records or claims; else what is there is replaced. Refused, too, whatever is wrong with the lines
 * (ERR_VALUE, ERR_JSON, ERR_KEY), does not fit today's pools (as ledger_set_pools()), or does not
 * pass the audit: the batch must then be aborted. Records of another boot count as absent, as they
 * did in their own ledger.
 */
int ledger_dump(struct ledger *reader, const char *node, struct dump **ret_dump, struct err *err);
int ledger_load(struct ledger *ledger, FILE *file, struct dump_report *ret_report, struct err *err);

/* Events: one slice of the ring (history.h). The caller frees ret_page->events. */
int ledger_history(struct ledger *ledger, const struct history_query *query,
		   struct history_page *ret_page, struct err *err);
