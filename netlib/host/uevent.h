/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says of devices that come, go and change drivers (NETLINK_KOBJECT_UEVENT,
 * lib/kobject_uevent.c). A socket hears of network and RDMA devices of its own namespace only, of
 * all others everywhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/text.h"

/* The texts point into the message. */
struct uevent {
	const char *action;    /* "add", "remove", "bind", "unbind", "move", … */
	const char *devpath;   /* "/devices/pci0000:17/…" */
	const char *subsystem; /* "pci", "net", "infiniband", … */
	bool has_pci;
	struct pci_addr pci; /* the function that it is, or hangs from: the last one in devpath */
};

/*
 * Takes a message of the kernel apart. False if it is none, as those of udev, or without one of the
 * three texts.
 */
bool uevent_parse(const char *buf, size_t len, struct uevent *ret_event);

/* A non-blocking socket that hears the kernel only; the caller owns *@ret_fd. */
int uevent_open(int *ret_fd, struct err *err);

/*
 * Calls @each for every event there is; to be called on an error of the socket too (POLLERR: an
 * overrun). -ENOBUFS: it did, and events were lost: look at all.
 */
int uevent_read(int fd, void (*each)(const struct uevent *event, void *arg), void *arg,
		struct err *err);
