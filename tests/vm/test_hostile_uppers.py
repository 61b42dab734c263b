# SPDX-License-Identifier: Apache-2.0
"""A hostile pod puts devices upon its VF, in its own namespace and in a friend's: what is deleted with the attachment,
what the kernel deletes, what is seen, and what cannot be. docs/kernel-facts.md, "Moving a device"."""

import subprocess

import guest
import lab
import scene
from guest import run, wait_for

import cni_settings

PLAIN = {"rdma": "none", "ready": {"timeout_ms": 0}}
UPPERS = (
    ("vlan", "id", "5"),
    ("vlan", "protocol", "802.1ad", "id", "5"),
    ("macvlan", "mode", "bridge"),
    ("macvlan", "mode", "passthru"),
    ("macvtap", "mode", "private"),
    ("ipvlan", "mode", "l3"),
    ("ipvtap", "mode", "l2"),
    ("macsec", "sci", "1"),
)
MASTERS = ("bridge", "bond", "team")


def put_upon(pod, words, name="up0", netns=()):
    pod.ip("link", "add", "link", "net1", "name", name, *netns, "type", *words)


def stands_upon(name):
    """Whether a VLAN 5 or anything with the receive hook is upon the device, wherever that is."""
    found = []
    for words in (("vlan", "id", "5"), ("macvlan", "mode", "passthru")):
        got = subprocess.run(["ip", "link", "add", "link", name, "name", "probe0", "type", *words],
                             capture_output=True, text=True, check=False)
        if got.returncode == 0:
            run("ip", "link", "del", "probe0")
        else:
            found.append(f"{words[0]}: {got.stderr.strip()}")
    return found


def calms(node):
    """Nothing is held. (Not "as before": a VF whose driver was bound anew may have got another address.)"""
    wait_for(lambda: not node.attachments(), 60, "the records go")
    node.settled()


def test_soft_rdma_device():
    """Soft-RoCE that the pod has made upon its device, which this kernel shows to the host: it is no more when that leaves."""
    guest.load_rdma(pristine=True)
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf = node.vfs[0]
        pod, conf, _ = node.attach("a", vf, **PLAIN)
        pod.ip("link", "set", "net1", "up")
        pod.sh("rdma", "link", "add", "soft0", "type", "rxe", "netdev", "net1")
        made = guest.rdma_devices(), guest.rdma_devices(pod)
        assert ["soft0"] in made, made
        node.delete(pod, conf)
        assert not guest.rdma_devices() and not guest.rdma_devices(pod)
        node.end(pod)
        node.settles()


def test_uppers_of_the_pod():
    """Of each kind that a kernel has, deleted with the attachment; a master that the device is a port of lets go of it."""
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf = node.vfs[0]
        for n, words in enumerate(UPPERS):
            pod, conf, _ = node.attach(f"p{n}", vf, **PLAIN)
            pod.ip("link", "set", "net1", "up")
            put_upon(pod, words)
            pod.ip("link", "set", "up0", "up")
            node.delete(pod, conf)
            assert pod.links() == [], (words, pod.links())
            calms(node)
            assert stands_upon(vf.netdev()) == [], words
            node.end(pod)
        for n, kind in enumerate(MASTERS):
            pod, conf, _ = node.attach(f"m{n}", vf, **PLAIN)
            pod.ip("link", "add", "up0", "type", kind)
            pod.ip("link", "set", "net1", "down")
            pod.ip("link", "set", "net1", "master", "up0")
            node.delete(pod, conf)
            assert pod.links() == ["up0"], (kind, pod.links())
            calms(node)
            assert stands_upon(vf.netdev()) == [], kind
            node.end(pod)


def test_dead_namespace():
    """The VF comes home by itself, and the kernel deletes what stood upon it in the dead namespace."""
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf = node.vfs[0]
        for n, words in enumerate((("vlan", "id", "5"), ("macvlan", "mode", "bridge"), ("ipvlan", "mode", "l2"))):
            pod, _, _ = node.attach(f"p{n}", vf, **PLAIN)
            put_upon(pod, words)
            node.end(pod)
            node.rpc("node.reconcile", timeout=60)
            calms(node)
            assert stands_upon(vf.netdev()) == [], words


def test_xdp_and_mtu():
    """igb refuses a large MTU while a program is attached. Its VFs have no XDP: a PF, by its name."""
    scene.remove_vfs()
    pf = guest.pfs()[0]
    with guest.Node("xdp") as node:
        name = pf.netdev()
        run("ip", "link", "set", name, "mtu", "9000")
        node.daemon()
        before = node.net.snapshot()
        conf = lab.netconf(device=name, rdma="none")
        pod = node.pod("a")
        node.add(pod, conf)
        pod.ip("link", "set", "net1", "mtu", "1500")
        pod.sh("python3", "-c", cni_settings.XDP, "net1", str(cni_settings.XDP_DRIVER))
        assert pod.link("net1").get("xdp"), pod.link("net1")
        node.delete(pod, conf)
        assert not node.attachments()
        lab.same(before, node.net.snapshot())
        run("ip", "link", "set", name, "mtu", "1500")


if __name__ == "__main__":
    guest.main(globals())
