# SPDX-License-Identifier: Apache-2.0
"""The ledger as a whole: proved while it serves, carried out and in, restored, and asked who had what."""

import glob
import json
import os
import subprocess
import threading
import time

import lab
from daemon_ctl import ctl, rows
from daemon_serve import Node, generation_of, key_of, refused

POOL = [{"name": "train", "cooldown_s": 120, "rails": [{"name": "rail0", "cidr": "10.0.0.0/20"}]}]


class Load:
    """Clients that attach and release until they are told to stop."""

    def __init__(self, node, clients=4):
        self.stopped = threading.Event()
        self.rounds = 0
        self.failure = None
        self.threads = [threading.Thread(target=self.run, args=(node, n)) for n in range(clients)]

    def run(self, node, n):
        try:
            while not self.stopped.is_set():
                with node.client() as client:
                    name = f"load{n}-{self.rounds}"
                    a = client.call("attachment.reserve", **node.request(container=name))
                    client.call("attachment.release", **generation_of(a), left=True, restored=True)
                    self.rounds += 1
        except Exception as e:  # pylint: disable=broad-except
            self.failure = e

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        lab.wait_for(lambda: self.failure or self.rounds > 20, 30, "the load runs")
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        assert not self.failure, self.failure


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def body_of(path):
    """What two dumps of one ledger have in common: all but the head, and the sum of all."""
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()[1:-1]


def wipe(node):
    """The recipe's "move it away"."""
    node.stop()
    os.rename(node.state, node.state + ".damaged")
    os.mkdir(node.state, 0o700)


# -- check


def test_check_under_load():
    with Node() as node:
        node.daemon(POOL)
        for i in range(30):
            node.attach(container=f"c{i}")
        with Load(node) as load:
            before = load.rounds
            for _ in range(5):
                out, _ = ctl(node, "check")
                assert "all of it fits together" in out, out
            lab.wait_for(lambda: load.rounds > before + 20, 30, "others are served meanwhile")
        audit = json.loads(ctl(node, "check", "--json")[0])
        assert audit["ok"] and audit["counts"]["records"] == 30 and audit["counts"]["held"] == 30, audit


def test_checks_are_shared():
    with Node() as node:
        node.daemon(POOL)
        clients = [node.client() for _ in range(8)]
        for client in clients:
            client.send("ledger.check")
        for client in clients:
            assert client.read()["result"]["ok"]
            client.close()


# -- export and import


def test_export_while_serving():
    with Node() as node:
        node.daemon(POOL)
        for i in range(200):
            node.attach(container=f"c{i}")
        path = f"{node.dir}/dump"
        with Load(node):
            ctl(node, "export", path)
        lines = lines_of(path)
        assert lines[0]["ledger"]["node"] == node.label and lines[-1]["end"]["lines"] == len(lines) - 1
        kept = {l["record"]["containerID"] for l in lines if "record" in l}
        assert {f"c{i}" for i in range(200)} <= kept, "one moment, whole"
        out, _ = ctl(node, "export")
        assert json.loads(out.splitlines()[-1])["end"]["lines"] == len(out.splitlines()) - 1


def test_import_is_the_same():
    with Node() as node:
        node.daemon(POOL)
        for i in range(150):
            node.attach(container=f"c{i}", uid=f"u{i}")
        for i in range(0, 150, 3):
            with node.client() as client:
                a = client.call("attachment.get", **key_of(f"c{i}"))["attachment"]
                client.call("attachment.release", **generation_of(a), left=True, restored=True)
        first, second = f"{node.dir}/first", f"{node.dir}/second"
        ctl(node, "export", first)
        wipe(node)
        node.start(options=["--new-ledger"])
        out, _ = ctl(node, "import", first)
        assert "100 attachments imported" in out, out
        ctl(node, "export", second)
        assert body_of(first) == body_of(second)
        assert "all of it fits together" in ctl(node, "check")[0]
        a = node.attach(container="new")
        assert a["ips"][0]["address"] not in [i["address"] for l in lines_of(first) if "record" in l
                                              for i in l["record"]["ips"]]
        _, err = ctl(node, "import", first, code=1)
        assert "the ledger is not empty: 101 attachments stand" in err, err


def test_import_is_whole_or_nothing():
    with Node() as node:
        node.daemon(POOL)
        for i in range(100):
            node.attach(container=f"c{i}")
        path, cut = f"{node.dir}/dump", f"{node.dir}/cut"
        ctl(node, "export", path)
        with open(path, "rb") as f:
            whole = f.read()
        wipe(node)
        node.start(options=["--new-ledger"])
        for size, words in ((len(whole) // 2, "line "), (len(whole) - 60, "the end is missing")):
            with open(cut, "wb") as f:
                f.write(whole[:size].rpartition(b"\n")[0] + b"\n" if words != "line " else whole[:size])
            _, err = ctl(node, "import", cut, code=1)
            assert words in err, err
            assert node.attachments() == []
        ctl(node, "import", path)
        assert len(node.attachments()) == 100


def test_an_import_ends_with_its_connection():
    with Node() as node:
        node.daemon(POOL)
        with node.client() as client, node.client() as other:
            client.call("ledger.import", after=0, text="{")
            refused("another one runs", lambda: other.call("ledger.import", after=0, text="{"))
            refused("is not its next", lambda: client.call("ledger.import", after=7, text="{"), code=7)
        lab.wait_for(lambda: node.rpc("ledger.import", after=0, text="{}")["next"] == 2, what="it is free again")
        assert not glob.glob(f"{node.state}/import*"), "nothing is left of it"


def test_exports_are_few():
    with Node() as node:
        node.daemon(POOL)
        clients = [node.client() for _ in range(3)]
        for client in clients[:2]:
            assert "ledger" in client.call("ledger.export")["text"]
        refused("2 others run", lambda: clients[2].call("ledger.export"))
        clients[0].close()
        lab.wait_for(lambda: exports(clients[2]), what="there is room again")
        refused("is not its next", lambda: clients[2].call("ledger.export", after=12345), code=7)
        for client in clients[1:]:
            client.close()


def test_a_full_disk_ends_exports():
    """What releases free is for releases: a snapshot would keep them from using it again."""
    with Node() as node:
        lab.run("mount", "-t", "tmpfs", "-o", "mode=0700,size=6M", "tmpfs", node.state)
        try:
            node.daemon(POOL)
            given = [node.attach(container=f"c{i}") for i in range(100)]
            with node.client() as client:
                page = client.call("ledger.export")
                assert page["next"]
                subprocess.run(["dd", "if=/dev/zero", f"of={node.state}/full", "bs=64K"], stderr=subprocess.DEVNULL, check=False)
                for a in given[:80]:
                    node.rpc("attachment.release", **generation_of(a), left=True, restored=True)
                refused("on a full disk", lambda: client.call("ledger.export", after=page["next"]), code=7)
                refused("the disk is full", lambda: client.call("ledger.export"))
                lab.run("mount", "-o", "remount,size=32M", node.state)
                node.attach(container="after")
                assert "ledger" in client.call("ledger.export")["text"]
        finally:
            node.stop()
            lab.run("umount", node.state)


def exports(client):
    try:
        return client.call("ledger.export")["text"]
    except lab.RpcError:
        return None


# -- the store is damaged: docs/operations.md


def test_restore():
    with Node() as node:
        node.rail("eth1")
        node.daemon(POOL)
        node.attach(container="c1", device="net:eth1")
        for i in range(2, 60):
            node.attach(container=f"c{i}")
        before = {a["containerID"]: a for a in node.attachments()}
        path = f"{node.dir}/backup"
        ctl(node, "export", path)
        node.stop()
        with open(f"{node.state}/data.mdb", "r+b") as f:
            f.truncate(3 * 4096)
        try:
            node.start()
            raise AssertionError("a damaged store was taken")
        except AssertionError as e:
            assert "spur-ipamd: exit" in str(e), e
        wipe(node)
        node.start(options=["--new-ledger"])
        assert "59 attachments imported" in ctl(node, "import", path)[0]
        assert ctl(node, "reconcile")[0].startswith("59 attachments looked at, 0 dead"), "they live"
        assert {a["containerID"]: a for a in node.attachments()} == before
        refused("pod-c1", lambda: node.attach(container="thief", device="net:eth1"))
        with node.client() as client:
            a = client.call("attachment.get", **key_of("c1"))["attachment"]
            client.call("attachment.release", **generation_of(a), left=True, restored=True)
        assert "all of it fits together" in ctl(node, "check")[0]


# -- history


def test_who_had_it():
    with Node() as node:
        node.rail("eth1")
        node.daemon([lab.pool("train", cooldown_s=0)])
        first = node.attach(container="c1", device="net:eth1")
        address = first["ips"][0]["address"].split("/")[0]
        time.sleep(1.1)
        during = int(time.time())
        time.sleep(1.1)
        with node.client() as client:
            client.call("attachment.get", **key_of("c1"))
            client.call("attachment.release", **generation_of(first), left=True, restored=True, reason="DEL")
        time.sleep(1.1)
        between = int(time.time())
        time.sleep(1.1)
        second = node.attach(container="c2", device="net:eth1")
        assert second["ips"][0]["address"].split("/")[0] == address
        time.sleep(1.1)

        for what in (address, "eth1", "net:eth1"):
            then = rows(ctl(node, "history", what, "--at", str(during))[0])
            assert len(then) == 2 and then[1][2] == "ns/pod-c1" and then[1][-1] == "DEL", then
            assert len(rows(ctl(node, "history", what, "--at", str(between))[0])) == 1, what
            now = rows(ctl(node, "history", what, "--at", "-0s")[0])
            assert len(now) == 2 and now[1][2] == "ns/pod-c2" and now[1][1] == "-", now
        assert len(rows(ctl(node, "history", "c1", "--at", str(during))[0])) == 2
        assert len(rows(ctl(node, "history", "10.0.0.99", "--at", str(during))[0])) == 1

        events = json.loads(ctl(node, "history", "--json")[0])
        assert [e["event"] for e in events] == ["reserved", "finished", "released", "reserved", "finished"], events
        assert len(json.loads(ctl(node, "history", "c1", "--json")[0])) == 3
        assert len(json.loads(ctl(node, "history", "-n", "2", "--json")[0])) == 2
        assert len(json.loads(ctl(node, "history", "--reason", "DEL", "--json")[0])) == 1
        assert len(json.loads(ctl(node, "history", "--to", str(between), "--json")[0])) == 3
        assert len(json.loads(ctl(node, "history", "--from", str(between), "--json")[0])) == 2
        _, err = ctl(node, "history", "--at", "noon", code=1)
        assert "--at noon: must be as" in err, err


def test_a_dirty_device_has_no_address():
    with Node() as node:
        node.mode("fail")  # it stays dirty
        node.rail("eth1")
        node.daemon(POOL)
        a = node.attach(container="c1", device="net:eth1")
        with node.client() as client:
            client.call("attachment.release", **generation_of(a), left=True, restored=False)
        address = a["ips"][0]["address"].split("/")[0]
        now = str(int(time.time()) + 60)
        assert len(rows(ctl(node, "history", address, "--at", now)[0])) == 1, "it rests"
        assert len(rows(ctl(node, "history", "eth1", "--at", now)[0])) == 2, "the device is still its own"


def test_history_in_slices():
    """A question that nothing answers is not one look at all of the ring."""
    with Node() as node:
        node.daemon([lab.pool("train", cooldown_s=0)])
        with node.client() as client:
            for i in range(600):
                a = client.call("attachment.reserve", **node.request(container=f"c{i}"))
                client.call("attachment.release", **generation_of(a), left=True, restored=True)
            page = client.call("history.get", match="nobody")
            assert page == {"events": [], "next": 1024, "last": 1200}, page
            assert client.call("history.get", match="nobody", after=1024)["next"] == 0
            assert len(client.call("history.get", limit=3)["events"]) == 3
        assert len(rows(ctl(node, "history")[0])) == 51
        assert len(json.loads(ctl(node, "history", "-n", "0", "--json")[0])) == 1200
        assert len(json.loads(ctl(node, "history", "c599", "--json")[0])) == 2


# -- gc over more than one page


def test_gc_over_many_pages():
    """attachment.list gives at most a hundred at a time."""
    with Node() as node:
        node.daemon(POOL)
        for i in range(250):  # dead, all of them: so many that the daemon by itself reclaims none
            node.attach(container=f"c{i}", nsid=100000 + i)
        valid = {f"c{i}" for i in range(0, 250, 5)}
        conf = {"cniVersion": "1.1.0", "name": "rail0", "type": "spur", "socket": node.socket,
                "cni.dev/valid-attachments": [{"containerID": c, "ifname": "net1"} for c in valid]}
        env = {"PATH": os.environ["PATH"], "CNI_COMMAND": "GC", "CNI_PATH": lab.BIN}
        done = subprocess.run(["nsenter", f"--net={node.net.path}", lab.program("spur")], input=json.dumps(conf),
                              capture_output=True, text=True, env=env, timeout=120)
        assert done.returncode == 0, done
        assert {a["containerID"] for a in node.attachments()} == valid


if __name__ == "__main__":
    lab.need("spurctl")
    lab.main(globals())
