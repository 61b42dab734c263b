# SPDX-License-Identifier: Apache-2.0
"""A living pod keeps its device, whatever others do to it and to the daemon (docs/architecture.md)."""

import json
import os
import signal
import subprocess

import lab
from cni_attach import foreign_ipam

CONF = lab.netconf(device="eth1", pool="train")


def node_with_rail(**rail):
    node = lab.Node("living")
    node.rail("eth1", **rail)
    node.daemon(pools=[lab.pool(routes=[{"dst": "0.0.0.0/0"}])], env={"SPUR_YOUNG_MS": "0"})
    return node


def states(node):
    return [a["state"] for a in node.attachments()]


def check(node):
    return lab.run(lab.program("spurctl"), "--socket", node.socket, "check")


def restart(node, sig=signal.SIGKILL, expected="attached"):
    node.stop(sig)
    node.start(env={"SPUR_YOUNG_MS": "0"})
    lab.wait_for(lambda: states(node) == [expected], 15, f"the attachment is {expected}")


def stays(node, pod, expected="attached", name="net1"):
    """Whatever the daemon looks at next, the pod has its device and the ledger its record."""
    (before,) = node.attachments()
    for _ in range(2):
        node.rpc("node.reconcile", timeout=30)
        lab.wait_for(lambda: node.rpc("node.status")["undo"] == {"queued": 0, "running": 0}, 15, "nothing is undone")
    assert states(node) == [expected], node.attachments()
    assert node.attachments()[0]["ips"] == before["ips"]
    if name:
        assert name in pod.links(), pod.links()


def slow_ipam(node):
    """One that takes its time: until the file `go` is there; returns how to wait for it, and to let it go."""
    here = os.path.join(node.dir, "ipam")
    gives = """echo '{"cniVersion":"1.0.0","ips":[{"address":"10.44.0.2/24"}]}'"""
    foreign_ipam(node, add=f"touch {here}.called; while [ ! -e {here}.go ]; do sleep 0.05; done; {gives}")
    return (lambda: lab.wait_for(lambda: os.path.exists(f"{here}.called"), what="the IPAM is called"),
            lambda: open(f"{here}.go", "w", encoding="ascii").close())


def slow_add(node):
    """An ADD whose IPAM is at work: pod, configuration, what was before, the call, and how to let it go on."""
    called, go = slow_ipam(node)
    pod = node.pod("a")
    before = node.snapshot(pod)
    conf = lab.netconf(device="eth1", ipam={"type": "other"})
    add = node.popen("ADD", pod, conf)
    called()
    return pod, conf, before, add, go


def test_restart_under_a_slow_ipam():
    """The daemon goes and comes in the middle of an ADD, which then succeeds."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with node_with_rail() as node:
            pod, conf, before, add, go = slow_add(node)
            restart(node, sig, "unconfirmed")
            go()
            got = node.finish(add)
            assert got.returncode == 0, got
            lab.wait_for(lambda: states(node) == ["attached"], what="`done` comes on another connection")
            assert node.attachments()[0]["facts"]["ips"], "with all that it had learnt"
            stays(node, pod)
            assert node.cni("CHECK", pod, {**conf, "prevResult": got.json}).returncode == 0
            node.delete(pod, conf)
            lab.same(before, node.snapshot(pod))


def test_done_without_a_daemon():
    """It is away when ADD ends: `done` waits in the spool."""
    with node_with_rail() as node:
        pod, conf, before, add, go = slow_add(node)
        node.stop()
        go()
        assert node.finish(add).returncode == 0
        spool = os.path.join(os.path.dirname(node.socket), "spool")
        (name,) = os.listdir(spool)
        with open(os.path.join(spool, name), encoding="utf-8") as f:
            assert json.load(f)["done"]["facts"]["ips"], "all that it had learnt"
        node.start()
        assert states(node) == ["attached"] and node.attachments()[0]["facts"]["ips"], "before anybody is served"
        assert not os.listdir(spool)
        stays(node, pod)
        node.delete(pod, conf)
        lab.same(before, node.snapshot(pod))


def test_a_del_meets_an_add_that_has_lost_its_lock():
    """The daemon is restarted, the pod deleted, and only then does ADD get its addresses: it fails, and leaves nothing."""
    with node_with_rail() as node:
        pod, conf, before, add, go = slow_add(node)
        restart(node, expected="unconfirmed")
        node.delete(pod, conf)
        assert not node.attachments()
        go()
        got = node.finish(add)
        assert got.code == 11 and "the reservation is gone" in got.msg, got
        lab.same(before, node.snapshot(pod))


def test_an_add_that_fails_without_a_daemon():
    """What it has walked back is released when the daemon is back."""
    with node_with_rail() as node:
        pod, conf, before, add, go = slow_add(node)
        node.stop()
        pod.ip("link", "add", "net1", "type", "veth", "peer", "name", "x")
        go()
        assert node.finish(add).code == 103
        pod.ip("link", "del", "net1")
        node.start(env={"SPUR_YOUNG_MS": "0"})
        lab.wait_for(lambda: not node.attachments(), 15, "the spooled DEL")
        lab.same(before, node.snapshot(pod))


CHANGES = {
    "mtu": [["link", "set", "net1", "mtu", "1400"]],
    "default route": [["route", "del", "default"]],
    "flush": [["addr", "flush", "dev", "net1"]],
    "down": [["link", "set", "net1", "down"]],
    "rename": [["link", "set", "net1", "down"], ["link", "set", "net1", "name", "other"]],
    "enslaved": [["link", "add", "br0", "type", "bridge"], ["link", "set", "net1", "master", "br0"]],
    "address": [["link", "set", "net1", "down"], ["link", "set", "net1", "address", "02:00:00:00:00:77"]],
    "all": [["link", "set", "net1", "down"], ["link", "set", "net1", "address", "02:00:00:00:00:77"],
            ["link", "set", "net1", "name", "other"], ["link", "set", "other", "mtu", "1400"]],
}


def test_changed_and_the_daemon_crashes():
    """Within the second that `done` may wait for company: what differs is drift."""
    for what, commands in CHANGES.items():
        with node_with_rail() as node:
            pod, late = node.pod("a"), node.pod("late")
            before = node.snapshot(pod, late)
            result = node.add(pod, CONF)
            for command in commands:
                pod.ip(*command)
            name = "other" if what in ("rename", "all") else "net1"
            restart(node)
            stays(node, pod, name=name)
            assert node.attachments()[0]["facts"]["ifindex"] == pod.link(name)["ifindex"]
            if what in ("flush", "rename", "address", "all"):  # what CHECK minds in any attachment
                node.refuse("CHECK", 104, "", pod, {**CONF, "prevResult": result})
            node.rail("eth2")
            other = node.add(late, lab.netconf(device="eth2", pool="train"))
            assert other["ips"][0]["address"] != result["ips"][0]["address"], "no address has two owners"
            node.delete(late, lab.netconf(device="eth2", pool="train"))
            node.net.ip("link", "del", "eth2")
            pod.ip("link", "del", "br0", check=False)
            node.delete(pod, CONF)
            assert not node.attachments(), what
            shown, was = node.net.link("eth1"), [l for l in before["node"]["links"] if "eth1" in str(l)]
            assert was and shown["mtu"] == 1500, (what, shown)


def test_number_taken_in_the_pod():
    """Its number is another's there, its name and address are changed: its other end knows it."""
    with node_with_rail() as node:
        pod = node.pod("a")
        index = node.net.link("eth1")["ifindex"]
        pod.ip("link", "add", "x", "index", str(index), "type", "veth", "peer", "name", "y")
        node.add(pod, CONF)
        for command in CHANGES["all"]:
            pod.ip(*command)
        restart(node)
        stays(node, pod, name="other")
        assert node.attachments()[0]["facts"]["ifindex"] == pod.link("other")["ifindex"] != index
        node.delete(pod, CONF)
        assert not node.attachments() and pod.links() == ["x", "y"] and "eth1" in node.net.links()


def hidden(node, pod):
    """The pod has moved its device on, into a namespace of its own."""
    inner = node.pod("inner")
    pod.ip("link", "set", "net1", "netns", inner.path)
    return inner


def test_a_device_that_cannot_be_found():
    """It may be anywhere: nothing is released while its namespace lives, and `spurctl check` says so."""
    with node_with_rail() as node:
        pod, late = node.pod("a"), node.pod("late")
        node.rail("eth2")
        mine = node.add(pod, CONF)["ips"][0]["address"]
        inner = hidden(node, pod)
        restart(node, expected="unconfirmed")
        stays(node, pod, "unconfirmed", name=None)
        assert "is unconfirmed" in check(node), check(node)
        node.refuse("CHECK", 104, "not in the pod", pod, {**CONF, "cniVersion": "1.0.0"})
        assert node.add(late, lab.netconf(device="eth2", pool="train"))["ips"][0]["address"] != mine
        node.delete(pod, CONF)
        (record,) = [a for a in node.attachments() if a["netns"]["path"] == pod.path]
        assert record["state"] == "dirty" and record["ips"][0]["address"] == mine, record
        assert "nor its addresses free" in check(node)
        inner.ip("link", "set", "net1", "netns", node.net.path)
        node.net.ip("link", "set", "net1", "name", "back")
        node.rpc("node.reconcile", timeout=30)
        lab.wait_for(lambda: len(node.attachments()) == 1, 30, "it is found again, and comes home")
        assert "eth1" in node.net.links()


def test_a_device_that_only_looks_like_it():
    """The pod hides its device, and makes one that has its name and address, or its altname."""
    for altname in ("", "altrail0"):
        with node_with_rail(altnames=("altrail0",)) as node:
            pod = node.pod("a")
            mine = node.add(pod, CONF)["ips"][0]["address"]
            address = pod.link("net1")["address"] if not altname else "02:00:00:00:00:77"
            inner = hidden(node, pod)
            name = "other" if altname else "net1"
            pod.ip("link", "add", name, "address", address, "type", "veth", "peer", "name", "x")
            if altname:
                pod.ip("link", "property", "add", "dev", name, "altname", altname)
            restart(node, expected="unconfirmed")
            node.delete(pod, CONF)
            assert states(node) == ["dirty"] and node.attachments()[0]["ips"][0]["address"] == mine, node.attachments()
            assert name in pod.links() and "eth1" not in node.net.links(), "what the pod made is left to it"
            inner.ip("link", "property", "del", "dev", "net1", "altname", "altrail0")
            inner.ip("link", "set", "net1", "netns", pod.path, "name", "found")
            node.rpc("node.reconcile", timeout=30)
            lab.wait_for(lambda: not node.attachments(), 30, "it is found behind the other, and comes home")
            assert node.net.link("eth1")["ifname"] == "eth1" and pod.links() == [name, "x"]


def test_its_end_is_proven_by_the_other_end():
    """Deleted in a pod that lives: a veth whose peer is gone is gone."""
    with node_with_rail() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        pod.ip("link", "del", "net1")
        restart(node, expected="unconfirmed")
        node.delete(pod, CONF)
        assert not node.attachments()


def test_a_device_without_proof():
    """A macvlan that the pod has deleted: nobody can tell; the end of the pod frees it."""
    with node_with_rail() as node:
        node.net.ip("link", "add", "link", "eth1", "name", "mv1", "type", "macvlan")
        conf = lab.netconf(device="mv1", pool="train")
        pod = node.pod("a")
        node.add(pod, conf)
        pod.ip("link", "del", "net1")
        node.delete(pod, conf)
        assert states(node) == ["dirty"] and node.attachments()[0]["ips"]
        pod.close()
        lab.wait_for(lambda: node.rpc("node.reconcile", timeout=30) is not None and not node.attachments(), 30, "the record goes")


def test_an_id_that_was_used_again_unseen():
    """The pod goes while the daemon is away, and another one has its nsid: that one's record tells."""
    with node_with_rail() as node:
        node.net.ip("link", "add", "link", "eth1", "name", "mv1", "type", "macvlan")
        conf = lab.netconf(device="mv1", pool="train")
        pod, late = node.pod("a"), node.pod("late")
        node.add(pod, conf)
        nsid = node.attachments()[0]["netns"]["nsid"]
        node.stop()
        node.delete(pod, conf)
        pod.close()
        lab.wait_for(lambda: "nsid" not in node.net.ip("netns", "list-id"), what="the id goes")
        node.net.ip("netns", "set", late.name, str(nsid))
        node.start(env={"SPUR_YOUNG_MS": "0"})
        lab.wait_for(lambda: states(node) == ["dirty"], 15, "nobody can tell that it has died")
        node.rail("eth2")
        node.add(late, lab.netconf(device="eth2", pool="train"))
        lab.wait_for(lambda: states(node) == ["attached"], 30, "the first one's record goes")


def test_a_path_that_is_gone():
    """The bind mount went, a process keeps the namespace: not confirmed, and not touched; then it dies."""
    with node_with_rail() as node:
        pod = node.pod("a")
        sleeper = subprocess.Popen(["nsenter", f"--net={pod.path}", "sleep", "60"])
        node.processes.append(sleeper)
        lab.wait_for(lambda: os.readlink(f"/proc/{sleeper.pid}/ns/net") != os.readlink("/proc/self/ns/net"), what="sleep is inside")
        node.add(pod, CONF)
        for command in CHANGES["address"]:
            pod.ip(*command)
        pod.close()
        restart(node, expected="unconfirmed")
        stays(node, pod, "unconfirmed", name=None)
        node.delete(pod, CONF)
        assert states(node) == ["dirty"] and node.attachments()[0]["ips"], node.attachments()
        assert "net1" in lab.run("nsenter", f"--net=/proc/{sleeper.pid}/ns/net", "ip", "link")
        sleeper.kill()
        sleeper.wait()
        lab.wait_for(lambda: node.rpc("node.reconcile", timeout=30) is not None and not node.attachments(), 30, "the record goes")


def test_a_repeated_add_settles_it():
    with node_with_rail() as node:
        pod = node.pod("a")
        result = node.add(pod, CONF)
        inner = hidden(node, pod)
        restart(node, expected="unconfirmed")
        inner.ip("link", "set", "net1", "netns", pod.path)
        pod.ip("addr", "add", result["ips"][0]["address"], "dev", "net1")
        pod.ip("link", "set", "net1", "up")
        node.cni("ADD", pod, CONF)  # its answer is another matter
        assert states(node) == ["attached"]


def test_spur_ipam():
    """Without a netdev there is nothing to find."""
    with node_with_rail() as node:
        pod = node.pod("a")
        conf = {"cniVersion": "1.0.0", "name": "m", "type": "macvlan", "ipam": {"type": "spur-ipam", "pool": "train", "socket": node.socket}}
        got = node.cni("ADD", pod, conf, binary="spur-ipam")
        assert got.returncode == 0, got
        restart(node)
        stays(node, pod, name=None)
        assert node.cni("DEL", pod, conf, binary="spur-ipam").returncode == 0
        assert not node.attachments()


def test_undo_children_leave_no_spool():
    """One that loses the daemon is asked again anyway."""
    with node_with_rail() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        node.stop()
        got = node.cni("DEL", pod, CONF, SPUR_UNDO="1")
        assert got.returncode == 1 and got.code == 11, got
        assert not os.path.exists(os.path.join(os.path.dirname(node.socket), "spool")) or \
            not os.listdir(os.path.join(os.path.dirname(node.socket), "spool"))


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
