/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned columns for people; colours only where a person looks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_COLUMNS_MAX = 12, TABLE_CELL_MAX = 1024 };

struct table {
	size_t columns;
	bool colour;
	char **cells; /* row by row, the heads first; owned */
	size_t count, size;
	bool failed; /* out of memory: nothing is printed */
};

/* Are colours wanted on stdout? A terminal, and NO_COLOR unset or empty. */
bool table_wants_colour(void);

void table_begin(struct table *table, const char *const *heads, size_t columns);
/* The next cell; rows follow from the number of columns. An empty one is shown as "-". */
void table_cell(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees. 0, or -ENOMEM. */
int table_end(struct table *table);
