/* SPDX-License-Identifier: Apache-2.0 */
/* ADD's one call to the daemon: who asks, for which device and addresses, in which namespace. */
#pragma once

#include "base/err.h"
#include "cni/request.h"
#include "cni/site.h"
#include "ipamd/client/client.h"

/* @site stands in the pod. The caller frees *@ret_record with attachment_free(). */
int reserve(struct client *client, const struct request *request, const struct site *site,
	    struct attachment *ret_record, struct err *err);
