# SPDX-License-Identifier: Apache-2.0
"""./dev demo: two pods get a rail, one by hand and one through podman, and give it back.

Everything happens in network namespaces and a directory of its own, which are gone at the end.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime"))

import peer  # noqa: E402 (the line above finds it)
import podman  # noqa: E402
from peer import lab  # noqa: E402
from show import kept, perform, pretty, show, step, tell  # noqa: E402

POOL = {
    "name": "train",
    "rails": [{"name": f"rail{i}", "cidr": f"10.{i}.0.0/24", "gatewayIndex": 1} for i in range(2)],
}


class Demo(podman.Podman):
    """The node of the demo: two rails, each on a bridge that is its switch and its gateway."""

    def __init__(self):
        super().__init__("demo")
        for rail in (0, 1):
            self.rail(f"eth{rail}", bridge=f"switch{rail}")
            self.net.ip("addr", "add", f"10.{rail}.0.1/24", "dev", f"switch{rail}")
        self.net.sh("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def netconf(self, rail):
        return lab.netconf(
            f"rail{rail}", device=f"eth{rail}", pool="train", rail=f"rail{rail}", socket=self.socket,
            routing={"table": "auto", "rules": True},
        )

    def spurctl_table(self, command):
        """spurctl's table, as an operator sees it."""
        show(f"spurctl {command}", self.run(lab.program("spurctl"), "--socket", self.socket, command))

    def spur(self, verb, pod, conf):
        """The call that a container runtime makes, made by hand."""
        answer = self.cni(verb, pod, conf)
        assert answer.returncode == 0, answer
        call = f"CNI_CONTAINERID={pod.container} CNI_NETNS={pod.path} CNI_IFNAME=net1"
        show(f"CNI_COMMAND={verb} {call} spur < rail0.json", answer.stdout and pretty(answer.stdout))


def attach_by_hand(node):
    step(
        "Pod A, attached by hand",
        "A pod is a network namespace, empty at first. To attach it, a container runtime starts a CNI plugin: "
        "the request is in the environment and on standard input, the result comes on standard output. "
        "This is all that CNI is.",
    )
    pod, conf = node.pod("pod-a", container="pod-a"), node.netconf(0)
    show("cat rail0.json", json.dumps(conf, indent=2))
    node.spur("ADD", pod, conf)
    tell(
        "eth0 has left the node. In the pod it is net1, with an address of the pool \"train\". What the pod sends "
        "from that address leaves by that rail: each rail has a rule and a table of its own (source routing)."
    )
    show("ip -brief addr                 # in pod A", pod.ip("-brief", "addr"))
    show("ip rule                        # in pod A", pod.ip("rule"))
    show("ip route show table 100        # in pod A", pod.ip("route", "show", "table", "100"))
    return pod


def attach_through_podman(node):
    step(
        "Pod B, attached by podman",
        "podman finds network rail1 in its CNI directory and makes the very same call. Nobody else has to know Spur.",
    )
    peer.write(f"{node.networks}/rail1.conflist", peer.conflist("rail1", {
        k: v for k, v in node.netconf(1).items() if k not in ("cniVersion", "name")}))
    node.detached("pod-b", "--network=rail1")
    show("podman run --detach --name pod-b --network rail1 busybox sleep 1000", "")
    seen = node.podman("exec", "pod-b", "ip", "addr", "show", "eth0")
    show("podman exec pod-b ip addr show eth0", seen)
    return podman.address_of(node.see("pod-b"), "eth0").split("/")[0]


def main():
    peer.need(podman.PODMAN)
    with kept(Demo()) as node:
        step(
            "A node with two rails",
            "Each rail is a network device that a pod will get for itself: here one end of a veth pair, on a real "
            "node a virtual function of a NIC. Each far end is on a bridge, which plays the switch of that rail.",
        )
        show("ip -brief link                 # on the node", node.net.ip("-brief", "link"))

        step(
            "The node's ledger",
            "spur-ipamd knows which pod has which device and which address. It writes that to disk before anything "
            "changes, so that everything can be undone, whoever crashes.",
        )
        node.daemon(pools=[POOL])
        show("spur-ipamd --config ipamd.json &", "")
        node.spurctl_table("pools")
        before = node.snapshot()

        pod = attach_by_hand(node)
        address = attach_through_podman(node)

        step("They reach each other", "From pod A on rail0 to pod B on rail1, through the gateways of both.")
        mine = pod.addresses("net1")[0].split("/")[0]
        show(f"ping -c 2 -I {mine} {address}   # in pod A", pod.sh("ping", "-c", "2", "-i", "0.2", "-I", mine, address))

        step("What the node knows", "The daemon's records, as an operator sees them.")
        node.spurctl_table("attachments")

        step("Both go", "DEL is the opposite of ADD. The record says how each device was.")
        node.spur("DEL", pod, node.netconf(0))
        node.podman("rm", "--force", "--time", "0", "pod-b")
        show("podman rm --force pod-b", "")

        step("Everything is as before", "The devices are back on the node under their own names; the ledger is empty.")
        show("ip -brief link                 # on the node", node.net.ip("-brief", "link"))
        node.spurctl_table("attachments")
        lab.same(before, node.snapshot())
        tell("Compared with the start: links, addresses, routes, rules and ledger are the same.")


sys.exit(perform(main, lab.BUILD))
