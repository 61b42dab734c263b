/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sink, one line an event. netlib never logs above debug; a failure is logged once, at the top.
 * Text: "LEVEL message name=value…"; JSON: {"time":…,"level":…,"msg":…,"name":"value",…}.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * Sets where lines go (@fd stays the caller's), from which level on, and in which format.
 * Until it is called: stderr, info, text.
 */
void log_init(int fd, enum log_level level, bool json);

/* "error", "warning", "info", "debug" (and sriov-cni's "panic") to a level; -EINVAL if unknown. */
int log_level_parse(const char *text, enum log_level *ret_level);

/* What an event is about. Fields with an empty text are left out, and so are NULL ones. */
struct log_field {
	const char *name, *text;
};

/* @fields are what programs can search by. */
void log_fields(enum log_level level, const struct log_field *fields, size_t count, const char *fmt,
		...) __attribute__((format(printf, 4, 5)));

#define log_line(level, ...) log_fields(level, NULL, 0, __VA_ARGS__)
#define log_error(...)       log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)        log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)        log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)       log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
