/* SPDX-License-Identifier: Apache-2.0 */
/* What a request was about, for the line that the log has of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/proto/proto.h"

struct request;

/* Of the attachment that was made or has gone. */
struct about {
	bool known;    /* there was one */
	char pod[128]; /* "namespace/name" */
	char device[PROTO_DEVICE_MAX];
	char addresses[2 * IP_TEXT]; /* of each family one; joined by a comma */
};

void about_attachment(struct about *about, const struct attachment *a);

/* One line for a request that has made or ended an attachment, or was refused to. */
void about_log(const struct request *q, uint64_t now_ns);
