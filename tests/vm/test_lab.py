# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what the other tests of this directory rely on."""

import guest
import lab
from guest import run, wait_for, within


class Pods:
    """Two namespaces with a VF each, of two PFs, that have addresses."""

    def __init__(self, vfs):
        self.vfs = vfs
        self.spaces = [lab.Namespace("a"), lab.Namespace("b")]
        self.addresses = ["10.9.0.1", "10.9.0.2"]
        for vf, space, address in zip(vfs, self.spaces, self.addresses):
            name = vf.netdev()
            run("ip", "link", "set", name, "netns", space.name)
            space.ip("addr", "add", f"{address}/24", "dev", name)
            space.ip("link", "set", name, "up")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for space in self.spaces:
            space.close()
        for vf in self.vfs:
            vf.netdev()


def roce_vfs():
    """A VF of each PF with a soft-RoCE device."""
    guest.load_rdma()
    vfs = [pf.make_vfs(1)[0] for pf in guest.pfs()]
    for i, vf in enumerate(vfs):
        vf.soft_roce(f"rdma{i}")
    return vfs


def remove_vfs():
    for pf in guest.pfs():
        pf.num_vfs(0)
    wait_for(lambda: not guest.rdma_devices(), what="RDMA devices gone with their VFs")


def test_seven_vfs():
    guest.load_rdma()
    pf = guest.pfs()[0]
    assert len(pf.make_vfs(7)) == len(pf.vf_infos()) == 7
    remove_vfs()


def test_ping_between_vfs():
    guest.load_rdma()
    with Pods([pf.make_vfs(1)[0] for pf in guest.pfs()]) as pods:
        wait_for(lambda: pods.spaces[0].sh("ping", "-c", "1", "-W", "1", pods.addresses[1], check=False),
                 20, "ping")
        pods.spaces[0].sh("ping", "-c", "3", "-W", "5", pods.addresses[1])
    remove_vfs()


def test_rdma_moves_and_talks():
    vfs = roce_vfs()
    before = guest.snapshot()
    with Pods(vfs) as pods:
        a, b = pods.spaces
        for vf, space in zip(vfs, pods.spaces):
            run("rdma", "dev", "set", vf.rdma_dev(), "netns", space.name)
        assert guest.rdma_devices() == [] and not vfs[0].rdma_devs() and vfs[0].rdma_devs(a) == ["rdma0"]
        gids = [vf.gid_index(*where) for vf, where in zip(vfs, zip(pods.addresses, pods.spaces))]
        guest.talk(b, ["ibv_rc_pingpong", "-d", "rdma1", "-g", str(gids[1]), "-n", "100"],
                   a, ["ibv_rc_pingpong", "-d", "rdma0", "-g", str(gids[0]), "-n", "100", pods.addresses[1]])
        guest.talk(b, ["rping", "-s", "-a", pods.addresses[1], "-C", "5"],
                   a, ["rping", "-c", "-a", pods.addresses[1], "-C", "5"])
        run("ip", "netns", "attach", "host", "1")
        within(a, "rdma", "dev", "set", "rdma0", "netns", "host")
        run("ip", "netns", "del", "host")
        assert guest.rdma_devices() == ["rdma0"]
    # The second device comes home by itself with its namespace.
    wait_for(lambda: guest.rdma_devices() == ["rdma0", "rdma1"], what="rdma1 back")
    lab.same(before, guest.snapshot())
    remove_vfs()


guest.main(globals())
