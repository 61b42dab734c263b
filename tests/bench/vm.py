#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/performance.md that need a VF with an RDMA device: taken in a VM of tests/vm.

    vm.py [exact|all] [--write] [-k KERNEL]    out here (./dev bench vm)
    vm.py guest exact|all                      in there

What is timed runs in turns: spur's ADD and DEL, then the same kernel operations by vm_floor.c, on the
same VF and the same pod. "exact" is counted, not timed; exit 1: one of those misses its target.
"""

import collections
import json
import os
import shutil
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), HERE]
import guest  # noqa: E402 (the line above finds these)
import lab  # noqa: E402
import run as bench  # noqa: E402
import strace  # noqa: E402
import vm  # noqa: E402

TURNS = 25
MARKS = ("<!-- figures in the VM: written by ./dev bench vm --write -->\n", "<!-- end of figures in the VM -->\n")
POOL = {"name": "train", "cooldown_s": 0, "rails": [
    {"name": "rail0", "cidr": "10.64.0.0/16", "gatewayIndex": 1, "routes": [{"dst": "0.0.0.0/0"}]}]}


# -- in the VM


class Node(guest.Node):
    """The VM with one pod, and a PF of seven VFs, one of which has an RDMA device."""

    def __init__(self):
        guest.load_rdma()
        self.pf = guest.pfs()[0]
        self.vf = self.pf.make_vfs(7)[0]
        self.vf.soft_roce("rdma0")
        super().__init__("bench")
        self.target = self.pod("pod", container="bench" + "0" * 59)
        self.daemon(pools=[POOL])
        lab.wait_for(lambda: len(self.rpc("device.list")["devices"]) == 7, 20, "VFs read")

    def conf(self):
        """What vm_floor.c does. Nobody waits for a carrier: that is the NIC's time, not ours."""
        conf = lab.netconf(deviceID=self.vf.pci, pool="train", rdma="required", vlan=7, trust="on",
                           ready={"timeout_ms": 0})
        return {**conf, "socket": self.socket}

    def steps(self):
        parent = os.path.join(self.dir, "steps")
        os.mkdir(parent)
        return [bench.Step(parent, verb, [lab.program("spur")], self.env(verb, self.target),
                           json.dumps(self.conf()), self.ipamd) for verb in ("ADD", "DEL")]

    def floor(self):
        """One attachment and its end by the kernel alone: ns by the name of the operation."""
        index = next(d["ifindex"] for d in json.loads(lab.run("rdma", "-j", "dev")) if d["ifname"] == "rdma0")
        words = lab.run(bench.bench_program("vm_floor"), self.target.path, self.pf.netdev(), str(self.vf.index),
                        self.vf.netdev(), "net1", "10.64.0.2", "16", "10.64.0.1", str(index)).split()
        return dict(zip(words[::2], map(int, words[1::2])))


    def by_hand(self):
        """The same by ip and rdma: the steps of an attachment, and what ends it."""
        device, pod, parent = self.vf.netdev(), self.target.name, os.path.join(self.dir, "hand")
        os.mkdir(parent)
        lab.run("ip", "netns", "attach", "host", "1")
        pf, number = self.pf.netdev(), self.vf.index
        host = (f"link set {pf} vf {number} vlan 7\nlink set {pf} vf {number} trust on\n"
                f"link set {device} netns {pod} name net1\n")
        inside = "addr add 10.64.0.2/16 dev net1\nlink set net1 up\nroute add default via 10.64.0.1\n"
        words = [(["ip", "-batch", "-"], host), (["rdma", "dev", "set", "rdma0", "netns", pod], ""),
                 (["ip", "-n", pod, "-batch", "-"], inside)]
        steps = [bench.Step(parent, str(i), [shutil.which(argv[0]), *argv[1:]], {}, text)
                 for i, (argv, text) in enumerate(words)]

        def end():
            guest.within(self.target, "rdma", "dev", "set", "rdma0", "netns", "host")
            self.target.ip("link", "set", "net1", "netns", "1", "name", device)
            lab.run("ip", "link", "set", pf, "vf", str(number), "vlan", "0", "trust", "off")
        return steps, end


def timed(node):
    steps, floors, hand = node.steps(), [], []
    tools, end = node.by_hand()
    for _ in range(TURNS):
        bench.drive(node, 1, steps)
        floors.append(node.floor())
        hand.append(sum(costs[0]["wall"] for costs in bench.drive(node, 1, tools)))
        end()
    add, delete = (statistics.median(run["wall"] for run in step.runs) for step in steps)
    kernel = {what: statistics.median(f[what] for f in floors) for what in floors[0]}
    parts = ", ".join(f"{what} {ns / 1e6:.1f}" for what, ns in kernel.items() if what not in ("ADD", "DEL"))
    yield bench.Figure("wall of ADD against `ip -batch`, `rdma` and `ip -batch`", 1.1,
                       add / statistics.median(hand), " ×",
                       f"{add / 1e6:.1f} against {statistics.median(hand) / 1e6:.1f} ms")
    yield bench.Figure("share of ADD outside kernel operations", 10, 100 * (add - kernel["ADD"]) / add, " %",
                       f"{add / 1e6:.1f} against {kernel['ADD'] / 1e6:.1f} ms ({parts})")
    yield bench.Figure("share of DEL outside kernel operations", 10, 100 * (delete - kernel["DEL"]) / delete, " %",
                       f"{delete / 1e6:.1f} against {kernel['DEL'] / 1e6:.1f} ms")


def netlink_of(calls):
    """(protocol, type, body) of each message that was sent. Those of RDMA have a client's number on top."""
    for call in calls:
        if call.sends("NETLINK"):
            for kind, body in strace.netlink_messages(call.data):
                yield "rdma" if kind >> 10 else "route", kind, body


def vf_lists(calls):
    links = (strace.RTM_NEWLINK, strace.RTM_GETLINK, strace.RTM_SETLINK)
    return sum(1 for protocol, kind, body in netlink_of(calls)
               if protocol == "route" and kind in links and strace.link_asks_for_vfs(body))


def exact(node):
    traces = {}
    for verb in ("ADD", "DEL"):
        traces[verb] = strace.Trace(node, lab.program("spur"), node.env(verb, node.target), json.dumps(node.conf()))
        counts = collections.Counter(protocol for protocol, _, _ in netlink_of(traces[verb].program))
        yield bench.Figure(f"netlink messages of {verb}", 20, sum(counts.values()),
                           note=", ".join(f"{n} {protocol}" for protocol, n in sorted(counts.items())))
    lists = sum(vf_lists(trace.program) for trace in traces.values())
    yield bench.Figure("VF lists asked for in ADD and DEL", 0, lists,
                       note=f"by the daemon meanwhile: {sum(vf_lists(t.daemon) for t in traces.values())}")


def in_guest(groups):
    figures = []
    with Node() as node:
        for group in groups:
            figures += globals()[group](node)
    text = bench.circumstances() + bench.markdown(figures)
    print(text, end="")
    with open("/run/lab/figures", "w", encoding="utf-8") as f:
        f.write(text)
    return 1 if groups == ["exact"] and not all(f.reached for f in figures) else 0


# -- out here


def write(text):
    with open(bench.DOCUMENT, encoding="utf-8") as f:
        before, _, rest = f.read().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    with open(bench.DOCUMENT, "w", encoding="utf-8") as f:
        f.write(before + MARKS[0] + text + MARKS[1] + after)


def main(argv):
    kernel = argv[argv.index("-k") + 1] if "-k" in argv else "6.12"
    group = "exact" if "exact" in argv else "all"
    why = vm.why_not(kernel)
    if why:
        lab.skip(why)
    lab.need()
    command = f"/usr/bin/python3 {os.path.abspath(__file__)} guest {group}"
    with vm.boot(command, kernel=kernel, mode="exclusive", echo=True) as machine:
        result = machine.wait(300)
        if "--write" in argv and result.status == 0:
            write(machine.read("figures"))
    return vm.report(result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["guest"]:
        sys.exit(in_guest(["exact"] if sys.argv[2] == "exact" else ["timed", "exact"]))
    sys.exit(main(sys.argv[1:]))
