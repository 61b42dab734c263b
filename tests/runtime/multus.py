# SPDX-License-Identifier: Apache-2.0
"""Calls as Multus 4.3 makes them for a pod that a device plugin gave a PCI function.

The inputs are recorded, in recorded/; @WORDS@ stand for what differs from machine to machine. The
function is one of a fake sysfs, and its netdev a veth. In CNI_ARGS every key comes twice: Multus's
own, then the runtime's, which Multus hands on. A network that declares no capabilities gets no
runtimeConfig: then `mac` and `ips` of the pod's annotation come as MAC= and IP= there.
"""

import json
import os
import subprocess

import peer
from peer import lab

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded")
FUNCTION = "0000:1a:00.1"


def make_sysfs(root, netdev):
    """A function without a PF, as a cloud gives it, which has @netdev: no PF of a fake can be told
    of an address (tests/vm has real ones)."""
    os.makedirs(f"{root}/bus/pci/devices/{FUNCTION}/net/{netdev}")


def replay(name, node, words, verb):
    """The recorded call @name, as @verb."""
    with open(f"{RECORDED}/{name}.json", encoding="utf-8") as f:
        text = f.read()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    call = json.loads(text)
    done = subprocess.run(
        ["nsenter", f"--net={node.net.path}", lab.program("spur")], capture_output=True, text=True,
        env={**call["env"], "CNI_COMMAND": verb, **node.sysfs}, input=json.dumps(call["stdin"]), check=False,
    )
    assert done.returncode == 0, (verb, done)
    return done.stdout


def attach_and_back(name):
    """ADD, ADD again, CHECK, DEL of a recorded call; the pod has what its annotation asks for."""
    peer.need()
    with lab.Node("multus") as node:
        node.rail("vf0", bridge="fabric")
        node.sysfs = {"SPUR_SYSFS": f"{node.dir}/sys"}
        make_sysfs(node.sysfs["SPUR_SYSFS"], "vf0")
        node.daemon(pools=[lab.pool("train")], env=node.sysfs, plugin=lab.program("spur"))
        pod = node.pod("a")
        before = node.snapshot(pod)
        info = f"{node.devinfo()}/rail0-net1.json"
        words = {"NETNS": pod.path, "PATH": lab.BIN, "DEVINFO": info, "SOCKET": node.socket}

        result = json.loads(replay(name, node, words, "ADD"))
        assert result["ips"][0]["address"] == "10.0.0.40/24", result
        assert result["interfaces"][0]["mac"] == "c2:b0:57:49:47:f1", result
        assert pod.addresses("net1") == ["10.0.0.40/24"]
        assert pod.link("net1")["address"] == "c2:b0:57:49:47:f1"
        record = node.attachments()[0]
        assert record["device"]["key"] == f"pci:{FUNCTION}", record
        assert record["pod"] == {
            "namespace": "training", "name": "worker-0", "uid": "5a1e6d1c-9d0a-4b53-8c39-3f2f0f6a7c11"}, record
        if "capabilities" in name:
            with open(info, encoding="utf-8") as f:
                written = json.load(f)
            assert written["type"] == "pci" and written["pci"]["pci-address"] == FUNCTION, written
        assert json.loads(replay(name, node, words, "ADD")) == result
        replay(name, node, words, "CHECK")
        replay(name, node, words, "DEL")
        assert not os.path.exists(info)
        lab.same(before, node.snapshot(pod))


def test_hooked_device_by_pci_address():
    attach_and_back("multus-add")


def test_hooked_declared_capabilities():
    attach_and_back("multus-add-capabilities")


if __name__ == "__main__":
    lab.main(globals())
