# SPDX-License-Identifier: Apache-2.0
"""What a hostile pod has built upon its VF ends before the next pod gets it, also what a friend has carried away."""

import json
import os
import signal
import subprocess
import time

import guest
import lab
import scene
from guest import run, wait_for

PLAIN = {"rdma": "none", "ready": {"timeout_ms": 0}}
FRIENDS = "10.64.0.200"


class Tenants(scene.Scene):
    """A node whose pool binds the drivers of its VFs anew, or not."""

    def __init__(self, rebind, vfs=None):
        super().__init__(vfs or scene.igb(2, roce=False))
        self.pools[0]["rebind"] = rebind

    def calms(self):
        """Nothing is held. (Not "as before": a VF whose PF has set no address gets another one by each bind.)"""
        wait_for(lambda: not self.attachments(), 30, "the records go")
        self.settled()

    def hostile_life(self, vf):
        """A pod that leaves a macvlan upon its VF with a friend, and goes; returns the friend."""
        pod, conf, _ = self.attach("hostile", vf, **PLAIN)
        friend = self.pod("friend")
        pod.ip("link", "add", "mv0", "link", "net1", "type", "macvlan", "mode", "bridge")
        pod.ip("link", "set", "mv0", "netns", friend.name)
        friend.ip("addr", "add", f"{FRIENDS}/24", "dev", "mv0")
        friend.ip("link", "set", "mv0", "up")
        self.delete(pod, conf)
        self.end(pod)
        return friend


def speaks(pod, address):
    return " 0% packet loss" in pod.sh("ping", "-c", "2", "-i", "0.2", "-W", "1", address, check=False)


def test_a_macvlan_that_a_friend_has():
    """It goes on speaking through the next pod's VF (never), or is no more (always, and auto, for DEL sees the claim)."""
    for rebind in ("never", "always", "auto"):
        with Tenants(rebind) as node:
            vf, peer = node.vfs[0], node.vfs[2]
            name = vf.netdev()
            friend = node.hostile_life(vf)
            if rebind != "never":
                wait_for(lambda: node.device(vf)["state"] == "free", 30, "its driver is bound anew")
                assert vf.netdev() == name, (vf.netdev(), name)
                assert friend.links() == [], friend.links()
            victim, conf, _ = node.attach("victim", vf, **PLAIN)
            other, other_conf, got = node.attach("peer", peer, rail=None, **PLAIN)
            if rebind == "never":
                assert friend.links() == ["mv0"], friend.links()
                wait_for(lambda: speaks(friend, scene.address(got)), 20, "the friend speaks through the victim's VF")
            node.delete(victim, conf)
            node.delete(other, other_conf)
            for pod in (friend, victim, other):
                node.end(pod)
            node.calms()


def test_what_is_left_ends_too():
    """Queues, features and an address that the PF has not set are as the driver begins with, and no drift."""
    with Tenants("always") as node:
        vf = node.vfs[0]
        pod, conf, _ = node.attach("hostile", vf, **PLAIN)
        pod.ip("link", "set", "net1", "address", "02:00:00:00:66:66")
        node.delete(pod, conf)
        wait_for(lambda: node.device(vf)["state"] == "free", 30, "its driver is bound anew")
        wait_for(lambda: not node.device(vf).get("drift"), 30, "it does not drift")
        assert json.loads(run("ip", "-j", "link", "show", vf.netdev()))[0]["address"] != "02:00:00:00:66:66"
        node.end(pod)


def rebinding():
    """The pid of the program, if it runs."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f.read().split(b"\0")[1:2] == [b"rebind"]:
                    return int(pid)
        except OSError:
            pass
    return None


def test_kills_in_the_midst():
    """The daemon, the program, or both: the VF has its driver, and is given out only after a whole rebind."""
    with Tenants("always", scene.eth(2, roce=False)) as node:
        vf = node.vfs[0]
        name, driver = vf.netdev(), vf.driver()
        guest.parameter("appear_ms", 8000)  # so long it runs
        for whom in ("daemon", "program", "both", "after unbind"):
            friend = node.hostile_life(vf)
            pid = wait_for(rebinding, 20, "the program runs")
            if whom == "after unbind":
                node.stop(signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)
                vf.unbind()
            if whom in ("program", "both"):
                os.kill(pid, signal.SIGKILL)
            if whom in ("daemon", "both"):
                node.stop(signal.SIGKILL)
            if whom == "program":  # it would be tried again in a minute
                wait_for(lambda: node.device(vf)["state"] == "broken", 20, "that is told")
                node.stop()
            node.start(env={"SPUR_YOUNG_MS": "0"})
            assert node.device(vf)["state"] in ("preparing", "broken"), (whom, node.device(vf))
            wait_for(lambda: node.device(vf)["state"] == "free", 90, f"{whom}: it is free again")
            assert vf.driver() == driver and vf.netdev() == name, (whom, vf.driver(), vf.netdev())
            assert friend.links() == [], (whom, friend.links())
            node.end(friend)
        guest.parameter("appear_ms", 0)
        node.calms()


def test_what_it_costs():
    """Printed for docs/performance.md; the test is that it ends well."""
    with Tenants("never") as node:
        vf = node.vfs[0]
        times = []
        for _ in range(10):
            begun = time.monotonic()
            run(lab.program("spur"), "rebind", vf.pci, input="{}")
            times.append(time.monotonic() - begun)
        print(f"rebind of an igb VF: {1000 * min(times):.0f} to {1000 * max(times):.0f} ms")
        assert vf.driver() == "igbvf"


def test_one_that_the_host_uses():
    with Tenants("never") as node:
        vf = node.vfs[0]
        run("ip", "link", "add", "up0", "link", vf.netdev(), "type", "macvlan")
        got = subprocess.run([lab.program("spur"), "rebind", vf.pci], input="", capture_output=True, text=True, check=False)
        assert got.returncode == 1 and "has the upper device up0" in got.stdout, got
        run("ip", "link", "del", "up0")


class Ib(guest.Node):
    """Two VFs of an InfiniBand PF, with GUIDs and RDMA devices that move."""

    def __init__(self):
        guest.load_rdma()
        self.pf = guest.pfs()[0]
        self.vfs = guest.fake(self.pf, 2)
        super().__init__("ib")

    def __enter__(self):
        rail = {"name": "rail0", "cidr": "10.64.0.0/24", "match": {"pci": [self.pf.pci]},
                "guidBase": "02:00:00:00:00:00:10:00"}
        self.daemon(pools=[{"name": "train", "cooldown_s": 0, "rebind": "always", "rails": [rail]}],
                    env={"SPUR_YOUNG_MS": "0"})
        for vf in self.vfs:
            self.is_free(vf)
        return self

    def device(self, vf):
        return next(d for d in self.rpc("device.list")["devices"] if d["device"] == f"pci:{vf.pci}")

    def is_free(self, vf):
        wait_for(lambda: self.device(vf)["state"] == "free", 30, f"{vf} is free")

    def ctl(self, *words):
        return run(lab.program("spurctl"), "--socket", self.socket, *words)

    def guid(self, vf):
        return self.pf.vf_infos()[vf.index]["port guid"]

    def close(self):
        super().close()
        guest.unfake(self.pf)


def test_renumbered():
    """Another device has left a lower number free: the VF comes back with that, and a device plugin's word is void."""
    with Ib() as node:
        first, second = sorted(node.vfs, key=lambda vf: int(vf.uverbs()[0].removeprefix("uverbs")))
        [was] = second.uverbs()
        rdma, guid = second.rdma_dev(), node.guid(second)
        pod = node.pod("a")
        named = lab.netconf("ib", pool="train", deviceID=second.pci, ready={"timeout_ms": 0})
        conf = {**named, "runtimeConfig": {"deviceID": second.pci}}  # of a device plugin
        node.add(pod, conf)
        first.unbind()  # its number is free
        node.delete(pod, conf)
        node.is_free(second)
        [now] = second.uverbs()
        assert now != was and second.rdma_dev() == rdma and node.guid(second) == guid, (now, was, second.rdma_dev())
        assert node.device(second)["renumbered"] == {"promised": was, "is": now}, node.device(second)
        says = f"it has {now} by now, and its device plugin has promised {was}"
        node.refuse("ADD", 11, says, pod, conf)
        node.stop(signal.SIGKILL)
        node.start(env={"SPUR_YOUNG_MS": "0"})
        node.refuse("ADD", 11, says, pod, conf)
        node.add(pod, named)
        node.delete(pod, named)
        node.is_free(second)
        node.ctl("vfs", "--plugin-restarted", second.pci)
        assert "renumbered" not in node.device(second), node.device(second)
        node.add(pod, conf)
        node.delete(pod, conf)
        node.is_free(second)


if __name__ == "__main__":
    guest.main(globals())
