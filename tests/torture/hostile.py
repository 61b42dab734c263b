# SPDX-License-Identifier: Apache-2.0
"""Quiet pods beside hostile ones: real plugins, a real daemon, real namespaces.

Each quiet pod lives as a runtime would have it: ADD, CHECK, a packet to its gateway, DEL; some die with their
namespace, some ADDs are killed amid their steps. Each hostile pod is root in its own namespace and does its misdeeds
before, amid and after its own DEL, alone or with a friend's namespace; meanwhile the daemon is killed and stopped, and
local users crowd its doors. A Contradiction ends the run: a quiet pod that is not served within so many tries, whose
address or device is another's too, or that leaves anything; a hostile one that is not clean after its end; and at the
end of all, anything that is not as before.

    hostile.py          SPUR_TORTURE_SECONDS: how long (20); SPUR_SEED=N: the same misdeeds in the same order
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import lab  # noqa: E402

QUIET, HOSTILE = 2, 3
TRIES = 200  # of a call that is told to come again; so a number, not a time
END_S = 180  # for what ends by a retry: far beyond the longest pause between two
HTTP = "127.0.0.1:9469"


class Contradiction(Exception):
    pass


class Namespace:
    """One that nobody but its pod knows: no path leads to it, and it ends with its process."""

    def __init__(self, parent):
        self.process = subprocess.Popen(["nsenter", f"--net={parent.path}", "unshare", "-n", "sleep", "infinity"],
                                        stdout=subprocess.DEVNULL)
        self.path = f"/proc/{self.process.pid}/ns/net"
        lab.wait_for(lambda: self.is_own(parent), what="a namespace of its own")

    def is_own(self, parent):
        try:
            return os.stat(self.path).st_ino not in (os.stat(parent.path).st_ino, os.stat("/proc/self/ns/net").st_ino)
        except OSError:
            return False

    def close(self):
        self.process.kill()
        self.process.wait()


def inside(ns, *argv, **kw):
    """Runs it in the namespace, whatever comes of it: the device may be gone, or elsewhere, by now."""
    return subprocess.run(["nsenter", f"--net={ns.path}", *argv], capture_output=True, check=False, timeout=60, **kw)


def batch(ns, lines):
    inside(ns, "ip", "-force", "-batch", "-", input="".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


# -- misdeeds: of a pod, a friend's namespace, and a source of chance. What they start in `Misdeeds.started` is ended.


class Misdeeds:
    def __init__(self, pod, friend, rng):
        self.pod, self.friend, self.rng = pod, friend, rng
        self.started, self.nested = [], []

    def loop(self, script):
        self.started.append(subprocess.Popen(["nsenter", f"--net={self.pod.path}", "sh", "-c", script], start_new_session=True,
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def end(self):
        for p in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        for ns in self.nested:
            ns.close()

    def nest(self):
        self.nested.append(Namespace(self.pod))
        return self.nested[-1]

    def macvlan(self):
        modes = ("bridge", "private", "vepa", "source", "passthru")
        batch(self.pod, [f"link add mv{i} link net1 type macvlan mode {self.rng.choice(modes)}" for i in range(4)] +
              ["link set mv0 up"])

    def macvlan_to_a_friend(self):
        batch(self.pod, ["link add mvf link net1 type macvlan mode bridge",
                         f"link set mvf netns {self.friend.process.pid}"])

    def bridge(self):
        batch(self.pod, ["link add br0 type bridge", "link set net1 master br0", "link set br0 up"])

    def altnames(self):
        count = self.rng.choice((1, 17, 100, 480))
        batch(self.pod, [f"link property add dev net1 altname {i:03d}{'n' * 120}" for i in range(count)])

    def names_of_others(self):
        names = [f"{kind}{i}{p}" for kind in ("quiet", "hostile") for i in range(3) for p in ("", "p")]
        batch(self.pod, [f"link property add dev net1 altname {n}" for n in (*names, "br0", "lo1", "dev3")])

    def new_names(self):
        self.loop("i=0; while :; do i=$((i+1)); echo link property add dev net1 altname y$i; "
                  "echo link property add dev net1 altname quiet0; done | ip -force -batch -")

    def no_text(self):
        name = bytes(self.rng.choice(list(range(1, 9)) + list(range(0x80, 0x100))) for _ in range(9))
        batch(self.pod, [f"link property add dev net1 altname {name.decode('utf-8', 'surrogateescape')}",
                         "link set net1 down", f"link set net1 name {name.decode('utf-8', 'surrogateescape')}"])

    def rename(self):
        batch(self.pod, ["link set net1 down", f"link set net1 name {self.rng.choice(('quiet1', 'hostile1', 'eth0', 'dev7'))}"])

    def hide(self):
        batch(self.pod, [f"link set net1 netns {self.nest().process.pid}"])

    def to_a_friend(self):
        batch(self.pod, [f"link set net1 netns {self.friend.process.pid}"])

    def about(self):
        """Back and forth: another number and name each time."""
        ns = self.nest()
        self.loop(f"i=0; while :; do i=$((i+1)); ip link set net1 netns {ns.process.pid}; "
                  f"nsenter --net={ns.path} sh -c \"ip link set net1 name z$i; ip link set z$i netns $$\"; "
                  "ip link set z$i name net1; done")

    def twin(self):
        """The real one goes, and one that looks the same takes its place."""
        told = inside(self.pod, "ip", "-j", "link", "show", "dev", "net1").stdout.decode(errors="replace")
        link = next(iter(json.loads(told or "[]", strict=False)), {})  # amid DEL it may have gone
        where = self.rng.choice((f"netns {self.nest().process.pid}", "name gone"))
        batch(self.pod, [f"link set net1 down", f"link set net1 {where}",
                         f"link add net1 index {link.get('ifindex', 99)} address {link.get('address', '02:00:00:00:00:01')} type veth"])

    def many(self):
        n = self.rng.choice((100, 2000))
        batch(self.pod, [f"addr add 10.200.{i // 250}.{i % 250 + 1}/16 dev net1" for i in range(n)] +
              [f"rule add from 10.201.{i // 250}.{i % 250 + 1} lookup 9 protocol 115" for i in range(n // 4)] +
              [f"route add 10.202.{i // 250}.{i % 250}/32 dev net1" for i in range(n // 4)])

    def settings(self):
        batch(self.pod, [f"link set net1 mtu {self.rng.choice((600, 1400, 9000))}", "link set net1 promisc on", "link set net1 group 7",
                         "link set net1 alias \x1b[31mred", "link set net1 txqueuelen 3", "link set net1 arp off",
                         "link set net1 address 02:00:00:00:de:ad", "addr flush dev net1"])

    def flood(self):
        self.loop("ip link add f0 type veth peer name f1; while :; do echo link set f0 up; echo link set f0 down; done | "
                  "ip -force -batch -")

    def delete(self):
        batch(self.pod, ["link del net1"])


MISDEEDS = [n for n, f in vars(Misdeeds).items() if callable(f) and n not in ("__init__", "loop", "end", "nest")]


# -- the node


class Torture:
    def __init__(self, node, seed, seconds):
        self.node, self.seed = node, seed
        self.until = time.monotonic() + seconds
        self.counts = dict.fromkeys(("quiet pods", "hostile pods", "ends of the daemon", "asked again"), 0)
        self.failure = None
        self.lock = threading.Lock()

    def goes_on(self):
        return self.failure is None and time.monotonic() < self.until

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def conf(self, kind, i, **keys):
        return lab.netconf(name=f"{kind}{i}", device=f"{kind}{i}", pool="train", rail=f"rail-{kind}{i}",
                           logFile=f"{self.node.dir}/log-{kind}", **keys)

    def rail(self, kind, i):
        """The device, made anew if it has died with a namespace; and what it looks like."""
        name = f"{kind}{i}"

        def settled():  # the kernel ends a namespace when it gets to it, and both ends go then
            links = self.node.net.links()
            return name in links or f"{name}p" not in links

        lab.wait_for(settled, END_S, f"{name} is there, or has died")
        if name not in self.node.net.links():
            lab.wait_for(lambda: self.make_rail(name), END_S, f"{name} is made")
        return self.facts(name)

    def make_rail(self, name):
        """Not while a device on its way home has that altname: its pod may give it one more just before it leaves,
        and DEL takes that at home."""
        try:
            self.node.rail(name, bridge="br0")
        except AssertionError as why:
            if "File exists" not in str(why):
                raise
            return False
        return True

    def facts(self, name):
        """Without the count of who wants it promiscuous: after a macvlan that has gone while the device was down, the
        kernel brings it up to date when the device is up next."""
        return {k: v for k, v in lab._link_facts(self.node.net.link(name)).items() if k != "promisc"}

    def attachments(self):
        """None: the daemon is down."""
        try:
            return self.node.attachments()
        except (OSError, ValueError, lab.RpcError, AssertionError):
            return None

    def wait_gone(self, pod, who):
        """Its record goes, by a retry at most."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            found = self.attachments()
            mine = [a for a in found or () if a["containerID"] == pod.container]
            if found is not None and not mine:
                return
            time.sleep(0.05)
        raise Contradiction(f"{who}: its record stays: {mine}")

    def call(self, verb, pod, conf, **kw):
        """Until it is not told to come again."""
        for _ in range(TRIES):
            got = self.node.cni(verb, pod, conf, **kw)
            if got.returncode == 0 or got.code != 11:
                return got
            self.count("asked again")
            time.sleep(0.05)
        raise Contradiction(f"{verb} of {pod.container}: {TRIES} times in vain: {got}")

    def attach(self, pod, conf):
        """As a runtime does: after an ADD that failed a DEL, and then another container."""
        name = pod.container
        for i in range(TRIES):
            pod.container = f"{name}-{i}"
            got = self.node.cni("ADD", pod, conf)
            if got.returncode == 0:
                return got
            if got.code != 11:
                break
            self.count("asked again")
            self.call("DEL", pod, conf)
            time.sleep(0.05)
        raise Contradiction(f"ADD of a quiet pod: {got}")

    def judge_owners(self):
        seen = {}
        for a in self.attachments() or ():
            for mine in [("ip", ip["address"]) for ip in a.get("ips", ())] + [("device", a["device"]["key"])]:
                if mine in seen:
                    raise Contradiction(f"{mine} has two owners: {a} and {seen[mine]}")
                seen[mine] = a
        return seen

    # -- one life each

    def quiet_life(self, i, n, rng):
        before = self.rail("quiet", i)
        pod, conf = self.node.pod(f"q{i}-{n}"), self.conf("quiet", i)
        if lab.has_hooks() and rng.random() < 0.2:
            step = f"{rng.choice(('apply', 'done', 'print'))}:{rng.randint(1, 8)}"
            self.node.cni("ADD", pod, conf, SPUR_KILL_STEP=step)
            self.call("DEL", pod, conf)
        got = self.attach(pod, conf)
        self.judge_owners()
        check = self.call("CHECK", pod, {**conf, "prevResult": got.json})
        if check.returncode:
            raise Contradiction(f"CHECK of a quiet pod: {check}")
        own = got.json["ips"][0]["address"].split("/")[0]
        if inside(pod, "ping", "-c1", "-W20", "-I", own, f"10.{100 + i}.0.1").returncode:
            raise Contradiction(f"a quiet pod at {own} does not reach its gateway")
        dies = rng.random() < 0.2
        if dies:
            self.node.pods.remove(pod)
            pod.close()
        gone = self.call("DEL", pod, conf)
        if gone.returncode:
            raise Contradiction(f"DEL of a quiet pod: {gone}")
        self.wait_gone(pod, "a quiet pod")
        if not dies:
            after = self.facts(f"quiet{i}")
            if before != after:
                raise Contradiction(f"quiet{i} was {before}, is {after}")
            self.node.pods.remove(pod)
            pod.close()
        self.count("quiet pods")

    def hostile_life(self, i, n, rng):
        before = self.rail("hostile", i)
        pod, conf = self.node.pod(f"h{i}-{n}"), self.conf("hostile", i)
        friend = Namespace(pod)
        misdeeds = Misdeeds(pod, friend, rng)
        chosen = rng.sample(MISDEEDS, rng.choice((1, 2, 4)))
        amid = chosen[len(chosen) // 2:]
        try:
            self.call("ADD", pod, conf)
            for name in chosen[:len(chosen) // 2]:
                getattr(misdeeds, name)()
            call = self.node.popen("DEL", pod, conf)
            for name in amid:
                getattr(misdeeds, name)()
            self.node.finish(call)
            if rng.random() < 0.5:
                self.call("DEL", pod, conf)
        finally:
            misdeeds.end()
            self.node.pods.remove(pod)
            pod.close()
            friend.close()
        self.call("DEL", pod, conf)
        self.wait_gone(pod, f"a hostile pod ({', '.join(chosen)})")
        if f"hostile{i}" in self.node.net.links():
            after = self.facts(f"hostile{i}")
            if before != after:
                raise Contradiction(f"after {', '.join(chosen)}: hostile{i} was {before}, is {after}")
        self.count("hostile pods")

    # -- what goes on beside

    def trouble(self, rng):
        """The daemon is killed, or does not answer for a while."""
        while self.goes_on():
            time.sleep(rng.uniform(0.5, 4))
            if rng.random() < 0.5:
                self.node.ipamd.send_signal(signal.SIGSTOP)
                time.sleep(rng.uniform(0.1, 1))
                self.node.ipamd.send_signal(signal.SIGCONT)
            else:
                self.node.stop(signal.SIGKILL)
                self.node.start(env=self.young())
                self.count("ends of the daemon")

    def local_user(self, rng):
        """Connects to the socket, as nobody, and says things; the daemon says no."""
        while self.goes_on():
            child = os.fork()
            if child == 0:
                with contextlib.suppress(OSError):
                    os.setgid(65534)
                    os.setuid(65534)
                    for _ in range(20):
                        with socket.socket(socket.AF_UNIX) as s:
                            s.connect(self.node.socket)
                            s.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "attachment.list", "params": {}}\n' * rng.randint(1, 3))
                os._exit(0)
            os.waitpid(child, 0)
            time.sleep(0.2)

    @staticmethod
    def young():
        return {"SPUR_YOUNG_MS": "0"}

    def keep(self, live, *args):
        """One life after the other, until the end or a contradiction."""
        rng = random.Random(f"{self.seed} {live.__name__} {args}")
        n = 0
        try:
            while self.goes_on():
                n += 1
                live(*args, n, rng)
        except Exception as why:  # told by the main thread
            self.failure = self.failure or f"{why}\n{traceback.format_exc()}"

    def run(self):
        for kind, count in (("quiet", QUIET), ("hostile", HOSTILE)):
            for i in range(count):
                self.rail(kind, i)
        self.node.net.ip("addr", "add", "10.99.0.1/32", "dev", "lo")
        for i in range(QUIET):
            self.node.net.ip("addr", "add", f"10.{100 + i}.0.1/24", "dev", "br0")
        before = self.node.snapshot()
        threads = [threading.Thread(target=self.keep, args=(self.quiet_life, i)) for i in range(QUIET)]
        threads += [threading.Thread(target=self.keep, args=(self.hostile_life, i)) for i in range(HOSTILE)]
        threads += [threading.Thread(target=f, args=(random.Random(f"{self.seed} {f.__name__}"),)) for f in (self.trouble, self.local_user)]
        for t in threads:
            t.start()
        told = time.monotonic()
        while any(t.is_alive() for t in threads):
            for t in threads:
                t.join(0.2)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                print(f"{max(0, self.until - told):.0f} s left: {self.counts}", flush=True)
        if self.failure:
            raise Contradiction(self.failure)
        for kind, count in (("quiet", QUIET), ("hostile", HOSTILE)):
            for i in range(count):
                self.rail(kind, i)
        self.judge_end(before)

    def judge_end(self, before):
        lab.wait_for(lambda: self.attachments() == [], END_S, "the ledger is empty")
        lab.run(lab.program("spurctl"), "--socket", self.node.socket, "check")
        after = self.node.snapshot()
        for facts in (before, after):  # a device that died with a namespace was made anew, with another address
            for link in facts["node"]["links"]:
                for fact in ("mac", "promisc"):
                    link.pop(fact, None)
        lab.same(before, after)


def pools():
    rails = [{"name": f"rail-{kind}{i}", "cidr": f"10.{base + i}.0.0/24", "gatewayIndex": 1}
             for kind, base, count in (("quiet", 100, QUIET), ("hostile", 110, HOSTILE)) for i in range(count)]
    return [{"name": "train", "cooldown_s": 0, "rails": rails}]


def test_hostile_pods():
    seconds = float(os.environ.get("SPUR_TORTURE_SECONDS", "20"))
    seed = os.environ.get("SPUR_SEED", str(int(time.time())))
    print(f"SPUR_SEED={seed}", flush=True)
    with lab.Node("hostile") as node:
        node.daemon(pools=pools(), env=Torture.young(), http=HTTP)
        torture = Torture(node, seed, seconds)
        try:
            torture.run()
        except Contradiction as why:
            print(f"CONTRADICTION: {why}\nSPUR_SEED={seed}", flush=True)
            raise
        print(f"{torture.counts}", flush=True)


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
