/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/prepare.h"

#include <signal.h>
#include <stddef.h>

void prepare_block_stop(void)
{
	sigset_t stop;

	(void)sigemptyset(&stop);
	(void)sigaddset(&stop, SIGTERM);
	(void)sigaddset(&stop, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &stop, NULL);
}
