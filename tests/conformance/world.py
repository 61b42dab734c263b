# SPDX-License-Identifier: Apache-2.0
"""The world that a row of the table is played in: a node, a pod, a plugin, and what happened before.

Two plugins stand in for each other: Spur with its daemon, and the reference, Debian's host-device
with host-local. Both serve the same request in words of their own.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))

import lab  # noqa: E402
from table import ABSENT, VERSIONS  # noqa: E402

POOLS = [
    {"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.0.0.0/24", "gatewayIndex": 1}]},
    {"name": "two", "cooldown_s": 0, "rails": [{"name": "a", "cidr": "10.1.0.0/24", "gatewayIndex": 1}, {"name": "b", "cidr": "10.2.0.0/24", "gatewayIndex": 1}]},
    {"name": "dual", "cooldown_s": 0, "rails": [{"name": "d", "cidr": "10.3.0.0/24", "cidr6": "fd00:3::/64", "gatewayIndex": 1}]},
    {"name": "tiny", "cooldown_s": 0, "rails": [{"name": "t", "cidr": "10.4.0.0/30", "gatewayIndex": 1}]},
]


class Spur:
    """The plugin under test."""

    ledger = True

    def __init__(self, node):
        self.node = node
        self.plugins = lab.BIN

    def start(self):
        self.node.daemon(POOLS, plugin=lab.program("spur"))

    def program(self, name):
        return lab.program(name)

    def conf(self, program):
        ours = {"type": "spur-ipam", "pool": "train"}
        base = {"cniVersion": "1.0.0", "name": "rail0"}
        if program == "spur-ipam":
            return {**base, "type": "macvlan", "master": "eth1", "ipam": {**ours, "socket": self.node.socket}}
        return {**base, "type": "spur", "device": "eth1", "socket": self.node.socket, "ipam": ours}


class Reference:
    """Debian's host-device and host-local."""

    ledger = False

    def __init__(self, node):
        self.node = node
        self.plugins = reference_plugins()

    def start(self):
        pass

    def program(self, _name):
        return os.path.join(self.plugins, "host-device")

    def conf(self, _program):
        ipam = {"type": "host-local", "dataDir": self.node.dir, "ranges": [[{"subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}]]}
        return {"cniVersion": "1.0.0", "name": "rail0", "type": "host-device", "device": "eth1", "ipam": ipam}


def reference_plugins():
    """Where Debian's plugins are: unpacked by tests/runtime/peers, or installed; None if nowhere."""
    cache = os.environ.get("SPUR_CACHE", "/var/cache/spur-dev")
    places = (os.path.join(cache, "debian/usr/lib/cni"), "/usr/lib/cni")
    return next((p for p in places if os.path.exists(os.path.join(p, "host-device"))), None)


class World:
    def __init__(self, plugin_class):
        self.node = lab.Node("conf")
        self.plugin = plugin_class(self.node)
        self.pod = self.node.pod("a")
        self.node.rail("eth1", mac="02:00:00:00:aa:01")
        self.node.rail("eth2")
        self.socket = None  # another one than the daemon's: a rude server's
        self.rude = None
        self.result = None  # of the last ADD
        try:
            self.plugin.start()
        except BaseException:
            self.node.close()
            raise
        self.pristine = self.baseline = self.snapshot()

    def close(self):
        if self.rude:
            self.rude.close()
        self.node.close()

    def snapshot(self):
        """Links, addresses, routes and rules of both sides; the ledger where there is one."""
        facts = {"node": fast_snapshot(self.node.net)}
        if not self.plugin.ledger:  # host-device keeps a device's name as its alias, and leaves it there
            for link in facts["node"]["links"]:
                link["settings"].pop("ifalias", None)
        if self.pod in self.node.pods:
            facts["pod"] = fast_snapshot(self.pod)
        if self.plugin.ledger and self.node.ipamd:
            facts["ledger"] = [lab.ledger_facts(a) for a in self.node.attachments()]
        return facts

    # -- requests

    def conf(self, changes=(), program="spur"):
        conf = self.plugin.conf(program)
        if self.socket:
            conf["socket"] = self.socket
        for key, value in dict(changes).items():
            if value is ABSENT:
                conf.pop(key, None)
            elif key == "ipam" and isinstance(value, dict) and not self.plugin.ledger and "pool" in value:
                pass  # the reference keeps its own
            else:
                conf[key] = self.placed(value)
        return conf

    def placed(self, value):
        """Puts the pod's path where a row says <pod>."""
        return json.loads(json.dumps(value).replace("<pod>", self.pod.path))

    def env(self, verb, changes=()):
        env = self.node.env(verb, self.pod)
        env["CNI_PATH"] = f"{self.plugin.plugins}:{reference_plugins() or ''}"
        if verb is None:
            env.pop("CNI_COMMAND", None)
        for key, value in dict(changes).items():
            if value is None:
                env.pop(key, None)
            else:
                env[key] = self.path(value[1:-1]) if value.startswith("<") else value
        return env

    def call(self, verb, conf=(), env=(), stdin=None, program="spur"):
        """One CNI call; returns lab.Answer with the seconds it took."""
        text = json.dumps(self.conf(conf, program), ensure_ascii=False).encode()
        if stdin:
            text = stdin(text)
        argv = ["nsenter", f"--net={self.node.net.path}", self.plugin.program(program)]
        if text is None:
            argv = ["sh", "-c", 'exec "$@" <&-', "sh", *argv]
        begun = time.monotonic()
        p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env(verb, env))
        try:
            out, err = p.communicate(text, timeout=40)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
        answer = lab.Answer(p.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
        answer.seconds = time.monotonic() - begun
        return answer

    def path(self, what):
        """A thing to be taken for a network namespace."""
        path = os.path.join(self.node.dir, what.replace(" ", "-"))
        if what == "our own":
            return self.node.net.path
        if what == "a mount namespace":
            return "/proc/self/ns/mnt"
        if what == "a character device":
            return "/dev/null"
        if what == "relative":
            return os.path.relpath(self.pod.path)
        if what == "5000 bytes":
            return "/" + "n" * 5000
        if what == "below a file":
            return self.path("a file") + "/x"
        if what != "nothing" and not os.path.lexists(path):
            self._make(what, path)
        return path

    def _make(self, what, path):
        if what == "a file":
            open(path, "w", encoding="ascii").close()
        elif what == "a directory":
            os.mkdir(path)
        elif what == "a symlink loop":
            os.symlink(path, path)
        elif what == "a symlink":
            os.symlink(self.pod.path, path)
        elif what == "a fifo":
            os.mkfifo(path)
        elif what == "a socket":
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(path)
        else:
            raise KeyError(what)

    # -- what situations are made of

    def add(self, row, **changes):
        version = row.conf.get("cniVersion", "1.0.0")
        version = version if version in VERSIONS else "1.0.0"
        answer = self.call("ADD", {"cniVersion": version, **changes}, program=row.program)
        assert answer.returncode == 0, f"the ADD before the row: {answer}"
        self.result = answer.json

    def delete(self, conf=(), env=(), program="spur"):
        return self.call("DEL", conf, env, program=program)

    def end_pod(self):
        """The namespace dies, and eth1 in it; its peer goes last."""
        self.node.pods.remove(self.pod)
        self.pod.close()
        lab.wait_for(lambda: "eth1p" not in self.node.net.links(), what="the kernel ends the namespace")

    def serve_rudely(self, how):
        self.rude = Rude(how)
        self.socket = self.rude.path

    def resume(self):
        """The daemon is back, with its own socket."""
        self.socket = None
        if self.rude:
            self.rude.close()
            self.rude = None
        if self.plugin.ledger and not self.node.ipamd:
            self.node.start()

    def spool(self):
        directory = os.path.join(os.path.dirname(self.node.socket), "spool")
        return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def fast_snapshot(ns):
    """As lab's snapshot, in one process."""
    script = "ip -j -d addr; for f in -4 -6; do echo; echo ::; ip $f route show table all; done; for f in -4 -6; do echo; echo ::; ip $f rule; done"
    links, *texts = ns.sh("sh", "-c", script).split("\n::\n")
    routes = [line for text in texts[:2] for line in text.splitlines()]
    return {
        "links": sorted((lab._link_facts(l) for l in json.loads(links)), key=str),
        "routes": sorted(" ".join(r.split()) for r in routes if r.strip() and not re.match(r"((multicast|local|anycast) )?f[ef][08]0::", r)),
        "rules": sorted(r for text in texts[2:] for r in text.splitlines() if r.strip()),
    }


# ---- Situations: (what to prepare; then "as before" is noted; what happens then) -----------------


def _pod_link(what):
    def do(w, row):
        w.add(row)
        w.pod.ip(*what.split())
    return do


def _node_link(*commands):
    def do(w):
        for command in commands:
            w.node.net.ip(*command.split())
    return do


def _pod_dummy(*commands):
    def do(w):
        for command in commands:
            w.pod.ip(*command.split())
    return do


def _added(w, row):
    w.add(row)


def _deleted(w, row):
    w.add(row)
    assert w.delete(program=row.program).returncode == 0


def _pod_gone(w, row):
    w.add(row)
    w.end_pod()


def _renamed(w, row):
    w.add(row)
    for command in ("link set net1 down", "link set net1 name other0", "link set other0 up"):
        w.pod.ip(*command.split())


def _changed(w, row):
    w.add(row)
    for command in ("link set net1 mtu 1400", "link set net1 down", "link set net1 address 02:00:00:00:bb:01", "addr add 10.66.0.1/24 dev net1", "link set net1 up"):
        w.pod.ip(*command.split())


def _routed(*what):
    def do(w, row):
        w.add(row, routing={"table": 77}, ipam={"type": "spur-ipam", "pool": "train"})
        w.pod.ip(*what)
    return do


def _address_gone(w, row):
    w.add(row)
    w.pod.ip("addr", "flush", "dev", "net1", "scope", "global")


def _address_held(w, row):
    w.add(row, runtimeConfig={"ips": ["10.0.0.77"]})


def _tiny(w, row):
    w.add(row, ipam={"type": "spur-ipam", "pool": "tiny"})


def _down(w, _row):
    w.node.stop()


def _added_down(w, row):
    w.add(row)
    w.node.stop()


def _added_down_deleted(w, row):
    _added_down(w, row)
    assert w.delete().returncode == 0


def _rude(how):
    return lambda w, _row: w.serve_rudely(how)


def _added_rude(how):
    def do(w, row):
        w.add(row)
        w.serve_rudely(how)
    return do


SITUATIONS = {
    "free": (None, None),
    "free, foreign ipam": (None, None),
    "added": (None, _added),
    "ipam added": (None, _added),
    "added, deleted": (None, _deleted),
    "added, pod gone": (None, _pod_gone),
    "added, device deleted": (None, _pod_link("link del net1")),
    "added, device renamed": (None, _renamed),
    "added, device changed": (None, _changed),
    "added, device down": (None, _pod_link("link set net1 down")),
    "added, address gone": (None, _address_gone),
    "added, address more": (None, _pod_link("addr add 10.66.0.1/24 dev net1")),
    "routed, rule gone": (None, _routed("rule", "del", "table", "77")),
    "routed, route gone": (None, _routed("route", "flush", "table", "77")),
    "enslaved": (_node_link("link add br9 type bridge", "link set eth1 master br9"), None),
    "addressed": (_node_link("addr add 10.50.0.1/24 dev eth1"), None),
    "device up": (_node_link("link set eth1 up"), None),
    "mtu 9000": (_node_link("link set eth1 mtu 9000", "link set eth1p mtu 9000"), None),
    "own altname": (_node_link("link property add dev eth1 altname net1"), None),
    "own altname, added": (_node_link("link property add dev eth1 altname net1"), _added),
    "name taken": (_pod_dummy("link add net1 type veth peer name net1p"), None),
    "altname taken": (_pod_dummy("link add other type veth peer name otherp", "link property add dev other altname net1"), None),
    "tiny pool full": (None, _tiny),
    "address held": (None, _address_held),
    "daemon down": (None, _down),
    "added, daemon down": (None, _added_down),
    "added, daemon down, deleted": (None, _added_down_deleted),
    "daemon stalls": (None, _rude("stalls")),
    "added, daemon stalls": (None, _added_rude("stalls")),
}
LOST = ("added, pod gone", "added, device deleted")  # the device is no more: it cannot come back
RUDE = {
    "hangs up": b"",
    "talks nonsense": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "answers another question": b'{"jsonrpc":"2.0","id":987654321,"result":{}}\n',
    "answers null": b"null\n",
    "answers an empty record": b'{"jsonrpc":"2.0","id":1,"result":{}}\n',
}
for _how in ("does not accept", "is a file", "answers without end", *RUDE):
    SITUATIONS[f"daemon {_how}"] = (None, _rude(_how))


class Rude:
    """A socket whose owner does not do what a daemon does."""

    def __init__(self, how):
        self.how = how
        self.dir = tempfile.TemporaryDirectory(prefix="spur-rude-")
        self.path = os.path.join(self.dir.name, "s")
        self.held = []
        if how == "is a file":
            open(self.path, "w", encoding="ascii").close()
            return
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(0 if how == "does not accept" else 16)
        self.held.append(self.listener)
        if how == "does not accept":
            self._fill()
        else:
            threading.Thread(target=self._serve, daemon=True).start()

    def _fill(self):
        """Connects until the backlog is full, so that the next connect blocks."""
        while True:
            s = socket.socket(socket.AF_UNIX)
            self.held.append(s)
            s.setblocking(False)
            if s.connect_ex(self.path) != 0:
                return

    def _serve(self):
        try:
            while True:
                peer, _ = self.listener.accept()
                self.held.append(peer)
                if self.how != "stalls":
                    threading.Thread(target=self._answer, args=(peer,), daemon=True).start()
        except OSError:
            pass  # closed

    def _answer(self, peer):
        try:
            if self.how == "answers without end":
                while True:
                    peer.sendall(b" " * 65536)
            if RUDE[self.how]:
                peer.recv(65536)
                peer.sendall(RUDE[self.how])
            peer.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the plugin had enough

    def close(self):
        for s in self.held:
            s.close()
        self.dir.cleanup()
