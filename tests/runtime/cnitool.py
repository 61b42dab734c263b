# SPDX-License-Identifier: Apache-2.0
"""libcni's own cnitool: what every Go runtime does with a plugin, at cniVersion 1.1.0.

libcni caches each attachment in /var/lib/cni by the network's name, which is therefore one that no
other test has.
"""

import contextlib
import json

import peer
from peer import lab

CNITOOL = f"{peer.CACHE}/cnitool/usr/bin/cnitool"


class Libcni(peer.Host):
    def __init__(self):
        peer.need(CNITOOL)
        super().__init__("libcni")

    def libcni(self, verb, pod, network="rails", check=True):
        return self.run(
            CNITOOL, verb, f"{self.label}-{network}", pod.path, check=check,
            CNI_PATH=self.plugins, NETCONFPATH=self.networks, CNI_IFNAME="net1",
        )

    def rail_network(self, network, rail):
        self.rail(rail, bridge="fabric")
        self.network(f"{self.label}-{network}", self.spur(rail), version="1.1.0")


@contextlib.contextmanager
def libcni():
    with Libcni() as node:
        node.rail_network("rails", "rail1")
        node.daemon(pools=[lab.pool("train")])
        pod = node.pod("a")
        before = pod.snapshot()
        with node.as_before():
            yield node, pod
        lab.same(before, pod.snapshot())


def test_add_check_del():
    with libcni() as (node, pod):
        result = json.loads(node.libcni("add", pod))
        assert result["cniVersion"] == "1.1.0", result
        assert pod.addresses("net1") == [result["ips"][0]["address"]], result
        node.libcni("check", pod)
        pod.ip("link", "set", "net1", "mtu", "1400")
        assert check_fails(node, pod), "CHECK does not see another MTU"
        node.libcni("del", pod)
        node.libcni("del", pod)


def check_fails(node, pod):
    try:
        node.libcni("check", pod)
    except AssertionError:
        return True
    return False


def test_status():
    with libcni() as (node, pod):
        node.libcni("status", pod)
        node.stop()
        try:
            node.libcni("status", pod)
            raise RuntimeError("STATUS succeeds without the daemon")
        except AssertionError as e:
            assert "spur" in str(e), e
        node.start()


def test_gc_makes_dels_of_stale_attachments():
    """cnitool tells GC that nothing is valid: libcni then sends a DEL for each cached attachment."""
    with libcni() as (node, pod):
        node.libcni("add", pod)
        other = node.pod("b")
        node.rail_network("others", "rail2")
        node.libcni("add", other, "others")
        assert len(node.attachments()) == 2
        node.libcni("gc", pod)
        assert [a["network"] for a in node.attachments()] == [f"{node.label}-others"], "GC is of one network"
        assert pod.links() == [] and other.links() == ["net1"]
        node.libcni("del", other, "others")
        node.net.ip("link", "del", "rail2")


def test_gc_after_the_pod_died():
    """The runtime forgot the DEL, and the namespace is gone with the veth in it: GC cleans up."""
    with libcni() as (node, pod):
        dead = node.pod("dead")
        node.rail_network("mortal", "rail3")
        node.libcni("add", dead, "mortal")
        dead.close()
        node.pods.remove(dead)
        node.libcni("gc", pod, "mortal")
        assert not [n for n in peer.leftovers() if node.label in n], "libcni forgets the attachment too"


if __name__ == "__main__":
    lab.main(globals())
