/* SPDX-License-Identifier: Apache-2.0 */
/* Walking a plan: forward in ADD, backward when ADD fails and in DEL. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "cni/plan.h"
#include "cni/site.h"

/*
 * Applies all steps. On failure @err names the step, and *@ret_done is the number of steps that may
 * have left something, the failed one included: what plan_revert() has to undo.
 */
int plan_apply(const struct plan *plan, struct site *site, size_t *ret_done, struct err *err);

/*
 * Undoes the first @count steps, the last one first, and goes on past a failure: as much as
 * possible is undone. Sets site->outcome. Returns the first failure.
 */
int plan_revert(const struct plan *plan, size_t count, struct site *site, struct err *err);
