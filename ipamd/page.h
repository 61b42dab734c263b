/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics page and the probes, kept fresh: the page is made when something has changed, from
 * figures that are counted in the thread pool, so that the loop never waits for them.
 */
#pragma once

#include "base/err.h"

enum {
	PAGE_MS = 2000,      /* at most so old if something was committed or read */
	PAGE_OLD_MS = 15000, /* else */
};

struct daemon;
struct page;

int page_open(struct daemon *d, struct page **ret_page, struct err *err);
/* After the loop has run dry; NULL is fine. */
void page_free(struct page *page);
/* To be called every second: tells the probes how it is, and makes the page if it is due. */
void page_tick(struct page *page);
