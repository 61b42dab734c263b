/* SPDX-License-Identifier: Apache-2.0 */
/* May the pools be changed under what is held? */
#pragma once

#include "base/err.h"
#include "ipamd/pool.h"
#include "ipamd/store.h"

/*
 * An address that is held must mean the same index of the same rail in @after, or nothing at all,
 * and an index that is held must keep its address. Otherwise -EBUSY (ERR_VALUE), naming the holder.
 * @before: the pools until now. Called inside a transaction; changes nothing.
 */
int edit_check(struct store *store, const struct pool_set *before, const struct pool_set *after,
	       struct err *err);
