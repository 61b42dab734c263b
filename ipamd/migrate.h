/* SPDX-License-Identifier: Apache-2.0 */
/* What a store of an older schema holds, in the form of today. */
#pragma once

#include "base/err.h"
#include "ipamd/store.h"

/*
 * Nothing to do in a store of today's schema. Else one transaction of its own: after a crash the
 * store is the old one, or the new one.
 */
int migrate(struct store *store, struct err *err);
