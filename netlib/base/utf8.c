/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* Bytes of a character that begins so; 0: none does. */
static size_t length_of(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The second byte is where overlong forms, surrogates and what is too high are told (RFC 3629). */
static bool may_follow(unsigned char lead, size_t at, unsigned char c)
{
	unsigned char low = 0x80, high = 0xbf;

	if (at == 1 && lead == 0xe0)
		low = 0xa0;
	else if (at == 1 && lead == 0xed)
		high = 0x9f;
	else if (at == 1 && lead == 0xf0)
		low = 0x90;
	else if (at == 1 && lead == 0xf4)
		high = 0x8f;
	return c >= low && c <= high;
}

/* How many bytes are of the character that begins here, and whether it is whole. */
static size_t read_character(const char *text, bool *ret_whole)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length = length_of(bytes[0]), have = length > 0;

	while (have > 0 && have < length && may_follow(bytes[0], have, bytes[have]))
		have++;
	*ret_whole = have > 0 && have == length;
	return have;
}

bool utf8_is_valid(const char *text)
{
	bool whole = true;

	while (*text && whole)
		text += read_character(text, &whole);
	return whole;
}

/* Of a whole character. */
static uint32_t code_of(const char *text, size_t length)
{
	static const unsigned char leads[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t code = (unsigned char)text[0] & leads[length];

	for (size_t i = 1; i < length; i++)
		code = code << 6 | ((unsigned char)text[i] & 0x3f);
	return code;
}

static bool is_printable(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} unseen[] = {
		{ 0, 0x1f },        { 0x7f, 0x9f },     { 0x61c, 0x61c },
		{ 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
		{ 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
	};

	for (size_t i = 0; i < ARRAY_SIZE(unseen); i++) {
		if (code >= unseen[i].first && code <= unseen[i].last)
			return false;
	}
	return true;
}

/* What stands for a character that is not there as it is. */
static char stand_in(const char *text)
{
	return strchr("\t\n\v\f\r", *text) ? ' ' : '?';
}

void utf8_mend(char *text)
{
	char *to = text;

	while (*text) {
		bool whole;
		size_t have = read_character(text, &whole);

		if (whole && is_printable(code_of(text, have))) {
			memmove(to, text, have);
			to += have;
		} else if (whole || have == 0) {
			*to++ = stand_in(text);
			have = have ? have : 1;
		}
		text += have;
	}
	*to = '\0';
}

void utf8_print(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	utf8_mend(buf);
}
