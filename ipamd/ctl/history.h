/* SPDX-License-Identifier: Apache-2.0 */
/* What has happened, and who had what when: the ring of events, read in pages. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "ipamd/ctl/command.h"

/* Events whose JSON has @match in it (NULL: all), oldest first: a new array. */
int history_fetch(struct ctl *ctl, const char *match, json_t **ret_events, struct err *err);

/* "2026-11-27 12:00:00" (or with T, or without seconds), "12:00", "-2h" (s, m, h, d), or seconds
 * since 1970. -EINVAL: none of these. */
int history_time(const char *text, int64_t *ret_ms);

int history_run(struct ctl *ctl, struct err *err);
