# SPDX-License-Identifier: Apache-2.0
"""What ADD does to a pod, what CHECK sees of it, and that DEL takes all of it back.

Each test makes a node of its own; "as before" is a whole snapshot of node, pod and ledger.
"""

import itertools
import json
import os
import re
import shutil
import signal
import stat
import time

import lab


def node_with_rail(**rail):
    node = lab.Node("attach")
    node.rail("eth1", **rail)
    return node


def attach_and_back(node, pod, conf, look=lambda result: None, **kw):
    """ADD, CHECK, look, ADD again, DEL twice; everything as before."""
    before = node.snapshot(pod)
    result = node.add(pod, conf, **kw)
    assert node.attachments()[0]["state"] == "attached", node.attachments()
    if conf["cniVersion"] >= "0.4.0":
        assert node.cni("CHECK", pod, {**conf, "prevResult": result}, **kw).returncode == 0
        alone = {k: v for k, v in conf.items() if k != "prevResult"}
        assert node.cni("CHECK", pod, alone, **kw).returncode == 0
    look(result)
    assert node.add(pod, conf, **kw) == result, "an ADD that is repeated tells the same"
    node.delete(pod, conf, **kw)
    lab.same(before, node.snapshot(pod))
    node.delete(pod, conf, **kw)
    lab.same(before, node.snapshot(pod))


def test_v4():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        mac = node.net.link("eth1")["address"]

        def look(result):
            assert result["interfaces"] == [{"name": "net1", "mac": mac, "sandbox": pod.path}], result
            assert result["ips"][0]["interface"] == 0 and result["ips"][0]["gateway"] == "10.0.0.1", result
            assert pod.addresses("net1") == [result["ips"][0]["address"]]
            assert "eth1" not in node.net.links()
            assert not [r for r in pod.ip_json("route") if r["dst"] == "default"], "a gateway alone makes no route"

        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train"), look)


def test_v6():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v4=False, v6=True)])
        pod = node.pod("a")

        def look(result):
            assert pod.addresses("net1") == [result["ips"][0]["address"]]
            assert "tentative" not in json.dumps(pod.link("net1")), "no address is tentative, link-local neither"
            assert pod.sysctl("ipv6/conf/net1/ndisc_notify") == "1"

        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train"), look)


def test_v6_where_the_pod_has_it_off():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v6=True)])
        pod = node.pod("a")
        pod.sh("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train"),
                        lambda result: lab.same(sorted(i["address"] for i in result["ips"]), pod.addresses("net1")))


def test_routes():
    routes = [{"dst": "10.64.0.0/10"}, {"dst": "10.9.0.0/16", "gw": "10.0.0.7"}, {"dst": "fd09::/48"}]
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v6=True, routes=routes)])
        pod = node.pod("a")

        def look(result):
            got = pod.ip("route") + pod.ip("-6", "route")
            for line in ("10.64.0.0/10 via 10.0.0.1 dev net1", "10.9.0.0/16 via 10.0.0.7 dev net1", "fd09::/48 via fd00:0:0:0::1 dev net1".replace(":0:0:0::", "::")):
                assert line in got, (line, got)
            assert [r["dst"] for r in result["routes"]] == [r["dst"] for r in routes]

        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train"), look)


def test_route_to_its_own_prefix():
    """The kernel has made it with the address: no error, from the pool or from another IPAM, with a table or without."""
    own = [{"dst": "10.0.0.0/24"}, {"dst": "fd00::/64"}]
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v6=True, routes=own)])
        pod = node.pod("a")
        static = {"type": "static", "addresses": [{"address": "10.8.0.5/24", "gateway": "10.8.0.1"}], "routes": [{"dst": "10.8.0.0/24"}]}
        lab.plugin("static")
        for conf in (lab.netconf(device="eth1", pool="train"), lab.netconf(device="eth1", pool="train", routing={"table": 77}),
                     lab.netconf(device="eth1", ipam=static), lab.netconf(device="eth1", ipam=static, routing={"table": 77})):
            def look(result):
                for table in ("main", *(["77"] if "routing" in conf else [])):
                    got = pod.ip("route", "show", "table", table) + pod.ip("-6", "route", "show", "table", table)
                    for line in ("10.0.0.0/24 dev net1", "fd00::/64 dev net1") if "pool" in conf["ipam"] else ("10.8.0.0/24 dev net1",):
                        assert line in got, (line, table, got)
                assert node.cni("CHECK", pod, {**conf, "prevResult": result}).returncode == 0

            look(node.add(pod, conf))
            node.delete(pod, conf)


def test_pod_that_is_the_gateway():
    """nv-ipam's allocateDefaultGateway: the pod gets the gateway's address, and goes by no gateway itself."""
    with node_with_rail() as node:
        node.rail("eth2")
        node.daemon(pools=[lab.pool(v6=True, routes=[{"dst": "10.64.0.0/10"}, {"dst": "10.9.0.0/16", "gw": "10.0.0.7"}])])
        pod, other = node.pod("a"), node.pod("b")
        conf = lab.netconf(device="eth1", pool="train", args={"cni": {
            "allocateDefaultGateway": True, "poolNames": ["train"], "poolType": "ippool"}})

        def look(result):
            assert [(i["address"], i.get("gateway")) for i in result["ips"]] == [("10.0.0.1/24", None), ("fd00::1/64", None)], result
            assert [r["dst"] for r in result["routes"]] == ["10.9.0.0/16"], result
            second = lab.netconf(device="eth2", pool="train", args={"cni": {"allocateDefaultGateway": True}})
            node.refuse("ADD", 11, "requested index 1: is held by attachment", other, second)
            assert json.loads(lab.run(lab.program("spurctl"), "--socket", node.socket, "check", "--json"))["ok"]

        for routing in ({}, {"routing": {"table": "auto"}}):
            attach_and_back(node, pod, {**conf, **routing}, look)
        check = json.loads(lab.run(lab.program("spurctl"), "--socket", node.socket, "check", "--json"))
        assert check["ok"], check
        got = node.add(other, lab.netconf(device="eth2", pool="train"))
        assert got["ips"][0]["address"] == "10.0.0.2/24", "the gateway's is given to nobody else"
        node.refuse("ADD", 7, "args.cni.poolNames", pod, lab.netconf(device="eth1", pool="train", args={"cni": {"poolNames": ["x"]}}))
        node.delete(other, lab.netconf(device="eth2", pool="train"))


def test_gateway_of_a_rail_without():
    with node_with_rail() as node:
        node.daemon(pools=[{"name": "train", "rails": [{"name": "r", "cidr": "10.0.0.0/24"}]}])
        node.refuse("ADD", 7, 'requested gateway: rail "r" has none', node.pod("a"),
                    lab.netconf(device="eth1", pool="train", args={"cni": {"allocateDefaultGateway": True}}))


def test_routing():
    with node_with_rail() as node:
        node.rail("eth2")
        node.daemon(pools=[lab.pool(rails=2, v6=True)])
        pod = node.pod("a")
        conf = [lab.netconf(name=f"rail{i}", device=f"eth{i + 1}", pool="train", rail=f"rail{i}",
                            routing={"table": "auto"}) for i in (0, 1)]
        before = node.snapshot(pod)
        for i in (0, 1):
            result = node.add(pod, conf[i], ifname=f"net{i}")
            table = pod.ip("route", "show", "table", str(100 + i)) + pod.ip("-6", "route", "show", "table", str(100 + i))
            assert f"default via 10.{i}.0.1" in table and f"10.{i}.0.0/24 dev net{i}" in table, table
            assert f"default via fd00:{i}::1" in table or f"default via fd00::1" in table, table
            rules = pod.ip("rule") + pod.ip("-6", "rule")
            for ip in result["ips"]:
                assert f"from {ip['address'].split('/')[0]} lookup {100 + i}" in rules, (ip, rules)
            assert pod.sysctl(f"ipv4/conf/net{i}/arp_ignore") == "1"
            assert pod.sysctl(f"ipv4/conf/net{i}/arp_announce") == "2"
            assert pod.sysctl(f"ipv4/conf/net{i}/rp_filter") == "2"
            assert node.cni("CHECK", pod, conf[i], ifname=f"net{i}").returncode == 0
        node.delete(pod, conf[0], ifname="net0")
        assert "lookup 101" in pod.ip("rule") and "lookup 100" not in pod.ip("rule"), "only our own rules go"
        node.delete(pod, conf[1], ifname="net1")
        lab.same(before, node.snapshot(pod))


def test_routing_without_rules():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")

        def look(result):
            assert "115" not in pod.ip("rule") and "default via 10.0.0.1" in pod.ip("route", "show", "table", "7")

        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train", routing={"table": 7, "rules": False}), look)


def test_a_rule_of_the_pod_stays():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        pod.ip("rule", "add", "from", "10.0.0.99", "lookup", "7", "protocol", "115")
        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train", routing={"table": 7}))
        assert "10.0.0.99" in pod.ip("rule")


def test_look():
    """Name, address, MTU; up or down, altnames and all of it back."""
    for up in (False, True):
        with node_with_rail(mtu=1400, mac="02:00:00:00:01:01", up=up, altnames=("enp5", "net1")) as node:
            node.daemon(pools=[lab.pool()])
            pod = node.pod("a")

            def look(result):
                assert pod.link("net1")["mtu"] == 1450 and pod.link("net1")["address"] == "02:00:00:00:00:77"
                assert pod.link("net1")["altnames"] == ["enp5"]
                assert result["interfaces"][0]["mac"] == "02:00:00:00:00:77"
                assert result["interfaces"][0]["mtu"] == 1450

            attach_and_back(node, pod, lab.netconf(device="eth1", pool="train", version="1.1.0", mtu=1450,
                                                   mac="02:00:00:00:00:77"), look)


def test_what_the_pod_changed():
    """The pod may do to its device what it likes."""
    with node_with_rail(altnames=("enp5",)) as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train")
        before = node.snapshot(pod)
        node.add(pod, conf)
        pod.ip("link", "property", "del", "dev", "net1", "altname", "enp5")
        pod.ip("link", "property", "add", "dev", "net1", "altname", "eth1")
        pod.ip("link", "set", "net1", "mtu", "1300", "address", "02:00:00:00:00:99")
        pod.ip("link", "set", "net1", "down")
        pod.ip("link", "set", "net1", "name", "mine")
        pod.ip("link", "set", "mine", "up")
        pod.ip("addr", "add", "10.7.7.7/24", "dev", "mine")
        node.delete(pod, conf)
        lab.same(before, node.snapshot(pod))


def test_macvlan_as_device():
    with lab.Node("attach") as node:
        node.rail("eth0")
        node.net.ip("link", "add", "mv0", "link", "eth0", "type", "macvlan", "mode", "bridge")
        node.daemon(pools=[lab.pool()])
        attach_and_back(node, node.pod("a"), lab.netconf(device="mv0", pool="train"))


def fake_sysfs(node, netdev):
    """A tree in which the netdev belongs to VF 0 of a PF: 0000:1a:00.1 and an auxiliary device."""
    devices = os.path.join(node.dir, "sys/bus/pci/devices")
    vf, pf = os.path.join(devices, "0000:1a:00.1"), os.path.join(devices, "0000:1a:00.0")
    for path in (f"{vf}/net/{netdev}", f"{vf}/infiniband/mlx5_7", f"{pf}/net/pf0", os.path.join(node.dir, "sys/bus/auxiliary/devices")):
        os.makedirs(path)
    os.symlink("../0000:1a:00.0", f"{vf}/physfn")
    os.symlink("../0000:1a:00.1", f"{pf}/virtfn0")
    return {"SPUR_SYSFS": os.path.join(node.dir, "sys")}


def test_hooked_pci_device():
    """By its address, and what Multus wants to know of it; sysfs is a fake, the device a veth."""
    with node_with_rail() as node:
        sysfs = fake_sysfs(node, "eth1")
        node.daemon(pools=[lab.pool()], env=sysfs)
        pod = node.pod("a")
        info = os.path.join(node.devinfo(), "net1.json")
        conf = lab.netconf(deviceID="0000:1A:00.1", pciBusID="0000:1a:00.1", pool="train", version="1.1.0",
                           runtimeConfig={"deviceID": "0000:1a:00.1", "CNIDeviceInfoFile": info})

        def look(result):
            assert result["interfaces"][0]["pciID"] == "0000:1a:00.1", result
            assert node.attachments()[0]["device"]["key"] == "pci:0000:1a:00.1"
            with open(info, encoding="utf-8") as f:
                assert json.load(f) == {"type": "pci", "version": "1.1.0", "pci": {
                    "pci-address": "0000:1a:00.1", "pf-pci-address": "0000:1a:00.0", "rdma-device": "mlx5_7"}}

        attach_and_back(node, pod, conf, look, **sysfs)
        assert os.listdir(os.path.dirname(info)) == []
        for k in itertools.count(1):
            before = node.snapshot(pod)
            got = node.cni("ADD", pod, conf, SPUR_FAIL_STEP=f"apply:{k}", **sysfs)
            if got.returncode == 0:
                break
            lab.same(before, node.snapshot(pod))
            assert os.listdir(os.path.dirname(info)) == [], "nor is the file left"
        node.delete(pod, conf)


def test_no_ipam():
    with node_with_rail() as node:
        node.daemon()
        for conf in (lab.netconf(device="eth1"), lab.netconf(device="eth1", ipam={})):
            attach_and_back(node, node.pod(f"p{len(conf)}"), conf,
                            lambda result: lab.same(("ips" in result, "routes" in result), (False, False)))


def test_versions():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v6=True)])
        for version in ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"):
            def look(result, version=version):
                assert result["cniVersion"] == version
                families = [ip.get("version") for ip in result["ips"]]
                assert families == (["4", "6"] if version < "1.0.0" else [None, None]), result
                assert ("mtu" in result["interfaces"][0]) == (version == "1.1.0"), result
            attach_and_back(node, node.pod(version), lab.netconf(device="eth1", pool="train", version=version), look)


def test_static():
    asked = {"runtimeConfig": {"ips": ["10.0.0.50/24"], "mac": "02:00:00:00:00:50"}}
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")

        def look(_):
            assert pod.addresses("net1") == ["10.0.0.50/24"] and pod.link("net1")["address"] == "02:00:00:00:00:50"

        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train", capabilities={"ips": True}, **asked), look)
        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train"), look,
                        args="IgnoreUnknown=1;MAC=02:00:00:00:00:50;IP=10.0.0.50")


def test_dad():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v6=True)])
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train", dad=True)
        begun = time.monotonic()
        attach_and_back(node, pod, conf, lambda _: lab.same("tentative" in json.dumps(pod.link("net1")), False))
        assert time.monotonic() - begun > 0.9, "detection takes a second"


def test_dad_finds_another():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v4=False, v6=True)])
        pod = node.pod("a")
        node.net.ip("addr", "add", "fd00::50/64", "dev", "eth1p", "nodad")
        lab.wait_for(lambda: "fd00::50" in node.net.ip("-6", "route", "show", "table", "local"), what="it is in force")
        before = node.snapshot(pod)
        conf = lab.netconf(device="eth1", pool="train", dad=True, runtimeConfig={"ips": ["fd00::50"]})
        node.refuse("ADD", 101, "another node answers", pod, conf)
        lab.same(before, node.snapshot(pod))


def learns_from_anyone(node):
    node.net.sh("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth1p/arp_accept")


def test_neighbours_are_told():
    """Before anybody asks: whoever has an old entry for the address need not wait until it ages."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        node.net.ip("addr", "add", "10.0.0.1/24", "dev", "eth1p")
        learns_from_anyone(node)
        conf = lab.netconf(device="eth1", pool="train", mac="02:00:00:00:00:50", runtimeConfig={"ips": ["10.0.0.50"]})
        node.add(node.pod("a"), conf)
        lab.wait_for(lambda: "02:00:00:00:00:50" in node.net.ip("neigh", "show", "10.0.0.50"), 2, "the neighbour learns")


def test_late_carrier():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        node.net.ip("link", "set", "eth1p", "down")
        before = node.snapshot(pod)
        conf = lab.netconf(device="eth1", pool="train", ready={"timeout_ms": 300})
        got = node.refuse("ADD", 11, "no carrier within 300 ms", pod, conf)
        assert "step" in got.msg, got
        lab.same(before, node.snapshot(pod))
        node.add(pod, lab.netconf(device="eth1", pool="train"))  # nobody insisted
        node.delete(pod, conf)
        lab.same(before, node.snapshot(pod))
        node.net.ip("addr", "add", "10.0.0.1/24", "dev", "eth1p")
        call = node.popen("ADD", pod, {**conf, "ready": {"timeout_ms": 5000}, "runtimeConfig": {"ips": ["10.0.0.50"]}})
        time.sleep(0.5)
        assert call.poll() is None, "it waits"
        learns_from_anyone(node)
        node.net.ip("link", "set", "eth1p", "up")
        got = node.finish(call)
        assert got.returncode == 0, got
        mac = pod.link("net1")["address"]
        lab.wait_for(lambda: mac in node.net.ip("neigh", "show", "10.0.0.50"), 2, "told when the carrier came")


def traced(node, calls):
    """A program that is spur under strace, and the file that tells of these system calls. (Where it is built with
    sanitizers the search for leaks cannot trace it, too, and fails.)"""
    if not shutil.which("strace"):
        lab.skip("strace")
    trace, spur = f"{node.dir}/trace", f"{node.dir}/spur"
    with open(spur, "w", encoding="ascii") as f:
        f.write(f'#!/bin/sh\nexec strace -E ASAN_OPTIONS=detect_leaks=0 -o {trace} -e trace={calls} {lab.program("spur")}\n')
    os.chmod(spur, 0o755)
    return spur, trace


def test_waits_without_asking():
    """200 ms pass without a carrier, quietly or among the events of another device of the pod: two looks more."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        spur, trace = traced(node, "sendto")
        pod.ip("link", "add", "other", "type", "veth", "peer", "name", "far")
        node.net.ip("link", "set", "eth1p", "down")
        conf = lab.netconf(device="eth1", pool="train")
        flaps = "link set other up\nlink set other down\n" * 200
        asked = {}
        for how in ("not at all", "quietly", "among others"):
            call = node.popen("ADD", pod, {**conf, "ready": {"timeout_ms": 0}} if how == "not at all" else conf, binary=spur)
            lab.wait_for(lambda: "net1" in pod.links(), what="the device is in the pod")
            if how == "among others":
                pod.ip("-batch", "-", input=flaps)
            assert node.finish(call).returncode == 0
            with open(trace, encoding="utf-8") as f:
                asked[how] = f.read().count("sendto(")
            node.delete(pod, conf)
        # One more for what the kernel may tell late of the device itself.
        assert max(asked.values()) <= asked["not at all"] + 3, asked


def test_check_names_the_difference():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(v6=True)])
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train", version="1.1.0", routing={"table": "auto"})
        result = node.add(pod, conf)
        v4 = result["ips"][0]["address"]
        damages = (
            ("MTU is 1300", "ip link set net1 mtu 1300", "ip link set net1 mtu 1500"),
            ("address is 02:00:00:00:00:99", "ip link set net1 address 02:00:00:00:00:99", f"ip link set net1 address {result['interfaces'][0]['mac']}"),
            (f"rule from {v4.split('/')[0]}", f"ip rule del from {v4.split('/')[0]}", f"ip rule add from {v4.split('/')[0]} lookup 100 priority 1000 protocol 115"),
            ("route 0.0.0.0/0", "ip route del default table 100", "ip route add default via 10.0.0.1 table 100"),
            (f"address {v4}", f"ip addr del {v4} dev net1", None),
        )
        for words, damage, repair in damages:
            pod.sh(*damage.split())
            node.refuse("CHECK", 104, words, pod, conf)
            node.refuse("CHECK", 104, words, pod, {**conf, "prevResult": result})
            if repair:
                pod.sh(*repair.split())
                got = node.cni("CHECK", pod, conf)
                assert got.returncode == 0, got
        got = node.refuse("ADD", 104, "stands, but not as asked", pod, conf)
        assert "DEL" in got.json["details"], got
        pod.ip("link", "set", "net1", "down")
        node.refuse("CHECK", 104, "", pod, conf)
        node.delete(pod, conf)
        node.refuse("CHECK", 104, "no such attachment", pod, conf)


def test_check_of_what_nobody_states():
    """MTU, hardware address, routes and foreign addresses that prevResult is silent of are not judged."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool(routes=[{"dst": "0.0.0.0/0"}])])
        foreign_ipam(node)
        pod = node.pod("a")
        for ipam in ({"type": "spur-ipam", "pool": "train"}, {"type": "other"}):
            conf = lab.netconf(device="eth1", ipam=ipam)
            result = node.add(pod, conf)
            silent = {"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": pod.path}]}
            pod.ip("link", "set", "net1", "mtu", "1300", "address", "02:00:00:00:00:99")
            pod.ip("route", "del", "default")
            assert node.cni("CHECK", pod, {**conf, "prevResult": silent}).returncode == 0
            node.refuse("CHECK", 104, "should be", pod, {**conf, "prevResult": {**silent, "interfaces": result["interfaces"]}})
            node.refuse("CHECK", 104, "0.0.0.0/0", pod, {**conf, "prevResult": {**silent, "routes": result["routes"]}})
            pod.ip("addr", "flush", "dev", "net1", "scope", "global")
            node.refuse("CHECK", 104, "is missing", pod, {**conf, "prevResult": result | {"interfaces": silent["interfaces"], "routes": []}})
            if ipam["type"] == "other":
                assert node.cni("CHECK", pod, {**conf, "prevResult": silent}).returncode == 0
            else:  # the ledger's own
                node.refuse("CHECK", 104, "is missing", pod, {**conf, "prevResult": silent})
            node.delete(pod, conf)


def test_repeated_add_that_asks_for_something_else():
    """What stands is told, unless the request contradicts it."""
    pools = [lab.pool("train", rails=2), {**lab.pool("other"), "rails": [{"name": "r", "cidr": "10.9.0.0/24"}]}]
    with node_with_rail() as node:
        node.daemon(pools=pools)
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train", rail="rail0", version="1.1.0")
        result = node.add(pod, conf)
        address = result["ips"][0]["address"]
        index = node.attachments()[0]["rail"]["index"]
        for keys, words in (
            ({"ipam": {"type": "spur-ipam", "pool": "other"}}, 'pool "other" was asked for'),
            ({"ipam": {"type": "spur-ipam", "pool": "train", "rail": "rail1"}}, 'rail "rail1" was asked for'),
            ({"runtimeConfig": {"ips": ["10.0.0.77"]}}, "address 10.0.0.77 was asked for"),
            ({"args": {"cni": {"allocateIPWithIndex": index + 1}}}, f"index {index + 1} was asked for"),
            ({"mtu": 9000}, "MTU is 1500"),
            ({"mac": "02:00:00:00:00:77"}, "address is"),
            ({"routing": {"table": 7}}, "table 7 is missing"),
        ):
            got = node.refuse("ADD", 104, words, pod, {**conf, **keys})
            assert "stands, but not as asked" in got.msg and "DEL" in got.json["details"], got
        for keys in ({}, {"mtu": 1500}, {"runtimeConfig": {"ips": [address]}}, {"args": {"cni": {"allocateIPWithIndex": index}}}):
            assert node.add(pod, {**conf, **keys}) == result
        pod.ip("link", "set", "net1", "mtu", "1300", "address", "02:00:00:00:00:99")
        is_there = {**result["interfaces"][0], "mtu": 1300, "mac": "02:00:00:00:00:99"}
        assert node.add(pod, conf)["interfaces"] == [is_there]
        pod.ip("link", "set", "net1", "down")
        node.refuse("ADD", 104, "is down", pod, conf)
        node.delete(pod, conf)


def test_check_believes_the_chain():
    """A later plugin may have set another address and MTU: prevResult says so."""
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train", version="1.1.0")
        result = node.add(pod, conf)
        pod.ip("link", "set", "net1", "mtu", "1300", "address", "02:00:00:00:00:99")
        node.refuse("CHECK", 104, "net1", pod, {**conf, "prevResult": result})
        result["interfaces"][0].update(mac="02:00:00:00:00:99", mtu=1300)
        assert node.cni("CHECK", pod, {**conf, "prevResult": result}).returncode == 0
        result["ips"].append({"address": "10.77.0.1/24", "interface": 0})
        node.refuse("CHECK", 104, "10.77.0.1/24", pod, {**conf, "prevResult": result})
        node.delete(pod, conf)


def test_chained():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        prev = {"cniVersion": "1.0.0", "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": pod.path}],
                "ips": [{"address": "10.9.0.2/24", "interface": 1}], "dns": {"nameservers": ["10.9.0.1"]}}

        def look(result):
            assert result["interfaces"][:2] == prev["interfaces"] and result["dns"] == prev["dns"]
            assert [ip["interface"] for ip in result["ips"]] == [1, 2], result

        attach_and_back(node, pod, lab.netconf(device="eth1", pool="train", prevResult=prev), look)
        prev["interfaces"].append({"name": "net1", "sandbox": pod.path})
        node.refuse("ADD", 7, "main plugin has made the interface", pod, lab.netconf(device="eth1", pool="train", prevResult=prev))


FOREIGN = """#!/bin/sh
# an IPAM that writes down how it was called
{{ echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $(readlink /proc/self/ns/net)"; cat; echo; }} >> {log}
echo "words on stderr" >&2
case $CNI_COMMAND in
ADD) {add} ;;
DEL) {delete} ;;
CHECK|GC|STATUS) [ ! -e {log}.fail ] || {{ echo '{{"code": 123, "msg": "as told"}}'; exit 1; }} ;;
esac
"""
GIVES = """echo '{"cniVersion":"1.0.0","ips":[{"address":"10.44.0.2/24","gateway":"10.44.0.1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.44.0.3"]}}'"""


def foreign_ipam(node, add=GIVES, delete=":"):
    """Installs the IPAM `other`; returns a function that tells (and forgets) how it was called."""
    log = os.path.join(node.dir, "other.log")
    os.makedirs(os.path.join(node.dir, "plugins"), exist_ok=True)
    path = os.path.join(node.dir, "plugins", "other")
    with open(path, "w", encoding="utf-8") as f:
        f.write(FOREIGN.format(log=log, add=add, delete=delete))
    os.chmod(path, 0o755)

    def calls():
        if not os.path.exists(log):
            return []
        with open(log, encoding="utf-8") as f:
            lines = f.read().splitlines()
        os.remove(log)
        return [(lines[i], json.loads(lines[i + 1])) for i in range(0, len(lines), 2)]

    calls.fail = log + ".fail"
    return calls


def verbs(calls):
    return [head.split()[0] for head, _ in calls]


def test_foreign_ipam():
    with node_with_rail() as node:
        node.daemon()
        calls = foreign_ipam(node)
        pod = node.pod("a")
        host = node.net.sh("readlink", "/proc/self/ns/net").strip()
        before = node.snapshot(pod)
        conf = lab.netconf(device="eth1", version="1.1.0", ipam={"type": "other", "any": [1]},
                           runtimeConfig={"ips": ["10.44.0.9"]}, routing={"table": 9})
        got = node.cni("ADD", pod, conf)
        assert got.returncode == 0 and "words on stderr" in got.stderr, got
        assert got.json["dns"] == {"nameservers": ["10.44.0.3"]} and got.json["ips"][0]["interface"] == 0, got
        ((head, stdin),) = calls()
        assert head == f"ADD ctr-a net1 {host}", "called in the host's namespace"
        assert stdin["runtimeConfig"] == conf["runtimeConfig"] and stdin["ipam"] == conf["ipam"], stdin
        assert pod.addresses("net1") == ["10.44.0.2/24"]
        assert "default via 10.44.0.1" in pod.ip("route", "show", "table", "9")
        assert node.cni("CHECK", pod, {**conf, "prevResult": got.json}).returncode == 0
        ((_, stdin),) = calls()
        assert stdin["prevResult"] == got.json
        open(calls.fail, "w").close()
        node.refuse("CHECK", 123, "as told", pod, conf)
        node.refuse("STATUS", 123, "as told", pod, conf)
        node.refuse("GC", 123, "as told", pod, {**conf, "cni.dev/valid-attachments": []})
        os.remove(calls.fail)
        assert node.cni("STATUS", pod, conf).returncode == 0
        assert verbs(calls()) == ["CHECK", "STATUS", "GC", "STATUS"]
        node.delete(pod, {**conf, "ipam": {"type": "no-more"}})
        ((head, _),) = calls()
        assert head == f"DEL ctr-a net1 {host}", "with the record's own configuration"
        lab.same(before, node.snapshot(pod))
        node.delete(pod, conf)
        assert verbs(calls()) == ["DEL"], "no record, but its own books"


def test_foreign_ipam_fails():
    bad = (
        ("""echo '{"code": 77, "msg": "no more", "details": "at all"}'; exit 1""", 77, "no more"),
        ("exit 3", 100, "exit status 3"),
        ("kill -9 $$", 100, "signal 9"),
        ("echo rubbish", 6, "its answer"),
        ("echo '{}'", 5, "no address"),
        ("""echo '{"ips":[{"address":"10.0.0.300/1"}]}'""", 7, "ips"),
        ("head -c 2000000 /dev/zero", 5, "more than"),
        ("""echo '{"ips":[{"address":"127.0.0.5/8"}]}'""", 5, "loopback"),
        ("""echo '{"ips":[{"address":"10.44.0.2/24"},{"address":"ff02::1/64"}]}'""", 5, "multicast"),
        ("""echo '{"ips":[{"address":"0.0.0.0/0"}]}'""", 5, "0.0.0.0/0"),
        ("""echo '{"ips":[{"address":"10.44.0.2/24","gateway":"224.0.0.1"}]}'""", 5, "gateway"),
        ("""echo '{"code": 0, "msg": "nothing is wrong"}'; exit 1""", 100, "nothing is wrong"),
        ("""echo '{"code": 4294967307, "msg": "more than 32 bits"}'; exit 1""", 100, "more than 32 bits"),
        ("""echo '{"code": -5, "msg": "less than nothing"}'; exit 1""", 100, "less than nothing"),
        ("""echo '{"code": "11", "msg": "a word"}'; exit 1""", 100, "exit status 1"),
    )
    with node_with_rail() as node:
        node.daemon()
        pod = node.pod("a")
        before = node.snapshot(pod)
        for add, code, words in bad:
            calls = foreign_ipam(node, add)
            node.refuse("ADD", code, words, pod, lab.netconf(device="eth1", ipam={"type": "other"}))
            assert verbs(calls()) == ["ADD", "DEL"], "its DEL follows"
            lab.same(before, node.snapshot(pod))
        node.refuse("ADD", 4, "not-there", pod, lab.netconf(device="eth1", ipam={"type": "not-there"}))
        lab.same(before, node.snapshot(pod))


def test_foreign_ipam_and_a_later_failure():
    with node_with_rail() as node:
        node.daemon()
        calls = foreign_ipam(node)
        pod = node.pod("a")
        pod.ip("link", "add", "net1", "type", "veth", "peer", "name", "x")
        before = node.snapshot(pod)
        node.refuse("ADD", 103, "net1", pod, lab.netconf(device="eth1", ipam={"type": "other"}))
        assert verbs(calls()) == ["ADD", "DEL"]
        lab.same(before, node.snapshot(pod))


def test_foreign_ipam_whose_del_fails():
    """Its failure is ours, and the next DEL finds everything it needs."""
    with node_with_rail() as node:
        node.daemon()
        calls = foreign_ipam(node, delete="""echo '{"code": 88, "msg": "not now"}'; exit 1""")
        pod = node.pod("a")
        before = node.snapshot(pod)
        conf = lab.netconf(device="eth1", ipam={"type": "other"})
        node.add(pod, conf)
        node.refuse("DEL", 88, "not now", pod, conf)
        calls = foreign_ipam(node)
        node.delete(pod, conf)
        assert "DEL" in verbs(calls())
        lab.wait_for(lambda: not node.attachments(), what="the record goes")
        lab.same(before, node.snapshot(pod))


def test_foreign_ipam_that_is_gone():
    """The device comes home, the error names where it was looked for, and no DEL or GC fails for ever."""
    with node_with_rail() as node:
        node.daemon()
        foreign_ipam(node)
        pod = node.pod("a")
        before = node.snapshot(pod)
        conf = lab.netconf(version="1.1.0", device="eth1", ipam={"type": "other"})
        node.add(pod, conf)
        path = os.path.join(node.dir, "plugins", "other")
        os.rename(path, path + ".away")
        node.refuse("STATUS", 4, f"CNI_PATH ({node.dir}/plugins:", pod, conf)
        node.refuse("CHECK", 4, f"find other in the directories of CNI_PATH ({node.dir}/plugins:", pod, conf)
        node.refuse("DEL", 4, f"find other in the directories of CNI_PATH ({node.dir}/plugins:", pod, conf)
        lab.same(before, node.snapshot(pod))
        for verb, more in (("DEL", {}), ("DEL", {}), ("GC", {"cni.dev/valid-attachments": []})):
            got = node.cni(verb, pod, {**conf, **more})
            assert got.returncode == 0 and "warning" in got.stderr and f"{node.dir}/plugins" in got.stderr, got
        lab.same(before, node.snapshot(pod))


def test_foreign_ipam_is_gone_in_an_undo():
    """The daemon undoes what has died and what was spooled, and goes on with the rest."""
    with node_with_rail() as node:
        node.rail("eth2")
        node.daemon(pools=[lab.pool("train")])
        foreign_ipam(node)
        before = node.snapshot()
        pods = [node.pod("a"), node.pod("b")]
        first = lab.netconf(device="eth1", ipam={"type": "other"})
        second = lab.netconf(name="rail1", device="eth2", pool="train")
        node.add(pods[0], first)
        node.add(pods[1], second)
        os.remove(os.path.join(node.dir, "plugins", "other"))
        node.stop()
        node.delete(pods[0], first)
        node.delete(pods[1], second)
        node.start()
        lab.wait_for(lambda: not node.attachments(), 30, "both are undone")
        lab.same(before, node.snapshot())
        spool = os.path.join(os.path.dirname(node.socket), "spool")
        lab.wait_for(lambda: not os.listdir(spool), 30, "the spool is empty")


def test_foreign_ipam_that_hangs():
    """In the DEL after a failed ADD: the release has time left all the same."""
    with node_with_rail() as node:
        node.daemon()
        calls = foreign_ipam(node, add="echo rubbish", delete="exec sleep 600")
        pod = node.pod("a")
        before = node.snapshot(pod)
        node.refuse("ADD", 6, "its answer", pod, lab.netconf(device="eth1", ipam={"type": "other"}))
        assert verbs(calls()) == ["ADD", "DEL"]
        lab.same(before, node.snapshot(pod))


LITTERS = "sleep 600 & echo $! > {left}; " + GIVES


def test_foreign_ipam_that_leaves_a_process_behind():
    """With its stdout open: the answer was whole when the IPAM itself had ended."""
    with node_with_rail() as node:
        node.daemon()
        left = os.path.join(node.dir, "left")
        calls = foreign_ipam(node, add=LITTERS.replace("{left}", left))
        pod = node.pod("a")
        before = node.snapshot(pod)
        conf = lab.netconf(device="eth1", ipam={"type": "other"})
        p = node.popen("ADD", pod, conf)
        try:
            assert json.loads(p.stdout.readline())["ips"][0]["address"] == "10.44.0.2/24"
            assert p.wait(30) == 0
        finally:
            with open(left, encoding="ascii") as f:
                os.kill(int(f.read()), signal.SIGKILL)
        node.delete(pod, conf)
        assert verbs(calls()) == ["ADD", "DEL"]
        lab.same(before, node.snapshot(pod))


def test_foreign_ipam_is_not_waited_for_asleep():
    """Its end is told by the kernel: no pause is slept for it."""
    with node_with_rail() as node:
        node.daemon()
        foreign_ipam(node)
        spur, trace = traced(node, "poll,ppoll,select,pselect6,nanosleep,clock_nanosleep")
        conf = lab.netconf(device="eth1", version="1.1.0", ipam={"type": "other"})
        for _ in range(5):
            assert node.cni("STATUS", node.pods[0] if node.pods else node.pod("a"), conf, binary=spur).returncode == 0
            with open(trace, encoding="utf-8") as f:
                calls = f.read()
            assert "poll" in calls and not re.search(r"sleep\(|select|poll\(NULL", calls), calls


def test_host_local():
    lab.plugin("host-local")
    with node_with_rail() as node:
        node.daemon()
        ipam = {"type": "host-local", "dataDir": os.path.join(node.dir, "hl"),
                "ranges": [[{"subnet": "10.45.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
        attach_and_back(node, node.pod("a"), lab.netconf(device="eth1", ipam=ipam))
        assert not [f for f in os.listdir(os.path.join(node.dir, "hl", "rail0")) if f.startswith("10.")]


def test_spur_ipam():
    with lab.Node("attach") as node:
        node.daemon(pools=[lab.pool(v6=True)])
        pod = node.pod("a")
        conf = {"cniVersion": "0.4.0", "name": "lan", "type": "macvlan", "master": "eth0", "mtu": "odd",
                "ipam": {"type": "spur-ipam", "pool": "train", "socket": node.socket}}
        before = node.snapshot(pod)
        result = node.add(pod, conf, binary="spur-ipam")
        assert sorted(result) == ["cniVersion", "dns", "ips"] and [ip["version"] for ip in result["ips"]] == ["4", "6"], result
        assert node.attachments()[0]["request"]["program"] == "spur-ipam"
        assert node.add(pod, conf, binary="spur-ipam") == result
        assert node.cni("CHECK", pod, conf, binary="spur-ipam").returncode == 0
        assert node.cni("STATUS", pod, {**conf, "cniVersion": "1.1.0"}, binary="spur-ipam").returncode == 0
        node.delete(pod, conf, binary="spur-ipam")
        lab.same(before, node.snapshot(pod))
        node.delete(pod, conf, binary="spur-ipam")
        node.refuse("CHECK", 104, "no such attachment", pod, conf, binary="spur-ipam")


def test_spur_ipam_under_macvlan():
    os.environ["MACVLAN_BIN"] = lab.plugin("macvlan")  # a program as lab.program() finds it
    with node_with_rail(up=True) as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        conf = {"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth1",
                "ipam": {"type": "spur-ipam", "pool": "train", "socket": node.socket}}
        before = node.snapshot(pod)
        result = node.add(pod, conf, binary="macvlan")
        assert pod.addresses("net1") == [result["ips"][0]["address"]]
        node.delete(pod, conf, binary="macvlan")
        lab.same(before, node.snapshot(pod))


def test_status():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train", version="1.1.0")
        assert node.cni("STATUS", pod, conf).returncode == 0
        node.refuse("STATUS", 50, "nopool", pod, lab.netconf(device="eth1", pool="nopool", version="1.1.0"))
        node.stop()
        node.refuse("STATUS", 50, "spur-ipamd", pod, conf)


def test_status_of_a_daemon_that_hangs():
    """It can still be connected to: that alone proves nothing, with a pool or without."""
    with node_with_rail() as node:
        node.daemon()
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", version="1.1.0")
        assert node.cni("STATUS", pod, conf).returncode == 0
        node.ipamd.send_signal(signal.SIGSTOP)
        try:
            node.refuse("STATUS", 50, "read the answer of spur-ipamd", pod, conf)
        finally:
            node.ipamd.send_signal(signal.SIGCONT)
        assert node.cni("STATUS", pod, conf).returncode == 0


def test_status_of_many_pools():
    """More than one page of pool.list has; and one that an edit has taken away, but that still holds something."""
    with node_with_rail() as node:
        rails = [[{"name": f"rail{r}", "cidr": f"10.{p}.{r}.0/24"} for r in range(8)] for p in range(60)]
        pools = [{"name": f"pool{p}", "rails": rails[p]} for p in range(60)]
        node.daemon(pools=pools)
        pod = node.pod("a")
        for p in (0, 40, 59):
            conf = lab.netconf(device="eth1", pool=f"pool{p}", rail="rail0", version="1.1.0")
            assert node.cni("STATUS", pod, conf).returncode == 0, p
        node.add(pod, conf)
        with open(node.config, encoding="utf-8") as f:
            config = json.load(f)
        node.stop()
        node.daemon(**{**config, "pools": pools[:59]})
        node.refuse("STATUS", 50, 'pool "pool59": is not configured', pod, conf)


def test_log():
    with node_with_rail() as node:
        node.daemon(pools=[lab.pool()])
        pod = node.pod("a")
        log = os.path.join(node.dir, "spur.log")
        conf = lab.netconf(device="eth1", pool="train", logFile=log, logLevel="debug")
        got = node.cni("ADD", pod, conf)
        assert got.returncode == 0 and not got.stderr, got
        node.delete(pod, conf)
        with open(log, encoding="utf-8") as f:
            text = f.read()
        assert "move eth1 into the pod as net1" in text and "undo" in text, text
        assert stat.S_IMODE(os.stat(log).st_mode) == 0o600
        got = node.refuse("ADD", 102, "eth9", pod, {**conf, "device": "eth9"})
        with open(log, encoding="utf-8") as f:
            assert f.read().count(got.msg) == 1, "a failure is logged once"
        got = node.cni("ADD", pod, {**conf, "logFile": "/proc/nowhere/log"})
        assert got.returncode == 0, "a log that cannot be opened is not worth a pod"
        node.delete(pod, {**conf, "logFile": 7})


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
