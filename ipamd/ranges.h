/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of indexes as sorted ranges. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct index_range { /* inclusive */
	uint64_t first, last;
};

struct index_ranges {
	struct index_range *at; /* the owner frees it */
	size_t count;
};

/* Sorts them, and joins those that overlap or touch. The others need that. */
void ranges_merge(struct index_ranges *ranges);
/* The range that @index lies in, else the first one above it, else NULL. O(log n). */
const struct index_range *ranges_find(const struct index_ranges *ranges, uint64_t index);
/* The first index >= @from that is in none. O(log n). */
uint64_t ranges_skip(const struct index_ranges *ranges, uint64_t from);
/* How many indexes below @end are in one. */
uint64_t ranges_below(const struct index_ranges *ranges, uint64_t end);
