/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose turn it is to move an RDMA device, or to bind a function that has one to its driver anew.
 * One at a time in the node, for character devices are numbered by the lowest free number, and two
 * at once could swap theirs.
 *
 * It is a flock on the directory of the daemon's socket, and a courtesy: one that hangs in the
 * kernel gives his turn back after RDMA_TURN_MS, and who has waited for RDMA_TURN_WAIT_MS goes on
 * without. So whoever needs the number to be what it was compares it afterwards.
 */
#pragma once

#include <stdint.h>

enum { RDMA_TURN_MS = 2000, RDMA_TURN_WAIT_MS = 8000 };

/*
 * Waits for it, but not past @deadline_ms. A descriptor (close-on-exec; a child has to close its
 * own copy), or -1: there is no such directory, or it was waited for in vain.
 */
int rdma_turn_take(const char *socket, int64_t deadline_ms);

/* Closes *@turn, which is -1 from then on; it may be -1 before. */
void rdma_turn_end(int *turn);
