# SPDX-License-Identifier: Apache-2.0
"""Where an RDMA device cannot be moved: shared mode, drivers that do not let go, two of them, none.

One VM for both modes: the kernel changes it while there is no other network namespace.
"""

import contextlib

import guest
import lab
from guest import run, wait_for

POOL = {"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.64.0.0/24"}]}


def set_mode(mode):
    """Namespaces end some time after their names."""
    def switched():
        run("rdma", "system", "set", "netns", mode, check=False)
        return guest.rdma_mode() == mode
    wait_for(switched, 20, f"mode {mode}")


@contextlib.contextmanager
def node_with(mode, vfs):
    """A node in this mode; what the block does leaves no trace."""
    with guest.Node("modes") as node:
        node.vfs = vfs
        node.daemon(pools=[POOL])
        wait_for(lambda: all(d["state"] == "free" for d in node.rpc("device.list")["devices"]), 20, "VFs read")
        assert guest.rdma_mode() == mode
        node.before = facts(node)
        yield node
        lab.same(node.before, facts(node))


def facts(node):
    return {"vm": guest.snapshot(), "node": node.snapshot()}


def igb_vf(roce=True, pristine=False):
    if guest.is_loaded("rdma_rxe"):
        run("rmmod", "rdma_rxe")
    guest.load_rdma(pristine)
    vf = guest.pfs()[0].make_vfs(1)[0]
    if roce:
        vf.soft_roce("rdma0")
    return vf


def no_vfs():
    for pf in guest.pfs():
        pf.num_vfs(0)
    wait_for(lambda: not guest.rdma_devices(), what="RDMA devices gone with their VFs")


@contextlib.contextmanager
def igb_node(mode, **vf):
    set_mode(mode)
    try:
        with node_with(mode, [igb_vf(**vf)]) as node:
            yield node, node.pod("a")
    finally:
        no_vfs()


@contextlib.contextmanager
def fake_node(mode, **parameters):
    set_mode(mode)
    guest.load_rdma()
    pf = guest.pfs()[0]
    try:
        with node_with(mode, guest.fake(pf, 1, **parameters)) as node:
            yield node, node.pod("a")
    finally:
        guest.unfake(pf)
        for name in parameters:
            guest.parameter(name, 1)


def conf(node, **keys):
    return lab.netconf(pool="train", deviceID=node.vfs[0].pci, **keys)


def refused(node, pod, words, **keys):
    """An ADD that has to fail with all of these words, in its message or its advice, and changes nothing."""
    got = node.cni("ADD", pod, conf(node, **keys))
    said = f"{got.msg} {got.json and got.json.get('details')}"
    print(f"     {got.code}: {said}")
    assert got.returncode == 1 and all(word in said for word in words), (words, got)
    lab.same(node.before, facts(node))
    assert pod.links() == [], pod.links()


def served(node, pod, reports=None, **keys):
    """An ADD that has to do without moving an RDMA device; reports: the one that it tells of."""
    result = node.add(pod, conf(node, **keys))
    assert pod.links() == ["net1"], pod.links()
    [record] = node.attachments()
    told = record["facts"].get("rdma", {})
    assert told.get("name") == reports and not told.get("moved"), record
    node.delete(pod, conf(node, **keys))
    return result


def test_shared():
    with igb_node("shared") as (node, pod):
        uverbs = node.vfs[0].uverbs()[0]
        for keys in ({}, {"rdma": "auto"}, {"rdma": "required"}):
            served(node, pod, "rdma0", **keys)
        served(node, pod, None, rdma="none")
        assert node.vfs[0].rdma_devs() == ["rdma0"] and node.vfs[0].uverbs() == [uverbs]
        refused(node, pod, ["rdmaIsolation", "shares RDMA devices", "netns_mode=0"], rdmaIsolation=True)


def test_shared_and_moderated():
    """It never left, but a pod that has NET_ADMIN sees it and tells it something."""
    with igb_node("shared") as (node, pod):
        node.add(pod, conf(node))
        guest.moderate("rdma0", "on", pod)
        node.delete(pod, conf(node))
        assert not guest.is_moderated("rdma0"), "the pod's adaptive moderation stays"


def test_shared_and_renamed():
    """Nor does its name stay, whichever pod gave it; DEL gives it the one that it had."""
    with igb_node("shared") as (node, pod):
        other = node.pod("hostile")
        for name in ("podsown", "..", "a/b"):
            node.add(pod, conf(node))
            guest.within(other, "rdma", "dev", "set", "rdma0", "name", name)
            node.delete(pod, conf(node))
            assert guest.rdma_devices() == ["rdma0"], guest.rdma_devices()


def test_shared_infiniband():
    """Its netdev goes as any other does, for nothing makes it anew."""
    with fake_node("shared") as (node, pod):
        name = node.vfs[0].rdma_dev()
        served(node, pod, name, rdma="required")
        refused(node, pod, ["rdmaIsolation", "shares RDMA devices", "netns_mode=0"], rdmaIsolation=True)


def test_exclusive_and_none():
    """Left behind, because that is what was asked for."""
    with igb_node("exclusive") as (node, pod):
        node.add(pod, conf(node, rdma="none"))
        assert guest.rdma_devices() == ["rdma0"] and pod.links() == ["net1"]
        node.delete(pod, conf(node, rdma="none"))


def test_pristine_soft_roce():
    """The kernel's own belongs to no PCI function, and cannot be moved: for Spur the VF has no RDMA device."""
    with igb_node("exclusive", pristine=True) as (node, pod):
        assert node.vfs[0].rdma_devs() == []
        for keys in ({"rdma": "required"}, {"rdmaIsolation": True}):
            refused(node, pod, ["RDMA device", "has none"], **keys)
        assert guest.rdma_devices() == ["rdma0"]


def test_driver_that_does_not_let_go():
    with fake_node("exclusive", movable=0) as (node, pod):
        name = node.vfs[0].rdma_dev()
        for keys in ({}, {"rdma": "required"}, {"rdmaIsolation": True}):
            refused(node, pod, [name, "driver"], **keys)


def test_no_rdma_device():
    with igb_node("exclusive", roce=False) as (node, pod):
        refused(node, pod, ["RDMA device", "has none"], rdma="required")
        refused(node, pod, ["RDMA device", "has none"], rdmaIsolation=True)
        served(node, pod)


def test_two_rdma_devices():
    """Which one to move nobody has said; in shared mode none has to be."""
    with fake_node("exclusive", rdma_devices=2) as (node, pod):
        both = node.vfs[0].rdma_devs()
        assert len(both) == 2, both
        for keys in ({}, {"rdma": "required"}, {"rdmaIsolation": True}):
            refused(node, pod, ["RDMA device", "it has 2", both[0]], **keys)
        node.add(pod, conf(node, rdma="none"))
        assert node.vfs[0].rdma_devs() == both
        node.delete(pod, conf(node, rdma="none"))


guest.main(globals())
