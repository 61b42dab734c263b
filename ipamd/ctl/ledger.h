/* SPDX-License-Identifier: Apache-2.0 */
/* check, export, import: the ledger as a whole. */
#pragma once

#include "base/err.h"
#include "ipamd/ctl/command.h"

int ledger_check_run(struct ctl *ctl, struct err *err);
int ledger_export_run(struct ctl *ctl, struct err *err);
int ledger_import_run(struct ctl *ctl, struct err *err);
