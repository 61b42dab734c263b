/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/http_caller.h"

struct caller *caller_enter(struct callers *callers, void *connection, int fd, int64_t now_ms)
{
	for (size_t i = 0; i < CALLERS_MAX; i++) {
		struct caller *caller = &callers->places[i];

		if (caller->stage != CALLER_NONE)
			continue;
		*caller = (struct caller) { .connection = connection, .fd = fd };
		caller_move(caller, CALLER_NEW, now_ms);
		return caller;
	}
	return NULL;
}

void caller_move(struct caller *caller, enum caller_stage stage, int64_t now_ms)
{
	caller->stage = stage;
	caller->since_ms = now_ms;
}

size_t callers_count(const struct callers *callers, enum caller_stage stage)
{
	size_t count = 0;

	for (size_t i = 0; i < CALLERS_MAX; i++)
		count += callers->places[i].stage == stage;
	return count;
}

static bool is_waited_for(const struct caller *caller)
{
	return caller->stage == CALLER_HEAD || caller->stage == CALLER_ANSWER;
}

void callers_look(struct callers *callers)
{
	for (size_t i = 0; i < CALLERS_MAX; i++) {
		if (callers->places[i].stage == CALLER_NEW)
			callers->places[i].stage = CALLER_HEAD;
	}
}

/* The one that has been there for the longest; NULL: nobody is there. */
static struct caller *longest_at(struct callers *callers, enum caller_stage stage)
{
	struct caller *longest = NULL;

	for (size_t i = 0; i < CALLERS_MAX; i++) {
		struct caller *caller = &callers->places[i];

		if (caller->stage == stage && (!longest || caller->since_ms < longest->since_ms))
			longest = caller;
	}
	return longest;
}

/* One that was hung up on has as good as left. */
static bool is_crowded(const struct callers *callers)
{
	return callers_count(callers, CALLER_NONE) + callers_count(callers, CALLER_ENDED) <
	       CALLERS_KEPT;
}

struct caller *callers_slowest(struct callers *callers, int64_t patience_ms, int64_t now_ms)
{
	struct caller *head = longest_at(callers, CALLER_HEAD);
	struct caller *answer = longest_at(callers, CALLER_ANSWER);

	if (head && now_ms - head->since_ms >= patience_ms)
		return head;
	if (answer && now_ms - answer->since_ms >= patience_ms)
		return answer;
	if (!is_crowded(callers))
		return NULL;
	return head ? head : answer;
}

int64_t callers_left_ms(const struct callers *callers, int64_t patience_ms, int64_t now_ms)
{
	int64_t least = -1;

	for (size_t i = 0; i < CALLERS_MAX; i++) {
		const struct caller *caller = &callers->places[i];
		int64_t left = caller->since_ms + patience_ms - now_ms;

		if (is_waited_for(caller) && (least < 0 || left < least))
			least = left > 0 ? left : 0;
	}
	return least;
}
