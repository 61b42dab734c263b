# SPDX-License-Identifier: Apache-2.0
"""VFs at the daemon: what it says of them, what it refuses, which one it chooses. sysfs is a fake tree;
the netdevs in it are veths, so that their PFs have no list of VFs to tell: tests/vm has real ones."""

import json
import os
import shutil
import signal
import subprocess
import time

import lab
from daemon_ctl import read_again
from daemon_serve import Node as Plain, generation_of, key_of, refused


def vf_of(pf, vf):
    return f"0000:{pf + 1:02x}:10.{vf}"


class Node(Plain):
    """Two PFs (0000:01:00.0, 0000:02:00.0), each on a rail of its own, without VFs yet."""

    def __init__(self, pfs=2):
        super().__init__()
        self.sys = f"{self.dir}/sys"
        self.pci = f"{self.sys}/bus/pci/devices"
        os.makedirs(self.pci)
        os.makedirs(f"{self.sys}/class/infiniband_verbs")
        for pf in range(pfs):
            self.rail(f"pf{pf}", mtu=9000)
            self.function(self.pf(pf), f"pf{pf}", "mlx5_core", sriov_numvfs=0)

    @staticmethod
    def pf(pf):
        return f"0000:{pf + 1:02x}:00.0"

    def function(self, address, netdev, driver, **files):
        where = f"{self.pci}/{address}"
        os.makedirs(f"{where}/net/{netdev}" if netdev else where)
        if driver:
            os.makedirs(f"{self.sys}/drivers/{driver}", exist_ok=True)
            os.symlink(f"{self.sys}/drivers/{driver}", f"{where}/driver")
        for name, text in files.items():
            with open(f"{where}/{name}", "w", encoding="ascii") as f:
                f.write(f"{text}\n")
        return where

    def vf(self, pf, vf, netdev=True, driver="mlx5_core", rdma=True):
        """Makes the next VF of a PF; its netdev is a veth "vPFnVF"."""
        name = f"v{pf}n{vf}"
        if netdev:
            self.rail(name, mtu=9000)
        where = self.function(vf_of(pf, vf), name if netdev else None, driver, numa_node=pf)
        os.symlink(f"../{self.pf(pf)}", f"{where}/physfn")
        os.symlink(f"../{vf_of(pf, vf)}", f"{self.pci}/{self.pf(pf)}/virtfn{vf}")
        with open(f"{self.pci}/{self.pf(pf)}/sriov_numvfs", "w", encoding="ascii") as f:
            f.write(f"{vf + 1}\n")
        if rdma:
            os.makedirs(f"{where}/infiniband/mlx5_{pf}{vf}")
            verbs = f"{self.sys}/class/infiniband_verbs/uverbs{pf}{vf}"
            os.makedirs(verbs)
            with open(f"{verbs}/ibdev", "w", encoding="ascii") as f:
                f.write(f"mlx5_{pf}{vf}\n")
        return f"pci:{vf_of(pf, vf)}"

    def serve(self, claim_s=120, **settings):
        pool = lab.pool("train", rails=2)
        pool["claim_s"] = claim_s
        for i, rail in enumerate(pool["rails"]):
            rail["match"] = {"pf": [f"pf{i}"]}
        self.daemon([pool], env={"SPUR_SYSFS": self.sys}, **settings)

    def devices(self):
        return {d["device"]: d for d in self.rpc("device.list")["devices"]}

    def ctl(self, *argv):
        done = subprocess.run([lab.program("spurctl"), "--socket", self.socket, *argv], capture_output=True,
                              text=True, check=True)
        return done.stdout

    def choose(self, client, container, rail="rail0", **more):
        request = self.request(container=container, chooseDevice=True, rail=rail, **more)
        return client.send("attachment.reserve", **request)


class Ib(Node):
    """One PF whose netdev says that it is InfiniBand, and a plugin that ends as the test wants."""

    TAP = """
import fcntl, struct
tap = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH", b"pf0", 0x1002))  # TUNSETIFF: a tap
fcntl.ioctl(tap, 0x400454cd, 32)  # TUNSETLINK: ARPHRD_INFINIBAND
fcntl.ioctl(tap, 0x400454cb, 1)  # TUNSETPERSIST
"""

    def __init__(self, vfs, code, seconds=0):
        super().__init__(pfs=0)
        self.net.sh("python3", "-c", self.TAP)
        self.function(self.pf(0), "pf0", "mlx5_core", sriov_numvfs=0)
        self.keys = [self.vf(0, i, driver="vfio-pci", netdev=False, rdma=False) for i in range(vfs)]
        with open(self.plugin, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\necho "$2" >>{self.dir}/binds\nsleep {seconds}\nexit {code}\n')

    def serve(self, **settings):
        pool = lab.pool("train")
        pool["rails"][0].update(match={"pf": ["pf0"]}, guidBase="02:00:00:00:01:00:00:00")
        self.daemon([pool], env={"SPUR_SYSFS": self.sys}, **settings)

    def binds(self):
        with open(f"{self.dir}/binds", encoding="ascii") as f:
            return [f"pci:{line.strip()}" for line in f]

    def are_all(self, state):
        return all(d["state"] == state for d in self.devices().values())


def test_hooked_a_name_that_is_not_utf8():
    """A pod may have called its VF anything before it came home: it is listed all the same."""
    with Node() as node:
        key = node.vf(0, 0)
        name = "v\udcff"
        node.net.ip("link", "set", "v0n0", "name", name)
        os.rename(f"{node.pci}/{vf_of(0, 0)}/net/v0n0", f"{node.pci}/{vf_of(0, 0)}/net/{name}")
        node.serve()
        assert node.devices()[key]["netdev"] == "v?", node.devices()
        refused("is not UTF-8", lambda: node.rpc("attachment.reserve", **node.request(device=key)), 102)


def test_hooked_what_is_told_of_vfs():
    with Node() as node:
        free = node.vf(0, 0)
        bare = node.vf(0, 1, driver=None, netdev=False, rdma=False)
        guest = node.vf(0, 2, driver="vfio-pci", netdev=False, rdma=False)
        away = node.vf(0, 3, netdev=False)
        held = node.vf(1, 0)
        node.serve(http="127.0.0.1:9471")
        node.attach(device=held, rail="rail1")
        devices = node.devices()
        assert {k: d["state"] for k, d in devices.items()} == {
            free: "free", bare: "driverless", guest: "userspace", away: "away", held: "held"}, devices
        assert {k: v for k, v in devices[free].items() if k != "why"} == {
            "device": free, "pf": node.pf(0), "pfNetdev": "pf0", "vf": 0, "netdev": "v0n0", "rdma": "mlx5_00",
            "driver": "mlx5_core", "numa": 0, "rail": "rail0", "state": "free"}, devices[free]
        assert devices[held]["owner"]["pod"] == "pod-c1" and devices[held]["rail"] == "rail1", devices[held]
        assert json.loads(node.ctl("--json", "vfs")) == node.rpc("device.list")["devices"]
        rows = [line.split() for line in node.ctl("vfs").splitlines()]
        assert rows[0] == ["PF", "VF", "PCI", "NETDEV", "RDMA", "RAIL", "STATE", "OWNER", "DRIFT/WHY"], rows
        assert rows[1][:7] == ["pf0", "0", vf_of(0, 0), "v0n0", "mlx5_00", "rail0", "free"], rows
        assert rows[5][6:9] == ["held", "ns/pod-c1", "net1"], rows
        page = lab.run("nsenter", f"--net={node.net.path}", "curl", "-s", "http://127.0.0.1:9471/metrics")
        assert 'spur_vfs{rail="rail0",state="free"} 1\n' in page and "spur_vf_drift 0\n" in page, page


def test_hooked_pages():
    with Node() as node:
        for i in range(8):
            node.vf(0, i, netdev=False)
        node.serve()
        first = node.rpc("device.list", limit=5)
        rest = node.rpc("device.list", limit=5, after=first["next"])
        assert len(first["devices"]) == 5 and len(rest["devices"]) == 3 and rest["next"] == 0
        assert [d["vf"] for d in first["devices"] + rest["devices"]] == list(range(8))


def test_hooked_a_vf_and_its_baseline():
    with Node() as node:
        key = node.vf(1, 0)
        node.serve()
        device = node.attach(device=key)["device"]
        assert device["name"] == "v1n0" and device["type"] == 1 and device["driver"] == "mlx5_core", device
        assert device["numa"] == 1, device
        assert device["rdma"] == {"name": "mlx5_10", "uverbs": "uverbs10", "count": 1}, device
        vf = device["vf"]
        assert vf["pf"] == node.pf(1) and vf["index"] == 0 and vf["pfNetdev"] == "pf1", vf
        assert vf["pfMTU"] == 9000 and vf["pfIfindex"] == node.net.link("pf1")["ifindex"], vf


def test_hooked_a_vf_of_user_space():
    with Node() as node:
        key = node.vf(0, 0, driver="vfio-pci", netdev=False, rdma=False)
        other = node.vf(0, 1, driver="vfio-pci", netdev=False, rdma=False)
        node.serve()
        with node.client() as first, node.client() as second:
            a = first.call("attachment.reserve", **node.request(device=key))
            b = second.call("attachment.reserve", **node.request(device=other, container="c2"))
            for device, ids in ((key, [a["id"]]), (other, [b["id"]]), ("pci:ffff:00:00.0", [])):
                owners = node.rpc("attachment.list", device=device)["attachments"]
                assert [owner["id"] for owner in owners] == ids, (device, owners)
        assert a["device"]["driver"] == "vfio-pci" and not a["device"].get("name"), a
        assert a["rail"]["name"] == "rail0" and a["ips"] and b["ips"], a


def test_hooked_what_is_shown_of_an_attachment():
    with Node() as node:
        key = node.vf(0, 0)
        node.serve()
        with node.client() as client:
            a = client.call("attachment.reserve", **node.request(device=key, pkey="0x8001"))
            rdma = {"name": "mlx5_0", "uverbs": "uverbs00", "moved": True, "gidIndex": 3}
            client.send("attachment.done", notify=True, facts={"rdma": rdma}, **generation_of(a))
        shown = node.ctl("show", key).splitlines()
        for line in ("  driver     mlx5_core", f"  VF         0 of {node.pf(0)}, pf0", "P_Key        0x8001",
                     "RDMA device  mlx5_0, uverbs00, GID index 3, in the pod alone"):
            assert line in shown, (line, shown)


def test_hooked_device_and_its_id():
    """A network may name a device twice, for Multus adds the ID: one function, or both names are told."""
    with Node() as node:
        key, away = node.vf(0, 0), node.vf(0, 1, netdev=False, driver="vfio-pci")
        node.vf(0, 2)
        node.net.ip("link", "property", "add", "dev", "v0n0", "altname", "rail-zero")
        node.serve()
        for device, netdev, words in ((key, "v0n2", f'key "device": "v0n2": is not the network device of {key[4:]}, which is v0n0'),
                                      (away, "v0n2", f'key "device": "v0n2": is not the network device of {away[4:]}')):
            refused(words, lambda d=device, n=netdev: node.rpc("attachment.reserve", **node.request(device=d, netdev=n)), 7)
        assert not node.attachments()
        for i, netdev in enumerate(("v0n0", "rail-zero")):
            with node.client() as client:
                a = client.call("attachment.reserve", **node.request(container=f"c{i}", device=key, netdev=netdev))
                assert a["device"]["name"] == "v0n0", a


def test_hooked_refusals():
    with Node() as node:
        bare = node.vf(0, 0, driver=None, netdev=False)
        away = node.vf(0, 1, netdev=False, rdma=False)
        alone = node.vf(0, 2, netdev=False)
        node.vf(0, 3)
        node.serve()
        for device, words in (
            (bare, "has no driver bound"), (away, "its network device is not here"),
            (alone, "it has the RDMA device mlx5_02 and no network device here: in another namespace, ib_ipoib not"),
            (f"pci:{node.pf(0)}", "it is a PF with 4 VFs"),
            ("pci:0000:ff:1f.7", "no such function"),
        ):
            refused(words, lambda d=device: node.rpc("attachment.reserve", **node.request(device=d)), 102)
        assert node.attachments() == []
        # A PF without VFs is a NIC that is used whole.
        assert node.attach(device=f"pci:{node.pf(1)}", rail="rail1")["device"]["name"] == "pf1"


def test_hooked_rdma_alone():
    """In a chain the netdev is in the pod already."""
    with Node() as node:
        key = node.vf(0, 0, netdev=False)
        none = node.vf(0, 1, netdev=False, rdma=False)
        node.serve()
        a = node.attach(device=key, rdmaOnly=True)
        assert a["device"]["rdma"]["name"] == "mlx5_00" and not a["device"].get("name"), a
        refused("has no RDMA device here",
                lambda: node.rpc("attachment.reserve", **node.request(container="c2", device=none, rdmaOnly=True)), 102)


def test_hooked_a_vf_that_has_just_come():
    """Whoever asks for it waits until it is read, and no longer."""
    with Node() as node:
        node.serve()
        assert node.devices() == {}
        key = node.vf(0, 0)
        a = node.attach(device=key)
        assert a["device"]["vf"]["pf"] == node.pf(0) and key in node.devices(), a
        late = node.vf(0, 1)
        os.unlink(f"{node.pci}/{node.pf(0)}/virtfn0")
        refused("find VF index", lambda: node.rpc("attachment.reserve", **node.request(container="c2", device=late)), 102)


def test_hooked_a_pf_that_cannot_be_read():
    """It is told, and the VFs of the others are served as ever; also after a restart."""
    with Node() as node:
        key = node.vf(0, 0)
        node.vf(1, 0)
        os.symlink("../nonsense", f"{node.pci}/{node.pf(0)}/virtfn1")
        node.serve()
        lab.wait_for(lambda: "find VF 1 of" in node.devices()[key].get("why", ""), 5, "it is told")
        other = node.vf(1, 1)
        assert node.attach(device=other, rail="rail1")["device"]["key"] == other
        os.makedirs(f"{node.pci}/{node.pf(1)}/net/second")
        node.net.ip("link", "set", "pf1", "mtu", "8000")
        lab.wait_for(lambda: "it has two" in node.devices()[other].get("why", ""), 5, "what is wrong with it")
        assert node.devices()[other]["state"] == "held", "and it stays in the picture"
        node.stop()
        node.start({"SPUR_SYSFS": node.sys})
        assert {k: d["state"] for k, d in node.devices().items()} == {
            key: "free", f"pci:{vf_of(1, 0)}": "away", other: "held"}


def test_hooked_a_burst_of_events_that_is_lost():
    """The daemon looks at everything then, and goes on to hear."""
    with Node() as node:
        key = node.vf(0, 0)
        driver = f"{node.pci}/{vf_of(0, 0)}/driver"
        node.serve()
        time.sleep(1)  # the readings of its start are over: an event alone makes it look again
        node.ipamd.send_signal(signal.SIGSTOP)
        node.net.sh("ip", "-batch", "-", input="".join(f"link set pf1 mtu {1500 + i % 2}\n" for i in range(3000)))
        os.unlink(driver)
        node.net.ip("link", "set", "pf0", "mtu", "8000")
        node.ipamd.send_signal(signal.SIGCONT)
        lab.wait_for(lambda: node.devices()[key]["state"] == "driverless", 5, "what was lost is looked up")
        time.sleep(2)
        os.symlink(f"{node.sys}/drivers/mlx5_core", driver)
        node.net.ip("link", "set", "pf0", "mtu", "7000")
        lab.wait_for(lambda: node.devices()[key]["state"] == "free", 5, "it hears of the next one")


# -- GUIDs


def test_hooked_guids_that_fail():
    """Each VF has its turn before one is tried again, and then there is a pause."""
    with Ib(5, code=1) as node:
        node.serve()
        lab.wait_for(lambda: node.are_all("broken"), 10, "each was tried")
        assert node.binds() == node.keys, node.binds()
        time.sleep(11)  # more than what an event has to wait
        assert node.binds() == node.keys, node.binds()


def test_hooked_guids_outlive_the_stop():
    with Ib(1, code=0, seconds="0.5; echo end >>$0.end") as node:
        node.serve()
        lab.wait_for(lambda: os.path.exists(f"{node.dir}/binds"), 5, "the plugin runs")
        node.stop()
        lab.wait_for(lambda: os.path.exists(f"{node.plugin}.end"), 5, "it was not killed")


def test_hooked_guids_of_a_pf_no_more():
    """It loses its netdev while one of its VFs is given a GUID."""
    with Ib(3, code=0, seconds=2) as node:
        node.serve()
        lab.wait_for(lambda: node.are_all("preparing"), 5, "they are prepared")
        os.rmdir(f"{node.pci}/{node.pf(0)}/net/pf0")
        node.net.ip("link", "set", "pf0", "mtu", "1400")
        lab.wait_for(lambda: node.are_all("userspace"), 10, "nothing is to be done")


# -- which VF


def test_hooked_a_vf_is_chosen():
    with Node() as node:
        keys = [node.vf(0, i) for i in range(3)]
        node.vf(1, 0)
        node.net.ip("addr", "add", "192.0.2.1/24", "dev", "v0n0")  # in use by the node itself
        node.serve()
        clients = [node.client() for _ in range(4)]
        for i, client in enumerate(clients[:3]):  # at once: one batch
            node.choose(client, f"c{i}")
        answers = [client.read() for client in clients[:3]]
        chosen = sorted(a["result"]["device"]["key"] for a in answers if "result" in a)
        assert chosen == keys[1:], answers
        [error] = [a["error"] for a in answers if "error" in a]
        assert error["data"]["cni"] == 11 and "rail rail0: none of its 3 VFs is free" in error["message"], error
        [winner] = [a["result"] for a in answers if a.get("result", {}).get("device", {}).get("key") == keys[1]]
        client = clients[[a.get("result") for a in answers].index(winner)]
        client.call("attachment.release", **generation_of(winner), left=True, restored=True)
        node.choose(clients[3], "c9")
        assert clients[3].read()["result"]["device"]["key"] == keys[1], "free at once"
        for client in clients:
            client.close()


def test_hooked_the_least_used_pf_is_chosen():
    with Node() as node:
        for pf in range(2):
            for i in range(2):
                node.vf(pf, i)
        pool = lab.pool("train")
        pool["rails"][0]["match"] = {"pf": ["pf0", "pf1"]}
        node.daemon([pool], env={"SPUR_SYSFS": node.sys})
        got = []
        with node.client() as client:
            for i in range(4):
                node.choose(client, f"c{i}")
                got.append(client.read()["result"]["device"]["key"])
        assert got == [f"pci:{vf_of(pf, i)}" for i in range(2) for pf in range(2)], got


def test_hooked_a_chosen_vf_is_served_again():
    with Node() as node:
        node.vf(0, 0)
        node.vf(0, 1)
        node.serve()
        first = node.attach(chooseDevice=True, rail="rail0")
        again = node.rpc("attachment.reserve", **node.request(chooseDevice=True, rail="rail0"))
        assert again["id"] == first["id"] and again["device"]["key"] == first["device"]["key"], again


def test_hooked_owners_after_a_restart():
    with Node() as node:
        key = node.vf(0, 0)
        node.serve()
        a = node.attach(device=key)
        node.stop()
        shutil.rmtree(f"{node.pci}/{vf_of(0, 0)}/net/v0n0")  # it is in the pod
        node.start({"SPUR_SYSFS": node.sys})
        assert node.devices()[key]["state"] == "held" and node.devices()[key]["owner"]["id"] == a["id"]
        with node.client() as client:
            client.call("attachment.release", **generation_of(a), left=True, restored=True)
        lab.wait_for(lambda: node.devices()[key]["state"] == "away", 5, "it is read after the release")


def claim(node, container, rail="rail0", ifname="net1", **more):
    return node.attach(container=container, ifname=ifname, chooseDevice=True, rail=rail, **more)


def test_hooked_a_pod_claims_vfs_of_all_rails():
    with Node() as node:
        mine, spare, other = node.vf(0, 0), node.vf(0, 1), node.vf(1, 0)
        node.serve(claim_s=60)
        first = claim(node, "c0", claim=["*"])
        assert first["device"]["key"] == mine and node.devices()[other]["state"] == "claimed", node.devices()
        [pool] = node.rpc("pool.list")["pools"]
        assert [(r["held"], r["claimed"]) for r in pool["rails"]] == [(1, 0), (0, 1)], pool
        with node.client() as client:
            def ask(**more):
                client.call("attachment.reserve", **node.request(container="c1", **more))
            refused("rail rail1: none of its 1 VFs is free", lambda: ask(rail="rail1", chooseDevice=True))
            refused("container c0 has claimed it", lambda: ask(device=other))
            refused("claim rail rail1: none of its VFs is free",  # all or none
                    lambda: ask(rail="rail0", chooseDevice=True, claim=["rail1"]))
        assert node.devices()[spare]["state"] == "free", node.devices()
        node.stop()
        node.start({"SPUR_SYSFS": node.sys})
        assert node.devices()[other]["state"] == "claimed", node.devices()
        second = claim(node, "c0", rail="rail1", ifname="net2", claim=["*"])
        assert second["device"]["key"] == other and node.devices()[other]["state"] == "held", second
        assert second["rail"]["index"] == first["rail"]["index"], (first, second)


def test_hooked_a_claimed_vf_that_has_left_its_rail():
    """The file gives the rail other PFs while the pod is attached: it gets a VF of these."""
    with Node(pfs=3) as node:
        node.vf(0, 0)
        claimed, moved_to = node.vf(1, 0), node.vf(2, 0)
        node.serve(claim_s=600)
        claim(node, "c0", claim=["*"])
        assert node.devices()[claimed]["state"] == "claimed", node.devices()
        with open(node.config, encoding="utf-8") as f:
            config = json.load(f)
        config["pools"][0]["rails"][1]["match"] = {"pf": ["pf2"]}
        with open(node.config, "w", encoding="utf-8") as f:
            json.dump(config, f)
        assert read_again(node)
        a = claim(node, "c0", rail="rail1", ifname="net2")
        assert a["device"]["key"] == moved_to and node.devices()[claimed]["state"] == "free", (a, node.devices())


def test_hooked_a_claim_ends_unbound():
    with Node() as node:
        node.vf(0, 0)
        other = node.vf(1, 0)
        node.serve(claim_s=1)
        claim(node, "c0", claim=["*"])
        lab.wait_for(lambda: node.devices()[other]["state"] == "free", 10, "the claim has ended")
        a = claim(node, "c1", rail="rail1")
        assert a["device"]["key"] == other, a


def test_hooked_a_claim_goes_with_its_pod():
    """An earlier sandbox of the same pod is undone on all rails, before the next one claims."""
    with Node() as node:
        node.vf(0, 0)
        other = node.vf(1, 0)
        node.serve(claim_s=600)
        claim(node, "c0", claim=["*"], uid="u1")
        claim(node, "c0", rail="rail1", ifname="net2", uid="u1")
        a = claim(node, "c1", claim=["*"], uid="u1")
        assert node.states() == {"c1": "attached"} and node.devices()[other]["state"] == "claimed", node.states()
        with node.client() as client:
            client.call("attachment.release", **generation_of(a), left=True, restored=True)
        assert node.devices()[other]["state"] == "free", node.devices()


def test_hooked_a_successor_waits_for_the_vfs():
    """Every VF is the old pod's, which was forced away: the new one's claim is not refused before its DEL came."""
    def worker(uid):
        return {"sticky": "w3", "pod": {"namespace": "ns", "name": "w-3", "uid": uid}}

    with Node() as node:
        vfs = [node.vf(rail, 0) for rail in range(2)]
        node.serve(claim_s=600)
        for i in range(1, 6):
            old, new = f"c{i - 1}", f"c{i}"
            if i == 1:
                first = claim(node, old, claim=["*"], **worker(old))
            claim(node, old, rail="rail1", ifname="net2", **worker(old))
            with node.client() as waits:
                waits.send("attachment.reserve", **node.request(container=new, chooseDevice=True, rail="rail0",
                                                                claim=["*"], **worker(new)))
                assert waits.is_quiet(), "it waits"
                for a in node.attachments():
                    with node.client() as client:
                        client.call("attachment.get", **key_of(old, a["ifname"]))
                        client.call("attachment.release", **generation_of(a), left=True, restored=True)
                a = waits.read()
                assert "result" in a and a["result"]["device"]["key"] == vfs[0], a
                assert a["result"]["rail"]["index"] == first["rail"]["index"], (a, first)
                waits.send("attachment.done", notify=True, facts={}, **generation_of(a["result"]))


def test_hooked_no_vfs_cost_nothing():
    """Without VFs no thread is started, and no PF is watched."""
    with Node(pfs=0) as node:
        node.rail("eth1")
        node.daemon(env={"SPUR_SYSFS": node.sys})
        a = node.attach(device="net:eth1")
        with node.client() as client:
            client.call("attachment.release", **generation_of(a), left=True, restored=True)
        assert node.rpc("device.list") == {"devices": [], "next": 0}
        threads = os.listdir(f"/proc/{node.ipamd.pid}/task")
        assert len(threads) == 1, threads


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
