/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ordinary JSON, quickly: jansson reads a byte at a time through three layers and writes through a
 * callback, which is most of what a request costs the daemon. What is out of the ordinary is left
 * to jansson, which so has the last word on everything that is refused.
 */
#pragma once

#include <stddef.h>

#include <jansson.h>

/*
 * What json_loadb(…, JSON_REJECT_DUPLICATES) makes of @text, or NULL: @text is not JSON, or out of
 * the ordinary (an escape, a byte beyond ASCII, a number that is no integer, deep nesting), or
 * memory is out.
 */
json_t *json_text_read(const char *text, size_t len);

/*
 * What json_dumps(@json, JSON_COMPACT) makes of an object or array; the caller frees it. NULL: out
 * of the ordinary, or out of memory.
 */
char *json_text_write(const json_t *json);
