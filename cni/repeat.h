/* SPDX-License-Identifier: Apache-2.0 */
/* ADD, once more, of an attachment that stands: what is there, unless it is not what is asked for.
 */
#pragma once

#include "base/err.h"
#include "cni/request.h"
#include "cni/site.h"
#include "ipamd/proto/proto.h"

/*
 * ERR_DRIFT names what contradicts @request. *@ret_facts is what to tell, read from the kernel: a
 * later plugin of the chain, or the pod, may have changed address, MTU and routes.
 */
int repeat_look(const struct request *request, const struct attachment *record, struct site *site,
		struct facts *ret_facts, struct err *err);
