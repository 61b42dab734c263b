# SPDX-License-Identifier: Apache-2.0
"""Exclusive mode, and a pod that harms itself only: moves that hang, names that others need."""

import contextlib
import json
import os
import subprocess

import guest
import lab
import scene
from guest import run, wait_for, within

POOL = {"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.64.0.0/24"}]}


# -- a move that hangs in the kernel


class Ib(guest.Node):
    """The VM with VFs of the lab's own InfiniBand driver, whose moves can be made to hang."""

    def __init__(self, count):
        guest.load_rdma()
        self.pf = guest.pfs()[0]
        self.vfs = guest.fake(self.pf, count)
        super().__init__("ib")

    def __enter__(self):
        # 0: the daemon leaves a young record to the runtime that has just made it
        self.daemon(pools=[POOL], env={"SPUR_YOUNG_MS": "0"})
        self.all_free()
        return self

    def close(self):
        super().close()
        guest.unfake(self.pf)

    def state_of(self, vf):
        return {d["device"]: d["state"] for d in self.rpc("device.list")["devices"]}.get(f"pci:{vf.pci}")

    def all_free(self):
        wait_for(lambda: not self.attachments() and all(self.state_of(vf) == "free" for vf in self.vfs), 60, "all VFs free")

    def conf(self, vf, **keys):
        return lab.netconf("ib", pool="train", deviceID=vf.pci, **keys)


@contextlib.contextmanager
def held(vf):
    """Whoever moves its RDMA device hangs in the kernel, where nobody can end him."""
    guest.write(vf.pci, "/sys/module/fakeib/parameters/hold")
    try:
        yield
    finally:
        guest.write("none", "/sys/module/fakeib/parameters/hold")


def test_others_go_on_behind_a_move_that_hangs():
    with Ib(3) as node:
        bad, good, late = node.vfs
        names = [vf.rdma_dev() for vf in node.vfs]
        pods = [node.pod(name) for name in ("bad", "good", "late")]
        confs = [node.conf(vf, rdma="required", ready={"timeout_ms": 0}) for vf in node.vfs]
        for i in (0, 2):
            node.add(pods[i], confs[i])
        with held(bad):
            hangs = node.popen("DEL", pods[0], confs[0])
            wait_for(lambda: not guest.rdma_devices(pods[0]), 30, "the move has begun")
            node.add(pods[1], confs[1])
            assert guest.rdma_devices(pods[1]) == [names[1]]
            got = node.cni("DEL", pods[2], confs[2])
            assert got.returncode == 0 and late.rdma_devs() == [names[2]], got
            wait_for(lambda: node.state_of(late) == "free", 10, "what the others gave back is free")
            assert not good.rdma_devs() and not bad.rdma_devs(), "the move still hangs"
            got = node.finish(hangs)
            assert got.returncode == 0, got
            node.rpc("node.reconcile", timeout=60)
            [record] = [a for a in node.attachments() if a["containerID"] == pods[0].container]
            assert record["state"] == "dirty" and node.state_of(bad) == "held", (record, node.state_of(bad))
        node.delete(pods[1], confs[1])
        node.all_free()
        assert [vf.rdma_dev() for vf in node.vfs] == names


def test_an_add_that_hangs():
    """Its ADD fails and is told; the device is given back once the kernel lets go of it."""
    with Ib(2) as node:
        bad, good = node.vfs
        names = [vf.rdma_dev() for vf in node.vfs]
        pods, confs = [node.pod("bad"), node.pod("good")], [node.conf(vf, rdma="required", ready={"timeout_ms": 0}) for vf in node.vfs]
        with held(bad):
            hangs = node.popen("ADD", pods[0], confs[0])
            wait_for(lambda: names[0] not in guest.rdma_devices(), 30, "the move has begun")
            node.add(pods[1], confs[1])
            node.delete(pods[1], confs[1])
            wait_for(lambda: node.state_of(good) == "free", 10, "the other is free again")
            got = node.finish(hangs)
            assert got.code == 11 and "not done it in time" in got.msg, got
        node.all_free()
        assert [vf.rdma_dev() for vf in node.vfs] == names


# -- names

# What sysfs cannot list, what leads out of a path, the longest, what is no text, what is not printed.
NAMES = [b"..", b".", b"a/b", b"../../../etc", b"%d", b"x" * 63, b".hidden", b"a b", b"\xff\xfe", b"\x1b[2J", b"a\nb\n"]


def index_of(rdma, ns=None):
    return next(d["ifindex"] for d in json.loads(within(ns, "rdma", "-j", "dev")) if d["ifname"] == rdma)


def rename(ns, rdma, name):
    """As the pod's root does; names as they are, in bytes."""
    argv = ["ip", "netns", "exec", ns.name, "rdma", "dev", "set", rdma, "name", name]
    subprocess.run(argv, check=True, capture_output=True)


def name_of(vf):
    """What its RDMA device is called, in whatever namespace."""
    [uverbs] = guest.entries(vf.dir, "infiniband_verbs")
    with open(f"{vf.dir}/infiniband_verbs/{uverbs}/ibdev", "rb") as f:
        return f.read()[:-1]


def is_in_host(name):
    return b": " + name + b": " in subprocess.run(["rdma", "dev"], check=True, capture_output=True).stdout


def test_index_is_kept():
    """docs/kernel-facts.md: an RDMA device keeps its index, through moves and renames."""
    with scene.Scene(scene.igb(1)) as node:
        vf, pod = node.vfs[0], node.pod("a")
        name = vf.rdma_dev()
        index = index_of(name)
        run("rdma", "dev", "set", name, "netns", pod.name)
        assert index_of(name, pod) == index
        rename(pod, name, "podsown")
        assert index_of("podsown", pod) == index and name_of(vf) == b"podsown"
        assert guest.entries(vf.dir, "infiniband") == [] and os.path.isdir(f"{vf.dir}/infiniband")
        node.end(pod)
        wait_for(vf.rdma_devs, 20, "it comes home")
        assert index_of("podsown") == index
        run("rdma", "dev", "set", "podsown", "name", name)


def test_names_that_sysfs_cannot_list():
    """Whatever its pod calls it, DEL finds it, and nobody in the host meets that name."""
    with scene.Scene(scene.igb(1)) as node:
        vf = node.vfs[0]
        for name in NAMES:
            pod, conf, _ = node.attach("a", vf, rdma="required", rdmaName="mlx5_0")
            rename(pod, "mlx5_0", name)
            node.delete(pod, conf)
            node.is_as_before()
            node.end(pod)
        node.settles()


def test_such_a_name_comes_home_by_itself():
    with scene.Scene(scene.igb(1)) as node:
        vf, other = node.vfs
        for name in (b"..", b"a/b", b"\xff\xfe", b"a\nb\n"):
            pod, conf, _ = node.attach("a", vf, rdma="required")
            rename(pod, vf.rdma_dev(pod), name)
            node.stop()  # or it may undo it at once
            node.end(pod)
            wait_for(lambda: vf.netdevs() and is_in_host(name), 20, "both come home")
            node.start(env={"SPUR_YOUNG_MS": "0"})
            node.ctl("vfs")
            beside, plain, _ = node.attach("b", other, rdma="required")
            node.delete(beside, plain)
            node.end(beside)
            node.delete(pod, conf)
            node.settles(60)


class Squat:
    """A pod that calls its device what another needs."""

    def __init__(self, node, vf, name):
        self.node, self.vf = node, vf
        self.own = vf.rdma_dev()
        self.pod, self.conf, _ = node.attach("hostile", vf, rdma="required")
        rename(self.pod, self.own, name)

    def is_back(self):
        """Renamed where it is, to its own name."""
        assert guest.rdma_devices(self.pod) == [self.own], guest.rdma_devices(self.pod)

    def close(self):
        self.node.delete(self.pod, self.conf)
        self.node.end(self.pod)


def test_name_that_a_network_asks_for():
    with scene.Scene(scene.igb(1)) as node:
        vf, other = node.vfs
        squat = Squat(node, vf, "mlx5_0")
        pod, conf, _ = node.attach("a", other, rdma="required", rdmaName="mlx5_0")
        assert guest.rdma_devices(pod) == ["mlx5_0"]
        squat.is_back()
        node.delete(pod, conf)
        node.end(pod)
        # Who was given it by its network has a right to it, and so has one whose own it is.
        pod, conf, _ = node.attach("b", other, rdma="required", rdmaName="mlx5_0")
        squat.close()
        node.refuse("ADD", 103, "mlx5_0", node.pod("late"), node.conf(vf, rdmaName="mlx5_0"))
        node.delete(pod, conf)
        node.settles()


def test_name_that_another_comes_home_to():
    """Also one that is away as something else, and one whose namespace dies."""
    with scene.Scene(scene.igb(1)) as node:
        vf, other = node.vfs
        own = other.rdma_dev()
        for dies in (False, True):
            pod, conf, _ = node.attach("a", other, rdma="required", rdmaName="mlx5_0")
            squat = Squat(node, vf, own)
            if dies:
                node.end(pod)
            node.delete(pod, conf)
            wait_for(lambda: name_of(other) == own.encode() and node.device(other)["state"] == "free", 30, "home by its own name")
            squat.is_back()
            squat.close()
            node.settles()
            if not dies:
                node.end(pod)


def test_soft_device_that_a_pod_makes():
    """It needs no VF for that, and the kernel puts it into the host: what is upon it is elsewhere."""
    with scene.Scene(scene.igb(1)) as node:
        vf, hostile = node.vfs[0], node.pod("hostile")
        own = vf.rdma_dev()
        hostile.ip("link", "add", "dummy0", "type", "dummy")
        hostile.ip("link", "set", "dummy0", "up")

        def make(name):
            within(hostile, "rdma", "link", "add", name, "type", "rxe", "netdev", "dummy0")
        make("mlx5_0")
        pod, conf, _ = node.attach("a", vf, rdma="required", rdmaName="mlx5_0")
        assert guest.rdma_devices(pod) == ["mlx5_0"]
        [soft] = [name for name in guest.rdma_devices() if name.startswith("spur-soft-")]
        run("rdma", "dev", "set", soft, "name", own)  # as if it had been made by that name
        node.delete(pod, conf)
        assert vf.rdma_dev() == own
        # The host's own is not a pod's.
        run("ip", "link", "add", "dummy0", "type", "dummy")
        run("ip", "link", "set", "dummy0", "up")
        run("rdma", "link", "add", "soft0", "type", "rxe", "netdev", "dummy0")
        node.refuse("ADD", 103, "soft0", node.pod("b"), node.conf(vf, rdmaName="soft0"))
        for device in ("soft0", *(name for name in guest.rdma_devices() if name.startswith("spur-soft-"))):
            run("rdma", "link", "del", device)
        run("ip", "link", "del", "dummy0")
        node.settles()


def test_each_takes_the_others_name():
    """In a ring, and one after the other as fast as it can."""
    with scene.Scene(scene.igb(2)) as node:
        victims = [(vf, vf.rdma_dev()) for vf in node.vfs[1:3]]
        squat = Squat(node, node.vfs[0], "x")
        pods = [node.attach(f"p{i}", vf, rdma="required", rdmaName=f"mlx5_{i}") for i, (vf, _) in enumerate(victims)]
        rename(pods[0][0], "mlx5_0", victims[1][1])
        script = "while :; do for n in $0 $1; do for o in $2 $0 $1 x; do rdma dev set $o name $n; done; done; done 2>/dev/null"
        with subprocess.Popen(["ip", "netns", "exec", squat.pod.name, "sh", "-c", script,
                               *(name for _, name in victims), squat.own]) as loop:
            try:
                for (pod, conf, _), (vf, name) in zip(reversed(pods), reversed(victims)):
                    node.delete(pod, conf)
                    wait_for(lambda: name_of(vf) == name.encode() and node.device(vf)["state"] == "free", 60, f"{name} at home")
            finally:
                loop.kill()
        squat.close()
        node.settles()


if __name__ == "__main__":
    guest.main(globals())
