# SPDX-License-Identifier: Apache-2.0
"""RDMA devices of VFs in exclusive mode: into the pod, used there, and home again whatever happens.

VFs of two PFs of igb with soft-RoCE devices that move; the lab's own driver where a link has to stay down.
"""

import contextlib
import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import guest
import lab
import scene
from guest import run, wait_for, within

READY = {"ready": {"timeout_ms": 10000}}
RICH = {"rdma": "required", "mac": "02:00:00:00:cc:01", "mtu": 1400, "vlan": 7, "trust": "on", **READY}


def record_of(node, pod):
    return next(a for a in node.attachments() if a["containerID"] == pod.container)


def rdma_facts(node, pod):
    return record_of(node, pod)["facts"]["rdma"]


def gid(vf, pod, index):
    """What stands there at this moment, and of which type."""
    port = f"{vf.dir}/infiniband/{vf.rdma_dev(pod)}/ports/1"
    return tuple(within(pod, "cat", f"{port}/{what}/{index}").strip() for what in ("gids", "gid_attrs/types"))


def gid_of(address):
    return "0000:0000:0000:0000:0000:ffff:{:02x}{:02x}:{:02x}{:02x}".format(*map(int, address.split(".")))


def move_home(pod, rdma):
    """By hand: from inside its namespace."""
    run("ip", "netns", "attach", "host", "1")
    within(pod, "rdma", "dev", "set", rdma, "netns", "host")
    run("ip", "netns", "del", "host")


@contextlib.contextmanager
def holding(pod, rdma, index):
    """A process in the pod that has the device open, with a queue pair, and waits."""
    with subprocess.Popen(["ip", "netns", "exec", pod.name, "ibv_rc_pingpong", "-d", rdma, "-g", str(index)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as holder:
        try:
            wait_for(lambda: "pingpong" in within(pod, "rdma", "res", "show", "qp"), 20, "a queue pair")
            yield holder
        finally:
            holder.kill()


# -- used


class Two:
    """Two pods on VFs of two PFs, each with its RDMA device."""

    def __init__(self, node, **keys):
        self.node = node
        self.vfs = node.vfs[:2]
        self.names = [vf.rdma_dev() for vf in self.vfs]
        told = [node.attach(name, vf, **keys) for name, vf in zip("ab", self.vfs)]
        self.pods, self.confs, self.results = zip(*told)
        self.addresses = [scene.address(result) for result in self.results]
        self.facts = [rdma_facts(node, pod) for pod in self.pods]

    def talk(self, server, client):
        return guest.talk(self.pods[1], server, self.pods[0], client)

    def delete(self, order=(0, 1)):
        for i in order:
            self.node.delete(self.pods[i], self.confs[i])
            self.node.end(self.pods[i])


def check_arrived(two):
    """The moment that ADD returns: the devices are in the pods alone, and can be used by the GID told."""
    assert not {*two.names} & {*guest.rdma_devices(), *guest.entries("/sys/class/infiniband")}
    for vf, pod, name, facts, address in zip(two.vfs, two.pods, two.names, two.facts, two.addresses):
        assert guest.rdma_devices(pod) == [name] and not vf.rdma_devs() and not vf.netdevs()
        assert gid(vf, pod, facts["gidIndex"]) == (gid_of(address), "RoCE v2"), facts
        before = record_of(two.node, pod)["device"]["rdma"]
        assert facts["moved"] and facts["name"] == name == before["name"], (facts, before)
        assert facts["uverbs"] == before["uverbs"] == vf.uverbs(pod)[0], (facts, before)


def test_others_stay():
    with scene.Scene(scene.igb(2)) as node:
        free = [vf.rdma_dev() for vf in node.vfs[2:]]
        for order in ((0, 1), (1, 0)):
            two = Two(node, rdma="required", **READY)
            check_arrived(two)
            assert guest.rdma_devices() == free
            two.delete(order)
            node.settles()


def test_all_at_once():
    """Moves are one at a time in the node: each device keeps its character device's number."""
    with scene.Scene(scene.igb(2)) as node:
        pods = [node.pod(f"p{i}") for i in range(len(node.vfs))]
        confs = [node.conf(vf, rdma="required", ready={"timeout_ms": 0}) for vf in node.vfs]

        def all_of_them(verb):
            with ThreadPoolExecutor(len(pods)) as at_once:
                got = list(at_once.map(lambda i: node.cni(verb, pods[i], confs[i]), range(len(pods))))
            assert all(g.returncode == 0 for g in got), (verb, got)
        for _ in range(3):
            all_of_them("ADD")
            assert guest.rdma_devices() == []
            for record in node.attachments():
                assert record["facts"]["rdma"]["uverbs"] == record["device"]["rdma"]["uverbs"], record
            all_of_them("DEL")
            node.settles()


def test_two_pods_talk():
    with scene.Scene(scene.igb(1)) as node:
        two = Two(node, rdma="required", **READY)
        check_arrived(two)
        (a, b), gids = two.names, [str(f["gidIndex"]) for f in two.facts]
        near, far = two.addresses
        node.ping(two.pods[0], far)
        node.ping(two.pods[1], near)
        two.talk(["ibv_rc_pingpong", "-d", b, "-g", gids[1], "-n", "100"],
                 ["ibv_rc_pingpong", "-d", a, "-g", gids[0], "-n", "100", far])
        two.talk(["rping", "-s", "-a", far, "-C", "5"], ["rping", "-c", "-a", far, "-C", "5"])
        bandwidth = ["ib_write_bw", "-F", "-s", "4096", "-n", "200"]
        told = two.talk([*bandwidth, "-d", b, "-x", gids[1]], [*bandwidth, "-d", a, "-x", gids[0], far])
        assert "BW average" in told, told
        for pod, conf, result in zip(two.pods, two.confs, two.results):
            got = node.cni("CHECK", pod, {**conf, "prevResult": result})
            assert got.returncode == 0, got
        two.delete()
        node.is_as_before()
        node.settles()


def test_two_rails_in_one_l2():
    """Without `routing`: a peer learns the address of each rail with its own MAC, and verbs get there."""
    with scene.Scene(scene.igb(2)) as node:
        pod, peer = node.pod("two"), node.pod("peer")
        confs = [node.conf(vf, rdma="required", **READY) for vf in node.vfs]
        results = [node.add(pod, conf, ifname=f"net{i}") for i, conf in enumerate(confs[:2])]
        mine = {a["ifname"]: a["facts"]["rdma"] for a in node.attachments()}
        node.add(peer, confs[2])
        theirs = rdma_facts(node, peer)
        for i in (1, 0):
            own, at = results[i]["interfaces"][0]["mac"], scene.address(results[i])
            for _ in range(3):  # which of two answers came first was chance
                peer.ip("neigh", "flush", "dev", "net1")
                node.ping(peer, at)
                [entry] = peer.ip_json("neigh", "show", at)
                assert entry["lladdr"] == own, (at, entry, results)
            guest.talk(pod, ["ibv_rc_pingpong", "-n", "50", "-d", mine[f"net{i}"]["name"], "-g", str(mine[f"net{i}"]["gidIndex"])],
                       peer, ["ibv_rc_pingpong", "-n", "50", "-d", theirs["name"], "-g", str(theirs["gidIndex"]), at])
            guest.talk(pod, ["rping", "-s", "-a", at, "-C", "5"], peer, ["rping", "-c", "-a", at, "-C", "5"])
        for i, conf in enumerate(confs[:2]):
            node.delete(pod, conf, ifname=f"net{i}")
        node.delete(peer, confs[2])
        node.settles()


# -- what is told


def test_name():
    """Its name in the pod is lent; a name belongs to one device of the node."""
    with scene.Scene(scene.igb(1)) as node:
        vf, other = node.vfs
        pod, conf, _ = node.attach("a", vf, rdmaName="mlx5_0")
        assert guest.rdma_devices(pod) == ["mlx5_0"] and rdma_facts(node, pod)["name"] == "mlx5_0"
        between, late = node.facts(), node.pod("b")
        node.refuse("ADD", 103, "mlx5_0", late, node.conf(other, rdmaName="mlx5_0"))
        assert late.links() == [] and len(node.attachments()) == 1
        lab.same(between, node.facts())
        node.delete(pod, conf)
        node.is_as_before()
        node.untouched(103, other.rdma_dev(), vf, rdmaName=other.rdma_dev())
        # Its own name is no other.
        pod, conf, _ = node.attach("c", vf, rdmaName=vf.rdma_dev())
        node.delete(pod, conf)
        node.settles()


def test_result_and_device_info():
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[1]
        path = "/var/run/k8s.cni.cncf.io/devinfo/cni/net-net1.json"
        for version in ("1.1.0", "1.0.0", "0.3.1"):
            keys = {"rdmaName": "mlx5_3", "runtimeConfig": {"CNIDeviceInfoFile": path, "deviceID": vf.pci}}
            pod, conf = node.pod("a"), {**node.conf(**keys), "cniVersion": version}
            result = node.add(pod, conf)
            [interface] = result["interfaces"]
            assert interface.get("pciID") == (vf.pci if version == "1.1.0" else None), interface
            with open(path, encoding="utf-8") as f:
                told = json.load(f)
            assert told == {"type": "pci", "version": "1.1.0", "pci": {
                "pci-address": vf.pci, "rdma-device": "mlx5_3", "pf-pci-address": vf.pf.pci}}, told
            shown = node.ctl("show", pod.container)
            assert vf.pci in shown and "mlx5_3" in shown and vf.uverbs(pod)[0] in shown, shown
            node.delete(pod, conf)
            assert not os.path.exists(path)
            node.settles()
            node.end(pod)


def test_none_and_auto():
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        for keys, moved in (({"rdma": "none"}, False), ({"rdma": "auto"}, True), ({}, True),
                            ({"rdmaIsolation": True}, True)):
            pod, conf, _ = node.attach("a", vf, **keys)
            here, there = guest.rdma_devices(), guest.rdma_devices(pod)
            assert (here, there) == ((["rdma1"], ["rdma0"]) if moved else (["rdma0", "rdma1"], [])), (keys, here, there)
            node.delete(pod, conf)
            node.end(pod)
            node.settles()


def test_number_that_changes():
    """Another uverbs device than the one that kubelet chose: the pod could not open it."""
    with scene.Scene(scene.igb(1)) as node:
        low, vf = node.vfs
        run("rdma", "link", "del", low.rdma_dev())  # its number is the next to be given
        old, pod = vf.uverbs()[0], node.pod("a")
        got = node.refuse("ADD", 11, "uverbs", pod, node.conf(runtimeConfig={"deviceID": vf.pci}, rdma="required"))
        assert old in got.msg + got.json["details"], got
        assert pod.links() == [] and vf.rdma_dev() == "rdma1" and not node.attachments()
        # By now it has the low number, and keeps it; without a device plugin nobody would mind.
        low.soft_roce("rdma0")
        assert [v.uverbs() for v in node.vfs] == [[old], ["uverbs0"]], (old, [v.uverbs() for v in node.vfs])
        run("rdma", "link", "del", "rdma1")
        conf = node.conf(low, rdma="required")
        node.add(pod, conf)
        assert rdma_facts(node, pod)["uverbs"] == low.uverbs(pod)[0] == "uverbs0", node.attachments()
        node.delete(pod, conf)
        vf.soft_roce("rdma1")
        node.settles()


def test_check():
    """An RDMA device that has left the pod is not what the record says."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        pod, conf, result = node.attach("a", vf, rdma="required")
        conf["prevResult"] = result
        assert node.cni("CHECK", pod, conf).returncode == 0
        name = vf.rdma_dev(pod)
        move_home(pod, name)
        node.refuse("CHECK", 104, name, pod, conf)
        node.delete(pod, conf)
        node.is_as_before()
        node.settles()


# -- in a chain


def put_in(pod, vf, address):
    """As the chain's main plugin does it; returns the previous result."""
    name = vf.netdev()
    run("ip", "link", "set", name, "netns", pod.name, "name", "net1")
    pod.ip("addr", "add", address, "dev", "net1")
    pod.ip("link", "set", "net1", "up")
    return name, {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net1", "mac": pod.link("net1")["address"], "sandbox": pod.path}],
        "ips": [{"address": address, "interface": 0}], "dns": {},
    }


def test_chained():
    """Only the RDMA device is Spur's: the netdev stays where another plugin has put it."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        rdma, pod = vf.rdma_dev(), node.pod("a")
        name, previous = put_in(pod, vf, "10.9.0.1/24")
        conf = lab.netconf("net", version="1.1.0", deviceID=vf.pci, rdmaName="mlx5_0", prevResult=previous, **READY)
        inside = pod.snapshot()
        result = node.add(pod, conf)
        assert result == previous, result
        assert guest.rdma_devices(pod) == ["mlx5_0"] and not vf.rdma_devs()
        assert gid(vf, pod, rdma_facts(node, pod)["gidIndex"]) == (gid_of("10.9.0.1"), "RoCE v2")
        got = node.cni("CHECK", pod, conf)
        assert got.returncode == 0, got
        node.delete(pod, {k: v for k, v in conf.items() if k != "prevResult"})
        assert guest.rdma_devices(pod) == [] and vf.rdma_devs() == [rdma]
        lab.same(inside, pod.snapshot())
        pod.ip("link", "set", "net1", "down")
        pod.ip("link", "set", "net1", "netns", "1", "name", name)
        node.settles()


def test_chained_and_the_daemon_crashes():
    """There is no netdev of Spur's to be found, and nothing is taken from the pod."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        rdma, pod = vf.rdma_dev(), node.pod("a")
        name, previous = put_in(pod, vf, "10.9.0.1/24")
        conf = lab.netconf("net", version="1.1.0", deviceID=vf.pci, rdmaName="mlx5_0", prevResult=previous)
        node.add(pod, conf)
        pod.ip("addr", "flush", "dev", "net1")
        node.stop(signal.SIGKILL)
        node.start(env={"SPUR_YOUNG_MS": "0"})
        wait_for(lambda: [a["state"] for a in node.attachments()] == ["attached"], 20, "it is settled")
        assert rdma_facts(node, pod)["moved"] and guest.rdma_devices(pod) == ["mlx5_0"]
        node.delete(pod, {k: v for k, v in conf.items() if k != "prevResult"})
        assert guest.rdma_devices(pod) == [] and vf.rdma_devs() == [rdma]
        pod.ip("link", "set", "net1", "down")
        pod.ip("link", "set", "net1", "netns", "1", "name", name)
        node.settles()


def test_chained_and_the_namespace_dies():
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        rdma, pod = vf.rdma_dev(), node.pod("a")
        name, previous = put_in(pod, vf, "10.9.0.1/24")
        conf = lab.netconf("net", version="1.1.0", deviceID=vf.pci, rdmaName="mlx5_0", prevResult=previous)
        node.add(pod, conf)
        node.end(pod)
        wait_for(lambda: vf.rdma_devs(), 20, "the RDMA device comes home")
        node.delete(pod, conf)
        assert vf.rdma_devs() == [rdma], vf.rdma_devs()
        run("ip", "link", "set", vf.netdev(), "name", name)  # the main plugin's
        node.settles()


# -- when the pod is not as it was


@contextlib.contextmanager
def own_altname(vf, name):
    run("ip", "link", "property", "add", "dev", vf.netdev(), "altname", name)
    yield
    run("ip", "link", "property", "del", "dev", vf.netdev(), "altname", name)


def disfigure(pod, pf):
    """What a privileged pod may do to its device: names that are taken at home, MTU, MAC."""
    pod.ip("link", "set", "net1", "down")
    pod.ip("link", "set", "net1", "name", pf.netdev())
    pod.ip("link", "set", pf.netdev(), "mtu", "1280")
    pod.ip("link", "property", "add", "dev", pf.netdev(), "altname", "podsown")


def test_namespace_deleted_first():
    """It comes home by itself, as dev<N> where its name is taken; DEL makes it what it was."""
    scene.igb(1)
    for spoil in (False, True):
        vf = scene.igb(1)[0]
        with own_altname(vf, "longest-of-all-names"), scene.Scene(scene.igb(1)) as node:
            pod, conf, _ = node.attach("a", vf, rdmaName="mlx5_0", **RICH)
            if spoil:
                disfigure(pod, vf.pf)
            node.end(pod)
            wait_for(lambda: vf.netdevs() and vf.rdma_devs(), 20, "both come home")
            assert vf.netdevs() != node.before["vm"]["pfs"][vf.pf.pci]["functions"][vf.pci][1], vf.netdevs()
            node.delete(pod, conf)
            node.is_as_before()
            node.settles()


def test_namespace_deleted_and_no_del():
    """The daemon finds out by itself, once the record is old enough."""
    with scene.Scene(scene.igb(1)) as node:
        pods = []
        for i, vf in enumerate(node.vfs):
            pod, conf, _ = node.attach(f"p{i}", vf, **{**RICH, "mac": f"02:00:00:00:cc:1{i}"})
            pods.append((pod, conf))
        disfigure(pods[0][0], node.pfs[0])
        for pod, _ in pods:
            node.end(pod)
        node.settles(60)
        for pod, conf in pods:
            node.delete(pod, conf)
        node.settles()


def test_names_changed_in_the_pod():
    """The pod lives, and its device goes by another name: DEL finds it by its function."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        pod, conf, _ = node.attach("a", vf, **RICH)
        disfigure(pod, vf.pf)
        within(pod, "rdma", "dev", "set", vf.rdma_dev(pod), "name", "podsown")
        node.delete(pod, conf)
        assert pod.links() == [] and guest.rdma_devices(pod) == []
        node.is_as_before()
        node.settles()


def test_adaptive_moderation():
    """Whatever the pod made of it, by DEL and from a dead namespace: as it was while the VF was free."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        for before, value in (("off", "on"), ("on", "off")):
            node.stop()
            guest.moderate(vf.rdma_dev(), before)
            node.start(env={"SPUR_YOUNG_MS": "0"})
            node.settled()
            for by_itself in (False, True):
                pod, conf, _ = node.attach("a", vf, rdma="required")
                rdma = vf.rdma_dev(pod)
                assert guest.is_moderated(rdma, pod) == (before == "on"), "the pod before left its own"
                guest.moderate(rdma, value, pod)
                if not by_itself:
                    node.delete(pod, conf)
                node.end(pod)
                node.settles(60)
                assert guest.is_moderated(vf.rdma_dev()) == (before == "on"), (before, by_itself)
        guest.moderate(vf.rdma_dev(), "off")


def test_who_can_moderate():
    """docs/kernel-facts.md: CAP_NET_ADMIN of the first user namespace."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        pod, conf, _ = node.attach("a", vf, rdma="required")
        rdma = vf.rdma_dev(pod)
        for less in (("unshare", "-Ur"), ("setpriv", "--bounding-set=-net_admin")):
            said = within(pod, *less, "sh", "-c", f"rdma dev set {rdma} adaptive-moderation on 2>&1", check=False)
            assert "not permitted" in said and not guest.is_moderated(rdma, pod), (less, said)
        node.delete(pod, conf)
        node.settles()


def test_device_is_open():
    """A process in the pod is cut off, whether the namespace lives or is only kept by that process."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        pod, conf, _ = node.attach("a", vf, rdma="required", **READY)
        with holding(pod, vf.rdma_dev(pod), rdma_facts(node, pod)["gidIndex"]):
            node.delete(pod, conf)
            assert pod.links() == [] and guest.rdma_devices(pod) == []
            node.is_as_before()
        node.end(pod)
        pod, conf, _ = node.attach("b", vf, rdma="required", **READY)
        with holding(pod, vf.rdma_dev(pod), rdma_facts(node, pod)["gidIndex"]):
            node.end(pod)
            node.delete(pod, conf)
        node.settles(60)


def test_pod_dies_with_its_device_open():
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        pod, conf, _ = node.attach("a", vf, rdmaName="mlx5_0", **READY)
        with holding(pod, "mlx5_0", rdma_facts(node, pod)["gidIndex"]) as holder:
            node.end(pod)
            holder.send_signal(signal.SIGKILL)
        node.delete(pod, conf)
        node.settles(60)


def test_rdma_device_gone():
    """Somebody has removed it meanwhile: nothing to give back, no error."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[1]
        name = vf.rdma_dev()
        pod, conf, _ = node.attach("a", vf, rdma="required", rdmaName="mlx5_0")
        within(pod, "rdma", "link", "del", "mlx5_0")
        node.delete(pod, conf)
        wait_for(lambda: node.device(vf)["state"] == "free", 10, "free")
        assert not node.attachments()
        vf.soft_roce(name)
        node.settles()


# -- when it is not ready


def test_ready():
    """The GID of the address is there when ADD returns; a link that stays down fails it, and is undone."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[0]
        for _ in range(5):
            pod, conf, result = node.attach("a", vf, rdma="required", **READY)
            index = rdma_facts(node, pod)["gidIndex"]
            assert gid(vf, pod, index) == (gid_of(scene.address(result)), "RoCE v2"), index
            node.delete(pod, conf)
            node.end(pod)
        node.untouched(11, "", vf, rdma="required", link_state="disable", ready={"timeout_ms": 300})
        pod, conf, _ = node.attach("a", vf, rdma="required", link_state="disable")
        assert guest.rdma_devices(pod) == [vf.rdma_dev(pod)]
        node.delete(pod, conf)
        node.settles()


if __name__ == "__main__":
    guest.main(globals())
