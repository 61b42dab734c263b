/* SPDX-License-Identifier: Apache-2.0 */
/* What puts.c writes down and replay.c reads: a struct put, its key, its value, and so on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	PUT_TABLE = 'T', /* the key is the name of a table, @dbi its number from here on */
	PUT_VALUE = 'P',
	PUT_DELETE = 'D',
	PUT_COMMIT = 'C',
};

struct put {
	uint32_t kind, dbi, flags, key_len, value_len;
};
