/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of anybody's that are made text, as a name of a pod's choosing is. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_controls(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE char *text = malloc(size + 1), *again = NULL;
	CLEANUP_JSON json_t *json = NULL;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	json = json_text(text);
	utf8_mend(text);
	again = strdup(text);
	if (!json || !again || strlen(text) > size || !utf8_is_valid(text) || has_controls(text))
		abort();
	utf8_mend(again);
	if (strcmp(text, again) != 0)
		abort(); /* what is mended stays as it is */
	return 0;
}
