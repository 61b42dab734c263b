/* SPDX-License-Identifier: Apache-2.0 */
#include "host/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"

int sysctl_write_if(const char *family, const char *ifname, const char *key, const char *value,
		    struct err *err)
{
	char path[128]; /* an interface name has 15 bytes, our keys at most 24 */
	int r;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, ifname, key);
	r = fs_write_small(AT_FDCWD, path, value);
	return r < 0 ? err_sys(err, -r, ERR_KERNEL, "set %s to %s", path, value) : 0;
}
