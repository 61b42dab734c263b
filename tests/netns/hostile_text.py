# SPDX-License-Identifier: Apache-2.0
"""Names and words that are no text, or that a terminal would obey: what people read of them is one line of text."""

import json
import os
import re

import lab
from cni_attach import foreign_ipam

CONF = lab.netconf(device="eth1", pool="train")
RED = "x\x1b[31mred\x07"
TURNED = "y\u202eten\u2066\u009b1m"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069]")
COMMANDS = (("attachments",), ("attachments", "-o", "wide"), ("show", "eth1"), ("history",), ("vfs",), ("pools",), ("status",))


def node_with_rail():
    node = lab.Node("text")
    node.rail("eth1")
    node.daemon(pools=[lab.pool()], env={"SPUR_YOUNG_MS": "0"})
    return node


def spurctl(node, *words):
    return lab.run(lab.program("spurctl"), "--socket", node.socket, *words, check=False)


def nothing_is_obeyed(node, where=""):
    for words in COMMANDS:
        told = spurctl(node, *words)
        assert not CONTROLS.search(told), (where, words, told)
    with open(node.log, encoding="utf-8") as f:  # also that it is UTF-8
        log = f.read()
    assert not CONTROLS.search(log), (where, log)


def test_names_of_the_host():
    """Altnames that a record keeps, and gives back to the letter."""
    with node_with_rail() as node:
        for name in (RED, TURNED):
            node.net.ip("link", "property", "add", "dev", "eth1", "altname", name)
        pod = node.pod("a")
        before = node.snapshot()
        node.add(pod, CONF)
        assert "altname" in spurctl(node, "show", "eth1"), spurctl(node, "show", "eth1")
        nothing_is_obeyed(node)
        node.delete(pod, CONF)
        lab.same(before, node.snapshot())


def test_what_a_pod_makes():
    """Names, altnames and an alias in any bytes; DEL is clean, and "out of memory" is nobody's word for it."""
    names = [b"\xff\xfe", b"\xc3\x28", b"a\xe2\x82", RED.encode(), TURNED.encode()[:14], b"\xed\xa0\x80z"]
    with node_with_rail() as node:
        for i, name in enumerate(names):
            pod = node.pod(f"a{i}")
            before = node.snapshot()
            node.add(pod, CONF)
            text = os.fsdecode(name)
            pod.ip("link", "property", "add", "dev", "net1", "altname", f"alt{text}"[:100], check=False)
            pod.ip("link", "set", "net1", "alias", RED)
            pod.ip("link", "set", "net1", "down")
            pod.ip("link", "set", "net1", "name", text, check=False)
            check = node.cni("CHECK", pod, CONF)
            assert "out of memory" not in check.msg, check
            nothing_is_obeyed(node, name)
            node.delete(pod, CONF)
            assert node.attachments() == [], (name, node.attachments())
            lab.same(before, node.snapshot())
        nothing_is_obeyed(node)
        with open(node.log, encoding="utf-8") as f:
            assert "out of memory" not in f.read()


def test_what_an_ipam_says():
    """In its error, which becomes the reason of an undo."""
    with node_with_rail() as node:
        with open(f"{node.dir}/words", "w", encoding="utf-8") as f:
            json.dump({"code": 7, "msg": "\x1b[31mred\u202e\nline", "details": "\x9b\x07"}, f)
        foreign_ipam(node, add=f"cat {node.dir}/words; exit 1")
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", ipam={"type": "other"})
        got = node.cni("ADD", pod, conf)
        assert got.returncode == 1 and got.code == 7 and "red" in got.msg, got
        assert not CONTROLS.search(got.msg) and "\n" not in got.msg, got
        assert not CONTROLS.search(got.json["details"]), got
        nothing_is_obeyed(node)


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
