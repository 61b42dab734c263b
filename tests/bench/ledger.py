#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of the ledger in docs/performance.md.

    ledger.py [ROW…] [--write]     ROW: see ROWS below (default: all)

Ratios within one run: the two sides take turns (A B A B …), a round gives one ratio, the figure is
the median of the rounds. The floor of a durable change is the daemon's own puts and deletes,
recorded on a copy of its store (puts.c) and committed again by LMDB alone on another (replay.c).
--write puts the table into docs/performance.md.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import run
from run import Figure, bench_program, lab

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

    def __init__(self, filled=0, boot_id=None):
        super().__init__("ledger")
        self.disk = tempfile.mkdtemp(prefix="spur-ledger-", dir=disk())
        self.state = os.path.join(self.disk, "state")
        self.target = self.pod("pod")
        self.net.ip("netns", "set", self.target.name, "1")
        self.fill(filled, boot_id or read("/proc/sys/kernel/random/boot_id").strip())

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
        return self.daemon(pools=pools, state=state or self.state, **kw)

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


def disk():
    """A directory on a disk: what is durable in memory costs nothing."""
    for path in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/var/lib"):
        if path and lab.run("stat", "-f", "-c", "%T", path).strip() != "tmpfs":
            return path
    return lab.skip("a file system that is not a tmpfs")


class Floor:
    """Bare commits of what the daemon puts for the cycles of one client, on a copy of its store."""

    def __init__(self, node, cycles):
        self.dir, puts, recorded = (os.path.join(node.disk, name) for name in ("floor", "puts", "recorded"))
        for path in (self.dir, recorded):
            shutil.copytree(node.state, path)
        node.serve(recorded, env={"LD_PRELOAD": os.path.join(lab.BIN, "bench", "puts.so"), "SPUR_PUTS": puts})
        node.load(1, cycles, 10 * MANY)
        node.stop()
        shutil.rmtree(recorded)
        self.process = subprocess.Popen([bench_program("replay"), self.dir, puts], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        node.processes.append(self.process)

    def turn(self, cycles):
        """As many commits as that many cycles make."""
        self.process.stdin.write(f"{2 * cycles}\n")
        self.process.stdin.flush()
        return costs(self.process.stdout.readline())


class Pairs:
    """Two sides in turns; a figure is the median of the rounds' ratios."""

    def __init__(self, ours, theirs):
        ours(), theirs()  # warm
        self.rounds = [(ours(), theirs()) for _ in range(ROUNDS)]

    def ratios(self, what, of=None):
        return [a[what] / b[of or what] for a, b in self.rounds]

    def figure(self, text, target, what, unit=1e3, name="µs", **kw):
        ratios = self.ratios(what, **kw)
        ours, theirs = (middle_of(r[i][what] for r in self.rounds) / unit for i in (0, 1))
        return Figure(text, target, middle_of(ratios), " ×",
                      f"{ours:.0f} against {theirs:.0f} {name}; rounds {min(ratios):.2f}–{max(ratios):.2f}")


class Numbers:
    """Containers that nobody has had."""

    def __init__(self):
        self.next = 20 * MANY

    def take(self, count):
        self.next += count
        return self.next - count


# -- the rows


def versus_floor(filled, cycles):
    with Ledger(filled) as node:
        numbers, floor = Numbers(), Floor(node, cycles * (ROUNDS + 1))
        node.serve()
        return Pairs(lambda: node.load(1, cycles, numbers.take(cycles)), lambda: floor.turn(cycles))


def cycle():
    """Reserve and release in the daemon against two bare commits."""
    pairs = versus_floor(0, 200)
    yield pairs.figure("CPU of reserve and release, against two bare commits", 1.5, "cpu", 200e3)


def population():
    """The same beside many records."""
    pairs = versus_floor(MANY, 200)
    yield pairs.figure(f"reserve beside {MANY} records, p50 against a bare commit", 1.3, "p50")


ROWS = {row.__name__: row for row in (cycle, population)}


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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
