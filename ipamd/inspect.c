/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/inspect.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "ipamd/batch.h"
#include "ipamd/daemon.h"

struct inspect {
	struct daemon *daemon;
	struct inspect_report last;
	uint64_t number; /* of the audit that runs */
	bool running, again;
	atomic_bool cancel;

	/* The thread's, while it runs. */
	uv_work_t work;
	struct ledger *reader;
	json_t *audit;
	struct err why;
	int r;
};

int inspect_open(struct daemon *d, struct inspect **ret_inspect, struct err *err)
{
	struct inspect *inspect = calloc(1, sizeof(*inspect));

	if (!inspect)
		return err_nomem(err);
	inspect->daemon = d;
	inspect->work.data = inspect;
	*ret_inspect = inspect;
	return 0;
}

void inspect_close(struct inspect *inspect)
{
	if (inspect)
		atomic_store(&inspect->cancel, true);
}

void inspect_free(struct inspect *inspect)
{
	if (!inspect)
		return;
	json_decref(inspect->last.audit);
	free(inspect);
}

const struct inspect_report *inspect_last(const struct inspect *inspect)
{
	return &inspect->last;
}

/* In the thread. */
static void on_work(uv_work_t *work)
{
	struct inspect *inspect = work->data;
	struct audit audit;

	inspect->r = ledger_audit(inspect->reader, &inspect->cancel, &audit, &inspect->why);
	if (inspect->r < 0)
		return;
	inspect->audit = audit_encode(&audit);
	if (!inspect->audit)
		inspect->r = err_nomem(&inspect->why);
	audit_free(&audit);
}

static void tell(const json_t *audit)
{
	json_t *finding;
	size_t i;

	json_array_foreach (json_object_get(audit, "findings"), i, finding)
		log_error("audit: %s", json_string_value(finding));
}

static void inspect_start(struct inspect *inspect);

/* The audit is over, or could not begin (its error is in @inspect). */
static void inspect_end(struct inspect *inspect)
{
	json_decref(inspect->last.audit);
	inspect->last = (struct inspect_report) { inspect->number, inspect->audit, inspect->why };
	inspect->audit = NULL;
	inspect->running = false;
	if (atomic_load(&inspect->cancel))
		return;
	if (inspect->last.audit)
		tell(inspect->last.audit);
	else
		log_error("audit: %s", inspect->why.msg);
	if (inspect->again)
		inspect_start(inspect);
	batch_wake(inspect->daemon->batch, INSPECT_SEAT);
}

static void on_worked(uv_work_t *work, int status)
{
	struct inspect *inspect = work->data;

	(void)status;
	ledger_close(inspect->reader);
	inspect_end(inspect);
}

static void inspect_start(struct inspect *inspect)
{
	struct daemon *d = inspect->daemon;

	inspect->running = true;
	inspect->again = false;
	inspect->number++;
	inspect->r = ledger_fork(d->ledger, &inspect->reader, &inspect->why);
	if (inspect->r < 0)
		inspect_end(inspect);
	else
		(void)uv_queue_work(&d->loop, &inspect->work, on_work, on_worked);
}

uint64_t inspect_ask(struct inspect *inspect)
{
	if (inspect->running) {
		inspect->again = true;
		return inspect->number + 1;
	}
	inspect_start(inspect);
	return inspect->number;
}
