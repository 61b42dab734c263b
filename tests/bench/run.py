#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/performance.md.

    run.py [GROUP…] [--write]      GROUP: peers floor start carrier exact (default: all)
    run.py hostile                     beside and after a hostile pod; takes some minutes
    SPUR_EARLIER=DIR run.py earlier    against another build of Spur, in DIR

Times are ratios: the two sides run in turns (A B A B …) on the same device and the same pod, a round
gives the ratio of their medians, and the figure is the median of 7 rounds. CPU is that of the
program, of all it waited for, and of its daemon. --write puts the table into docs/performance.md.
Exit 1: a figure of the group "exact" misses its target (those do not depend on the machine's mood).
"""

import contextlib
import datetime
import os
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "netns")]
import lab
import strace

ROUNDS = 7
GROUPS = ("peers", "floor", "start", "carrier", "exact")
MORE_GROUPS = ("hostile",)
EARLIER = os.environ.get("SPUR_EARLIER", "")
DOCUMENT = os.path.join(lab.ROOT, "docs", "performance.md")
MARKS = ("<!-- figures: written by ./dev bench --write -->\n", "<!-- end of figures -->\n")
PEERS = os.path.join(lab.ROOT, "tests", "runtime", "peers")
DEVICE = "rail0"
POOL = {"name": "train", "rails": [{"name": "rail0", "cidr": "10.64.0.0/16", "gatewayIndex": 1,
                                    "routes": [{"dst": "0.0.0.0/0"}]}]}


def bench_program(name):
    return os.path.join(lab.BIN, "bench", name)


ANY = float("inf")


class Figure:
    """One row: a figure that must not be above its target (ANY: may), nor below its least value."""

    def __init__(self, what, target, measured, unit="", note="", least=0):
        self.what, self.target, self.measured, self.unit, self.note = what, target, measured, unit, note
        self.least = least

    @property
    def reached(self):
        return self.least <= self.measured <= self.target

    def row(self):
        number = f"{self.measured:.2f}" if isinstance(self.measured, float) else str(self.measured)
        bound = "" if self.least == self.target else "≤ "
        limit = f"≥ {self.least}" if self.target == ANY else f"{bound}{self.target}"
        return (self.what, f"{limit}{self.unit}", f"{number}{self.unit}",
                "reached" if self.reached else "**missed**", self.note)


class Step:
    """What the driver runs: a program with its environment and stdin, beside a daemon."""

    def __init__(self, parent, name, argv, env=None, stdin="", daemon=None):
        self.dir = os.path.join(parent, name)
        os.mkdir(self.dir)
        texts = {
            "argv": "".join(f"{a}\0" for a in argv),
            "env": "".join(f"{k}={v}\0" for k, v in (env or {}).items()),
            "stdin": stdin,
            "daemon": str(daemon.pid) if daemon else "",
        }
        for file, text in texts.items():
            with open(os.path.join(self.dir, file), "w", encoding="utf-8") as f:
                f.write(text)
        self.runs = []


def drive(node, count, steps):
    """Runs the steps in turns, count times; returns for each step its list of costs."""
    out = node.net.sh(bench_program("driver"), str(count), *(s.dir for s in steps))
    costs = [[] for _ in steps]
    for line in out.splitlines():
        step, wall, cpu, daemon, rss = map(int, line.split())
        costs[step].append({"wall": wall, "cpu": cpu + daemon, "daemon": daemon, "rss": rss})
    for step, runs in zip(steps, costs):
        step.runs += runs
    return costs


def middle(runs, what):
    return statistics.median(r[what] for r in runs)


def tail(runs, what):
    """The 99th percentile."""
    return sorted(r[what] for r in runs)[-(-len(runs) * 99 // 100) - 1]


class Match:
    """Two lists of steps that run in turns; ratio(i, what) compares the i-th of each."""

    def __init__(self, node, ours, theirs, count):
        self.ours, self.theirs, self.rounds = ours, theirs, []
        drive(node, 3, [*ours, *theirs])  # warm
        for step in (*ours, *theirs):
            step.runs.clear()
        for _ in range(ROUNDS):
            costs = drive(node, count, [*ours, *theirs])
            self.rounds.append((costs[: len(ours)], costs[len(ours):]))

    def ratio(self, i, what, of=middle):
        return statistics.median(of(a[i], what) / of(b[i], what) for a, b in self.rounds)

    def spread(self, i, what, of=middle):
        """The lowest and highest round, and what the two sides took, in words."""
        ratios = [of(a[i], what) / of(b[i], what) for a, b in self.rounds]
        ours, theirs = of(self.ours[i].runs, what) / 1e6, of(self.theirs[i].runs, what) / 1e6
        return f"{ours:.2f} against {theirs:.2f} ms; rounds {min(ratios):.2f}–{max(ratios):.2f}"


# -- the sides


class Bench(lab.Node):
    """A node with one device to give away and one pod to give it to."""

    def __init__(self):
        super().__init__("bench")
        self.rail(DEVICE)
        self.target = self.pod("pod", container="bench" + "0" * 59)
        self.steps = os.path.join(self.dir, "steps")
        os.mkdir(self.steps)
        self.others = []

    def close(self):
        super().close()
        for path in self.others:
            lab.shutil.rmtree(path, ignore_errors=True)

    def cni_steps(self, name, program, conf, daemon=None, **env):
        text = lab.json.dumps(conf)
        return [Step(self.steps, f"{name}-{verb}", [program], self.env(verb, self.target, **env), text, daemon)
                for verb in ("ADD", "DEL")]

    def spur_conf(self):
        return {**lab.netconf(device=DEVICE, pool="train"), "socket": self.socket}

    def spur(self, name):
        if not self.ipamd:
            self.daemon(pools=[POOL])
        return self.cni_steps(name, lab.program("spur"), self.spur_conf(), self.ipamd)

    def host_device(self):
        lab.run(PEERS, "get", "debian")
        plugins = os.path.join(lab.run(PEERS, "root", "debian").strip(), "usr/lib/cni")
        conf = {
            "cniVersion": "1.0.0", "name": "peer", "type": "host-device", "device": DEVICE,
            "ipam": {"type": "host-local", "dataDir": os.path.join(self.dir, "host-local"),
                     "ranges": [[{"subnet": "10.64.0.0/16", "gateway": "10.64.0.1"}]],
                     "routes": [{"dst": "0.0.0.0/0"}]},
        }
        return self.cni_steps("peer", os.path.join(plugins, "host-device"), conf, CNI_PATH=plugins)

    def earlier(self):
        """The plugin and the daemon of another build, on the same device and pod."""
        programs = {"SPUR_BIN": os.path.join(EARLIER, "bin/spur"), "SPUR_IPAMD_BIN": os.path.join(EARLIER, "bin/spur-ipamd")}
        os.environ.update(programs)
        node = lab.Node("earlier", net=self.net)
        node.daemon(pools=[POOL])
        for name in programs:
            del os.environ[name]
        self.processes.append(node.ipamd)
        self.others.append(node.dir)
        conf = {**self.spur_conf(), "socket": node.socket}
        return self.cni_steps("earlier", programs["SPUR_BIN"], conf, node.ipamd)

    def floor(self):
        path, store = os.path.join(self.dir, "floor.sock"), os.path.join(self.dir, "floor")
        os.mkdir(store)
        server = subprocess.Popen([bench_program("floor_server"), path, store])
        self.processes.append(server)
        lab.wait_for(lambda: os.path.exists(path), what="floor_server listens")
        verbs = {"ADD": [self.target.path, DEVICE, "net1", "10.64.0.2", "16", "10.64.0.1", path],
                 "DEL": [self.target.path, DEVICE, "net1", path]}
        return [Step(self.steps, f"floor-{verb}", [bench_program("floor"), verb, *args],
                     self.env(verb, self.target), lab.json.dumps(self.spur_conf()), server)
                for verb, args in verbs.items()]


# -- the groups of figures


def peers(node):
    theirs = node.host_device()
    match = Match(node, node.spur("spur-peer"), theirs, 20)
    best = Match(node, node.floor(), theirs, 20)
    for i, verb in enumerate(("ADD", "DEL")):
        yield Figure(f"CPU of {verb} against host-device + host-local", 0.2, match.ratio(i, "cpu"), " ×",
                     f"{match.spread(i, 'cpu')}; the floor: {best.ratio(i, 'cpu'):.2f} ×")


def floor(node):
    match = Match(node, node.spur("spur-floor"), node.floor(), 40)
    daemon = middle(match.ours[0].runs, "daemon") / 1e6
    yield Figure("CPU of ADD against the floor", 1.6, match.ratio(0, "cpu"), " ×",
                 f"{match.spread(0, 'cpu')}; {daemon:.2f} ms of it the daemon")
    yield Figure("wall of ADD against the floor", 1.2, match.ratio(0, "wall"), " ×",
                 match.spread(0, "wall"))
    rss = max(run["rss"] for run in match.ours[0].runs)
    yield Figure("peak memory of ADD", 3.0, rss / 1024, " MB")


def earlier(node):
    match = Match(node, node.spur("spur-now"), node.earlier(), 60)
    for i, verb in enumerate(("ADD", "DEL")):
        yield Figure(f"CPU of {verb} against the earlier build", 1.05, match.ratio(i, "cpu"), " ×",
                     match.spread(i, "cpu"))


# What a pod can have put on its device, and into its namespace, when it is taken away.
ADDRESSES, RULES, ALTNAMES = 10000, 3000, 400


def long_names(count):
    return [f"{i:04d}-{'n' * 120}" for i in range(count)]


def batch_step(node, name, ns, lines):
    """`ip -batch` in a namespace; what is not there need not be taken away."""
    path = os.path.join(node.steps, f"{name}.batch")
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")
    script = f"nsenter --net={ns.path} ip -force -batch {path} >/dev/null 2>&1 || :"
    return Step(node.steps, name, ["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]})


def fill_step(node):
    return batch_step(node, "fill", node.target,
                      [f"addr add 10.77.{i // 250}.{i % 250 + 1}/16 dev net1" for i in range(ADDRESSES)]
                      + [f"rule add from 10.9.{i // 250}.{i % 250 + 1} lookup 7 protocol 115" for i in range(RULES)]
                      + [f"link property add dev net1 altname {name}" for name in long_names(ALTNAMES)])


def clear_steps(node):
    """What the floor brings home with the device, and the rules, which are the namespace's."""
    return [batch_step(node, "clear-home", node.net, [f"link property del dev {DEVICE} altname {n}" for n in long_names(ALTNAMES)]),
            batch_step(node, "clear-pod", node.target, ["rule flush", "rule add priority 32766 lookup main"])]


def filled(node):
    fill, clear = fill_step(node), clear_steps(node)
    ours, theirs = node.spur("spur-filled"), node.floor()
    match = Match(node, [ours[0], fill, ours[1], *clear], [theirs[0], fill, theirs[1], *clear], 1)
    yield Figure(f"wall of DEL of a pod with {ADDRESSES} addresses, {RULES} rules and {ALTNAMES} altnames, against the floor",
                 1.2, match.ratio(2, "wall"), " ×", match.spread(2, "wall"))


FLOOD = "while :; do echo link set net1 down; echo link set net1 up; echo link add f0 type dummy; echo link del f0; done"


@contextlib.contextmanager
def hostile_pod(node):
    """Beside the pod that is measured: names, uppers, addresses, a nested namespace, and link events without end."""
    node.rail("rail1")
    pod, conf = node.pod("hostile"), lab.netconf(name="hostile", device="rail1", pool="train")
    node.add(pod, conf)
    lines = [f"link property add dev net1 altname {name}" for name in long_names(ALTNAMES)]
    lines += [f"addr add 10.77.{i // 250}.{i % 250 + 1}/16 dev net1" for i in range(1000)]
    lines += [f"link add up{i} link net1 type macvlan mode bridge" for i in range(4)]
    pod.sh("ip", "-batch", "-", input="\n".join(lines) + "\n")
    enter = ["nsenter", f"--net={pod.path}"]
    flood = subprocess.Popen([*enter, "sh", "-c", f"{FLOOD} | ip -force -batch -"], start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        os.killpg(flood.pid, signal.SIGKILL)
        flood.wait()
        node.delete(pod, conf)


def beside(node):
    ours, theirs = node.spur("spur-beside"), node.floor()
    with hostile_pod(node):
        match = Match(node, ours, theirs, 100)
    yield Figure("p99 of the wall of ADD beside a hostile pod, against the floor beside it", 1.2,
                 match.ratio(0, "wall", tail), " ×", match.spread(0, "wall", tail))


def hostile(node):
    yield from filled(node)
    with Bench() as other:
        yield from beside(other)
    if EARLIER:
        with Bench() as other:
            yield from earlier(other)


def start(node):
    env = {"CNI_COMMAND": "VERSION"}
    ours = Step(node.steps, "version", [lab.program("spur")], env, '{"cniVersion":"1.0.0"}')
    theirs = Step(node.steps, "empty", [bench_program("empty")], env, '{"cniVersion":"1.0.0"}')
    match = Match(node, [ours], [theirs], 200)
    yield Figure("CPU of `spur VERSION` against an empty program", 1.4, match.ratio(0, "cpu"), " ×",
                 match.spread(0, "cpu"))


CARRIER_MS = 37


@contextlib.contextmanager
def late_carrier(node):
    """The far end of the device is down until CARRIER_MS after ADD has brought it up; yields a
    process that says when it was."""
    node.net.ip("link", "set", f"{DEVICE}p", "down")
    helper = subprocess.Popen(["nsenter", f"--net={node.net.path}", sys.executable, os.path.join(HERE, "carrier.py"),
                               node.target.path, "net1", f"{DEVICE}p", str(CARRIER_MS)], stdout=subprocess.PIPE, text=True)
    node.processes.append(helper)
    assert helper.stdout.readline() == "ready\n"
    yield helper


def waiting_conf(node):
    return {**node.spur_conf(), "ready": {"timeout_ms": 10000}}


def carrier(node):
    node.daemon(pools=[POOL])
    conf, late = waiting_conf(node), []
    for _ in range(20):
        with late_carrier(node) as helper:
            call = node.popen("ADD", node.target, conf)
            assert call.wait() == 0, node.finish(call)
            late.append((time.monotonic_ns() - int(helper.stdout.readline())) / 1e6)
            node.delete(node.target, conf)
    yield Figure(f"from a carrier that comes after {CARRIER_MS} ms to the end of ADD", 2.0, statistics.median(late), " ms",
                 f"median of {len(late)}: {min(late):.2f}–{max(late):.2f}")


def exact(node):
    """What is counted: the same on every machine."""
    stripped = os.path.join(node.dir, "stripped")
    lab.run("strip", "-o", stripped, lab.program("spur"))
    yield Figure("size of stripped `spur`", 1.7, os.path.getsize(stripped) / 1e6, " MB")
    if not node.ipamd:
        node.daemon(pools=[POOL])
    conf = lab.json.dumps(node.spur_conf())
    add = strace.Trace(node, lab.program("spur"), node.env("ADD", node.target), conf)
    delete = strace.Trace(node, lab.program("spur"), node.env("DEL", node.target), conf)
    yield Figure("system calls of ADD", 100, add.system_calls(), note=add.busiest())
    with late_carrier(node):
        late = strace.Trace(node, lab.program("spur"), node.env("ADD", node.target), lab.json.dumps(waiting_conf(node)))
    node.delete(node.target, waiting_conf(node))
    yield Figure("system calls of ADD whose carrier comes late", 100, late.system_calls(), note=late.busiest())
    node.net.ip("link", "set", f"{DEVICE}p", "down")
    never = strace.Trace(node, lab.program("spur"), node.env("ADD", node.target), conf)
    node.delete(node.target, node.spur_conf())
    yield Figure("system calls of ADD whose carrier does not come (200 ms)", 100, never.system_calls(), note=never.busiest())
    yield Figure("requests with RTEXT_FILTER_VF in ADD and DEL", 0,
                 add.vf_requests() + delete.vf_requests(),
                 note=f"of {add.netlink_requests()} + {delete.netlink_requests()} rtnetlink requests")
    yield Figure("answers awaited from the daemon in ADD", 1, add.answers(), least=1)
    yield Figure("durable commits before the result of ADD", 1, add.commits_before_result(),
                 least=1)


# -- the table


def markdown(figures):
    rows = [("figure", "target", "measured", "verdict", "")] + [("---",) * 5] + [f.row() for f in figures]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def circumstances():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((l.split(":", 1)[1].strip() for l in f if l.startswith("model name")), os.uname().machine)
    revision = lab.run("git", "-C", lab.ROOT, "describe", "--always", "--dirty", check=False).strip()
    return (f"{datetime.date.today()}, {os.cpu_count()} × {cpu}, Linux {os.uname().release}, "
            f"revision {revision or 'unknown'}, load {os.getloadavg()[0]:.1f}.\n\n")


def write(text, marks=MARKS):
    with open(DOCUMENT, encoding="utf-8") as f:
        before, _, rest = f.read().partition(marks[0])
    _, _, after = rest.partition(marks[1])
    with open(DOCUMENT, "w", encoding="utf-8") as f:
        f.write(before + marks[0] + text + marks[1] + after)


def main(argv):
    groups = [a for a in argv if a != "--write"] or GROUPS
    if any(g not in (*GROUPS, *MORE_GROUPS, *(["earlier"] if EARLIER else [])) for g in groups):
        sys.exit(__doc__)
    lab.need()
    if not os.path.exists(bench_program("driver")):
        lab.skip(bench_program("driver"))
    for tool in ("strace", "strip"):
        if not lab.shutil.which(tool):
            lab.skip(tool)
    figures = []
    for group in groups:
        with Bench() as node:
            figures += globals()[group](node)
    text = circumstances() + markdown(figures)
    print(text, end="")
    if "--write" in argv:
        write(text)
    return 0 if all(f.reached for f in figures) or "exact" not in groups else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
