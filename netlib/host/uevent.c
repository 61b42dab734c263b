/* SPDX-License-Identifier: Apache-2.0 */
#include "host/uevent.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netlink.h>

#include "base/cleanup.h"

enum {
	UEVENT_KERNEL = 1,     /* the multicast group of the kernel's own; udev's is 2 */
	UEVENT_BUFFER = 8192,  /* the kernel's is 2048, and the header */
	UEVENT_PART_MAX = 32,  /* longer than any PCI address */
	UEVENT_ROOM = 1 << 20, /* for a burst: a PF that gets its VFs */
};

/* The last component of @devpath that is a PCI address. */
static bool last_pci(const char *devpath, struct pci_addr *ret_addr)
{
	bool found = false;

	for (const char *p = devpath; *p;) {
		size_t len = strcspn(p, "/");
		char part[UEVENT_PART_MAX];

		if (len < sizeof(part)) {
			memcpy(part, p, len);
			part[len] = '\0';
			found |= pci_parse(part, ret_addr) == 0;
		}
		p += len;
		p += *p == '/';
	}
	return found;
}

static const char *value_of(const char *line, const char *key)
{
	size_t len = strlen(key);

	return strncmp(line, key, len) == 0 && line[len] == '=' ? line + len + 1 : NULL;
}

bool uevent_parse(const char *buf, size_t len, struct uevent *ret_event)
{
	struct uevent event = { 0 };
	const char *slot = NULL, *value;

	/* "add@/devices/…", then KEY=VALUE, each with its NUL; udev's begin with "libudev". */
	if (len == 0 || buf[len - 1] != '\0' || !strchr(buf, '@'))
		return false;
	for (const char *line = buf + strlen(buf) + 1; line < buf + len; line += strlen(line) + 1) {
		if ((value = value_of(line, "ACTION")))
			event.action = value;
		else if ((value = value_of(line, "DEVPATH")))
			event.devpath = value;
		else if ((value = value_of(line, "SUBSYSTEM")))
			event.subsystem = value;
		else if ((value = value_of(line, "PCI_SLOT_NAME")))
			slot = value;
	}
	if (!event.action || !event.devpath || !event.subsystem)
		return false;
	event.has_pci =
		last_pci(event.devpath, &event.pci) || (slot && pci_parse(slot, &event.pci) == 0);
	*ret_event = event;
	return true;
}

int uevent_open(int *ret_fd, struct err *err)
{
	CLEANUP_CLOSE int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	struct sockaddr_nl self = { .nl_family = AF_NETLINK, .nl_groups = UEVENT_KERNEL };
	const int room = UEVENT_ROOM;

	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		return err_sys(err, errno, ERR_KERNEL, "watch device events");
	/* Without CAP_NET_ADMIN the room is what it was. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int uevent_read(int fd, void (*each)(const struct uevent *event, void *arg), void *arg,
		struct err *err)
{
	char buf[UEVENT_BUFFER];
	bool lost = false;

	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_len = sizeof(from);
		struct uevent event;
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len);

		if (n < 0 && errno == ENOBUFS) {
			lost = true;
			continue;
		}
		if (n < 0 && errno == EAGAIN && !lost)
			return 0;
		if (n < 0)
			return err_sys(err, lost ? ENOBUFS : errno, ERR_KERNEL,
				       "read device events");
		if (from.nl_pid == 0 && uevent_parse(buf, (size_t)n, &event))
			each(&event, arg);
	}
}
