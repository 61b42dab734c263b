/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ctl/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ipamd/ctl/answer.h"
#include "ipamd/ctl/diff.h"
#include "ipamd/ctl/history.h"
#include "ipamd/ctl/ledger.h"
#include "ipamd/ctl/record.h"
#include "ipamd/ctl/table.h"
#include "ipamd/ctl/top.h"

/* --- status --- */

static int run_status(struct ctl *ctl, struct err *err)
{
	CLEANUP_JSON json_t *status = NULL;
	int r;

	r = ctl_call(ctl, "node.status", json_object(), &status, err);
	if (r < 0)
		return r;
	if (ctl->json)
		return print_json(status, err);
	status_print(status);
	return 0;
}

/* --- vfs --- */

static int fetch_vfs(struct ctl *ctl, json_t **ret_vfs, struct err *err)
{
	CLEANUP_JSON json_t *vfs = json_array();
	json_int_t after = 0;

	if (!vfs)
		return err_nomem(err);
	do {
		CLEANUP_JSON json_t *page = NULL;
		int r;

		r = ctl_call(ctl, "device.list", json_pack("{s:I}", "after", after), &page, err);
		if (r < 0)
			return r;
		if (json_array_extend(vfs, json_object_get(page, "devices")) < 0)
			return err_nomem(err);
		after = number_of(page, "next");
	} while (after);
	*ret_vfs = TAKE_PTR(vfs);
	return 0;
}

/* "namespace/pod ifname" if the runtime has told of a pod, else the key. */
static void owner_cell(struct table *table, json_t *owner)
{
	if (!owner)
		table_cell(table, "%s", "");
	else if (text_of(owner, "pod")[0])
		table_cell(table, "%s%s%s %s", text_of(owner, "namespace"),
			   text_of(owner, "namespace")[0] ? "/" : "", text_of(owner, "pod"),
			   text_of(owner, "ifname"));
	else
		table_cell(table, "%s/%s/%s", text_of(owner, "network"),
			   text_of(owner, "containerID"), text_of(owner, "ifname"));
}

/* What is wrong with it, whatever is: "…; …". */
static void why_cell(struct table *table, json_t *vf)
{
	const char *drift = text_of(vf, "drift"), *why = text_of(vf, "why");
	json_t *renumbered = json_object_get(vf, "renumbered");
	char text[128] = "";

	if (renumbered)
		(void)snprintf(text, sizeof(text), "%s, promised %s", text_of(renumbered, "is"),
			       text_of(renumbered, "promised"));
	table_cell(table, "%s%s%s%s%s", why, why[0] && drift[0] ? "; " : "", drift,
		   text[0] && (why[0] || drift[0]) ? "; " : "", text);
}

static void print_vf(struct table *table, json_t *vf)
{
	const char *pf = text_of(vf, "pfNetdev"), *device = text_of(vf, "device");
	const char *colon = strchr(device, ':');

	table_cell(table, "%s", pf[0] ? pf : text_of(vf, "pf"));
	table_cell(table, "%lld", number_of(vf, "vf"));
	table_cell(table, "%s", colon ? colon + 1 : device);
	table_cell(table, "%s", text_of(vf, "netdev"));
	table_cell(table, "%s", text_of(vf, "rdma"));
	table_cell(table, "%s", text_of(vf, "rail"));
	table_cell(table, "%s", text_of(vf, "state"));
	owner_cell(table, json_object_get(vf, "owner"));
	why_cell(table, vf);
}

/* Of all VFs, or of one. */
static int tell_plugin_restarted(struct ctl *ctl, struct err *err)
{
	char device[PROTO_DEVICE_MAX], text[PCI_TEXT + 4];
	CLEANUP_JSON json_t *result = NULL;
	struct pci_addr addr = { 0 };
	long long count;
	int r;

	if (ctl->argument && pci_parse(ctl->argument, &addr) < 0)
		return err_set(err, EINVAL, ERR_VALUE, "%s: must be a PCI address (0000:1a:00.1)",
			       ctl->argument);
	(void)snprintf(device, sizeof(device), "pci:%s", pci_format(&addr, text));
	r = ctl_call(ctl, "device.accept",
		     json_pack("{s:s*}", "device", ctl->argument ? device : NULL), &result, err);
	if (r < 0)
		return r;
	if (ctl->json)
		return print_json(result, err);
	count = number_of(result, "accepted");
	printf("%lld VF%s another RDMA character device by now\n", count,
	       count == 1 ? " has" : "s have");
	return 0;
}

static int run_vfs(struct ctl *ctl, struct err *err)
{
	static const char *const heads[] = { "PF",   "VF",    "PCI",   "NETDEV",   "RDMA",
					     "RAIL", "STATE", "OWNER", "DRIFT/WHY" };
	CLEANUP_JSON json_t *vfs = NULL;
	struct table table;
	json_t *vf;
	size_t i;
	int r;

	if (ctl->plugin_restarted)
		return tell_plugin_restarted(ctl, err);
	r = fetch_vfs(ctl, &vfs, err);
	if (r < 0)
		return r;
	if (ctl->json)
		return print_json(vfs, err);
	table_begin(&table, heads, ARRAY_SIZE(heads));
	json_array_foreach (vfs, i, vf)
		print_vf(&table, vf);
	return table_end(&table) < 0 ? err_nomem(err) : 0;
}

/* --- pools --- */

static void print_rails(struct table *table, json_t *pool)
{
	json_t *rail;
	size_t i;

	json_array_foreach (json_object_get(pool, "rails"), i, rail) {
		long long capacity = number_of(rail, "capacity"), held = number_of(rail, "held"),
			  resting = number_of(rail, "resting"),
			  draining = number_of(rail, "draining"),
			  claimed = number_of(rail, "claimed");

		table_cell(table, "%s", text_of(pool, "name"));
		table_cell(table, "%s", text_of(rail, "name"));
		table_cell(table, "%s%s%s", text_of(rail, "cidr"),
			   text_of(rail, "cidr")[0] && text_of(rail, "cidr6")[0] ? "," : "",
			   text_of(rail, "cidr6"));
		table_cell(table, "%lld", held);
		table_cell(table, "%lld", resting);
		table_cell(table, "%lld", capacity - (held - draining) - resting - claimed);
		table_cell(table, "%lld", draining);
		table_cell(table, "%s", text_of(pool, "restFor"));
	}
}

static int run_pools(struct ctl *ctl, struct err *err)
{
	static const char *const heads[] = { "POOL",    "RAIL", "PREFIX",   "HELD",
					     "RESTING", "FREE", "DRAINING", "REST-FOR" };
	CLEANUP_JSON json_t *result = NULL;
	struct table table;
	json_t *pool;
	size_t i;
	int r;

	if (ctl->diff)
		return diff_run(ctl, err);
	r = pools_fetch(ctl, &result, err);
	if (r < 0)
		return r;
	if (ctl->json)
		return print_json(result, err);
	table_begin(&table, heads, ARRAY_SIZE(heads));
	json_array_foreach (json_object_get(result, "pools"), i, pool)
		print_rails(&table, pool);
	return table_end(&table) < 0 ? err_nomem(err) : 0;
}

/* --- attachments, show --- */

static int run_attachments(struct ctl *ctl, struct err *err)
{
	CLEANUP_JSON json_t *records = NULL;
	int r;

	r = records_fetch(&ctl->client, &records, err);
	if (r < 0)
		return r;
	return ctl->json ? print_json(records, err) : records_print(records, ctl->wide, err);
}

/* What the argument names; at least one record. */
static int find_records(struct ctl *ctl, json_t **ret_matches, struct err *err)
{
	CLEANUP_JSON json_t *records = NULL;
	int r;

	r = records_fetch(&ctl->client, &records, err);
	if (r == 0)
		r = records_match(records, ctl->argument, ret_matches, err);
	if (r == 0 && json_array_size(*ret_matches) == 0)
		r = err_set(err, ENOENT, ERR_VALUE, "%s: no attachment has that", ctl->argument);
	return r;
}

static int run_show(struct ctl *ctl, struct err *err)
{
	CLEANUP_JSON json_t *matches = NULL;
	json_t *record;
	size_t i;
	int r;

	r = find_records(ctl, &matches, err);
	if (r < 0)
		return r;
	if (ctl->json)
		return print_json(matches, err);
	json_array_foreach (matches, i, record) {
		CLEANUP_JSON json_t *events = NULL;

		if (i)
			printf("\n");
		r = history_fetch(ctl, text_of(record, "containerID"), &events, err);
		if (r == 0)
			r = record_print(record, events, err);
		if (r < 0)
			break;
	}
	return r;
}

/* --- reconcile, release --- */

/* Only the whole word counts. */
static bool confirm(const char *question)
{
	char answer[16];

	printf("%s Type yes: ", question);
	(void)fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

static int run_reconcile(struct ctl *ctl, struct err *err)
{
	CLEANUP_JSON json_t *report = NULL;
	int r;

	if (ctl->force && !ctl->yes &&
	    !confirm("All that looks dead is undone, however much it is."))
		return COMMAND_DECLINED;
	r = ctl_call(ctl, "node.reconcile",
		     json_pack("{s:b, s:I}", "force", ctl->force, "deadline",
			       (json_int_t)clock_boot_ms() + PROTO_ADD_MS),
		     &report, err);
	if (r < 0)
		return r;
	if (ctl->json)
		return print_json(report, err);
	printf("%lld attachments looked at, %lld dead, %lld are being undone\n",
	       number_of(report, "looked"), number_of(report, "dead"),
	       number_of(report, "reclaimed"));
	if (json_is_true(json_object_get(report, "alarm")))
		printf("ALARM: too many look dead at once, so none is undone. If they are: "
		       "spurctl reconcile --force\n");
	return 0;
}

static int forget(struct ctl *ctl, const struct attachment_key *key, struct err *err)
{
	const struct release how = { .left = true, .restored = true, .reason = "forced" };
	int64_t deadline_ms = clock_boot_ms() + PROTO_WAIT_MS;
	struct attachment a;
	bool found;
	int r;

	r = client_get(&ctl->client, key, deadline_ms, &a, &found, err);
	if (r < 0 || !found)
		return r;
	r = client_release(&ctl->client, &a, &how, deadline_ms, err);
	attachment_free(&a);
	if (r == 0)
		printf("forgotten; its device is as it is\n");
	return r;
}

/* The way of DEL first; only when that fails, and on another yes, the record alone. */
static int give_up(struct ctl *ctl, const struct attachment_key *key, struct err *err)
{
	CLEANUP_JSON json_t *params = key_encode(key), *result = NULL;
	struct err why;
	int r;

	if (!params || json_object_set_new(params, "deadline",
					   json_integer(clock_boot_ms() + PROTO_ADD_MS)) < 0)
		return err_nomem(err);
	r = ctl_call(ctl, "attachment.undo", json_incref(params), &result, &why);
	if (r == 0) {
		printf("undone\n");
		return 0;
	}
	if (ctl->yes) {
		*err = why;
		return r;
	}
	fprintf(stderr, "spurctl: %s\n", why.msg);
	if (!confirm("It could not be undone. Forget the record all the same? Its device stays as "
		     "it is, and its addresses can be given to others."))
		return COMMAND_DECLINED;
	return forget(ctl, key, err);
}

static int run_release(struct ctl *ctl, struct err *err)
{
	CLEANUP_JSON json_t *matches = NULL;
	struct attachment_key key;
	struct attachment a;
	int r;

	if (!ctl->force)
		return err_set(err, EINVAL, ERR_VALUE,
			       "release %s: takes a device from its pod: say --force",
			       ctl->argument);
	r = find_records(ctl, &matches, err);
	if (r < 0)
		return r;
	if (json_array_size(matches) > 1)
		return err_set(err, EINVAL, ERR_VALUE,
			       "release %s: %zu attachments have that: say "
			       "NETWORK/CONTAINER/IFNAME",
			       ctl->argument, json_array_size(matches));
	r = record_print(json_array_get(matches, 0), NULL, err);
	if (r < 0)
		return r;
	if (!ctl->yes && !confirm("This attachment is undone, also if its pod lives."))
		return COMMAND_DECLINED;
	r = attachment_decode(json_array_get(matches, 0), &a, err);
	if (r < 0)
		return r;
	key = attachment_key(&a);
	r = give_up(ctl, &key, err);
	attachment_free(&a);
	return r;
}

static const struct command commands[] = {
	{ "status", ARGUMENT_NONE, run_status },
	{ "top", ARGUMENT_NONE, top_run },
	{ "pools", ARGUMENT_NONE, run_pools },
	{ "vfs", ARGUMENT_OPTIONAL, run_vfs },
	{ "attachments", ARGUMENT_NONE, run_attachments },
	{ "show", ARGUMENT_NEEDED, run_show },
	{ "history", ARGUMENT_OPTIONAL, history_run },
	{ "release", ARGUMENT_NEEDED, run_release },
	{ "reconcile", ARGUMENT_NONE, run_reconcile },
	{ "check", ARGUMENT_NONE, ledger_check_run },
	{ "export", ARGUMENT_OPTIONAL, ledger_export_run },
	{ "import", ARGUMENT_NEEDED, ledger_import_run },
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}
