/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/uio.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

enum { LOG_LINE_MAX = 2048 /* longer than any err.msg + details */, LOG_PARTS_MAX = 5 };

static const char *const level_names[] = { "error", "warning", "info", "debug" };

static struct {
	int fd;
	enum log_level level;
	bool json;
} sink = { STDERR_FILENO, LOG_LEVEL_INFO, false };

void log_init(int fd, enum log_level level, bool json)
{
	sink.fd = fd;
	sink.level = level;
	sink.json = json;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	if (strcmp(text, "panic") == 0) {
		*ret_level = LOG_LEVEL_ERROR;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_told(const struct log_field *field)
{
	return field->text && field->text[0];
}

static char *line_as_json(enum log_level level, const char *msg, const struct log_field *fields,
			  size_t count)
{
	CLEANUP_JSON json_t *line = NULL;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	line = json_pack("{s:f, s:s, s:s}", "time", (double)now.tv_sec + (double)now.tv_nsec / 1e9,
			 "level", level_names[level], "msg", msg);
	for (size_t i = 0; line && i < count; i++) {
		if (is_told(&fields[i]))
			(void)json_object_set_new(line, fields[i].name, json_text(fields[i].text));
	}
	return line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(16)) : NULL;
}

/* Behind the message, cut where the line ends. */
static void add_fields(char msg[LOG_LINE_MAX], const struct log_field *fields, size_t count)
{
	size_t len = strlen(msg);

	for (size_t i = 0; i < count && len < LOG_LINE_MAX; i++) {
		if (is_told(&fields[i]))
			len += (size_t)snprintf(msg + len, LOG_LINE_MAX - len, " %s=%s",
						fields[i].name, fields[i].text);
	}
	utf8_mend(msg);
}

/* One write a line, so that lines of two processes do not mix. A lost line is lost. */
static void write_parts(const char *const *parts)
{
	struct iovec iov[LOG_PARTS_MAX];
	int count = 0;

	for (; parts[count]; count++)
		iov[count] = (struct iovec) { (char *)parts[count], strlen(parts[count]) };
	(void)!writev(sink.fd, iov, count);
}

static void write_line(enum log_level level, char msg[LOG_LINE_MAX], const struct log_field *fields,
		       size_t count)
{
	CLEANUP_FREE char *json = NULL;

	utf8_mend(msg); /* what somebody else's program has printed, or what was cut */
	if (sink.json)
		json = line_as_json(level, msg, fields, count);
	if (json) {
		write_parts((const char *[]) { json, "\n", NULL });
		return;
	}
	add_fields(msg, fields, count);
	write_parts((const char *[]) { "spur: ", level_names[level], ": ", msg, "\n", NULL });
}

void log_fields(enum log_level level, const struct log_field *fields, size_t count, const char *fmt,
		...)
{
	char msg[LOG_LINE_MAX];
	va_list ap;

	if (level > sink.level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	write_line(level, msg, fields, count);
}
