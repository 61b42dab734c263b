/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/rdma_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cni/rdma_task.h"
#include "cni/recorded.h"
#include "host/netns.h"
#include "host/sysfs.h"
#include "ipamd/client/client.h"

enum { RENAME_MS = 2000 };

void rdma_name_spare(const char *of, char ret_name[RDMA_NAME_MAX + 1])
{
	uint32_t salt;

	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		salt = (uint32_t)clock_boot_ms();
	(void)snprintf(ret_name, RDMA_NAME_MAX + 1, "spur-%.40s-%08x", of, salt);
	for (char *c = ret_name; *c; c++) {
		if (*c == ':')
			*c = '-';
	}
}

/* What ADD called it in the pod. */
static const char *name_in_pod(const struct recorded *holder)
{
	return holder->conf.rdma_name ? holder->conf.rdma_name : holder->record->device.rdma.name;
}

static bool is_its_own(const struct recorded *holder, const char *name)
{
	return strcmp(name, holder->record->device.rdma.name) == 0 ||
	       strcmp(name, name_in_pod(holder)) == 0;
}

/* Names are unique: it is in no other namespace. */
static int rename_in(int netns_fd, const char *name, const char *new_name, const char *of,
		     struct err *err)
{
	char spare[RDMA_NAME_MAX + 1];
	const struct rdma_task task = {
		.from_fd = netns_fd,
		.to_fd = -1,
		.index = -1,
		.name = name,
		.new_name = new_name ? new_name : spare,
		.spare_name = spare,
		.deadline_ms = clock_boot_ms() + RENAME_MS,
	};
	struct rdma_answer answer = { 0 };
	int no_turn = -1, r;

	rdma_name_spare(of, spare);
	r = rdma_task_run(&task, &no_turn, &answer, err);
	if (r == 0)
		log_warn("RDMA device of %s: its pod had given it the name %s; it is called %s", of,
			 name, answer.device.name);
	return r;
}

/* In its pod; or in the host, where a namespace that died has left it. */
static int rename_back(const struct site *site, const struct recorded *holder, const char *name)
{
	const struct baseline *device = &holder->record->device;
	const char *of = device->key + strlen("pci:");
	CLEANUP_CLOSE int pod_fd = -1;
	struct err err;
	int r = netns_open(holder->record->netns.path, &pod_fd, &err);

	if (r == 0)
		r = rename_in(pod_fd, name, name_in_pod(holder), of, &err);
	return r < 0 ? rename_in(site->host_fd, name, device->rdma.name, of, &err) : r;
}

static int reclaim_from(const struct site *site, const struct attachment *record, const char *name,
			struct err *err)
{
	struct recorded holder;
	struct err unread;
	int r = recorded_read(record, &holder, &unread);

	if (r == 0 && is_its_own(&holder, name))
		r = -EEXIST;
	else if (r == 0 && rename_back(site, &holder, name) < 0)
		r = err_set(err, EAGAIN, ERR_AGAIN,
			    "name an RDMA device %s: pod %s/%s has called its own so, and that "
			    "cannot be reached",
			    name, record->pod.namespace, record->pod.name);
	recorded_free(&holder);
	return r;
}

/* The kernel puts it into the host, wherever the netdev is that it was made upon. */
static int reclaim_from_soft(struct site *site, const char *name, struct err *err)
{
	struct rdma_device device = { 0 };
	struct wire *wire;
	bool is_of_host = true;
	struct err gone;
	int r = site_rdma(site, false, &wire, err);

	if (r == 0 && rdma_find(wire, name, &device, &gone) < 0)
		return err_set(err, EAGAIN, ERR_AGAIN,
			       "name an RDMA device %s: a pod has made one of that name", name);
	if (r == 0)
		r = rdma_has_netdev(wire, device.index, &is_of_host, err);
	if (r < 0 || is_of_host)
		return r < 0 ? r : -EEXIST;
	return rename_in(site->host_fd, name, NULL, "soft", err);
}

static int reclaim_from_owner(const struct site *site, const char *device, const char *name,
			      struct err *err)
{
	char key[SYSFS_NAME_MAX + 4];
	struct attachment record = { 0 };
	struct client client = { .fd = -1 };
	struct pci_addr addr;
	bool found;
	int r;

	(void)snprintf(key, sizeof(key), "%s:%s", pci_parse(device, &addr) == 0 ? "pci" : "aux",
		       device);
	r = client_open(&client, site->conf->socket, err);
	if (r == 0)
		r = client_find_device(&client, key, clock_boot_ms() + PROTO_WAIT_MS, &record,
				       &found, err);
	if (r == 0)
		r = found ? reclaim_from(site, &record, name, err) : -EEXIST;
	attachment_free(&record);
	client_close(&client);
	return r;
}

int rdma_name_reclaim(struct site *site, const char *name, struct err *err)
{
	char device[SYSFS_NAME_MAX];
	int sysfs, r = site_sysfs(site, false, &sysfs, err);

	if (r < 0 || !sysfs_rdma_holder(sysfs, name, device))
		return r;
	return device[0] ? reclaim_from_owner(site, device, name, err)
			 : reclaim_from_soft(site, name, err);
}
