/* SPDX-License-Identifier: Apache-2.0 */
/* What can be read as pools, and would yet fail the ADD of every pod. Pure. */
#pragma once

#include "base/err.h"
#include "ipamd/pool.h"

/*
 * Refused with ERR_VALUE: a rail that gives no address; a route of a family that its rail has no
 * addresses of, or with a gateway that none of them reaches. Only of a file: the pools that the
 * store keeps are in force, whatever they are.
 */
int pool_set_check(const struct pool_set *set, struct err *err);
