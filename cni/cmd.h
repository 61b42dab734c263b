/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs: one file each. They print their result; main.c prints their error. */
#pragma once

#include "base/err.h"
#include "cni/request.h"

int cmd_add(const struct request *request, struct err *err);
int cmd_del(const struct request *request, struct err *err);
int cmd_check(const struct request *request, struct err *err);
int cmd_status(const struct request *request, struct err *err);
int cmd_gc(const struct request *request, struct err *err);
int cmd_version(const struct request *request, struct err *err);

/* No verbs, but what spur-ipamd starts to prepare a free VF: see cmd_bind_guid.c, cmd_rebind.c. */
int cmd_bind_guid(const char *pci, const char *guid, struct err *err);
int cmd_rebind(const char *pci, struct err *err);
