/* SPDX-License-Identifier: Apache-2.0 */
/* Times in milliseconds. Deadlines are absolute CLOCK_BOOTTIME: they count through a suspend. */
#pragma once

#include <stdint.h>

int64_t clock_boot_ms(void);
int64_t clock_wall_ms(void);

/* Milliseconds from now until @deadline_ms, never below 0, at most INT_MAX: fits poll(2). */
int clock_left_ms(int64_t deadline_ms);
