/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/guid.h"

#include "rt/link.h"
#include "rt/vf.h"

/* Two messages: of two GUIDs in one the kernel takes the first and says that all is well. */
int guid_set(const struct rebind *b, struct err *err)
{
	const struct vf_state state = { .node_guid = b->guid, .port_guid = b->guid };
	const int vf = b->function.vf_index;
	struct link_info pf;
	int r = link_get(b->host, b->function.pf_netdev, &pf, err);

	if (r == 0)
		r = vf_set(b->host, pf.ifindex, vf, VF_NODE_GUID, &state, err);
	if (r == 0)
		r = vf_set(b->host, pf.ifindex, vf, VF_PORT_GUID, &state, err);
	return r;
}

static int bind_guid(struct rebind *b, int64_t deadline_ms, struct err *err)
{
	char text[GUID_TEXT], addr[PCI_TEXT + 4];
	int r = rebind_look(b, err);

	/* A driver that has read it already need not do so anew. */
	if (r == 0)
		r = rebind_has_guid(b) ? 0 : rebind_may(b, err);
	if (r >= 0) {
		const bool again = r > 0;

		r = guid_set(b, err);
		if (r == 0 && again)
			r = rebind_run(b, false, deadline_ms, err);
	}
	if (r < 0)
		err_prefix(err, "give VF %s the GUID %s", pci_format(b->vf, addr),
			   guid_format(b->guid, text));
	return r;
}

int guid_bind(struct wire *host, int sysfs_fd, const struct pci_addr *vf, uint64_t guid,
	      int64_t deadline_ms, struct err *err)
{
	struct rebind b = { .host = host, .sysfs_fd = sysfs_fd, .vf = vf, .guid = guid };

	return bind_guid(&b, deadline_ms, err);
}

int guid_bind_free(struct wire *host, int sysfs_fd, const struct pci_addr *vf, uint64_t guid,
		   int64_t deadline_ms, struct err *err)
{
	struct rebind b = {
		.host = host, .sysfs_fd = sysfs_fd, .vf = vf, .guid = guid, .is_free = true
	};

	return bind_guid(&b, deadline_ms, err);
}
