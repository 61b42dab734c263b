/* SPDX-License-Identifier: Apache-2.0 */
/* The mark beside the socket: what it says, and which ledger may follow which. */
#include "ipamd/mark.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define BOOT  "11111111-2222-3333-4444-555555555555"
#define OTHER "99999999-2222-3333-4444-555555555555"

static int decode(const char *text, struct mark_words *words)
{
	struct err err;

	return mark_decode(text, strlen(text), words, &err);
}

static void test_decode(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"{}",
		"{}\n",
		"[]\n",
		"{\"bootID\":1,\"state\":\"/s\",\"ledger\":\"l\",\"attachments\":true}\n",
		"{\"bootID\":\"b\",\"state\":\"/s\",\"ledger\":\"l\",\"attachments\":1}\n",
		("{\"bootID\":\"" BOOT
		 "5\",\"state\":\"/s\",\"ledger\":\"l\",\"attachments\":true}\n"),
		"{\"bootID\":\"b\",\"state\":\"/s\",\"attachments\":true}\n",
	};
	struct mark_words words;

	(void)state;
	/* Shorter words over longer ones leave the end of those. */
	assert_int_equal(decode("{\"bootID\":\"" BOOT "\",\"state\":\"/s\",\"ledger\":\"l\","
				"\"attachments\":true,\"later\":1}\nse}\n",
				&words),
			 0);
	assert_string_equal(words.boot_id, BOOT);
	assert_string_equal(words.state, "/s");
	assert_string_equal(words.ledger, "l");
	assert_true(words.attachments);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(decode(bad[i], &words) < 0);
}

static void test_judge(void **state)
{
	static const struct {
		const char *boot_id, *ledger;
		bool attachments;
		int r;
	} cases[] = {
		{ BOOT, "mine", true, 0 },        /* the same */
		{ BOOT, "other", true, -ESTALE }, /* another */
		{ BOOT, NULL, true, -ESTALE },    /* none is there */
		{ BOOT, "", true, 0 },            /* of a program that gave none */
		{ BOOT, "other", false, 0 },      /* nothing is lost */
		{ BOOT, NULL, false, 0 },         /* likewise */
		{ OTHER, "other", true, 0 },      /* those are dead */
		{ OTHER, NULL, true, 0 },         /* likewise */
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mark_words words = { .ledger = "mine",
					    .state = "/old",
					    .attachments = cases[i].attachments };

		memcpy(words.boot_id, cases[i].boot_id, sizeof(words.boot_id));
		assert_int_equal(mark_judge(&words, BOOT, "/new", cases[i].ledger, &err),
				 cases[i].r);
	}
	assert_int_equal(mark_judge(&(struct mark_words) { 0 }, BOOT, "/new", NULL, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_judge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
