/* SPDX-License-Identifier: Apache-2.0 */
/* `spurctl top`: the node as it is now, drawn again each second. */
#pragma once

#include "base/err.h"
#include "ipamd/ctl/command.h"

/*
 * On a terminal until q, Ctrl-C or the daemon's end; elsewhere, and with --json, once: rates are
 * then those of one second. 0 or -errno with @err.
 */
int top_run(struct ctl *ctl, struct err *err);
