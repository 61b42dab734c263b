/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/page.h"

#include <stdlib.h>

#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipamd/daemon.h"
#include "ipamd/figures.h"
#include "ipamd/http.h"
#include "ipamd/inventory.h"
#include "ipamd/status.h"

struct page {
	struct daemon *daemon;
	int64_t made_ms;            /* 0: none yet */
	uint64_t commits, readings; /* so many there were when it was made */

	uv_work_t work;
	struct ledger *reader; /* the thread pool counts through it; NULL: it does not */
	struct figures figures;
	struct err err;
	int r;
};

static void count_work(uv_work_t *work)
{
	struct page *page = work->data;

	page->r = figures_count(page->reader, &page->figures, &page->err);
}

static void publish(struct page *page, char *text)
{
	char unready[STATUS_WHY_MAX], unwell[STATUS_WHY_MAX];

	http_publish(page->daemon->http, text, status_unready(page->daemon, unready),
		     status_unwell(page->daemon, unwell));
}

static void count_done(uv_work_t *work, int status)
{
	struct page *page = work->data;

	(void)status; /* never cancelled */
	ledger_close(page->reader);
	page->reader = NULL;
	if (page->daemon->stopping)
		return;
	if (page->r < 0) /* no figures is the honest page */
		log_warn("count what the ledger holds: %s", page->err.msg);
	publish(page, metrics_text(page->daemon, &page->figures));
	figures_free(&page->figures);
}

static bool is_due(const struct page *page)
{
	const struct daemon *d = page->daemon;
	int64_t age_ms = clock_boot_ms() - page->made_ms;
	bool changed = d->metrics.commits.count != page->commits ||
		       inventory_last(d->inventory) != page->readings;

	return !page->made_ms || age_ms >= PAGE_OLD_MS || (changed && age_ms >= PAGE_MS);
}

static int count_start(struct page *page, struct err *err)
{
	struct daemon *d = page->daemon;
	int r;

	r = ledger_fork(d->ledger, &page->reader, err);
	if (r < 0)
		return r;
	page->made_ms = clock_boot_ms();
	page->commits = d->metrics.commits.count;
	page->readings = inventory_last(d->inventory);
	r = uv_queue_work(&d->loop, &page->work, count_work, count_done);
	if (r == 0)
		return 0;
	ledger_close(page->reader);
	page->reader = NULL;
	return err_sys(err, -r, ERR_INTERNAL, "queue work");
}

void page_tick(struct page *page)
{
	struct err err;

	if (!page->daemon->http)
		return;
	publish(page, NULL);
	if (!page->reader && is_due(page) && count_start(page, &err) < 0)
		log_warn("make the metrics page: %s", err.msg);
}

int page_open(struct daemon *d, struct page **ret_page, struct err *err)
{
	struct page *page = calloc(1, sizeof(*page));

	if (!page)
		return err_nomem(err);
	page->daemon = d;
	page->work.data = page;
	*ret_page = page;
	return 0;
}

void page_free(struct page *page)
{
	free(page);
}
