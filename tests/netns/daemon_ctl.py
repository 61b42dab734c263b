# SPDX-License-Identifier: Apache-2.0
"""spurctl: what it prints, what it asks, and how it ends."""

import json
import os
import pty
import re
import subprocess

import lab
from daemon_serve import Node


def ctl(node, *argv, answer="", code=0, env=None):
    """Runs spurctl; returns (stdout, stderr)."""
    done = subprocess.run([lab.program("spurctl"), "--socket", node.socket, *argv], input=answer,
                          capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=90)
    assert done.returncode == code, (argv, done)
    return done.stdout, done.stderr


def rows(text):
    return [re.split(r" {2,}", line) for line in text.splitlines()]


def three(node):
    node.rail("eth1", mac="02:00:00:00:00:01", altnames=["rail-a"])
    node.daemon()
    node.attach(device="net:eth1", uid="u1")
    node.attach(container="c2")
    node.attach(container="c3", pool=None)


def test_attachments():
    with Node() as node:
        three(node)
        out, _ = ctl(node, "attachments")
        head, *found = rows(out)
        assert head == ["STATE", "POD", "NETWORK/IFNAME", "ADDRESSES", "DEVICE", "AGE"], head
        assert found[0][:5] == ["attached", "ns/pod-c1", "rail0/net1", "10.0.0.2/24", "net:eth1"], found
        assert found[1][:5] == ["attached", "ns/pod-c2", "rail0/net1", "10.0.0.3/24", "-"], found
        assert found[2][3:5] == ["-", "-"] and re.fullmatch(r"\d+s", found[2][5]), found
        columns = [line.index("rail0") for line in out.splitlines()[1:]]
        assert len(set(columns)) == 1, "aligned"
        assert "\033" not in out, "colours only on a terminal"
        wide = rows(ctl(node, "attachments", "-o", "wide")[0])
        assert wide[0][-1] == "ID" and wide[1][6:10] == ["c1", "train/rail0", "/nowhere", "1"], wide
        assert [a["containerID"] for a in json.loads(ctl(node, "--json", "attachments")[0])] == ["c1", "c2", "c3"]


def test_many_pages():
    with Node() as node:
        node.daemon()
        for i in range(230):
            node.attach(container=f"c{i}")
        assert len(rows(ctl(node, "attachments")[0])) == 231
        assert len(json.loads(ctl(node, "history", "--json")[0])) == 460


def on_terminal(node, *argv, env=None):
    ours, theirs = pty.openpty()
    p = subprocess.Popen([lab.program("spurctl"), "--socket", node.socket, *argv], stdout=theirs,
                         env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **(env or {})})
    os.close(theirs)
    out = b""
    try:
        while chunk := os.read(ours, 4096):
            out += chunk
    except OSError:
        pass  # its end
    os.close(ours)
    assert p.wait() == 0
    return out


def test_colours():
    with Node() as node:
        three(node)
        assert b"\033[32mattached\033[0m" in on_terminal(node, "attachments")
        assert b"\033" not in on_terminal(node, "attachments", env={"NO_COLOR": "1"})


def test_show():
    with Node() as node:
        three(node)
        for what in ("10.0.0.2", "10.0.0.2/24", "eth1", "net:eth1", "rail-a", "pod-c1", "ns/pod-c1", "u1", "c1",
                     "rail0/c1/net1"):
            out, _ = ctl(node, "show", what)
            assert "rail0/c1/net1" in out and "c2" not in out and "c3" not in out, (what, out)
        assert "eth1, veth, mtu 1500, down, 02:00:00:00:00:01, altname rail-a" in out, out
        assert re.search(r"^reserved +\d+s ago$", out, re.M), out
        _, err = ctl(node, "show", "10.0.0.99", code=1)
        assert "no attachment has that" in err
        assert len(json.loads(ctl(node, "show", "eth1", "--json")[0])) == 1


def test_status_and_pools():
    with Node() as node:
        three(node)
        out, _ = ctl(node, "status")
        assert node.label in out and "3 attached, 0 unfinished, 0 dirty" in out and "ALARM" not in out, out
        assert rows(ctl(node, "pools")[0]) == [
            ["POOL", "RAIL", "PREFIX", "HELD", "RESTING", "FREE"], ["train", "rail0", "10.0.0.0/24", "2", "0", "251"]]
        assert json.loads(ctl(node, "status", "--json")[0])["attachments"]["attached"] == 3
        out, _ = ctl(node, "history")
        assert [r[1] for r in rows(out)[1:]] == ["reserved", "finished"] * 3, out
        with open(node.config, "w", encoding="utf-8") as f:
            f.write("{")
        node.ipamd.send_signal(1)
        lab.wait_for(lambda: "ALARM" in ctl(node, "status")[0], what="the alarm is shown")


def test_reconcile():
    with Node() as node:
        three(node)
        assert ctl(node, "reconcile")[0] == "3 attachments looked at, 0 dead, 0 are being undone\n"
        out, err = ctl(node, "reconcile", "--force", answer="y\n", code=1)
        assert "Type yes" in out and "nothing was done" in err
        assert "3 attachments" in ctl(node, "reconcile", "--force", answer="yes\n")[0]
        assert json.loads(ctl(node, "reconcile", "--json")[0])["looked"] == 3


def test_release():
    with Node() as node:
        three(node)
        _, err = ctl(node, "release", "eth1", code=1)
        assert "--force" in err and len(node.attachments()) == 3
        _, err = ctl(node, "release", "--force", "eth1", answer="no\n", code=1)
        assert "nothing was done" in err and len(node.attachments()) == 3
        _, err = ctl(node, "release", "--force", "ns/pod", answer="yes\n", code=1)
        assert "no attachment has that" in err
        out, _ = ctl(node, "release", "--force", "eth1", answer="yes\n")
        assert out.endswith("undone\n") and sorted(node.states()) == ["c2", "c3"], out
        assert [c["env"]["CNI_COMMAND"] for c in node.calls()] == ["DEL"], "by the way of DEL"
        ctl(node, "release", "--force", "--yes", "rail0/c2/net1")
        assert sorted(node.states()) == ["c3"]


def test_release_that_fails():
    with Node() as node:
        three(node)
        node.mode("fail")
        _, err = ctl(node, "release", "--force", "--yes", "eth1", code=1)
        assert "the kernel says no" in err and len(node.attachments()) == 3, err
        _, err = ctl(node, "release", "--force", "eth1", answer="yes\nno\n", code=1)
        assert "nothing was done" in err and len(node.attachments()) == 3
        out, _ = ctl(node, "release", "--force", "eth1", answer="yes\nyes\n")
        assert "forgotten" in out and sorted(node.states()) == ["c2", "c3"], out
        assert json.loads(ctl(node, "history", "--json")[0])[-1]["reason"] == "forced"


def test_how_it_ends():
    with Node() as node:
        node.daemon()
        for argv in (("frob",), (), ("show",), ("status", "more"), ("attachments", "-o", "tall"), ("--frob",)):
            _, err = ctl(node, *argv, code=2)
            assert "Usage: spurctl" in err, argv
        assert ctl(node, "--help")[0].startswith("Usage: spurctl")
        assert ctl(node, "--version")[0].startswith("spurctl ")
        node.stop()
        _, err = ctl(node, "status", code=1)
        assert "connect to spur-ipamd" in err and "is spur-ipamd running" in err, err


def test_completion():
    with Node() as node:
        three(node)
        path = os.path.join(lab.ROOT, "ipamd", "ctl", "spurctl.bash")

        def complete(*words):
            line = " ".join(f"'{w}'" for w in words)
            script = f"source {path}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _spurctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
            env = {**os.environ, "PATH": f"{os.path.dirname(lab.program('spurctl'))}:{os.environ['PATH']}"}
            return set(lab.run("bash", "-c", script, env=env).split())

        assert {"status", "attachments", "--socket"} <= complete("spurctl", "")
        assert complete("spurctl", "at") == {"attachments"}
        assert complete("spurctl", "attachments", "-o", "") == {"wide"}
        names = complete("spurctl", "--socket", node.socket, "show", "")
        assert {"eth1", "10.0.0.2", "10.0.0.3", "ns/pod-c1"} <= names, names


if __name__ == "__main__":
    lab.need("spurctl")
    lab.main(globals())
