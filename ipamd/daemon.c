/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/hook.h"
#include "base/log.h"
#include "ethtool/ethtool.h"
#include "host/sysfs.h"
#include "ipamd/batch.h"
#include "ipamd/guard.h"
#include "ipamd/http.h"
#include "ipamd/inspect.h"
#include "ipamd/inventory.h"
#include "ipamd/listener.h"
#include "ipamd/mark.h"
#include "ipamd/page.h"
#include "ipamd/porter.h"
#include "ipamd/reconcile.h"
#include "ipamd/restart.h"
#include "ipamd/spool.h"
#include "ipamd/status.h"
#include "ipamd/undo.h"

enum {
	TICK_MS = 1000,
	STOP_MS = 2000, /* for answers to leave and handles to close */
};

void daemon_fail(struct daemon *d, int r, const struct err *why)
{
	if (d->failed)
		return;
	d->failed = r;
	d->failure = *why;
	uv_stop(&d->loop);
}

/* --- configuration --- */

static void set_log(const struct daemon *d, const struct config *config)
{
	const char *told = d->options->log_format;
	const char *format = told ? told : config->log_format;
	enum log_level level = LOG_LEVEL_INFO;

	(void)log_level_parse(config->log_level, &level); /* was checked */
	log_init(STDERR_FILENO, level, strcmp(format, "json") == 0);
}

static void set_plugin(struct daemon *d, const struct config *config)
{
	(void)snprintf(d->plugin, sizeof(d->plugin), "%s", config->plugin);
	if (access(d->plugin, X_OK) < 0)
		log_warn("key \"plugin\": %s: %s; nothing can be undone without it", d->plugin,
			 strerror(errno));
}

static int read_boot_id(char ret_id[BOOT_ID_TEXT], struct err *err)
{
	char boot_id[BOOT_ID_TEXT];
	int r = node_boot_id(boot_id, err);

	if (r == 0)
		(void)snprintf(ret_id, BOOT_ID_TEXT, "%s", hook_text("SPUR_BOOT_ID", boot_id));
	return r;
}

/* Would a start be refused, because the ledger that has served in this boot is not there? */
static int check_ledger(const struct config *config, struct err *err)
{
	char boot_id[BOOT_ID_TEXT];
	struct mark_words words;
	struct err unread;
	int r;

	if (ledger_is_there(config->state) || mark_read(config->socket, &words, &unread) < 0)
		return 0;
	r = read_boot_id(boot_id, err);
	return r < 0 ? r : mark_judge(&words, boot_id, config->state, NULL, err);
}

int daemon_check_config(const char *path, struct err *err)
{
	struct pool_set set = { 0 };
	struct config config;
	int r;

	r = config_load(path, &config, err);
	if (r < 0)
		return r;
	r = config_pools(&config, &set, err);
	if (r == 0)
		r = check_ledger(&config, err);
	if (r < 0)
		err_prefix(err, "%s", path);
	pool_set_free(&set);
	config_free(&config);
	return r;
}

/* Makes the pools of @config the effective ones, or leaves all as it is. A broken store is the end.
 */
static int take_pools(struct daemon *d, const struct config *config, struct err *err)
{
	struct pool_set set = { 0 };
	int r;

	r = config_pools(config, &set, err);
	if (r == 0)
		r = ledger_set_pools(d->ledger, &set, err);
	if (r < 0)
		pool_set_free(&set);
	if (r < 0 && ledger_is_broken(err))
		daemon_fail(d, r, err);
	return r;
}

static void note_config(struct daemon *d, int r, const struct err *err)
{
	d->config_ok = r == 0;
	d->config_ms = clock_wall_ms();
	(void)snprintf(d->config_error, sizeof(d->config_error), "%s", r < 0 ? err->msg : "");
	if (r < 0)
		log_error("%s: not taken, the pools stay as they were: %s", d->config_path,
			  err->msg);
	else
		log_info("%s: taken, %zu pools", d->config_path, ledger_pools(d->ledger)->count);
}

/*
 * The pools live in the store: those of the last good file serve on when this one is bad. A first
 * start has none to fall back to.
 */
static int start_pools(struct daemon *d, struct err *err)
{
	struct pool_set stored = { 0 };
	struct err why;
	bool have;
	int r;

	r = ledger_stored_pools(d->ledger, &stored, err);
	if (r < 0 && r != -ENOENT)
		return r;
	have = r == 0;
	if (have) {
		r = ledger_set_pools(d->ledger, &stored, err);
		if (r < 0) {
			pool_set_free(&stored);
			return r;
		}
	}
	r = take_pools(d, &d->config, &why);
	if (d->failed) {
		*err = why;
		return r;
	}
	if (r < 0 && !have) {
		*err = why;
		err_prefix(err, "%s", d->config_path);
		return r;
	}
	note_config(d, r, &why);
	return 0;
}

static void warn_changed(const struct daemon *d, const struct config *file)
{
	struct config_change changes[CONFIG_CHANGES_MAX];
	size_t count = config_compare(&d->config, file, changes);

	for (size_t i = 0; i < count; i++)
		log_warn("key \"%s\": %s: takes effect when the daemon is restarted",
			 changes[i].key, changes[i].new);
}

static int reload(struct daemon *d, struct err *err)
{
	struct config config;
	int r;

	r = config_load(d->config_path, &config, err);
	if (r < 0)
		return r;
	r = take_pools(d, &config, err);
	if (r == 0) {
		inventory_repool(d->inventory);
		set_log(d, &config);
		set_plugin(d, &config);
		warn_changed(d, &config);
	}
	config_free(&config);
	return r;
}

static void on_reload(uv_signal_t *handle, int signal)
{
	struct daemon *d = handle->data;
	struct err err;
	int r;

	(void)signal;
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
			 (unsigned long long)(uv_hrtime() / 1000));
	r = reload(d, &err);
	if (d->failed)
		return;
	note_config(d, r, &err);
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", r < 0 ? d->config_error : "serving");
}

/* --- running --- */

static int sweep(struct daemon *d, void *arg, struct err *err)
{
	return ledger_claims_sweep(d->ledger, arg, err);
}

/* What pods have claimed and not come for. */
static int sweep_claims(struct daemon *d, struct err *err)
{
	size_t count = 0;
	int r;

	if (!ledger_claims_due(d->ledger))
		return 0;
	r = batch_change(d->batch, sweep, &count, err);
	if (r == 0 && count)
		log_info("%zu claims have ended, not all of their rails bound", count);
	return r;
}

static void on_tick(uv_timer_t *tick)
{
	struct daemon *d = tick->data;
	struct err err;

	server_sweep(d->server);
	mark_tell(d->mark, ledger_has_attachments(d->ledger));
	spool_tick(d->spool);
	undo_go(d->undo);
	inventory_tick(d->inventory);
	porter_tick(d->porter);
	if (sweep_claims(d, &err) < 0)
		log_error("end claims: %s", err.msg);
	page_tick(d->page);
}

static void on_stop(uv_signal_t *handle, int signal)
{
	struct daemon *d = handle->data;

	if (d->stopping)
		return;
	log_info("%s: stopping", strsignal(signal));
	(void)sd_notify(0, "STOPPING=1");
	d->stopping = true;
	server_deafen(d->server);
	batch_finish(d->batch);
	uv_stop(&d->loop);
}

static int watch_signals(struct daemon *d, struct err *err)
{
	const struct {
		int signal;
		uv_signal_cb callback;
	} watched[] = { { SIGTERM, on_stop }, { SIGINT, on_stop }, { SIGHUP, on_reload } };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(watched); i++)
		r = uv_signal_start(&d->signals[i], watched[i].callback, watched[i].signal);
	return r < 0 ? err_sys(err, -r, ERR_INTERNAL, "watch signals") : 0;
}

/* --- start --- */

static int name_node(struct daemon *d, struct err *err)
{
	if (d->config.node[0]) {
		(void)snprintf(d->node, sizeof(d->node), "%s", d->config.node);
		return 0;
	}
	if (gethostname(d->node, sizeof(d->node)) < 0)
		return err_sys(err, errno, ERR_IO, "read the host's name");
	return 0;
}

static int own_socket_directory(const struct daemon *d, struct err *err)
{
	const char *socket = d->config.socket;
	size_t parent_len = (size_t)(strrchr(socket, '/') - socket);
	CLEANUP_FREE char *path = strndup(socket, parent_len ? parent_len : 1);

	return path ? fs_own_directory(path, err) : err_nomem(err);
}

/* Nobody else may serve at the socket. Nothing but its directory and the mark is touched before
 * that is sure. */
static int take_socket(struct daemon *d, struct err *err)
{
	struct err who;
	int r;

	r = own_socket_directory(d, err);
	if (r < 0)
		return r;
	r = mark_open(d->config.socket, &d->mark, err);
	if (r < 0 && r != -EBUSY)
		return r;
	/* It can be named, and one that knows no mark may serve there. */
	if (listener_probe(d->config.socket, &who) < 0) {
		*err = who;
		r = -who.errnum;
	}
	return r;
}

/* May the ledger of that name (NULL: none is there) take the place of the one before it? */
static int judge_ledger(const struct daemon *d, const char *name, struct err *err)
{
	return d->options->new_ledger
		       ? 0
		       : mark_judge(mark_words(d->mark), d->boot_id, d->config.state, name, err);
}

static int open_ledger(struct daemon *d, struct err *err)
{
	struct mark_words words = { 0 };
	int r = 0;

	if (!ledger_is_there(d->config.state))
		r = judge_ledger(d, NULL, err);
	if (r == 0)
		r = fs_own_directory(d->config.state, err);
	if (r == 0)
		r = ledger_open(d->config.state, d->boot_id, &d->ledger, err);
	if (r == 0)
		r = ledger_name(d->ledger, words.ledger, err);
	if (r == 0)
		r = judge_ledger(d, words.ledger, err);
	if (r == 0 && !words.ledger[0])
		r = ledger_give_name(d->ledger, words.ledger, err);
	if (r < 0)
		return r;
	memcpy(words.boot_id, d->boot_id, sizeof(words.boot_id));
	(void)snprintf(words.state, sizeof(words.state), "%s", d->config.state);
	words.attachments = ledger_has_attachments(d->ledger);
	mark_write(d->mark, &words);
	return 0;
}

/* What must be known before anybody is served. */
static int open_node(struct daemon *d, struct err *err)
{
	int r;

	r = name_node(d, err);
	if (r == 0)
		r = read_boot_id(d->boot_id, err);
	if (r == 0)
		r = take_socket(d, err);
	if (r == 0)
		r = open_ledger(d, err);
	if (r == 0)
		r = start_pools(d, err);
	if (r == 0)
		r = wire_open(NETLINK_ROUTE, &d->rt, err);
	if (r == 0)
		r = ethtool_open(0, &d->ethtool, err);
	if (r == 0)
		r = sysfs_open_own(&d->sysfs_fd, err);
	return r;
}

static int open_parts(struct daemon *d, struct err *err)
{
	int r;

	r = batch_open(d, &d->batch, err);
	if (r == 0)
		r = undo_open(d, &d->undo, err);
	if (r == 0)
		r = spool_open(d, &d->spool, err);
	if (r == 0)
		r = reconcile_open(d, &d->reconcile, err);
	if (r == 0)
		r = inventory_open(d, &d->inventory, err);
	if (r == 0)
		r = inspect_open(d, &d->inspect, err);
	if (r == 0)
		r = porter_open(d, &d->porter, err);
	if (r == 0)
		r = page_open(d, &d->page, err);
	if (r == 0)
		r = restart_open(d, &d->restart, err);
	if (r == 0)
		r = guard_raise(err); /* from here on there may be threads, and programs */
	if (r == 0)
		r = reconcile_start(d->reconcile, err);
	if (r == 0)
		r = sweep_claims(d, err);
	if (r < 0)
		return r;
	spool_load(d->spool);
	return inventory_start(d->inventory, err); /* who owns the VFs is clear by now */
}

static int open_http(struct daemon *d, struct err *err)
{
	const struct http_words words = {
		.address = d->config.http,
		.socket = d->config.socket,
		.node = d->node,
		.hosts = d->config.http_hosts,
	};

	return http_open(&words, &d->http, err);
}

static int open_doors(struct daemon *d, struct err *err)
{
	int r = watch_signals(d, err);

	if (r == 0 && d->config.http[0])
		r = open_http(d, err);
	if (r == 0)
		r = server_open(&d->loop, d->config.socket,
				&(struct server_events) { batch_line, batch_end, d->batch },
				&d->server, err);
	if (r < 0)
		return r;
	(void)uv_timer_start(&d->tick, on_tick, TICK_MS, TICK_MS);
	undo_go(d->undo);
	page_tick(d->page);
	return 0;
}

/* --- end --- */

static void on_patience_over(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Runs the loop until @is_done, but not for ever: a path that hangs must not keep us. */
static void run_until(struct daemon *d, bool (*is_done)(const struct daemon *d))
{
	bool over = false;
	uv_timer_t patience;

	(void)uv_timer_init(&d->loop, &patience);
	patience.data = &over;
	uv_unref((uv_handle_t *)&patience);
	(void)uv_timer_start(&patience, on_patience_over, STOP_MS, 0);
	while (!over && !is_done(d))
		(void)uv_run(&d->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&patience, NULL);
	(void)uv_run(&d->loop, UV_RUN_NOWAIT);
}

static bool answers_are_out(const struct daemon *d)
{
	return server_is_drained(d->server);
}

static bool loop_is_dry(const struct daemon *d)
{
	return !uv_loop_alive(&d->loop);
}

static void handles_init(struct daemon *d)
{
	(void)uv_timer_init(&d->loop, &d->tick);
	d->tick.data = d;
	for (size_t i = 0; i < ARRAY_SIZE(d->signals); i++) {
		(void)uv_signal_init(&d->loop, &d->signals[i]);
		d->signals[i].data = d;
	}
}

static void handles_close(struct daemon *d)
{
	uv_close((uv_handle_t *)&d->tick, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(d->signals); i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
	(void)signal(SIGHUP, SIG_IGN); /* an order to reload that comes late is nothing to die of */
}

/* A thread hangs in the kernel: nothing is freed under it, and the process waits for it no more. */
static _Noreturn void leave(const struct err *why)
{
	log_warn("something still runs; leaving it");
	if (why)
		log_error("%s", why->msg);
	_exit(why ? 1 : 0);
}

/* @why: of a failure. */
static void daemon_close(struct daemon *d, const struct err *why)
{
	d->stopping = true;
	if (d->server)
		run_until(d, answers_are_out);
	undo_close(d->undo);
	server_close(d->server); /* their locks go in a last batch */
	if (d->batch && !d->failed)
		batch_finish(d->batch);
	batch_close(d->batch);
	spool_close(d->spool);
	reconcile_close(d->reconcile);
	inventory_close(d->inventory);
	inspect_close(d->inspect);
	porter_close(d->porter);
	handles_close(d);
	run_until(d, loop_is_dry);
	if (uv_loop_close(&d->loop) < 0)
		leave(why);
	free(d->batch);
	server_free(d->server);
	undo_free(d->undo);
	reconcile_free(d->reconcile);
	inventory_free(d->inventory);
	inspect_free(d->inspect);
	porter_free(d->porter);
	page_free(d->page);
	restart_free(d->restart);
	http_close(d->http);
	seats_free(&d->seats);
	wire_close(d->rt);
	ethtool_close(d->ethtool);
	if (d->sysfs_fd >= 0)
		(void)close(d->sysfs_fd);
	if (d->ledger && !d->failed)
		mark_tell(d->mark, ledger_has_attachments(d->ledger));
	ledger_close(d->ledger);
	mark_close(d->mark); /* last: who waits for it finds neither socket nor lock of ours */
	config_free(&d->config);
}

int daemon_run(const char *config_path, const struct daemon_options *options, struct err *err)
{
	struct daemon d = { .config_path = config_path, .options = options, .sysfs_fd = -1 };
	int r;

	r = config_load(config_path, &d.config, err);
	if (r < 0)
		return r;
	set_log(&d, &d.config);
	set_plugin(&d, &d.config);
	d.started_ms = clock_boot_ms();
	r = uv_loop_init(&d.loop);
	if (r < 0) {
		config_free(&d.config);
		return err_sys(err, -r, ERR_INTERNAL, "make an event loop");
	}
	handles_init(&d);
	r = open_node(&d, err);
	if (r == 0)
		r = open_parts(&d, err);
	if (r == 0)
		r = open_doors(&d, err);
	if (r == 0) {
		log_info("spur-ipamd %s serves node %s at %s", SPUR_VERSION, d.node,
			 d.config.socket);
		(void)sd_notify(0, d.config_ok ? "READY=1\nSTATUS=serving"
					       : "READY=1\nSTATUS=serving with the stored pools");
		(void)uv_run(&d.loop, UV_RUN_DEFAULT);
		r = d.failed;
		if (r < 0)
			*err = d.failure;
	}
	daemon_close(&d, r < 0 ? err : NULL);
	return r;
}
