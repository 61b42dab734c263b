# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a node: clashes, devices that vanish, verbs that meet, runtimes and daemons that crash."""

import json
import os
import signal
import subprocess
import time

import lab


def node_with_rail(env=None, **rail):
    node = lab.Node("trouble")
    node.rail("eth1", **rail)
    node.daemon(pools=[lab.pool()], env=env)
    return node


CONF = lab.netconf(device="eth1", pool="train")


# -- what ADD finds


def refused(node, code, words, pod, conf=None, **kw):
    """An ADD that fails and leaves everything as before."""
    before = node.snapshot(pod)
    node.refuse("ADD", code, words, pod, conf or CONF, **kw)
    lab.same(before, node.snapshot(pod))


def test_no_such_device():
    with node_with_rail() as node:
        refused(node, 102, "eth9", node.pod("a"), lab.netconf(device="eth9", pool="train"))


def test_device_with_a_master():
    with node_with_rail() as node:
        node.net.ip("link", "add", "br0", "type", "bridge")
        node.net.ip("link", "set", "eth1", "master", "br0")
        refused(node, 102, "eth1", node.pod("a"))


def test_device_with_addresses():
    for address in ("10.9.9.9/24", "fd09::9/64"):
        with node_with_rail(up=True) as node:
            node.net.ip("addr", "add", address, "dev", "eth1")
            refused(node, 102, address.split("/")[0], node.pod("a"))


def test_name_taken_in_the_pod():
    with node_with_rail() as node:
        pod = node.pod("a")
        pod.ip("link", "add", "net1", "type", "veth", "peer", "name", "other")
        refused(node, 103, "name net1", pod)
        pod.ip("link", "set", "net1", "name", "x")
        pod.ip("link", "property", "add", "dev", "x", "altname", "net1")
        refused(node, 103, "name net1", pod)


def test_host_name_taken_in_the_pod():
    """The pod may have an eth1 of its own: ours never shows under that name."""
    with node_with_rail() as node:
        pod = node.pod("a")
        pod.ip("link", "add", "eth1", "type", "veth", "peer", "name", "other")
        before = node.snapshot(pod)
        node.add(pod, CONF)
        assert pod.links() == ["eth1", "net1", "other"]
        node.delete(pod, CONF)
        lab.same(before, node.snapshot(pod))


def test_altname_taken_in_the_pod():
    with node_with_rail(altnames=("enp5",)) as node:
        pod = node.pod("a")
        pod.ip("link", "add", "x", "type", "veth", "peer", "name", "y")
        pod.ip("link", "property", "add", "dev", "x", "altname", "enp5")
        refused(node, 103, "altname enp5", pod)


def test_device_of_another_pod():
    with node_with_rail() as node:
        a, b = node.pod("a", pod_name="alice", uid="uid-a"), node.pod("b")
        node.add(a, CONF)
        refused(node, 11, "alice", b)
        refused(node, 11, "", a, ifname="net2")
        node.delete(a, CONF)
        node.add(b, CONF)


def test_device_that_is_in_a_pod_by_hand():
    with node_with_rail() as node:
        pod = node.pod("a")
        node.net.ip("link", "set", "eth1", "netns", pod.name)
        refused(node, 102, "eth1", pod)


def test_pool_is_full():
    with lab.Node("trouble") as node:
        for i in (1, 2):
            node.rail(f"eth{i}")
        node.daemon(pools=[{"name": "tiny", "cooldown_s": 60, "rails": [{"name": "r", "cidr": "10.0.0.0/31"}]}])
        pods = [node.pod("a"), node.pod("b")]
        conf = [lab.netconf(device=f"eth{i}", pool="tiny") for i in (1, 2)]
        node.add(pods[0], conf[0])
        node.add(pods[1], conf[1])
        node.delete(pods[0], conf[0])
        refused(node, 11, "tiny", pods[0], conf[0])


def test_result_that_nobody_reads():
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        call = node.popen("ADD", pod, CONF, stdin=False)
        call.stdout.close()
        call.stdin.write(json.dumps({**CONF, "socket": node.socket}))
        call.stdin.close()
        assert call.wait(30) == 1
        lab.wait_for(lambda: not node.attachments(), what="the record goes")
        lab.same(before, node.snapshot(pod))


def test_many_at_once():
    """Twenty pods side by side, each with a rail of its own; twice, so that addresses come back."""
    with lab.Node("trouble") as node:
        count = 20
        for i in range(count):
            node.rail(f"r{i}")
        node.daemon(pools=[lab.pool()])
        pods = [node.pod(f"p{i}") for i in range(count)]
        confs = [lab.netconf(device=f"r{i}", pool="train") for i in range(count)]
        before = node.snapshot(*pods)
        for _ in range(2):
            answers = [node.finish(c) for c in [node.popen("ADD", p, c) for p, c in zip(pods, confs)]]
            assert all(a.returncode == 0 for a in answers), answers
            addresses = {a.json["ips"][0]["address"] for a in answers}
            assert len(addresses) == count, addresses
            answers = [node.finish(c) for c in [node.popen("DEL", p, c) for p, c in zip(pods, confs)]]
            assert all(a.returncode == 0 for a in answers), answers
            lab.same(before, node.snapshot(*pods))


def test_one_device_for_many():
    """Of ten that want the same device at once, one gets it and nine are told whose it is."""
    with node_with_rail() as node:
        pods = [node.pod(f"p{i}") for i in range(10)]
        answers = [node.finish(c) for c in [node.popen("ADD", p, CONF) for p in pods]]
        assert sorted(a.code for a in answers) == [0] + [11] * 9, answers
        assert sum("net1" in p.links() for p in pods) == 1
        for pod in pods:
            node.delete(pod, CONF)
        assert node.net.links() == ["eth1", "eth1p"] and not node.attachments()


# -- devices that go


def test_namespace_is_gone():
    """A veth dies with its namespace: reported as gone, and the address is free."""
    with node_with_rail() as node:
        for netns in (None, "", "/run/netns/never-there", "/etc/passwd"):
            if "eth1" not in node.net.links():
                node.rail("eth1")
            pod = node.pod(f"p{len(node.pods)}")
            node.add(pod, CONF)
            pod.close()
            lab.wait_for(lambda: not node.net.links(), what="the veth dies")
            node.delete(pod, CONF, **({} if netns is None else {"CNI_NETNS": netns}))
            assert not node.attachments()
            node.delete(pod, CONF, CNI_NETNS="")


def test_namespace_is_another():
    """The path leads to a new namespace by now: it is not touched."""
    with node_with_rail() as node:
        pod = node.pod("a")
        conf = {**CONF, "routing": {"table": 7}}
        address = node.add(pod, conf)["ips"][0]["address"].split("/")[0]
        pod.close()
        lab.wait_for(lambda: not node.net.links(), what="the veth dies")
        lab.run("ip", "netns", "add", pod.name)
        pod.ip("link", "add", "net1", "type", "veth", "peer", "name", "other")
        pod.ip("rule", "add", "from", address, "lookup", "7", "priority", "1000", "protocol", "115")
        before = pod.snapshot()
        node.delete(pod, conf)
        lab.same(before, pod.snapshot())
        assert not node.attachments()


def test_namespace_lives_but_its_path_is_gone():
    """Nobody can be sent there: DEL succeeds, and the record stays until the namespace has died."""
    with node_with_rail(env={"SPUR_YOUNG_MS": "0"}) as node:
        pod = node.pod("a")
        sleeper = subprocess.Popen(["nsenter", f"--net={pod.path}", "sleep", "60"])
        node.processes.append(sleeper)
        node.add(pod, CONF)
        lab.wait_for(lambda: os.readlink(f"/proc/{sleeper.pid}/ns/net") != os.readlink("/proc/self/ns/net"), what="sleep is inside")
        pod.close()
        node.delete(pod, CONF)
        (record,) = node.attachments()
        assert record["state"] == "dirty" and record["ips"], record
        sleeper.kill()
        sleeper.wait()
        lab.wait_for(lambda: not node.net.links(), what="the veth dies")
        lab.wait_for(lambda: node.rpc("node.reconcile", timeout=30) is not None and not node.attachments(), 30, "the record goes")


def test_namespace_by_another_path():
    """The bind mount went, CNI_NETNS leads to the same namespace by way of a process."""
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot()
        sleeper = subprocess.Popen(["nsenter", f"--net={pod.path}", "sleep", "60"])
        node.processes.append(sleeper)
        lab.wait_for(lambda: os.readlink(f"/proc/{sleeper.pid}/ns/net") != os.readlink("/proc/self/ns/net"), what="sleep is inside")
        node.add(pod, CONF)
        pod.close()
        node.delete(pod, CONF, CNI_NETNS=f"/proc/{sleeper.pid}/ns/net")
        lab.same(before, node.snapshot())


def test_device_deleted_in_the_pod():
    with node_with_rail() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        pod.ip("link", "del", "net1")
        node.refuse("CHECK", 104, "net1", pod, CONF)
        node.delete(pod, CONF)
        assert not node.attachments()


def test_another_device_under_its_name():
    """The pod has deleted ours and made another net1: that one stays."""
    with node_with_rail() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        pod.ip("link", "del", "net1")
        pod.ip("link", "add", "net1", "type", "veth", "peer", "name", "other")
        before = pod.snapshot()
        node.refuse("CHECK", 104, "net1", pod, CONF)
        node.delete(pod, CONF)
        lab.same(before, pod.snapshot())
        assert not node.attachments()


def test_stranger_under_its_name_in_the_host():
    """It died; whoever is called eth1 now is left alone."""
    with node_with_rail() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        pod.close()
        lab.wait_for(lambda: not node.net.links(), what="the veth dies")
        node.rail("eth1", mtu=1300, up=True)
        before = node.net.snapshot()
        node.delete(pod, CONF)
        lab.same(before, node.net.snapshot())
        assert not node.attachments()


def test_host_name_taken_meanwhile():
    """It leaves the pod under another name; the daemon restores it when the name is free."""
    for also in ("other", "net1"):  # its name in the pod is taken as well
        with node_with_rail(mtu=1400) as node:
            pod = node.pod("a")
            before = node.snapshot(pod)
            node.add(pod, CONF)
            node.net.ip("link", "add", "eth1", "type", "veth", "peer", "name", also)
            node.delete(pod, CONF)
            assert pod.links() == []
            (record,) = node.attachments()
            assert record["state"] == "dirty", record
            refused(node, 11, "", node.pod("b"))
            node.net.ip("link", "del", "eth1")
            lab.wait_for(lambda: node.rpc("node.reconcile", timeout=30) is not None and not node.attachments(), 30, "restored")
            lab.same(before, node.snapshot(pod))


def test_hooked_device_vanishes_halfway():
    """Its peer is deleted, before the move and after: ADD fails, and nothing is kept."""
    for k in (1, 2, 3, 4):
        with node_with_rail() as node:
            pod = node.pod("a")
            call = node.popen("ADD", pod, CONF, SPUR_STALL_STEP=f"apply:{k}")
            lab.wait_stopped(call)
            node.net.ip("link", "del", "eth1p")
            call.send_signal(signal.SIGCONT)
            got = node.finish(call)
            assert got.returncode == 1 and got.code in (101, 102) and got.msg.startswith("step "), (k, got)
            assert not node.attachments() and not pod.links()


# -- verbs that meet


def test_hooked_del_while_add_is_killed():
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        add = node.popen("ADD", pod, CONF, SPUR_STALL_STEP="apply:4")
        lab.wait_stopped(add)
        delete = node.popen("DEL", pod, CONF)
        time.sleep(0.5)
        assert delete.poll() is None, "DEL waits for its turn"
        add.kill()
        got = node.finish(delete)
        assert got.returncode == 0, got
        lab.same(before, node.snapshot(pod))


def test_hooked_del_while_add_runs():
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        add = node.popen("ADD", pod, CONF, SPUR_STALL_STEP="apply:4")
        lab.wait_stopped(add)
        delete = node.popen("DEL", pod, CONF)
        time.sleep(0.3)
        add.send_signal(signal.SIGCONT)
        got = node.finish(add)
        assert got.returncode == 0 and got.json["ips"], "ADD is not disturbed"
        assert node.finish(delete).returncode == 0
        lab.same(before, node.snapshot(pod))


def test_hooked_del_does_not_wait_for_ever():
    with node_with_rail() as node:
        pod = node.pod("a")
        add = node.popen("ADD", pod, CONF, SPUR_STALL_STEP="apply:4")
        lab.wait_stopped(add)
        begun = time.monotonic()
        node.refuse("DEL", 11, "", pod, CONF)
        assert 8 < time.monotonic() - begun < 13
        add.send_signal(signal.SIGCONT)
        assert node.finish(add).returncode == 0
        node.delete(pod, CONF)


def test_hooked_reconcile_beside_add():
    with node_with_rail(env={"SPUR_YOUNG_MS": "0"}) as node:
        pod = node.pod("a")
        add = node.popen("ADD", pod, CONF, SPUR_STALL_STEP="apply:4")
        lab.wait_stopped(add)
        node.rpc("node.reconcile", timeout=30)
        (record,) = node.attachments()
        assert record["state"] == "unfinished", record
        add.send_signal(signal.SIGCONT)
        got = node.finish(add)
        assert got.returncode == 0, got
        assert node.cni("CHECK", pod, {**CONF, "prevResult": got.json}).returncode == 0
        node.rpc("node.reconcile", timeout=30)
        assert node.attachments()[0]["state"] == "attached"


def test_late_del():
    """Another container owns the device by now: the DEL of the first touches nothing of it."""
    with node_with_rail() as node:
        a, b = node.pod("a"), node.pod("b")
        node.add(a, CONF)
        node.delete(a, CONF)
        result = node.add(b, CONF)
        before = node.snapshot(a, b)
        node.delete(a, CONF)
        node.delete(a, CONF, CNI_NETNS=b.path)
        lab.same(before, node.snapshot(a, b))
        assert node.cni("CHECK", b, {**CONF, "prevResult": result}).returncode == 0


# -- runtimes that crash


def test_sandbox_recreated_while_the_old_one_lives():
    """Same pod, new container, and nobody ever deletes the old one: the device is fetched from it."""
    with node_with_rail() as node:
        old = node.pod("old", pod_name="web", uid="uid-web")
        new = node.pod("new", pod_name="web", uid="uid-web")
        node.add(old, CONF)
        result = node.add(new, CONF)
        assert old.links() == [] and new.links() == ["net1"]
        (record,) = node.attachments()
        assert record["containerID"] == new.container, record
        before = node.snapshot(old, new)
        node.delete(old, CONF)  # late
        lab.same(before, node.snapshot(old, new))
        assert node.cni("CHECK", new, {**CONF, "prevResult": result}).returncode == 0


def test_sandbox_recreated_after_the_old_one_died():
    with node_with_rail() as node:
        old = node.pod("old", pod_name="web", uid="uid-web")
        new = node.pod("new", pod_name="web", uid="uid-web")
        node.add(old, CONF)
        old.close()
        lab.wait_for(lambda: not node.net.links(), what="the veth dies")
        node.rail("eth1")
        node.add(new, CONF)
        (record,) = node.attachments()
        assert record["containerID"] == new.container, record
        node.delete(old, CONF)
        assert new.links() == ["net1"]


def test_hooked_runtime_killed_during_add():
    """The runtime dies in the middle of ADD, its plugin with it; the new sandbox is served at once."""
    with node_with_rail() as node:
        old = node.pod("old", pod_name="web", uid="uid-web")
        new = node.pod("new", pod_name="web", uid="uid-web")
        node.cni("ADD", old, CONF, SPUR_KILL_STEP="apply:4")
        node.add(new, CONF)
        assert old.links() == [] and new.links() == ["net1"]
        assert [a["containerID"] for a in node.attachments()] == [new.container]


# -- daemons that are not there


def spool_files(node):
    spool = os.path.join(os.path.dirname(node.socket), "spool")
    return os.listdir(spool) if os.path.isdir(spool) else []


def test_daemon_down():
    """ADD and CHECK say so; DEL is written down and done when the daemon is back."""
    with node_with_rail() as node:
        pod, late = node.pod("a"), node.pod("late")
        before = node.snapshot(pod)
        node.add(pod, CONF)
        attached = pod.snapshot()
        node.stop()
        node.refuse("ADD", 11, "spur-ipamd", late, CONF)
        node.refuse("CHECK", 11, "spur-ipamd", pod, CONF)
        node.delete(pod, CONF)
        node.delete(pod, CONF)
        lab.same(attached, pod.snapshot())  # touched nothing
        assert len(spool_files(node)) == 2
        node.start()
        lab.wait_for(lambda: not node.attachments() and not spool_files(node), 20, "the spool is drained")
        lab.same(before, node.snapshot(pod))


def test_hooked_daemon_killed():
    with node_with_rail() as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        result = node.add(pod, CONF)
        node.stop(signal.SIGKILL)
        node.start()
        lab.wait_for(lambda: node.attachments()[0]["state"] == "attached", 15, "what was not yet on disk is found in the pod")
        assert node.cni("CHECK", pod, {**CONF, "prevResult": result}).returncode == 0
        node.delete(pod, CONF)
        lab.same(before, node.snapshot(pod))


def test_spooled_del_is_older_than_the_next_add():
    """The DEL was for the attachment before: what has been attached since stays."""
    with node_with_rail() as node:
        pod = node.pod("a")
        node.add(pod, CONF)
        node.stop()
        node.delete(pod, CONF)
        (name,) = spool_files(node)
        spool = os.path.join(os.path.dirname(node.socket), "spool", name)
        with open(spool, "rb") as f:
            entry = f.read()
        node.start()
        lab.wait_for(lambda: not node.attachments(), 20, "the spool is drained")
        node.add(pod, CONF)
        with open(spool + ".new", "wb") as f:
            f.write(entry)
        os.rename(spool + ".new", spool)
        lab.wait_for(lambda: not spool_files(node), 20, "the entry is dealt with")
        assert node.attachments()[0]["state"] == "attached" and pod.links() == ["net1"]


# -- GC


def test_gc():
    with lab.Node("trouble") as node:
        for i in range(4):
            node.rail(f"r{i}")
        node.daemon(pools=[lab.pool()])
        pods = [node.pod(f"p{i}") for i in range(4)]
        confs = [lab.netconf(name="rail9" if i == 3 else "rail0", device=f"r{i}", pool="train", version="1.1.0") for i in range(4)]
        for pod, conf in zip(pods, confs):
            node.add(pod, conf)
        for pod in pods[1:]:
            pod.close()  # p0 lives; p1 is dead and listed, p2 dead, p3 dead in another network
        lab.wait_for(lambda: len(node.net.links()) == 1, what="the veths die")
        listed = [{"containerID": pods[1].container, "ifname": "net1"}]

        def held():
            return sorted(a["containerID"] for a in node.attachments())

        everything = sorted(p.container for p in pods)
        assert node.cni("GC", pods[0], confs[0]).returncode == 0 and held() == everything
        got = node.cni("GC", pods[0], {**confs[0], "cni.dev/valid-attachments": listed})
        assert got.returncode == 0 and not got.stdout, got
        assert held() == sorted(p.container for p in pods if p is not pods[2])
        got = node.cni("GC", pods[0], {**confs[0], "cni.dev/attachments": []})
        assert got.returncode == 0 and held() == sorted((pods[0].container, pods[3].container)), got
        assert pods[0].links() == ["net1"]


def test_device_that_came_home_by_itself():
    """As a physical one does when its namespace ends: under the pod's names, with the pod's settings."""
    with node_with_rail(altnames=("rail-one",)) as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        node.add(pod, CONF)
        pod.ip("link", "set", "net1", "down")
        pod.ip("link", "set", "net1", "mtu", "1400")
        pod.ip("link", "property", "add", "dev", "net1", "altname", "of-the-pod")
        pod.ip("link", "set", "net1", "netns", node.net.name)
        assert node.net.link("net1")["altnames"] == ["rail-one", "of-the-pod"]
        node.delete(pod, CONF)
        lab.same(before, node.snapshot(pod))


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
