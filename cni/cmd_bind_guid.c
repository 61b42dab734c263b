/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "spur bind-guid PCI GUID": no CNI call. spur-ipamd starts it to give a free VF the GUID that the
 * VF owns, because only this program changes the kernel.
 */
#include "cni/cmd.h"

#include <errno.h>
#include <string.h>

#include <linux/netlink.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cni/confine.h"
#include "cni/guid.h"
#include "cni/prepare.h"
#include "host/sysfs.h"

/* *ret_guid is 0 before: a GUID of zeros is what a fresh VF has. */
static int read_words(const char *pci, const char *guid, struct pci_addr *ret_vf,
		      uint64_t *ret_guid, struct err *err)
{
	if (pci_parse(pci, ret_vf) < 0)
		return err_set(err, EINVAL, ERR_VALUE,
			       "bind-guid: \"%.64s\": must be a PCI address (0000:1a:00.1)", pci);
	if (strcmp(guid, "00:00:00:00:00:00:00:00") == 0)
		return 0;
	if (guid_parse(guid, ret_guid) < 0 || !guid_is_usable(*ret_guid))
		return err_set(err, EINVAL, ERR_VALUE,
			       "bind-guid: \"%.64s\": must be a GUID (02:00:00:00:00:00:00:01), "
			       "not all ones or multicast",
			       guid);
	return 0;
}

int cmd_bind_guid(const char *pci, const char *guid, struct err *err)
{
	CLEANUP_CLOSE int sysfs = -1;
	struct wire *host = NULL;
	struct pci_addr vf;
	uint64_t value = 0;
	int r = read_words(pci, guid, &vf, &value, err);

	prepare_block_stop();
	if (r == 0)
		r = confine_prepare(err);
	if (r == 0)
		r = sysfs_open(&sysfs, err);
	if (r == 0)
		r = wire_open(NETLINK_ROUTE, &host, err);
	if (r == 0)
		r = guid_bind_free(host, sysfs, &vf, value, clock_boot_ms() + PREPARE_MS, err);
	wire_close(host);
	return r;
}
