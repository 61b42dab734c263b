# SPDX-License-Identifier: Apache-2.0
"""VFs of an InfiniBand PF (the lab's fakeib): their GUIDs, before pods come and while they are here."""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import guest
import lab
from guest import run, wait_for

FIRST, LAST = 0x0200000000001000, 0x0200000000001FFF
OTHER = "02:00:00:00:00:00:9a:bc"
ZERO = "00:00:00:00:00:00:00:00"
VFS = 3


def pool(pf, **keys):
    """A pool whose only rail is this PF."""
    rail = {"name": "rail0", "cidr": "10.64.0.0/24", "match": {"pci": [pf.pci]}, **keys}
    return {"name": "train", "cooldown_s": 0, "rails": [rail]}


class Ib(guest.Node):
    """The VM with an InfiniBand PF, and a daemon that gives each VF a GUID, unless guids is False."""

    def __init__(self, guids=True, **parameters):
        guest.load_rdma()
        self.pf = guest.pfs()[0]
        self.vfs = guest.fake(self.pf, VFS, **parameters)
        super().__init__("ib")
        self.parameters = parameters
        self.pools = [pool(self.pf, **({"guidBase": text(FIRST)} if guids else {}))]
        self.guids = guids

    def __enter__(self):
        # 0: the daemon leaves a young record to the runtime that has just made it
        self.daemon(pools=self.pools, env={"SPUR_YOUNG_MS": "0"})
        self.settled()
        self.before = self.facts()
        return self

    def close(self):
        super().close()
        guest.unfake(self.pf)
        for name, value in {"follow": os.uname().release > "7", "appear_ms": 0, "move_ms": 0}.items():
            guest.parameter(name, value)

    def settled(self):
        """Each VF is free, and has what it is to have."""
        def ready():
            devices = self.rpc("device.list")["devices"]
            return len(devices) == VFS and all(d["state"] == "free" for d in devices) and (
                not self.guids or all(self.port_guid(vf) != ZERO for vf in self.vfs))
        wait_for(ready, 30, "all VFs free")

    def port_guid(self, vf):
        return self.pf.vf_infos()[vf.index]["port guid"]

    def facts(self):
        """RDMA devices by their numbers too: one that was bound anew has another."""
        return {"vm": guest.snapshot(), "made": made(), "ledger": [lab.ledger_facts(a) for a in self.attachments()]}

    def is_as_before(self):
        lab.same(self.before, self.facts())

    def settles(self, seconds=30):
        """The daemon undoes what is left, then everything is as before."""
        def gone():
            return self.rpc("node.reconcile", timeout=30) and not self.attachments()
        wait_for(gone, seconds, "the record goes")
        self.settled()
        lab.same(without_numbers(self.before), without_numbers(self.facts()))

    def settles_after_a_race(self):
        """Of devices made at once the kernel numbers the character devices as they come."""
        wait_for(lambda: not self.attachments(), 30, "the records go")
        self.settled()
        before, now = json.dumps(self.before["vm"]), json.dumps(self.facts()["vm"])
        lab.same(*(json.loads(re.sub(r"uverbs\d+", "uverbs", facts)) for facts in (before, now)))

    def conf(self, vf, **keys):
        conf = lab.netconf("ib", pool="train", deviceID=vf.pci, **keys)
        return {k: v for k, v in conf.items() if v is not None}

    def in_pod(self, pod, ifname="net1"):
        """The address of its IPoIB device, which must be the only one."""
        assert pod.links() == [ifname], pod.links()
        return pod.link(ifname)["address"]


def text(guid):
    return ":".join(f"{byte:02x}" for byte in guid.to_bytes(8, "big"))


def number(guid):
    return int(guid.replace(":", ""), 16)


def made():
    """RDMA devices with the numbers that the kernel gave them when they were made."""
    return {d["ifname"]: d["ifindex"] for d in json.loads(run("rdma", "-j", "dev"))}


def without_numbers(facts):
    return {k: v for k, v in facts.items() if k != "made"}


def check_own_guids(node):
    """Each VF has a GUID of the range, that no other has, in the PF and in force; returns them."""
    guids = {}
    for vf, told in zip(node.vfs, node.pf.vf_infos()):
        guids[vf.pci] = told["port guid"]
        assert told["node guid"] == told["port guid"] and FIRST <= number(told["port guid"]) <= LAST, told
        assert guest.read("/sys/class/net", vf.netdev(), "address").endswith(told["port guid"]), told
    assert len(set(guids.values())) == VFS, guids
    devices = {d["device"]: d for d in node.rpc("device.list")["devices"]}
    assert {k.removeprefix("pci:"): d["guid"] for k, d in devices.items()} == guids, devices
    return guids


def test_guids_come_before_pods():
    with Ib() as node:
        guids = check_own_guids(node)
        numbers = made()
        node.stop()
        node.start()
        node.settled()
        assert check_own_guids(node) == guids and made() == numbers, "a restart binds nothing"
        node.pf.num_vfs(0)
        node.pf.num_vfs(VFS)
        wait_for(lambda: all(node.port_guid(vf) != ZERO and vf.netdevs() for vf in node.vfs), 30, "GUIDs again")
        node.settled()
        assert check_own_guids(node) == guids, "a VF has its GUID for good"


def test_a_lost_driver_comes_back():
    """As when the node's power went between unbind and probe. What is lost later is somebody's wish."""
    with Ib() as node:
        guids = check_own_guids(node)
        lost, kept = node.vfs[0], node.vfs[1]
        node.stop()
        lost.unbind()
        kept.unbind()
        guest.write("vfio-pci", kept.dir, "driver_override")
        node.start()
        wait_for(lost.netdevs, 30, "its driver")
        node.vfs[2].unbind()

        def states():
            devices = {d["device"]: d["state"] for d in node.rpc("device.list")["devices"]}
            return [devices["pci:" + vf.pci] for vf in node.vfs[:3]]
        wait_for(lambda: states() == ["free", "driverless", "driverless"], 30, "the others stay as they are")
        time.sleep(3)
        assert states() == ["free", "driverless", "driverless"], states()
        for vf in (kept, node.vfs[2]):
            vf.bind("fakeib")
        node.settled()
        assert check_own_guids(node) == guids


def test_stop_while_guids_are_bound():
    with Ib(guids=False) as node:
        node.stop()
        node.daemon(pools=[pool(node.pf, guidBase=text(FIRST))])
        end = time.monotonic() + 10
        while all(vf.driver() for vf in node.vfs):
            assert time.monotonic() < end, "no VF is being bound"
        node.stop()
        wait_for(lambda: all(vf.driver() and vf.netdevs() for vf in node.vfs), 10, "each has its driver")


def test_bind_guid_needs_one_capability():
    with Ib(guids=False) as node:
        vf = node.vfs[0]
        node.stop()

        def bind(kept):
            return subprocess.run(["setpriv", f"--bounding-set=-all,{kept}", lab.program("spur"), "bind-guid", vf.pci, OTHER],
                                  capture_output=True, text=True, check=False)
        got = bind("+sys_admin,+sys_ptrace,+dac_override")
        assert got.returncode == 1 and json.loads(got.stdout)["code"] == 101, got
        got = bind("+net_admin")
        assert got.returncode == 0, got
        assert node.port_guid(vf) == OTHER, node.port_guid(vf)
        got = subprocess.run([lab.program("spur"), "bind-guid", vf.pci, ZERO], capture_output=True, text=True, check=False)
        assert got.returncode == 0, got


def test_what_the_host_uses_is_not_bound():
    with Ib(guids=False) as node:
        vf = node.vfs[0]
        name, number_was = vf.netdev(), made()[vf.rdma_dev()]
        run("ip", "addr", "add", "192.0.2.9/24", "dev", name)
        node.stop()
        node.daemon(pools=[pool(node.pf, guidBase=text(FIRST))], env={"SPUR_YOUNG_MS": "0"})

        def state():
            return {d["device"]: d for d in node.rpc("device.list")["devices"]}["pci:" + vf.pci]
        wait_for(lambda: state()["state"] == "broken", 30, "its VF is refused")
        assert "192.0.2.9" in state()["why"] and made()[vf.rdma_dev()] == number_was, state()


def test_add_binds_nothing():
    with Ib() as node:
        vf, pod = node.vfs[0], node.pod("a")
        own, numbers = node.port_guid(vf), made()
        node.pf.calls_reset()
        conf = node.conf(vf, rdma="required")
        result = node.add(pod, conf)
        assert node.pf.calls()["guid"] == 0, node.pf.calls()
        assert node.in_pod(pod).endswith(own), (own, pod.link("net1"))
        assert vf.rdma_devs(pod) and not vf.rdma_devs()
        assert {**made(), **within_pod(pod)} == numbers, "the RDMA device is another one"
        assert result["interfaces"][0]["mac"].endswith(own), result
        [record] = node.attachments()
        assert record["facts"]["rdma"]["moved"] and record["device"]["vf"]["portGUID"] == own, record
        node.delete(pod, conf)
        node.is_as_before()


def within_pod(pod):
    return {d["ifname"]: d["ifindex"] for d in json.loads(guest.within(pod, "rdma", "-j", "dev") or "[]")}


def test_explicit_guid():
    """The three keys, in the order of who wins; the VF's own comes back."""
    sources = [
        ({"guid": OTHER}, OTHER),
        ({"args": {"cni": {"guid": OTHER}}, "guid": text(FIRST + 5)}, OTHER),
        ({"runtimeConfig": {"infinibandGUID": OTHER.upper()}, "guid": text(FIRST + 5)}, OTHER),
    ]
    with Ib() as node:
        vf = node.vfs[1]
        own = node.port_guid(vf)
        for keys, want in sources:
            pod, conf = node.pod("a"), node.conf(vf, rdma="required", **keys)
            node.add(pod, conf)
            assert node.port_guid(vf) == want and node.in_pod(pod).endswith(want), node.pf.vf_infos()
            assert node.attachments()[0]["guid"] == want, node.attachments()
            node.delete(pod, conf)
            assert node.port_guid(vf) == own, node.pf.vf_infos()
            node.settles()
            pod.close()


def test_explicit_guid_without_a_pool():
    """A fresh VF's zeros are what it gets back: not ones, and not what the pod had."""
    with Ib(guids=False) as node:
        vf, pod = node.vfs[0], node.pod("a")
        conf = node.conf(vf, guid=OTHER)
        node.add(pod, conf)
        assert node.in_pod(pod).endswith(OTHER)
        node.delete(pod, conf)
        assert [(v["node guid"], v["port guid"]) for v in node.pf.vf_infos()] == [(ZERO, ZERO)] * VFS
        node.settles()


def test_one_guid_one_owner():
    with Ib() as node:
        a, b = node.pod("a"), node.pod("b")
        conf = node.conf(node.vfs[0], guid=OTHER)
        node.add(a, conf)
        between = node.facts()
        got = node.cni("ADD", b, node.conf(node.vfs[1], guid=OTHER))
        assert got.returncode == 1 and OTHER in got.msg, got
        # The own GUID of another VF is as little to be had.
        got = node.cni("ADD", b, node.conf(node.vfs[1], guid=node.port_guid(node.vfs[2])))
        assert got.returncode == 1 and node.port_guid(node.vfs[2]) in got.msg, got
        lab.same(between, node.facts())
        node.delete(a, conf)
        node.settles()
        conf = node.conf(node.vfs[1], guid=OTHER)
        node.add(b, conf)
        node.delete(b, conf)
        node.settles()


def test_one_guid_one_owner_without_guid_base():
    """The GUID that a VF has by itself, on a rail that gives none."""
    with Ib(guids=False) as node:
        node.stop()
        for key in ("node_guid", "port_guid"):
            run("ip", "link", "set", node.pf.netdev(), "vf", str(node.vfs[0].index), key, OTHER)
        node.start({"SPUR_YOUNG_MS": "0"})
        a, b = node.pod("a"), node.pod("b")
        own, other = node.conf(node.vfs[0]), node.conf(node.vfs[1], guid=OTHER)
        node.add(a, own)
        node.refuse("ADD", 11, f"the GUID {OTHER} belongs to ib/{a.container}/net1", b, other)
        node.delete(a, own)
        node.add(b, other)  # of a VF that is free it is nobody's…
        node.refuse("ADD", 11, f"the GUID {OTHER} belongs to ib/{b.container}/net1", a, own)  # …and then that one waits
        node.delete(b, other)


def test_bad_guids_and_pkeys():
    with Ib() as node:
        pod = node.pod("a")
        for guid in (ZERO, "ff:ff:ff:ff:ff:ff:ff:ff", "01:00:00:00:00:00:00:01", "02:00:00", 7):
            node.refuse("ADD", 7, "guid", pod, node.conf(node.vfs[0], guid=guid))
        for pkey in ("0x0000", "0x8000", "0x10000", "8001", 1, "0x7fff", "0xffff"):
            node.refuse("ADD", 7, "pkey", pod, node.conf(node.vfs[0], pkey=pkey))
        node.is_as_before()


def test_link_state_and_pkey():
    with Ib() as node:
        vf, pod = node.vfs[2], node.pod("a")
        asked = (("enable", {"pkey": "0x8001"}, "0x8001"), ("disable", {"pkey": "0x10"}, "0x8010"),
                 ("enable", {"pkey": "0x10", "pkeyMembership": "limited"}, "0x0010"))
        for state, pkey, recorded in asked:
            conf = node.conf(vf, link_state=state, **pkey, ready={"timeout_ms": 0})
            node.add(pod, conf)
            assert node.pf.vf_infos()[vf.index]["link_state"] == state
            assert node.attachments()[0]["pkey"] == recorded, node.attachments()
            shown = run(lab.program("spurctl"), "--socket", node.socket, "show", vf.pci)
            assert f"P_Key        {recorded}" in shown, shown
            node.delete(pod, conf)
            node.is_as_before()


def test_ipoib_is_made_again_wherever():
    """In the first namespace (kernels before 6.17) or in that of the RDMA device; and they ping."""
    for follow in (False, True):
        with Ib(follow=follow) as node:
            pods = [node.pod(name) for name in "ab"]
            confs = [node.conf(vf, rdma="required") for vf in node.vfs]
            results = [node.add(pod, conf) for pod, conf in zip(pods, confs)]
            for vf, pod in zip(node.vfs, pods):
                assert node.in_pod(pod).endswith(node.port_guid(vf)), (follow, pod.link("net1"))
            pods[0].sh("ping", "-c", "2", "-i", "0.2", "-W", "5", results[1]["ips"][0]["address"].split("/")[0])
            for pod, conf in zip(pods, confs):
                node.cni("CHECK", pod, {**conf, "prevResult": results[pods.index(pod)]})
                node.delete(pod, conf)
            node.is_as_before()


def test_namespace_deleted_first():
    for follow, keys in ((False, {}), (True, {}), (False, {"guid": OTHER}), (True, {"guid": OTHER})):
        with Ib(follow=follow) as node:
            pod = node.pod("a")
            conf = node.conf(node.vfs[0], rdma="required", **keys)
            node.add(pod, conf)
            pod.close()
            if not keys:
                node.delete(pod, conf)
            node.settles()


def test_slow_rebinds_side_by_side():
    """Each waits for its own VF. One after the other, three would take three times as long at least."""
    appear_s = 2
    with Ib() as node:
        pods = [node.pod(f"p{i}") for i in range(VFS)]
        confs = [node.conf(vf, guid=text(number(OTHER) + i)) for i, vf in enumerate(node.vfs)]
        guest.parameter("appear_ms", 1000 * appear_s)

        def timed(verb):
            begun = time.monotonic()
            with ThreadPoolExecutor(VFS) as at_once:
                got = list(at_once.map(lambda i: node.cni(verb, pods[i], confs[i]), range(VFS)))
            assert all(g.returncode == 0 for g in got), got
            return time.monotonic() - begun
        took = {verb: timed(verb) for verb in ("ADD", "DEL")}
        guest.parameter("appear_ms", 0)
        node.settles_after_a_race()
        print(f"     {took}")
        assert all(appear_s < seconds < VFS * appear_s for seconds in took.values()), took


def hooked_sweep(verb, variable, phase, settle, **keys):
    """Each step of a verb in turn is hit; afterwards everything is as before."""
    with Ib() as node:
        vf, pod = node.vfs[0], node.pod("a")
        conf = node.conf(vf, rdma="required", link_state="enable", mtu=1500, **keys)
        for k in itertools.count(1):
            if verb == "DEL":
                node.add(pod, conf)
            got = node.cni(verb, pod, conf, **{variable: f"{phase}:{k}"})
            hit = got.returncode != 0 or (verb == "DEL" and bool(node.attachments()))
            settle(node, pod, conf, got)
            if not hit:
                break
        assert k > 4, f"only {k - 1} steps"
        print(f"     {k - 1} steps")


def undone_by_del(node, pod, conf, _got):
    node.delete(pod, conf)
    node.settles()


def undone_by_daemon(node, pod, conf, got):
    if got.returncode == 0 and node.attachments() and node.attachments()[0]["state"] != "dirty":
        node.delete(pod, conf)
    elif node.attachments():
        node.rpc("node.reconcile", timeout=30)
    node.settles()


def test_hooked_add_killed_then_del():
    for keys in ({}, {"guid": OTHER}):
        hooked_sweep("ADD", "SPUR_KILL_STEP", "apply", undone_by_del, **keys)


def test_hooked_add_killed_and_no_del():
    hooked_sweep("ADD", "SPUR_KILL_STEP", "apply", undone_by_daemon, guid=OTHER)


def test_hooked_add_fails():
    def undone_by_itself(node, pod, conf, got):
        assert got.returncode in (0, 1), got
        if got.returncode == 0:
            node.delete(pod, conf)
        node.settles()
    hooked_sweep("ADD", "SPUR_FAIL_STEP", "apply", undone_by_itself, guid=OTHER)


def test_hooked_del_fails():
    hooked_sweep("DEL", "SPUR_FAIL_STEP", "revert", undone_by_daemon, guid=OTHER)


def test_hooked_del_killed():
    def then_again(node, pod, conf, got):
        assert got.returncode in (0, -signal.SIGKILL), got
        undone_by_del(node, pod, conf, got)
    hooked_sweep("DEL", "SPUR_KILL_STEP", "revert", then_again, guid=OTHER)


guest.main({name: value for name, value in globals().items()
            if not name.startswith("test_") or name.startswith("test_hooked_") == lab.has_hooks()})
