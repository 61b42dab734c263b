/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ctl/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

bool table_wants_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no && no[0]);
}

void table_begin(struct table *table, const char *const *heads, size_t columns)
{
	*table = (struct table) { .columns = columns, .colour = table_wants_colour() };
	for (size_t i = 0; i < columns; i++)
		table_cell(table, "%s", heads[i]);
}

static int table_grow(struct table *table)
{
	size_t size = table->size ? table->size * 2 : 64;
	char **more = reallocarray(table->cells, size, sizeof(*more));

	if (!more)
		return -ENOMEM;
	table->cells = more;
	table->size = size;
	return 0;
}

void table_cell(struct table *table, const char *fmt, ...)
{
	char text[TABLE_CELL_MAX];
	va_list ap;
	char *cell;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cell = strdup(text[0] ? text : "-");
	if (!cell || (table->count == table->size && table_grow(table) < 0)) {
		free(cell);
		table->failed = true;
		return;
	}
	table->cells[table->count++] = cell;
}

/* Words that mean the same in every table. */
static const char *colour_of(const char *cell)
{
	static const struct {
		const char *word, *colour;
	} words[] = {
		{ "attached", "\033[32m" },    { "unfinished", "\033[33m" },
		{ "unconfirmed", "\033[33m" }, { "dirty", "\033[31m" },
		{ "broken", "\033[31m" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(cell, words[i].word) == 0)
			return words[i].colour;
	}
	return "";
}

static void print_cell(const struct table *table, size_t i, int width)
{
	const char *cell = table->cells[i];
	const char *colour = i < table->columns ? "\033[1m" : colour_of(cell);
	bool last = i % table->columns == table->columns - 1;

	if (!table->colour || !colour[0])
		printf("%s", cell);
	else
		printf("%s%s\033[0m", colour, cell);
	if (last)
		printf("\n");
	else
		printf("%*s", width - (int)strlen(cell) + 2, "");
}

static void print_all(const struct table *table)
{
	int widths[TABLE_COLUMNS_MAX] = { 0 };

	for (size_t i = 0; i < table->count; i++) {
		int len = (int)strlen(table->cells[i]);

		if (len > widths[i % table->columns])
			widths[i % table->columns] = len;
	}
	for (size_t i = 0; i < table->count; i++)
		print_cell(table, i, widths[i % table->columns]);
}

int table_end(struct table *table)
{
	if (!table->failed)
		print_all(table);
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	return table->failed ? -ENOMEM : 0;
}
