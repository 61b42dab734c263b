# SPDX-License-Identifier: Apache-2.0
"""What a pod did to its device ends with the pod: whatever it sets, neither the host nor the next pod
sees any of it. docs/kernel-facts.md, "What survives a move", has the table."""

import os
import sys

import ethtool
import lab

# Attaches an XDP program that lets nothing through, as argv says: interface, XDP_FLAGS_*.
XDP = """
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
insns = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xb7, 0, 0, 1, 0x95, 0, 0, 0))  # return XDP_DROP
licence = ctypes.create_string_buffer(b"GPL")
attr = struct.pack("<IIQQ48x", 6, 2, ctypes.addressof(insns), ctypes.addressof(licence))
number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
fd = libc.syscall(number, 5, ctypes.create_string_buffer(attr, len(attr)), len(attr))
if fd < 0:
    sys.exit(77)
rt = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
nest = struct.pack("<HHiHHI", 8, 1, fd, 8, 3, int(sys.argv[2]))
body = struct.pack("<BxHiIIHH", 0, 0, socket.if_nametoindex(sys.argv[1]), 0, 0, 4 + len(nest), 43 | 0x8000) + nest
rt.send(struct.pack("<IHHII", 16 + len(body), 16, 5, 1, 0) + body)
sys.exit(-struct.unpack_from("<i", rt.recv(4096), 16)[0])
"""
XDP_GENERIC, XDP_DRIVER = 2, 4

LINK = (
    ("promisc", "on"),
    ("allmulticast", "on"),
    ("multicast", "off"),
    ("arp", "off"),
    ("dynamic", "on"),
    ("trailers", "off"),
    ("txqueuelen", "77"),
    ("group", "42"),
    ("alias", "the pod's"),
    ("gso_max_size", "30000"),
    ("gso_max_segs", "10"),
    ("gro_max_size", "20000"),
    ("mode", "dormant"),
    ("broadcast", "ff:ff:ff:ff:ff:fe"),
)


def settings(ns, name):
    """With the link mode, which `ip addr` does not show."""
    return lab._link_settings(ns.ip_json("-d", "link", "show", "dev", name)[0])


def test_link():
    """Each by itself, then all at once, up and down; the next pod has the device as the first had it."""
    with lab.Node("settings") as node:
        node.rail("eth1")
        node.daemon(pools=[lab.pool()])
        conf = lab.netconf(device="eth1", pool="train")
        before, at_home = node.snapshot(), settings(node.net, "eth1")
        fresh = None
        for n, change in enumerate([(), *((c,) for c in LINK), LINK]):
            pod = node.pod(f"p{n}")
            node.add(pod, conf)
            seen = settings(pod, "net1")
            fresh = fresh or seen
            assert seen == fresh, (change, seen)
            for words in change:
                pod.ip("link", "set", "net1", *words)
            assert not change or settings(pod, "net1") != fresh, change
            node.delete(pod, conf)
            lab.same(before, node.snapshot())
            assert settings(node.net, "eth1") == at_home, change
            pod.close()


def test_altnames():
    """More than a record has room for, and more than 32 KiB of them, of a device and beside the host's own."""
    for own, count in (((), 20), (("rail-zero",), 400)):
        with lab.Node("settings") as node:
            node.rail("eth1", altnames=own)
            node.daemon(pools=[lab.pool()])
            conf = lab.netconf(device="eth1", pool="train")
            pod = node.pod("a")
            before = node.snapshot(pod)
            node.add(pod, conf)
            lines = "".join(f"link property add dev net1 altname {n:0100}\n" for n in range(count))
            pod.sh("ip", "-batch", "-", input=lines)
            node.delete(pod, conf)
            assert not node.attachments() and tuple(node.net.link("eth1").get("altnames", ())) == own
            lab.same(before, node.snapshot(pod))


def test_what_the_host_set_stays():
    """The baseline is what the host had, not what a kernel begins with."""
    with lab.Node("settings") as node:
        node.rail("eth1")
        for words in LINK:
            node.net.ip("link", "set", "eth1", *words)
        node.daemon(pools=[lab.pool()])
        conf = lab.netconf(device="eth1", pool="train")
        pod = node.pod("a")
        before, at_home = node.snapshot(pod), settings(node.net, "eth1")
        node.add(pod, conf)
        for words in (("arp", "on"), ("promisc", "off"), ("txqueuelen", "1000"), ("alias", ""), ("group", "default"),
                      ("gso_max_size", "65536"), ("mode", "default"), ("broadcast", "ff:ff:ff:ff:ff:ff")):
            pod.ip("link", "set", "net1", *words)
        node.delete(pod, conf)
        lab.same(before, node.snapshot(pod))
        assert settings(node.net, "eth1") == at_home


def test_without_arp():
    """A pod without ARP has no network; the next one has."""
    with lab.Node("settings") as node:
        node.rail("eth1")
        node.net.ip("addr", "add", "10.0.0.1/24", "dev", "eth1p")
        node.daemon(pools=[lab.pool()])
        conf = lab.netconf(device="eth1", pool="train")
        for name in ("a", "b"):
            pod = node.pod(name)
            node.add(pod, conf)
            pod.sh("ping", "-c", "1", "-W", "5", "10.0.0.1")
            pod.ip("link", "set", "net1", "arp", "off")
            node.delete(pod, conf)


def test_proto_down():
    """Only some drivers have it; with a reason it cannot be taken back before the reason is."""
    with lab.Node("settings") as node:
        node.rail("eth0")
        node.net.ip("link", "add", "mv0", "link", "eth0", "type", "macvlan", "mode", "bridge")
        node.daemon(pools=[lab.pool()])
        conf = lab.netconf(device="mv0", pool="train")
        for name in ("a", "b"):
            pod = node.pod(name)
            node.add(pod, conf)
            assert not pod.link("net1").get("proto_down"), pod.link("net1")
            pod.ip("link", "set", "net1", "protodown", "on")
            pod.ip("link", "set", "net1", "protodown_reason", "3", "on")
            node.delete(pod, conf)
        assert not node.net.link("mv0").get("proto_down"), node.net.link("mv0")


FEATURES = ("tx=0", "sg=0", "tso=0", "gso=0", "gro=1")


def test_features():
    """What the pod asked of the driver, with ethtool -K: each by itself, then all."""
    with lab.Node("settings") as node:
        node.rail("eth1")
        node.daemon(pools=[lab.pool()])
        conf = lab.netconf(device="eth1", pool="train")
        at_home = ethtool.settings(node.net, "eth1")
        for n, words in enumerate([(), *((w,) for w in FEATURES), FEATURES]):
            pod = node.pod(f"p{n}")
            node.add(pod, conf)
            assert ethtool.settings(pod, "net1") == at_home, words
            if words:
                ethtool.change(pod, "net1", *words)
                assert ethtool.settings(pod, "net1") != at_home, words
            node.delete(pod, conf)
            assert ethtool.settings(node.net, "eth1") == at_home, words
            pod.close()


def test_features_of_the_host():
    """Off in the host before, on in the pod: off again; and what another kernel calls by another number
    is left alone."""
    with lab.Node("settings") as node:
        node.rail("eth1")
        ethtool.change(node.net, "eth1", "tso=0", "gro=1")
        at_home = ethtool.settings(node.net, "eth1")
        node.daemon(pools=[lab.pool()])
        conf = lab.netconf(device="eth1", pool="train")
        pod = node.pod("a")
        node.add(pod, conf)
        ethtool.change(pod, "net1", "tso=1", "gro=0", "tx=0")
        node.delete(pod, conf)
        assert ethtool.settings(node.net, "eth1") == at_home


def attach_xdp(ns, name, place):
    script = ("nsenter", f"--net={ns.path}", sys.executable, "-c", XDP, name, str(place))
    status = os.spawnvp(os.P_WAIT, script[0], script)
    if status == 77:
        lab.skip("to load an XDP program")
    assert status == 0, os.strerror(status)


def test_xdp():
    """A program that drops all is no more there; `ip link set DEV xdp off` leaves a generic one."""
    with lab.Node("settings") as node:
        node.rail("eth1")
        node.net.ip("addr", "add", "10.0.0.1/24", "dev", "eth1p")
        node.daemon(pools=[lab.pool()])
        conf = lab.netconf(device="eth1", pool="train")
        before = node.snapshot()
        for name, place in (("a", XDP_GENERIC), ("b", XDP_DRIVER)):
            pod = node.pod(name)
            node.add(pod, conf)
            pod.sh("ping", "-c", "1", "-W", "5", "10.0.0.1")
            attach_xdp(pod, "net1", place)
            assert settings(pod, "net1")["xdp"], pod.link("net1")
            node.delete(pod, conf)
            lab.same(before, node.snapshot())


def test_xdp_of_the_host():
    """What the host attached stays; when the pod has taken it away nobody can attach it again: the
    record stays, and says so."""
    with lab.Node("settings") as node:
        node.rail("eth1")
        node.daemon(pools=[lab.pool()])
        attach_xdp(node.net, "eth1", XDP_GENERIC)
        conf = lab.netconf(device="eth1", pool="train")
        before = node.snapshot()
        pod = node.pod("a")
        node.add(pod, conf)
        node.delete(pod, conf)
        lab.same(before, node.snapshot())
        node.add(pod, conf)
        pod.ip("link", "set", "net1", "xdpgeneric", "off")
        got = node.cni("DEL", pod, conf)
        assert got.returncode == 0 and "has detached its XDP program" in got.stderr, got
        (record,) = node.attachments()
        assert record["state"] == "dirty", record


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
