/* SPDX-License-Identifier: Apache-2.0 */
/* What "spur bind-guid" and "spur rebind" share. */
#pragma once

enum { PREPARE_MS = 20 * 1000 /* a driver's probe takes seconds when a node starts */ };

/* Between unbind and probe an end would leave the VF without its driver; PREPARE_MS ends us. */
void prepare_block_stop(void);
