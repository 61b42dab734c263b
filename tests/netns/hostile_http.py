#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Callers of /healthz, /readyz and /metrics that mean no good: who drip bytes, who crowd the door, who come under
another's name. A probe gets its answer all the same."""

import json
import subprocess

import lab
from daemon_crowd import StallingDisk
from daemon_serve import Node, fetch

HTTP = "127.0.0.1:9469"
PATIENCE_S = 60  # far beyond every deadline of the daemon

# COUNT connections that send a byte of a head now and then. Says "all" when each has been there once, and at its
# end how many the daemon hung up on. Those come again if AGAIN.
DRIPPERS = """
import select, socket, sys, time
count, again, until = int(sys.argv[1]), sys.argv[2] == "again", time.monotonic() + float(sys.argv[3])
def come():
    s = socket.create_connection(("127.0.0.1", 9469), 60)
    s.settimeout(60)
    s.sendall(b"GET /healthz HTTP/1.1\\r\\nX-Slow: ")
    return s
callers, ended = [come() for _ in range(count)], 0
print("all", flush=True)
while callers and time.monotonic() < until:
    time.sleep(0.1)
    for s in list(callers):
        try:
            s.send(b"x")
            if not select.select([s], [], [], 0)[0] or s.recv(1):
                continue
        except OSError:
            pass
        ended += 1
        callers.remove(s)
        if again:
            callers.append(come())
print(ended, flush=True)
"""


class Drippers:
    def __init__(self, node, count, again=True):
        self.p = subprocess.Popen(
            ["nsenter", f"--net={node.net.path}", "/usr/bin/python3", "-c", DRIPPERS, str(count),
             "again" if again else "once", str(PATIENCE_S)],
            stdout=subprocess.PIPE, text=True)
        node.processes.append(self.p)
        assert self.p.stdout.readline() == "all\n"

    def drip(self):
        return self.p.poll() is None

    def wait(self):
        """Until the last one was hung up on; how many."""
        return int(self.p.stdout.readline())


def test_who_drips_silences_nobody():
    with Node() as node:
        node.daemon(http=HTTP)
        drippers = Drippers(node, 60)
        for path in ("/healthz", "/readyz", "/metrics", "/healthz"):
            assert fetch(node, path)[0] == 200, path
            assert drippers.drip(), "it had to wait until they went"


def test_a_head_has_a_deadline():
    """Also where there is room enough, and however often a byte comes."""
    with Node() as node:
        node.daemon(http=HTTP)
        assert Drippers(node, 3, again=False).wait() == 3


# A crowd of whoever asks and goes, waits for a proof, or asks for nothing; and a probe beside it. Says how many probes
# in a row had no answer, at most.
THRONG = """
import contextlib, os, random, signal, socket, threading, time
def come():
    return socket.create_connection(("127.0.0.1", 9469), 60)
def bother(seed):
    chance = random.Random(seed)
    while True:
        with contextlib.suppress(OSError), come() as s:
            s.sendall(chance.choice([b"GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n", b"GET /metrics HTTP/1.1\\r\\n"]))
            if chance.random() < 0.5:
                s.recv(100)
def is_answered():
    with contextlib.suppress(OSError), come() as s:
        s.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        return s.recv(100).startswith(b"HTTP/1.1 200")
    return False
def throng():
    for i in range(60):
        threading.Thread(target=bother, args=(i,)).start()
crowds = []
for _ in range(4):  # not beside the probe: threads of Python wait for each other
    crowds.append(os.fork())
    if crowds[-1] == 0:
        throng()
        signal.pause()
time.sleep(0.5)
worst = row = 0
for _ in range(200):
    row = 0 if is_answered() else row + 1
    worst = max(worst, row)
for crowd in crowds:
    os.kill(crowd, signal.SIGKILL)
    os.waitpid(crowd, 0)
print(worst)
"""


def test_a_throng_silences_no_probe():
    """One that came in the midst of others is read before anybody is found slow: a kubelet gives up at the third."""
    with Node() as node:
        node.daemon(http=HTTP)
        rows = [int(node.net.sh("/usr/bin/python3", "-c", THRONG)) for _ in range(2)]
        assert min(rows) < 3, rows


# Asks for /readyz, then for /healthz on another connection; says whether the second was answered first.
OVERTAKE = """
import select, socket, time
def ask(path):
    s = socket.create_connection(("127.0.0.1", 9469), 60)
    s.settimeout(60)
    s.sendall(b"GET %s HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n" % path)
    return s
ready = [ask(b"/readyz") for _ in range(4)]
time.sleep(0.2)
assert ask(b"/healthz").recv(100).startswith(b"HTTP/1.1 ")
waiting = not select.select(ready, [], [], 0)[0]
print("overtaken" if waiting else "late")
for s in ready:
    assert s.recv(100).startswith(b"HTTP/1.1 503 ")
"""


def test_who_asks_for_readiness_keeps_nobody_from_liveness():
    """A proof waits for the loop, which waits for the disk; /healthz says at once what is known."""
    with Node() as node:
        disk = StallingDisk(node)
        node.daemon(http=HTTP, env=disk.env)
        with node.client() as client:
            disk.stall()
            client.send("attachment.reserve", **node.request())
            disk.wait()
            said = [node.net.sh("/usr/bin/python3", "-c", OVERTAKE).strip() for _ in range(5)]
            disk.go_on()
            assert "overtaken" in said, said
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 200, what="it is ready again")


def test_stops_while_somebody_waits_for_a_proof():
    with Node() as node:
        disk = StallingDisk(node)
        node.daemon(http=HTTP, env=disk.env)
        with node.client() as client:
            disk.stall()
            client.send("attachment.reserve", **node.request())
            disk.wait()
            asked = [subprocess.Popen(["nsenter", f"--net={node.net.path}", "curl", "-s", f"http://{HTTP}/readyz"],
                                      stdout=subprocess.DEVNULL) for _ in range(40)]
            node.ipamd.terminate()
            disk.go_on()
            assert node.ipamd.wait(PATIENCE_S) == 0
            for p in asked:
                p.wait(PATIENCE_S)


# -- a page in a browser of this machine whose name leads here


def status_of(node, *options):
    return int(node.net.sh("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, f"http://{HTTP}/metrics"))


def test_host():
    with Node() as node:
        node.daemon(http=HTTP, node="Node-7", httpHosts=["metrics.example", "b_2.example"])
        for host in ("127.0.0.1", "127.0.0.1:9469", "10.1.2.3", "[::1]", "[::1]:80", "[fe80::1]", "localhost", "LocalHost:1",
                     "node-7", "NODE-7:9469", "metrics.example", "Metrics.Example:443", "b_2.example"):
            assert status_of(node, "-H", f"Host: {host}") == 200, host
        for host in ("evil.example", "evil.example:9469", "localhost.evil.example", "node-7.evil.example", "metrics",
                     "127.0.0.1.evil.example", "1.2.3", "[::1].evil.example", "[::1", "::1", "[evil]", "a" * 300, ":80", "]"):
            assert status_of(node, "-H", f"Host: {host}") == 421, host
        assert status_of(node, "--http1.0", "-H", "Host:") == 200, "who speaks HTTP/1.0 need not say"
        body = node.net.sh("curl", "-s", "-H", "Host: evil.example", f"http://{HTTP}/healthz")
        assert "httpHosts" in body and "evil" not in body


def test_hosts_are_taken_at_a_restart():
    with Node() as node:
        node.daemon(http=HTTP, httpHosts=["a.example"])
        with open(node.config, encoding="utf-8") as f:
            config = json.load(f)
        with open(node.config, "w", encoding="utf-8") as f:
            json.dump(config | {"httpHosts": ["b.example"]}, f)
        restart = lab.wait_for(lambda: node.rpc("node.status")["restart"].get("changes"), what="what a restart would change")
        assert [r["key"] for r in restart] == ["httpHosts"], restart
        assert status_of(node, "-H", "Host: a.example") == 200 and status_of(node, "-H", "Host: b.example") == 421
        node.stop()
        node.start()
        assert status_of(node, "-H", "Host: a.example") == 421 and status_of(node, "-H", "Host: b.example") == 200


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
