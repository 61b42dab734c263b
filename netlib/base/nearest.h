/* SPDX-License-Identifier: Apache-2.0 */
/* Which key was meant by one that nobody knows. Pure. */
#pragma once

#include <stddef.h>

/*
 * Of the @count keys in @known the one that @key was probably meant to be: what another plugin
 * calls so, else the first of those with the fewest letters inserted, left out, changed or
 * swapped, if these are at most a third of it (case, '_' and '-' make no difference), else the
 * longest that @key begins with, in any case. NULL: none.
 */
const char *nearest_key(const char *key, const char *const known[], size_t count);
