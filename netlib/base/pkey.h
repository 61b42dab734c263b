/* SPDX-License-Identifier: Apache-2.0 */
/* A P_Key as configurations have it: a network's, and a rail's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

enum {
	PKEY_FULL = 0x8000,    /* full membership (InfiniBand, volume 1, section 10.9) */
	PKEY_DEFAULT = 0x7fff, /* the partition that all ports are in */
};

/*
 * Reads "pkey" and "pkeyMembership" ("full" or "limited") of @r into *@ret_pkey, which stays as it
 * is without them. A key without the top bit is a partition, and means full membership, as
 * ib-kubernetes has it, unless "limited" is asked for; one with the top bit is full.
 */
void pkey_read(struct json_reader *r, uint16_t *ret_pkey);
/* Is it that of the default partition, as either member? */
bool pkey_is_default(uint16_t pkey);
