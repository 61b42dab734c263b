# SPDX-License-Identifier: Apache-2.0
"""VFs: each attribute set through the PF, read back there and given back; PFs that answer badly; who
owns which; VFs without netdev, without driver, without PF.

    test_vf.py [--long] [TEST…]     --long: 200 rounds of seven VFs at once
"""

import os
import signal
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import guest
import lab
import scene
from guest import run, wait_for

import daemon_serve

LONG = "--long" in sys.argv
sys.argv[1:] = [word for word in sys.argv[1:] if word != "--long"]
ROUNDS = 200 if LONG else 20
SEVEN = 7

MACS = ("02:00:00:00:aa:01", "02:00:00:00:aa:02", "02:00:00:00:aa:03")
PLAIN = {"rdma": "none", "ready": {"timeout_ms": 0}}  # what a test does not ask about takes no time


def check_set(node, vf, base, keys):
    """The PF says what was asked for, and of the rest what it said before."""
    tag = {"vlanQoS": 0, "vlanProto": "802.1q"} if "vlan" in keys else {}
    is_now, should = scene.vf_facts(node.info(vf)), {**base, **tag, **keys}
    assert is_now == should, (keys, is_now, should)


def one_round(node, vf, keys):
    """A pod with these keys; while it is here the PF says so, then all is as before."""
    base = scene.vf_facts(node.info(vf))
    pod, conf, result = node.attach("a", vf, **PLAIN, **keys)
    shown = {k: v for k, v in keys.items() if k != "mtu"}
    check_set(node, vf, base, shown)
    link = pod.link("net1")
    assert link["address"] == keys.get("mac", link["address"]) and link["mtu"] == keys.get("mtu", link["mtu"]), link
    got = node.cni("CHECK", pod, {**conf, "prevResult": result})
    assert got.returncode == 0, (keys, got)
    node.delete(pod, conf)
    node.is_as_before()
    node.end(pod)


# -- igb


IGB = (
    {"mac": MACS[0]},
    {"vlan": 7},
    {"vlan": 7, "vlanQoS": 3},
    {"vlan": 0},
    {"spoofchk": "off"},
    {"trust": "on"},
    {"max_tx_rate": 50},
    {"mtu": 1400},
    {"mac": MACS[1], "vlan": 9, "vlanQoS": 5, "spoofchk": "off", "trust": "on", "max_tx_rate": 100, "mtu": 1300},
    {"mac": MACS[2], "trust": "off", "spoofchk": "on"},
)


def test_igb_attributes():
    """One after the other on one VF: what the one before set must be gone."""
    with scene.Scene(scene.igb(2)) as node:
        for keys in IGB:
            one_round(node, node.vfs[0], keys)
        node.settles()


def test_igb_cannot():
    """Its driver has no such thing: the key is named, what came before is undone."""
    with scene.Scene(scene.igb(2)) as node:
        rest = {"mac": MACS[0], "vlan": 7, "trust": "on", "spoofchk": "off", **PLAIN}
        vf = node.vfs[0]
        node.untouched(101, "link_state", vf, link_state="enable", **rest)
        node.untouched(101, "min_tx_rate", vf, min_tx_rate=5, max_tx_rate=50, **rest)
        node.untouched(101, "vlan", vf, vlanProto="802.1ad", **rest)
        node.untouched(7, "mtu", vf, mtu=1501, **rest)


def test_igb_vlans():
    """Two VFs of one VLAN reach each other, those of two do not."""
    with scene.Scene(scene.igb(2)) as node:
        near, far = node.vfs[:2]
        a, conf_a, _ = node.attach("a", near, rdma="none", vlan=7, mac=MACS[0])
        for vlan, works in ((7, True), (8, False), (None, False)):
            b, conf_b, got = node.attach("b", far, rdma="none", vlan=vlan, mac=MACS[1])
            wait_for(lambda pod=b: pod.sh("cat", "/proc/net/dev") and pod.link("net1")["operstate"] == "UP",
                     20, "carrier")
            node.ping(a, scene.address(got), works)
            node.delete(b, conf_b)
            node.end(b)
        node.delete(a, conf_a)
        node.settles()


def test_igb_two_pods_after_each_other():
    """The second pod of a VF gets its own MAC, and is reached by it."""
    with scene.Scene(scene.igb(2)) as node:
        near, far = node.vfs[:2]
        b, conf_b, got = node.attach("b", far, rdma="none")
        for mac in (MACS[0], MACS[1], None):
            a, conf_a, _ = node.attach("a", near, rdma="none", mac=mac)
            assert mac in (None, a.link("net1")["address"]), a.link("net1")
            node.ping(a, scene.address(got))
            node.delete(a, conf_a)
            node.end(a)
        node.delete(b, conf_b)
        node.settles()


def test_igb_address_has_one_owner():
    """Whoever asks for the address of a living pod's VF, or for the PF's own, is refused with the owner's name;
    what a free VF has is nobody's, and then that VF is not given away with it."""
    with scene.Scene(scene.igb(2)) as node:
        near, elsewhere, far = node.vfs[:3]
        own = guest.read("/sys/class/net", near.netdev(), "address")
        a, conf_a, _ = node.attach("a", near, **PLAIN, mac=MACS[0])
        b = node.pod("b")
        asked = {"capabilities": {"mac": True}, "runtimeConfig": {"mac": MACS[0]}}
        for keys in ({"mac": MACS[0]}, asked):
            node.refuse("ADD", 11, f"the address {MACS[0]} belongs to net/{a.container}/net1", b,
                        node.conf(far, **PLAIN, **keys))
        node.refuse("ADD", 11, f"belongs to PF {far.pf.pci} itself", b,
                    node.conf(far, **PLAIN, mac=guest.read("/sys/class/net", far.pf.netdev(), "address")))
        assert b.links() == [], b.links()
        for vf, vlan in ((elsewhere, None), (far, 9)):  # another PF, another VLAN
            conf = node.conf(vf, **PLAIN, mac=MACS[0], vlan=vlan)
            node.add(b, conf)
            node.delete(b, conf)
        node.delete(a, conf_a)
        conf = node.conf(far, **PLAIN, mac=own)
        node.add(b, conf)
        node.refuse("ADD", 11, f"the address {own} belongs to net/{b.container}/net1", a, node.conf(near, **PLAIN))
        node.delete(b, conf)
        node.settles()


def test_igb_hidden_where_its_pod_is_outlived():
    """A VF that a pod has moved on into a friend's namespace: address, VLAN and VF stay its own after the pod's end;
    then it comes home by itself."""
    with scene.Scene(scene.igb(2)) as node:
        vf = node.vfs[0]
        pod, _, got = node.attach("a", vf, **PLAIN, vlan=7)
        friend = node.pod("friend")
        pod.ip("link", "set", "net1", "netns", friend.path)
        node.end(pod)
        wait_for(lambda: node.rpc("node.reconcile", timeout=30) and node.attachments()[0]["state"] == "dirty", 60, "it is found dead")
        for _ in range(2):
            node.rpc("node.reconcile", timeout=30)
            [record] = node.attachments()
            assert record["state"] == "dirty" and scene.address(record) == scene.address(got), record
            assert scene.vf_facts(node.info(vf))["vlan"] == 7 and node.device(vf)["state"] == "held", node.info(vf)
            assert friend.links() == ["net1"], friend.links()
        node.end(friend)
        wait_for(lambda: node.rpc("node.reconcile", timeout=30) and not node.attachments(), 60, "it has come home")
        node.settles()


# -- seven at once


def at_once(jobs):
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(lambda job: job(), jobs))


def seven(node, confs, rounds):
    """Each pod adds and deletes at the same time as the others; every VF and address has one owner."""
    pods = [node.pod(f"p{i}") for i in range(SEVEN)]
    for turn in range(rounds):
        got = at_once([lambda p=p, c=c: node.cni("ADD", p, c) for p, c in zip(pods, confs)])
        assert all(g.returncode == 0 for g in got), (turn, got)
        check_seven(node, pods, got)
        got = at_once([lambda p=p, c=c: node.cni("DEL", p, c) for p, c in zip(pods, confs)])
        assert all(g.returncode == 0 for g in got), (turn, got)
    node.settles()


def check_seven(node, pods, got):
    owners = {a["device"]["key"]: a["containerID"] for a in node.attachments()}
    assert len(owners) == SEVEN and set(owners.values()) == {p.container for p in pods}, owners
    assert len({scene.address(g.json) for g in got}) == SEVEN, got
    for pod in pods:
        assert pod.links() == ["net1"], pod.links()


def test_seven_at_once():
    with scene.Scene(scene.eth(SEVEN)) as node:
        confs = [node.conf(vf, mac=f"02:00:00:00:bb:{i:02x}", vlan=100 + i, trust="on", rdma="required")
                 for i, vf in enumerate(node.vfs)]
        seven(node, confs, ROUNDS)


def test_seven_of_a_rail():
    """The daemon chooses; with an eighth pod the rail is empty."""
    with scene.Scene(scene.eth(SEVEN)) as node:
        confs = [node.conf(rail="rail0", vlan=7, **PLAIN)] * SEVEN
        seven(node, confs, ROUNDS // 4)
        pods = [node.pod(f"q{i}") for i in range(SEVEN)]
        for pod, conf in zip(pods, confs):
            node.add(pod, conf)
        node.refuse("ADD", 11, "rail0", node.pod("eighth"), confs[0])
        for pod, conf in zip(pods, confs):
            node.delete(pod, conf)
        node.settles()


def test_busiest_pf_last():
    """Of two PFs on one rail the one with fewer VFs in use is next, and there the lowest number."""
    with scene.Scene(scene.igb(2)) as node:
        pools = [{**node.pools[0], "rails": [
            {"name": "both", "cidr": "10.64.0.0/24", "match": {"pci": [pf.pci for pf in node.pfs]}}]}]
        node.stop()
        node.daemon(pools=pools)
        node.settled()
        first, second = (pf.pci for pf in node.pfs)
        conf, order = node.conf(rail="both", **PLAIN), []
        for i in range(4):
            node.add(node.pod(f"p{i}"), conf)
            device = max(node.attachments(), key=lambda a: a["id"])["device"]["vf"]
            order.append((device["pf"], device["index"]))
        assert order == [(first, 0), (second, 0), (first, 1), (second, 1)], order
        for pod in list(node.pods):
            node.delete(pod, conf)
        node.settles()


# -- every attribute, and drivers that answer badly


ETH = (
    {"link_state": "enable"},
    {"link_state": "disable"},
    {"max_tx_rate": 1000},
    {"min_tx_rate": 100, "max_tx_rate": 200},
    {"vlan": 12, "vlanQoS": 2, "vlanProto": "802.1ad"},
    {"mac": MACS[0]},
    {"mac": MACS[1], "trust": "on"},
    {"mac": MACS[0], "vlan": 3, "vlanQoS": 1, "vlanProto": "802.1q", "spoofchk": "off", "trust": "on",
     "min_tx_rate": 1, "max_tx_rate": 2, "link_state": "enable", "mtu": 1280},
)
ALL = ETH[-1]
KNOBS = {"vlan": "vlan", "rate": "max_tx_rate", "spoofchk": "spoofchk", "trust": "trust", "mac": "mac",
         "link_state": "link_state"}


def test_eth_attributes():
    with scene.Scene(scene.eth(2)) as node:
        for keys in ETH:
            one_round(node, node.vfs[0], keys)
        node.settles()


def test_eth_given_back_as_it_was():
    """A VF that the operator has set up goes back to that, and what is absent is never touched."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[1]
        name, number = vf.pf.netdev(), str(vf.index)
        node.stop()
        for what in ("vlan 5 qos 1", "min_tx_rate 10 max_tx_rate 20", "spoofchk off", "trust on", "state enable"):
            run("ip", "link", "set", name, "vf", number, *what.split())
        node.start()
        node.settled()
        node.before = node.facts()
        for keys in ({}, {"vlan": 0}, {"max_tx_rate": 50}, {"link_state": "auto"}, {"trust": "off"}):
            one_round(node, vf, keys)
        one_round(node, vf, ALL)
        node.settles()
        for what in ("vlan 0", "min_tx_rate 0 max_tx_rate 0", "spoofchk on", "trust off", "state auto"):
            run("ip", "link", "set", name, "vf", number, *what.split())


def test_eth_each_refused():
    """Whichever attribute the driver cannot do: its key is named, and all the others are undone."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[0]
        for knob, key in KNOBS.items():
            vf.pf.knob(knob, "EOPNOTSUPP")
            node.untouched(101, key, vf, **PLAIN, **ALL)
            vf.pf.knobs_off()
        vf.pf.knob("min_rate", "EOPNOTSUPP")
        node.untouched(101, "min_tx_rate", vf, **PLAIN, **ALL)
        vf.pf.knobs_off()
        vf.pf.knob("qinq", "EOPNOTSUPP")
        node.untouched(101, "vlan", vf, **PLAIN, **{**ALL, "vlanProto": "802.1ad"})
        vf.pf.knobs_off()
        one_round(node, vf, ALL)


def test_eth_late():
    """Busy at first, or in force only later: tried again and waited for; without end it is an error."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[0]
        for how in ({"error": "EBUSY", "times": 2}, {"error": "EAGAIN", "times": 1}, {"late_ms": 600}):
            vf.pf.knob("mac", **how)
            pod, conf, _ = node.attach("a", vf, **PLAIN, mac=MACS[2])
            vf.pf.knobs_off()
            assert pod.link("net1")["address"] == MACS[2], (how, pod.link("net1"))
            wait_for(lambda: node.info(vf)["address"] == MACS[2], 5, "the PF says so")
            node.delete(pod, conf)
            node.settles()
            node.end(pod)
        vf.pf.knob("mac", "EBUSY")
        pod = node.pod("b")
        node.refuse("ADD", 101, "mac", pod, node.conf(vf, **PLAIN, mac=MACS[2], vlan=7, trust="on"))
        vf.pf.knobs_off()  # while it is busy nobody can know whether it took the address
        node.settles()


def test_no_vf_list_is_asked_for():
    """Neither by ADD nor by DEL; the daemon looks by itself, when it likes. CHECK asks once."""
    with scene.Scene(scene.eth(2)) as node:
        vf, pod = node.vfs[0], node.pod("a")
        conf = node.conf(vf, rdma="required", **ALL)
        for verb in ("ADD", "CHECK", "DEL"):
            vf.pf.calls_reset("spur")
            got = node.cni(verb, pod, conf)
            calls = vf.pf.calls()
            assert got.returncode == 0, (verb, got)
            assert calls["get_config"] == (2 if verb == "CHECK" else 0), (verb, calls)  # of each VF
            if verb == "ADD":
                conf["prevResult"] = got.json
                once = {op: n for op, n in calls.items() if op in KNOBS}
                assert set(once.values()) == {1}, (verb, calls)
        node.settles()
        vf.pf.calls_reset("spur-ipamd")
        conf = node.conf(vf, rdma="required", **ALL)
        node.add(pod, conf)
        node.delete(pod, conf)
        wait_for(lambda: vf.pf.calls()["get_config"] > 0, 10, "the daemon looks afterwards")
        node.settles()


ETH_DRIFTS = (
    ("vlan is 99 qos 0", "vlan", "99"), ("max_tx_rate is 9", "max_tx_rate", "9", "min_tx_rate", "0"), ("spoofchk is", "spoofchk", None),
    ("trust is", "trust", None), ("link_state is", "state", "auto"),
)


def test_check_sees_what_the_host_has_set():
    """Each attribute of a VF that the configuration names; of one that it does not name nothing is said."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[0]
        pod, conf, result = node.attach("a", vf, **PLAIN, **ALL)
        conf["prevResult"] = result
        assert node.cni("CHECK", pod, conf).returncode == 0
        was = {"vlan": ["vlan", str(ALL["vlan"]), "qos", str(ALL["vlanQoS"]), "proto", ALL["vlanProto"]],
               "max_tx_rate": ["max_tx_rate", str(ALL["max_tx_rate"]), "min_tx_rate", str(ALL["min_tx_rate"])],
               "spoofchk": ["spoofchk", ALL["spoofchk"]], "trust": ["trust", ALL["trust"]], "state": ["state", ALL["link_state"]]}
        for words, key, *values in ETH_DRIFTS:
            other = [{"on": "off", "off": "on"}[was[key][1]]] if values == [None] else values
            vf_set = ["ip", "link", "set", vf.pf.netdev(), "vf", str(vf.index)]
            run(*vf_set, key, *other)
            node.refuse("CHECK", 104, words, pod, conf)
            run(*vf_set, *was[key])
            got = node.cni("CHECK", pod, conf)
            assert got.returncode == 0, (key, got)
        node.delete(pod, conf)
        node.end(pod)
        pod, conf, result = node.attach("b", vf, **PLAIN)
        run("ip", "link", "set", vf.pf.netdev(), "vf", str(vf.index), "vlan", "99")
        assert node.cni("CHECK", pod, {**conf, "prevResult": result}).returncode == 0
        run("ip", "link", "set", vf.pf.netdev(), "vf", str(vf.index), "vlan", "0")
        node.delete(pod, conf)
        node.end(pod)


def test_chain_behind_a_vf():
    """Debian's tuning and sbr, as libcni calls them: the address is theirs by now, the VLAN is ours."""
    chain = ({"type": "tuning", "mac": MACS[2], "mtu": 1400}, {"type": "sbr"})
    with scene.Scene(scene.eth(2)) as node:
        vf, pod = node.vfs[0], node.pod("a")
        conf = {**node.conf(vf, mac=MACS[0], vlan=3, trust="on", **PLAIN), "cniVersion": "1.0.0"}
        last = node.add(pod, conf)

        def call(verb, plugin):
            more = {"cniVersion": conf["cniVersion"], "name": conf["name"], "dataDir": f"{node.dir}/tuning", "prevResult": last}
            got = node.cni(verb, pod, {**plugin, **more}, binary=lab.plugin(plugin["type"]))
            assert got.returncode == 0, (verb, plugin, got)
            return got.json

        for plugin in chain:
            last = call("ADD", plugin)
        link = pod.link("net1")
        assert link["address"] == MACS[2] and link["mtu"] == 1400, link
        got = node.cni("CHECK", pod, {**conf, "prevResult": last})
        assert got.returncode == 0, got
        vlan = ["ip", "link", "set", vf.pf.netdev(), "vf", str(vf.index), "vlan"]
        run(*vlan, "9")
        node.refuse("CHECK", 104, "vlan is 9", pod, {**conf, "prevResult": last})
        run(*vlan, "3")
        pod.ip("link", "set", "net1", "address", MACS[1])
        node.refuse("CHECK", 104, f"address is {MACS[1]}", pod, {**conf, "prevResult": last})
        for plugin in reversed(chain):
            call("DEL", plugin)
        node.delete(pod, conf)
        node.is_as_before()


def asks(node, container, device):
    env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": container, "CNI_IFNAME": "net1", "CNI_NETNS": "/nowhere"}
    conf = {"cniVersion": "1.0.0", "name": "net", "type": "spur", "socket": node.socket}
    return {"network": "net", "containerID": container, "ifname": "net1",
            "pod": {"namespace": "ns", "name": container, "uid": ""},
            "netns": {"path": "/nowhere", "cookie": 7, "nsid": -1},
            "request": {"program": "spur", "env": env, "netconf": conf},
            "pool": "train", "device": device, "deadline": daemon_serve.boot_ms() + 10000}


def test_one_owner_under_two_names():
    """A VF by its address and by its netdev is one device: a record that came home dirty keeps it."""
    with scene.Scene(scene.igb(1, roce=False)) as node:
        vf, client = node.vfs[0], daemon_serve.Client(node)
        name = vf.netdev()
        first = client.call("attachment.reserve", **asks(node, "c1", f"pci:{vf.pci}"))
        client.send("attachment.done", notify=True, facts={}, **daemon_serve.generation_of(first))
        client.call("attachment.release", left=True, restored=False, **daemon_serve.generation_of(first))
        client.send("attachment.reserve", **asks(node, "c2", f"net:{name}"))
        answer = client.read()
        assert answer.get("error", {}).get("data", {}).get("cni") == 11, answer
        assert vf.pci in answer["error"]["message"], answer
        client.close()
        node.settles()


def test_drift():
    """A VF that is not as it was after DEL is told of, until it is so again."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[0]
        node.stop()
        node.daemon(pools=node.pools, http="127.0.0.1:9469")
        node.settled()
        pod, conf, _ = node.attach("a", vf, **PLAIN, vlan=7)
        vf.pf.knob("vlan", late_ms=4000)  # it says yes, and does nothing for long
        node.delete(pod, conf)
        vf.pf.knobs_off()
        wait_for(lambda: node.device(vf).get("drift"), 10, "drift is seen")
        assert "vlan" in node.device(vf)["drift"], node.device(vf)
        assert "vlan is 7" in node.ctl("vfs"), node.ctl("vfs")
        wait_for(lambda: "spur_vf_drift 1\n" in metrics(), 20, "the metrics page is made anew")
        wait_for(lambda: scene.vf_facts(node.info(vf))["vlan"] == 0, 10, "the PF has done it")
        run("ip", "link", "set", vf.pf.netdev(), "vf", str(vf.index), "vlan", "0")  # an event
        node.settles()
        assert "vlan is" not in node.ctl("vfs") and scene.ctl_vfs(node), node.ctl("vfs")


def metrics():
    with urllib.request.urlopen("http://127.0.0.1:9469/metrics", timeout=5) as answer:
        return answer.read().decode()


# -- VFs that are not as usual


def test_userspace_driver():
    """Set through the PF, given addresses, and not moved."""
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf = node.vfs[0]
        run("modprobe", "uio_pci_generic")
        vf.unbind()
        vf.bind("uio_pci_generic")
        wait_for(lambda: node.device(vf)["state"] == "userspace", 10, "the daemon sees it")
        before = node.facts()
        base, pod = scene.vf_facts(node.info(vf)), node.pod("a")
        keys = {"mac": MACS[0], "vlan": 7, "trust": "on", "spoofchk": "off"}
        for more in ({}, {"vfioPciMode": True}):
            conf = node.conf(vf, **keys, **more)
            result = node.add(pod, conf)
            check_set(node, vf, base, keys)
            assert pod.links() == [] and scene.address(result).startswith("10.64.0."), result
            assert node.attachments()[0]["ips"], node.attachments()
            got = node.cni("CHECK", pod, {**conf, "prevResult": result})
            assert got.returncode == 0, got
            node.delete(pod, conf)
            lab.same(before, node.facts())
        vf.unbind()
        vf.bind(None)
        vf.netdev()
        node.settled()
        node.refuse("ADD", 7, "vfioPciMode", pod, node.conf(vf, vfioPciMode=True))


def test_device_and_its_id():
    """The network names the netdev, Multus adds the ID: taken as one VF, refused with both names as two."""
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf, pod = node.vfs[0], node.pod("a")
        name, other = vf.netdev(), node.vfs[1].netdev()
        ids = {"pciBusID": vf.pci, **PLAIN}
        got = node.refuse("ADD", 7, f'key "device": "{other}": is not the network device of {vf.pci}', pod,
                          node.conf(vf, device=other, vlan=7, **ids))
        assert name in got.msg and not node.attachments(), got
        conf = node.conf(vf, device=name, vlan=7, **ids)
        node.add(pod, conf)
        assert scene.vf_facts(node.info(vf))["vlan"] == 7
        node.delete(pod, conf)
        node.is_as_before()


def test_upper_devices():
    """What stands on a VF in the host would go on in the pod: refused by name, also under its address."""
    uppers = {"vlan": ("id", "5"), "macvlan": ("mode", "bridge"), "ipvlan": ("mode", "l3")}
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf, pod = node.vfs[0], node.pod("a")
        name = vf.netdev()
        for kind, words in uppers.items():
            run("ip", "link", "add", "link", name, "name", "up0", "type", kind, *words)
            node.refuse("ADD", 102, f"reserve pci:{vf.pci}: it has the upper device up0, which a move would lose",
                        pod, node.conf(vf, vlan=7, **PLAIN))
            run("ip", "link", "del", "up0")
        run("ip", "link", "add", "up0", "type", "bond")
        run("ip", "link", "set", name, "down")
        run("ip", "link", "set", name, "master", "up0")
        node.refuse("ADD", 102, f"reserve pci:{vf.pci}: it has the master up0", pod, node.conf(vf, vlan=7, **PLAIN))
        run("ip", "link", "del", "up0")
        assert not node.attachments() and scene.vf_facts(node.info(vf))["vlan"] == 0
        node.settled()
        node.add(pod, node.conf(vf, **PLAIN))
        node.delete(pod, node.conf(vf, **PLAIN))


def test_no_driver():
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf, pod = node.vfs[0], node.pod("a")
        vf.unbind()
        wait_for(lambda: node.device(vf)["state"] == "driverless", 10, "the daemon sees it")
        node.refuse("ADD", 102, vf.pci, pod, node.conf(vf, vlan=7, **PLAIN))
        assert not node.attachments() and scene.vf_facts(node.info(vf))["vlan"] == 0
        vf.bind(None)
        vf.netdev()
        node.settled()
        node.add(pod, node.conf(vf, **PLAIN))
        node.delete(pod, node.conf(vf, **PLAIN))


def test_netdev_is_elsewhere():
    with scene.Scene(scene.igb(2, roce=False)) as node:
        vf, thief, pod = node.vfs[0], node.pod("thief"), node.pod("a")
        name = vf.netdev()
        run("ip", "link", "set", name, "netns", thief.name)
        wait_for(lambda: node.device(vf)["state"] == "away", 10, "the daemon sees it")
        node.refuse("ADD", 102, vf.pci, pod, node.conf(vf, vlan=7, **PLAIN))
        assert not node.attachments() and scene.vf_facts(node.info(vf))["vlan"] == 0
        node.end(thief)
        assert vf.netdev() == name
        node.settles()


def test_vfs_come_and_go():
    """The daemon follows; a VF that goes under its pod is deleted without a word."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[1]
        pod, conf, _ = node.attach("a", vf, **PLAIN, **ALL)
        other, other_conf, _ = node.attach("b", node.vfs[0], **PLAIN)
        vf.pf.num_vfs(0)
        wait_for(lambda: not set(node.devices()) & {v.pci for v in node.vfs}, 10, "the VFs go")
        for p, c in ((pod, conf), (other, other_conf)):
            node.delete(p, c)
            assert p.links() == []
        assert not node.attachments(), node.attachments()
        vf.pf.num_vfs(2)
        wait_for(lambda: set(node.devices()) >= {v.pci for v in node.vfs}, 10, "the VFs come")
        node.settled()
        pod, conf, _ = node.attach("c", vf, **PLAIN, **ALL)
        node.delete(pod, conf)
        node.settled()
        scene.remove_vfs()


def test_vf_under_a_dead_daemon():
    """A VF that changes owner while the daemon is away is read at its start, as held."""
    with scene.Scene(scene.eth(2)) as node:
        vf = node.vfs[0]
        pod, conf, _ = node.attach("a", vf, **PLAIN, **ALL)
        node.stop(signal.SIGKILL)
        node.start({"SPUR_YOUNG_MS": "0"})
        wait_for(lambda: node.device(vf)["state"] == "held", 10, "the daemon knows its owner")
        assert not node.device(vf).get("drift"), node.device(vf)
        node.delete(pod, conf)
        node.settles()


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    guest.main(globals())
