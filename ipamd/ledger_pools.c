/* SPDX-License-Identifier: Apache-2.0 */
/* The pools in force: kept in the store, so that a bad file does not change what is given. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "ipamd/allot.h"
#include "ipamd/audit.h"
#include "ipamd/dump.h"
#include "ipamd/edit.h"
#include "ipamd/ledger_inside.h"

static struct store_key pools_key(void)
{
	struct store_key key = { 0 };

	store_key_text(&key, "pools");
	return key;
}

int ledger_find_rail(const struct ledger *ledger, const struct reserve_request *request,
		     const struct rail **ret_rail, struct err *err)
{
	return allot_find_rail(&ledger->pools, request, ret_rail, err);
}

const struct pool_set *ledger_pools(const struct ledger *ledger)
{
	return &ledger->pools;
}

int ledger_stored_pools(struct ledger *ledger, struct pool_set *ret_set, struct err *err)
{
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = edit_load(ledger->store, ret_set, err);
	ledger_read_end(ledger, own);
	return r;
}

/* True if the store has these very pools: the usual start, which then looks at no record. */
static bool pools_are_stored(struct ledger *ledger, const char *text)
{
	struct store_key key = pools_key();
	struct store_view value;

	return store_get(ledger->store, STORE_META, &key, &value) && value.len == strlen(text) &&
	       memcmp(value.data, text, value.len) == 0;
}

int ledger_store_pools(struct ledger *ledger, const struct pool_set *set, struct err *err)
{
	CLEANUP_JSON json_t *json = json_pack("{s:O}", "pools", set->source);
	CLEANUP_FREE char *text = json ? json_line(json) : NULL;
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	CLEANUP(pool_set_free) struct pool_set before = { 0 };
	struct store_key key = pools_key();
	int r;

	if (!text)
		return err_nomem(err);
	if (pools_are_stored(ledger, text))
		return 0;
	r = edit_load(ledger->store, &before, err);
	if (r < 0 && r != -ENOENT)
		return r;
	r = edit_check(ledger->store, ledger->era.first_id, &before, set, &held, err);
	if (r < 0)
		return r;
	allot_edit(ledger->store, &held);
	store_put(ledger->store, STORE_META, &key, text, strlen(text));
	return 0;
}

int ledger_set_pools(struct ledger *ledger, struct pool_set *set, struct err *err)
{
	int r;

	r = ledger_begin(ledger, err);
	if (r < 0)
		return r;
	r = ledger_store_pools(ledger, set, err);
	if (r < 0) {
		ledger_abort(ledger);
		return r;
	}
	r = ledger_commit(ledger, err);
	if (r < 0)
		return r;
	pool_set_free(&ledger->pools);
	ledger->pools = *set;
	*set = (struct pool_set) { 0 };
	return 0;
}

int ledger_try_pools(struct ledger *ledger, const struct pool_set *set, struct rails_held *ret_held,
		     struct err *err)
{
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	r = edit_check(ledger->store, ledger->era.first_id, &ledger->pools, set, ret_held, err);
	ledger_read_end(ledger, own);
	return r;
}

int ledger_draining(struct ledger *ledger, struct rails_held *ret_held, struct err *err)
{
	CLEANUP(rails_held_free) struct rails_held held = { 0 };
	struct store_key key = { 0 };
	struct rail_held rail;
	bool own;
	int r;

	r = ledger_read_begin(ledger, &own, err);
	if (r < 0)
		return r;
	while (r == 0 && allot_next_draining(ledger->store, &key, &rail))
		r = rails_held_add(&held, &rail) ? 0 : err_nomem(err);
	if (r == 0)
		r = store_check(ledger->store, err);
	ledger_read_end(ledger, own);
	if (r < 0)
		return r;
	*ret_held = held;
	held = (struct rails_held) { 0 };
	return 0;
}

/* The pools of today take over what was loaded, as an edit from none. */
static int load_under_pools(struct ledger *ledger, struct err *err)
{
	struct store_key key = pools_key();

	store_delete(ledger->store, STORE_META, &key);
	return ledger_store_pools(ledger, &ledger->pools, err);
}

static int load_check(struct ledger *ledger, struct err *err)
{
	struct audit audit;
	int r;

	r = audit_store(ledger->store, NULL, &audit, err);
	if (r < 0)
		return r;
	if (audit.found)
		r = err_set(err, EUCLEAN, ERR_VALUE, "%llu findings, the first: %s",
			    (unsigned long long)audit.found, audit.findings[0]);
	audit_free(&audit);
	return r;
}

int ledger_load(struct ledger *ledger, FILE *file, struct dump_report *ret_report, struct err *err)
{
	int64_t boot_ms = clock_boot_ms();
	int r;

	r = dump_load(ledger->store, file, ledger->boot_id, &ledger->era, ret_report, err);
	if (r == 0)
		r = load_under_pools(ledger, err);
	if (r < 0)
		return r;
	/* What rests goes on resting from where it was when the dump was made. */
	if (ledger->clock_offset_ms + boot_ms < (int64_t)ret_report->clock_ms)
		ledger->clock_offset_ms = (int64_t)ret_report->clock_ms - boot_ms;
	era_put(ledger->store, ledger->boot_id, &ledger->era);
	return load_check(ledger, err);
}
