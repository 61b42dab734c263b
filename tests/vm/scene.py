# SPDX-License-Identifier: Apache-2.0
"""What happens in a VM with VFs: a daemon whose rails are the PFs, pods, and "as before" of it all.

    with scene.Scene(scene.igb(2)) as node:        # two VFs of each PF, with soft-RoCE devices
        pod = node.pod("a")
        conf = node.conf(node.vfs[0], vlan=7)
        node.add(pod, conf)
        node.delete(pod, conf)
        node.is_as_before()

VFs are made once and used by one test after the other: what a test leaves changed is what it fails
for, and the next one gets new ones.
"""

import json
import os

import guest
import lab
from guest import run, wait_for

SETTLE_SECONDS = 30

_made = {}  # what igb() and eth() have made: {(kind, count): VFs}


def igb(count=1, roce=True):
    """VFs of both PFs, in turn: of the first, of the second…"""
    return _vfs("igb", count, roce)


def eth(count=1, roce=True):
    """VFs of the first PF as the lab's own Ethernet driver has them: every attribute, and knobs."""
    return _vfs("eth", count, roce)


def _vfs(kind, count, roce):
    wanted = (kind, count, roce)
    if wanted not in _made:
        remove_vfs()
        guest.load_rdma()
        if kind == "igb":
            by_pf = [pf.make_vfs(count) for pf in guest.pfs()]
            vfs = [vf for vfs in zip(*by_pf) for vf in vfs]
        else:
            vfs = guest.fake(guest.pfs()[0], count, "fakeeth")
        for i, vf in enumerate(vfs if roce else ()):
            vf.soft_roce(f"rdma{i}")
        _made[wanted] = vfs
    return _made[wanted]


def remove_vfs():
    for (kind, _, _), vfs in _made.items():
        for pf in {vf.pf.pci: vf.pf for vf in vfs}.values():
            pf.num_vfs(0)
            if kind == "eth":
                guest.unfake(pf)
    _made.clear()
    wait_for(lambda: not guest.rdma_devices(), SETTLE_SECONDS, "RDMA devices gone with their VFs")


class Scene(guest.Node):
    """The VM with these VFs. Each of their PFs is a rail of the pool "train"."""

    def __init__(self, vfs, label="vf"):
        super().__init__(label)
        self.vfs = vfs
        self.pfs = list({vf.pf.pci: vf.pf for vf in vfs}.values())
        self.pools = [{"name": "train", "cooldown_s": 0, "rails": [
            {"name": f"rail{i}", "cidr": f"10.64.{i}.0/24", "match": {"pci": [pf.pci]},
             "routes": [{"dst": "10.64.0.0/16", "scope": 253}]} for i, pf in enumerate(self.pfs)]}]
        self.before = None

    def __enter__(self):
        # 0: the daemon leaves a young record to the runtime that has just made it
        self.daemon(pools=self.pools, env={"SPUR_YOUNG_MS": "0"})
        self.settled()
        self.before = self.facts()
        return self

    def __exit__(self, kind, value, trace):
        if kind:  # nobody knows what it left
            _made.clear()
            self.before = None
        super().__exit__(kind, value, trace)
        if kind:
            _start_again(self.pfs)

    # -- what is there

    def devices(self):
        return {d["device"].removeprefix("pci:"): d for d in self.rpc("device.list")["devices"]}

    def device(self, vf):
        return self.devices()[vf.pci]

    def settled(self):
        """The daemon has read what is there: each VF free, as it was."""
        def calm():
            devices = self.devices()
            return all(vf.pci in devices and devices[vf.pci]["state"] == "free" and
                       not devices[vf.pci].get("drift") for vf in self.vfs)
        try:
            wait_for(calm, SETTLE_SECONDS, "all VFs free and without drift")
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.devices()}") from late

    def info(self, vf):
        """What the PF says of it."""
        return vf.pf.vf_infos()[vf.index]

    def facts(self):
        """VFs as their PFs have them, functions with drivers and devices, RDMA devices; links,
        addresses, routes; ledger."""
        return {"vm": guest.snapshot(), **self.snapshot()}

    def is_as_before(self):
        lab.same(self.before, self.facts())

    def settles(self, seconds=SETTLE_SECONDS):
        """What is left is undone by the daemon; then all is as before."""
        wait_for(lambda: not self.attachments(), seconds, "the record goes")
        self.settled()
        self.is_as_before()

    def ctl(self, *words):
        return run(lab.program("spurctl"), "--socket", self.socket, *words)

    # -- calls

    def conf(self, vf=None, rail=None, **keys):
        """A network whose VF gets an address of its PF's rail; vf None: one that the daemon chooses.
        A key that is None is left out."""
        conf = lab.netconf("net", version="1.1.0", pool="train", **keys)
        conf |= {"deviceID": vf.pci} if vf else {"rail": rail}
        return {k: v for k, v in conf.items() if v is not None}

    def attach(self, name, vf=None, **keys):
        """A new pod with one VF; returns (pod, conf, result)."""
        pod, conf = self.pod(name), self.conf(vf, **keys)
        return pod, conf, self.add(pod, conf)

    def end(self, pod):
        pod.close()
        self.pods.remove(pod)

    def untouched(self, code, words, vf, **keys):
        """An ADD that has to fail like this and to leave everything as before; returns its answer."""
        pod = self.pod("refused")
        got = self.refuse("ADD", code, words, pod, self.conf(vf, **keys))
        assert pod.links() == [], pod.links()
        self.settles()
        self.end(pod)
        return got

    def ping(self, pod, address, works=True):
        """Within seconds; a VF's link comes up late."""
        def once(count=1):
            return pod.sh("ping", "-c", str(count), "-i", "0.2", "-W", "1", address, check=False)
        if works:
            wait_for(lambda: " 0% packet loss" in once(), 20, f"ping {address}")
        else:
            assert " 100% packet loss" in once(3), f"{address} answers"


def address(result):
    """The first one of a result, without its length."""
    return result["ips"][0]["address"].split("/")[0]


def vf_facts(info):
    """A VF as `ip` shows it, by the keys of a network configuration."""
    vlan = (info.get("vlan_list") or [{}])[0]
    return {
        "mac": info["address"], "vlan": vlan.get("vlan", 0), "vlanQoS": vlan.get("qos", 0),
        "vlanProto": vlan.get("protocol", "802.1Q").lower(),
        "min_tx_rate": info["rate"]["min_tx"], "max_tx_rate": info["rate"]["max_tx"],
        "spoofchk": "on" if info["spoofchk"] else "off", "trust": "on" if info["trust"] else "off",
        "link_state": info["link_state"],
    }


def ctl_vfs(node):
    """What spurctl vfs tells programs."""
    return json.loads(node.ctl("--json", "vfs"))


def _start_again(pfs):
    """After a failure: no VFs, no driver of ours, names as the kernel gives them."""
    for pf in pfs:
        if os.path.exists(f"{pf.dir}/sriov_numvfs"):
            pf.num_vfs(0)
        if pf.driver() != "igb":
            guest.unfake(pf)
