/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/pages.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipamd/crc32c.h"
#include "ipamd/store.h"

enum {
	META_MAGIC = 0xbeefc0de,
	META_VERSION = 1,
	FREE_FLAGS = 0x08,       /* keys are integers */
	FREE_FLAGS_NEW = 0x4008, /* ..., and it was made under another name */
	PAGE_HEAD = 16,
	PAGE_BRANCH = 0x01,
	PAGE_LEAF = 0x02,
	PAGE_OVERFLOW = 0x04,
	PAGE_META = 0x08,
	NODE_HEAD = 8,
	NODE_BIG = 0x01, /* its value has pages of its own */
	NODE_TREE = 0x02,
	TREE_FREE = 0,
	TREE_NAMES = 1,
	DEPTH_MAX = 32,
	BEYOND_END_MAX = 65536, /* pages that were taken and given back before they were written */
};

struct page {
	uint64_t number;
	uint16_t pad, flags;
	union {
		struct {
			uint16_t lower, upper; /* of the free space */
		};
		uint32_t pages; /* of an overflow page */
	};
};

struct node {
	uint16_t low, high; /* length of the value, or number of the page below */
	uint16_t flags;     /* or the rest of that number */
	uint16_t key_size;
};

struct meta {
	uint32_t magic, version;
	uint64_t address, map_size;
	struct pages_tree trees[2];
	uint64_t last_page, txn;
};

struct bytes {
	const uint8_t *data; /* NULL = no bound */
	size_t len;
};

/* One page of a tree, in hand. */
struct leaf_or_branch {
	const uint8_t *bytes;
	uint64_t number;
	struct page head;
	unsigned int keys;
};

__attribute__((format(printf, 3, 4))) static bool damaged(struct pages_part *part, size_t tree,
							  const char *fmt, ...)
{
	va_list args;
	int n;

	n = snprintf(part->why, sizeof(part->why), "table %s: ", part->pages->tree[tree].name);
	va_start(args, fmt);
	(void)vsnprintf(part->why + n, sizeof(part->why) - (size_t)n, fmt, args);
	va_end(args);
	return false;
}

static bool page_claim(struct pages_part *part, size_t tree, uint64_t number, uint64_t count)
{
	const struct pages *pages = part->pages;

	if (number >= pages->count || count > pages->count - number)
		return damaged(part, tree, "page %llu lies behind the last one",
			       (unsigned long long)number);
	for (uint64_t i = number; i < number + count; i++) {
		if (pages->seen[i]++)
			return damaged(part, tree, "page %llu has two uses", (unsigned long long)i);
	}
	return true;
}

/* The bytes of @count pages, which are in the file and begin with the right head. */
static const uint8_t *page_bytes(struct pages_part *part, size_t tree, uint64_t number,
				 struct page *ret_head)
{
	const struct pages *pages = part->pages;
	const uint8_t *bytes;

	if (number >= pages->count || number >= pages->size / pages->page_size) {
		(void)damaged(part, tree, "page %llu lies behind the end of the file",
			      (unsigned long long)number);
		return NULL;
	}
	bytes = pages->bytes + number * pages->page_size;
	memcpy(ret_head, bytes, sizeof(*ret_head));
	if (ret_head->number == number)
		return bytes;
	(void)damaged(part, tree, "page %llu is not itself", (unsigned long long)number);
	return NULL;
}

static bool page_open(struct pages_part *part, size_t tree, uint64_t number, uint16_t flags,
		      struct leaf_or_branch *ret_page)
{
	struct page *head = &ret_page->head;

	ret_page->number = number;
	ret_page->bytes = page_bytes(part, tree, number, head);
	if (!ret_page->bytes)
		return false;
	ret_page->keys = (head->lower - PAGE_HEAD) / 2U;
	if (head->flags != flags || head->lower <= PAGE_HEAD || head->lower % 2 ||
	    head->upper < head->lower || head->upper > part->pages->page_size)
		return damaged(part, tree, "page %llu is no page of a table",
			       (unsigned long long)number);
	return true;
}

/* The node's head and key; *@ret_used is what the node takes of the page but for its value. */
static bool node_open(struct pages_part *part, size_t tree, const struct leaf_or_branch *page,
		      unsigned int index, struct node *ret_node, struct bytes *ret_key)
{
	uint32_t size = part->pages->page_size;
	uint16_t offset;

	memcpy(&offset, page->bytes + PAGE_HEAD + 2U * index, sizeof(offset));
	if (offset >= page->head.upper && offset % 2 == 0 && offset + (uint32_t)NODE_HEAD <= size) {
		memcpy(ret_node, page->bytes + offset, sizeof(*ret_node));
		*ret_key = (struct bytes) { page->bytes + offset + NODE_HEAD, ret_node->key_size };
		if (ret_key->len <= size - offset - NODE_HEAD)
			return true;
	}
	(void)damaged(part, tree, "page %llu, entry %u lies outside of its page",
		      (unsigned long long)page->number, index);
	return false;
}

static uint64_t bytes_u64(const uint8_t *bytes)
{
	uint64_t number;

	memcpy(&number, bytes, sizeof(number));
	return number;
}

static bool key_is_below(size_t tree, struct bytes a, struct bytes b)
{
	int order;

	if (!a.data || !b.data)
		return true;
	if (tree == TREE_FREE)
		return bytes_u64(a.data) < bytes_u64(b.data);
	order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
	return order < 0 || (order == 0 && a.len < b.len);
}

static bool key_is_valid(size_t tree, struct bytes key)
{
	return tree == TREE_FREE ? key.len == sizeof(uint64_t) : key.len > 0;
}

/* The value of an entry whose length is @len: in the page, or in pages of its own. */
static bool value_open(struct pages_part *part, size_t tree, const struct leaf_or_branch *page,
		       struct bytes key, bool is_big, struct bytes *value)
{
	size_t room = page->bytes + part->pages->page_size - (key.data + key.len);
	uint64_t number;
	struct page head;

	value->data = key.data + key.len;
	if ((is_big ? sizeof(number) : value->len) > room)
		return damaged(part, tree, "page %llu: a value ends outside of it",
			       (unsigned long long)page->number);
	if (!is_big)
		return true;
	number = bytes_u64(value->data);
	value->data = page_bytes(part, tree, number, &head);
	if (!value->data || !page_claim(part, tree, number, head.pages))
		return false;
	part->sum[tree].overflows += head.pages;
	value->data += PAGE_HEAD;
	if (head.flags != PAGE_OVERFLOW ||
	    (uint64_t)head.pages * part->pages->page_size < PAGE_HEAD + value->len ||
	    value->len > part->pages->size - (size_t)(value->data - part->pages->bytes))
		return damaged(part, tree, "page %llu is no page of a long value",
			       (unsigned long long)number);
	return true;
}

static bool value_is_free_list(struct pages_part *part, struct bytes value)
{
	uint64_t count = value.len >= sizeof(count) ? bytes_u64(value.data) : UINT64_MAX;

	if (count > value.len / sizeof(count) - 1)
		return damaged(part, TREE_FREE, "a list is longer than its value");
	for (uint64_t i = 1; i <= count; i++) {
		if (!page_claim(part, TREE_FREE, bytes_u64(value.data + i * sizeof(i)), 1))
			return false;
	}
	return true;
}

static bool value_is_tree(struct pages_part *part, struct pages *pages, struct bytes name,
			  struct bytes value)
{
	size_t n = pages->trees;

	if (n == PAGES_TREES || name.len >= sizeof(pages->tree[n].name) ||
	    value.len != sizeof(pages->tree[n].is))
		return damaged(part, TREE_NAMES, "an entry is no table's");
	memcpy(pages->tree[n].name, name.data, name.len);
	memcpy(&pages->tree[n].is, value.data, value.len);
	pages->tree[n].table = -1;
	for (int i = 0; i < STORE_TABLES; i++) {
		if (strcmp(pages->tree[n].name, store_table_name((enum store_table)i)) == 0)
			pages->tree[n].table = i;
	}
	pages->trees++;
	return true;
}

static bool value_is_whole(int table, struct bytes key, struct bytes value)
{
	uint32_t crc;

	if (table < 0)
		return true;
	if (value.len < sizeof(crc))
		return false;
	memcpy(&crc, value.data, sizeof(crc));
	return crc == htobe32(crc32c_value((uint8_t)table, key.data, key.len,
					   value.data + sizeof(crc), value.len - sizeof(crc)));
}

static bool entry_is_good(struct pages_part *part, size_t tree, const struct leaf_or_branch *page,
			  const struct node *node, struct bytes key)
{
	struct bytes value = { .len = node->low | (size_t)node->high << 16 };
	bool is_big = node->flags == NODE_BIG;

	if (!is_big && node->flags != (tree == TREE_NAMES ? NODE_TREE : 0))
		return damaged(part, tree, "page %llu: an entry has flags %#x",
			       (unsigned long long)page->number, node->flags);
	if (!value_open(part, tree, page, key, is_big, &value))
		return false;
	if (tree == TREE_FREE) {
		part->freed = bytes_u64(key.data);
		return value_is_free_list(part, value);
	}
	/* The names are read before there are parts, by pages_begin(). */
	if (tree == TREE_NAMES)
		return value_is_tree(part, (struct pages *)part->pages, key, value);
	if (value_is_whole(part->pages->tree[tree].table, key, value))
		return true;
	return damaged(part, tree, "page %llu: a value is damaged",
		       (unsigned long long)page->number);
}

/* What all nodes of a page take, which LMDB keeps together at its end. */
static size_t node_size(const struct node *node, bool is_leaf)
{
	size_t value = !is_leaf                  ? 0
		       : node->flags == NODE_BIG ? sizeof(uint64_t)
						 : node->low | (size_t)node->high << 16;

	return (NODE_HEAD + node->key_size + value + 1) & ~(size_t)1;
}

static bool page_is_packed(struct pages_part *part, size_t tree, const struct leaf_or_branch *page,
			   size_t used)
{
	if (used == part->pages->page_size - page->head.upper)
		return true;
	return damaged(part, tree, "page %llu: its entries leave gaps or overlap",
		       (unsigned long long)page->number);
}

static bool out_of_order(struct pages_part *part, size_t tree, const struct leaf_or_branch *page)
{
	return damaged(part, tree, "page %llu: its keys are not in order",
		       (unsigned long long)page->number);
}

static bool walk_leaf(struct pages_part *part, size_t tree, uint64_t number, struct bytes low,
		      struct bytes high)
{
	struct leaf_or_branch page;
	struct bytes key, last = { 0 };
	struct node node;
	size_t used = 0;

	if (!page_open(part, tree, number, PAGE_LEAF, &page))
		return false;
	for (unsigned int i = 0; i < page.keys; i++, last = key) {
		if (!node_open(part, tree, &page, i, &node, &key))
			return false;
		if (!key_is_valid(tree, key) || !key_is_below(tree, last, key) ||
		    (i == 0 && low.data && key_is_below(tree, key, low)))
			return out_of_order(part, tree, &page);
		if (!entry_is_good(part, tree, &page, &node, key))
			return false;
		used += node_size(&node, true);
	}
	part->sum[tree].leaves++;
	part->sum[tree].entries += page.keys;
	return page_is_packed(part, tree, &page, used) &&
	       (key_is_below(tree, last, high) || out_of_order(part, tree, &page));
}

static bool walk_page(struct pages_part *part, size_t tree, uint64_t number, unsigned int depth,
		      struct bytes low, struct bytes high);

/* The children of a root are shared out among the parts; the root itself is the first one's. */
static bool is_mine(const struct pages_part *part, bool is_root, unsigned int child)
{
	return !is_root || child % part->parts == part->part;
}

static uint64_t node_child(const struct node *node)
{
	return node->low | (uint64_t)node->high << 16 | (uint64_t)node->flags << 32;
}

/* While one leaf is read the next one comes from memory: the walk is as fast as that. */
static void page_prefetch(const struct pages *pages, uint64_t number)
{
	if (number >= pages->size / pages->page_size)
		return;
	for (uint32_t i = 0; i < pages->page_size; i += 64)
		__builtin_prefetch(pages->bytes + number * pages->page_size + i);
}

static bool walk_branch(struct pages_part *part, size_t tree, uint64_t number, unsigned int depth,
			struct bytes low, struct bytes high)
{
	bool is_root = depth == part->pages->tree[tree].is.depth;
	struct node node, next;
	struct leaf_or_branch page;
	struct bytes key, next_key;
	size_t used = 0;

	if (!page_open(part, tree, number, PAGE_BRANCH, &page) ||
	    !node_open(part, tree, &page, 0, &node, &key))
		return false;
	key = low; /* of the first it means nothing */
	for (unsigned int i = 0; i < page.keys; i++, node = next, key = next_key) {
		next_key = high;
		if (i + 1 < page.keys && !node_open(part, tree, &page, i + 1, &next, &next_key))
			return false;
		if (next_key.data &&
		    (!key_is_valid(tree, next_key) || !key_is_below(tree, key, next_key)))
			return out_of_order(part, tree, &page);
		if (i + 1 < page.keys && depth == 2)
			page_prefetch(part->pages, node_child(&next));
		if (is_mine(part, is_root, i) &&
		    !walk_page(part, tree, node_child(&node), depth - 1, key, next_key))
			return false;
		used += node_size(&node, false);
	}
	if (is_mine(part, is_root, 0))
		part->sum[tree].branches++;
	return page_is_packed(part, tree, &page, used);
}

static bool walk_page(struct pages_part *part, size_t tree, uint64_t number, unsigned int depth,
		      struct bytes low, struct bytes high)
{
	bool is_root = depth == part->pages->tree[tree].is.depth;

	if (is_mine(part, is_root, 0) && !page_claim(part, tree, number, 1))
		return false;
	if (depth > 1)
		return walk_branch(part, tree, number, depth, low, high);
	return !is_mine(part, is_root, 0) || walk_leaf(part, tree, number, low, high);
}

static bool walk_tree(struct pages_part *part, size_t tree)
{
	const struct pages_tree *is = &part->pages->tree[tree].is;
	struct bytes none = { 0 };

	/* Of an empty one, too: by its flags LMDB would sort what comes. */
	if (tree > TREE_NAMES && (is->flags || is->pad))
		return damaged(part, tree, "its head is damaged");
	if (is->root == UINT64_MAX && is->depth == 0)
		return true;
	if (is->depth < 1 || is->depth > DEPTH_MAX)
		return damaged(part, tree, "its head is damaged");
	return walk_page(part, tree, is->root, is->depth, none, none);
}

bool pages_walk(struct pages_part *part)
{
	for (size_t tree = TREE_NAMES + 1; tree < part->pages->trees; tree++) {
		if (!walk_tree(part, tree))
			return false;
	}
	return true;
}

/* Of the two heads of the file, which take turns, the one that was written last. (That the last
 * one's number is two too low, by a single bit, nobody can tell from a kill before it was written.)
 */
static bool meta_choose(const struct meta metas[2], const struct meta **ret_meta)
{
	const struct meta *a = &metas[0], *b = &metas[1];

	*ret_meta = b->txn > a->txn ? b : a;
	if (a->txn == 0 && b->txn == 0)
		return true;
	return a->txn % 2 == 0 && b->txn % 2 == 1 && (a->txn + 1 == b->txn || b->txn + 1 == a->txn);
}

static bool meta_is_good(const struct pages *pages, const struct meta *meta)
{
	const struct pages_tree *free = &meta->trees[TREE_FREE], *names = &meta->trees[TREE_NAMES];

	return meta->magic == META_MAGIC && meta->version == META_VERSION && !meta->address &&
	       free->pad == pages->page_size && !names->pad && !names->flags &&
	       (free->flags == FREE_FLAGS || free->flags == FREE_FLAGS_NEW) &&
	       meta->last_page >= 1 &&
	       meta->last_page < pages->size / pages->page_size + BEYOND_END_MAX;
}

static int meta_read(const struct pages *pages, uint64_t number, struct meta *ret_meta)
{
	const uint8_t *bytes = pages->bytes + number * pages->page_size;
	struct page head;

	memcpy(&head, bytes, sizeof(head));
	memcpy(ret_meta, bytes + PAGE_HEAD, sizeof(*ret_meta));
	return head.number == number && head.flags == PAGE_META ? 0 : -EUCLEAN;
}

static int pages_read_metas(struct pages *pages, struct meta *ret_meta)
{
	const struct meta *meta;
	struct meta metas[2];

	if (pages->size < PAGE_HEAD + sizeof(metas[0]) || meta_read(pages, 0, &metas[0]) < 0 ||
	    metas[0].magic != META_MAGIC)
		return -EINVAL;
	if (metas[0].version != META_VERSION)
		return -EPROTONOSUPPORT;
	pages->page_size = metas[0].trees[TREE_FREE].pad;
	if (pages->page_size < 512 || pages->page_size > 65536 ||
	    (pages->page_size & (pages->page_size - 1)) || pages->size / pages->page_size < 2 ||
	    meta_read(pages, 1, &metas[1]) < 0 || !meta_is_good(pages, &metas[0]) ||
	    !meta_is_good(pages, &metas[1]) || !meta_choose(metas, &meta))
		return -EUCLEAN;
	*ret_meta = *meta;
	return 0;
}

static void tree_name(struct pages *pages, size_t tree, const char *name,
		      const struct pages_tree *is)
{
	(void)snprintf(pages->tree[tree].name, sizeof(pages->tree[tree].name), "%s", name);
	pages->tree[tree].is = *is;
	pages->tree[tree].table = -1;
	pages->trees++;
}

int pages_begin(struct pages *pages, const void *bytes, size_t size, struct pages_part *part)
{
	struct meta meta = { 0 };
	int r;

	*pages = (struct pages) { .bytes = bytes, .size = size };
	*part = (struct pages_part) { .pages = pages, .parts = 1 };
	r = pages_read_metas(pages, &meta);
	if (r < 0) {
		(void)snprintf(part->why, sizeof(part->why), "its head is damaged");
		return r;
	}
	pages->count = meta.last_page + 1;
	pages->seen = calloc(pages->count, 1);
	if (!pages->seen)
		return -ENOMEM;
	tree_name(pages, TREE_FREE, "of free pages", &meta.trees[TREE_FREE]);
	tree_name(pages, TREE_NAMES, "of tables", &meta.trees[TREE_NAMES]);
	if (!page_claim(part, TREE_FREE, 0, 2) || !walk_tree(part, TREE_FREE) ||
	    !walk_tree(part, TREE_NAMES))
		return -EUCLEAN;
	/* Each transaction but the first frees pages: a flipped bit may not make the head before
	 * the last one out to be younger. */
	if (part->freed != meta.txn && meta.txn > 1) {
		(void)damaged(part, TREE_FREE, "its last transaction is not that of the head");
		return -EUCLEAN;
	}
	return 0;
}

static bool sum_is_right(const struct pages_sum *sum, const struct pages_tree *is)
{
	return sum->branches == is->branches && sum->leaves == is->leaves &&
	       sum->overflows == is->overflows && sum->entries == is->entries;
}

bool pages_end(struct pages_part *part, const struct pages_part *others, size_t count)
{
	const struct pages *pages = part->pages;

	for (size_t tree = 0; tree < pages->trees; tree++) {
		struct pages_sum *sum = &part->sum[tree];

		for (size_t i = 0; i < count; i++) {
			sum->branches += others[i].sum[tree].branches;
			sum->leaves += others[i].sum[tree].leaves;
			sum->overflows += others[i].sum[tree].overflows;
			sum->entries += others[i].sum[tree].entries;
		}
		if (!sum_is_right(sum, &pages->tree[tree].is))
			return damaged(part, tree,
				       "it has not as many entries or pages as it says");
	}
	for (uint64_t i = 0; i < pages->count; i++) {
		if (!pages->seen[i])
			return damaged(part, TREE_FREE, "page %llu has no use and is not free",
				       (unsigned long long)i);
	}
	return true;
}

void pages_free(struct pages *pages)
{
	free((void *)pages->seen);
}
