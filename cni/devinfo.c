/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/devinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/text.h"
#include "host/sysfs.h"

static int devinfo_text(const char *device_key, char **ret_text, struct err *err)
{
	CLEANUP_CLOSE int sysfs = -1;
	CLEANUP_JSON json_t *info = NULL;
	struct pci_function function;
	char addr[PCI_TEXT + 4], pf[PCI_TEXT + 4];
	int r;

	if (pci_parse(device_key + strlen("pci:"), &function.addr) < 0)
		return err_set(err, EINVAL, ERR_DEVICE, "device %s: is no PCI function",
			       device_key);
	r = sysfs_open(&sysfs, err);
	if (r == 0)
		r = sysfs_pci_function(sysfs, &function.addr, &function, err);
	if (r < 0)
		return r;
	info = json_pack("{s:s, s:s, s:{s:s, s:s*, s:s*}}", "type", "pci", "version", "1.1.0",
			 "pci", "pci-address", pci_format(&function.addr, addr), "rdma-device",
			 function.rdma[0] ? function.rdma : NULL, "pf-pci-address",
			 function.is_vf ? pci_format(&function.pf_addr, pf) : NULL);
	*ret_text = info ? json_line(info) : NULL;
	return *ret_text ? 0 : err_nomem(err);
}

/* The directory is made by whoever asks for the file; its last part may be missing. */
static int open_directory(const char *path, struct err *err)
{
	CLEANUP_FREE char *dir = strdup(path);
	char *end;
	int fd;

	if (!dir)
		return err_nomem(err);
	end = strrchr(dir, '/');
	*(end == dir ? end + 1 : end) = '\0';
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, ERR_IO, "create %s", dir);
	fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, ERR_IO, "open %s", dir) : fd;
}

int devinfo_write(const char *path, const char *device_key, struct err *err)
{
	CLEANUP_CLOSE int dir = -1;
	CLEANUP_FREE char *text = NULL;
	int r = devinfo_text(device_key, &text, err);

	if (r < 0)
		return r;
	dir = open_directory(path, err);
	if (dir < 0)
		return dir;
	return fs_write_atomic(dir, strrchr(path, '/') + 1, text, strlen(text), 0444, err);
}

void devinfo_remove(const char *path)
{
	(void)unlink(path);
}
