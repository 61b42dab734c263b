#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator watches: probes, logs, figures, spurctl top."""

import contextlib
import json
import os
import pty
import re
import subprocess
import threading

import lab
from daemon_serve import Node, boot_ms, fetch, key_of

HTTP = "127.0.0.1:9469"


def log_lines(node):
    with open(node.log, encoding="utf-8") as f:
        return f.read().splitlines()


def test_readiness_says_why_not():
    with Node() as node:
        node.daemon(http=HTTP)
        assert fetch(node, "/readyz") == (200, "ok\n")
        os.rename(node.plugin, node.plugin + ".away")
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 503, what="the probe notices")
        assert fetch(node, "/readyz")[1] == f"not ready: the plugin {node.plugin}: No such file or directory\n"
        assert fetch(node, "/healthz")[0] == 200  # it lives: a restart would not help
        os.rename(node.plugin + ".away", node.plugin)
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 200, what="the probe notices")


def test_readiness_without_pools():
    with Node() as node:
        node.daemon(http=HTTP, pools=[])
        assert fetch(node, "/readyz") == (503, "not ready: no pool is configured\n")


def test_full_disk_is_told():
    with Node() as node:
        lab.run("mount", "-t", "tmpfs", "-o", "mode=0700,size=8M", "tmpfs", node.state)
        try:
            node.daemon(http=HTTP)
            with contextlib.suppress(OSError), open(os.path.join(node.state, "ballast"), "wb", buffering=0) as f:
                while True:
                    f.write(bytes(4096))
            with contextlib.suppress(lab.RpcError):
                for i in range(5000):
                    node.attach(container=f"c{i}", pool=None)
            assert "is full: no reservation is taken" in node.rpc("node.status")["alarms"][0]
            lab.wait_for(lambda: fetch(node, "/readyz") == (503, f"not ready: the file system of {node.state} is full\n"))
            lab.wait_for(lambda: 'spur_alarm{alarm="store"} 1' in fetch(node, "/metrics")[1], seconds=30)
            os.remove(os.path.join(node.state, "ballast"))
            lab.run("mount", "-o", "remount,size=16M", node.state)
            node.attach(container="after", pool=None)
            assert node.rpc("node.status")["alarms"] == []
        finally:
            node.stop()
            lab.run("umount", node.state)


def test_log_format():
    with Node() as node:
        node.daemon(options=["--log-format", "json"], log={"format": "text"})
        node.stop()
        lines = [json.loads(line) for line in log_lines(node)]
        assert any("serves node" in line["msg"] and line["level"] == "info" for line in lines), lines
    done = subprocess.run([lab.program("spur-ipamd"), "--log-format", "xml"], capture_output=True, text=True)
    assert done.returncode == 2 and "must be json or text" in done.stderr, done


def test_log_tells_what_a_request_was_about():
    with Node() as node:
        node.rail("eth1")
        node.daemon(options=["--log-format", "json"])
        node.attach(device="net:eth1")
        refused = {"network": "rail0", "containerID": "c2", "ifname": "net1", "pod": "ns/pod-c2", "code": "7"}
        with node.client() as client:
            client.send("attachment.reserve", **node.request(container="c2", pool="none"))
            assert "error" in client.read()
            a = node.attachments()[0]
            client.call("attachment.release", network="rail0", containerID="c1", ifname="net1",
                        generation=a["generation"], left=True, restored=True)
        node.stop()
        lines = [json.loads(line) for line in log_lines(node)]
        about = {"network": "rail0", "containerID": "c1", "ifname": "net1", "pod": "ns/pod-c1",
                 "device": "net:eth1", "address": "10.0.0.2"}
        for method in ("attachment.reserve", "attachment.release"):
            line = next(line for line in lines if line["msg"] == method)
            assert about.items() <= line.items() and float(line["duration_ms"]) > 0, line
        line = next(line for line in lines if line.get("code"))
        assert refused.items() <= line.items() and line["msg"] == 'pool "none": is not configured', line


def families_named(path):
    """The metrics that a rule or a panel asks for."""
    with open(os.path.join(lab.ROOT, "manifests", path), encoding="utf-8") as f:
        names = set(re.findall(r"spur_[a-z_]+", f.read()))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_rules_and_dashboard_ask_for_what_there_is():
    with Node() as node:
        node.daemon(http=HTTP)
        node.attach()
        page = lab.wait_for(lambda: fetch(node, "/metrics")[1], what="a page")
        told = set(re.findall(r"^# TYPE (spur_[a-z_]+) ", page, re.M))
        for path in ("prometheus-rules.yaml", "grafana-dashboard.json"):
            assert families_named(path) <= told, (path, families_named(path) - told)


def test_page_is_as_prometheus_wants_it():
    promtool = os.path.join(lab.run(os.path.join(lab.ROOT, "tests/runtime/peers"), "root", "promtool").strip(), "usr/bin/promtool")
    if not os.path.exists(promtool):
        lab.skip("promtool: tests/runtime/peers get promtool")
    with Node() as node:
        node.daemon(http=HTTP)
        node.attach()
        page = lab.wait_for(lambda: fetch(node, "/metrics")[1], what="a page")
        done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True)
        assert done.returncode == 0, done


def test_phases_of_one_that_waits_in_vain():
    """All of its time is waiting, however often it had its turn."""
    with Node() as node:
        node.daemon(http=HTTP)
        with node.client() as holder, node.client() as waiting:
            holder.call("attachment.reserve", **node.request())
            waiting.send("attachment.get", **key_of(), deadline=boot_ms() + 700)
            assert "is busy" in waiting.read()["error"]["message"]
            page = lab.wait_for(lambda: 'method="attachment.get"' in fetch(node, "/metrics")[1] and fetch(node, "/metrics")[1],
                                what="a page")
        sums = dict(re.findall(r'spur_request_phase_seconds_sum{phase="(\w+)"} (\S+)', page))
        assert 0.5 < float(sums["wait"]) < 30 and float(sums["serve"]) < 0.5, sums


class Traffic:
    """A client that reserves and releases until it is told to stop."""

    def __init__(self, node):
        self.node, self.stop, self.count = node, threading.Event(), 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            with self.node.client() as client:
                a = client.call("attachment.reserve", **self.node.request(container="busy"))
                client.call("attachment.release", network="rail0", containerID="busy", ifname="net1",
                            generation=a["generation"], left=True, restored=True)
                self.count += 1

    def __enter__(self):
        self.thread.start()
        lab.wait_for(lambda: self.count, what="the first round trip")
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def top(node, *argv):
    return [lab.program("spurctl"), "--socket", node.socket, *argv, "top"]


def test_top_once():
    with Node() as node:
        node.daemon()
        node.attach(container="c1")
        with Traffic(node):
            out = subprocess.run(top(node), capture_output=True, text=True, check=True, timeout=60).stdout
        assert re.search(r"^attachments +1 attached", out, re.M), out
        rate = re.search(r"^requests +(\d+)/s, 0/s refused, ([\d.]+) ms each$", out, re.M)
        assert rate and int(rate[1]) > 1 and float(rate[2]) > 0, out
        assert re.search(r"^train/rail0 +#\.{19} +[12] ", out, re.M), out
        seen = json.loads(subprocess.run(top(node, "--json"), capture_output=True, check=True, timeout=60).stdout)
        assert seen["pools"][0]["name"] == "train" and seen["totals"]["requests"] > 3, seen


def test_top_on_a_terminal():
    with Node() as node:
        node.daemon()
        ours, theirs = pty.openpty()
        p = subprocess.Popen(top(node), stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        out = b""
        while out.count(b"q: leave") < 2:  # drawn again
            out += os.read(ours, 4096)
        os.write(ours, b"q")
        try:
            while chunk := os.read(ours, 4096):
                out += chunk
        except OSError:
            pass  # its end
        os.close(ours)
        assert p.wait(30) == 0
        assert out.startswith(b"\033[?1049h") and out.endswith(b"\033[?1049l"), "the old screen comes back"


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
