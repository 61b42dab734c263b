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
        assert len(json.loads(ctl(node, "history", "-n", "0", "--json")[0])) == 460


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
        assert node.label in out and "3 attached, 0 unfinished, 0 dirty, 0 unconfirmed" in out and "ALARM" not in out, out
        assert rows(ctl(node, "pools")[0]) == [
            ["POOL", "RAIL", "PREFIX", "HELD", "RESTING", "FREE", "DRAINING", "REST-FOR"],
            ["train", "rail0", "10.0.0.0/24", "2", "0", "251", "0", "namespace"]]
        assert json.loads(ctl(node, "status", "--json")[0])["attachments"]["attached"] == 3
        out, _ = ctl(node, "history")
        assert [r[1] for r in rows(out)[1:]] == ["reserved", "finished"] * 3, out
        with open(node.config, "w", encoding="utf-8") as f:
            f.write("{")
        node.ipamd.send_signal(1)
        lab.wait_for(lambda: "ALARM" in ctl(node, "status")[0], what="the alarm is shown")


def test_status_after_a_file_whose_words_were_cut():
    """The error quotes the file and is cut inside a character: it is told all the same."""
    with lab.Node("ctl") as node:
        node.daemon(pools=[lab.pool("train")])
        for pad in ("", "x"):
            with open(node.config, "w", encoding="utf-8") as f:
                json.dump({"node": node.label, pad + "ö" * 600: 1}, f, ensure_ascii=False)
            assert not read_again(node), "the file is refused"
            assert "ööö" in ctl(node, "status")[0]


def rails_of(node):
    """Of each (pool, rail): whether it is removed, capacity, held, draining."""
    return {(p["name"], r["name"]): (r.get("removed", False), r["capacity"], r["held"], r["draining"])
            for p in node.rpc("pool.list")["pools"] for r in p["rails"]}


def read_again(node):
    """SIGHUP; returns whether the file was taken."""
    before = node.rpc("node.status")["config"]["time"]
    node.ipamd.send_signal(1)
    lab.wait_for(lambda: node.rpc("node.status")["config"]["time"] != before, what="the file is read again")
    return node.rpc("node.status")["config"]["ok"]


def foretold(before, diff):
    """The rails as the diff says they will be."""
    rails = dict(before)
    for change in diff["changes"]:
        if "rail" not in change:
            continue
        key, held = (change["pool"], change["rail"]), change["held"]
        assert held == before.get(key, (0, 0, 0, 0))[2], change
        gone = change["change"] == "removed"
        if gone and not held:
            rails.pop(key)
        else:
            rails[key] = (gone, 0 if gone else change["capacityAfter"], held, change["draining"])
    return rails


def diff_and_take(node, text, verdict, says=""):
    """The file's diff, and then the file: the one foretells the other. Returns the diff as people see it."""
    path, before = f"{node.dir}/candidate.json", rails_of(node)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    code = 1 if verdict == "refused" else 0
    out, err = ctl(node, "pools", "--diff", path, "--json", code=code)
    assert says in err and (not says or path in err), err
    shown, _ = ctl(node, "pools", "--diff", path, code=code)
    assert rails_of(node) == before, "nothing is changed by it"
    diff = json.loads(out) if out else {"verdict": "refused", "changes": []}
    assert diff["verdict"] == verdict and not out or shown.splitlines()[-1] == verdict, (diff, shown)
    os.replace(path, node.config)
    assert read_again(node) == (verdict != "refused"), diff
    expected = before if verdict == "refused" else foretold(before, diff)
    assert rails_of(node) == expected, (diff, rails_of(node))
    return shown


def test_pools_diff():
    train = {"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.0.0.0/28"}]}
    other = {"name": "other", "rails": [{"name": "r", "cidr": "10.9.0.0/30"}]}

    def rail(**more):
        return {**train, "rails": [{**train["rails"][0], **more}]}

    with Node() as node:
        node.daemon(pools=[train])
        for i in range(5):  # indexes 1 to 5
            node.attach(container=f"c{i}")
        with open(node.config, encoding="utf-8") as f:
            file = json.load(f)

        def take(pools, verdict, says=""):
            return diff_and_take(node, json.dumps({**file, "pools": pools}), verdict, says)

        assert take([train], "unchanged") == "unchanged\n"
        out = take([{**train, "cooldown_s": 7, "restFor": "pod"}, other], "taken")
        assert "~ train\n    cooldown_s: 0 -> 7\n    restFor: none -> \"pod\"\n+ other\n" in out, out
        assert "+ other/r\n    cidr: \"10.9.0.0/30\"\n    addresses: 2\n" in out, out
        out = take([rail(exclude=["10.0.0.4-10.0.0.5"])], "taken")
        assert "exclude: none -> [\"10.0.0.4-10.0.0.5\"]\n    addresses: 14 -> 12\n" in out, out
        assert "    5 held, of which 2 drain\n" in out and "- other/r\n" in out, out
        take([rail(cidr="10.0.0.0/30")], "taken")
        take([rail(cidr="10.0.0.0/16")], "taken")
        out = take([{**train, "blockBits": 2, "subnet": "slot", "reservedSlots": [1]}], "taken")
        assert "~ train/rail0\n    cidr: \"10.0.0.0/16\" -> \"10.0.0.0/28\"\n    addresses: 65534 -> 6\n" in out, out
        take([other], "taken")
        assert rows(ctl(node, "pools")[0])[2] == ["train", "rail0", "-", "5", "0", "0", "5", "-"]
        take([other, {"name": "thief", "rails": [{"name": "r", "cidr": "10.0.0.0/29"}]}], "refused", "10.0.0.1")
        take([train], "taken")
        take([rail(cidr="10.0.1.0/28")], "refused", "rail \"rail0\"")
        take([rail(cidr="10.0.0.4/30")], "refused", "would move it")
        take([rail(cidr="10.0.0.0/28", colour=1)], "refused", "is not known")
        take([rail(cidr="10.0.0.0/28", subnet="slot")], "refused", "did you mean \"cidr\"?")
        take([rail(exclude=["10.0.0.0/28"])], "refused", "rail \"rail0\" gives no address")
        take([rail(exclude=["10.0.0.5/30"])], "refused", "has host bits set: the prefix is 10.0.0.4/30")
        take([rail(routes=[{"dst": "10.0.0.0/8", "gw": "10.0.1.1"}])], "refused", "no address of rail \"rail0\" reaches it")
        take([rail(routes=[{"dst": "fd00::/8"}])], "refused", "has no IPv6 addresses")
        take([rail(routes=[{"dst": "10.0.0.0/28"}])], "taken")
        take([train], "taken")
        take("many", "refused", "must be an array")
        diff_and_take(node, json.dumps({**file, "log": {"level": "loud"}}), "refused", "log.level")
        diff_and_take(node, json.dumps({k: v for k, v in file.items() if k != "pools"}), "refused", "is required")
        diff_and_take(node, "{", "refused", "parse JSON")

        # The last good pools stay, also over a restart with bad ones; and what they hold.
        take([rail(cidr="10.0.1.0/28")], "refused", "would move it")
        before = rails_of(node)
        node.stop()
        node.start()
        assert rails_of(node) == before and before["train", "rail0"] == (False, 14, 5, 0)
        for i in range(5):
            a = next(a for a in node.attachments() if a["containerID"] == f"c{i}")
            node.rpc("attachment.release", network="rail0", containerID=f"c{i}", ifname="net1",
                     generation=a["generation"], left=True, restored=True, reason="test")
        diff_and_take(node, json.dumps({**file, "pools": [rail(cidr="10.0.1.0/28")]}), "taken")


def test_pools_diff_of_long_files():
    with Node() as node:
        node.daemon()
        path = f"{node.dir}/long.json"
        pools = [{"name": f"p{i}", "rails": [{"name": f"r{k}", "cidr": f"10.{i}.{k}.0/24", "exclude": [f"10.{i}.{k}.9"] * 5}
                                             for k in range(32)]} for i in range(1, 16)]
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"pools": pools}, f)
        assert re.search(r"\nand \d+ more\ntaken\n$", ctl(node, "pools", "--diff", path)[0]), "the answer is cut"
        node.stop()
        node.daemon(pools=pools)
        assert [r[:2] for r in rows(ctl(node, "pools")[0])[1:]] == [[p["name"], r["name"]] for p in pools for r in p["rails"]]
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"pools": pools * 2}, f)
        _, err = ctl(node, "pools", "--diff", path, code=1)
        assert "more than 65535" in err, err
        _, err = ctl(node, "pools", "--diff", "/nowhere", code=1)
        assert "open /nowhere" in err, err
        _, err = ctl(node, "status", "--diff", path, code=2)
        assert "--diff is of pools" in err, err


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
        assert complete("spurctl", "pools", "") == {"--diff", "--json"}
        assert {"--at", "--from"} <= complete("spurctl", "--socket", node.socket, "history", "--")
        names = complete("spurctl", "--socket", node.socket, "show", "")
        assert {"eth1", "10.0.0.2", "10.0.0.3", "ns/pod-c1"} <= names, names


if __name__ == "__main__":
    lab.need("spurctl")
    lab.main(globals())
