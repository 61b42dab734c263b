# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what the other tests of this directory rely on."""

import os
import subprocess
import time

import guest
import lab
from guest import run, wait_for, within

GUID = "11:22:33:00:00:00:00:%02x"


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


def back(space, rdma):
    """An RDMA device comes back to the host's namespace, asked for from inside its own."""
    run("ip", "netns", "attach", "host", "1")
    within(space, "rdma", "dev", "set", rdma, "netns", "host")
    run("ip", "netns", "del", "host")


def refused(words, *argv):
    """A command that must fail with these words."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and words in done.stderr, (argv, done.returncode, done.stderr)


def set_vf(pf, index, *what):
    run("ip", "link", "set", pf.netdev(), "vf", str(index), *what)


def ib_vfs(pf, count):
    """VFs of an InfiniBand PF with GUIDs in force."""
    vfs = guest.fake(pf, count)
    for i, vf in enumerate(vfs):
        set_vf(pf, i, "node_guid", GUID % i)
        set_vf(pf, i, "port_guid", GUID % (16 + i))
        assert "11:22:33" not in guest.read("/sys/class/net", vf.netdev(), "address")
        vf.rebind()
        assert guest.read("/sys/class/net", vf.netdev(), "address").endswith(GUID % (16 + i))
    return vfs


def port_state(vf, ns=None):
    return within(ns, "cat", f"{vf.dir}/infiniband/{vf.rdma_dev(ns)}/ports/1/state").strip()


def test_seven_vfs():
    guest.load_rdma()
    pf = guest.pfs()[0]
    assert len(pf.make_vfs(7)) == len(pf.vf_infos()) == 7
    remove_vfs()


def test_ping_between_vfs():
    guest.load_rdma()
    with Pods([pf.make_vfs(1)[0] for pf in guest.pfs()]) as pods:
        a, ping = pods.spaces[0], ("ping", "-W", "1", "-i", "0.2", pods.addresses[1])
        wait_for(lambda: "from" in a.sh(*ping, "-c", "1", check=False), 20, "first ping")
        a.sh(*ping, "-c", "5")
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
        back(a, "rdma0")
        assert guest.rdma_devices() == ["rdma0"]
    # The second device comes home by itself with its namespace.
    wait_for(lambda: guest.rdma_devices() == ["rdma0", "rdma1"], what="rdma1 back")
    lab.same(before, guest.snapshot())
    remove_vfs()


def test_rdma_moves_while_open():
    """A process that has the device open is cut off, wherever the device goes."""
    vfs = roce_vfs()
    with Pods(vfs) as pods:
        space = pods.spaces[1]
        for home in (lambda: back(space, "rdma1"), lambda: vfs[1].pf.num_vfs(0)):
            run("rdma", "dev", "set", "rdma1", "netns", space.name)
            gid = str(vfs[1].gid_index(pods.addresses[1], space))
            with subprocess.Popen(["ip", "netns", "exec", space.name, "ibv_rc_pingpong", "-d", "rdma1", "-g", gid],
                                  stdout=subprocess.DEVNULL) as holder:
                wait_for(lambda: "pingpong" in within(space, "rdma", "res", "show", "qp"), 20, "a queue pair")
                home()
                holder.kill()
        pods.vfs = vfs[:1]
    remove_vfs()


def test_ib_guids_and_state():
    pf = guest.pfs()[0]
    vf = ib_vfs(pf, 1)[0]
    assert port_state(vf) == "4: ACTIVE"
    set_vf(pf, 0, "state", "disable")
    assert port_state(vf) == "1: DOWN" and "disable" in str(pf.vf_infos()[0])
    refused("Invalid argument", "ip", "link", "set", pf.netdev(), "vf", "1", "state", "auto")
    refused("not supported", "ip", "link", "set", pf.netdev(), "vf", "0", "vlan", "7")
    guest.unfake(pf)
    assert guest.rdma_devices() == []


def test_ib_netdev_is_made_again():
    pf = guest.pfs()[0]
    a, b = ib_vfs(pf, 2)
    name, rdma, before = a.netdev(), a.rdma_dev(), guest.snapshot()
    space = lab.Namespace("a")
    for follow in (False, True):
        guest.parameter("follow", follow)
        run("rdma", "dev", "set", rdma, "netns", space.name)
        assert a.rdma_devs() == [] and a.rdma_devs(space) == [rdma] and b.rdma_devs()
        where, elsewhere = (space, None) if follow else (None, space)
        assert a.netdevs(where) and not a.netdevs(elsewhere), (follow, a.netdevs(), a.netdevs(space))
        back(space, rdma)
    run("rdma", "dev", "set", rdma, "netns", space.name)
    space.close()
    wait_for(lambda: a.rdma_devs() == [rdma] and a.netdevs() == [name], what="both back")
    lab.same(before, guest.snapshot())
    guest.unfake(pf)


def test_ib_ping():
    pf = guest.pfs()[0]
    with Pods(ib_vfs(pf, 2)) as pods:
        pods.spaces[0].sh("ping", "-c", "2", "-i", "0.2", "-W", "5", pods.addresses[1])
    guest.unfake(pf)


def test_ib_open_device():
    """A device that is open can be moved, unless its driver does not let go."""
    pf = guest.pfs()[0]
    vf = guest.fake(pf, 1)[0]
    space = lab.Namespace("a")
    fd = os.open(f"/dev/infiniband/{vf.uverbs()[0]}", os.O_RDWR)
    run("rdma", "dev", "set", vf.rdma_dev(), "netns", space.name)
    os.close(fd)
    space.close()
    vf.rdma_dev()
    vf = guest.fake(pf, 1, movable=False)[0]
    space = lab.Namespace("a")
    refused("not supported", "rdma", "dev", "set", vf.rdma_dev(), "netns", space.name)
    space.close()
    guest.parameter("movable", True)
    guest.unfake(pf)


def test_ib_knobs():
    pf = guest.pfs()[0]
    assert len(guest.fake(pf, 1, rdma_devices=2)[0].rdma_devs()) == 2
    vf = guest.fake(pf, 1, rdma_devices=0)[0]
    assert vf.rdma_devs() == [] and vf.netdevs()
    guest.parameter("rdma_devices", 1)
    guest.parameter("appear_ms", 300)
    vf.rebind()
    assert not vf.netdevs()
    assert vf.netdev() and vf.rdma_dev()
    guest.parameter("appear_ms", 0)
    guest.parameter("move_ms", 500)
    space, began = lab.Namespace("a"), time.monotonic()
    run("rdma", "dev", "set", vf.rdma_dev(), "netns", space.name)
    assert time.monotonic() - began > 0.5
    guest.parameter("move_ms", 0)
    space.close()
    vf.rdma_dev()
    guest.unfake(pf)


def test_eth_answers():
    pf = guest.pfs()[0]
    vf = guest.fake(pf, 2, "fakeeth")[0]
    name = vf.netdev()
    pf.knob("vlan", "EBUSY", 2)
    for _ in range(2):
        refused("busy", "ip", "link", "set", pf.netdev(), "vf", "0", "vlan", "7")
    set_vf(pf, 0, "vlan", "7", "qos", "3", "proto", "802.1ad")
    pf.knob("qinq", "EOPNOTSUPP")
    refused("not supported", "ip", "link", "set", pf.netdev(), "vf", "1", "vlan", "7", "proto", "802.1ad")
    pf.knob("min_rate", "EOPNOTSUPP")
    refused("not supported", "ip", "link", "set", pf.netdev(), "vf", "0", "min_tx_rate", "5", "max_tx_rate", "9")
    set_vf(pf, 0, "max_tx_rate", "9")
    pf.knob("mac", late_ms=700)
    set_vf(pf, 0, "mac", "52:54:00:01:02:03")
    assert pf.vf_infos()[0]["address"] == "00:00:00:00:00:00"
    refused("temporarily unavailable", "ip", "link", "set", name, "address", "52:54:00:01:02:03")
    wait_for(lambda: pf.vf_infos()[0]["address"] == "52:54:00:01:02:03", what="MAC in force")
    refused("Cannot assign", "ip", "link", "set", name, "address", "52:54:00:01:02:04")
    run("ip", "link", "set", name, "address", "52:54:00:01:02:03")
    set_vf(pf, 0, "trust", "on")
    run("ip", "link", "set", name, "address", "52:54:00:01:02:04")
    pf.calls_reset()
    pf.vf_infos()
    assert pf.calls()["get_config"] >= 2 and pf.calls()["mac"] == 0, pf.calls()
    guest.unfake(pf)


def test_eth_vlans_and_roce():
    guest.load_rdma()
    pf = guest.pfs()[0]
    vfs = guest.fake(pf, 2, "fakeeth")
    for i, vf in enumerate(vfs):
        vf.soft_roce(f"rdma{i}")
    with Pods(vfs) as pods:
        ping = ("ping", "-c", "1", "-W", "1", pods.addresses[1])
        pods.spaces[0].sh(*ping)
        set_vf(pf, 0, "vlan", "7")
        refused("", "nsenter", f"--net={pods.spaces[0].path}", *ping)
        set_vf(pf, 1, "vlan", "7")
        pods.spaces[0].sh(*ping)
    guest.unfake(pf)
    wait_for(lambda: not guest.rdma_devices(), what="RDMA devices gone with their VFs")


def test_modules_leave():
    run("rmmod", "fakeib")
    run("rmmod", "rdma_rxe")


guest.main(globals())
