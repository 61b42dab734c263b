# SPDX-License-Identifier: Apache-2.0
"""Rest and retries: who gets an index again at once, what an ADD that failed leaves of it, and who waits
for the pod that had it. The real plugin; the daemon's rests are long."""

import itertools
import signal
import time

import lab

COOLDOWN_S = 600
PATIENCE_S = 5


def pools(**more):
    """p2p: one address on each of its rails, a /31; small: 13 on each, a /28."""
    def rails(prefix, length):
        return [{"name": f"rail{i}", "cidr": f"10.{prefix + i}.0.0/{length}", "gatewayIndex": 0 if length == 31 else 1}
                for i in range(2)]
    common = {"cooldown_s": COOLDOWN_S, "sticky_s": 3600, **more}
    return [{"name": "p2p", "rails": rails(0, 31), **common}, {"name": "small", "rails": rails(10, 28), **common}]


def conf(pool, device=None, rail=0, **cni):
    """The network of a rail, on its own device ethRAIL unless another is named."""
    keys = {"args": {"cni": cni}} if cni else {}
    return lab.netconf(f"net{rail}", pool=pool, rail=f"rail{rail}", device=device or f"eth{rail}", **keys)


def address(result):
    return result["ips"][0]["address"].partition("/")[0]


def resting(node, pool, rail=0):
    return node.rpc("pool.list", pool=pool)["pools"][0]["rails"][rail]["resting"]


def reason(node):
    """Why the last attachment went."""
    events = node.rpc("history.get")["events"]
    return [e["reason"] for e in events if e["event"] in ("released", "dirty")][-1]


def stateful(node, count, **more):
    """COUNT pods of one name, one after the other."""
    return [node.pod(f"box{i}", pod_name="worker-3", uid=f"u{i}", **more) for i in range(count)]


# -- the same pod


def test_new_sandbox_on_a_point_to_point_rail():
    """One address, long rest: the pod's new sandbox has it at once, another pod does not."""
    with lab.Node("rest") as node:
        node.rail("eth0")
        node.daemon(pools=pools())
        for i in range(3):
            box = node.pod(f"box{i}", pod_name="a", uid="u1")
            assert address(node.add(box, conf("p2p"))) == "10.0.0.1"
            node.delete(box, conf("p2p"))
        assert resting(node, "p2p") == 1
        node.refuse("ADD", 11, "no address is free", node.pod("b", pod_name="b", uid="u2"), conf("p2p"))
        node.refuse("ADD", 11, "no address is free", node.pod("next", pod_name="a", uid="u3"), conf("p2p"))
        # The old sandbox still stands: it is superseded.
        old, new = (node.pod(name, pod_name="a", uid="u1") for name in ("old", "new"))
        node.add(old, conf("p2p"))
        assert address(node.add(new, conf("p2p"))) == "10.0.0.1"
        assert reason(node) == "superseded"


def test_hooked_sandbox_that_died():
    with lab.Node("rest") as node:
        node.rail("eth0")
        node.daemon(pools=pools(), env={"SPUR_YOUNG_MS": "0"})
        dead = node.pod("dead", pod_name="a", uid="u1")
        node.add(dead, conf("p2p"))
        dead.close()
        lab.wait_for(lambda: node.rpc("node.reconcile", timeout=30) and not node.attachments(), 30, "it is reclaimed")
        assert reason(node) == "dead" and resting(node, "p2p") == 1
        node.rail("eth1")
        assert address(node.add(node.pod("last", pod_name="a", uid="u1"), conf("p2p", "eth1"))) == "10.0.0.1"


def test_all_its_rails():
    with lab.Node("rest") as node:
        for i in range(2):
            node.rail(f"eth{i}")
        node.daemon(pools=pools())
        for i in range(2):
            box = node.pod(f"box{i}", pod_name="a", uid="u1")
            got = [address(node.add(box, conf("p2p", rail=rail, claim="all"), ifname=f"net{rail}")) for rail in range(2)]
            assert got == ["10.0.0.1", "10.1.0.1"], got
            for rail in range(2):
                node.delete(box, conf("p2p", rail=rail), ifname=f"net{rail}")


def test_addresses_for_another_main_plugin():
    """spur-ipam does not know what its main plugin did: the index rests; of a pod without a UID, too."""
    ipam = {"cniVersion": "1.0.0", "name": "net0", "type": "macvlan"}
    with lab.Node("rest") as node:
        node.daemon(pools=pools())
        ipam["ipam"] = {"type": "spur-ipam", "pool": "p2p", "rail": "rail0", "socket": node.socket}
        for i in range(2):
            box = node.pod(f"box{i}", pod_name="a")
            assert address(node.add(box, ipam, binary="spur-ipam")) == "10.0.0.1"
            node.delete(box, ipam, binary="spur-ipam")
            assert resting(node, "p2p") == 1
        got = node.cni("ADD", node.pod("b", pod_name="b"), ipam, binary="spur-ipam")
        assert got.code == 11 and "no address is free" in got.msg, got


# -- before any packet


def test_retries_empty_no_rail():
    """A pod whose ADD fails each time, as nobody that is known; innocent pods beside it."""
    with lab.Node("rest") as node:
        devices = [node.rail(f"eth{i}") for i in range(4)]
        node.daemon(pools=pools())
        bad = node.pod("bad")
        bad.ip("link", "add", "net1", "type", "veth", "peer", "name", "net1p")
        for i in range(20):
            node.refuse("ADD", 103, "net1", bad, conf("small"))
            assert reason(node).startswith("ADD failed: ")
            assert resting(node, "small") == 0, i
        got = [address(node.add(node.pod(f"good{i}"), conf("small", device))) for i, device in enumerate(devices)]
        assert got == [f"10.10.0.{2 + i}" for i in range(4)], got


def test_hooked_the_step_that_it_fails_at():
    """Up to the step before the device is up nothing has left the pod; from then on it may have."""
    with lab.Node("rest") as node:
        node.rail("eth0")
        node.daemon(pools=pools())
        rests = []
        for k in itertools.count(1):
            got = node.cni("ADD", node.pod(f"p{k}"), conf("small"), SPUR_FAIL_STEP=f"apply:{k}")
            if got.returncode == 0:
                break
            rests.append((resting(node, "small"), got.msg))
        up = next(k for k, (count, _) in enumerate(rests, 1) if count)
        assert "up" in rests[up - 1][1].split() and up > 3, rests
        assert [count for count, _ in rests] == [0] * (up - 1) + list(range(1, len(rests) - up + 2)), rests

        # One that comes up each time and fails then: it rests, but it is one, which its pod gets again.
        node.delete(node.pods[-1], conf("small"))
        bad = node.pod("bad", pod_name="bad", uid="u1")
        for _ in range(3):
            node.refuse("ADD", 100, f"step {up}: ", bad, conf("p2p"), SPUR_FAIL_STEP=f"apply:{up}")
            assert resting(node, "p2p") == 1
        node.refuse("ADD", 11, "no address is free", node.pod("good", pod_name="good", uid="u2"), conf("p2p"))


def test_hooked_nobody_says_how_far_it_came():
    """The plugin is killed: what undoes it does not know, and its index rests."""
    with lab.Node("rest") as node:
        node.rail("eth0")
        node.daemon(pools=pools())
        got = node.cni("ADD", node.pod("a"), conf("small"), SPUR_KILL_STEP="apply:1")
        assert got.returncode == -signal.SIGKILL, got
        lab.wait_for(lambda: not node.attachments(), 20, "it is undone")
        assert reason(node) == "unfinished" and resting(node, "small") == 1


def test_each_other_reason():
    """DEL, GC, an operator's force, a DEL without the daemon: the pod has lived."""
    with lab.Node("rest") as node:
        node.rail("eth0")
        node.daemon(pools=pools())

        def gone(why, count):
            lab.wait_for(lambda: not node.attachments(), 20, f"{why}: it goes")
            assert reason(node) == why and resting(node, "small") == count, (reason(node), resting(node, "small"))

        pod = node.pod("a")
        node.add(pod, conf("small"))
        node.delete(pod, conf("small"))
        gone("DEL", 1)
        pod = node.pod("b")
        node.add(pod, conf("small"))
        node.rpc("attachment.undo", network="net0", containerID=pod.container, ifname="net1")
        gone("forced", 2)
        pod = node.pod("c")
        node.add(pod, conf("small"))
        node.stop()
        node.delete(pod, conf("small"))
        node.start()
        gone("spooled", 3)


# -- a StatefulSet's pod that was forced away


def test_successor_comes_before_the_old_ones_del():
    with lab.Node("rest") as node:
        for i in range(2):
            node.rail(f"eth{i}")
        node.daemon(pools=pools())
        old, new, other = *stateful(node, 2), node.pod("other", pod_name="worker-4", uid="u9")
        network = conf("small", sticky="job/worker-3")
        again = conf("small", "eth1", sticky="job/worker-3")
        assert address(node.add(old, network)) == "10.10.0.2"
        waits = node.popen("ADD", new, again)
        time.sleep(1)
        assert waits.poll() is None, node.finish(waits)
        assert not [a for a in node.attachments() if a["containerID"] == new.container], "it has nothing yet"
        node.delete(old, network)
        got = node.finish(waits)
        assert got.returncode == 0 and address(got.json) == "10.10.0.2", got
        # Another pod under this identity is not waited for.
        begun = time.monotonic()
        assert address(node.add(other, conf("small", "eth0", sticky="job/worker-3"))) == "10.10.0.3"
        assert time.monotonic() - begun < PATIENCE_S - 1


def test_successor_on_the_same_device():
    """The device is the old one's as well: not refused, but waited for."""
    with lab.Node("rest") as node:
        node.rail("eth0")
        node.daemon(pools=pools())
        old, new = stateful(node, 2)
        network = conf("p2p", sticky="job/worker-3")
        node.add(old, network)
        waits = node.popen("ADD", new, network)
        time.sleep(1)
        assert waits.poll() is None, node.finish(waits)
        node.delete(old, network)
        got = node.finish(waits)
        assert got.returncode == 0 and address(got.json) == "10.0.0.1", got


def successor_of_all_rails(**cni):
    with lab.Node("rest") as node:
        for i in range(4):
            node.rail(f"eth{i}")
        node.daemon(pools=pools())
        old, new = stateful(node, 2)
        rails = [conf("small", rail=rail, sticky="job/worker-3", **cni) for rail in range(2)]
        for rail, network in enumerate(rails):
            node.add(old, network, ifname=f"net{rail}")
        waits = node.popen("ADD", new, conf("small", "eth2", sticky="job/worker-3", **cni), ifname="net0")
        time.sleep(0.5)
        node.delete(old, rails[1], ifname="net1")
        time.sleep(0.5)
        assert waits.poll() is None, "rail0 is still the old one's"
        node.delete(old, rails[0], ifname="net0")
        got = node.finish(waits)
        assert got.returncode == 0 and address(got.json) == "10.10.0.2", got
        second = conf("small", "eth3", rail=1, sticky="job/worker-3", **cni)
        assert address(node.add(new, second, ifname="net1")) == "10.11.0.2"


def test_successor_of_all_rails():
    successor_of_all_rails()


def test_successor_that_claims_all_rails():
    successor_of_all_rails(claim="all")


def test_old_one_that_does_not_go():
    """Its DEL does not come: then another index, and no second wait for the other rail."""
    with lab.Node("rest") as node:
        for i in range(4):
            node.rail(f"eth{i}")
        node.daemon(pools=pools())
        old, new = stateful(node, 2)
        for rail in range(2):
            node.add(old, conf("small", rail=rail, sticky="job/worker-3"), ifname=f"net{rail}")
        begun = time.monotonic()
        first = node.add(new, conf("small", "eth2", sticky="job/worker-3"), ifname="net0")
        waited = time.monotonic() - begun
        assert address(first) == "10.10.0.3" and waited >= PATIENCE_S, (first, waited)
        begun = time.monotonic()
        second = node.add(new, conf("small", "eth3", rail=1, sticky="job/worker-3"), ifname="net1")
        waited = time.monotonic() - begun
        assert address(second) == "10.11.0.3" and waited < PATIENCE_S - 1, (second, waited)


if __name__ == "__main__":
    lab.main(globals())
