/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each kind of step does to the kernel: one table, one row a kind. A row without `revert` is
 * undone by the move back: addresses, routes and settings go with the device. A row without `check`
 * leaves nothing to compare.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "cni/plan.h"
#include "cni/site.h"

struct step_ops {
	int (*apply)(const struct step *step, struct site *site, struct err *err);
	/* Any number of times, also if apply never ran or stopped halfway. */
	int (*revert)(const struct step *step, struct site *site, struct err *err);
	/* -ESTALE with ERR_DRIFT if the kernel differs. Needs site->link. */
	int (*check)(const struct step *step, struct site *site, struct err *err);
	/* "verb object", as errors name it. */
	void (*describe)(const struct step *step, const struct site *site, char *buf, size_t size);
};

const struct step_ops *step_ops(enum step_kind kind);

enum { STEP_TEXT = 160 };

/* Does a route of a plan stand, in its table or, @anywhere, in any of the pod's? */
int step_route_exists(const struct route *route, const struct site *site, bool anywhere,
		      bool *ret_exists, struct err *err);
/* "DESTINATION via GATEWAY table N"; returns @buf. */
const char *step_route_text(const struct route *route, char buf[STEP_TEXT]);
