/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included by check-tidy before everything else. The analyzer looks at one file at a time, so it
 * has to be told that what sets an error never returns 0; otherwise it follows paths on which a
 * function fails with success.
 */
#pragma once

#include "base/err.h"

#define err_set(...)   ((void)err_set(__VA_ARGS__), -1)
#define err_sys(...)   ((void)err_sys(__VA_ARGS__), -1)
#define err_nomem(err) ((void)err_nomem(err), -1)
