/* SPDX-License-Identifier: Apache-2.0 */
/* Policy rules "from ADDRESS lookup TABLE", marked with RT_PROTOCOL_SPUR. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/wire.h"

struct rule_spec {
	struct ip from; /* a whole address: /32 or /128 */
	uint32_t table;
	uint32_t priority;
};

int rule_add(struct wire *rt, const struct rule_spec *rule, struct err *err); /* there: success */
int rule_del(struct wire *rt, const struct rule_spec *rule, struct err *err); /* gone: success */
/* Is it there, whatever its priority, among however many others? 1, 0 or -errno. */
int rule_find(struct wire *rt, const struct rule_spec *rule, struct err *err);
