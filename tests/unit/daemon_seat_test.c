/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at a seat. */
#include "ipamd/seat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A peer in another PID namespace has pid 0, and so has a plugin that did not start. */
static void test_pid_0_is_nobody(void **state)
{
	(void)state;
	static const struct {
		enum seat_work work;
		pid_t child, peer;
		bool is;
	} rows[] = {
		{ SEAT_RUNNING, 7, 7, true },  { SEAT_RUNNING, 7, 8, false },
		{ SEAT_RUNNING, 0, 0, false }, { SEAT_BACKOFF, 7, 7, false },
		{ SEAT_IDLE, 0, 0, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct seat seat = { .work = rows[i].work, .child_pid = rows[i].child };
		const struct conn conn = { .pid = rows[i].peer };

		assert_int_equal(seat_is_worked_by(&seat, &conn), rows[i].is);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pid_0_is_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
