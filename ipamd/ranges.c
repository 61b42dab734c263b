/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ranges.h"

#include <stdlib.h>

static int range_compare(const void *a, const void *b)
{
	const struct index_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

void ranges_merge(struct index_ranges *ranges)
{
	struct index_range *at = ranges->at;
	size_t n = 0;

	if (ranges->count == 0)
		return;
	qsort(at, ranges->count, sizeof(*at), range_compare);
	for (size_t i = 1; i < ranges->count; i++) {
		if (at[i].first > at[n].last + 1)
			at[++n] = at[i];
		else if (at[i].last > at[n].last)
			at[n].last = at[i].last;
	}
	ranges->count = n + 1;
}

const struct index_range *ranges_find(const struct index_ranges *ranges, uint64_t index)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (ranges->at[middle].last < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ranges->count ? &ranges->at[low] : NULL;
}

uint64_t ranges_skip(const struct index_ranges *ranges, uint64_t from)
{
	const struct index_range *range = ranges_find(ranges, from);

	return range && range->first <= from ? range->last + 1 : from;
}

uint64_t ranges_below(const struct index_ranges *ranges, uint64_t end)
{
	uint64_t count = 0;

	for (size_t i = 0; i < ranges->count && ranges->at[i].first < end; i++) {
		uint64_t last = ranges->at[i].last;

		count += (last < end ? last + 1 : end) - ranges->at[i].first;
	}
	return count;
}
