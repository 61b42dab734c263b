/* SPDX-License-Identifier: Apache-2.0 */
/* The mark beside the socket, as a daemon leaves it, or somebody else. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ipamd/mark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mark_words words;
	struct err err;

	if (mark_decode((const char *)data, size, &words, &err) < 0)
		return 0;
	if (mark_judge(&words, words.boot_id, words.state, words.ledger, &err) < 0)
		abort(); /* its own ledger may always follow */
	return 0;
}
