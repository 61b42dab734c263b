/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is an attachment as it should be? Who says how that is:
 *
 * - the record, of what Spur alone owns: the device, that it is up, the attributes of its VF, the
 *   addresses of the ledger, the RDMA device, the tables and rules of `routing`;
 * - prevResult, of what a later plugin of the chain may have changed: the hardware address, the
 * MTU, other addresses, all other routes. What it does not state is not judged;
 * - without a prevResult the record, of everything.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "cni/plan.h"
#include "cni/recorded.h"
#include "cni/site.h"

/*
 * ERR_DRIFT names the first difference. @prev_result NULL: none. @site stands in the pod, or has
 * not found it.
 */
int check_attachment(const struct recorded *recorded, struct site *site, json_t *prev_result,
		     struct err *err);

/* Its parts, for a repeated ADD. */

/*
 * Finds the device of site->record in the pod, and compares the steps of the plan for @recorded
 * with the kernel, but for those that @skips says yes to (NULL: none). *@ret_plan is that plan.
 */
int check_steps(const struct recorded *recorded, struct site *site,
		bool (*skips)(const struct recorded *recorded, const struct plan *plan,
			      const struct step *step),
		struct plan *ret_plan, struct err *err);
/* A route in no table of ours: others may take or move it. */
bool check_is_open_route(const struct recorded *recorded, const struct plan *plan,
			 const struct step *step);
int check_mac(const struct site *site, const struct mac *should, struct err *err);
int check_mtu(const struct site *site, int64_t should, struct err *err);
