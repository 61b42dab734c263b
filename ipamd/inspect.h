/* SPDX-License-Identifier: Apache-2.0 */
/* The audit of the live ledger, in a thread of its own: the loop goes on serving. */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

struct daemon;
struct inspect;

/* The name that requests wait for while an audit runs. */
#define INSPECT_SEAT "the audit"

int inspect_open(struct daemon *d, struct inspect **ret_inspect, struct err *err);
void inspect_close(struct inspect *inspect); /* stops what runs; NULL is fine */
void inspect_free(struct inspect *inspect);  /* after the loop has run dry */

/*
 * Asks for an audit that begins now or later, and returns its number: several who wait share one.
 * When it is over, inspect_last() says so and INSPECT_SEAT is woken.
 */
uint64_t inspect_ask(struct inspect *inspect);

struct inspect_report {
	uint64_t number; /* of the last audit; 0 = there was none */
	json_t *audit;   /* audit_encode(); NULL: it failed… */
	struct err why;  /* …because of this */
};
const struct inspect_report *inspect_last(const struct inspect *inspect);
