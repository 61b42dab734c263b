/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a store's file is as it was written, found out where it can do no harm: in a child. */
#pragma once

#include "base/err.h"

/*
 * Reads the whole of @path, an absolute path or one of this directory, and changes nothing.
 * -EINVAL: no file, or no store; -EPROTONOSUPPORT: of another version of LMDB's format; -EUCLEAN:
 * damaged, and @err tells what and what to do; -EINTR: who read it was killed. Errors are
 * ERR_STORE.
 */
int verify_file(const char *path, struct err *err);
/* What to do with the damaged store @path, as @err's details. */
void verify_recipe(const char *path, struct err *err);
