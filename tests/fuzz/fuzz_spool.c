/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the spool, as a plugin that found no daemon leaves it, or somebody else. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "ipamd/seat.h"
#include "ipamd/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_JSON json_t *json = NULL;
	struct spool_told told;
	char key[SEAT_KEY_MAX];
	struct err err;

	if (json_parse((const char *)data, size, &json, &err) < 0 ||
	    spool_told_decode(json, &told, &err) < 0)
		return 0;
	if (strlen(seat_key(&told.key, key)) >= SEAT_KEY_MAX ||
	    (told.request && !json_is_object(told.request))) /* none: it is a `done` */
		abort();
	return 0;
}
