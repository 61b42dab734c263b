# SPDX-License-Identifier: Apache-2.0
"""What is left of root's rights to a spur that a runtime starts, while it looks at what a pod has made:
somebody who got it to do his will by that could use no more. What the filter is: hostile_filter.py."""

import json
import os
import re
import socket
import subprocess
import threading

import lab
from cni_attach import foreign_ipam, node_with_rail
from daemon_guard import CAPS, KEPT, sanitized, status_of

LOOK = KEPT & ~(1 << CAPS["NET_ADMIN"])  # what CHECK has
EXIT_GROUP = {"x86_64": 231, "aarch64": 94}[os.uname().machine]
TRACED = ("strace", "-E", "ASAN_OPTIONS=detect_leaks=0", "-f", "-o")


def call(node, verb, pod, conf, *before, binary="spur", **kw):
    """A CNI call behind other programs; returns the process."""
    conf = {"socket": node.socket, **conf}
    p = subprocess.Popen(["nsenter", f"--net={node.net.path}", *before, lab.program(binary)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=node.env(verb, pod, **kw))
    node.processes.append(p)
    p.stdin.write(json.dumps(conf))
    p.stdin.close()
    p.stdin = None
    return p


def at_its_end(node, *words, binary="spur"):
    """What a call has when all is done, as its exit is held up; then how it ended."""
    p = call(node, *words, *TRACED, "/dev/null", "-e", "trace=exit_group", "-e", "inject=exit_group:delay_enter=60s", binary=binary)

    def child():
        with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
            for pid in f.read().split():
                with open(f"/proc/{pid}/syscall", encoding="ascii") as where:
                    if where.read().split()[0] == str(EXIT_GROUP) and status_of(pid)["Name"] == binary:
                        return pid
        return None

    pid = lab.wait_for(child, 60, "spur is about to exit")
    found = status_of(pid)
    p.kill()  # strace: what it traced goes on
    out = p.communicate(timeout=60)[0]
    return found, out


def confined(found, caps):
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == caps, found
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0 and found["NoNewPrivs"] == "1", found
    assert found["Seccomp"] == ("0" if sanitized() else "2"), found


def hostile(pod):
    """What a pod can do to what spur will read."""
    for i in range(20):
        pod.ip("link", "property", "add", "dev", "net1", "altname", f"a-name-of-the-pods-own-{i}")
    pod.ip("link", "set", "net1", "alias", "\x1b[31m\u2028", "promisc", "on")


def test_each_verb():
    """On a device that a hostile pod has had its way with."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        before = node.snapshot(pod)
        conf = lab.netconf(device="eth1", pool="train", version="1.1.0")
        found, out = at_its_end(node, "ADD", pod, conf)
        confined(found, KEPT)
        assert json.loads(out)["ips"], out
        hostile(pod)
        for verb, more, caps in (("CHECK", {}, LOOK), ("ADD", {}, KEPT), ("STATUS", {}, 0), ("DEL", {}, KEPT)):
            found, _ = at_its_end(node, verb, pod, {**conf, **more})
            confined(found, caps)
        lab.same(before, node.snapshot(pod))
        found, _ = at_its_end(node, "DEL", pod, conf)  # without a record
        confined(found, KEPT)
        # It may start the IPAM of any record: nothing is in effect that it has no use for.
        found, _ = at_its_end(node, "GC", pod, {**conf, "cni.dev/valid-attachments": []})
        assert int(found["CapEff"], 16) == KEPT, found


def test_addresses_for_another_main_plugin():
    with lab.Node("confine") as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        conf = {"cniVersion": "1.0.0", "name": "other", "type": "macvlan", "socket": node.socket,
                "ipam": {"type": "spur-ipam", "pool": "train", "socket": node.socket}}
        for verb, caps in (("ADD", KEPT), ("CHECK", LOOK), ("DEL", KEPT)):
            found, _ = at_its_end(node, verb, pod, conf, binary="spur-ipam")
            confined(found, caps)


OTHER = """echo "$CNI_COMMAND" $(sed -n 's/^CapEff:.//p; s/^NoNewPrivs:.//p; s/^Seccomp:.//p' /proc/self/status) \\
  $(sed -n 's/^CapEff:.//p; s/^CapPrm:.//p' /proc/$PPID/status) >>{here}/rights
"""


def test_another_ipam_has_all():
    """It has what the runtime has, in each verb, while spur itself has nothing in effect that it does without."""
    with node_with_rail() as node:
        node.daemon()
        foreign_ipam(node)
        path = os.path.join(node.dir, "plugins", "other")
        with open(path, encoding="utf-8") as f:
            head, _, rest = f.read().partition("\n")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"{head}\n{OTHER.format(here=node.dir)}{rest}")
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", version="1.1.0", ipam={"type": "other"})
        result = node.add(pod, conf)
        for verb, more in (("CHECK", {"prevResult": result}), ("STATUS", {}), ("GC", {"cni.dev/valid-attachments": []}), ("DEL", {})):
            got = node.cni(verb, pod, {**conf, **more})
            assert got.returncode == 0, got
        with open(f"{node.dir}/rights", encoding="ascii") as f:
            rights = {line.split()[0]: line.split()[1:] for line in f}
        ours = status_of("self")
        everything = int(ours["CapEff"], 16)
        assert set(rights) == {"ADD", "CHECK", "STATUS", "GC", "DEL"}, rights
        for verb, (effective, new_privileges, seccomp, permitted_of_spur, effective_of_spur) in rights.items():
            assert int(effective, 16) == everything, (verb, rights)
            assert (new_privileges, seccomp) == (ours["NoNewPrivs"], ours["Seccomp"]), (verb, rights)
            assert int(permitted_of_spur, 16) == everything, (verb, rights)
            assert int(effective_of_spur, 16) == {"CHECK": LOOK, "STATUS": 0}.get(verb, KEPT), (verb, rights)


def test_an_ipam_that_is_in_the_record():
    """The network was edited since: the DEL that looks as if it started nothing has to start it."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        calls = foreign_ipam(node)
        pod = node.pod("a")
        before = node.snapshot(pod)
        node.add(pod, lab.netconf(device="eth1", ipam={"type": "other"}))
        calls()
        node.delete(pod, lab.netconf(device="eth1", pool="train"))
        ((head, _),) = calls()
        assert head.startswith("DEL "), head
        lab.same(before, node.snapshot(pod))


def process_in(node, pod):
    """Another user's, in the pod's namespace: some runtimes name a namespace by its process."""
    p = subprocess.Popen(["nsenter", f"--net={pod.path}", "setpriv", "--reuid=65534", "sleep", "600"])
    node.processes.append(p)
    lab.wait_for(lambda: status_of(p.pid)["Name"] == "sleep", what="a process runs in the pod")
    return f"/proc/{p.pid}/ns/net"


def without(cap, node, verb, pod, conf):
    """The call, by a root that lacks one capability."""
    p = call(node, verb, pod, conf, "setpriv", f"--bounding-set=-{cap.lower()}")
    return node.finish(p)


def test_none_of_them_is_too_much():
    """ADD, CHECK, DEL and GC with one capability less: each fails for want of each that it keeps."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        pod.path = process_in(node, pod)
        conf = lab.netconf(device="eth1", pool="train", version="1.1.0")
        for cap in CAPS:
            assert without(cap, node, "ADD", pod, conf).returncode == 1, f"ADD without {cap}"
        node.add(pod, conf)
        for cap in CAPS:
            got = without(cap, node, "CHECK", pod, conf)
            assert got.code == (0 if cap == "NET_ADMIN" else 104), f"CHECK without {cap}: {got}"
        for cap in CAPS:
            assert without(cap, node, "DEL", pod, conf).returncode == 0
            (record,) = node.attachments()
            assert record["state"] == "dirty", f"DEL without {cap}: {record}"
            node.delete(pod, conf)
            assert not node.attachments(), node.attachments()
            node.add(pod, conf)


def test_what_gc_needs():
    """NET_ADMIN to undo, SYS_ADMIN to enter and leave, SYS_PTRACE to see that a pod whose number was lost lives."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        pod.path = process_in(node, pod)
        conf = lab.netconf(device="eth1", pool="train", version="1.1.0")
        node.add(pod, conf)
        lab.wait_for(lambda: node.attachments()[0]["state"] == "attached", what="done has come")
        (record,) = node.attachments()
        node.stop()
        sleeper = node.processes[-2]
        with Impostor(node, record) as daemon:
            collect = {**conf, "cni.dev/valid-attachments": [], "socket": daemon.path}
            without("CHOWN", node, "GC", pod, collect)
            assert not daemon.released, "the path leads to it: it lives"
            without("SYS_PTRACE", node, "GC", pod, collect)
            assert daemon.released.pop(), "a living pod's record would go"
            pod.ip("link", "set", "net1", "netns", node.net.name)  # as a VF comes home from a dead pod
            sleeper.kill()
            sleeper.wait()
            pod.close()
            assert without("SYS_ADMIN", node, "GC", pod, collect).returncode == 1 and not daemon.released
            without("NET_ADMIN", node, "GC", pod, collect)
            assert daemon.released.pop() == {"left": True, "restored": False}
            without("CHOWN", node, "GC", pod, collect)
            assert daemon.released.pop() == {"left": True, "restored": True}


class Impostor:
    """A daemon that has one record, and says that the number of its namespace was lost."""

    def __init__(self, node, record):
        self.path, self.record, self.released = f"{node.dir}/impostor", record, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        answers = {"attachment.list": {"attachments": [self.record], "next": 0},
                   "attachment.get": {"attachment": self.record, "lost": True}}
        with connection, connection.makefile("rwb") as f:
            for line in f:
                request = json.loads(line)
                if request["method"] == "attachment.release":
                    self.released.append({k: request["params"][k] for k in ("left", "restored")})
                f.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answers.get(request["method"], {})}).encode() + b"\n")
                f.flush()


def filter_of_the_build():
    with open(os.path.join(os.path.dirname(lab.BIN), "cni/filter_bpf.inc"), encoding="ascii") as f:
        return [tuple(int(n, 0) for n in re.findall(r"\w+", line)) for line in f]


def traced(node, verb, pod, conf):
    """The calls of one verb, as strace writes them."""
    out = f"{node.dir}/calls"
    got = node.finish(call(node, verb, pod, conf, *TRACED, out))
    with open(out, encoding="utf-8", errors="replace") as f:
        return got, f.read()


def test_no_call_is_denied():
    """A library that is told ENOSYS goes another way, and nobody would see it: no verb asks for what it may not."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v6=True)])
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train", version="1.1.0", routing={"table": 100, "rules": True}, dad=True,
                           logFile=f"{node.dir}/log", logLevel="debug")
        for verb, more in (("ADD", {}), ("CHECK", {}), ("ADD", {}), ("STATUS", {}), ("VERSION", {}), ("GC", {"cni.dev/valid-attachments": []}),
                           ("ADD", {"device": "eth9"}), ("DEL", {}), ("DEL", {})):
            _, calls = traced(node, verb, pod, {**conf, **more})
            assert "ENOSYS" not in calls, (verb, [c for c in calls.splitlines() if "ENOSYS" in c])
            if not sanitized() and verb not in ("GC", "VERSION"):
                assert re.search(rf"SECCOMP_MODE_FILTER, \{{len={len(filter_of_the_build())},", calls), verb
        node.stop()
        for verb in ("ADD", "DEL", "STATUS"):
            _, calls = traced(node, verb, pod, conf)
            assert "ENOSYS" not in calls, (verb, [c for c in calls.splitlines() if "ENOSYS" in c])


if __name__ == "__main__":
    lab.main(globals())
