/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ctl/record.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "ipamd/ctl/answer.h"
#include "ipamd/ctl/table.h"

int records_fetch(struct client *client, json_t **ret_records, struct err *err)
{
	CLEANUP_JSON json_t *records = json_array();
	json_int_t after = 0;
	int r;

	if (!records)
		return err_nomem(err);
	do {
		CLEANUP_JSON json_t *page = NULL;

		r = client_call(client, "attachment.list", json_pack("{s:I}", "after", after),
				clock_boot_ms() + PROTO_WAIT_MS, &page, err);
		if (r < 0)
			return r;
		if (answer_mend(page) < 0 ||
		    json_array_extend(records, json_object_get(page, "attachments")) < 0)
			return err_nomem(err);
		after = json_integer_value(json_object_get(page, "next"));
	} while (after);
	*ret_records = TAKE_PTR(records);
	return 0;
}

/* The addresses it has: those of a pool, else those that another IPAM gave. */
static const struct ip_config *config_of(const struct attachment *a)
{
	return a->net.ip_count ? &a->net : &a->facts.net;
}

static bool has_address(const struct attachment *a, const char *text)
{
	const struct ip_config *config = config_of(a);
	struct cidr wanted;

	if (cidr_parse(text, &wanted) < 0)
		return false;
	for (size_t i = 0; i < config->ip_count; i++) {
		if (ip_compare(&config->ips[i].cidr.ip, &wanted.ip) == 0)
			return true;
	}
	return false;
}

static bool has_device(const struct attachment *a, const char *text)
{
	const char *colon = strchr(a->device.key, ':');
	const char *slash = strchr(a->device.parent, '/');

	if (!a->device.key[0])
		return false;
	if (strcmp(a->device.key, text) == 0 || strcmp(a->device.name, text) == 0 ||
	    (colon && strcmp(colon + 1, text) == 0) || (slash && strcmp(slash + 1, text) == 0))
		return true;
	for (size_t i = 0; i < a->device.altname_count; i++) {
		if (strcmp(a->device.altnames[i], text) == 0)
			return true;
	}
	return false;
}

/* "name", "namespace/name", its UID, or the container ID. */
static bool has_pod(const struct attachment *a, const char *text)
{
	size_t len = strlen(a->pod.namespace);

	return strcmp(a->pod.name, text) == 0 || strcmp(a->pod.uid, text) == 0 ||
	       strcmp(a->container_id, text) == 0 ||
	       (strncmp(text, a->pod.namespace, len) == 0 && text[len] == '/' &&
		strcmp(text + len + 1, a->pod.name) == 0);
}

static void key_format(const struct attachment *a, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s/%s/%s", a->network, a->container_id, a->ifname);
}

static bool record_is(const struct attachment *a, const char *text)
{
	char key[PROTO_KEY_MAX + 3];

	key_format(a, key, sizeof(key));
	return text[0] && (strcmp(key, text) == 0 || has_address(a, text) || has_device(a, text) ||
			   has_pod(a, text));
}

int records_match(json_t *records, const char *what, json_t **ret_matches, struct err *err)
{
	CLEANUP_JSON json_t *matches = json_array();
	json_t *record;
	size_t i;

	if (!matches)
		return err_nomem(err);
	json_array_foreach (records, i, record) {
		struct attachment a;
		int r;

		r = attachment_decode(record, &a, err);
		if (r < 0)
			return r;
		if (record_is(&a, what) && json_array_append(matches, record) < 0)
			r = err_nomem(err);
		attachment_free(&a);
		if (r < 0)
			return r;
	}
	*ret_matches = TAKE_PTR(matches);
	return 0;
}

const char *age_format(int64_t then_ms, char buf[AGE_TEXT])
{
	long long s = (long long)(clock_wall_ms() - then_ms) / 1000;

	if (s < 0)
		s = 0; /* the wall clock was set back */
	if (s < 120)
		(void)snprintf(buf, AGE_TEXT, "%llds", s);
	else if (s < 2 * 3600)
		(void)snprintf(buf, AGE_TEXT, "%lldm", s / 60);
	else if (s < 2 * 86400)
		(void)snprintf(buf, AGE_TEXT, "%lldh", s / 3600);
	else
		(void)snprintf(buf, AGE_TEXT, "%lldd", s / 86400);
	return buf;
}

static void addresses_format(const struct attachment *a, char *buf, size_t size)
{
	const struct ip_config *config = config_of(a);
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < config->ip_count && len < size; i++) {
		char text[CIDR_TEXT];

		len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? "," : "",
					cidr_format(&config->ips[i].cidr, text));
	}
}

/* podman gives a name without a namespace. */
static void pod_format(const struct attachment *a, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s%s%s", a->pod.namespace,
		       a->pod.namespace[0] && a->pod.name[0] ? "/" : "", a->pod.name);
}

static void print_row(struct table *table, const struct attachment *a, bool wide)
{
	char text[TABLE_CELL_MAX], age[AGE_TEXT];

	table_cell(table, "%s", attachment_state_name(a->state));
	pod_format(a, text, sizeof(text));
	table_cell(table, "%s", text);
	table_cell(table, "%s/%s", a->network, a->ifname);
	addresses_format(a, text, sizeof(text));
	table_cell(table, "%s", text);
	table_cell(table, "%s", a->device.key);
	table_cell(table, "%s", age_format(a->reserved_at_ms, age));
	if (!wide)
		return;
	table_cell(table, "%s", a->container_id);
	table_cell(table, "%s%s%s", a->pool, a->pool[0] ? "/" : "", a->rail.name);
	table_cell(table, "%s", a->netns.path);
	table_cell(table, "%llu", (unsigned long long)a->id);
}

int records_print(json_t *records, bool wide, struct err *err)
{
	static const char *const heads[] = { "STATE",  "POD", "NETWORK/IFNAME", "ADDRESSES",
					     "DEVICE", "AGE", "CONTAINER",      "POOL/RAIL",
					     "NETNS",  "ID" };
	struct table table;
	json_t *record;
	int r = 0;
	size_t i;

	table_begin(&table, heads, wide ? ARRAY_SIZE(heads) : 6);
	json_array_foreach (records, i, record) {
		struct attachment a;

		r = attachment_decode(record, &a, err);
		if (r < 0)
			break;
		print_row(&table, &a, wide);
		attachment_free(&a);
	}
	if (table_end(&table) < 0)
		return err_nomem(err);
	return r;
}

static void print_line(const char *head, const char *text)
{
	if (text[0])
		printf("%-12s %s\n", head, text);
}

/* That of `routing`: what ADD has used; before `done` has told, what the ledger chose. */
static void print_table(const struct attachment *a)
{
	int64_t table = a->facts.table ? a->facts.table : a->rail.table;

	if (table)
		printf("%-12s %lld\n", "table", (long long)table);
}

static void print_netdev(const struct baseline *device)
{
	char mac[MAC_TEXT];

	if (!device->name[0])
		return;
	printf("%-12s %s, %s%smtu %lld, %s", "  as it was", device->name, device->kind,
	       device->kind[0] ? ", " : "", (long long)device->mtu, device->up ? "up" : "down");
	if (device->mac.len)
		printf(", %s", mac_format(&device->mac, mac));
	for (size_t i = 0; i < device->altname_count; i++)
		printf(", altname %s", device->altnames[i]);
	printf("\n");
}

static void print_device(const struct attachment *a)
{
	const struct baseline *device = &a->device;
	const struct vf_baseline *vf = &device->vf;
	char pf[PCI_TEXT + 4];

	if (!device->key[0])
		return;
	printf("%-12s %s\n", "device", device->key);
	print_netdev(device);
	print_line("  parent", device->parent);
	print_line("  driver", device->driver);
	if (vf->is_vf)
		printf("%-12s %d of %s%s%s\n", "  VF", vf->index, pci_format(&vf->pf, pf),
		       vf->pf_netdev[0] ? ", " : "", vf->pf_netdev);
}

/* As it is in the pod; before `done` has told, as it was in the host. */
static void print_rdma(const struct attachment *a)
{
	bool told = a->facts.rdma.name[0];
	const char *name = told ? a->facts.rdma.name : a->device.rdma.name;
	const char *uverbs = told ? a->facts.rdma.uverbs : a->device.rdma.uverbs;

	if (!name[0])
		return;
	printf("%-12s %s%s%s", "RDMA device", name, uverbs[0] ? ", " : "", uverbs);
	if (told && a->facts.rdma.gid_index >= 0)
		printf(", GID index %d", a->facts.rdma.gid_index);
	printf("%s\n", told && a->facts.rdma.moved ? ", in the pod alone" : "");
}

static void print_infiniband(const struct attachment *a)
{
	char guid[GUID_TEXT], pkey[PKEY_TEXT];

	if (a->guid)
		print_line("GUID", guid_format(a->guid, guid));
	if (a->pkey)
		print_line("P_Key", pkey_format(a->pkey, pkey));
}

static void print_undo(json_t *record)
{
	json_t *undo = json_object_get(record, "undo");
	const char *reason = json_string_value(json_object_get(undo, "reason"));
	const char *why = json_string_value(json_object_get(undo, "why"));

	if (undo)
		printf("%-12s %s%s%s\n", "to be undone", reason ? reason : "",
		       why && why[0] ? "; last time: " : "", why ? why : "");
}

static void print_events(const struct attachment *a, json_t *events)
{
	json_t *event;
	size_t i;

	json_array_foreach (events, i, event) {
		const char *name = json_string_value(json_object_get(event, "event"));
		const char *reason = json_string_value(json_object_get(event, "reason"));
		char age[AGE_TEXT];

		if ((uint64_t)json_integer_value(json_object_get(event, "id")) != a->id)
			continue;
		printf("%-12s %s ago%s%s\n", name ? name : "event",
		       age_format(json_integer_value(json_object_get(event, "time")), age),
		       reason && reason[0] ? ": " : "", reason ? reason : "");
	}
}

int record_print(json_t *record, json_t *events, struct err *err)
{
	char text[TABLE_CELL_MAX];
	struct attachment a;
	int r;

	r = attachment_decode(record, &a, err);
	if (r < 0)
		return r;
	key_format(&a, text, sizeof(text));
	print_line("attachment", text);
	print_line("state", attachment_state_name(a.state));
	pod_format(&a, text, sizeof(text));
	print_line("pod", text);
	print_line("  uid", a.pod.uid);
	addresses_format(&a, text, sizeof(text));
	print_line("addresses", text);
	(void)snprintf(text, sizeof(text), "%s%s%s", a.pool, a.pool[0] ? "/" : "", a.rail.name);
	print_line("pool/rail", text);
	print_table(&a);
	print_device(&a);
	print_rdma(&a);
	print_infiniband(&a);
	print_line("netns", a.netns.path);
	printf("%-12s cookie %llu, nsid %d\n", "", (unsigned long long)a.netns.cookie,
	       (int)a.netns.nsid);
	print_undo(record);
	print_events(&a, events);
	attachment_free(&a);
	return 0;
}
