# SPDX-License-Identifier: Apache-2.0
"""./dev vm demo: two containers get a VF each, with its RDMA device, and talk RDMA.

It boots a VM with two NICs that have SR-IOV, shows everything there, and powers it off.
"""

import json
import os
import shlex
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "demo"))

import test_runtime  # noqa: E402 (it also finds the next three)
import lab  # noqa: E402
import podman  # noqa: E402
import vm  # noqa: E402
from show import REPORT, kept, perform, pretty, show, step, tell, tell_failure  # noqa: E402


class Demo:
    """The node: podman in a VM, with the words that go with each command."""

    def __init__(self):
        self.node = test_runtime.Node()

    def sh(self, command):
        show(command, self.node.run("sh", "-c", command))

    def spurctl(self, command):
        show(f"spurctl {command}", self.node.run(lab.program("spurctl"), "--socket", self.node.socket, command))

    def podman(self, *argv):
        show(shlex.join(["podman", *argv]), self.node.podman(*argv))


def introduce(demo):
    step(
        "A machine with SR-IOV and RDMA",
        "Two NICs, emulated by QEMU, each with a virtual function (VF): a PCI function of its own that a pod can have "
        "for itself. Each VF has an RDMA device: soft-RoCE, which this lab taught to move between namespaces as a real "
        "NIC's does.",
    )
    demo.sh("ls -d /sys/bus/pci/devices/*/virtfn*/net/* /sys/bus/pci/devices/*/virtfn*/infiniband/*")
    demo.sh("rdma system")
    demo.sh("rdma link")


def start_daemon(demo):
    step(
        "The node's ledger",
        "spur-ipamd looks at all VFs before pods come. What it sees then is what a VF gets back when its pod has gone.",
    )
    demo.node.daemon(pools=[test_runtime.POOL])
    show("spur-ipamd --config ipamd.json &", "")
    demo.spurctl("vfs")


def attach(demo):
    step(
        "Two containers",
        "podman finds the network net0 in its CNI directory and calls spur. The device plugin of Kubernetes would have "
        "chosen the VF; here the configuration names it.",
    )
    show("cat net0.conflist", pretty(json.dumps({k: v for k, v in demo.node.vf_conf(demo.node.vfs[0]).items()
                                                 if k != "socket"})))
    for i, name in enumerate(("a", "b")):
        demo.node.detach(name, i)
        show(f"podman run --detach --name {name} --network net{i} --device /dev/infiniband/… busybox sleep 1000", "")
    tell("The VF is eth0 in the container, and the RDMA device is there. On the node both are gone.")
    demo.podman("exec", "a", "ip", "-o", "addr", "show", "eth0")
    demo.podman("exec", "a", "/usr/bin/ibv_devinfo")
    demo.sh("rdma link                       # on the node: none")
    demo.spurctl("attachments")
    demo.spurctl("vfs")


def talk(demo):
    node = demo.node
    step("RDMA between them", "A hundred messages to b and back, without its kernel, by the addresses that Spur gave.")
    mine, other = (podman.address_of(node.see(n), "eth0").split("/")[0] for n in ("a", "b"))
    pingpong = ["/usr/bin/ibv_rc_pingpong", "-n", "100", "-d"]
    server = [*pingpong, "rdma1", "-g", node.gid_index("b", "rdma1", other)]
    client = [*pingpong, "rdma0", "-g", node.gid_index("a", "rdma0", mine), other]
    demo.podman("exec", "a", "ping", "-c", "2", other)
    node.podman("exec", "--detach", "b", *server)
    show(f"podman exec b {shlex.join(server)} &", "")
    demo.podman("exec", "a", *client)


def leave(demo, before):
    step("Both go", "DEL is the opposite of ADD: the VF goes back with all that was set, and its RDMA device.")
    demo.podman("rm", "--force", "--time", "0", "a", "b")
    demo.sh("rdma link")
    demo.spurctl("vfs")
    lab.same(before, test_runtime.node_as_before(demo.node))
    tell("Compared with the start: VFs and all that is set of them, RDMA devices, links, routes and ledger are the same.")


def inside():
    demo = Demo()
    with kept(demo.node):
        introduce(demo)
        start_daemon(demo)
        before = test_runtime.node_as_before(demo.node)
        attach(demo)
        talk(demo)
        leave(demo, before)


def outside():
    why = vm.why_not("6.12")
    if why:
        print(f"SKIP: {why}")
        return vm.SKIP
    print("Booting a VM…", flush=True)
    env = {k: v for k, v in os.environ.items() if k.startswith("SPUR_") and k.endswith("_BIN")}
    if not sys.stdout.isatty():
        env["NO_COLOR"] = "1"
    result = vm.run(f"/usr/bin/python3 {__file__} inside", mode="exclusive", echo=True, env=env)
    if os.path.exists(os.path.join(result.directory, REPORT)):
        tell_failure(result.directory)
        return 1
    return vm.report(result)


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        sys.exit(perform(inside, "/run/lab", quiet=True))
    sys.exit(perform(outside, lab.BUILD))
