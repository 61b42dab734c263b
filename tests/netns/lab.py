# SPDX-License-Identifier: Apache-2.0
"""A node with rails, a daemon and pods, made of network namespaces of this machine.

    with lab.Node() as node:
        rail = node.rail("eth1")                       # a veth; its far end stays in the node
        node.daemon(pools=[lab.pool("train")])
        pod = node.pod("a")
        got = node.add(pod, lab.netconf(device="eth1", pool="train"))
        node.snapshot(pod)                             # what "as before" is compared by
        node.delete(pod, lab.netconf(device="eth1", pool="train"))

Everything has a name of its own and goes away with the Node; no process is ended but those that
were started here. Programs come from $SPUR_BUILD/bin (default: build/bin of this checkout).
A test file ends with lab.main(globals()): it runs every test_* function, or those named on the
command line. lab.skip("what is missing") ends the file with exit 77.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("SPUR_BUILD", os.path.join(ROOT, "build")))
BIN = os.path.join(BUILD, "bin")
NETNS_DIR = "/run/netns"
CACHE = os.environ.get("SPUR_CACHE", "/var/cache/spur-dev")
PLUGIN_DIRS = (os.path.join(CACHE, "debian/usr/lib/cni"), "/usr/lib/cni", "/opt/cni/bin")

_numbers = itertools.count(1)


def program(name):
    """The path of a program under test; $SPUR_BIN, $SPUR_IPAMD_BIN… win."""
    return os.environ.get(name.upper().replace("-", "_") + "_BIN", os.path.join(BIN, name))


class Skip(SystemExit):
    """Ends a test, or the whole program with 77 if nobody catches it."""


def skip(why):
    print(f"SKIP: {why}", flush=True)
    raise Skip(77)


def plugin(name):
    """The path of another project's CNI plugin, as `./dev test` unpacks it or the machine has it."""
    for path in (os.path.join(d, name) for d in PLUGIN_DIRS):
        if os.path.exists(path):
            return path
    return skip(f"{name} of Debian's containernetworking-plugins")


def need(*programs, hooks=False):
    """Skips unless this is root with these programs; hooks: unless spur can fail on purpose."""
    if os.geteuid() != 0:
        skip("root, to make network namespaces")
    for name in ("spur", "spur-ipamd", *programs):
        if not os.path.exists(program(name)):
            skip(f"{program(name)}")
    if hooks and not has_hooks():
        skip("a build with -DSPUR_HOOKS=ON")


def has_hooks():
    with open(program("spur"), "rb") as f:
        return b"SPUR_FAIL_STEP" in f.read()


def run(*argv, check=True, **kw):
    """Runs a command to its end; returns its stdout. Its failure is an AssertionError with stderr."""
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", **kw)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def wait_for(condition, seconds=10.0, what="condition"):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def wait_stopped(process):
    """Waits until a process has stopped itself (SPUR_STALL_STEP)."""
    def stopped():
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"
    wait_for(stopped, what=f"process {process.pid} stops")


class Namespace:
    """A named network namespace."""

    def __init__(self, name):
        self.name = name
        self.path = os.path.join(NETNS_DIR, name)
        run("ip", "netns", "add", name)

    def sh(self, *argv, **kw):
        """Runs a command inside (not `ip netns exec`, which would mount another /sys)."""
        return run("nsenter", f"--net={self.path}", *argv, **kw)

    def ip(self, *argv, **kw):
        return self.sh("ip", *argv, **kw)

    def ip_json(self, *argv):
        # not strict: ip prints the control characters of an alias as they are
        return json.loads(self.ip("-j", *argv) or "[]", strict=False)

    def links(self):
        """Names of its devices, without lo."""
        return sorted(l["ifname"] for l in self.ip_json("link") if l["ifname"] != "lo")

    def link(self, name):
        return self.ip_json("-d", "addr", "show", "dev", name)[0]

    def addresses(self, name):
        """"ADDRESS/LENGTH" of a device, without link-local ones."""
        return sorted(
            f"{a['local']}/{a['prefixlen']}"
            for a in self.link(name)["addr_info"]
            if a.get("local") and a["scope"] != "link"
        )

    def sysctl(self, path):
        return self.sh("cat", f"/proc/sys/net/{path}").strip()

    def snapshot(self):
        """All that an attachment could leave behind, without what changes by itself."""
        return {
            "links": sorted((_link_facts(l) for l in self.ip_json("-d", "addr")), key=str),
            "routes": _route_facts(self, "-4") + _route_facts(self, "-6"),
            "rules": sorted(self.ip("-4", "rule").splitlines() + self.ip("-6", "rule").splitlines()),
        }

    def close(self):
        run("ip", "netns", "del", self.name, check=False)


def _link_facts(link):
    """Not its ifindex (it may change in a move), nor what settles late: carrier, link-local."""
    return {
        "name": link["ifname"],
        "altnames": sorted(link.get("altnames", [])),
        "mtu": link["mtu"],
        "mac": link.get("address", ""),
        "up": "UP" in link["flags"],
        "promisc": link.get("promiscuity", 0),
        "settings": _link_settings(link),
        "master": link.get("master", ""),
        "kind": link.get("linkinfo", {}).get("info_kind", ""),
        "addresses": sorted(
            f"{a['local']}/{a['prefixlen']}"
            for a in link["addr_info"]
            if a.get("local") and not a["local"].startswith("fe80:")
        ),
    }


def _link_settings(link):
    """What a pod can set and a move keeps; not the flags that come and go by themselves."""
    by_itself = {"UP", "LOWER_UP", "RUNNING", "DORMANT", "NO-CARRIER", "M-DOWN"}
    keys = ("txqlen", "group", "ifalias", "linkmode", "broadcast", "gso_max_size", "gso_max_segs", "gro_max_size")
    return {k: link.get(k) for k in keys} | {
        "flags": sorted(set(link["flags"]) - by_itself),
        "xdp": [p["mode"] for p in link.get("xdp", {}).get("attached", [])],
    }


def _route_facts(ns, family):
    lines = ns.ip(family, "route", "show", "table", "all").splitlines()
    late = ("fe80::", "multicast ff00::", "local fe80::", "anycast fe80::")
    # linkdown: a carrier comes and goes by itself.
    return sorted(" ".join(l.replace(" linkdown", "").split()) for l in lines if not l.startswith(late))


class Answer:
    """What a CNI call came back with."""

    def __init__(self, returncode, stdout, stderr):
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        try:
            self.json = json.loads(stdout) if stdout.strip() else None
        except ValueError:
            self.json = None

    @property
    def code(self):
        """The CNI error code, 0 on success, None if it was killed."""
        if self.returncode == 0:
            return 0
        return self.json.get("code") if isinstance(self.json, dict) else None

    @property
    def msg(self):
        return self.json.get("msg", "") if isinstance(self.json, dict) else ""

    def __repr__(self):
        return f"Answer({self.returncode}, {self.stdout.strip()!r}, stderr={self.stderr.strip()!r})"


class Pod(Namespace):
    """A pod's namespace with the identity that a runtime gives it."""

    def __init__(self, name, container, namespace="default", pod_name="", uid=""):
        super().__init__(name)
        self.container = container
        self.namespace = namespace
        self.pod_name = pod_name
        self.uid = uid

    def args(self, extra=""):
        pairs = ["IgnoreUnknown=1"]
        if self.pod_name:
            pairs += [f"K8S_POD_NAMESPACE={self.namespace}", f"K8S_POD_NAME={self.pod_name}"]
        if self.uid:
            pairs.append(f"K8S_POD_UID={self.uid}")
        return ";".join(pairs + ([extra] if extra else []))


class Node:
    """A node: a namespace for the host side (net: one that is there), a daemon on a temporary
    directory, pods."""

    def __init__(self, label="lab", net=None):
        self.label = f"{label}-{os.getpid()}-{next(_numbers)}"
        self.dir = tempfile.mkdtemp(prefix=f"spur-{self.label}-", dir="/tmp")
        self.socket = os.path.join(self.dir, "run", "ipamd.sock")
        self.state = os.path.join(self.dir, "state")
        self.config = os.path.join(self.dir, "ipamd.json")
        self.log = os.path.join(self.dir, "ipamd.log")
        os.makedirs(os.path.dirname(self.socket), mode=0o700)
        os.makedirs(self.state, mode=0o700)
        self.pods = []
        self.processes = []
        self.ipamd = self.devinfo_dir = None
        self.net = net or Namespace(self.label)
        self.net.ip("link", "set", "lo", "up")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and os.path.exists(self.log):
            with open(self.log, encoding="utf-8", errors="replace") as f:
                print("--- log of spur-ipamd\n" + f.read()[-8000:])
        self.close()

    def close(self):
        self.stop()
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.wait()
        for ns in [*self.pods, self.net]:
            ns.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        if self.devinfo_dir:
            shutil.rmtree(self.devinfo_dir, ignore_errors=True)

    # -- devices and pods

    def rail(self, name, mtu=1500, mac=None, up=False, bridge=None, altnames=()):
        """A device to give away: one end of a veth; the other (NAME + "p") stays up in the node."""
        peer = f"{name}p"
        self.net.ip("link", "add", name, "mtu", str(mtu), "type", "veth", "peer", "name", peer, "mtu", str(mtu))
        if mac:
            self.net.ip("link", "set", name, "address", mac)
        for alt in altnames:
            self.net.ip("link", "property", "add", "dev", name, "altname", alt)
        if bridge:
            if bridge not in self.net.links():
                self.net.ip("link", "add", bridge, "type", "bridge")
                self.net.ip("link", "set", bridge, "up")
            self.net.ip("link", "set", peer, "master", bridge)
        self.net.ip("link", "set", peer, "up")
        if up:
            self.net.ip("link", "set", name, "up")
        return name

    def pod(self, name, container=None, namespace="default", pod_name="", uid=""):
        pod = Pod(f"{self.label}-{name}", container or f"ctr-{name}", namespace, pod_name, uid)
        self.pods.append(pod)
        return pod

    # -- the daemon

    def devinfo(self):
        """A directory of this node's own where device-info files may be; it goes with the node."""
        if not self.devinfo_dir:
            os.makedirs("/run/k8s.cni.cncf.io/devinfo", exist_ok=True)
            self.devinfo_dir = tempfile.mkdtemp(dir="/run/k8s.cni.cncf.io/devinfo")
        return self.devinfo_dir

    def daemon(self, pools=(), env=None, options=(), **settings):
        """Writes the configuration and starts spur-ipamd; returns when it serves."""
        config = {
            "socket": self.socket, "state": self.state, "plugin": program("spur"), "http": "",
            "node": self.label, "pools": list(pools),
        }
        config.update(settings)
        with open(self.config, "w", encoding="utf-8") as f:
            json.dump(config, f)
        return self.start(env, options)

    def start(self, env=None, options=()):
        """Starts spur-ipamd with the configuration that is there."""
        out = open(self.log, "ab")
        self.ipamd = subprocess.Popen(
            ["nsenter", f"--net={self.net.path}", program("spur-ipamd"), "--config", self.config, *options],
            stdout=out, stderr=out, env={**os.environ, **(env or {})},
        )
        out.close()
        wait_for(self.serves, what="spur-ipamd serves")
        return self.ipamd

    def serves(self):
        if self.ipamd.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise AssertionError(f"spur-ipamd: exit {self.ipamd.returncode}: {f.read()[-2000:]}")
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.socket) == 0

    def stop(self, sig=signal.SIGTERM):
        """Ends the daemon (SIGKILL: as a crash) and returns its exit status."""
        if not self.ipamd:
            return None
        if self.ipamd.poll() is None:
            self.ipamd.send_signal(sig)
        try:
            return self.ipamd.wait(15)
        except subprocess.TimeoutExpired:
            self.ipamd.kill()
            self.ipamd.wait()
            raise AssertionError("spur-ipamd: did not end within 15 s")
        finally:
            self.ipamd = None

    def rpc(self, method, timeout=15.0, **params):
        """One JSON-RPC call; returns its result, raises RpcError."""
        with socket.socket(socket.AF_UNIX) as s:
            # settimeout() would make a full backlog an error at once
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(timeout) + 1, 0))
            s.connect(self.socket)
            s.settimeout(timeout)
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            with s.makefile("rb") as f:
                answer = json.loads(f.readline())
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def attachments(self, **params):
        found, after = [], 0
        while True:
            page = self.rpc("attachment.list", after=after, **params)
            found += page["attachments"]
            after = page["next"]
            if not after:
                return found

    # -- CNI calls

    def env(self, verb, pod, ifname="net1", args=None, **extra):
        env = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": pod.container,
            "CNI_NETNS": pod.path,
            "CNI_IFNAME": ifname,
            "CNI_ARGS": pod.args() if args is None else args,
            "CNI_PATH": ":".join((f"{self.dir}/plugins", BIN, *PLUGIN_DIRS)),
        }
        env.update(extra)
        return {k: v for k, v in env.items() if v is not None}

    def popen(self, verb, pod, conf, binary="spur", stdin=True, **kw):
        """Starts a CNI call and hands it its stdin (unless the caller wants to); see finish()."""
        conf = dict(conf)
        if conf.get("type") == "spur":
            conf.setdefault("socket", self.socket)
        env = self.env(verb, pod, **kw)
        p = subprocess.Popen(
            ["nsenter", f"--net={self.net.path}", program(binary)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True,
        )
        self.processes.append(p)
        if not stdin:
            return p
        try:
            p.stdin.write(json.dumps(conf))
            p.stdin.close()
        except BrokenPipeError:
            pass
        p.stdin = None
        return p

    @staticmethod
    def finish(p, timeout=90):
        out, err = p.communicate(timeout=timeout)
        return Answer(p.returncode, out, err)

    def cni(self, verb, pod, conf, **kw):
        return self.finish(self.popen(verb, pod, conf, **kw))

    def add(self, pod, conf, **kw):
        """ADD that must succeed; returns the result."""
        got = self.cni("ADD", pod, conf, **kw)
        assert got.returncode == 0, got
        return got.json

    def delete(self, pod, conf, **kw):
        got = self.cni("DEL", pod, conf, **kw)
        assert got.returncode == 0 and not got.stdout, got

    def refuse(self, verb, code, words, pod, conf, **kw):
        """A call that must fail with this code and these words in its message."""
        got = self.cni(verb, pod, conf, **kw)
        assert got.returncode == 1 and got.code == code and words in got.msg, (code, words, got)
        return got

    # -- what "as before" means

    def snapshot(self, *pods):
        """The node, these pods, and the ledger (if the daemon runs)."""
        facts = {"node": self.net.snapshot()}
        for pod in pods:
            facts[pod.name] = pod.snapshot()
        if self.ipamd:
            facts["ledger"] = [ledger_facts(a) for a in self.attachments()]
        return facts


def ledger_facts(a):
    return {k: a.get(k) for k in ("network", "containerID", "ifname", "state", "ips")} | {
        "device": a.get("device", {}).get("key", "")
    }


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(error.get("message"))
        self.error = error
        self.code = error.get("data", {}).get("cni")


def netconf(name="rail0", version="1.0.0", pool=None, rail=None, **keys):
    """A network configuration; pool: the daemon's addresses."""
    conf = {"cniVersion": version, "name": name, "type": "spur", **keys}
    if pool:
        conf["ipam"] = {"type": "spur-ipam", "pool": pool, **({"rail": rail} if rail else {})}
    return conf


def pool(name="train", rails=1, cooldown_s=0, v4=True, v6=False, routes=None):
    """Rail i has 10.I.0.0/24 and/or fd00:I::/64, with gateway index 1."""
    def one(i):
        rail = {"name": f"rail{i}", "gatewayIndex": 1}
        if v4:
            rail["cidr"] = f"10.{i}.0.0/24"
        if v6:
            rail["cidr6"] = f"fd00:{i}::/64"
        if routes:
            rail["routes"] = routes
        return rail
    return {"name": name, "cooldown_s": cooldown_s, "rails": [one(i) for i in range(rails)]}


def same(before, after):
    """Fails with the differing parts only."""
    if before != after:
        raise AssertionError("not as before:\n" + "\n".join(_differences("", before, after)))


def _differences(path, a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from _differences(f"{path}/{key}", a.get(key), b.get(key))
    elif isinstance(a, list) and isinstance(b, list):
        yield from (f"{path}: was, is no more: {x}" for x in a if x not in b)
        yield from (f"{path}: is new: {x}" for x in b if x not in a)
    elif a != b:
        yield f"{path}: was {a!r}, is {b!r}"


def main(names):
    """Runs the test_* functions of a file, or those named on the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a Node is closed
    tests = {n: f for n, f in names.items() if n.startswith("test_") and callable(f)}
    counts = {"ok": 0, "FAIL": 0, "SKIP": 0}
    for name in sys.argv[1:] or tests:
        begun = time.monotonic()
        word, more = "ok", ""
        try:
            tests[name]()
        except Skip:
            counts["SKIP"] += 1
            continue
        except Exception:  # one failed test does not hide the others
            word, more = "FAIL", f"\n{traceback.format_exc()}"
        counts[word] += 1
        print(f"{word:4} {name} ({time.monotonic() - begun:.1f} s){more}", flush=True)
    if counts["FAIL"]:
        sys.exit(1)
    sys.exit(77 if counts["SKIP"] and not counts["ok"] else 0)
