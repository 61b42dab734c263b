/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration would change, before the daemon is told to read it. */
#pragma once

#include "base/err.h"
#include "ipamd/ctl/command.h"

/* Prints what the daemon says of ctl->diff; -EBUSY with its reason if it would refuse the file. */
int diff_run(struct ctl *ctl, struct err *err);
