/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"

enum { LAST_WORDS_MS = 1000 /* how long the streams are read after its end */ };

static void on_closed(uv_handle_t *handle)
{
	struct child *child = handle->data;

	if (--child->open_handles > 0)
		return;
	child->ended(child);
}

static void close_once(void *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_closed);
}

static bool is_closing(void *handle)
{
	return uv_is_closing(handle);
}

static void end_if_silent(struct child *child)
{
	if (is_closing(&child->process) && is_closing(&child->out_pipe) &&
	    is_closing(&child->err_pipe))
		close_once(&child->timer);
}

/* What it leaves behind may hold the streams open for ever. */
static void stop_listening(struct child *child)
{
	close_once(&child->out_pipe);
	close_once(&child->err_pipe);
	end_if_silent(child);
}

static void on_silence(uv_timer_t *timer)
{
	stop_listening(timer->data);
}

static void on_timeout(uv_timer_t *timer)
{
	struct child *child = timer->data;

	child->timed_out = true;
	child_kill(child);
	stop_listening(child);
}

/* The streams go on for a moment: what was said last is the reason of a failure. */
static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
	struct child *child = process->data;

	child->exit_status = status;
	child->signal = signal;
	close_once(&child->process);
	close_once(&child->in_pipe);
	(void)uv_timer_start(&child->timer, on_silence, LAST_WORDS_MS, 0);
	end_if_silent(child);
}

static struct child_output *output_of(struct child *child, const void *pipe)
{
	return pipe == &child->out_pipe ? &child->out : &child->err;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char dropped[4096];
	struct child_output *out = output_of(handle->data, handle);
	size_t room = sizeof(out->text) - 1 - out->len;

	(void)suggested;
	*buf = room ? uv_buf_init(out->text + out->len, (unsigned int)room)
		    : uv_buf_init(dropped, sizeof(dropped));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct child_output *out = output_of(stream->data, stream);

	if (n < 0) {
		close_once(stream);
		end_if_silent(stream->data);
	} else if (buf->base == out->text + out->len) {
		out->len += (size_t)n;
	}
}

static void on_written(uv_write_t *write, int status)
{
	(void)status; /* a program that does not read its input has its reasons */
	close_once(write->handle);
}

static void handles_init(struct child *child, uv_loop_t *loop)
{
	(void)uv_pipe_init(loop, &child->in_pipe, 0);
	(void)uv_pipe_init(loop, &child->out_pipe, 0);
	(void)uv_pipe_init(loop, &child->err_pipe, 0);
	(void)uv_timer_init(loop, &child->timer);
	child->process.data = child->timer.data = child;
	child->in_pipe.data = child->out_pipe.data = child->err_pipe.data = child;
	child->open_handles = 5;
}

static int spawn(struct child *child, uv_loop_t *loop, const struct child_spec *spec)
{
	uv_stdio_container_t stdio[3] = {
		{ .flags = UV_CREATE_PIPE | UV_READABLE_PIPE,
		  .data.stream = (uv_stream_t *)&child->in_pipe },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&child->out_pipe },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		  .data.stream = (uv_stream_t *)&child->err_pipe },
	};
	const uv_process_options_t options = {
		.exit_cb = on_exit_status,
		.file = spec->file,
		.args = spec->argv,
		.env = spec->env,
		.cwd = "/",
		.stdio = stdio,
		.stdio_count = 3,
	};

	return uv_spawn(loop, &child->process, &options);
}

static void close_all(struct child *child)
{
	close_once(&child->process);
	close_once(&child->timer);
	close_once(&child->in_pipe);
	close_once(&child->out_pipe);
	close_once(&child->err_pipe);
}

void child_start(struct child *child, uv_loop_t *loop, const struct child_spec *spec)
{
	uv_buf_t input = uv_buf_init(spec->input, (unsigned int)strlen(spec->input));

	*child = (struct child) { .ended = spec->ended, .arg = spec->arg };
	handles_init(child, loop);
	child->start_error = spawn(child, loop, spec);
	if (child->start_error < 0) {
		close_all(child);
		return;
	}
	/* What cannot be set up here ends the program: it sees no input, or its deadline. */
	(void)uv_timer_start(&child->timer, on_timeout, (uint64_t)spec->timeout_ms, 0);
	(void)uv_read_start((uv_stream_t *)&child->out_pipe, on_alloc, on_read);
	(void)uv_read_start((uv_stream_t *)&child->err_pipe, on_alloc, on_read);
	if (uv_write(&child->write, (uv_stream_t *)&child->in_pipe, &input, 1, on_written) < 0)
		close_once(&child->in_pipe);
}

void child_kill(struct child *child)
{
	if (!uv_is_closing((uv_handle_t *)&child->process))
		(void)uv_process_kill(&child->process, SIGKILL);
}

void child_leave(struct child *child)
{
	close_all(child);
}

/* The code of the error that the plugin has printed, 0 if there is none. */
static int printed_code(const struct child *child, char *why, size_t size)
{
	CLEANUP_JSON json_t *json = json_loads(child->out.text, 0, NULL);
	const char *msg = json_string_value(json_object_get(json, "msg"));

	utf8_print(why, size, "%s", msg ? msg : "");
	return msg ? json_cni_code(json_object_get(json, "code")) : 0;
}

int child_verdict(const struct child *child, char why[CHILD_WHY_MAX])
{
	int code = printed_code(child, why, CHILD_WHY_MAX);

	if (child->start_error < 0) {
		(void)snprintf(why, CHILD_WHY_MAX, "start the plugin: %s",
			       strerror(-child->start_error));
		return ERR_AGAIN;
	}
	if (child->timed_out || child->signal) {
		(void)snprintf(why, CHILD_WHY_MAX, "%s",
			       child->timed_out ? "the plugin did not end in time"
						: "the plugin was killed");
		return ERR_AGAIN;
	}
	if (child->exit_status == 0)
		return 0;
	if (!why[0])
		(void)snprintf(why, CHILD_WHY_MAX, "the plugin ended with exit status %d",
			       (int)child->exit_status);
	return code > 0 ? code : ERR_INTERNAL;
}
