/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that are made once and differ in a name: MARK stands for the 16 digits of it. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MARK "@@@@@@@@@@@@@@@@"

enum { MARK_LEN = 16, MARKS_MAX = 16 };

struct marked {
	char *text;
	size_t len;
	size_t marks[MARKS_MAX], count;
};

/* Takes @text, and finds its marks. */
static inline void marked_init(struct marked *marked, char *text)
{
	*marked = (struct marked) { .text = text, .len = strlen(text) };
	for (char *at = text; (at = strstr(at, MARK)) && marked->count < MARKS_MAX; at += MARK_LEN)
		marked->marks[marked->count++] = (size_t)(at - text);
}

/* A name as random as those of containers, so that it lands anywhere in a B-tree (splitmix64). */
static inline void marked_name(struct marked *marked, uint64_t number)
{
	uint64_t mixed = number * 0x9e3779b97f4a7c15;
	char name[MARK_LEN + 1];

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
	mixed ^= mixed >> 31;
	(void)snprintf(name, sizeof(name), "%016llx", (unsigned long long)mixed);
	for (size_t i = 0; i < marked->count; i++)
		memcpy(marked->text + marked->marks[i], name, MARK_LEN);
}
