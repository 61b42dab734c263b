/* SPDX-License-Identifier: Apache-2.0 */
/* The quick reader and writer of JSON against jansson: what they take, they take as jansson does.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare_written(const json_t *json)
{
	CLEANUP_FREE char *ours = json_text_write(json);
	CLEANUP_FREE char *theirs = json_dumps(json, JSON_COMPACT);

	if (ours && (!theirs || strcmp(ours, theirs) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_JSON json_t *ours = json_text_read((const char *)data, size);
	CLEANUP_JSON json_t *theirs =
		json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

	if (ours && (!theirs || !json_equal(ours, theirs)))
		abort();
	if (theirs)
		compare_written(theirs);
	return 0;
}
