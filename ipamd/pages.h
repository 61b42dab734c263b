/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves the bytes of a store's file without LMDB, which believes what it reads: that each page is
 * what and where its parent says, each key between its neighbours, each value as its checksum says,
 * and that each page is used once or free. So no flipped bit that means anything is left over. Only
 * reads @bytes, and none outside it, whatever they are.
 *
 * Format: LMDB's version 1, with the byte order and word size of this machine (64 bits).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGES_TREES = 32 };

/* What LMDB keeps of a tree. */
struct pages_tree {
	uint32_t pad;
	uint16_t flags;
	uint16_t depth;
	uint64_t branches, leaves, overflows; /* pages of each kind */
	uint64_t entries;
	uint64_t root;
};

/* What a walk has found of it. */
struct pages_sum {
	uint64_t branches, leaves, overflows, entries;
};

struct pages {
	const uint8_t *bytes;
	size_t size;
	uint32_t page_size;
	uint64_t count;        /* of pages, used or free */
	_Atomic uint8_t *seen; /* of each page: how often */
	size_t trees;          /* the first two are the free list and the tables' names */
	struct {
		char name[32];
		int table; /* of enum store_table; -1 = none that this program knows */
		struct pages_tree is;
	} tree[PAGES_TREES];
};

/* A part of a walk, by one thread. */
struct pages_part {
	const struct pages *pages;
	unsigned int part, parts;
	struct pages_sum sum[PAGES_TREES];
	uint64_t freed; /* the last transaction that freed pages */
	char why[160];  /* "" = nothing is wrong */
};

/* Reads what leads to the rest. -EINVAL: it is no store at all; -EPROTONOSUPPORT: of another
 * version of the format; -EUCLEAN: it is damaged, @part->why tells. pages_free() in any case. */
int pages_begin(struct pages *pages, const void *bytes, size_t size, struct pages_part *part);
/* Walks part @part->part of @part->parts, which may go on side by side. False: damaged. */
bool pages_walk(struct pages_part *part);
/* When all parts are walked: whether the sums are right. @part gets the sums of all. */
bool pages_end(struct pages_part *part, const struct pages_part *others, size_t count);
void pages_free(struct pages *pages);
