/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8, which all JSON is: what is no UTF-8 cannot be told there, and jansson refuses it without
 * a word. Text that we quote may be anybody's bytes, a pod's for instance, and text that is cut may
 * end inside a character; on a terminal some characters are orders.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* As RFC 3629 has it: no overlong form, no surrogate, nothing above U+10FFFF. */
bool utf8_is_valid(const char *text);
/*
 * Makes it one line of valid and printable text, in place and never longer. The beginning of a
 * character that was cut goes; each other byte that belongs to none, and each character that a
 * reader would not see or that changes how others are seen, becomes '?': controls (C0, DEL, C1),
 * marks and overrides of direction, line and paragraph separators, the byte order mark. Tabs and
 * ends of lines become blanks.
 */
void utf8_mend(char *text);
/* As snprintf(), cut at a character's edge, and mended. */
void utf8_print(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
