/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cmd.h"

#include <errno.h>

#include "base/clock.h"
#include "cni/check.h"
#include "cni/confine.h"
#include "cni/recorded.h"
#include "cni/settle.h"
#include "cni/site.h"
#include "cni/undo.h"
#include "ipamd/client/client.h"

/* @record is that of @recorded. */
static int check_device(const struct request *request, struct client *client,
			const struct recorded *recorded, struct attachment *record,
			struct site *site, struct err *err)
{
	int r;

	site->record = record;
	site->conf = &recorded->conf;
	r = confine(VERB_CHECK, &recorded->conf, err);
	if (r == 0)
		r = site_enter_recorded(site, request->env.netns, err);
	if (r == 0 && settle_is_due(record))
		r = settle(client, recorded, site, record, err);
	if (r == 0)
		r = check_attachment(recorded, site, request->conf.prev_result, err);
	if (r == 0)
		r = ipam_delegate(&recorded->conf, &request->env, "CHECK",
				  request->conf.prev_result, site->host_fd, site->deadline_ms, NULL,
				  err);
	return r;
}

static int check_record(const struct request *request, struct client *client,
			struct attachment *record, int64_t deadline_ms, struct err *err)
{
	struct recorded recorded;
	struct site site;
	int r;

	if (record->state == ATTACHMENT_DIRTY)
		return err_set(err, ESTALE, ERR_DRIFT,
			       "%s: was deleted, and its device is not restored", record->ifname);
	if (request->ipam_only) { /* what the main plugin did with the addresses is its own affair
				   */
		r = confine(VERB_CHECK, &request->conf, err);
		return r == 0 && settle_is_due(record) ? settle(client, NULL, NULL, record, err)
						       : r;
	}
	r = recorded_read(record, &recorded, err);
	if (r == 0) {
		r = site_open(&site, deadline_ms, err);
		if (r == 0)
			r = check_device(request, client, &recorded, record, &site, err);
		site_close(&site);
	}
	recorded_free(&recorded);
	return r;
}

int cmd_check(const struct request *request, struct err *err)
{
	const struct attachment_key key = request_key(request);
	struct client client = { .fd = -1 };
	struct attachment record = { 0 };
	int64_t deadline_ms = clock_boot_ms() + PROTO_ADD_MS;
	bool found;
	int r;

	r = confine_lower(VERB_CHECK, err);
	if (r == 0)
		r = client_open(&client, request->conf.socket, err);
	if (r == 0)
		r = client_get(&client, &key, clock_boot_ms() + PROTO_WAIT_MS, &record, &found,
			       err);
	if (r == 0)
		r = found ? check_record(request, &client, &record, deadline_ms, err)
			  : err_set(err, ENOENT, ERR_DRIFT, "%s: the ledger has no such attachment",
				    key.ifname);
	client_close(&client);
	attachment_free(&record);
	return r;
}
