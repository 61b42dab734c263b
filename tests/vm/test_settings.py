# SPDX-License-Identifier: Apache-2.0
"""What a pod did to its VF ends with the pod: it comes home by DEL, or by itself from a dead namespace,
and neither the host nor the next pod sees any of it. docs/kernel-facts.md, "What survives a move"."""

import guest
import lab
import scene
from guest import run, wait_for

import cni_settings
import ethtool

PLAIN = {"rdma": "none", "ready": {"timeout_ms": 0}}
DRIVER = ("ring rx=128", "ring tx=256", "coalesce rx-usecs=77", "message level=1",
          "tx=0", "sg=0", "tso=0", "gso=0", "gro=0", "rx=0")


class Host:
    """The VM itself as a namespace of the tests."""

    @staticmethod
    def ip_json(*words):
        return lab.json.loads(run("ip", "-j", *words))


def facts(vf):
    name = vf.netdev()
    return {"link": cni_settings.settings(Host, name), "driver": ethtool.settings(None, name)}


def spoil(pod):
    for words in cni_settings.LINK:
        pod.ip("link", "set", "net1", *words)
    ethtool.change(pod, "net1", *DRIVER)


def same_facts(was, vf):
    is_now = facts(vf)
    assert is_now == was, {k: (was[k], is_now[k]) for k in was if was[k] != is_now[k]}


def test_del():
    with scene.Scene(scene.igb(2)) as node:
        vf = node.vfs[0]
        at_home = facts(vf)
        for name in ("a", "b"):
            pod, conf, _ = node.attach(name, vf, **PLAIN)
            assert ethtool.settings(pod, "net1") == at_home["driver"]
            assert cni_settings.settings(pod, "net1") == at_home["link"]
            spoil(pod)
            assert ethtool.settings(pod, "net1")["ring"] != at_home["driver"]["ring"]
            node.delete(pod, conf)
            same_facts(at_home, vf)
            node.is_as_before()
            node.end(pod)
        node.settles()


def test_dead_namespace():
    with scene.Scene(scene.igb(2)) as node:
        vf = node.vfs[0]
        at_home = facts(vf)
        pod, _, _ = node.attach("a", vf, **PLAIN)
        spoil(pod)
        node.end(pod)
        wait_for(lambda: not node.attachments(), 60, "the record goes")
        same_facts(at_home, vf)
        node.settles()


def test_what_the_host_set_before():
    """The baseline is what the inventory read while the VF was free, not what the driver begins with."""
    with scene.Scene(scene.igb(2)) as node:
        vf = node.vfs[0]
        fresh = facts(vf)
        node.stop()
        ethtool.change(None, vf.netdev(), "ring rx=512", "coalesce rx-usecs=20", "gro=0")
        at_home = facts(vf)
        node.start(env={"SPUR_YOUNG_MS": "0"})
        node.settled()
        pod, conf, _ = node.attach("a", vf, **PLAIN)
        ethtool.change(pod, "net1", "ring rx=256", "coalesce rx-usecs=99", "gro=1")
        node.delete(pod, conf)
        same_facts(at_home, vf)
        ethtool.change(None, vf.netdev(), "ring rx=1024", "coalesce rx-usecs=3", "gro=1")
        same_facts(fresh, vf)


def test_mac():
    """Its PF is told again too, or it would be drift; so it is from a dead namespace."""
    with scene.Scene(scene.igb(2)) as node:
        vf = node.vfs[0]
        for name, by_itself in (("a", False), ("b", True)):
            pod, conf, _ = node.attach(name, vf, **PLAIN)
            pod.ip("link", "set", "net1", "address", "02:00:00:00:00:99")
            if by_itself:
                node.end(pod)
            else:
                node.delete(pod, conf)
            node.settles(60)


if __name__ == "__main__":
    guest.main(globals())
