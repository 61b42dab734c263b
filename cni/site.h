/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the work happens: the host's namespace and the pod's, each with a socket that stays in it.
 * Opened once a verb; the process itself stands in the pod from site_enter() on, so that
 * /proc/sys/net is the pod's.
 *
 * Beside the sockets it carries what the steps work on: the record, the wishes, and where the
 * device is by now.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cni/netconf.h"
#include "host/sysfs.h"
#include "ipamd/proto/proto.h"
#include "rdma/rdma.h"
#include "rt/link.h"
#include "wire/wire.h"

/* How long the kernel may take to empty a dead namespace. */
enum { SITE_HOMECOMING_MS = 2000 };

/* What became of the device when something is undone: the words of attachment.release. */
struct outcome {
	bool left;     /* it is no more in the pod */
	bool restored; /* it is as its baseline says, or gone for good */
};

struct site {
	int host_fd, pod_fd; /* namespaces; pod_fd -1: the pod's cannot be reached */
	struct wire *host, *pod;
	uint64_t pod_cookie;
	bool pod_dead;   /* its namespace is known to be no more */
	bool other_boot; /* nor anything else that the record speaks of */
	int64_t deadline_ms;

	const struct attachment *record;
	const struct netconf *conf;
	/* The device as last read, ifindex 0: not yet; and whether it is in the pod by now. */
	struct link_info link;
	bool in_pod;
	struct {
		char name[SYSFS_NAME_MAX]; /* "": none that the pod may use */
		bool moved;
		bool hangs; /* a move was given up: no other is tried in this call */
		int index;  /* that the kernel knows it by; -1: not yet looked at */
		char uverbs[SYSFS_NAME_MAX]; /* after the move */
		int gid_index;               /* -1: none */
	} rdma;
	uint32_t priorities[PROTO_ROUTES_MAX]; /* of the given routes, as they were added */
	struct outcome outcome;
	bool used_above;   /* an upper was seen on the device, or its receive hook is claimed */
	bool claimed;      /* it still is, by something that cannot be seen */
	bool looked_above; /* all that could be seen before the move has been */
	bool return_tried; /* device_return() has been through; if in vain, why */
	struct err why_not_returned;

	/* Opened when they are asked for: few devices need them. */
	int host_sysfs, pod_sysfs;         /* -1: not yet */
	struct wire *host_rdma, *pod_rdma; /* NULL: not yet, or this kernel has no RDMA */
	bool vf_known;
	struct vf_state vf; /* of the record's VF, as its PF shows it */
	bool rdma_mode_known;
	enum rdma_mode rdma_mode;
};

/* Opens the host's side. The caller calls site_close(), also after a failure. */
int site_open(struct site *site, int64_t deadline_ms, struct err *err);
/*
 * Goes into the namespace at @path and opens the pod's side. Not a namespace, or our own: ERR_ENV.
 */
int site_enter(struct site *site, const char *path, struct err *err);
/*
 * For DEL and CHECK: as site_enter(), but only if one of the paths (either may be NULL) leads to
 * the very namespace of the record. Otherwise pod stays NULL, and pod_dead says whether the
 * namespace has died. Fails only if the host cannot be asked.
 */
int site_enter_recorded(struct site *site, const char *path, struct err *err);

/* The sysfs of the host, or of the pod that we stand in. The site keeps it. */
int site_sysfs(struct site *site, bool in_pod, int *ret_fd, struct err *err);
/* A socket of NETLINK_RDMA in the host, or in the pod that we stand in; NULL: no RDMA. Likewise. */
int site_rdma(struct site *site, bool in_pod, struct wire **ret_wire, struct err *err);
/* Shared or exclusive: asked once. */
int site_rdma_mode(struct site *site, enum rdma_mode *ret_mode, struct err *err);

/* Back to the host: for a verb that has more to do there. */
int site_leave(const struct site *site, struct err *err);
void site_close(struct site *site);
