/* SPDX-License-Identifier: Apache-2.0 */
#include "host/node.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"

int node_boot_id(char ret_id[BOOT_ID_TEXT], struct err *err)
{
	char buf[BOOT_ID_TEXT + 1]; /* with its newline */
	ssize_t n = fs_read_small(AT_FDCWD, "/proc/sys/kernel/random/boot_id", buf, sizeof(buf));

	if (n != BOOT_ID_TEXT - 1)
		return err_sys(err, n < 0 ? (int)-n : EPROTO, ERR_IO, "read boot id");
	memcpy(ret_id, buf, BOOT_ID_TEXT);
	return 0;
}
