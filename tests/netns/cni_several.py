# SPDX-License-Identifier: Apache-2.0
"""Several attachments of one pod: of one network, on one rail, in one L2."""

import itertools
import os
import signal
import subprocess
import sys

import lab

ROUTES = [{"dst": "10.64.0.0/10"}, {"dst": "fd09::/48"}]


def node_with_rails(count, rails=1, bridge=None, **pool):
    """Devices eth1, eth2, …; a pool with so many rails."""
    node = lab.Node("several")
    for i in range(count):
        node.rail(f"eth{i + 1}", bridge=bridge)
    node.daemon(pools=[lab.pool(rails=rails, v6=True, **pool)], env={"SPUR_YOUNG_MS": "0"})
    return node


def conf_of(i, rail=0, **keys):
    """The network `rail0` with the i-th device: as a device plugin gives it to each attachment."""
    return lab.netconf(device=f"eth{i + 1}", pool="train", rail=f"rail{rail}", version="1.1.0", **keys)


def record_of(node, ifname):
    return next(a for a in node.attachments() if a["ifname"] == ifname)


def tables(pod):
    """Which table each rule of ours leads to, by address."""
    words = [line.split() for line in (pod.ip("rule") + pod.ip("-6", "rule")).splitlines()]
    return {w[w.index("from") + 1]: int(w[w.index("lookup") + 1]) for w in words if w[0] == "1000:"}


def metrics(pod, dst):
    """device: metric of each route to a destination in the main table."""
    family = "-6" if ":" in dst else "-4"
    return {r["dev"]: r.get("metric", 0) for r in pod.ip_json(family, "route", "show", dst)}


def is_whole(node, pod, i, result, table, rail=0):
    """Everything of the i-th attachment is where the record and the result say."""
    device, conf = f"net{i}", conf_of(i, rail, routing={"table": "auto"})
    assert record_of(node, device)["facts"]["table"] == table, node.attachments()
    assert record_of(node, device)["rail"]["table"] == table, node.attachments()
    for ip in result["ips"]:
        address = ip["address"].split("/")[0]
        assert tables(pod)[address] == table, (ip, tables(pod))
        shown = lab.run(lab.program("spurctl"), "--socket", node.socket, "show", address)
        assert f"\ntable        {table}\n" in shown, shown
    for family in ("-4", "-6"):
        routes = pod.ip(family, "route", "show", "table", str(table))
        assert routes and all(f"dev {device}" in line for line in routes.splitlines()), (table, routes)
        assert "default" in routes, routes
    assert {r["table"] for r in result["routes"]} == {table}, result
    assert node.cni("CHECK", pod, {**conf, "prevResult": result}, ifname=device).returncode == 0
    assert node.add(pod, conf, ifname=device) == result, "an ADD that is repeated tells the same"


def test_each_has_a_table():
    with node_with_rails(4, rails=2, routes=ROUTES) as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        conf = [conf_of(i, routing={"table": "auto"}) for i in range(4)]
        results = [node.add(pod, conf[i], ifname=f"net{i}") for i in range(3)]
        for i, table in enumerate((100, 1000, 1100)):
            is_whole(node, pod, i, results[i], table)
        other = conf_of(3, rail=1, routing={"table": "auto"})
        last = node.add(pod, other, ifname="net3")
        is_whole(node, pod, 3, last, 101, rail=1)
        node.delete(pod, conf[0], ifname="net0")
        assert pod.ip("route", "show", "table", "100") == "" and 100 not in tables(pod).values()
        for i, table in ((1, 1000), (2, 1100)):
            is_whole(node, pod, i, results[i], table)
        results[0] = node.add(pod, conf[0], ifname="net0")
        is_whole(node, pod, 0, results[0], 100)
        another = node.pod("b")
        node.delete(pod, conf[1], ifname="net1")
        assert record_of(node, "net2")["rail"]["table"] == 1100
        node.add(another, conf[1], ifname="net9")
        assert record_of(node, "net9")["rail"]["table"] == 100, "another pod has tables of its own"
        node.delete(another, conf[1], ifname="net9")
        for i in (2, 0):
            node.delete(pod, conf[i], ifname=f"net{i}")
        node.delete(pod, other, ifname="net3")
        lab.same(before, node.snapshot(pod))


def test_pools_share_no_table():
    """Rail 0 of one pool, rail 0 of another; and a table that a network has asked for by its number."""
    with lab.Node("several") as node:
        for i in range(3):
            node.rail(f"eth{i + 1}")
        node.daemon(pools=[lab.pool(), {"name": "store", "cooldown_s": 0, "rails": [{"name": "s", "cidr": "10.7.0.0/24", "gatewayIndex": 1}]}])
        pod = node.pod("a")
        before = node.snapshot(pod)
        confs = {"net0": lab.netconf(device="eth1", pool="train", routing={"table": 1000}),
                 "net1": lab.netconf(device="eth2", pool="train", routing={"table": "auto"}),
                 "net2": lab.netconf(name="store", device="eth3", pool="store", routing={"table": "auto"})}
        for ifname, conf in confs.items():
            node.add(pod, conf, ifname=ifname)
        assert sorted(tables(pod).values()) == [100, 1000, 1100], tables(pod)
        for ifname, conf in confs.items():
            assert node.cni("CHECK", pod, conf, ifname=ifname).returncode == 0
            node.delete(pod, conf, ifname=ifname)
        lab.same(before, node.snapshot(pod))


def test_each_has_a_metric():
    with node_with_rails(3, routes=ROUTES) as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        results = [node.add(pod, conf_of(i), ifname=f"net{i}") for i in range(3)]
        assert metrics(pod, "10.64.0.0/10") == {"net0": 0, "net1": 1, "net2": 2}
        assert metrics(pod, "fd09::/48") == {"net0": 1024, "net1": 1025, "net2": 1026}
        assert [r.get("priority", 0) for r in results[2]["routes"]] == [2, 1026], results[2]
        assert [r.get("priority", 0) for r in record_of(node, "net1")["facts"]["routes"]] == [1, 1025]
        node.delete(pod, conf_of(0), ifname="net0")
        for i in (1, 2):
            assert node.cni("CHECK", pod, {**conf_of(i), "prevResult": results[i]}, ifname=f"net{i}").returncode == 0
            assert node.add(pod, conf_of(i), ifname=f"net{i}") == results[i]
        node.add(pod, conf_of(0), ifname="net0")
        assert metrics(pod, "10.64.0.0/10") == {"net0": 0, "net1": 1, "net2": 2}
        for i in (1, 0, 2):
            node.delete(pod, conf_of(i), ifname=f"net{i}")
        lab.same(before, node.snapshot(pod))


def test_beside_the_default_route():
    """The runtime's stays the first; what the pool asks for by a priority goes behind an equal one."""
    with node_with_rails(2, routes=[{"dst": "0.0.0.0/0"}, {"dst": "10.64.0.0/10", "priority": 50}]) as node:
        pod = node.pod("a")
        pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
        pod.ip("addr", "add", "10.200.0.2/24", "dev", "eth0")
        pod.ip("link", "set", "eth0", "up")
        pod.ip("route", "add", "default", "via", "10.200.0.1")
        before = node.snapshot(pod)
        for i in (0, 1):
            node.add(pod, conf_of(i), ifname=f"net{i}")
        assert metrics(pod, "default") == {"eth0": 0, "net0": 1, "net1": 2}
        assert metrics(pod, "10.64.0.0/10") == {"net0": 50, "net1": 51}
        for i in (0, 1):
            node.delete(pod, conf_of(i), ifname=f"net{i}")
        lab.same(before, node.snapshot(pod))


def test_a_table_by_its_number_is_not_another():
    """Who names a table gets that one: a second way in it is refused."""
    with node_with_rails(2) as node:
        pod = node.pod("a")
        node.add(pod, conf_of(0, routing={"table": 7}), ifname="net0")
        before = node.snapshot(pod)
        got = node.refuse("ADD", 101, "add route", pod, conf_of(1, routing={"table": 7}), ifname="net1")
        assert "a table of its own" in got.json["details"], got
        lab.same(before, node.snapshot(pod))


def at_once(node, pod, confs):
    calls = [node.popen("ADD", pod, conf, ifname=f"net{i}") for i, conf in enumerate(confs)]
    answers = [node.finish(call) for call in calls]
    assert [a.returncode for a in answers] == [0] * len(calls), answers
    return [a.json for a in answers]


def test_at_once():
    """Nothing promises that a runtime goes one by one."""
    with node_with_rails(4, routes=ROUTES) as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        for routing in ({"routing": {"table": "auto"}}, {}):
            confs = [conf_of(i, **routing) for i in range(4)]
            for _ in range(5):
                results = at_once(node, pod, confs)
                if routing:
                    assert sorted(tables(pod).values()) == sorted([100, 1000, 1100, 1200] * 2), tables(pod)
                else:
                    assert sorted(metrics(pod, "10.64.0.0/10").values()) == [0, 1, 2, 3]
                for i, conf in enumerate(confs):
                    assert node.cni("CHECK", pod, {**conf, "prevResult": results[i]}, ifname=f"net{i}").returncode == 0
                    node.delete(pod, conf, ifname=f"net{i}")
                lab.same(before, node.snapshot(pod))


# -- ARP: who answers for an address

ASK = """
import socket, struct, sys, time
device, target = sys.argv[1], socket.inet_aton(sys.argv[2])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
s.bind((device, 0x0806))
mac = s.getsockname()[4]
s.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes(4) + bytes(6) + target)
s.settimeout(0.1)
end = time.monotonic() + 1
while time.monotonic() < end:
    try:
        p = s.recv(64)
    except TimeoutError:
        continue
    if p[20:22] == b"\\x00\\x02" and p[28:32] == target:
        print(p[22:28].hex(":"))
"""

LISTEN = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
s.bind((sys.argv[1], 0x0806))
print("listening", flush=True)
s.settimeout(2)
try:
    while True:
        p = s.recv(64)
        print(p[22:28].hex(":"), socket.inet_ntoa(p[28:32]), flush=True)
except TimeoutError:
    pass
"""


def who_answers(node, address):
    """The MACs that answer for an address in the L2 of br0."""
    return node.net.sh(sys.executable, "-c", ASK, "br0", address).split()


def two_rails(node, pod, **keys):
    """Two rails of a pod in one L2: {device: (MAC, address)}."""
    results = [node.add(pod, conf_of(i, rail=i, **keys), ifname=f"net{i}") for i in (0, 1)]
    return {f"net{i}": (r["interfaces"][0]["mac"], r["ips"][0]["address"].split("/")[0]) for i, r in enumerate(results)}


def test_each_rail_answers_for_itself():
    with node_with_rails(2, rails=2, bridge="br0") as node:
        pod = node.pod("a")
        before = node.snapshot(pod)
        for keys in ({}, {"arp": "strict"}, {"routing": {"table": "auto"}}):
            for device, (mac, address) in two_rails(node, pod, **keys).items():
                assert who_answers(node, address) == [mac], (keys, device, who_answers(node, address))
                assert pod.sysctl(f"ipv4/conf/{device}/rp_filter") == ("2" if "routing" in keys else pod.sysctl("ipv4/conf/default/rp_filter"))
            for i in (0, 1):
                node.delete(pod, conf_of(i, rail=i, **keys), ifname=f"net{i}")
            lab.same(before, node.snapshot(pod))
        rails = two_rails(node, pod, arp="kernel")
        both = sorted(mac for mac, _ in rails.values())
        for _, address in rails.values():
            assert sorted(who_answers(node, address)) == both, "as the kernel has it: any device answers"


def test_each_rail_asks_for_itself():
    """A packet from one rail's address that leaves by another rail does not teach the neighbours that way."""
    with node_with_rails(2, rails=2, bridge="br0") as node:
        pod = node.pod("a")
        node.net.ip("addr", "add", "10.1.0.1/24", "dev", "br0")
        for arp in ("strict", "kernel"):
            rails = two_rails(node, pod, arp=arp)
            (_, source), (mac, own) = rails["net0"], rails["net1"]
            listener = subprocess.Popen(["nsenter", f"--net={node.net.path}", sys.executable, "-c", LISTEN, "br0"],
                                        stdout=subprocess.PIPE, text=True)
            node.processes.append(listener)
            assert listener.stdout.readline() == "listening\n"
            pod.sh("ping", "-c", "1", "-W", "1", "-I", source, "10.1.0.1", check=False)
            told = {line.split()[1] for line in listener.communicate()[0].splitlines() if line.startswith(mac)}
            assert told == {own if arp == "strict" else source}, (arp, told)
            for i in (0, 1):
                node.delete(pod, conf_of(i, rail=i), ifname=f"net{i}")


def test_arp_with_another_ipam():
    """Whoever gives the address: the device is Spur's."""
    lab.plugin("host-local")
    with node_with_rails(1) as node:
        pod = node.pod("a")
        ipam = {"type": "host-local", "dataDir": os.path.join(node.dir, "hl"), "ranges": [[{"subnet": "10.45.0.0/24"}]]}
        node.add(pod, lab.netconf(device="eth1", ipam=ipam))
        assert (pod.sysctl("ipv4/conf/net1/arp_ignore"), pod.sysctl("ipv4/conf/net1/arp_announce")) == ("1", "2")
        node.delete(pod, lab.netconf(device="eth1", ipam=ipam))


def test_arp_of_others_is_not_touched():
    """A device without an address, and what another main plugin has made."""
    os.environ["MACVLAN_BIN"] = lab.plugin("macvlan")
    with node_with_rails(2) as node:
        pod = node.pod("a")
        node.add(pod, lab.netconf(device="eth1"), ifname="net0")
        node.net.ip("link", "set", "eth2", "up")
        node.add(pod, {"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth2",
                       "ipam": {"type": "spur-ipam", "pool": "train", "socket": node.socket}}, ifname="net1", binary="macvlan")
        for device in ("net0", "net1"):
            assert pod.sysctl(f"ipv4/conf/{device}/arp_ignore") == pod.sysctl(f"ipv4/conf/{device}/arp_announce") == "0"


def test_hooked_killed_beside_the_first():
    """After a crash at any step the second one's own table is cleared, and the first stands."""
    with node_with_rails(2, routes=ROUTES) as node:
        pod = node.pod("a")
        conf = [conf_of(i, routing={"table": "auto"}) for i in (0, 1)]
        node.add(pod, conf[0], ifname="net0")
        before = node.snapshot(pod)
        for k in itertools.count(1):
            got = node.cni("ADD", pod, conf[1], ifname="net1", SPUR_KILL_STEP=f"apply:{k}")
            if got.returncode == 0:
                break
            assert got.returncode == -signal.SIGKILL, got
            if k % 2:
                node.delete(pod, conf[1], ifname="net1")
            else:
                lab.wait_for(lambda: len(node.attachments()) == 1, 20, "the daemon undoes it")
            lab.same(before, node.snapshot(pod))
            assert node.cni("CHECK", pod, conf[0], ifname="net0").returncode == 0
        assert k > 15, k


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
