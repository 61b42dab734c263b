/* SPDX-License-Identifier: Apache-2.0 */
/* The proof that a plugin would be served: asked as a plugin asks, through the path of the socket.
 */
#pragma once

#include "base/err.h"

enum { PROOF_MS = 1000 /* for the answer; as much again for a connection */ };

/*
 * Connects to @socket and asks for the node's status, from another thread than the loop's. An
 * error: nobody listens there, somebody else does (-EADDRINUSE), or no answer has come in time.
 */
int proof_ask(const char *socket, struct err *err);
