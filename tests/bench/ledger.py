#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of the ledger in docs/performance.md.

    ledger.py [ROW…] [--write]     ROW: see ROWS below (default: all)

Ratios within one run: the two sides take turns (A B A B …), a round gives one ratio, the figure is
the median of the rounds. The floor of a durable change is the daemon's own puts and deletes,
recorded on a copy of its store (puts.c) and committed again by LMDB alone on another (replay.c).
--write puts the table into docs/performance.md.
Exit 1: a figure of the row "exact" alone misses its target (those do not depend on the machine's mood).
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import unittest.mock

import run
from run import ANY, Figure, bench_program, lab
import daemon_vf

ROUNDS = 7
MANY = 60000
MARKS = ("<!-- figures of the ledger: written by ./dev bench ledger --write -->\n",
         "<!-- end of the ledger's figures -->\n")
MARK, GENERATION = "@" * 16, 10**18  # mark.h, load.c
POOL = {"name": "train", "cooldown_s": 1, "rails": [
    {"name": "rail0", "cidr": "10.0.0.0/10", "gatewayIndex": 1, "routes": [{"dst": "0.0.0.0/0"}]}]}


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def middle_of(values):
    return statistics.median(values)


class Ledger(lab.Node):
    """A node whose store lies on a disk, and a pod that all attachments name as theirs."""

    def __init__(self, filled=0):
        super().__init__("ledger")
        self.disk = tempfile.mkdtemp(prefix="spur-ledger-", dir=disk())
        self.state = os.path.join(self.disk, "state")
        self.log = os.devnull  # it is written as ever; what a file system takes for it is not the daemon's
        self.target = self.pod("pod")
        self.net.ip("netns", "set", self.target.name, "1")
        self.fill(filled, this_boot())

    def close(self):
        super().close()
        shutil.rmtree(self.disk, ignore_errors=True)

    def params(self):
        """Of attachment.reserve, as spur-ipam sends them."""
        env = self.env("ADD", self.target, args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE=train;K8S_POD_NAME=w-{MARK}",
                       CNI_CONTAINERID=MARK * 4, CNI_PATH="/opt/cni/bin", PATH=None)
        return {
            "network": "rail0", "containerID": MARK * 4, "ifname": "net1",
            "pod": {"namespace": "train", "name": f"w-{MARK}", "uid": f"{MARK}-4f1c-9a55"},
            "netns": {"path": self.target.path, "cookie": self.cookie(), "nsid": 1},
            "request": {"program": "spur-ipam", "env": env, "netconf": {
                "cniVersion": "1.0.0", "name": "rail0", "type": "macvlan", "master": "ens1f0", "mode": "bridge",
                "ipam": {"type": "spur-ipam", "pool": "train"}, "socket": self.socket}},
            "pool": "train", "deadline": 10**15,
        }

    def cookie(self):
        code = "import socket; print(int.from_bytes(socket.socket().getsockopt(socket.SOL_SOCKET, 71, 8), 'little'))"
        return int(self.target.sh("/usr/bin/python3", "-c", code))

    def fill(self, count, boot_id):
        text = json.dumps({"pools": [POOL], "params": self.params()})
        lab.run(bench_program("fill"), self.state, boot_id, str(count), input=text)

    def serve(self, state=None, pools=(POOL,), **kw):
        return self.daemon(pools=pools, state=state or self.state, options=["--new-ledger"] if state else [], **kw)

    def lines(self):
        release = {"network": "rail0", "containerID": MARK * 4, "ifname": "net1", "generation": GENERATION,
                   "left": True, "restored": True}
        return "".join(json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"attachment.{verb}", "params": params}) + "\n"
                       for verb, params in (("reserve", self.params()), ("release", release)))

    def load(self, clients, cycles, first, each=False):
        """Cycles of reserve and release; from number @first on, which nobody may have had."""
        out = lab.run(bench_program("load"), self.socket, str(self.ipamd.pid), str(clients), str(cycles), str(first),
                      *(["each"] if each else []), input=self.lines())
        return costs(out)


def costs(line):
    wall, cpu, p50, p99 = map(int, line.split())
    return {"wall": wall, "cpu": cpu, "p50": p50, "p99": p99}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def this_boot():
    return read("/proc/sys/kernel/random/boot_id").strip()


def disk():
    """A directory on a disk: what is durable in memory costs nothing."""
    for path in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/var/lib"):
        if path and lab.run("stat", "-f", "-c", "%T", path).strip() != "tmpfs":
            return path
    return lab.skip("a file system that is not a tmpfs")


class Floor:
    """Bare commits of what the daemon puts for the cycles of one client, on a copy of its store."""

    def __init__(self, node, cycles):
        self.dir, self.puts, twin = (os.path.join(node.disk, name) for name in ("floor", "puts", "twin"))
        for path in (self.dir, twin):
            shutil.copytree(node.state, path)
        node.serve(twin, env={"LD_PRELOAD": os.path.join(lab.BIN, "bench", "puts.so"), "SPUR_PUTS": self.puts})
        node.load(1, cycles, 10 * MANY)
        node.stop()
        shutil.rmtree(twin)
        self.process = subprocess.Popen([bench_program("replay"), self.dir, self.puts], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        node.processes.append(self.process)

    def turn(self, cycles):
        """As many commits as that many cycles make."""
        self.process.stdin.write(f"{2 * cycles}\n")
        self.process.stdin.flush()
        return costs(self.process.stdout.readline())


class Pairs:
    """Two sides in turns; a figure is the median of the rounds' ratios."""

    def __init__(self, ours, theirs, rounds=ROUNDS):
        ours(), theirs()  # warm
        self.rounds = [(ours(), theirs()) for _ in range(rounds)]

    def figure(self, text, target, what, unit=1e3, name="µs", least=0):
        """At most @target, or at least @least."""
        ratios = [a[what] / b[what] for a, b in self.rounds]
        ours, theirs = (middle_of(r[i][what] for r in self.rounds) / unit for i in (0, 1))
        return Figure(text, target, middle_of(ratios), " ×",
                      f"{ours:.4g} against {theirs:.4g} {name}; rounds {min(ratios):.3g}–{max(ratios):.3g}", least)


class Numbers:
    """Containers that nobody has had."""

    def __init__(self):
        self.next = 20 * MANY

    def take(self, count):
        self.next += count
        return self.next - count


# -- the rows


def versus_floor(filled, cycles=100, rounds=15):
    """Short rounds and many: what else the machine does meanwhile then meets both sides."""
    with Ledger(filled) as node:
        numbers, floor = Numbers(), Floor(node, cycles * (rounds + 1))
        node.serve()
        return Pairs(lambda: node.load(1, cycles, numbers.take(cycles)), lambda: floor.turn(cycles), rounds)


def cycle():
    """Reserve and release in the daemon against two bare commits."""
    pairs = versus_floor(0)
    yield pairs.figure("CPU of reserve and release, against two bare commits", 1.5, "cpu", 100e3)


def population():
    """The same beside many records."""
    pairs = versus_floor(MANY)
    yield pairs.figure(f"reserve beside {MANY} records, p50 against a bare commit", 1.3, "p50")


def crowd():
    """64 clients against one, and against a bare commit."""
    few, many = 200, 3200
    with Ledger() as node:
        numbers, floor = Numbers(), Floor(node, few * (ROUNDS + 1))
        node.serve()
        for each, words in ((False, "persistent"), (True, "connect-each")):
            def clients(count, cycles, each=each):
                cost = node.load(count, cycles, numbers.take(cycles), each)
                return {**cost, "rate": cycles / cost["wall"] * 1e9}
            pairs = Pairs(lambda: clients(64, many), lambda: clients(1, few))
            yield pairs.figure(f"reserves a second of 64 clients, {words}, against one client", ANY, "rate", 1, "a second",
                               least=6)
        pairs = Pairs(lambda: node.load(64, many, numbers.take(many)), lambda: floor.turn(few))
        yield pairs.figure("64 clients: p50 of a reserve against a bare commit", 12, "p50")


# -- a pod of eight rails


RAILS, VFS = 8, 8


class Rails(Ledger):
    """Eight PFs with eight VFs each in a /sys of the daemon's own; their netdevs are veths."""

    pf, function, vf = staticmethod(daemon_vf.Node.pf), daemon_vf.Node.function, daemon_vf.Node.vf

    def __init__(self):
        super().__init__()
        self.sys = f"{self.dir}/sys"
        self.pci = f"{self.sys}/bus/pci/devices"
        for path in (self.pci, f"{self.sys}/class/infiniband_verbs"):
            os.makedirs(path)
        for pf in range(RAILS):
            self.rail(f"pf{pf}", mtu=9000)
            self.function(self.pf(pf), f"pf{pf}", "mlx5_core", sriov_numvfs=0)
            for vf in range(VFS):
                self.vf(pf, vf)
                verbs = f"{self.sys}/class/infiniband/mlx5_{pf}{vf}/device/infiniband_verbs"
                os.makedirs(verbs)
                os.symlink(f"{self.sys}/class/infiniband_verbs/uverbs{pf}{vf}", f"{verbs}/uverbs{pf}{vf}")

    def serve(self, state=None, **kw):
        program = f"{self.dir}/spur-ipamd"
        with open(program, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {self.sys} /sys && exec \"$@\"' sh "
                    f"{lab.program('spur-ipamd')} \"$@\"\n")
        os.chmod(program, 0o755)
        rails = [{"name": f"rail{i}", "cidr": f"10.{i}.0.0/16", "gatewayIndex": 1, "match": {"pf": [f"pf{i}"]}}
                 for i in range(RAILS)]
        with unittest.mock.patch.dict(os.environ, SPUR_IPAMD_BIN=program):
            super().serve(state, pools=[{"name": "train", "cooldown_s": 1, "rails": rails}], **kw)
        lab.wait_for(lambda: self.free() == RAILS * VFS, what="all VFs are free")

    def free(self):
        free, after = 0, 0
        while True:
            page = self.rpc("device.list", after=after)
            free, after = free + sum(d["state"] == "free" for d in page["devices"]), page["next"]
            if not after:
                return free

    def params(self):
        return {**super().params(), "rail": "rail0", "chooseDevice": True, "claim": ["*"]}


def rails():
    """The first reserve of a pod with eight rails and their VFs, against a bare commit."""
    cycles = 50
    with Rails() as node:
        numbers, floor = Numbers(), Floor(node, cycles * (ROUNDS + 1))
        node.serve()
        pairs = Pairs(lambda: node.load(1, cycles, numbers.take(cycles)), lambda: floor.turn(cycles))
    yield pairs.figure("reserve of 8 rails and VFs, p50 against a bare commit", 1.5, "p50")


# -- beside host-local


def host_local(node, held):
    """Its configuration, with so many addresses held in a store of its own."""
    data = os.path.join(node.disk, "host-local")
    store = os.path.join(data, "peer")
    os.makedirs(store)
    for i in range(held):
        with open(f"{store}/10.{i >> 16}.{i >> 8 & 255}.{i & 255}", "w", encoding="ascii") as f:
            f.write(f"{hex(i)[2:]:0>64}\r\neth0")
    if held:
        with open(f"{store}/last_reserved_ip.0", "w", encoding="ascii") as f:
            f.write(f"10.0.{held - 1 >> 8}.{held - 1 & 255}")
    return {"cniVersion": "1.0.0", "name": "peer", "type": "macvlan", "master": "ens1f0", "ipam": {
        "type": "host-local", "dataDir": data, "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": "10.0.0.0/10", "gateway": "10.63.255.254"}]]}}


def steps(node, held, container="bench" + "0" * 59):
    """ADD and DEL of spur-ipam and of host-local, beside as many addresses."""
    path = os.path.join(node.dir, "steps")
    os.mkdir(path)

    def step(name, program, verb, conf, daemon=None):
        env = node.env(verb, node.target, args="IgnoreUnknown=1", CNI_CONTAINERID=container)
        return run.Step(path, f"{name}-{verb}", [program], env, json.dumps(conf), daemon)

    conf = {**node.params()["request"]["netconf"],
            "ipam": {"type": "spur-ipam", "pool": "train", "socket": node.socket}}
    peer = host_local(node, held)
    return ([step("spur", lab.program("spur-ipam"), verb, conf, node.ipamd) for verb in ("ADD", "DEL")],
            [step("peer", lab.plugin("host-local"), verb, peer) for verb in ("ADD", "DEL")])


def plugin():
    """ADD and DEL of spur-ipam against host-local's: CPU, the daemon's with it."""
    for held, least, count in ((0, 2.5, 20), (1000, 10, 10), (10000, 80, 2)):
        with Ledger(held) as node:
            node.serve()
            ours, theirs = steps(node, held)

            def cost(sides, count=count, node=node):
                return {"cpu": sum(run.middle(runs, "cpu") for runs in run.drive(node, count, sides))}
            pairs = Pairs(lambda: cost(theirs), lambda: cost(ours))
            figure = pairs.figure(f"CPU of host-local's ADD and DEL against spur-ipam's, {held} addresses held", ANY,
                                  "cpu", 1e6, "ms", least)
            empty = run.Step(node.dir, "empty", [bench_program("empty")])
            figure.note += f"; two empty programs: {2 * run.middle(run.drive(node, 40, [empty])[0], 'cpu') / 1e6:.2f} ms"
            yield figure


def burst():
    """100 ADDs, 32 at a time, against host-local's."""
    for held, least in ((0, 1.5), (10000, 20)):
        with Ledger(held) as node:
            node.serve()
            numbers, (ours, theirs) = Numbers(), steps(node, held, MARK * 4)

            def wall(sides, node=node, numbers=numbers):
                first = str(numbers.take(100))
                cost = int(node.net.sh(bench_program("fan"), sides[0].dir, "100", "32", first))
                node.net.sh(bench_program("fan"), sides[1].dir, "100", "32", first)
                return {"wall": cost}
            pairs = Pairs(lambda: wall(theirs), lambda: wall(ours), ROUNDS if held < 1000 else 3)
            yield pairs.figure(f"100 of host-local's ADDs, 32 at a time, against spur-ipam's, {held} addresses held",
                               ANY, "wall", 1e6, "ms", least)


# -- many records


def memory():
    """Anonymous memory beside many records."""
    with Ledger(MANY) as node:
        node.serve()
        node.load(64, 6400, Numbers().take(6400), each=True)
        node.rpc("node.reconcile", timeout=60)
        status = dict(line.split(":", 1) for line in read(f"/proc/{node.ipamd.pid}/status").splitlines())
        yield Figure(f"anonymous memory with {MANY} records", 16.0, int(status["RssAnon"].split()[0]) / 1024, " MB",
                     "after 6400 cycles of 64 clients and a pass of reconcile")


def settle(path, cold):
    """Lets a copy reach the disk, or the first commit would pay for it; cold: and leave the memory."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        if cold:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def start_once(node):
    """From the start of the daemon to its first answer to a reserve, in ms."""
    request = node.lines().splitlines()[0].replace(MARK, os.urandom(8).hex()).encode() + b"\n"
    out = open(node.log, "ab")
    begun = time.monotonic()
    node.ipamd = subprocess.Popen([lab.program("spur-ipamd"), "--config", node.config], stdout=out, stderr=out)
    with socket.socket(socket.AF_UNIX) as s:
        while s.connect_ex(node.socket) != 0:
            assert node.ipamd.poll() is None and time.monotonic() < begun + 60
            time.sleep(0.0005)
        s.sendall(request)
        answer = s.makefile("rb").readline()
    took = time.monotonic() - begun
    out.close()
    assert b'"result"' in answer, answer
    return took * 1e3


def start():
    """From the start to the first answer, beside many records."""
    for words, boot_id, cold in (("a crash", this_boot(), False), ("a reboot", "another-boot", False),
                                 ("a reboot, nothing of the store in memory", "another-boot", True)):
        with Ledger() as node:
            node.serve()
            node.stop()
            kept, took = f"{node.disk}/kept", []
            shutil.rmtree(node.state)
            node.fill(MANY, boot_id)
            os.rename(node.state, kept)
            for _ in range(ROUNDS):
                shutil.copytree(kept, node.state)
                settle(f"{node.state}/data.mdb", cold)
                took.append(start_once(node))
                node.stop(signal.SIGKILL)
                shutil.rmtree(node.state)
            yield Figure(f"start to first answer after {words}, {MANY} records", 50.0, middle_of(took), " ms",
                         f"{min(took):.0f}–{max(took):.0f} ms")


def growth():
    """The store after many cycles."""
    with Ledger() as node:
        numbers = Numbers()
        node.serve()

        def size(cycles):
            for _ in range(cycles // 20000):
                node.load(64, 20000, numbers.take(20000), each=True)
            return os.stat(f"{node.state}/data.mdb").st_blocks * 512 / 1e6
        early, late = size(20000), size(180000)
        yield Figure("store after 200,000 cycles against after 20,000", 1.1, late / early, " ×",
                     f"{late:.1f} against {early:.1f} MB")


def hostile():
    """A good client among 200 hostile connections."""
    with Ledger() as node:
        numbers = Numbers()
        node.serve()

        def beset():
            others = subprocess.Popen([bench_program("hostile"), node.socket, "200"])
            node.processes.append(others)
            time.sleep(0.5)  # until all have come
            try:
                return node.load(1, 500, numbers.take(500))
            finally:
                others.kill()
                others.wait()
        pairs = Pairs(beset, lambda: node.load(1, 500, numbers.take(500)))
        yield pairs.figure("p99 of a reserve among 200 hostile connections, against without", 3, "p99")


# -- what is counted: the same on every machine, and a test


def recorded(path):
    """The transactions of a recording (recording.h), each a list of (kind, table)."""
    text, at, tables, now = open(path, "rb").read(), 0, {}, []
    while at < len(text):
        kind, dbi, _, key_len, value_len = struct.unpack_from("=5I", text, at)
        at += 20
        if chr(kind) == "T":
            tables[dbi] = text[at:at + key_len - 1].decode()
        elif chr(kind) == "C":
            yield now
            now = []
        else:
            now.append((chr(kind), tables[dbi]))
        at += key_len + value_len


def exact():
    """Commits, puts and deletes of a reserve and a release."""
    cycles = 10
    with Ledger() as node:
        floor = Floor(node, cycles)
        changes = [c for c in recorded(floor.puts) if any(table == "record" for _, table in c)]
    yield Figure("durable commits of a reserve and its release", 2, len(changes) / cycles, least=2)
    for kind, words, most in (("P", "a reserve", 9), ("D", "its release", 12)):
        commits = [c for c in changes if (kind, "record") in c]
        yield Figure(f"puts and deletes of {words}", most, max(map(len, commits)),
                     note=", ".join(sorted({table for _, table in commits[-1]})))


ROWS = {row.__name__: row for row in (cycle, population, rails, crowd, plugin, burst, memory, start, growth, hostile, exact)}


def main(argv):
    rows = [a for a in argv if a != "--write"] or list(ROWS)
    if any(r not in ROWS for r in rows):
        sys.exit(__doc__ + "".join(f"\n    {name:12} {row.__doc__}" for name, row in ROWS.items()))
    lab.need()
    figures = []
    for name in rows:
        begun = time.monotonic()
        for figure in ROWS[name]():
            figures.append(figure)
            say(" | ".join(figure.row()))
        say(f"{name}: {time.monotonic() - begun:.0f} s")
    text = run.circumstances() + run.markdown(figures)
    print(text, end="")
    if "--write" in argv:
        run.write(text, MARKS)
    return 0 if all(f.reached for f in figures) or rows != ["exact"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
