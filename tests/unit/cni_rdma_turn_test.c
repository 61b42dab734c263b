/* SPDX-License-Identifier: Apache-2.0 */
/* One at a time; nobody waits past a deadline. */
#include "cni/rdma_turn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_one_at_a_time(void **state)
{
	char dir[] = "/tmp/spur-turn-XXXXXX", socket[64];
	int mine, other;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(socket, sizeof(socket), "%s/ipamd.sock", dir); /* need not be there */
	mine = rdma_turn_take(socket, INT64_MAX);
	assert_true(mine >= 0);
	assert_int_equal(rdma_turn_take(socket, clock_boot_ms() + 20), -1);
	rdma_turn_end(&mine);
	assert_int_equal(mine, -1);
	other = rdma_turn_take(socket, 0); /* who is late takes it all the same, if he can */
	assert_true(other >= 0);
	rdma_turn_end(&other);
	rdma_turn_end(&other);
	assert_int_equal(rmdir(dir), 0);
}

static void test_no_directory(void **state)
{
	(void)state;
	assert_int_equal(rdma_turn_take("/nowhere/spur/ipamd.sock", INT64_MAX), -1);
	assert_int_equal(rdma_turn_take("ipamd.sock", INT64_MAX), -1);
	assert_int_equal(rdma_turn_take("", INT64_MAX), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_no_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
