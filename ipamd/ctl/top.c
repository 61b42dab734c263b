/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ctl/top.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ipamd/ctl/answer.h"
#include "ipamd/ctl/table.h"

enum { TOP_EVERY_MS = 1000, TOP_BAR = 20 };

/* What one drawing shows; new references. */
struct sight {
	json_t *status, *pools;
	int64_t at_ms;
};

static void sight_free(struct sight *sight)
{
	json_decref(sight->status);
	json_decref(sight->pools);
	*sight = (struct sight) { 0 };
}

static int sight_take(struct ctl *ctl, struct sight *ret_sight, struct err *err)
{
	CLEANUP(sight_free) struct sight sight = { .at_ms = clock_boot_ms() };
	int r;

	r = ctl_call(ctl, "node.status", json_object(), &sight.status, err);
	if (r == 0)
		r = pools_fetch(ctl, &sight.pools, err);
	if (r < 0)
		return r;
	*ret_sight = sight;
	sight = (struct sight) { 0 };
	return 0;
}

/* --- drawing --- */

/* How much a total has grown since the last sight. */
static double grown(const struct sight *now, const struct sight *before, const char *name)
{
	json_t *was = json_object_get(before->status, "totals");
	json_t *is = json_object_get(now->status, "totals");

	return json_number_value(json_object_get(is, name)) -
	       json_number_value(json_object_get(was, name));
}

static double per(double sum, double count)
{
	return count > 0 ? sum / count : 0;
}

static void print_rates(const struct sight *now, const struct sight *before)
{
	double seconds = (double)(now->at_ms - before->at_ms) / 1000;
	double requests = grown(now, before, "requests"), commits = grown(now, before, "commits");

	printf("requests     %.0f/s, %.0f/s refused, %.2f ms each\n", per(requests, seconds),
	       per(grown(now, before, "refused"), seconds),
	       per(grown(now, before, "requestSeconds"), requests) * 1000);
	printf("commits      %.0f/s, %.1f requests and %.2f ms each\n", per(commits, seconds),
	       per(requests, commits), per(grown(now, before, "commitSeconds"), commits) * 1000);
}

static void bar_format(long long part, long long whole, char buf[TOP_BAR + 1])
{
	long long full = whole > 0 ? (part * TOP_BAR + whole - 1) / whole : 0;

	for (int i = 0; i < TOP_BAR; i++)
		buf[i] = i < full ? '#' : '.';
	buf[TOP_BAR] = '\0';
}

static void print_rail(struct table *table, json_t *pool, json_t *rail)
{
	long long capacity = number_of(rail, "capacity"), held = number_of(rail, "held"),
		  resting = number_of(rail, "resting"), claimed = number_of(rail, "claimed");
	long long used = held - number_of(rail, "draining") + claimed + resting;
	char bar[TOP_BAR + 1];

	bar_format(used, capacity, bar);
	table_cell(table, "%s/%s", text_of(pool, "name"), text_of(rail, "name"));
	table_cell(table, "%s", bar);
	table_cell(table, "%lld", held);
	table_cell(table, "%lld", claimed);
	table_cell(table, "%lld", resting);
	table_cell(table, "%lld", capacity - used);
}

static int print_rails(json_t *pools, struct err *err)
{
	static const char *const heads[] = { "POOL/RAIL", "IN USE",  "HELD",
					     "CLAIMED",   "RESTING", "FREE" };
	json_t *pool, *rail;
	struct table table;
	size_t i, j;

	table_begin(&table, heads, ARRAY_SIZE(heads));
	json_array_foreach (json_object_get(pools, "pools"), i, pool) {
		json_array_foreach (json_object_get(pool, "rails"), j, rail)
			print_rail(&table, pool, rail);
	}
	return table_end(&table) < 0 ? err_nomem(err) : 0;
}

static int draw(const struct sight *now, const struct sight *before, struct err *err)
{
	status_print(now->status);
	print_rates(now, before);
	printf("\n");
	return print_rails(now->pools, err);
}

/* --- the terminal --- */

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* Keys come one by one and are not shown; another screen, so that the old one comes back. */
static void screen_open(struct termios *ret_was)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct termios raw;

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	if (tcgetattr(STDIN_FILENO, ret_was) == 0) {
		raw = *ret_was;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	printf("\033[?1049h\033[?25l");
}

static void screen_close(const struct termios *was)
{
	printf("\033[?25h\033[?1049l");
	(void)fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, was);
}

/* Waits for the next drawing; false: somebody wants to leave. */
static bool screen_wait(void)
{
	struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };
	char key = '\0';

	if (poll(&keys, 1, TOP_EVERY_MS) > 0 && read(STDIN_FILENO, &key, 1) <= 0)
		return false;
	return !interrupted && key != 'q';
}

static int draw_again(struct ctl *ctl, struct sight *before, struct err *err)
{
	struct sight now = { 0 };
	int r = sight_take(ctl, &now, err);

	if (r < 0)
		return r;
	printf("\033[H\033[J");
	r = draw(&now, before, err);
	printf("\nq: leave\n");
	(void)fflush(stdout);
	sight_free(before);
	*before = now;
	return r;
}

static int top_watch(struct ctl *ctl, struct sight *before, struct err *err)
{
	struct termios was;
	int r = 0;

	screen_open(&was);
	do
		r = draw_again(ctl, before, err);
	while (r == 0 && screen_wait());
	screen_close(&was);
	return r;
}

/* For a pipe: one second's rates. */
static int top_once(struct ctl *ctl, struct sight *before, struct err *err)
{
	CLEANUP(sight_free) struct sight now = { 0 };
	int r;

	(void)poll(NULL, 0, TOP_EVERY_MS);
	r = sight_take(ctl, &now, err);
	if (r < 0)
		return r;
	if (!ctl->json)
		return draw(&now, before, err);
	if (json_object_update(now.status, now.pools) < 0)
		return err_nomem(err);
	return print_json(now.status, err);
}

int top_run(struct ctl *ctl, struct err *err)
{
	CLEANUP(sight_free) struct sight before = { 0 };
	int r = sight_take(ctl, &before, err);

	if (r < 0)
		return r;
	if (!ctl->json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO))
		return top_watch(ctl, &before, err);
	return top_once(ctl, &before, err);
}
