// SPDX-License-Identifier: GPL-2.0
/*
 * The RDMA device of an InfiniBand function: enough of one to be listed, opened through uverbs, and
 * moved. As IPoIB does, a client of ours makes the function's net_device when the RDMA device
 * comes, and takes it away when that one goes: so each move makes a new one.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <rdma/ib_verbs.h>

#include "fake.h"

/* Since 6.17 IPoIB puts the net_device where the RDMA device is; before, in the first namespace. */
static bool follow = LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0);
module_param(follow, bool, 0644);
MODULE_PARM_DESC(follow, "the net_device is made in the namespace of the RDMA device");

static bool movable = true;
module_param(movable, bool, 0644);
MODULE_PARM_DESC(movable, "RDMA devices made from now on can be moved");

static unsigned int rdma_devices = 1;
module_param(rdma_devices, uint, 0644);
MODULE_PARM_DESC(rdma_devices, "of a function bound from now on: 0, 1 or 2");

static unsigned int move_ms;
module_param(move_ms, uint, 0644);
MODULE_PARM_DESC(move_ms, "how long it takes until an RDMA device can leave its namespace");

static char hold[24];
module_param_string(hold, hold, sizeof(hold), 0644);
MODULE_PARM_DESC(
	hold,
	"the function whose RDMA device cannot leave its namespace for as long as this names it");

struct fake_rdma {
	struct ib_device ib;
	struct fake *fake;
};

struct fake_pd {
	struct ib_pd base;
};

struct fake_context {
	struct ib_ucontext base;
};

static struct fake *fake_of_ib(struct ib_device *ib)
{
	return container_of(ib, struct fake_rdma, ib)->fake;
}

static int query_device(struct ib_device *ib, struct ib_device_attr *attr, struct ib_udata *udata)
{
	memset(attr, 0, sizeof(*attr));
	attr->sys_image_guid = cpu_to_be64(fake_of_ib(ib)->node_guid);
	attr->max_pd = 16;
	attr->max_pkeys = 1;
	return 0;
}

static bool is_up(struct fake *fake)
{
	struct net_device *dev = READ_ONCE(fake->dev);

	return dev && netif_carrier_ok(dev);
}

static int query_port(struct ib_device *ib, u32 port, struct ib_port_attr *attr)
{
	bool up = is_up(fake_of_ib(ib));

	attr->state = up ? IB_PORT_ACTIVE : IB_PORT_DOWN;
	attr->phys_state = up ? IB_PORT_PHYS_STATE_LINK_UP : IB_PORT_PHYS_STATE_POLLING;
	attr->max_mtu = IB_MTU_4096;
	attr->active_mtu = IB_MTU_4096;
	attr->gid_tbl_len = 1;
	attr->pkey_tbl_len = 1;
	attr->lid = pci_dev_id(fake_of_ib(ib)->pdev);
	attr->sm_lid = 1;
	attr->max_vl_num = 1;
	attr->active_width = IB_WIDTH_4X;
	attr->active_speed = IB_SPEED_HDR;
	return 0;
}

static int query_gid(struct ib_device *ib, u32 port, int index, union ib_gid *gid)
{
	gid->global.subnet_prefix = cpu_to_be64(0xfe80000000000000ULL);
	gid->global.interface_id = cpu_to_be64(fake_of_ib(ib)->port_guid);
	return 0;
}

static int query_pkey(struct ib_device *ib, u32 port, u16 index, u16 *pkey)
{
	*pkey = 0xffff;
	return 0;
}

static enum rdma_link_layer get_link_layer(struct ib_device *ib, u32 port)
{
	return IB_LINK_LAYER_INFINIBAND;
}

static int get_port_immutable(struct ib_device *ib, u32 port, struct ib_port_immutable *immutable)
{
	immutable->core_cap_flags = RDMA_CORE_CAP_PROT_IB; /* and no management datagrams */
	immutable->gid_tbl_len = 1;
	immutable->pkey_tbl_len = 1;
	return 0;
}

static int alloc_ucontext(struct ib_ucontext *context, struct ib_udata *udata)
{
	return 0;
}

static void dealloc_ucontext(struct ib_ucontext *context)
{
}

static void disassociate_ucontext(struct ib_ucontext *context)
{
}

static int alloc_pd(struct ib_pd *pd, struct ib_udata *udata)
{
	return 0;
}

static int dealloc_pd(struct ib_pd *pd, struct ib_udata *udata)
{
	return 0;
}

/* Without queue pairs the core takes it for one that only user space can drive. */
static const struct ib_device_ops rdma_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_UNKNOWN,
	.alloc_pd = alloc_pd,
	.alloc_ucontext = alloc_ucontext,
	.dealloc_pd = dealloc_pd,
	.dealloc_ucontext = dealloc_ucontext,
	.get_link_layer = get_link_layer,
	.get_port_immutable = get_port_immutable,
	.query_device = query_device,
	.query_gid = query_gid,
	.query_pkey = query_pkey,
	.query_port = query_port,
	INIT_RDMA_OBJ_SIZE(ib_pd, fake_pd, base),
	INIT_RDMA_OBJ_SIZE(ib_ucontext, fake_context, base),
};

static const struct ib_device_ops movable_ops = {
	.disassociate_ucontext = disassociate_ucontext,
};

static int fake_rdma_add_one(struct fake *fake, int i)
{
	struct fake_rdma *rdma = ib_alloc_device(fake_rdma, ib);
	int err;

	if (!rdma)
		return -ENOMEM;
	rdma->fake = fake;
	rdma->ib.node_type = RDMA_NODE_IB_CA;
	rdma->ib.phys_port_cnt = 1;
	rdma->ib.num_comp_vectors = 1;
	rdma->ib.node_guid = cpu_to_be64(fake->node_guid);
	rdma->ib.dev.parent = &fake->pdev->dev;
	strscpy(rdma->ib.node_desc, "fakeib", sizeof(rdma->ib.node_desc));
	ib_set_device_ops(&rdma->ib, &rdma_ops);
	if (movable)
		ib_set_device_ops(&rdma->ib, &movable_ops);
	fake->rdma[i] = rdma;
	err = ib_register_device(&rdma->ib, "fib%d", NULL);
	if (err) {
		fake->rdma[i] = NULL;
		ib_dealloc_device(&rdma->ib);
	}
	return err;
}

/* Without an RDMA device somebody else has to make the net_device. */
int fake_rdma_add(struct fake *fake)
{
	unsigned int i, count = min_t(unsigned int, rdma_devices, FAKE_RDMA_DEVS);
	int err;

	if (!count)
		return fake_net_add(fake, &init_net);
	for (i = 0; i < count; i++) {
		err = fake_rdma_add_one(fake, i);
		if (err)
			return err;
	}
	return 0;
}

void fake_rdma_remove(struct fake *fake)
{
	int i;

	for (i = 0; i < FAKE_RDMA_DEVS; i++) { /* the first takes the net_device along */
		if (!fake->rdma[i])
			continue;
		ib_unregister_device(&fake->rdma[i]->ib);
		ib_dealloc_device(&fake->rdma[i]->ib);
		fake->rdma[i] = NULL;
	}
}

void fake_rdma_port_changed(struct fake *fake, bool up)
{
	struct ib_event event = {
		.event = up ? IB_EVENT_PORT_ACTIVE : IB_EVENT_PORT_ERR,
		.element.port_num = 1,
	};
	int i;

	for (i = 0; i < FAKE_RDMA_DEVS; i++) {
		if (!fake->rdma[i])
			continue;
		event.device = &fake->rdma[i]->ib;
		ib_dispatch_event(&event);
	}
}

/* The first RDMA device of a function has its net_device. */
static bool has_net(struct ib_device *ib)
{
	return ib->ops.owner == THIS_MODULE &&
	       fake_of_ib(ib)->rdma[0] == container_of(ib, struct fake_rdma, ib);
}

static int client_add(struct ib_device *ib)
{
	if (!has_net(ib))
		return -EOPNOTSUPP;
	return fake_net_add(fake_of_ib(ib), follow ? read_pnet(&ib->coredev.rdma_net) : &init_net);
}

static void client_remove(struct ib_device *ib, void *data)
{
	if (!has_net(ib))
		return;
	if (move_ms)
		msleep(move_ms);
	while (sysfs_streq(hold, pci_name(fake_of_ib(ib)->pdev)))
		msleep(20);
	fake_net_remove(fake_of_ib(ib));
}

static struct ib_client client = {
	.name = "fakeib",
	.add = client_add,
	.remove = client_remove,
	.no_kverbs_req = true,
};

int fake_rdma_init(void)
{
	return ib_register_client(&client);
}

void fake_rdma_exit(void)
{
	ib_unregister_client(&client);
}
