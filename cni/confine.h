/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What spur gives up before it looks at what pods make. A runtime starts it with all that root may
 * do, and no verb needs most of it; but whoever starts a foreign IPAM has to leave it all of that.
 */
#pragma once

#include "base/err.h"
#include "cni/netconf.h"
#include "cni/request.h"

/*
 * Makes no capability effective that @verb does without; a program that it starts has them all. For
 * a verb that does not know yet whose IPAM it will ask.
 */
int confine_lower(enum verb verb, struct err *err);

/*
 * If @conf, the one whose IPAM this call asks, has a foreign one: the same. If not, what @verb does
 * without is given up for good, and so are new privileges, and all system calls but those of
 * cni/filter_bpf.c: no program can be started.
 */
int confine(enum verb verb, const struct netconf *conf, struct err *err);

/* The same for "spur bind-guid" and "spur rebind". */
int confine_prepare(struct err *err);
