/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "spur rebind PCI": no CNI call. spur-ipamd starts it to end whatever a pod has left upon a free
 * VF, because only this program changes the kernel. On stdin one JSON object, all of it optional:
 *
 *   socket         the daemon's, for its turn among RDMA moves
 *   netdev, rdma   the names that the two devices are to have afterwards; else those they have
 *   uverbs         the RDMA character device that there was before; else the one there is
 *   guid           that the VF is to have then, in the same rebind
 *
 * They are for one that was killed amid this, and cannot be asked any more. On stdout, of a VF that
 * has one, {"uverbs": "uverbs3"}: as it is now, for the daemon to compare.
 */
#include "cni/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "cni/confine.h"
#include "cni/guid.h"
#include "cni/prepare.h"
#include "cni/rdma_turn.h"
#include "cni/rebind.h"
#include "cni/result.h"
#include "rdma/rdma.h"

enum {
	NAME_MS = 3000, /* that a name may be taken: whoever has it may be on his way home */
	NAME_POLL_MS = 20,
	WORDS_MAX = 4096,
};

struct words {
	json_t *json;
	const char *socket, *netdev, *rdma, *uverbs, *guid; /* "" = not told */
};

static int read_words(const char *pci, struct words *ret_words, struct pci_addr *ret_vf,
		      uint64_t *ret_guid, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	struct words *words = ret_words;
	struct json_reader r;
	size_t len = 0;

	*words = (struct words) { NULL, "", "", "", "", "" };
	if (pci_parse(pci, ret_vf) < 0)
		return err_set(err, EINVAL, ERR_VALUE,
			       "rebind: \"%.64s\": must be a PCI address (0000:1a:00.1)", pci);
	if (fs_read_all(STDIN_FILENO, WORDS_MAX, &text, &len) < 0)
		return err_set(err, EIO, ERR_IO, "rebind: its input cannot be read");
	if (len == 0)
		return 0;
	if (json_parse(text, len, &words->json, err) < 0)
		return -err->errnum;
	json_read(&r, words->json, "", err);
	(void)json_str(&r, "socket", &words->socket);
	(void)json_str(&r, "netdev", &words->netdev);
	(void)json_str(&r, "rdma", &words->rdma);
	(void)json_str(&r, "uverbs", &words->uverbs);
	if (json_str(&r, "guid", &words->guid) && words->guid[0] &&
	    (guid_parse(words->guid, ret_guid) < 0 || !guid_is_usable(*ret_guid)))
		json_bad(&r, "guid",
			 "must be a GUID (02:00:00:00:00:00:00:01), not all ones or "
			 "multicast");
	return json_finish(&r, READ_STRICT);
}

/* A name that is taken may be of one on his way home: waited for, but not for ever, for it may as
 * well be a pod's doing. */
static bool wait_for_name(int64_t until_ms)
{
	if (clock_left_ms(until_ms) == 0)
		return false;
	(void)usleep(NAME_POLL_MS * 1000);
	return true;
}

static int keep_name(int r, const char *name, const char *has)
{
	if (r == -EEXIST)
		log_warn("%s: its name is taken by now, it stays %s", name, has);
	return r == -EEXIST ? 0 : r;
}

/* udev may be at it, too: each look says what the name is by now. */
static int restore_netdev(struct rebind *b, const char *name, struct err *err)
{
	const int64_t until_ms = clock_boot_ms() + NAME_MS;
	int r = 0;

	while (r == 0 && b->link.ifindex && name[0] && strcmp(b->link.name, name) != 0) {
		const struct link_change change = { .ifindex = b->link.ifindex, .name = name };

		r = link_set(b->host, &change, err);
		if (r == -EEXIST && !wait_for_name(until_ms))
			return keep_name(r, name, b->link.name);
		if (r == 0 || r == -EEXIST)
			r = rebind_look(b, err);
	}
	return r;
}

static int rename_rdma(const char *from, const char *to, struct err *err)
{
	const int64_t until_ms = clock_boot_ms() + NAME_MS;
	struct rdma_device device;
	struct wire *wire = NULL;
	int r = rdma_open(&wire, err);

	if (r == 0)
		r = rdma_find(wire, from, &device, err);
	while (r == 0) {
		r = rdma_rename(wire, device.index, to, err);
		if (r != -EEXIST || !wait_for_name(until_ms))
			break;
		r = 0;
	}
	wire_close(wire);
	return keep_name(r, to, from);
}

static int restore_rdma(struct rebind *b, const char *name, struct err *err)
{
	int r;

	if (!name[0] || !b->function.rdma[0] || strcmp(b->function.rdma, name) == 0)
		return 0;
	r = rename_rdma(b->function.rdma, name, err);
	return r < 0 ? r : rebind_look(b, err);
}

/* It comes a moment after the RDMA device. */
static int await_uverbs(struct rebind *b, bool had_one, int64_t deadline_ms,
			char ret_uverbs[SYSFS_NAME_MAX], struct err *err)
{
	int r;

	ret_uverbs[0] = '\0';
	while (b->function.rdma[0]) {
		r = sysfs_rdma_uverbs(b->sysfs_fd, b->function.rdma, ret_uverbs, err);
		if (r < 0 || ret_uverbs[0] || !had_one)
			return r;
		if (clock_left_ms(deadline_ms) == 0)
			return err_set(err, ETIMEDOUT, ERR_AGAIN,
				       "its RDMA character device has not come back in time");
		(void)usleep(REBIND_POLL_MS * 1000);
	}
	return 0;
}

/* What it is to be called afterwards: as it is called now, if nobody has said it. */
static void remember(const struct rebind *b, struct words *words, char netdev[IFNAME_MAX + 1],
		     char rdma[SYSFS_NAME_MAX])
{
	(void)snprintf(netdev, IFNAME_MAX + 1, "%s",
		       words->netdev[0] ? words->netdev : b->link.name);
	(void)snprintf(rdma, SYSFS_NAME_MAX, "%s", words->rdma[0] ? words->rdma : b->function.rdma);
}

static int run(struct rebind *b, struct words *words, int64_t deadline_ms,
	       char ret_uverbs[SYSFS_NAME_MAX], struct err *err)
{
	char netdev[IFNAME_MAX + 1], rdma[SYSFS_NAME_MAX], before[SYSFS_NAME_MAX];
	bool had_uverbs = words->uverbs[0];
	int r = 0;

	remember(b, words, netdev, rdma);
	if (b->function.rdma[0])
		r = sysfs_rdma_uverbs(b->sysfs_fd, b->function.rdma, before, err);
	else
		before[0] = '\0';
	had_uverbs = had_uverbs || before[0];
	if (r == 0 && b->guid)
		r = guid_set(b, err);
	if (r == 0)
		r = rebind_run(b, rdma[0], deadline_ms, err);
	if (r == 0)
		r = restore_netdev(b, netdev, err);
	if (r == 0)
		r = restore_rdma(b, rdma, err);
	return r < 0 ? r : await_uverbs(b, had_uverbs, deadline_ms, ret_uverbs, err);
}

/* A program that was killed, or outlives its daemon, may have bound it a moment ago. */
static int look_at_netdev(struct rebind *b, int64_t deadline_ms, struct err *err)
{
	int r = rebind_look(b, err);

	while (r == 0 && !b->link.ifindex && b->function.driver[0] &&
	       !sysfs_driver_is_userspace(b->function.driver) && clock_left_ms(deadline_ms) > 0) {
		(void)usleep(REBIND_POLL_MS * 1000);
		r = rebind_look(b, err);
	}
	return r;
}

/* Behind all moves of RDMA devices, and in front of the next: the numbers are to stay. */
static int run_in_turn(struct rebind *b, struct words *words, int64_t deadline_ms,
		       char ret_uverbs[SYSFS_NAME_MAX], struct err *err)
{
	int turn = rdma_turn_take(words->socket, deadline_ms);
	int r = look_at_netdev(b, deadline_ms, err);

	ret_uverbs[0] = '\0';
	if (r == 0)
		r = rebind_may(b, err);
	if (r > 0)
		r = run(b, words, deadline_ms, ret_uverbs, err);
	rdma_turn_end(&turn);
	return r;
}

static int tell(const char *uverbs, struct err *err)
{
	CLEANUP_JSON json_t *json =
		uverbs[0] ? json_pack("{s:s}", "uverbs", uverbs) : json_object();

	return json ? result_print(json, err) : err_nomem(err);
}

int cmd_rebind(const char *pci, struct err *err)
{
	char addr[PCI_TEXT + 4], uverbs[SYSFS_NAME_MAX];
	const int64_t deadline_ms = clock_boot_ms() + PREPARE_MS;
	CLEANUP_CLOSE int sysfs = -1;
	struct pci_addr vf;
	struct words words;
	struct rebind b = { .vf = &vf, .is_free = true };
	int r = read_words(pci, &words, &vf, &b.guid, err);

	prepare_block_stop();
	if (r == 0)
		r = confine_prepare(err);
	if (r == 0)
		r = sysfs_open(&sysfs, err);
	if (r == 0)
		r = wire_open(NETLINK_ROUTE, &b.host, err);
	b.sysfs_fd = sysfs;
	if (r == 0) {
		r = run_in_turn(&b, &words, deadline_ms, uverbs, err);
		if (r < 0)
			err_prefix(err, "bind VF %s to its driver anew", pci_format(&vf, addr));
		else
			r = tell(uverbs, err);
	}
	wire_close(b.host);
	json_decref(words.json);
	return r;
}
