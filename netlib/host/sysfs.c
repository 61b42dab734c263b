/* SPDX-License-Identifier: Apache-2.0 */
/* Every path is looked up below the root fd; links are read, not followed, where only their end
 * matters. */
#include "host/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/hook.h"

enum {
	SYSFS_PATH = 256,
	SYSFS_VFS_MAX = 1024 /* no device has more (PCIe SR-IOV: 16 bits; mlx5: 127) */
};

static void cleanup_dirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static DIR *open_dir(int at_fd, const char *path)
{
	int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (fd >= 0 && !dir)
		(void)close(fd);
	return dir;
}

int sysfs_open(int *ret_fd, struct err *err)
{
	int fd = open(hook_sysfs_root(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, ERR_IO, "open %s", hook_sysfs_root());
	*ret_fd = fd;
	return 0;
}

/* The last component of what the link @path points to. 0, or -errno (-ENOENT: no such link). */
static int link_end(int dirfd, const char *path, char *ret_end, size_t size)
{
	char target[SYSFS_PATH];
	ssize_t n = readlinkat(dirfd, path, target, sizeof(target) - 1);
	const char *end;

	if (n < 0)
		return -errno;
	target[n] = '\0';
	end = strrchr(target, '/');
	end = end ? end + 1 : target;
	if (strlen(end) >= size)
		return -ENAMETOOLONG;
	memcpy(ret_end, end, strlen(end) + 1);
	return 0;
}

static int link_pci(int dirfd, const char *path, struct pci_addr *ret_addr)
{
	char end[SYSFS_NAME_MAX];
	int r = link_end(dirfd, path, end, sizeof(end));

	return r < 0 ? r : pci_parse(end, ret_addr);
}

/*
 * The entries of a class directory below a device ("net", "infiniband"): how many, and the first
 * by name. No such directory: none.
 */
static int class_entries(int dev_fd, const char *path, char *ret_first, size_t size)
{
	CLEANUP(cleanup_dirp) DIR *dir = open_dir(dev_fd, path);
	struct dirent *entry;
	int count = 0;

	ret_first[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || len >= size)
			continue;
		if (count++ == 0 || strcmp(entry->d_name, ret_first) < 0)
			memcpy(ret_first, entry->d_name, len + 1);
	}
	return count;
}

/*
 * A PF in switchdev mode also lists the representors of its VFs and SFs here. Their phys_port_name
 * is "pf0vf3", "c1pf0sf88", …; the uplink's is "p0" (net/core/devlink).
 */
static bool is_representor(int net_fd, const char *netdev)
{
	char path[SYSFS_PATH], port[SYSFS_NAME_MAX];

	(void)snprintf(path, sizeof(path), "%s/phys_port_name", netdev);
	return fs_read_small(net_fd, path, port, sizeof(port)) > 0 && strstr(port, "pf");
}

/* The one netdev of a function that is not a representor. 0 with "" = none; -ENOTUNIQ. */
static int own_netdev(int dev_fd, char ret_netdev[IFNAME_MAX + 1], const char *of, struct err *err)
{
	CLEANUP(cleanup_dirp) DIR *dir = open_dir(dev_fd, "net");
	char found[IFNAME_MAX + 1] = "";
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (!ifname_is_valid(entry->d_name) || is_representor(dirfd(dir), entry->d_name))
			continue;
		if (found[0])
			return err_set(err, ENOTUNIQ, ERR_DEVICE,
				       "find netdev of %s: it has two, %s and %s", of, found,
				       entry->d_name);
		memcpy(found, entry->d_name, strlen(entry->d_name) + 1);
	}
	memcpy(ret_netdev, found, sizeof(found));
	return 0;
}

/* Which virtfnN of the PF leads back to @vf. */
static int find_vf_index(int pf_fd, const struct pci_addr *vf)
{
	struct pci_addr addr;
	char name[24], vf_text[PCI_TEXT + 4], text[PCI_TEXT + 4];

	(void)pci_format(vf, vf_text);
	for (int i = 0; i < SYSFS_VFS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "virtfn%d", i);
		if (link_pci(pf_fd, name, &addr) < 0)
			return -ENOENT;
		if (strcmp(pci_format(&addr, text), vf_text) == 0)
			return i;
	}
	return -ENOENT;
}

static int read_pf(int root_fd, int dev_fd, struct pci_function *fn, const char *text,
		   struct err *err)
{
	CLEANUP_CLOSE int pf_fd = -1;
	char path[SYSFS_PATH], pf[PCI_TEXT + 4];
	int r = link_pci(dev_fd, "physfn", &fn->pf_addr);

	if (r == -ENOENT)
		return 0; /* not a VF */
	if (r < 0)
		return err_sys(err, -r, ERR_DEVICE, "find PF of %s", text);
	fn->is_vf = true;
	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s", pci_format(&fn->pf_addr, pf));
	pf_fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pf_fd < 0)
		return err_sys(err, errno, ERR_DEVICE, "open PF %s of %s", pf, text);
	fn->vf_index = find_vf_index(pf_fd, &fn->addr);
	if (fn->vf_index < 0)
		return err_set(err, ENODEV, ERR_DEVICE,
			       "find VF index of %s: PF %s has no virtfn for it", text, pf);
	return own_netdev(pf_fd, fn->pf_netdev, pf, err);
}

static void read_numa_node(int dev_fd, struct pci_function *fn)
{
	char text[16], *end;
	long node;

	fn->numa_node = -1;
	if (fs_read_small(dev_fd, "numa_node", text, sizeof(text)) <= 0)
		return;
	node = strtol(text, &end, 10);
	if (*end == '\0' && node >= 0 && node < 1 << 16)
		fn->numa_node = (int)node;
}

/* Opens the directory of a function. */
static int open_function(int root_fd, const struct pci_addr *addr, int *ret_fd, struct err *err)
{
	char path[SYSFS_PATH], text[PCI_TEXT + 4];

	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s", pci_format(addr, text));
	*ret_fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0 && errno == ENOENT)
		return err_set(err, ENODEV, ERR_DEVICE, "find PCI function %s: no such function",
			       text);
	if (*ret_fd < 0)
		return err_sys(err, errno, ERR_IO, "find PCI function %s", text);
	return 0;
}

int sysfs_pci_function(int root_fd, const struct pci_addr *addr, struct pci_function *ret_function,
		       struct err *err)
{
	struct pci_function fn = { .addr = *addr };
	char text[PCI_TEXT + 4];
	CLEANUP_CLOSE int dev_fd = -1;
	int r = open_function(root_fd, addr, &dev_fd, err);

	if (r < 0)
		return r;
	r = read_pf(root_fd, dev_fd, &fn, pci_format(addr, text), err);
	if (r == 0)
		r = own_netdev(dev_fd, fn.netdev, text, err);
	if (r < 0)
		return r;
	if (link_end(dev_fd, "driver", fn.driver, sizeof(fn.driver)) < 0)
		fn.driver[0] = '\0';
	fn.rdma_count = class_entries(dev_fd, "infiniband", fn.rdma, sizeof(fn.rdma));
	read_numa_node(dev_fd, &fn);
	*ret_function = fn;
	return 0;
}

/* What the RDMA device of an entry of infiniband_verbs is called: any bytes. */
static bool read_ibdev(int dirfd, const char *uverbs, char ret_rdma[SYSFS_NAME_MAX])
{
	char path[SYSFS_PATH],
		text[SYSFS_NAME_MAX + 1]; /* and the newline, which is the kernel's */
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	/* beside the devices there is a file, abi_version */
	if (strncmp(uverbs, "uverbs", 6) != 0)
		return false;
	(void)snprintf(path, sizeof(path), "%.64s/ibdev", uverbs);
	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (n < 2 || text[n - 1] != '\n')
		return false;
	memcpy(ret_rdma, text, (size_t)n - 1);
	ret_rdma[n - 1] = '\0';
	return true;
}

int sysfs_rdma_name(int root_fd, const char *bus, const char *name, char ret_rdma[SYSFS_NAME_MAX],
		    struct err *err)
{
	char path[SYSFS_PATH], uverbs[SYSFS_NAME_MAX];
	CLEANUP_CLOSE int dev_fd = -1, verbs_fd = -1;

	(void)snprintf(path, sizeof(path), "bus/%s/devices/%s", bus, name);
	dev_fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dev_fd < 0 && errno == ENOENT)
		return err_set(err, ENODEV, ERR_DEVICE, "find RDMA device of %s: no such function",
			       name);
	if (dev_fd < 0)
		return err_sys(err, errno, ERR_IO, "find RDMA device of %s", name);
	if (class_entries(dev_fd, "infiniband_verbs", uverbs, sizeof(uverbs)) == 0) {
		(void)class_entries(dev_fd, "infiniband", ret_rdma, SYSFS_NAME_MAX);
		return 0;
	}
	verbs_fd = openat(dev_fd, "infiniband_verbs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (verbs_fd < 0 || !read_ibdev(verbs_fd, uverbs, ret_rdma))
		ret_rdma[0] = '\0'; /* it has just gone */
	return 0;
}

bool sysfs_has_rdma(int root_fd, const char *bus, const char *name)
{
	CLEANUP_CLOSE int fd = -1;
	char path[SYSFS_PATH];

	(void)snprintf(path, sizeof(path), "bus/%s/devices/%s/infiniband", bus, name);
	fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 || errno != ENOENT; /* what cannot be looked at is not gone */
}

bool sysfs_rdma_holder(int root_fd, const char *rdma, char ret_device[SYSFS_NAME_MAX])
{
	CLEANUP(cleanup_dirp) DIR *dir = open_dir(root_fd, "class/infiniband_verbs");
	char path[SYSFS_PATH], of[SYSFS_NAME_MAX];
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (!read_ibdev(dirfd(dir), entry->d_name, of) || strcmp(of, rdma) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%.64s/device", entry->d_name);
		if (link_end(dirfd(dir), path, ret_device, SYSFS_NAME_MAX) < 0)
			ret_device[0] = '\0';
		return true;
	}
	return false;
}

/* The PCI function that an auxiliary device hangs below: a component of its real path. */
static int aux_parent(int root_fd, const char *path, struct pci_addr *ret_addr)
{
	char target[SYSFS_PATH];
	ssize_t n = readlinkat(root_fd, path, target, sizeof(target) - 1);
	char *save = NULL;
	int r = -ENODEV;

	if (n < 0)
		return -errno;
	target[n] = '\0';
	for (char *part = strtok_r(target, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (pci_parse(part, ret_addr) == 0)
			r = 0; /* the last one is the nearest */
	}
	return r;
}

int sysfs_aux_device(int root_fd, const char *name, struct aux_device *ret_device, struct err *err)
{
	struct aux_device aux = { 0 };
	CLEANUP_CLOSE int dev_fd = -1;
	char path[SYSFS_PATH];
	int r;

	if (!id_is_valid(name) || strlen(name) >= sizeof(aux.name))
		return err_set(err, EINVAL, ERR_VALUE,
			       "find auxiliary device \"%s\": not a device name", name);
	memcpy(aux.name, name, strlen(name) + 1);
	(void)snprintf(path, sizeof(path), "bus/auxiliary/devices/%s", name);
	dev_fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dev_fd < 0)
		return err_set(err, ENODEV, ERR_DEVICE, "find auxiliary device %s: no such device",
			       name);
	r = aux_parent(root_fd, path, &aux.pci);
	if (r < 0)
		return err_sys(err, -r, ERR_DEVICE, "find PCI function of auxiliary device %s",
			       name);
	r = own_netdev(dev_fd, aux.netdev, name, err);
	if (r < 0)
		return r;
	aux.rdma_count = class_entries(dev_fd, "infiniband", aux.rdma, sizeof(aux.rdma));
	*ret_device = aux;
	return 0;
}

int sysfs_mount(int *ret_fd, struct err *err)
{
	CLEANUP_CLOSE int context = fsopen("sysfs", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, ERR_KERNEL, "make sysfs of network namespace");
	fd = fsmount(context, FSMOUNT_CLOEXEC,
		     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fd < 0)
		return err_sys(err, errno, ERR_KERNEL, "mount sysfs of network namespace");
	*ret_fd = fd;
	return 0;
}

int sysfs_open_own(int *ret_fd, struct err *err)
{
	struct err refused;

	if (strcmp(hook_sysfs_root(), "/sys") == 0 && sysfs_mount(ret_fd, &refused) == 0)
		return 0;
	return sysfs_open(ret_fd, err);
}

bool sysfs_upper(int root_fd, const char *netdev, char ret_upper[IFNAME_MAX + 1])
{
	static const char prefix[] = "upper_"; /* netdev_adjacent_sysfs_add(), net/core/dev.c */
	const size_t skip = sizeof(prefix) - 1;
	CLEANUP(cleanup_dirp) DIR *dir = NULL;
	char path[SYSFS_PATH];
	struct dirent *entry;

	(void)snprintf(path, sizeof(path), "class/net/%.*s", IFNAME_MAX, netdev);
	dir = open_dir(root_fd, path);
	ret_upper[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		const char *name = entry->d_name + skip;

		if (strncmp(entry->d_name, prefix, skip) != 0 || !ifname_is_valid(name))
			continue;
		if (!ret_upper[0] || strcmp(name, ret_upper) < 0)
			(void)snprintf(ret_upper, IFNAME_MAX + 1, "%s", name);
	}
	return ret_upper[0];
}

uint64_t sysfs_netdev_inode(int root_fd, const char *netdev)
{
	char path[SYSFS_PATH];
	struct stat stat;

	(void)snprintf(path, sizeof(path), "class/net/%.*s", IFNAME_MAX, netdev);
	return fstatat(root_fd, path, &stat, 0) < 0 ? 0 : stat.st_ino;
}

int sysfs_find_netdev(int root_fd, uint64_t inode, const char *likely,
		      char ret_netdev[IFNAME_MAX + 1], struct err *err)
{
	CLEANUP(cleanup_dirp) DIR *dir = NULL;
	const char *name = sysfs_netdev_inode(root_fd, likely) == inode ? likely : NULL;
	struct dirent *entry;

	if (!name) {
		dir = open_dir(root_fd, "class/net");
		if (!dir)
			return err_sys(err, errno, ERR_IO, "list class/net of sysfs");
	}
	while (!name && (entry = readdir(dir))) {
		if (ifname_is_valid(entry->d_name) &&
		    sysfs_netdev_inode(root_fd, entry->d_name) == inode)
			name = entry->d_name;
	}
	if (name)
		(void)snprintf(ret_netdev, IFNAME_MAX + 1, "%.*s", IFNAME_MAX, name);
	return name != NULL;
}

bool sysfs_driver_is_userspace(const char *driver)
{
	return strstr(driver, "vfio") || strcmp(driver, "uio_pci_generic") == 0 ||
	       strcmp(driver, "igb_uio") == 0;
}

/* sriov_numvfs of a function: 0 for one that has none, or that is no PF. */
static long read_numvfs(int devices_fd, const char *function)
{
	char path[SYSFS_PATH], text[16];

	(void)snprintf(path, sizeof(path), "%.64s/sriov_numvfs", function);
	return fs_read_small(devices_fd, path, text, sizeof(text)) > 0 ? strtol(text, NULL, 10) : 0;
}

static int compare_pci(const void *a, const void *b)
{
	const struct pci_addr *x = a, *y = b;

	if (x->domain != y->domain)
		return x->domain < y->domain ? -1 : 1;
	if (x->bus != y->bus)
		return x->bus - y->bus;
	if (x->device != y->device)
		return x->device - y->device;
	return x->function - y->function;
}

struct pf_list {
	struct pci_addr *pfs;
	size_t count, room;
};

static int add_pf(struct pf_list *list, const struct pci_addr *addr)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct pci_addr *pfs = reallocarray(list->pfs, room, sizeof(*pfs));

		if (!pfs)
			return -ENOMEM;
		list->pfs = pfs;
		list->room = room;
	}
	list->pfs[list->count++] = *addr;
	return 0;
}

/* A node without PCI has no PFs. */
static int collect_pfs(int root_fd, struct pf_list *list)
{
	CLEANUP(cleanup_dirp) DIR *dir = open_dir(root_fd, "bus/pci/devices");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct pci_addr addr;

		if (pci_parse(entry->d_name, &addr) < 0 ||
		    read_numvfs(dirfd(dir), entry->d_name) <= 0)
			continue;
		if (add_pf(list, &addr) < 0)
			return -ENOMEM;
	}
	return 0;
}

int sysfs_list_pfs(int root_fd, int (*each)(const struct pci_addr *pf, void *arg), void *arg,
		   struct err *err)
{
	struct pf_list list = { 0 };
	CLEANUP_FREE struct pci_addr *owned = NULL;
	int r = collect_pfs(root_fd, &list);

	owned = list.pfs;
	if (r < 0)
		return err_nomem(err);
	if (list.count > 0)
		qsort(list.pfs, list.count, sizeof(*list.pfs), compare_pci);
	for (size_t i = 0; r == 0 && i < list.count; i++)
		r = each(&list.pfs[i], arg);
	return r;
}

int sysfs_list_vfs(int root_fd, const struct pci_addr *pf,
		   int (*each)(int vf, const struct pci_addr *addr, void *arg), void *arg,
		   struct err *err)
{
	CLEANUP_CLOSE int pf_fd = -1;
	char name[24], text[PCI_TEXT + 4];
	int r = open_function(root_fd, pf, &pf_fd, err);

	for (int i = 0; r == 0 && i < SYSFS_VFS_MAX; i++) {
		struct pci_addr addr;

		(void)snprintf(name, sizeof(name), "virtfn%d", i);
		r = link_pci(pf_fd, name, &addr);
		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return err_sys(err, -r, ERR_DEVICE, "find VF %d of %s", i,
				       pci_format(pf, text));
		r = each(i, &addr, arg);
	}
	return r;
}

int sysfs_rebind(int root_fd, const struct pci_addr *addr, struct err *err)
{
	CLEANUP_CLOSE int dev_fd = -1;
	char driver[SYSFS_NAME_MAX], text[PCI_TEXT + 4];
	int r = open_function(root_fd, addr, &dev_fd, err);

	if (r < 0)
		return r;
	r = fs_write_small(dev_fd, "driver/unbind", pci_format(addr, text));
	if (r < 0 && r != -ENOENT) /* -ENOENT: no driver is bound */
		return err_sys(err, -r, ERR_KERNEL, "take the driver from %s", text);
	r = fs_write_small(root_fd, "bus/pci/drivers_probe", text);
	if (r < 0)
		return err_sys(err, -r, ERR_KERNEL, "probe %s for a driver", text);
	if (link_end(dev_fd, "driver", driver, sizeof(driver)) < 0)
		return err_set(err, ENODEV, ERR_DEVICE, "probe %s for a driver: none took it",
			       text);
	return 0;
}

bool sysfs_may_probe(int root_fd, const struct pci_addr *vf)
{
	CLEANUP_CLOSE int dev_fd = -1;
	char text[SYSFS_NAME_MAX];
	struct err err;

	if (open_function(root_fd, vf, &dev_fd, &err) < 0)
		return false;
	if (fs_read_small(dev_fd, "physfn/sriov_drivers_autoprobe", text, sizeof(text)) > 0 &&
	    strcmp(text, "0") == 0)
		return false;
	return fs_read_small(dev_fd, "driver_override", text, sizeof(text)) < 0 ||
	       !sysfs_driver_is_userspace(text);
}

/* Opens the directory of port 1. */
static int open_port(int root_fd, const char *rdma, int *ret_fd, struct err *err)
{
	char path[SYSFS_PATH];

	if (!rdma_name_is_valid(rdma))
		return err_set(err, EINVAL, ERR_VALUE, "find RDMA device \"%s\": not a name", rdma);
	(void)snprintf(path, sizeof(path), "class/infiniband/%s/ports/1", rdma);
	*ret_fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0)
		return err_set(err, ENODEV, ERR_DEVICE,
			       "find port 1 of RDMA device %s: no such device here", rdma);
	return 0;
}

int sysfs_rdma_port_active(int root_fd, const char *rdma, bool *ret_active, struct err *err)
{
	CLEANUP_CLOSE int port_fd = -1;
	char state[32];
	ssize_t n;
	int r = open_port(root_fd, rdma, &port_fd, err);

	if (r < 0)
		return r;
	n = fs_read_small(port_fd, "state", state, sizeof(state)); /* "4: ACTIVE" */
	if (n < 0)
		return err_sys(err, (int)-n, ERR_DEVICE, "read state of RDMA device %s", rdma);
	*ret_active = strtol(state, NULL, 10) == 4; /* IB_PORT_ACTIVE */
	return 0;
}

/* The GID that a port makes of an address: v4 as ::ffff:a.b.c.d (rdma_ip2gid()). */
static struct ip gid_of(const struct ip *ip)
{
	struct ip gid = *ip;

	if (ip->family == AF_INET) {
		gid = (struct ip) { .family = AF_INET6, .bytes = { [10] = 0xff, [11] = 0xff } };
		memcpy(gid.bytes + 12, ip->bytes, 4);
	}
	return gid;
}

/* The type of an empty GID cannot be read (EINVAL); the GID itself is all zero. */
static bool is_rocev2(int port_fd, int index)
{
	char path[SYSFS_PATH], type[32];

	(void)snprintf(path, sizeof(path), "gid_attrs/types/%d", index);
	return fs_read_small(port_fd, path, type, sizeof(type)) > 0 && strcmp(type, "RoCE v2") == 0;
}

static bool is_of_netdev(int port_fd, int index, const char *netdev)
{
	char path[SYSFS_PATH], of[IFNAME_MAX + 2];

	if (!netdev[0])
		return true;
	(void)snprintf(path, sizeof(path), "gid_attrs/ndevs/%d", index);
	return fs_read_small(port_fd, path, of, sizeof(of)) > 0 && strcmp(of, netdev) == 0;
}

int sysfs_rdma_gid_index(int root_fd, const char *rdma, const struct ip *ip, const char *netdev,
			 int *ret_index, struct err *err)
{
	struct ip want = gid_of(ip), gid;
	CLEANUP_CLOSE int port_fd = -1;
	char path[SYSFS_PATH], text[IP_TEXT];
	int r = open_port(root_fd, rdma, &port_fd, err);

	if (r < 0)
		return r;
	*ret_index = -1;
	for (int i = 0;; i++) {
		ssize_t n;

		(void)snprintf(path, sizeof(path), "gids/%d", i);
		n = fs_read_small(port_fd, path, text, sizeof(text));
		if (n < 0)
			return 0; /* the end of the table */
		if (ip_parse(text, &gid) == 0 && ip_compare(&gid, &want) == 0 &&
		    is_rocev2(port_fd, i) && is_of_netdev(port_fd, i, netdev)) {
			*ret_index = i;
			return 0;
		}
	}
}

static bool find_uverbs(int root_fd, const char *where, const char *rdma,
			char ret_uverbs[SYSFS_NAME_MAX])
{
	CLEANUP(cleanup_dirp) DIR *dir = open_dir(root_fd, where);
	char of[SYSFS_NAME_MAX];
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len < SYSFS_NAME_MAX && read_ibdev(dirfd(dir), entry->d_name, of) &&
		    strcmp(of, rdma) == 0) {
			memcpy(ret_uverbs, entry->d_name, len + 1);
			return true;
		}
	}
	return false;
}

int sysfs_rdma_uverbs(int root_fd, const char *rdma, char ret_uverbs[SYSFS_NAME_MAX],
		      struct err *err)
{
	char own[SYSFS_PATH];

	if (!rdma_name_is_valid(rdma))
		return err_set(err, EINVAL, ERR_VALUE, "find RDMA device \"%s\": not a name", rdma);
	ret_uverbs[0] = '\0';
	/* Below its function there are one or two, in the class those of the whole node; but a
	 * device of software has no function. */
	(void)snprintf(own, sizeof(own), "class/infiniband/%s/device/infiniband_verbs", rdma);
	if (!find_uverbs(root_fd, own, rdma, ret_uverbs))
		(void)find_uverbs(root_fd, "class/infiniband_verbs", rdma, ret_uverbs);
	return 0;
}
