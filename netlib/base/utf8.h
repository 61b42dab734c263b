/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8, which all JSON is: what is no UTF-8 cannot be told there, and jansson refuses it without
 * a word. Text that we quote may be anybody's bytes, and text that is cut may end inside a
 * character.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* As RFC 3629 has it: no overlong form, no surrogate, nothing above U+10FFFF. */
bool utf8_is_valid(const char *text);
/*
 * Makes it valid, in place and never longer: the beginning of a character that was cut goes, and
 * each other byte that belongs to none becomes '?'.
 */
void utf8_mend(char *text);
/* As snprintf(), cut at a character's edge. */
void utf8_print(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
