/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cannot be done is said before anything is touched. Pure: from the wishes, the record and the
 * view. A refusal names the key, its value and what would do.
 */
#pragma once

#include "base/err.h"
#include "cni/netconf.h"
#include "cni/view.h"
#include "ipamd/proto/proto.h"

/* 0, or the first reason why this attachment cannot be made. */
int refusal_find(const struct netconf *conf, const struct attachment *record,
		 const struct ip_config *net, const struct view *view, struct err *err);
