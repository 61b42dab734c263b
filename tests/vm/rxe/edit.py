#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""edit.py SOURCE TARGET: soft-RoCE that behaves like the RDMA device of a NIC's function.

Copies drivers/infiniband/sw/rxe of a kernel and edits the copy. Each edit is named, and its text
must be there exactly once: a kernel that has moved on is refused by the name of the edit.

  disassociate  the device can be moved while a process has it open: that one is cut off
  mapping       a queue mapped by a process outlives that process's context
  move          a net_device that goes to another namespace takes the RDMA device along
  sockets       RoCE packets are received in the namespace of the net_device
  routes        and are sent there
  parent        the device lies below the PCI function: /sys/bus/pci/devices/VF/infiniband/NAME
  gsi           QP 1 can be made again: each move takes all clients off the device and adds them anew
  makefile      built as an external module
"""

import pathlib
import shutil
import sys


class Moved(Exception):
    """The source is not what an edit was written for."""


class Source:
    def __init__(self, path):
        self.path = path
        self.per_namespace = (path / "rxe_ns.c").exists()  # since 7.1

    def edit(self, what, file, old, new):
        text = (self.path / file).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise Moved(f"{what} ({file})")
        (self.path / file).write_text(text.replace(old, new), encoding="utf-8")

    def after(self, what, file, old, new):
        self.edit(what, file, old, old + new)

    def before(self, what, file, old, new):
        self.edit(what, file, old, new + old)

    def cut(self, what, file, begin):
        """Drops all of a file from a line on."""
        text = (self.path / file).read_text(encoding="utf-8")
        if text.count(begin) != 1:
            raise Moved(f"{what} ({file})")
        (self.path / file).write_text(text[: text.index(begin)], encoding="utf-8")

    def append(self, file, new):
        with open(self.path / file, "a", encoding="utf-8") as f:
            f.write(new)


def contexts(source):
    source.before("disassociate", "rxe_verbs.c", "static const struct ib_device_ops rxe_dev_ops = {\n", """\
/* Queues are plain memory, which its mappings keep: there is nothing to take away. */
static void rxe_cut_off(struct ib_ucontext *context)
{
}

""")
    source.after("disassociate", "rxe_verbs.c", "\t.destroy_srq = rxe_destroy_srq,\n",
                 "\t.disassociate_ucontext = rxe_cut_off,\n")
    source.after("mapping", "rxe_loc.h", "\tstruct ib_ucontext\t*context;\n", "\tstruct rxe_dev\t\t*owner;\n")
    source.edit("mapping", "rxe_mmap.c", "rxe = to_rdev(ip->context->device);\n", "rxe = ip->owner;\n")
    source.after("mapping", "rxe_mmap.c", "\tkfree(ip);\n",
                 "\tput_device(&rxe->ib_dev.dev);\n\tmodule_put(THIS_MODULE);\n")
    source.before("mapping", "rxe_queue.c", "\t\tlist_add(&ip->pending_mmaps, &rxe->pending_mmaps);\n", """\
		ip->owner = rxe;
		get_device(&rxe->ib_dev.dev);
		__module_get(THIS_MODULE);
""")


def moves(source):
    """With reg_state still "registered" UNREGISTER says only that this namespace loses it."""
    if not source.per_namespace:
        source.after("move", "rxe_net.c", "\tcase NETDEV_UNREGISTER:\n",
                     "\t\tif (ndev->reg_state == NETREG_REGISTERED)\n\t\t\tbreak;\n")
        return
    source.after("move", "rxe_net.c", "\tcase NETDEV_UNREGISTER:\n", """\
		if (ndev->reg_state == NETREG_REGISTERED) {
			rxe_net_del(&rxe->ib_dev);	/* only its sockets */
			break;
		}
""")
    source.before("move", "rxe_net.c", "\tcase NETDEV_CHANGEMTU:\n",
                  "\tcase NETDEV_REGISTER:\n\t\trxe_net_init(ndev);\n\t\tbreak;\n")


def sockets(source):
    """Only of kernels that have one pair of sockets, in the first namespace."""
    source.after("sockets", "rxe_net.c", "#include <net/udp_tunnel.h>\n", "#include <net/netns/generic.h>\n")
    source.edit("sockets", "rxe_net.c", "static struct rxe_recv_sockets recv_sockets;\n", "static unsigned int rxe_net_id;\n")
    source.cut("sockets", "rxe_net.c", "static int rxe_net_ipv4_init(void)\n")
    source.append("rxe_net.c", """\
static struct socket *rxe_open_port(struct net *net, bool v6)
{
	struct socket *sock = rxe_setup_udp_tunnel(net, htons(ROCE_V2_UDP_DPORT), v6);

	return IS_ERR(sock) ? NULL : sock;
}

static int __net_init rxe_enter_net(struct net *net)
{
	struct rxe_recv_sockets *mine = net_generic(net, rxe_net_id);

	mine->sk4 = rxe_open_port(net, false);
	mine->sk6 = IS_ENABLED(CONFIG_IPV6) ? rxe_open_port(net, true) : NULL;
	return mine->sk4 ? 0 : -EADDRINUSE;
}

static void __net_exit rxe_leave_net(struct net *net)
{
	struct rxe_recv_sockets *mine = net_generic(net, rxe_net_id);

	rxe_release_udp_tunnel(mine->sk6);
	rxe_release_udp_tunnel(mine->sk4);
}

static struct pernet_operations rxe_each_net = {
	.init = rxe_enter_net,
	.exit = rxe_leave_net,
	.id = &rxe_net_id,
	.size = sizeof(struct rxe_recv_sockets),
};

int rxe_net_init(void)
{
	int err = register_pernet_subsys(&rxe_each_net);

	if (!err) {
		err = register_netdevice_notifier(&rxe_net_notifier);
		if (err)
			unregister_pernet_subsys(&rxe_each_net);
	}
	return err;
}

void rxe_net_exit(void)
{
	unregister_netdevice_notifier(&rxe_net_notifier);
	unregister_pernet_subsys(&rxe_each_net);
}
""")


def routes(source):
    source.edit("routes", "rxe_net.c", "ip_route_output_key(&init_net, ", "ip_route_output_key(dev_net(ndev), ")
    source.edit("routes", "rxe_net.c", "ipv6_dst_lookup_flow(sock_net(recv_sockets.sk6->sk),", "ipv6_dst_lookup_flow(dev_net(ndev),")
    source.edit("routes", "rxe_net.c", "recv_sockets.sk6->sk, &fl6,", "NULL, &fl6,")


def edit_all(source):
    contexts(source)
    moves(source)
    if not source.per_namespace:
        sockets(source)
        routes(source)
    source.before("parent", "rxe_verbs.c", "\terr = ib_device_set_netdev(&rxe->ib_dev, ndev, 1);\n",
                  "\tdev->dev.parent = ndev->dev.parent;\n")
    source.before("gsi", "rxe_verbs.c", "\terr = rxe_cleanup(qp);\n\tif (err)\n\t\trxe_err_qp(qp, \"cleanup failed",
                  "\tif (qp_type(qp) == IB_QPT_GSI)\n\t\tto_rdev(ibqp->device)->port.qp_gsi_index = 0;\n\n")
    source.edit("makefile", "Makefile", "obj-$(CONFIG_RDMA_RXE) ", "obj-m ")


def main():
    given, target = map(pathlib.Path, sys.argv[1:3])
    shutil.copytree(given, target)
    try:
        edit_all(Source(target))
    except Moved as moved:
        sys.exit(str(moved))


main()
