/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon gives up before it serves anybody, and with it each program that it starts:
 * capabilities, new privileges, and system calls that neither it nor the plugin has a use for.
 */
#pragma once

#include "base/err.h"

/*
 * To be called while there is one thread: later ones inherit it. Sockets that need a privilege are
 * open by then. Cannot be undone.
 */
int guard_raise(struct err *err);
