// SPDX-License-Identifier: GPL-2.0
/* What a PF sets of its VFs, how well that goes, and the files below debugfs that say so. */
#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/rtnetlink.h>
#include <linux/seq_file.h>

#include "fake.h"

static const char *const op_names[FAKE_OPS] = { "mac",      "vlan",      "qinq",  "rate",
						"min_rate", "spoofchk",  "trust", "link_state",
						"guid",     "get_config" };

static struct dentry *debugfs_root;

static struct fake_vf *vf_at(struct net_device *dev, int n)
{
	struct fake *pf = fake_of(dev);

	return n >= 0 && n < min(pci_num_vf(pf->pdev), FAKE_MAX_VFS) ? &pf->vfs[n] : NULL;
}

/* Counts the call, and fails it if it is to fail. The caller is the task that asks over rtnetlink.
 */
static int ask(struct fake *pf, enum fake_op op)
{
	struct fake_knob *knob = &pf->knobs[op];
	int error = knob->error;

	ASSERT_RTNL();
	if (!pf->caller[0] || strcmp(pf->caller, current->comm) == 0)
		knob->calls++;
	if (error && knob->times && !--knob->times)
		knob->error = 0;
	return -error;
}

static void update_function(struct fake_vf *vf)
{
	struct fake *fake;

	list_for_each_entry(fake, &fakes, list) if (fake->vf == vf) fake_net_update_carrier(fake);
}

static void settle(struct work_struct *work)
{
	struct fake_vf *vf = container_of(to_delayed_work(work), struct fake_vf, settle);

	rtnl_lock();
	vf->now = vf->wanted;
	update_function(vf);
	rtnl_unlock();
}

/* begin() … wanted is changed … commit(): in force now, or later. */
static int begin(struct net_device *dev, int n, enum fake_op op, struct fake_vf **vf)
{
	*vf = vf_at(dev, n);
	return *vf ? ask(fake_of(dev), op) : -EINVAL;
}

static int commit(struct fake_vf *vf, enum fake_op op)
{
	unsigned int late_ms = vf->pf->knobs[op].late_ms;

	if (late_ms) {
		mod_delayed_work(system_wq, &vf->settle, msecs_to_jiffies(late_ms));
	} else if (!delayed_work_pending(&vf->settle)) {
		vf->now = vf->wanted;
		update_function(vf);
	}
	return 0;
}

int fake_set_vf_mac(struct net_device *dev, int n, u8 *mac)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_MAC, &vf);

	if (err)
		return err;
	if (is_multicast_ether_addr(mac))
		return -EINVAL;
	ether_addr_copy(vf->wanted.mac, mac);
	return commit(vf, FAKE_MAC);
}

int fake_set_vf_vlan(struct net_device *dev, int n, u16 vlan, u8 qos, __be16 proto)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_VLAN, &vf);

	if (!err && proto == htons(ETH_P_8021AD))
		err = ask(vf->pf, FAKE_QINQ);
	if (err)
		return err;
	if (vlan > 4095 || qos > 7)
		return -EINVAL;
	vf->wanted.vlan = vlan;
	vf->wanted.qos = qos;
	vf->wanted.proto = proto;
	return commit(vf, FAKE_VLAN);
}

int fake_set_vf_rate(struct net_device *dev, int n, int min, int max)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_RATE, &vf);

	if (!err && min)
		err = ask(vf->pf, FAKE_MIN_RATE);
	if (err)
		return err;
	vf->wanted.min_rate = min;
	vf->wanted.max_rate = max;
	return commit(vf, FAKE_RATE);
}

int fake_set_vf_spoofchk(struct net_device *dev, int n, bool on)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_SPOOFCHK, &vf);

	if (err)
		return err;
	vf->wanted.spoofchk = on;
	return commit(vf, FAKE_SPOOFCHK);
}

int fake_set_vf_trust(struct net_device *dev, int n, bool on)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_TRUST, &vf);

	if (err)
		return err;
	vf->wanted.trust = on;
	return commit(vf, FAKE_TRUST);
}

int fake_set_vf_link_state(struct net_device *dev, int n, int state)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_LINK_STATE, &vf);

	if (err)
		return err;
	if (state < 0 || state >= __IFLA_VF_LINK_STATE_MAX)
		return -EINVAL;
	vf->wanted.link_state = state;
	return commit(vf, FAKE_LINK_STATE);
}

int fake_set_vf_guid(struct net_device *dev, int n, u64 guid, int type)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_GUID, &vf);

	if (err)
		return err;
	if (type == IFLA_VF_IB_NODE_GUID)
		vf->wanted.node_guid = guid;
	else if (type == IFLA_VF_IB_PORT_GUID)
		vf->wanted.port_guid = guid;
	else
		return -EINVAL;
	return commit(vf, FAKE_GUID);
}

int fake_get_vf_guid(struct net_device *dev, int n, struct ifla_vf_guid *node,
		     struct ifla_vf_guid *port)
{
	struct fake_vf *vf = vf_at(dev, n);

	if (!vf)
		return -EINVAL;
	node->vf = n;
	port->vf = n;
	node->guid = vf->now.node_guid;
	port->guid = vf->now.port_guid;
	return 0;
}

int fake_get_vf_config(struct net_device *dev, int n, struct ifla_vf_info *info)
{
	struct fake_vf *vf;
	int err = begin(dev, n, FAKE_GET_CONFIG, &vf);

	if (err)
		return err;
	info->vf = n;
	ether_addr_copy(info->mac, vf->now.mac);
	info->vlan = vf->now.vlan;
	info->qos = vf->now.qos;
	info->vlan_proto = vf->now.proto;
	info->min_tx_rate = vf->now.min_rate;
	info->max_tx_rate = vf->now.max_rate;
	info->spoofchk = vf->now.spoofchk;
	info->trusted = vf->now.trust;
	info->linkstate = vf->now.link_state;
	return 0;
}

/* FILE: "ok", "error ERRNO [TIMES]" or "late MILLISECONDS" */
static ssize_t knob_write(struct file *file, const char __user *data, size_t size, loff_t *at)
{
	struct fake_knob *knob = ((struct seq_file *)file->private_data)->private;
	unsigned int number = 0, times = 0;
	char text[32], word[8];
	int words;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, data, size))
		return -EFAULT;
	text[size] = 0;
	words = sscanf(text, "%7s %u %u", word, &number, &times);
	if (words < 1 || number > INT_MAX)
		return -EINVAL;
	rtnl_lock();
	knob->error = !strcmp(word, "error") ? number : 0;
	knob->times = times;
	knob->late_ms = !strcmp(word, "late") ? number : 0;
	rtnl_unlock();
	return size;
}

static int knob_show(struct seq_file *file, void *unused)
{
	struct fake_knob *knob = file->private;

	if (knob->error)
		seq_printf(file, "error %d %u\n", knob->error, knob->times);
	else if (knob->late_ms)
		seq_printf(file, "late %u\n", knob->late_ms);
	else
		seq_puts(file, "ok\n");
	return 0;
}

static int knob_open(struct inode *inode, struct file *file)
{
	return single_open(file, knob_show, inode->i_private);
}

static const struct file_operations knob_file = {
	.owner = THIS_MODULE,
	.open = knob_open,
	.read = seq_read,
	.write = knob_write,
	.release = single_release,
};

/*
 * calls: how often each was asked for. Writing starts at 0 again, and counts from then on what the
 * program of that name asks for; an empty line: everybody.
 */
static int calls_show(struct seq_file *file, void *unused)
{
	struct fake *pf = file->private;
	int op;

	for (op = 0; op < FAKE_OPS; op++)
		seq_printf(file, "%s %lu\n", op_names[op], pf->knobs[op].calls);
	return 0;
}

static ssize_t calls_write(struct file *file, const char __user *data, size_t size, loff_t *at)
{
	struct fake *pf = ((struct seq_file *)file->private_data)->private;
	char name[sizeof(pf->caller)];
	int op;

	if (size >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, data, size))
		return -EFAULT;
	name[size] = 0;
	rtnl_lock();
	for (op = 0; op < FAKE_OPS; op++)
		pf->knobs[op].calls = 0;
	strscpy(pf->caller, strim(name), sizeof(pf->caller));
	rtnl_unlock();
	return size;
}

static int calls_open(struct inode *inode, struct file *file)
{
	return single_open(file, calls_show, inode->i_private);
}

static const struct file_operations calls_file = {
	.owner = THIS_MODULE,
	.open = calls_open,
	.read = seq_read,
	.write = calls_write,
	.release = single_release,
};

void fake_vfs_init(struct fake *pf)
{
	int i;

	for (i = 0; i < FAKE_MAX_VFS; i++) {
		pf->vfs[i].pf = pf;
		INIT_DELAYED_WORK(&pf->vfs[i].settle, settle);
	}
	pf->debugfs = debugfs_create_dir(pci_name(pf->pdev), debugfs_root);
	for (i = 0; i < FAKE_OPS; i++)
		debugfs_create_file(op_names[i], 0644, pf->debugfs, &pf->knobs[i], &knob_file);
	debugfs_create_file("calls", 0644, pf->debugfs, pf, &calls_file);
}

void fake_vfs_reset(struct fake *pf)
{
	static const struct fake_vf_config fresh = { .proto = htons(ETH_P_8021Q),
						     .spoofchk = true };
	int i;

	for (i = 0; i < FAKE_MAX_VFS; i++)
		cancel_delayed_work_sync(&pf->vfs[i].settle);
	rtnl_lock();
	for (i = 0; i < FAKE_MAX_VFS; i++) {
		pf->vfs[i].now = fresh;
		pf->vfs[i].wanted = fresh;
	}
	rtnl_unlock();
}

/* Its VFs have gone, but its net_device may still be asked to set them: that is refused by number.
 */
void fake_vfs_exit(struct fake *pf)
{
	int i;

	debugfs_remove(pf->debugfs);
	for (i = 0; i < FAKE_MAX_VFS; i++)
		cancel_delayed_work_sync(&pf->vfs[i].settle);
}

void fake_debugfs_init(void)
{
	debugfs_root = debugfs_create_dir("fakeib", NULL);
}

void fake_debugfs_exit(void)
{
	debugfs_remove(debugfs_root);
}
