/* SPDX-License-Identifier: Apache-2.0 */
/* May the pools be changed under what is held? */
#pragma once

#include "base/err.h"
#include "ipamd/ledger.h"
#include "ipamd/pool.h"
#include "ipamd/store.h"

/*
 * An index that is held must have the same addresses in @after, or not be in its rail at all and
 * its addresses nobody's; a GUID that is owned must not come to a rail of other PFs. Otherwise
 * -EBUSY (ERR_VALUE), naming the holder.
 * What a record below @first_id holds, of an earlier boot, is nobody's any more and refuses
 * nothing.
 * @before: the pools until now. *@ret_held: each rail that holds something, with what of that would
 * drain in @after; complete on -EBUSY too, for the caller to free with rails_held_free().
 * Called inside a transaction; changes nothing.
 */
int edit_check(struct store *store, uint64_t first_id, const struct pool_set *before,
	       const struct pool_set *after, struct rails_held *ret_held, struct err *err);
/* The pools kept in the store; -ENOENT, no @err set: none yet. */
int edit_load(struct store *store, struct pool_set *ret_set, struct err *err);
