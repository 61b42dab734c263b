// SPDX-License-Identifier: GPL-2.0
/* The PCI drivers, and a function's life. */
#include <linux/module.h>
#include <linux/rtnetlink.h>

#include "fake.h"

LIST_HEAD(fakes);

static unsigned int appear_ms;
module_param(appear_ms, uint, 0644);
MODULE_PARM_DESC(appear_ms, "net_device and RDMA device come so long after the driver was bound");

static struct pci_driver fakeib_driver, fakeeth_driver;

static bool is_ours(struct pci_dev *pdev)
{
	return pdev->dev.driver == &fakeib_driver.driver ||
	       pdev->dev.driver == &fakeeth_driver.driver;
}

/*
 * How its PF sees a VF. It is so as long as the VF is there: a PF of ours that is unbound removes
 * its VFs first.
 */
static struct fake_vf *seen_by_pf(struct pci_dev *pdev)
{
	struct fake *pf;

	list_for_each_entry(
		pf, &fakes,
		list) if (pdev->is_virtfn &&
			  pf->pdev == pci_physfn(pdev)) return &pf->vfs[pci_iov_vf_id(pdev)];
	return NULL;
}

/* A PF has GUIDs of its own; a VF those that its PF had set before it was bound. */
static void fake_take_guids(struct fake *fake)
{
	if (fake->vf) {
		fake->node_guid = fake->vf->now.node_guid;
		fake->port_guid = fake->vf->now.port_guid;
	} else if (!fake->pdev->is_virtfn) {
		fake->node_guid = 0x0200c9ff00000000ULL | pci_dev_id(fake->pdev);
		fake->port_guid = fake->node_guid | 0x1000000;
	}
}

static int fake_show(struct fake *fake)
{
	return fake->ib ? fake_rdma_add(fake) : fake_net_add(fake, &init_net);
}

static void fake_appear(struct work_struct *work)
{
	struct fake *fake = container_of(to_delayed_work(work), struct fake, appear);
	int err = fake_show(fake);

	if (err)
		dev_err(&fake->pdev->dev, "does not appear: %d\n", err);
}

static int fake_probe(struct pci_dev *pdev, bool ib)
{
	struct fake *fake;
	int err;

	err = pci_enable_device(pdev);
	if (err)
		return err;
	fake = kzalloc(sizeof(*fake), GFP_KERNEL);
	if (!fake) {
		pci_disable_device(pdev);
		return -ENOMEM;
	}
	fake->pdev = pdev;
	fake->ib = ib;
	INIT_DELAYED_WORK(&fake->appear, fake_appear);
	pci_set_drvdata(pdev, fake);
	if (!pdev->is_virtfn)
		fake_vfs_init(fake);
	rtnl_lock();
	fake->vf = seen_by_pf(pdev);
	fake_take_guids(fake);
	list_add_tail(&fake->list, &fakes);
	rtnl_unlock();
	if (appear_ms) {
		schedule_delayed_work(&fake->appear, msecs_to_jiffies(appear_ms));
		return 0;
	}
	err = fake_show(fake);
	if (err)
		pdev->driver->remove(pdev);
	return err;
}

static int fakeib_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return fake_probe(pdev, true);
}

static int fakeeth_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return fake_probe(pdev, false);
}

static void fake_remove(struct pci_dev *pdev)
{
	struct fake *fake = pci_get_drvdata(pdev);

	cancel_delayed_work_sync(&fake->appear);
	if (!pdev->is_virtfn) {
		pci_disable_sriov(pdev);
		fake_vfs_exit(fake);
	}
	fake_rdma_remove(fake);
	fake_net_remove(fake);
	rtnl_lock();
	list_del(&fake->list);
	rtnl_unlock();
	pci_set_drvdata(pdev, NULL);
	kfree(fake);
	pci_disable_device(pdev);
}

/* New VFs know nothing of what was set of former ones. */
static int fake_sriov_configure(struct pci_dev *pdev, int count)
{
	if (count > FAKE_MAX_VFS)
		return -ERANGE;
	if (count)
		fake_vfs_reset(pci_get_drvdata(pdev));
	return pci_sriov_configure_simple(pdev, count);
}

/* VFs of a PF of ours are ours, before any other driver looks at them. */
static int fake_see_device(struct notifier_block *block, unsigned long action, void *data)
{
	struct pci_dev *pdev = to_pci_dev(data);

	if (action == BUS_NOTIFY_ADD_DEVICE && pdev->is_virtfn && is_ours(pci_physfn(pdev)))
		device_set_driver_override(&pdev->dev, pci_physfn(pdev)->dev.driver->name);
	return NOTIFY_OK;
}

static struct notifier_block fake_pci_watch = { .notifier_call = fake_see_device };

/* They claim no id, so they get only what is bound to them by driver_override. */
static const struct pci_device_id fake_ids[] = { {} };

static struct pci_driver fakeib_driver = {
	.name = "fakeib",
	.id_table = fake_ids,
	.probe = fakeib_probe,
	.remove = fake_remove,
	.sriov_configure = fake_sriov_configure,
};

static struct pci_driver fakeeth_driver = {
	.name = "fakeeth",
	.id_table = fake_ids,
	.probe = fakeeth_probe,
	.remove = fake_remove,
	.sriov_configure = fake_sriov_configure,
};

static int __init fake_init(void)
{
	int err;

	fake_debugfs_init();
	err = fake_rdma_init();
	if (err)
		goto no_rdma;
	err = bus_register_notifier(&pci_bus_type, &fake_pci_watch);
	if (err)
		goto no_watch;
	err = pci_register_driver(&fakeib_driver);
	if (err)
		goto no_ib;
	err = pci_register_driver(&fakeeth_driver);
	if (!err)
		return 0;
	pci_unregister_driver(&fakeib_driver);
no_ib:
	bus_unregister_notifier(&pci_bus_type, &fake_pci_watch);
no_watch:
	fake_rdma_exit();
no_rdma:
	fake_debugfs_exit();
	return err;
}

static void __exit fake_exit(void)
{
	pci_unregister_driver(&fakeeth_driver);
	pci_unregister_driver(&fakeib_driver);
	bus_unregister_notifier(&pci_bus_type, &fake_pci_watch);
	fake_rdma_exit();
	fake_debugfs_exit();
}

module_init(fake_init);
module_exit(fake_exit);
MODULE_DESCRIPTION("Other NICs' drivers on the functions of QEMU's igb, for tests");
MODULE_LICENSE("GPL");
