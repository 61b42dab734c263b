# SPDX-License-Identifier: Apache-2.0
"""The daemon as its clients see it: reserve, the lock, waiting, undo, rude peers, signals, figures.

A small program stands in for the plugin: it does what DEL does at the daemon (get, release) and
writes down how it was called; MODE in its directory makes it fail, hang, end late or find the device dirty.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time

import lab

PLUGIN = """#!/usr/bin/python3
import json, os, socket, sys, time
here = os.path.dirname(os.path.abspath(__file__))
conf = json.load(sys.stdin)
env = {k: v for k, v in os.environ.items() if k.startswith("CNI_")}
with open(here + "/calls", "a") as f:
    f.write(json.dumps({"argv0": sys.argv[0], "env": env, "conf": conf}) + "\\n")
try:
    mode = open(here + "/MODE").read().strip()
except FileNotFoundError:
    mode = ""
if mode == "fail":
    print(json.dumps({"code": 101, "msg": "the kernel says no"}))
    sys.exit(1)
if mode == "wordy":
    print(json.dumps({"code": 101, "msg": "ö" * 500}))
    sys.exit(1)
if mode == "hang":
    time.sleep(600)
s = socket.socket(socket.AF_UNIX)
s.connect(conf["socket"])
f = s.makefile("rwb")
def call(method, **params):
    line = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    f.write(json.dumps(line).encode() + b"\\n")
    f.flush()
    answer = json.loads(f.readline())
    if "error" in answer:
        print(json.dumps({"code": 11, "msg": answer["error"]["message"]}))
        sys.exit(1)
    return answer["result"]
key = {"network": conf["name"], "containerID": env["CNI_CONTAINERID"], "ifname": env["CNI_IFNAME"]}
now = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)
a = call("attachment.get", **key, deadline=now + 10000)["attachment"]
if mode == "litter":
    left = os.fork()
    if left == 0:  # its stdout and stderr are ours
        s.detach()
        os.closerange(3, 64)
        time.sleep(600)
    with open(here + "/left", "a") as f2:
        f2.write(f"{left}\\n")
if mode == "linger":
    if os.fork() == 0:  # the connection outlives the program
        os.close(1)
        os.close(2)
        time.sleep(0.3)
    os._exit(1)
if env["CNI_COMMAND"] == "CHECK":
    if a and mode != "lost" and a["state"] in ("unfinished", "unconfirmed"):
        call("attachment.done", **key, generation=a["generation"], facts={})
    sys.exit(0 if a and not mode else 1)
if a:
    call("attachment.release", **key, generation=a["generation"], left=True,
         restored=mode != "dirty", reason="undo")
if mode == "late":
    f.close()
    s.close()
    time.sleep(1)
"""


def boot_ms():
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)


class Client:
    """One connection: requests can be sent without waiting for their answers."""

    def __init__(self, node):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(node.socket)  # without a timeout, for with one it does not wait for its turn
        self.socket.settimeout(20)
        self.file = self.socket.makefile("rb")
        self.next_id = 0

    def send(self, method, notify=False, **params):
        self.next_id += 1
        line = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notify:
            line["id"] = self.next_id
        self.socket.sendall(json.dumps(line).encode() + b"\n")
        return self.next_id

    def read(self):
        """The next answer, or None at the end."""
        line = self.file.readline()
        return json.loads(line) if line else None

    def call(self, method, **params):
        self.send(method, **params)
        answer = self.read()
        if "error" in answer:
            raise lab.RpcError(answer["error"])
        return answer["result"]

    def is_quiet(self, seconds=0.3):
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK) and False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Node(lab.Node):
    """A node whose plugin is the program above."""

    def __init__(self):
        super().__init__("daemon")
        self.plugin = f"{self.dir}/plugin/spur"
        os.makedirs(os.path.dirname(self.plugin))
        with open(self.plugin, "w", encoding="utf-8") as f:
            f.write(PLUGIN)
        os.chmod(self.plugin, 0o755)

    def daemon(self, pools=None, env=None, **settings):
        pools = [lab.pool("train")] if pools is None else pools
        return super().daemon(pools, env, plugin=self.plugin, **settings)

    def mode(self, mode):
        with open(f"{self.dir}/plugin/MODE", "w", encoding="utf-8") as f:
            f.write(mode)

    def calls(self):
        try:
            with open(f"{self.dir}/plugin/calls", encoding="utf-8") as f:
                return [json.loads(line) for line in f]
        except FileNotFoundError:
            return []

    def client(self):
        return Client(self)

    def request(self, container="c1", ifname="net1", device=None, cookie=7, nsid=-1, uid="",
                wait_ms=10000, path="/nowhere", **more):
        """Params of attachment.reserve. nsid -1: a namespace that cannot look dead."""
        conf = {"cniVersion": "1.0.0", "name": "rail0", "type": "spur", "socket": self.socket}
        env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": container, "CNI_IFNAME": ifname, "CNI_NETNS": path}
        params = {
            "network": "rail0", "containerID": container, "ifname": ifname,
            "pod": {"namespace": "ns", "name": f"pod-{container}", "uid": uid},
            "netns": {"path": path, "cookie": cookie, "nsid": nsid},
            "request": {"program": "spur", "env": env, "netconf": conf},
            "pool": "train", "deadline": boot_ms() + wait_ms, **more,
        }
        if device:
            params["device"] = device
        return {k: v for k, v in params.items() if v is not None}

    def attach(self, **what):
        """Reserve and done, as an ADD that succeeds; returns the record as it was reserved."""
        with self.client() as client:
            a = client.call("attachment.reserve", **self.request(**what))
            client.send("attachment.done", notify=True, facts={}, **generation_of(a))
            return a

    def states(self):
        return {a["containerID"]: a["state"] for a in self.attachments()}

    def gone(self, container="c1", seconds=10):
        lab.wait_for(lambda: container not in self.states(), seconds, f"{container} is gone")

    def logged(self, words):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return words in f.read()


def key_of(container="c1", ifname="net1"):
    return {"network": "rail0", "containerID": container, "ifname": ifname}


def generation_of(a):
    return {k: a[k] for k in ("network", "containerID", "ifname", "generation")}


def refused(words, call, code=11):
    try:
        call()
    except lab.RpcError as e:
        assert words in str(e) and e.code == code, e.error
        return e
    raise AssertionError(f"was not refused: {words}")


# -- reserve, done, get, release


def test_reserve_is_idempotent():
    with Node() as node:
        node.rail("eth1", mtu=1400, mac="02:00:00:00:00:01", altnames=["rail-a"])
        node.daemon()
        a = node.attach(device="net:eth1")
        assert a["state"] == "unfinished" and a["ips"] == [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}], a
        device = a["device"]
        assert device["name"] == "eth1" and device["mtu"] == 1400 and not device["up"], device
        assert device["mac"] == "02:00:00:00:00:01" and device["altnames"] == ["rail-a"], device
        again = node.rpc("attachment.reserve", **node.request(device="net:eth1"))
        assert again["state"] == "attached" and again["id"] == a["id"] and again["ips"] == a["ips"], again
        assert len(node.attachments()) == 1
        with node.client() as client:
            got = client.call("attachment.get", **key_of())["attachment"]
            how = {"left": True, "restored": True, "reason": "DEL"}
            assert client.call("attachment.release", **generation_of(got), **how) == {}
            assert client.call("attachment.release", **generation_of(got), **how) == {}
            assert client.call("attachment.get", **key_of()) == {"attachment": None}
        assert node.attachments() == [] and node.calls() == []


def test_addresses_alone_go_with_the_question():
    with Node() as node:
        node.daemon()
        alone = node.request("c2")
        alone["request"]["program"] = "spur-ipam"
        node.attach()
        with node.client() as client:
            client.call("attachment.reserve", **alone)
            assert client.call("attachment.get", **key_of("c2"))["attachment"], "asked for, it stays"
            assert client.call("attachment.get", **key_of("c2"), release="DEL") == {"attachment": None}
            assert client.call("attachment.get", **key_of("c1"), release="DEL")["attachment"], "a device's stays"
        assert node.states() == {"c1": "attached"} and node.calls() == []
        last = node.rpc("history.get")["events"][-1]
        assert (last["event"], last["containerID"], last["reason"]) == ("released", "c2", "DEL"), last


def test_another_generation_is_not_touched():
    with Node() as node:
        node.daemon()
        a = node.attach()
        old = {**generation_of(a), "generation": a["generation"] - 1}
        node.rpc("attachment.release", **old, left=True, restored=True)
        with node.client() as client:
            client.send("attachment.done", notify=True, facts={"mtu": 9000}, **old)
        assert node.states() == {"c1": "attached"}
        assert "mtu" not in node.attachments()[0]["facts"]
        lab.wait_for(lambda: node.logged("the reservation is gone"), what="the stale done is logged")


def test_done_is_seen_at_once():
    """`done` waits for company, but never longer than for a question about it."""
    with Node() as node:
        node.daemon()
        for i in range(20):
            a = node.attach(container=f"c{i}")
            with node.client() as client:
                got = client.call("attachment.get", **key_of(f"c{i}"))["attachment"]
                assert got["state"] == "attached" and got["id"] == a["id"], got
        assert node.calls() == []


def test_done_alone_is_durable_within_a_second():
    with Node() as node:
        node.daemon()
        node.attach()
        time.sleep(1.5)
        node.stop(signal.SIGKILL)
        node.start()
        assert node.states() == {"c1": "attached"}


def test_a_record_larger_than_an_answer():
    """It is listed without what the network said, and does not end the list."""
    with Node() as node:
        node.daemon()
        for name in "abc":
            request = node.request(container=name)
            request["request"]["netconf"]["x-long"] = "\\" * 22000  # 44 KB
            with node.client() as client:
                a = client.call("attachment.reserve", **request)
                routes = [{"dst": f"fd00:{i}::/64", "gw": "fd00::" + "1" * 4} for i in range(32)]
                ips = [{"address": f"fd00::{i}/64", "gateway": "fd00::1"} for i in range(16)]
                client.send("attachment.done", notify=True, facts={"ips": ips, "routes": routes}, **generation_of(a))
        found, after = [], 0
        for _ in range(10):
            page = node.rpc("attachment.list", after=after)
            found += [a["containerID"] for a in page["attachments"]]
            after = page["next"]
            if not after:
                break
        assert found == ["a", "b", "c"], found


def test_devices_that_must_stay():
    with Node() as node:
        node.rail("eth1")
        node.net.ip("link", "add", "br0", "type", "bridge")
        node.net.ip("link", "set", "eth1", "master", "br0")
        node.rail("eth2")
        node.net.ip("addr", "add", "192.0.2.1/24", "dev", "eth2")
        node.rail("eth3", altnames=["x\udcff"])
        node.daemon()
        for device, words, code in (
            ("net:eth3", "name \"x?\" is not UTF-8", 102), ("net:eth1", "has the master br0", 102), ("net:eth2", "has the address 192.0.2.1/24", 102),
            ("net:lo", "loopback", 102), ("net:eth9", "No such device", 102),
            ("pci:0000:ff:1f.7", "", 102), ("eth1", "must be net:NAME", 7),
        ):
            refused(words, lambda d=device: node.rpc("attachment.reserve", **node.request(device=d)), code)
        assert node.attachments() == [], "a refusal leaves no record"
        assert node.rpc("history.get")["events"] == []


def test_devices_that_others_stand_on():
    """A VLAN, macvlan or ipvlan would go on in the pod: refused by name, under any name of the device."""
    uppers = {
        "VLAN": ("type", "vlan", "id", "5"), "macvlan": ("type", "macvlan", "mode", "bridge"),
        "ipvlan": ("type", "ipvlan", "mode", "l3"), "MACsec": ("type", "macsec"),
    }
    seen = 0
    with Node() as node:
        node.daemon()
        for i, (kind, words) in enumerate(uppers.items()):
            node.rail(f"eth{i}", altnames=[f"rail-{i}"])
            try:
                node.net.ip("link", "add", "link", f"eth{i}", "name", f"up{i}", *words)
            except AssertionError as why:
                print(f"no {kind} here (tests/vm/test_vf.py has all): {why}")
                continue
            seen += 1
            for name in (f"eth{i}", f"rail-{i}"):
                refused(f"reserve net:{name}: it has the upper device up{i}, which a move would lose",
                        lambda d=name: node.rpc("attachment.reserve", **node.request(device=f"net:{d}")), 102)
            node.net.ip("link", "del", f"up{i}")
            with node.client() as client:
                client.call("attachment.reserve", **node.request(container=f"c{i}", device=f"net:eth{i}"))
    if not seen:
        lab.skip("a kernel with VLAN, macvlan, ipvlan or MACsec devices")


def test_devices_that_the_host_has_set_up():
    """Routes and permanent neighbours of a named device, of either family, in any table."""
    cases = (
        ("route 198.51.100.0/24", ("route", "add", "198.51.100.0/24", "dev", "eth1")),
        ("route 0.0.0.0/0", ("route", "add", "default", "dev", "eth1", "table", "77")),
        ("route fd00:5::/64", ("-6", "route", "add", "fd00:5::/64", "dev", "eth1")),
        ("route ::/0", ("-6", "route", "add", "default", "dev", "eth1", "table", "77", "proto", "static")),
        ("route 198.51.100.0/24", ("route", "add", "198.51.100.0/24", "nexthop", "dev", "eth1", "nexthop", "dev", "eth1p")),
        ("permanent neighbour 192.0.2.9", ("neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", "eth1", "nud", "permanent")),
        ("permanent neighbour fd00::9", ("neigh", "add", "fd00::9", "lladdr", "02:00:00:00:00:09", "dev", "eth1", "nud", "permanent")),
    )
    with Node() as node:
        node.rail("eth1", up=True)
        node.daemon()
        lab.wait_for(lambda: "fe80::/64" in node.net.ip("-6", "route", "show", "dev", "eth1"), what="the link-local route")
        node.net.ip("-6", "route", "add", "fd00:7::/64", "dev", "eth1", "proto", "ra")
        node.net.ip("neigh", "add", "192.0.2.8", "lladdr", "02:00:00:00:00:08", "dev", "eth1", "nud", "reachable")
        for words, argv in cases:
            node.net.ip(*argv)
            refused(f"reserve net:eth1: it has the {words}, which a move would lose",
                    lambda: node.rpc("attachment.reserve", **node.request(device="net:eth1")), 102)
            node.net.ip(*["del" if w == "add" else w for w in argv])
        assert node.attachments() == []
        with node.client() as client:
            client.call("attachment.reserve", **node.request(device="net:eth1"))


# -- the lock, and who waits for it


def test_the_connection_is_the_lock():
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        node.attach(device="net:eth1")
        with node.client() as first, node.client() as second, node.client() as third:
            a = first.call("attachment.get", **key_of())["attachment"]
            second.send("attachment.get", **key_of(), deadline=boot_ms() + 10000)
            third.send("attachment.reserve", **node.request(container="c2", device="net:eth1", cookie=8))
            assert second.is_quiet() and third.is_quiet(0.1), "both wait"
            first.call("attachment.release", **generation_of(a), left=True, restored=True)
            assert second.is_quiet(), "released is not let go"
            first.close()
            assert second.read()["result"] == {"attachment": None}
            assert third.read()["result"]["containerID"] == "c2", "the device is free"
            second.close()


def test_waiting_has_an_order_and_a_deadline():
    with Node() as node:
        node.daemon()
        node.attach()
        clients = [node.client() for _ in range(5)]
        holder = node.client()
        holder.call("attachment.get", **key_of())
        begun = time.monotonic()
        clients[0].send("attachment.get", **key_of(), deadline=boot_ms() + 500)
        for client in clients[1:]:
            client.send("attachment.get", **key_of(), deadline=boot_ms() + 20000)
            time.sleep(0.02)
        error = clients[0].read()["error"]
        assert 0.4 < time.monotonic() - begun < 1.5, "answered at its deadline"
        assert error["data"]["cni"] == 11 and f"process {os.getpid()} (attachment.get)" in error["message"], error
        clients[2].close()  # gone: dropped, the others move up
        holder.close()
        for client in (clients[1], clients[3], clients[4]):
            others = [c for c in (clients[3], clients[4]) if c is not client]
            assert client.read()["result"]["attachment"]["containerID"] == "c1"
            assert all(c.is_quiet(0.1) for c in others if not c.file.closed)
            client.close()


def test_the_dead_request_is_not_served():
    """A peer that has gone while it waited gets no reservation."""
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        node.attach(device="net:eth1")
        with node.client() as holder:
            a = holder.call("attachment.get", **key_of())["attachment"]
            with node.client() as waiting:
                waiting.send("attachment.reserve", **node.request(container="c2", device="net:eth1"))
                assert waiting.is_quiet()
            late = node.client()
            late.send("attachment.reserve", **node.request(container="c3", device="net:eth1", wait_ms=-1))
            assert late.read()["error"]["data"]["cni"] == 11
            late.close()
            holder.call("attachment.release", **generation_of(a), left=True, restored=True)
        assert node.attachments() == [] and node.calls() == []


def test_the_same_device_by_another_name():
    with Node() as node:
        node.rail("eth1", altnames=["rail-a"])
        node.daemon()
        with node.client() as first, node.client() as second:
            first.call("attachment.reserve", **node.request(device="net:eth1"))
            second.send("attachment.reserve", **node.request(container="c2", device="net:rail-a"))
            assert second.is_quiet(), "the first one has not moved it yet"


# -- undo


def test_a_client_that_dies_is_undone():
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        with node.client() as client:
            client.call("attachment.reserve", **node.request(device="net:eth1"))
        node.gone()
        [call] = node.calls()
        assert call["env"] == {
            "CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "net1", "CNI_NETNS": "/nowhere",
        }, call
        assert call["conf"]["name"] == "rail0"


def test_an_add_waits_for_the_undo_of_the_last_one():
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        for _ in range(3):
            with node.client() as client:
                client.call("attachment.reserve", **node.request(device="net:eth1"))
        a = node.attach(container="c2", device="net:eth1")
        assert a["containerID"] == "c2" and node.states() == {"c2": "attached"}
        assert len(node.calls()) == 3


def test_an_add_that_fails_before_the_last_undo_has_ended():
    """The record has gone, and its plugin is still ending: the next one's is undone all the same."""
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        node.mode("late")
        for _ in range(2):
            with node.client() as client:
                client.call("attachment.reserve", **node.request(device="net:eth1"))
        node.gone()
        assert [c["env"]["CNI_COMMAND"] for c in node.calls()] == ["DEL", "DEL"], node.calls()


def test_undo_is_tried_again():
    with Node() as node:
        node.daemon()
        node.mode("fail")
        with node.client() as client:
            client.call("attachment.reserve", **node.request())
        lab.wait_for(lambda: len(node.calls()) >= 3, 10, "a third try")
        refused("cannot be undone: the kernel says no",
                lambda: node.rpc("attachment.reserve", **node.request(cookie=8)))
        node.mode("")
        node.gone(seconds=20)


def test_undo_that_leaves_a_process_behind():
    """With its stderr open, as a foreign IPAM may leave one: it is no undo that runs."""
    with Node() as node:
        node.daemon()
        node.mode("litter")
        try:
            for i in range(6):
                with node.client() as client:
                    client.call("attachment.reserve", **node.request(container=f"c{i}"))
            lab.wait_for(lambda: not node.states(), 60, "all six are undone")
            lab.wait_for(lambda: node.rpc("node.status")["undo"] == {"queued": 0, "running": 0}, 30, "none runs")
            assert len(node.calls()) == 6, "each once"
        finally:
            with open(f"{node.dir}/plugin/left", encoding="ascii") as f:
                for pid in f:
                    os.kill(int(pid), signal.SIGKILL)


def test_undo_whose_words_are_cut():
    """In the middle of a character: what the daemon then has to say is JSON all the same."""
    with Node() as node:
        node.daemon()
        node.mode("wordy")
        with node.client() as client:
            client.call("attachment.reserve", **node.request())
        lab.wait_for(lambda: node.attachments()[0].get("undo", {}).get("why"), what="why not is told")
        assert node.attachments()[0]["undo"]["why"].startswith("öö"), node.attachments()
        node.mode("")
        node.gone(seconds=20)


def test_undo_that_fails_and_lingers():
    """The connection of a failed undo ends late: that is no reason to try again sooner."""
    with Node() as node:
        node.daemon()
        node.mode("linger")
        with node.client() as client:
            client.call("attachment.reserve", **node.request())
        time.sleep(2.5)
        assert len(node.calls()) == 2, "at 0 s and 1 s, the next at 3 s"


def test_undo_of_many_runs_four_at_once():
    with Node() as node:
        node.daemon()
        node.mode("hang")
        clients = [node.client() for _ in range(10)]
        for i, client in enumerate(clients):
            client.call("attachment.reserve", **node.request(container=f"c{i}"))
        for client in clients:
            client.close()
        lab.wait_for(lambda: len(node.calls()) == 4, what="four start")
        status = node.rpc("node.status")
        assert status["undo"] == {"queued": 6, "running": 4}, status
        begun = time.monotonic()
        assert node.stop() == 0 and time.monotonic() - begun < 5, "ends without waiting for them"


def test_dirty_keeps_the_device():
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        node.attach(device="net:eth1")
        a = node.attachments()[0]
        node.rpc("attachment.release", **generation_of(a), left=True, restored=False)
        [a] = node.attachments()
        assert a["state"] == "dirty" and a["ips"] == [], a
        node.mode("dirty")
        e = refused("reserve net:eth1: rail0/c1/net1 of pod ns/pod-c1: cannot be undone: the device is not restored",
                    lambda: node.rpc("attachment.reserve", **node.request(container="c2", device="net:eth1")))
        assert "dirty" in e.error["data"]["details"], e.error
        assert len(node.calls()) == 1, "tried once for it"
        node.mode("")
        assert node.attach(container="c2", device="net:eth1")["containerID"] == "c2", "tried again, and clean"


def test_supersede():
    """The same pod under a new container ID: the old one goes first, alive or not."""
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        node.attach(device="net:eth1", uid="u1")
        a = node.attach(container="c2", device="net:eth1", uid="u1", cookie=8)
        assert a["containerID"] == "c2" and [c["env"]["CNI_CONTAINERID"] for c in node.calls()] == ["c1"]
        refused("the device belongs to rail0/c2/net1 of pod ns/pod-c2",
                lambda: node.rpc("attachment.reserve", **node.request(container="c3", device="net:eth1", uid="u3")))
        refused("the device belongs to", lambda: node.rpc(
            "attachment.reserve", **node.request(container="c3", device="net:eth1")))
        assert node.states() == {"c2": "attached"}


def worker(container, uid):
    """A pod of a StatefulSet: its name stays, its UID does not."""
    return {"container": container, "sticky": "w3", "pod": {"namespace": "ns", "name": "w-3", "uid": uid}}


def test_a_namesake_is_waited_for():
    """Its DEL passes the successor; so does an undo, and whatever else comes meanwhile."""
    def release(client):
        a = client.call("attachment.get", **key_of("c1"))["attachment"]
        client.call("attachment.release", left=True, restored=True, **generation_of(a))

    with Node() as node:
        node.daemon()
        index = node.attach(**worker("c1", "u1"))["rail"]["index"]
        for new, go in (("c2", release), ("c3", lambda client: client.call("attachment.undo", **key_of("c2")))):
            with node.client() as client, node.client() as other:
                client.send("attachment.reserve", **node.request(**worker(new, f"u{new}")))
                assert client.is_quiet(), "it waits"
                assert other.call("attachment.reserve", **node.request(container=f"x{new}"))["rail"]["index"] != index
                go(other)
                other.close()
                a = client.read()["result"]
                assert a["rail"]["index"] == index, a
                client.send("attachment.done", notify=True, facts={}, **generation_of(a))


def test_a_namesake_is_not_waited_for_beyond_the_deadline():
    with Node() as node:
        node.daemon()
        node.attach(**worker("c1", "u1"))
        begun = time.monotonic()
        assert node.attach(**worker("c2", "u2"), wait_ms=2500)["rail"]["index"] == 3
        assert time.monotonic() - begun >= 1.4
        for wait_ms in (900, 10000):  # too little time; and c3 has had its turn
            begun = time.monotonic()
            a = node.attach(**worker("c3", "u3"), wait_ms=wait_ms, ifname=f"net{wait_ms}")
            assert a["rail"]["index"] > 3 and time.monotonic() - begun < 4


def test_same_key_in_another_namespace():
    with Node() as node:
        node.daemon()
        node.attach(nsid=77)  # there is no such nsid, and no such path: dead
        a = node.attach(cookie=8)
        assert a["netns"]["cookie"] == 8 and len(node.calls()) == 1
        refused("already attached otherwise", lambda: node.rpc("attachment.reserve", **node.request(cookie=9)))


# -- rude clients


def test_words_that_are_no_request():
    """What is no request ends the connection; a request that is refused does not."""
    with Node() as node:
        node.daemon()
        for line, code in (
            (b"{", -32700), (b"[]", -32700), (b"\xff", -32700), (b"[" * 65000, -32700), (b"{}", -32600),
            (b'{"jsonrpc":"1.0","id":1,"method":"node.status"}', -32600),
        ):
            with node.client() as client:
                client.socket.sendall(line + b"\n" + b'{"jsonrpc":"2.0","id":2,"method":"node.status"}\n')
                answer = client.read()
                assert answer["error"]["code"] == code, (line, answer)
                with contextlib.suppress(ConnectionResetError):
                    assert client.read() is None, "and closed"
        with node.client() as client:
            for line, code in (
                (b'{"jsonrpc":"2.0","id":1,"method":"no.such"}', -32601),
                (b'{"jsonrpc":"2.0","id":1,"method":"attachment.get"}', -32602),
                (b'{"jsonrpc":"2.0","id":1,"method":"attachment.get","params":{"network":5}}', -32602),
                (b'{"jsonrpc":"2.0","id":1,"method":"attachment.reserve","params":{}}', -32602),
            ):
                client.socket.sendall(line + b"\n")
                answer = client.read()
                assert answer["error"]["code"] == code, (line, answer)
            assert client.call("node.status")["node"] == node.label, "and it serves on"


def test_lines_that_are_too_long():
    with Node() as node:
        node.daemon()
        with node.client() as client:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.socket.sendall(b"x" * 70000)
            assert client.read()["error"]["code"] == -32600
            with contextlib.suppress(ConnectionResetError):
                assert client.read() is None, "and closed"
        with node.client() as client:  # exactly the limit, newline included, is read
            line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "node.status", "params": {"x": ""}}).encode()
            line = line.replace(b'""', b'"' + b"x" * (65536 - 1 - len(line)) + b'"')
            client.socket.sendall(line + b"\n")
            assert client.read()["result"]["node"] == node.label


def test_three_hundred_connections():
    """More than there are places for: each is answered, some when others have gone."""
    with Node() as node:
        node.daemon()
        clients = [node.client() for _ in range(300)]
        for client in clients:
            client.send("node.status")
        for client in clients:
            assert client.read()["result"]["connections"] <= 256
        for client in clients:
            client.close()
        lab.wait_for(lambda: node.rpc("node.status")["connections"] == 1, what="they are forgotten")


def test_a_client_that_never_reads():
    with Node() as node:
        node.daemon(pools=[lab.pool("train", rails=30)])
        with node.client() as rude:
            rude.socket.settimeout(1)
            with contextlib.suppress(TimeoutError):
                for _ in range(5000):
                    rude.send("pool.list")
            begun = time.monotonic()
            for _ in range(50):
                assert node.rpc("node.status")
            assert time.monotonic() - begun < 2, "the others do not feel it"
            rss = int(next(l for l in open(f"/proc/{daemon_pid(node)}/status") if l.startswith("VmRSS")).split()[1])
            assert rss < 60000, f"{rss} kB"
            lab.wait_for(lambda: node.rpc("node.status")["connections"] == 1, 15, "it is sent away")


def daemon_pid(node):
    """nsenter executes the daemon in its own place."""
    return node.ipamd.pid


def test_only_root():
    with Node() as node:
        node.daemon()
        assert os.stat(node.socket).st_mode & 0o777 == 0o600
        os.chmod(node.socket, 0o666)
        for path in (node.dir, os.path.dirname(node.socket)):
            os.chmod(path, 0o755)
        script = (f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({node.socket!r}); "
                  "s.sendall(b'{}\\n'); print(len(s.recv(100)))")
        out = lab.run("/usr/bin/python3", "-c", "import os; os.setgid(65534); os.setuid(65534)\n"
                      f"try:\n exec({script!r})\nexcept OSError:\n print(0)")
        assert out.strip() == "0", out


# -- many at once


def test_two_hundred_at_once_and_a_crash():
    """What was answered is there after kill -9; nothing is given twice."""
    with Node() as node:
        node.daemon(pools=[{"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.0.0.0/16"}]}])
        answered, lock = [], threading.Lock()

        def attach(i):
            try:
                with node.client() as client:
                    a = client.call("attachment.reserve", **node.request(container=f"c{i}"))
                    with lock:
                        answered.append(a)
                    if len(answered) == 100:
                        node.ipamd.kill()
                    client.send("attachment.done", notify=True, facts={}, **generation_of(a))
            except (OSError, ValueError, TypeError):
                pass  # the crash

        threads = [threading.Thread(target=attach, args=(i,)) for i in range(200)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        node.stop()
        assert len(answered) >= 100
        node.start()
        found = {a["containerID"]: a for a in node.attachments()}
        for a in answered:
            assert found[a["containerID"]]["ips"] == a["ips"], a
        given = [a["ips"][0]["address"] for a in found.values()]
        assert len(given) == len(set(given)), "an address was given twice"


def test_one_commit_for_an_add():
    with Node() as node:
        node.daemon(http="127.0.0.1:9469")
        for i in range(30):
            node.attach(container=f"c{i}")
        page = lab.wait_for(lambda: p if (p := metrics(node))['spur_attachments{state="attached"}'] == 30 else None, 6)
        assert page["spur_commit_duration_seconds_count"] <= 35, "`done` rides with the next reserve"


def test_one_commit_for_many():
    with Node() as node:
        node.daemon(http="127.0.0.1:9469")
        clients = [node.client() for _ in range(100)]
        node.ipamd.send_signal(signal.SIGSTOP)
        for i, client in enumerate(clients):
            client.send("attachment.reserve", **node.request(container=f"c{i}"))
        node.ipamd.send_signal(signal.SIGCONT)
        for client in clients:
            assert client.read()["result"]["state"] == "unfinished"
        page = lab.wait_for(lambda: p if (p := metrics(node))["spur_batch_size_sum"] >= 100 else None, 6)
        assert page["spur_batch_size_count"] < 20, "a hundred requests in a few commits"
        node.mode("hang")
        for client in clients:
            client.close()


# -- a disk that is full, a disk that fails


def test_full_disk():
    """What was answered stays, releases go on, and so do reservations when there is room."""
    with Node() as node:
        lab.run("mount", "-t", "tmpfs", "-o", "mode=0700,size=5M", "tmpfs", node.state)
        try:
            node.daemon(pools=[{"name": "train", "rails": [{"name": "rail0", "cidr": "10.0.0.0/16"}]}])
            given = []
            while len(given) < 5000:
                try:
                    given.append(node.attach(container=f"c{len(given)}"))
                except lab.RpcError as e:
                    assert e.code == 11 and "the disk is full" in str(e), e.error
                    break
            assert 10 < len(given) < 5000 and len(node.attachments()) == len(given)
            gone = given.pop()
            node.rpc("attachment.release", **generation_of(gone), left=True, restored=True)
            refused("the disk is full", lambda: node.rpc("attachment.reserve", **node.request(container="more")))
            lab.run("mount", "-o", "remount,size=32M", node.state)
            node.attach(container="after")
            assert node.stop() == 0
            node.start()
            assert len(node.attachments()) == len(given) + 1
        finally:
            node.stop()
            lab.run("umount", node.state)


FAILING_SYNC = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
int fdatasync(int fd)
{
	if (unlink(getenv("FAIL_SYNC")) != 0)
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}
"""


class FailingDisk:
    """A daemon whose next flush fails when it is told so."""

    def __init__(self, node):
        self.trigger = f"{node.dir}/trigger"
        source, library = f"{node.dir}/sync.c", f"{node.dir}/sync.so"
        with open(source, "w", encoding="utf-8") as f:
            f.write(FAILING_SYNC)
        lab.run("cc", "-shared", "-fPIC", "-o", library, source)
        asan = f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": library, "FAIL_SYNC": self.trigger, "ASAN_OPTIONS": asan}

    def fail(self):
        open(self.trigger, "w", encoding="utf-8").close()


def test_failing_disk():
    """After one failed flush nobody knows what is on the disk: no answer, the end, a new start."""
    with Node() as node:
        disk = FailingDisk(node)
        node.daemon(env=disk.env)
        a = node.attach()
        node.rpc("node.status")
        disk.fail()
        with node.client() as client:
            client.send("attachment.reserve", **node.request(container="c2"))
            assert client.read() is None, "not answered"
        assert node.ipamd.wait(10) == 1 and node.logged("Input/output error")
        node.stop()
        node.start()
        found = {r["containerID"]: r for r in node.attachments()}
        assert found["c1"]["id"] == a["id"] and found["c1"]["state"] == "attached"


def add_pool(node, name, cidr):
    """Writes it into the daemon's file."""
    with open(node.config, encoding="utf-8") as f:
        config = json.load(f)
    config["pools"].append({"name": name, "rails": [{"name": "r", "cidr": cidr}]})
    with open(node.config, "w", encoding="utf-8") as f:
        json.dump(config, f)


def test_disk_that_fails_under_new_pools():
    """The pools are in the store: a flush that fails there is the end too, at SIGHUP and at start."""
    with Node() as node:
        disk = FailingDisk(node)
        node.daemon(env=disk.env)
        node.attach()
        node.rpc("node.status")
        add_pool(node, "more", "10.77.0.0/24")
        disk.fail()
        node.ipamd.send_signal(signal.SIGHUP)
        assert node.ipamd.wait(10) == 1 and node.logged("Input/output error")
        node.stop()
        add_pool(node, "most", "10.78.0.0/24")
        disk.fail()
        try:
            node.start(disk.env)
            raise RuntimeError("it serves")
        except AssertionError as ended:
            assert "Input/output error" in str(ended), ended
        node.stop()
        node.start()
        assert node.states() == {"c1": "attached"}
        assert "most" in {p["name"] for p in node.rpc("pool.list")["pools"]}


# -- signals and the file


def test_sigterm_answers_what_it_has():
    with Node() as node:
        node.daemon()
        node.attach()
        with node.client() as holder, node.client() as waiting:
            holder.call("attachment.get", **key_of())
            waiting.send("attachment.get", **key_of(), deadline=boot_ms() + 20000)
            assert waiting.is_quiet()
            assert node.stop() == 0
            answer = waiting.read()
            assert answer["error"]["data"]["cni"] == 11 and "stops" in answer["error"]["message"], answer
        assert not os.path.exists(node.socket)
        node.start()
        assert node.states() == {"c1": "attached"}


def test_sighup():
    with Node() as node:
        node.daemon()
        node.attach()

        def reload(text, words):
            with open(node.config, "w", encoding="utf-8") as f:
                f.write(text)
            size = os.path.getsize(node.log)
            node.ipamd.send_signal(signal.SIGHUP)

            def seen():
                with open(node.log, encoding="utf-8") as f:
                    f.seek(size)
                    return words in f.read()
            lab.wait_for(seen, 5, words)

        with open(node.config, encoding="utf-8") as f:
            good = json.load(f)
        for text, words in (
            ("{", "parse JSON"), ('{"pools": 5}', 'key "pools"'), ('{"pool": []}', 'key "pool": is not known'),
            (json.dumps({**good, "pools": [lab.pool("other")]}), "10.0.0.2"),  # another meaning of what is held
        ):
            reload(text, words)
            status = node.rpc("node.status")
            assert not status["config"]["ok"] and words in status["config"]["error"], status
            assert status["alarms"], "and it says so"
            assert [p["name"] for p in node.rpc("pool.list")["pools"]] == ["train"]
        good["pools"].append({"name": "more", "rails": [{"name": "r", "cidr": "192.0.2.0/24"}]})
        reload(json.dumps({**good, "http": "127.0.0.1:9"}), "takes effect when the daemon is restarted")
        assert [p["name"] for p in node.rpc("pool.list")["pools"]] == ["train", "more"]
        assert node.rpc("node.status")["alarms"] == []


def test_it_tells_systemd():
    with Node() as node, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"{node.dir}/notify")
        told.settimeout(5)
        node.daemon(env={"NOTIFY_SOCKET": f"{node.dir}/notify"})
        assert told.recv(4096) == b"READY=1\nSTATUS=serving"
        node.ipamd.send_signal(signal.SIGHUP)
        assert told.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert told.recv(4096) == b"READY=1\nSTATUS=serving"
        node.stop()
        assert told.recv(4096) == b"STOPPING=1"


def test_a_bad_file_at_start():
    with Node() as node:
        node.daemon()
        node.attach()
        node.stop()
        with open(node.config, encoding="utf-8") as f:
            good = json.load(f)
        with open(node.config, "w", encoding="utf-8") as f:
            json.dump({**good, "pools": [{"name": "train"}]}, f)
        node.start()
        assert not node.rpc("node.status")["config"]["ok"]
        assert node.attach(container="c2")["ips"][0]["address"] == "10.0.0.3/24", "the stored pools serve"
        node.stop()
        with open(node.config, "w", encoding="utf-8") as f:
            f.write("{")
        try:
            node.start()
        except AssertionError as e:
            assert "parse JSON" in str(e) and "exit 1" in str(e), e
        else:
            raise AssertionError("nobody knows where the store is")
        node.ipamd = None


def test_check_config():
    with Node() as node:
        path = f"{node.dir}/x.json"
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"pools": [lab.pool("train")]}, f)
        assert "good" in lab.run(lab.program("spur-ipamd"), "--check-config", "--config", path)
        rail = {"name": "r", "cidr": "10.0.0.0/28"}
        unusable = [{"exclude": ["10.0.0.0/28"]}, {"exclude": ["10.0.0.5/30"]}, {"routes": [{"dst": "fd00::/8"}]},
                    {"routes": [{"dst": "10.0.0.0/8", "gw": "10.0.1.1"}]}]
        for text in ('{"pools": [{"name": "a"}]}', "{}", "", '{"pools": [], "lgo": {}}',
                     *(json.dumps({"pools": [{"name": "a", "rails": [{**rail, **more}]}]}) for more in unusable)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            try:
                lab.run(lab.program("spur-ipamd"), "--check-config", "--config", path)
            except AssertionError as e:
                assert "exit 1" in str(e) and path in str(e), e
            else:
                raise AssertionError(f"taken: {text}")
        assert lab.run(lab.program("spur-ipamd"), "--version").startswith("spur-ipamd ")
        assert "--config" in lab.run(lab.program("spur-ipamd"), "--help")


# -- figures


def fetch(node, path):
    """(status, body): from inside the node's namespace."""
    out = node.net.sh("curl", "-s", "-w", "\n%{http_code}", f"http://127.0.0.1:9469{path}")
    body, _, status = out.rpartition("\n")
    return int(status), body


def metrics(node):
    status, body = fetch(node, "/metrics")
    assert status == 200, status
    page, typed = {}, set()
    for line in body.splitlines():
        if line.startswith("# TYPE "):
            assert line.split()[2] not in typed, f"twice: {line}"
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            name, _, value = line.rpartition(" ")
            family = name.split("{")[0]
            bare = family.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert family in typed or bare in typed, f"no TYPE: {line}"
            assert name not in page, f"twice: {name}"
            page[name] = float(value)
    return page


def test_figures():
    with Node() as node:
        node.daemon(http="127.0.0.1:9469")
        node.attach()
        refused("pool", lambda: node.rpc("attachment.reserve", **node.request(container="c2", pool="none")), 7)
        page = lab.wait_for(lambda: p if (p := metrics(node)).get('spur_attachments{state="attached"}') else None, 6)
        assert page['spur_requests_total{method="attachment.reserve",code="0"}'] == 1
        assert page['spur_requests_total{method="attachment.reserve",code="7"}'] == 1
        assert page['spur_requests_total{method="attachment.done",code="0"}'] == 1
        assert page['spur_ip_capacity{pool="train",rail="rail0"}'] == 253
        assert page['spur_ip_assigned{pool="train",rail="rail0"}'] == 1
        assert page['spur_alarm{alarm="mass_death"}'] == 0
        assert page["spur_commit_duration_seconds_count"] >= 1 and page["spur_store_bytes"] > 4096
        assert page['spur_commit_duration_seconds_bucket{le="+Inf"}'] == page["spur_commit_duration_seconds_count"]
        assert fetch(node, "/healthz")[0] == 200 and fetch(node, "/readyz")[0] == 200
        assert fetch(node, "/other")[0] == 404


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
