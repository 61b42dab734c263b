/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host/sysfs over trees that no kernel would make. An input is text, a line an entry:
 *
 *	d PATH          a directory
 *	f PATH TEXT     a file
 *	l PATH TARGET   a symbolic link
 *
 * Directories above are made as needed. Looked up are always the PCI function 0000:1a:00.1, the
 * auxiliary device mlx5_core.sf.4 and the RDMA device mlx5_2, and all PFs with their VFs are
 *listed.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/sysfs.h"

enum { ENTRIES_MAX = 200, DEPTH_MAX = 12 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good, const char *what)
{
	if (good)
		return;
	(void)fprintf(stderr, "fuzz_sysfs: %s\n", what);
	abort();
}

/*
 * Opens the directory that @path lies in, making it; follows no link, so that nothing is written
 * outside of the tree. Leaves the last component in *@ret_name. -1 for a path that will not do.
 */
static int make_parent(int root_fd, char *path, const char **ret_name)
{
	CLEANUP_CLOSE int fd = dup(root_fd);
	char *save = NULL, *name = strtok_r(path, "/", &save), *next;

	for (int depth = 0; name && (next = strtok_r(NULL, "/", &save)); depth++, name = next) {
		int below;

		(void)mkdirat(fd, name, 0700);
		below = openat(fd, name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below < 0 || depth == DEPTH_MAX || strcmp(name, "..") == 0) {
			cleanup_closep(&below);
			return -1;
		}
		(void)close(fd);
		fd = below;
	}
	if (!name || strcmp(name, "..") == 0)
		return -1;
	*ret_name = name;
	return TAKE_FD(fd);
}

static void make_file(int dir_fd, const char *name, const char *text)
{
	CLEANUP_CLOSE int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0)
		check(write(fd, text, strlen(text)) >= 0, "write");
}

static void make_link(int dir_fd, const char *name, const char *target)
{
	if (symlinkat(target, dir_fd, name) < 0)
		check(errno == EEXIST || errno == ENAMETOOLONG, "symlinkat");
}

static void make_entry(int root_fd, char *line)
{
	CLEANUP_CLOSE int dir_fd = -1;
	const char *name = NULL, *rest;
	char *path, *save = NULL, *kind = strtok_r(line, " ", &save);

	path = kind ? strtok_r(NULL, " ", &save) : NULL;
	if (!path)
		return;
	rest = strtok_r(NULL, "", &save);
	dir_fd = make_parent(root_fd, path, &name);
	if (dir_fd < 0)
		return;
	if (kind[0] == 'd')
		(void)mkdirat(dir_fd, name, 0700);
	else if (kind[0] == 'f')
		make_file(dir_fd, name, rest ? rest : "");
	else if (kind[0] == 'l' && rest && rest[0] != '/') /* stay in the tree */
		make_link(dir_fd, name, rest);
}

static void make_tree(int root_fd, const uint8_t *data, size_t size)
{
	CLEANUP_FREE char *text = strndup((const char *)data, size);
	char *save = NULL;
	int count = 0;

	check(text != NULL, "strndup");
	for (char *line = strtok_r(text, "\n", &save); line && count < ENTRIES_MAX;
	     line = strtok_r(NULL, "\n", &save), count++)
		make_entry(root_fd, line);
}

static void check_failure(int r, const struct err *err)
{
	check(r < 0 && err->errnum == -r && err->code != 0 && err->msg[0], "an error unsaid");
}

static void check_function(int root_fd)
{
	static const struct pci_addr addr = { .bus = 0x1a, .function = 1 };
	struct pci_function fn;
	struct err err = { 0 };
	int r = sysfs_pci_function(root_fd, &addr, &fn, &err);

	if (r != 0) {
		check_failure(r, &err);
		return;
	}
	check(!fn.netdev[0] || ifname_is_valid(fn.netdev), "netdev");
	check(!fn.pf_netdev[0] || (fn.is_vf && ifname_is_valid(fn.pf_netdev)), "netdev of the PF");
	check(strlen(fn.driver) < SYSFS_NAME_MAX && !strchr(fn.driver, '/'), "driver");
	check((fn.rdma_count > 0) == (fn.rdma[0] != '\0'), "RDMA device");
	check(!fn.is_vf || fn.vf_index >= 0, "VF index");
	check(fn.numa_node >= -1, "NUMA node");
}

static void check_aux(int root_fd)
{
	struct aux_device aux;
	struct err err = { 0 };
	int r = sysfs_aux_device(root_fd, "mlx5_core.sf.4", &aux, &err);

	if (r != 0) {
		check_failure(r, &err);
		return;
	}
	check(strcmp(aux.name, "mlx5_core.sf.4") == 0, "name of the auxiliary device");
	check(!aux.netdev[0] || ifname_is_valid(aux.netdev), "netdev of the auxiliary device");
	check((aux.rdma_count > 0) == (aux.rdma[0] != '\0'), "RDMA device of the auxiliary device");
}

static int next_vf(int vf, const struct pci_addr *addr, void *arg)
{
	int *last = arg;

	check(vf == *last + 1 && addr->device <= 31, "order of VFs");
	*last = vf;
	return 0;
}

static int list_vfs(const struct pci_addr *pf, void *arg)
{
	struct err err = { 0 };
	int *root_fd = arg, last = -1, r = sysfs_list_vfs(*root_fd, pf, next_vf, &last, &err);

	if (r != 0)
		check_failure(r, &err);
	return 0;
}

static void check_rdma(int root_fd)
{
	static const struct ip ip = { .family = AF_INET, .bytes = { 10, 0, 0, 5 } };
	char uverbs[SYSFS_NAME_MAX];
	struct err err = { 0 };
	bool active;
	int index = -2, r = sysfs_rdma_gid_index(root_fd, "mlx5_2", &ip, "net1", &index, &err);

	if (r != 0)
		check_failure(r, &err);
	else
		check(index >= -1, "GID index");
	r = sysfs_rdma_port_active(root_fd, "mlx5_2", &active, &err);
	if (r != 0)
		check_failure(r, &err);
	check(sysfs_rdma_uverbs(root_fd, "mlx5_2", uverbs, &err) == 0, "uverbs");
	check(!uverbs[0] || strncmp(uverbs, "uverbs", 6) == 0, "name of uverbs");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char root[] = "/tmp/spur-fuzz-sysfs-XXXXXX";
	struct err err = { 0 };
	int root_fd;

	check(mkdtemp(root) != NULL, "mkdtemp");
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(root_fd >= 0, "open the root");
	make_tree(root_fd, data, size);
	check_function(root_fd);
	check_aux(root_fd);
	check_rdma(root_fd);
	check(sysfs_list_pfs(root_fd, list_vfs, &root_fd, &err) == 0, "list of PFs");
	(void)close(root_fd);
	check(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "remove the tree");
	return 0;
}
