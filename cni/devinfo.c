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

static char *devinfo_text(const struct attachment *record, const char *rdma)
{
	const struct vf_baseline *vf = &record->device.vf;
	char pf[PCI_TEXT + 4];
	/* "s*": a NULL leaves the key out */
	CLEANUP_JSON json_t *info =
		json_pack("{s:s, s:s, s:{s:s, s:s*, s:s*}}", "type", "pci", "version", "1.1.0",
			  "pci", "pci-address", record->device.key + strlen("pci:"), "rdma-device",
			  rdma[0] ? rdma : NULL, "pf-pci-address",
			  vf->is_vf ? pci_format(&vf->pf, pf) : NULL);

	return info ? json_line(info) : NULL;
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

int devinfo_write(const char *path, const struct attachment *record, const char *rdma,
		  struct err *err)
{
	CLEANUP_CLOSE int dir = -1;
	CLEANUP_FREE char *text = devinfo_text(record, rdma);

	if (!text)
		return err_nomem(err);
	dir = open_directory(path, err);
	if (dir < 0)
		return dir;
	return fs_write_atomic(dir, strrchr(path, '/') + 1, text, strlen(text), 0444, err);
}

void devinfo_remove(const char *path)
{
	(void)unlink(path);
}
