/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/devinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/text.h"

enum {
	DEVINFO_MAX = 4096,       /* bytes of one that is read: ours has 150 */
	PART_MAX = NAME_MAX - 12, /* of a path; a temporary name is longer */
};

/* The next part of a path, over slashes and "."; @ret_len 0: there is none. */
static const char *next_part(const char **rest, size_t *ret_len)
{
	const char *part;

	do {
		part = *rest + strspn(*rest, "/");
		*ret_len = strcspn(part, "/");
		*rest = part + *ret_len;
	} while (*ret_len == 1 && part[0] == '.');
	return part;
}

static bool next_is(const char **rest, const char *name)
{
	size_t len;
	const char *part = next_part(rest, &len);

	return len == strlen(name) && memcmp(part, name, len) == 0;
}

/* Behind the run directory, whose other name is /var/run; NULL: it is elsewhere. */
static const char *behind_run(const char *path, const char **ret_run)
{
	const char *rest = path;
	size_t len;

	*ret_run = "/run";
	if (next_is(&rest, "run"))
		return rest;
	*ret_run = "/var/run";
	rest = path;
	(void)next_part(&rest, &len);
	return next_is(&path, "var") && next_is(&rest, "run") ? rest : NULL;
}

bool devinfo_path_is_valid(const char *path)
{
	const char *run, *part, *rest = behind_run(path, &run);
	const char *end = NULL;
	size_t len;

	if (path[0] != '/' || !rest || !next_is(&rest, "k8s.cni.cncf.io") ||
	    !next_is(&rest, "devinfo"))
		return false;
	while (part = next_part(&rest, &len), len > 0) {
		if (len > PART_MAX || (len == 2 && memcmp(part, "..", 2) == 0))
			return false;
		end = part + len;
	}
	return end && *end == '\0';
}

/*
 * The directory of a valid path, part by part, so that no link below the run directory leads
 * elsewhere; with @make what is missing is made. -errno.
 */
static int open_directory(const char *path, bool make, const char **ret_name)
{
	const char *run, *rest = behind_run(path, &run), *part = NULL;
	int dir = open(run, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	size_t len;

	while (dir >= 0 && (part = next_part(&rest, &len), *rest)) {
		CLEANUP_CLOSE int outer = dir;
		char name[PART_MAX + 1];

		memcpy(name, part, len);
		name[len] = '\0';
		if (make)
			(void)mkdirat(outer, name, 0755); /* what is no directory is not opened */
		dir = openat(outer, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	}
	*ret_name = part;
	return dir < 0 ? -errno : dir;
}

static bool is_of(const char *text, size_t len, const char *pci)
{
	CLEANUP_JSON json_t *info = json_loadb(text, len, 0, NULL);
	const char *type = json_string_value(json_object_get(info, "type"));
	const char *address =
		json_string_value(json_object_get(json_object_get(info, "pci"), "pci-address"));

	return type && address && strcmp(type, "pci") == 0 && strcasecmp(address, pci) == 0;
}

/* 0: it tells of @pci; -ENOENT: there is no such file; -EEXIST: it is something else. */
static int look_at(int dir, const char *name, const char *pci)
{
	CLEANUP_CLOSE int fd =
		openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	CLEANUP_FREE char *text = NULL;
	struct stat st;
	size_t len;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -EEXIST;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    fs_read_all(fd, DEVINFO_MAX, &text, &len) < 0)
		return -EEXIST;
	return is_of(text, len, pci) ? 0 : -EEXIST;
}

static const char *pci_of(const struct attachment *record)
{
	return record->device.key + strlen("pci:");
}

static int check_at(int dir, const char *name, const char *path, const char *pci, struct err *err)
{
	if (look_at(dir, name, pci) != -EEXIST)
		return 0;
	return err_set(err, EEXIST, ERR_VALUE,
		       "key \"runtimeConfig.CNIDeviceInfoFile\": \"%s\": is there, and must be "
		       "absent or the device-info of %s",
		       path, pci);
}

int devinfo_check(const char *path, const struct attachment *record, struct err *err)
{
	const char *name;
	CLEANUP_CLOSE int dir = open_directory(path, false, &name);

	if (dir == -ENOENT) /* it will be made */
		return 0;
	if (dir < 0)
		return err_sys(err, -dir, ERR_VALUE,
			       "key \"runtimeConfig.CNIDeviceInfoFile\": \"%s\": its directory",
			       path);
	return check_at(dir, name, path, pci_of(record), err);
}

static char *devinfo_text(const struct attachment *record, const char *rdma)
{
	const struct vf_baseline *vf = &record->device.vf;
	char pf[PCI_TEXT + 4];
	/* "s*": a NULL leaves the key out */
	CLEANUP_JSON json_t *info = json_pack(
		"{s:s, s:s, s:{s:s, s:s*, s:s*}}", "type", "pci", "version", "1.1.0", "pci",
		"pci-address", pci_of(record), "rdma-device", rdma[0] ? rdma : NULL,
		"pf-pci-address", vf->is_vf ? pci_format(&vf->pf, pf) : NULL);

	return info ? json_line(info) : NULL;
}

int devinfo_write(const char *path, const struct attachment *record, const char *rdma,
		  struct err *err)
{
	CLEANUP_FREE char *text = devinfo_text(record, rdma);
	CLEANUP_CLOSE int dir = -1;
	const char *name;
	int r;

	if (!text)
		return err_nomem(err);
	dir = open_directory(path, true, &name);
	if (dir < 0)
		return err_sys(err, -dir, ERR_IO, "open the directory of %s", path);
	r = check_at(dir, name, path, pci_of(record), err);
	return r < 0 ? r : fs_write_atomic(dir, name, text, strlen(text), 0444, err);
}

void devinfo_remove(const char *path, const struct attachment *record)
{
	const char *name;
	CLEANUP_CLOSE int dir = open_directory(path, false, &name);

	if (dir >= 0 && look_at(dir, name, pci_of(record)) == 0)
		(void)unlinkat(dir, name, 0);
}
