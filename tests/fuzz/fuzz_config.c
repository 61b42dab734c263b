/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's file, with its pools, and the arithmetic of what was taken. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "ipamd/config.h"
#include "ipamd/pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_rail(const struct rail *rail)
{
	struct ip_config net = { 0 };
	uint64_t index = 0, back;

	for (int i = 0; i < 16 && rail_next_index(rail, index, &index); i++, index++) {
		if (!rail_has_index(rail, index))
			abort();
		rail_config(rail, index, &net);
		if (net.ip_count == 0 || !rail_index_of(rail, &net.ips[0].cidr.ip, &back) ||
		    back != index)
			abort();
	}
	(void)rail_capacity(rail);
}

/* What a rail names is on it, and its block of GUIDs is one that ports can have. */
static void walk_match(const struct pool_set *set, const struct rail *rail)
{
	for (size_t i = 0; i < rail->pf_name_count; i++) {
		if (!rail_matches(rail, rail->pf_names[i], NULL) ||
		    !pool_set_rail_of(set, rail->pf_names[i], NULL))
			abort();
	}
	for (size_t i = 0; i < rail->pf_addr_count; i++) {
		if (!rail_matches(rail, "", &rail->pf_addrs[i]))
			abort();
	}
	/* A block is up to 2^32 long: its ends, and steps that no round number divides. */
	for (uint64_t i = 0; i < rail->guid_count; i += 65521) {
		if (!guid_is_usable(rail->guid_base + i) ||
		    !guid_is_usable(rail->guid_base + rail->guid_count - 1))
			abort();
	}
}

static void walk_pools(json_t *array)
{
	struct pool_set set = { 0 };
	struct err err;

	if (pool_set_read(array, &set, &err) < 0)
		return;
	for (size_t i = 0; i < set.count; i++) {
		for (size_t j = 0; j < set.pools[i].rail_count; j++) {
			walk_rail(&set.pools[i].rails[j]);
			walk_match(&set, &set.pools[i].rails[j]);
		}
	}
	pool_set_free(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config;
	struct err err;

	if (config_parse((const char *)data, size, &config, &err) < 0)
		return 0;
	if (config.pools)
		walk_pools(config.pools);
	config_free(&config);
	return 0;
}
