/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits that end when the thing happens: a look, and another one each time the kernel tells of the
 * device. The deadline is the only timer, and what other devices do costs no look.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "cni/site.h"

enum await_event {
	AWAIT_LINK,    /* a device came, went or changed; its carrier too */
	AWAIT_ADDRESS, /* an IPv6 address did, or its duplicate address detection has ended */
};

struct await {
	enum await_event event;  /* in the namespace that the process stands in… */
	const struct site *site; /* …and in the host; NULL: there alone */
	int ifindex;             /* of this device; 0: of any */
	int64_t pause_ms;        /* at least so long between two looks, where any counts */
	int64_t deadline_ms;
	/* 1: it has come about; 0: not yet; -errno */
	int (*look)(void *arg, struct err *err);
	void *arg;
};

/* 1: it has come about; 0: not by the deadline; -errno. Who need not wait watches nothing. */
int await_look(const struct await *await, struct err *err);
