/* SPDX-License-Identifier: Apache-2.0 */
/* Is an attachment as it was left? Record, prevResult and kernel, compared. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "cni/recorded.h"
#include "cni/site.h"

/*
 * ERR_DRIFT names the first difference. @prev_result (NULL: none) overrides the record in what a
 * later plugin of the chain may have changed: address and MTU. @site stands in the pod, or has not
 * found it.
 */
int check_attachment(const struct recorded *recorded, struct site *site, json_t *prev_result,
		     struct err *err);
