/* SPDX-License-Identifier: Apache-2.0 */
/* Attachments as spurctl sees them: fetched page by page, found by what people call them, shown. */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/err.h"
#include "ipamd/client/client.h"

/* All records, an array as attachment.list gives them; a new reference. */
int records_fetch(struct client *client, json_t **ret_records, struct err *err);
/* Those that have this address or device, belong to this pod or container, or have this key. */
int records_match(json_t *records, const char *what, json_t **ret_matches, struct err *err);
/* A table for people. */
int records_print(json_t *records, bool wide, struct err *err);
/* One record with all there is to tell, and what has happened to it. */
int record_print(json_t *record, json_t *events, struct err *err);

/* "3m", "2h", "5d": how long ago a wall-clock time in ms was. */
enum { AGE_TEXT = 24 };
const char *age_format(int64_t then_ms, char buf[AGE_TEXT]);
