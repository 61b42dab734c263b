/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/metrics.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "ipamd/daemon.h"
#include "ipamd/figures.h"
#include "ipamd/inventory.h"
#include "ipamd/method.h"
#include "ipamd/spool.h"
#include "ipamd/status.h"
#include "ipamd/undo.h"

static const double seconds[METRICS_BUCKETS] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025,
						 0.005,  0.01,    0.05,   0.5,   5 };
static const double requests[METRICS_BUCKETS] = { 1, 2, 4, 8, 16, 32, 64, 128, 200, 256 };

static void observe(struct histogram *h, const double bounds[METRICS_BUCKETS], double value)
{
	size_t i = 0;

	while (i < METRICS_BUCKETS && value > bounds[i])
		i++;
	h->buckets[i]++;
	h->count++;
	h->sum += value;
}

static void observe_ns(struct histogram *h, uint64_t from_ns, uint64_t to_ns)
{
	observe(h, seconds, (double)(to_ns - from_ns) / 1e9);
}

/* One that was refused without a turn has waited all the time. */
static void observe_phases(struct metrics *m, const struct request *q, uint64_t now_ns)
{
	uint64_t turn_ns = q->served_ns ? q->turn_ns : now_ns;

	observe_ns(&m->phases[PHASE_WAIT], q->begun_ns, turn_ns);
	if (!q->served_ns)
		return;
	observe_ns(&m->phases[PHASE_SERVE], q->turn_ns, q->served_ns);
	observe_ns(&m->phases[PHASE_COMMIT], q->served_ns, now_ns);
}

void metrics_request(struct metrics *m, const struct request *q, uint64_t now_ns)
{
	size_t number = (size_t)(q->method - methods);

	observe_ns(&m->durations[number], q->begun_ns, now_ns);
	observe_phases(m, q, now_ns);
	for (size_t i = 0; i < METRICS_CODES; i++) {
		if (m->requests[number][i].count && m->requests[number][i].code != q->code)
			continue;
		m->requests[number][i].code = q->code;
		m->requests[number][i].count++;
		return;
	}
}

void metrics_commit(struct metrics *m, size_t batch_size, uint64_t ns)
{
	observe(&m->commits, seconds, (double)ns / 1e9);
	observe(&m->sizes, requests, (double)batch_size);
}

void metrics_undo(struct metrics *m, const char *reason)
{
	if (!reason) {
		m->undo_failed++;
		return;
	}
	m->undone++;
	metrics_reclaimed(m, reason);
}

void metrics_reclaimed(struct metrics *m, const char *reason)
{
	for (size_t i = 0; i < METRICS_REASONS; i++) {
		if (m->reclaimed[i].reason && strcmp(m->reclaimed[i].reason, reason) != 0)
			continue;
		m->reclaimed[i].reason = reason;
		m->reclaimed[i].count++;
		return;
	}
}

void metrics_pass(struct metrics *m, bool failed, bool alarm)
{
	if (failed)
		m->pass_errors++;
	else if (alarm)
		m->alarms++;
	else
		m->passes++;
}

void metrics_total(const struct metrics *m, struct metrics_totals *ret_totals)
{
	struct metrics_totals totals = { .commits = m->commits.count, .commit_s = m->commits.sum };

	for (size_t i = 0; i < METHOD_COUNT; i++) {
		totals.requests += m->durations[i].count;
		totals.request_s += m->durations[i].sum;
		for (size_t j = 0; j < METRICS_CODES; j++)
			totals.refused += m->requests[i][j].code ? m->requests[i][j].count : 0;
	}
	*ret_totals = totals;
}

/* --- the page --- */

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	(void)fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* @labels: "" or `name="value"`. */
static void histogram_print(FILE *f, const char *name, const char *labels,
			    const struct histogram *h, const double bounds[METRICS_BUCKETS])
{
	const char *comma = labels[0] ? "," : "";
	uint64_t below = 0;

	for (size_t i = 0; i < METRICS_BUCKETS; i++) {
		below += h->buckets[i];
		(void)fprintf(f, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, bounds[i],
			      (unsigned long long)below);
	}
	(void)fprintf(f, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
		      (unsigned long long)h->count);
	(void)fprintf(f, "%s_sum%s%s%s %.9g\n", name, labels[0] ? "{" : "", labels,
		      labels[0] ? "}" : "", h->sum);
	(void)fprintf(f, "%s_count%s%s%s %llu\n", name, labels[0] ? "{" : "", labels,
		      labels[0] ? "}" : "", (unsigned long long)h->count);
}

static void print_requests(FILE *f, const struct metrics *m)
{
	static const char *const phases[] = { "wait", "serve", "commit" };
	char label[64];

	head(f, "spur_requests_total", "counter",
	     "Requests answered, by method and CNI code (0: well).");
	for (size_t i = 0; i < METHOD_COUNT; i++) {
		for (size_t j = 0; j < METRICS_CODES && m->requests[i][j].count; j++)
			(void)fprintf(f, "spur_requests_total{method=\"%s\",code=\"%d\"} %llu\n",
				      methods[i].name, m->requests[i][j].code,
				      (unsigned long long)m->requests[i][j].count);
	}
	head(f, "spur_request_duration_seconds", "histogram",
	     "From the line read to the answer sent.");
	for (size_t i = 0; i < METHOD_COUNT; i++) {
		(void)snprintf(label, sizeof(label), "method=\"%s\"", methods[i].name);
		if (m->durations[i].count)
			histogram_print(f, "spur_request_duration_seconds", label, &m->durations[i],
					seconds);
	}
	head(f, "spur_request_phase_seconds", "histogram",
	     "wait: for its turn; serve: in its method; commit: for the disk and its batch.");
	for (size_t i = 0; i < METRICS_PHASES; i++) {
		(void)snprintf(label, sizeof(label), "phase=\"%s\"", phases[i]);
		histogram_print(f, "spur_request_phase_seconds", label, &m->phases[i], seconds);
	}
	head(f, "spur_commit_duration_seconds", "histogram", "Durable commits of the ledger.");
	histogram_print(f, "spur_commit_duration_seconds", "", &m->commits, seconds);
	head(f, "spur_batch_size", "histogram", "Requests committed together.");
	histogram_print(f, "spur_batch_size", "", &m->sizes, requests);
}

static void print_undo(FILE *f, struct daemon *d)
{
	const struct metrics *m = &d->metrics;
	int queued, running;

	head(f, "spur_undo_total", "counter", "Runs of the plugin to undo a record.");
	(void)fprintf(f, "spur_undo_total{result=\"ok\"} %llu\n", (unsigned long long)m->undone);
	(void)fprintf(f, "spur_undo_total{result=\"failed\"} %llu\n",
		      (unsigned long long)m->undo_failed);
	head(f, "spur_reclaimed_total", "counter",
	     "Records that went without a DEL of the runtime.");
	for (size_t i = 0; i < METRICS_REASONS && m->reclaimed[i].reason; i++)
		(void)fprintf(f, "spur_reclaimed_total{reason=\"%s\"} %llu\n",
			      m->reclaimed[i].reason, (unsigned long long)m->reclaimed[i].count);
	(void)fprintf(f, "spur_reclaimed_total{reason=\"reboot\"} %llu\n",
		      (unsigned long long)ledger_rebooted(d->ledger));
	head(f, "spur_reconcile_total", "counter", "Looks at who is dead, by how they ended.");
	(void)fprintf(f,
		      "spur_reconcile_total{result=\"ok\"} %llu\n"
		      "spur_reconcile_total{result=\"alarm\"} %llu\n"
		      "spur_reconcile_total{result=\"error\"} %llu\n",
		      (unsigned long long)m->passes, (unsigned long long)m->alarms,
		      (unsigned long long)m->pass_errors);
	undo_count(d, &queued, &running);
	head(f, "spur_undo_pending", "gauge", "Records to be undone, now or again.");
	(void)fprintf(f, "spur_undo_pending %d\n", queued + running);
	head(f, "spur_spooled", "gauge", "DELs in the spool whose record still stands.");
	(void)fprintf(f, "spur_spooled %d\n", spool_count(d->spool));
}

/* One family, a line a rail; @count is where a rail's figures have the number. */
static void print_rails(FILE *f, const struct figures *figures, const char *name, const char *help,
			size_t count)
{
	head(f, name, "gauge", help);
	for (size_t i = 0; i < figures->rail_count; i++) {
		const struct rail_figures *rail = &figures->rails[i];
		uint64_t number;

		memcpy(&number, (const char *)rail + count, sizeof(number));
		(void)fprintf(f, "%s{pool=\"%s\",rail=\"%s\"} %llu\n", name, rail->pool, rail->rail,
			      (unsigned long long)number);
	}
}

static void print_figures(FILE *f, const struct figures *figures)
{
	static const struct {
		const char *name, *help;
		size_t count;
	} families[] = {
		{ "spur_ip_capacity", "Indexes of a rail that may be handed out.",
		  offsetof(struct rail_figures, usage.capacity) },
		{ "spur_ip_assigned", "Indexes that are held.",
		  offsetof(struct rail_figures, usage.held) },
		{ "spur_ip_resting", "Indexes that were released, and are not given again yet.",
		  offsetof(struct rail_figures, usage.resting) },
		{ "spur_ip_claimed", "Indexes that a pod has claimed, and has not come for yet.",
		  offsetof(struct rail_figures, usage.claimed) },
		{ "spur_ip_draining", "Held indexes that the pools do not give any more.",
		  offsetof(struct rail_figures, usage.draining) },
		{ "spur_guid_capacity", "GUIDs of a rail's block.",
		  offsetof(struct rail_figures, guids) },
		{ "spur_guid_assigned", "GUIDs that belong to a VF or an attachment.",
		  offsetof(struct rail_figures, guids_assigned) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		print_rails(f, figures, families[i].name, families[i].help, families[i].count);
}

static void print_attachments(FILE *f, struct daemon *d)
{
	struct ledger_counts counts;
	struct err err;

	if (ledger_counts(d->ledger, &counts, &err) < 0)
		return;
	head(f, "spur_attachments", "gauge", "Records of the ledger, by state.");
	(void)fprintf(f, "spur_attachments{state=\"unfinished\"} %llu\n",
		      (unsigned long long)counts.unfinished);
	(void)fprintf(f, "spur_attachments{state=\"attached\"} %llu\n",
		      (unsigned long long)counts.attached);
	(void)fprintf(f, "spur_attachments{state=\"dirty\"} %llu\n",
		      (unsigned long long)counts.dirty);
	(void)fprintf(f, "spur_attachments{state=\"unconfirmed\"} %llu\n",
		      (unsigned long long)counts.unconfirmed);
}

/* Of the PFs that are on the rail of @pf, up to itself: is it the first? */
static bool is_first_of_rail(struct daemon *d, const struct picture *picture, size_t number)
{
	const char *rail = status_rail_of(d, &picture->pfs[number]);

	for (size_t i = 0; i < number; i++) {
		if (strcmp(status_rail_of(d, &picture->pfs[i]), rail) == 0)
			return false;
	}
	return true;
}

static void print_vfs_of(FILE *f, struct daemon *d, const struct picture *picture, const char *rail)
{
	int counts[VF_USES] = { 0 };

	for (size_t i = 0; i < picture->pf_count; i++) {
		const struct pf_entry *pf = &picture->pfs[i];

		for (size_t j = 0; j < pf->vf_count && strcmp(status_rail_of(d, pf), rail) == 0;
		     j++)
			counts[pf->vfs[j].use]++;
	}
	for (int i = 0; i < VF_USES; i++)
		(void)fprintf(f, "spur_vfs{rail=\"%s\",state=\"%s\"} %d\n", rail,
			      status_vf_use((enum vf_use)i), counts[i]);
}

static void print_vfs(FILE *f, struct daemon *d)
{
	const struct picture *picture = inventory_picture(d->inventory);
	int drifted = 0;

	head(f, "spur_vfs", "gauge", "VFs by rail (none: empty) and state.");
	for (size_t i = 0; i < picture->pf_count; i++) {
		if (is_first_of_rail(d, picture, i))
			print_vfs_of(f, d, picture, status_rail_of(d, &picture->pfs[i]));
		for (size_t j = 0; j < picture->pfs[i].vf_count; j++)
			drifted += picture->pfs[i].vfs[j].drifted;
	}
	head(f, "spur_vf_drift", "gauge", "VFs that came back otherwise than they went.");
	(void)fprintf(f, "spur_vf_drift %d\n", drifted);
	head(f, "spur_vf_renumbered", "gauge",
	     "VFs with another RDMA character device than device plugins were told of.");
	(void)fprintf(f, "spur_vf_renumbered %d\n", status_renumbered(d));
}

static void print_store(FILE *f, const struct daemon *d)
{
	char path[PATH_MAX];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", d->config.state);
	if (stat(path, &st) < 0)
		return;
	head(f, "spur_store_bytes", "gauge", "What the store takes on the disk.");
	(void)fprintf(f, "spur_store_bytes %lld\n", (long long)st.st_blocks * 512);
}

static void print_node(FILE *f, struct daemon *d)
{
	char unwell[STATUS_WHY_MAX];

	head(f, "spur_build_info", "gauge", "1, with the version.");
	(void)fprintf(f, "spur_build_info{version=\"%s\"} 1\n", SPUR_VERSION);
	head(f, "spur_connections", "gauge", "Open connections.");
	(void)fprintf(f, "spur_connections %d\n", server_conns(d->server));
	head(f, "spur_alarm", "gauge", "1 while something needs a person.");
	(void)fprintf(f, "spur_alarm{alarm=\"configuration\"} %d\n", !d->config_ok);
	(void)fprintf(f, "spur_alarm{alarm=\"store\"} %d\n", ledger_is_tight(d->ledger));
	(void)fprintf(f, "spur_alarm{alarm=\"mass_death\"} %d\n", status_mass_death(d));
	(void)fprintf(f, "spur_alarm{alarm=\"ledger_gone\"} %d\n",
		      !ledger_is_there_still(d->ledger));
	(void)fprintf(f, "spur_alarm{alarm=\"socket_gone\"} %d\n",
		      status_unwell(d, unwell)[0] != '\0');
}

char *metrics_text(struct daemon *d, const struct figures *figures)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	print_node(f, d);
	print_requests(f, &d->metrics);
	print_undo(f, d);
	print_figures(f, figures);
	print_attachments(f, d);
	print_vfs(f, d);
	print_store(f, d);
	if (fclose(f) != 0)
		free(TAKE_PTR(text));
	return text;
}
