# SPDX-License-Identifier: Apache-2.0
"""A VF that a pod has built upon is bound to its driver anew before the next pod gets it: the daemon's side. A small
program stands in for `spur rebind`; tests/vm/test_hostile_rebind.py has the real one, and a macvlan that speaks."""

import contextlib
import json
import os
import signal
import subprocess

import lab
from daemon_serve import PLUGIN, generation_of, key_of, refused
from daemon_vf import Ib, Node, vf_of
from daemon_watch import fetch

REBIND = """#!/usr/bin/python3
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
def said(name, otherwise):
    try:
        return open(here + "/" + name).read().strip()
    except FileNotFoundError:
        return otherwise
if sys.argv[1:2] == ["rebind"]:
    told = json.load(sys.stdin)
    with open(here + "/rebinds", "a") as f:
        f.write(json.dumps({"pci": sys.argv[2], **told}) + "\\n")
    while said("HOLD", ""):
        time.sleep(0.02)
    if said("FAIL", ""):
        print(json.dumps({"code": 101, "msg": said("FAIL", "")}))
        sys.exit(1)
    print(json.dumps({"uverbs": said("UVERBS", told["uverbs"])}))
    with open(here + "/rebound", "a") as f:
        f.write(sys.argv[2] + "\\n")
    sys.exit(0)
"""


class World(Node):
    def __init__(self, vfs=1, pfs=2):
        super().__init__(pfs)
        with open(self.plugin, "w", encoding="utf-8") as f:
            f.write(REBIND + PLUGIN)
        self.keys = [self.vf(0, i) for i in range(vfs)]

    def tell(self, name, text):
        """The program finds this when it looks: HOLD, FAIL, UVERBS."""
        path = f"{os.path.dirname(self.plugin)}/{name}"
        if text:
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
        else:
            os.remove(path)

    def told(self, name):
        with contextlib.suppress(FileNotFoundError):
            with open(f"{os.path.dirname(self.plugin)}/{name}", encoding="ascii") as f:
                return f.read().split("\n")[:-1]
        return []

    def rebinds(self):
        return [json.loads(line) for line in self.told("rebinds")]

    def serve_with(self, rebind="auto", env=None, rails=2, **settings):
        pool = lab.pool("train", rails=rails)
        pool["rebind"] = rebind
        pool["cooldown_s"] = 0
        for i, rail in enumerate(pool["rails"]):
            rail["match"] = {"pf": [f"pf{i}"]}
        self.daemon([pool], env={"SPUR_SYSFS": self.sys, **(env or {})}, **settings)

    def live(self, key, above=True, container="hostile", **more):
        """The life of one pod's attachment; above: it has built something on its device."""
        with self.client() as client:
            client.send("attachment.reserve", **self.request(container=container, device=key, **more))
            a = client.read()["result"]
            client.call("attachment.release", **generation_of(a), left=True, restored=True, usedAbove=above)
        return a

    def use(self, key):
        return self.devices()[key]["state"]

    def until(self, key, state):
        lab.wait_for(lambda: self.use(key) == state, 20, f"{key} is {state}")


def ask(node, wait_ms=15000, container="next", **more):
    """The ADD of the next pod."""
    return node.attach(container=container, wait_ms=wait_ms, **more)


def test_hooked_what_was_used_above_is_bound_anew():
    with World() as node:
        [key] = node.keys
        node.serve_with()
        node.live(key, above=False)
        assert ask(node, device=key, container="neighbour")["device"]["key"] == key
        node.stop()
    with World() as node:
        [key] = node.keys
        node.tell("HOLD", "yes")
        node.serve_with()
        node.live(key)
        assert node.use(key) == "preparing", node.devices()
        refused("its GUID or driver bound", lambda: ask(node, wait_ms=700, device=key), 11)
        refused("its GUID or driver bound", lambda: ask(node, wait_ms=700, chooseDevice=True, rail="rail0"), 11)
        lab.wait_for(lambda: len(node.rebinds()) == 1, 10, "the program runs")
        assert "its driver is to be bound anew" in node.ctl("vfs"), node.ctl("vfs")
        with node.client() as client:
            client.send("attachment.reserve", **node.request(container="next", device=key, wait_ms=20000))
            assert client.is_quiet()
            node.tell("HOLD", "")
            assert client.read()["result"]["device"]["key"] == key
            assert node.told("rebound") == [vf_of(0, 0)], node.told("rebound")
        [told] = node.rebinds()
        assert told == {"pci": vf_of(0, 0), "socket": node.socket, "netdev": "v0n0", "rdma": "mlx5_00",
                        "uverbs": "uverbs00", "guid": ""}, told


def test_hooked_a_release_that_is_dirty_first():
    """The first DEL sees the upper and deletes it, and fails otherwise; the last sees none."""
    with World() as node:
        [key] = node.keys
        node.serve_with()
        with node.client() as client:
            client.send("attachment.reserve", **node.request(container="hostile", device=key))
            a = client.read()["result"]
            client.call("attachment.release", **generation_of(a), left=False, restored=False, usedAbove=True)
        node.rpc("attachment.undo", **key_of("hostile"))
        node.until(key, "free")
        assert len(node.rebinds()) == 1, node.rebinds()


def test_hooked_always_and_never():
    for rebind, above, count in (("always", False, 1), ("never", True, 0)):
        with World() as node:
            [key] = node.keys
            node.serve_with(rebind)
            assert [p["rebind"] for p in node.rpc("pool.list")["pools"]] == [rebind]
            node.live(key, above)
            ask(node, device=key)
            assert len(node.rebinds()) == count, (rebind, node.rebinds())


def test_hooked_what_user_space_drives_is_left_alone():
    """Nothing stands on what has no netdev, and a guest may hold it."""
    with World(vfs=0) as node:
        key = node.vf(0, 0, driver="vfio-pci", netdev=False, rdma=False)
        node.serve_with("always")
        node.live(key)
        ask(node, device=key)
        assert node.rebinds() == []


def test_hooked_another_vf_is_chosen_meanwhile():
    with World(vfs=2) as node:
        first, second = node.keys
        node.tell("HOLD", "yes")
        node.serve_with()
        node.live(first)
        assert ask(node, chooseDevice=True, rail="rail0")["device"]["key"] == second
        node.tell("HOLD", "")


def test_hooked_one_at_a_time():
    with World(vfs=3) as node:
        node.tell("HOLD", "yes")
        node.serve_with("always")
        for i, key in enumerate(node.keys):
            node.live(key, container=f"c{i}")
        lab.wait_for(lambda: len(node.rebinds()) == 1, 10, "the first program runs")
        assert all(node.use(key) == "preparing" for key in node.keys), node.devices()
        node.tell("HOLD", "")
        for key in node.keys:
            node.until(key, "free")
        assert len(node.rebinds()) == 3 == len(node.told("rebound")), node.rebinds()


def test_hooked_one_that_fails():
    with World() as node:
        [key] = node.keys
        node.tell("FAIL", "the kernel says no")
        node.serve_with()
        node.live(key)
        node.until(key, "broken")
        refused("its driver was not bound anew: the kernel says no", lambda: ask(node, device=key), 11)
        refused("none of its 1 VFs is free", lambda: ask(node, chooseDevice=True, rail="rail0"), 11)
        assert node.devices()[key]["why"] == "the kernel says no", node.devices()
        node.tell("FAIL", "")
        node.stop()
        node.start({"SPUR_SYSFS": node.sys})
        assert ask(node, device=key)["device"]["key"] == key
        assert node.told("rebound") == [vf_of(0, 0)]


def test_hooked_it_outlives_the_daemon():
    """Killed or stopped amid the rebind: the next daemon has it done before it gives the VF out."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with World() as node:
            [key] = node.keys
            node.tell("HOLD", "yes")
            node.serve_with()
            node.live(key)
            lab.wait_for(lambda: len(node.rebinds()) == 1, 10, "the program runs")
            node.stop(sig)
            node.start({"SPUR_SYSFS": node.sys})
            assert node.use(key) == "preparing", node.devices()
            refused("its GUID or driver bound", lambda: ask(node, wait_ms=500, device=key), 11)
            node.tell("HOLD", "")
            ask(node, device=key)
            assert len(node.rebinds()) == 2, node.rebinds()


def lives_on(node, a, key):
    """Does a daemon that is to be killed at some step get through the release and the rebind?"""
    try:
        node.rpc("attachment.release", **generation_of(a), left=True, restored=True, usedAbove=True)
        node.until(key, "free")
    except (OSError, ValueError):  # the connection ends with it
        assert node.ipamd.wait(10) == -signal.SIGKILL
        return False
    return True


def test_hooked_kills_at_each_step_of_the_store():
    """Released means: to be bound anew. Whenever the daemon is killed from then on, the next one sees to it."""
    step, ended = 1, False
    while not ended:
        with World() as node:
            [key] = node.keys
            node.serve_with()
            with node.client() as client:
                client.send("attachment.reserve", **node.request(container="hostile", device=key))
                a = client.read()["result"]
                client.call("attachment.done", **generation_of(a), facts={})
            node.stop()
            with contextlib.suppress(AssertionError):  # killed before it serves
                node.start({"SPUR_SYSFS": node.sys, "SPUR_KILL_STEP": f"store:{step}"})
                ended = lives_on(node, a, key)
            node.stop(signal.SIGKILL)
            node.start({"SPUR_SYSFS": node.sys})
            if not node.attachments():
                ask(node, device=key)
                assert node.told("rebound"), f"step {step}"
        step += 1
    assert step > 4, step


def test_hooked_renumbered():
    """A device plugin has promised the character device that was; whom the daemon chooses for was promised nothing."""
    with World() as node:
        [key] = node.keys
        node.tell("UVERBS", "uverbs7")
        node.serve_with(http="127.0.0.1:9469")
        node.live(key, fromPlugin=True)
        node.until(key, "free")
        os.rename(  # what the program would have seen
            f"{node.sys}/class/infiniband_verbs/uverbs00", f"{node.sys}/class/infiniband_verbs/uverbs7")
        says = f"reserve {key}: it has uverbs7 by now, and its device plugin has promised uverbs00"
        for _ in range(2):
            refused(says, lambda: ask(node, device=key, fromPlugin=True), 11)
            assert node.devices()[key]["renumbered"] == {"promised": "uverbs00", "is": "uverbs7"}, node.devices()
            assert "uverbs7, promised uverbs00" in node.ctl("vfs"), node.ctl("vfs")
            [alarm] = node.rpc("node.status")["alarms"]
            assert alarm.startswith("1 VFs have another RDMA character device"), alarm
            node.stop(signal.SIGKILL)  # it is remembered
            node.start({"SPUR_SYSFS": node.sys})
        chosen = ask(node, chooseDevice=True, rail="rail0")
        assert chosen["device"]["key"] == key, chosen
        node.rpc("attachment.release", **generation_of(chosen), left=True, restored=True)
        assert "\nspur_vf_renumbered 1\n" in fetch(node, "/metrics")[1]
        assert node.ctl("vfs", "--plugin-restarted", vf_of(0, 0)) == "1 VF has another RDMA character device by now\n"
        assert node.ctl("vfs", "--plugin-restarted") == "0 VFs have another RDMA character device by now\n"
        assert "renumbered" not in node.devices()[key] and node.rpc("node.status")["alarms"] == []
        assert ask(node, device=key, fromPlugin=True)["device"]["rdma"]["uverbs"] == "uverbs7"
        refused("is no VF of this node", lambda: node.rpc("device.accept", device="pci:0000:77:00.1"), 102)
        refused("must be the PCI address of a VF", lambda: node.rpc("device.accept", device="eth0"), 7)


def test_hooked_an_address_in_capitals():
    """It is the same VF, and the operator's word counts for it."""
    with World(pfs=10) as node:
        key = node.vf(9, 0)
        node.tell("UVERBS", "uverbs7")
        node.serve_with(rails=10)
        node.live(key, rail="rail9")
        node.until(key, "free")
        assert "renumbered" in node.devices()[key] and key != f"pci:{vf_of(9, 0).upper()}", node.devices()
        assert node.ctl("vfs", "--plugin-restarted", vf_of(9, 0).upper()) == "1 VF has another RDMA character device by now\n"
        assert "renumbered" not in node.devices()[key]
        done = subprocess.run([lab.program("spurctl"), "--socket", node.socket, "vfs", "--plugin-restarted", b"\xff"],
                              capture_output=True, check=False)
        assert done.returncode == 1 and done.stderr == b"spurctl: ?: must be a PCI address (0000:1a:00.1)\n", done


def test_hooked_a_guid_and_a_driver_at_once():
    """An InfiniBand VF keeps its GUID by the rebind itself: no other one follows."""
    with Ib(0, code=0) as node:
        key = node.vf(0, 0)
        with open(node.plugin, "w", encoding="utf-8") as f:
            f.write(REBIND + "if sys.argv[1] == 'bind-guid':\n    open(here + '/binds', 'a').write('bind\\n')\n    sys.exit(0)\n")
        node.serve()
        lab.wait_for(lambda: node.devices()[key]["state"] == "free", 10, "it has its GUID")
        with node.client() as client:
            client.send("attachment.reserve", **node.request(container="hostile", device=key))
            a = client.read()["result"]
            client.call("attachment.release", **generation_of(a), left=True, restored=True, usedAbove=True)
        assert ask(node, device=key)["device"]["key"] == key
        where = os.path.dirname(node.plugin)
        with open(f"{where}/rebinds", encoding="ascii") as f:
            [told] = [json.loads(line) for line in f]
        assert told["guid"] == "02:00:00:00:01:00:00:00", told
        with open(f"{where}/binds", encoding="ascii") as f:
            assert f.read() == "bind\n"


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
