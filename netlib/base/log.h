/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sink, one line an event. netlib never logs above debug; a failure is logged once, at the top.
 * Text: "LEVEL message"; JSON: {"time":…,"level":…,"msg":…}.
 */
#pragma once

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * Sets where lines go (@fd stays the caller's), from which level on, and in which format.
 * Until it is called: stderr, info, text.
 */
void log_init(int fd, enum log_level level, bool json);

/* "error", "warning", "info", "debug" (and sriov-cni's "panic") to a level; -EINVAL if unknown. */
int log_level_parse(const char *text, enum log_level *ret_level);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
