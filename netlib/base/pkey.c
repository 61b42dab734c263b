/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pkey.h"

#include <strings.h>

#include "base/text.h"

static bool read_limited(struct json_reader *r)
{
	const char *text = "full";

	if (json_str(r, "pkeyMembership", &text) && strcasecmp(text, "full") != 0 &&
	    strcasecmp(text, "limited") != 0)
		json_bad(r, "pkeyMembership", "must be \"full\" or \"limited\"");
	return strcasecmp(text, "limited") == 0;
}

void pkey_read(struct json_reader *r, uint16_t *ret_pkey)
{
	const char *text = NULL;
	uint16_t pkey = 0;
	bool limited;

	if (json_str(r, "pkey", &text) && pkey_parse(text, &pkey) < 0)
		json_bad(r, "pkey", "must be 0x0001..0xffff with a partition in its low 15 bits");
	limited = read_limited(r);
	if (!pkey && json_object_get(r->obj, "pkeyMembership"))
		json_bad(r, "pkeyMembership", "needs \"pkey\"");
	else if (limited && (pkey & PKEY_FULL))
		json_bad(r, "pkeyMembership",
			 "contradicts \"pkey\", whose top bit is full membership");
	if (r->r == 0 && pkey)
		*ret_pkey = limited ? pkey : pkey | PKEY_FULL;
}

bool pkey_is_default(uint16_t pkey)
{
	return (pkey & ~PKEY_FULL) == PKEY_DEFAULT;
}
