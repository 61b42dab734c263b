# SPDX-License-Identifier: Apache-2.0
"""Spur first in a chain of Debian's own plugins, called as libcni calls one: ADD in order, each with
the result so far; CHECK in order and DEL in reverse, each with the last result. And by libcni itself.

Plugins 1.1.1 speak 0.3.1 to 1.0.0, where no result has an MTU; `sbr` moves routes and `tuning`
changes the device behind our back, and CHECK must know what is theirs.
"""

import json
import os
import shutil

import cnitool
import peer
from peer import lab

VERSIONS = ("0.3.1", "0.4.0", "1.0.0")
ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "10.99.0.0/16"}]
SPUR = {"type": "spur", "device": "eth1", "ipam": {"type": "spur-ipam", "pool": "train"}}
OTHER_MAC = "02:00:00:00:00:99"


class Chain:
    """A network of several plugins and a pod attached to it."""

    def __init__(self, node, version, *plugins, pod="a"):
        self.node, self.version, self.plugins = node, version, plugins
        self.pod = next((p for p in node.pods if p.name.endswith(f"-{pod}")), None) or node.pod(pod)
        self.result = None

    def call(self, verb, plugin, prev):
        binary = lab.program("spur") if plugin["type"] == "spur" else lab.plugin(plugin["type"])
        conf = {"cniVersion": self.version, "name": "rails", **plugin, **({"prevResult": prev} if prev else {})}
        return self.node.cni(verb, self.pod, conf, binary=binary)

    def add(self):
        """Returns the answer of the plugin that fails, or of the last."""
        result = None
        for plugin in self.plugins:
            got = self.call("ADD", plugin, result)
            if got.returncode != 0:
                return got
            result = got.json
        self.result = result
        return got

    def check(self):
        """Returns the first failure, or the last answer."""
        for plugin in self.plugins:
            got = self.call("CHECK", plugin, self.result)
            if got.returncode != 0:
                return got
        return got

    def delete(self):
        for plugin in reversed(self.plugins):
            got = self.call("DEL", plugin, self.result)
            assert got.returncode == 0, (plugin["type"], got)

    def is_good(self):
        if self.version >= "0.4.0":
            got = self.check()
            assert got.returncode == 0, (self.version, got)

    def drifts(self, words, *damage):
        """After this change in the pod Spur's CHECK says so."""
        self.pod.ip(*damage)
        got = self.check()
        assert got.code == 104 and words in got.msg, (words, got)


def node_with(routes=None, **pool):
    peer.need()
    node = lab.Node("chain")
    node.rail("eth1")
    node.daemon(pools=[lab.pool("train", routes=routes, **pool)])
    return node


def attach_and_back(*plugins, routes=None, look=lambda chain: None, **pool):
    """In every version: ADD, CHECK, look, DEL; everything as before."""
    with node_with(routes, **pool) as node:
        for version in VERSIONS:
            chain = Chain(node, version, *plugins)
            before = node.snapshot(chain.pod)
            got = chain.add()
            assert got.returncode == 0, (version, got)
            chain.is_good()
            look(chain)
            chain.delete()
            lab.same(before, node.snapshot(chain.pod))


# -- sbr


def test_sbr():
    """It moves every route of the device into a table of its own, and prevResult does not say so."""
    def look(chain):
        table = chain.pod.ip("route", "show", "table", "100")
        assert "default via 10.0.0.1" in table and "10.99.0.0/16" in table, table
        assert not chain.pod.ip("route").strip(), "nothing is left in main"
        if chain.version >= "0.4.0":
            chain.drifts("route 10.99.0.0/16", "route", "del", "10.99.0.0/16", "table", "100")
    attach_and_back(SPUR, {"type": "sbr"}, routes=ROUTES, look=look)


def test_sbr_v6():
    attach_and_back(SPUR, {"type": "sbr"}, v6=True, v4=False, routes=[{"dst": "::/0"}, {"dst": "fd99::/32"}])


def test_sbr_behind_routing():
    """Spur's own table and rules stay where they are; a rule that is gone is drift."""
    def look(chain):
        assert "lookup 100" in chain.pod.ip("rule") and "lookup 101" in chain.pod.ip("rule")
        if chain.version >= "0.4.0":
            chain.drifts("lookup 100", "rule", "del", "lookup", "100")
            chain.pod.ip("rule", "add", "from", chain.pod.addresses("net1")[0].split("/")[0], "lookup", "100",
                         "priority", "1000", "protocol", "115")
            chain.is_good()
            chain.drifts("table 100 is missing", "route", "del", "default", "table", "100")
    attach_and_back({**SPUR, "routing": {"table": "auto"}}, {"type": "sbr"}, routes=ROUTES, look=look)


# -- tuning


def tuning(node, **keys):
    return {"type": "tuning", "dataDir": os.path.join(node.dir, "tuning"), **keys}


TUNINGS = (
    {"mtu": 1400},
    {"mac": OTHER_MAC},
    {"promisc": True},
    {"allmulti": True},
    {"sysctl": {"net.ipv4.conf.net1.arp_filter": "1"}},
    {"mtu": 1300, "mac": OTHER_MAC, "promisc": True, "sysctl": {"net.ipv6.conf.net1.accept_ra": "0"}},
)


def test_tuning():
    """What it sets is no drift; an address that prevResult states, and that is another by now, is."""
    with node_with() as node:
        for version in VERSIONS:
            for keys in TUNINGS:
                chain = Chain(node, version, SPUR, tuning(node, **keys))
                before = node.snapshot(chain.pod)
                got = chain.add()
                assert got.returncode == 0, (version, keys, got)
                link = chain.pod.link("net1")
                assert link["mtu"] == keys.get("mtu", 1500) and link["address"] == keys.get("mac", link["address"]), link
                chain.is_good()
                if version >= "0.4.0":
                    chain.drifts("address is 02:00:00:00:00:77", "link", "set", "net1", "address", "02:00:00:00:00:77")
                chain.delete()
                lab.same(before, node.snapshot(chain.pod))


def test_repeated_behind_tuning():
    """What is there is told; only what contradicts the request is refused."""
    with node_with(ROUTES) as node:
        chain = Chain(node, "1.0.0", SPUR, tuning(node, mtu=1400, mac=OTHER_MAC), {"type": "sbr"})
        assert chain.add().returncode == 0
        mtu = lambda result: result["interfaces"][0].get("mtu")  # noqa: E731
        again = chain.call("ADD", SPUR, None)
        assert again.returncode == 0 and again.json == chain.result, (again, chain.result)
        chain.pod.ip("route", "del", "default", "table", "100")
        again = chain.call("ADD", SPUR, None)
        assert [r["dst"] for r in again.json["routes"]] == ["10.99.0.0/16"], again
        chain.version = "1.1.0"
        again = chain.call("ADD", SPUR, None)
        assert mtu(again.json) == 1400, again
        for keys, words in (({"mtu": 1500}, "MTU is 1400"), ({"mac": "02:00:00:00:00:77"}, f"address is {OTHER_MAC}")):
            got = chain.call("ADD", {**SPUR, **keys}, None)
            assert got.code == 104 and words in got.msg and "DEL" in got.json["details"], got
        assert chain.call("ADD", {**SPUR, "mtu": 1400, "mac": OTHER_MAC}, None).returncode == 0
        chain.version = "1.0.0"
        chain.delete()


# -- routes that Multus takes out


def test_default_route_taken():
    """Multus takes it from the pod and from the result that it keeps; nobody misses it then."""
    with node_with(ROUTES) as node:
        for version in ("0.4.0", "1.0.0", "1.1.0"):
            chain = Chain(node, version, SPUR)
            assert chain.add().returncode == 0
            chain.drifts("route 0.0.0.0/0", "route", "del", "default")
            for ip in chain.result["ips"]:
                ip.pop("gateway")
            chain.result["routes"] = [r for r in chain.result["routes"] if r["dst"] != "0.0.0.0/0"]
            chain.is_good()
            chain.drifts("route 10.99.0.0/16", "route", "del", "10.99.0.0/16")
            chain.result["routes"].append({"dst": "10.55.0.0/16", "gw": "10.44.0.1"})
            chain.result["routes"] = chain.result["routes"][1:]
            chain.is_good()  # another plugin's route is that plugin's to CHECK
            chain.delete()


# -- bandwidth


def test_bandwidth_without_limits():
    """As in a cluster's list, where pods say the limits: most have none. Its ADD does nothing then;
    its CHECK looks for a veth all the same, and that is its own affair."""
    with node_with() as node:
        for version in VERSIONS:
            chain = Chain(node, version, SPUR, {"type": "bandwidth", "capabilities": {"bandwidth": True}})
            before = node.snapshot(chain.pod)
            assert chain.add().returncode == 0
            if version >= "0.4.0":
                assert chain.call("CHECK", SPUR, chain.result).returncode == 0
            chain.delete()
            lab.same(before, node.snapshot(chain.pod))


LIMITS = {"type": "bandwidth", "ingressRate": 10**7, "ingressBurst": 10**7, "egressRate": 10**7, "egressBurst": 10**7}


def test_bandwidth_of_a_device():
    """It shapes at the other end of a veth, of which our result says nothing: refused, and all comes back."""
    with node_with() as node:
        chain = Chain(node, "1.0.0", SPUR, LIMITS)
        before = node.snapshot(chain.pod)
        got = chain.add()
        assert got.returncode == 1 and "no veth peer" in got.msg, got
        chain.delete()
        lab.same(before, node.snapshot(chain.pod))


def test_bandwidth_at_the_far_end():
    """Where something in between names that end, it shapes there, and adds an interface to the result."""
    with node_with() as node:
        for args in (("add", "probe", "type", "ifb"), ("del", "probe")):
            try:
                node.net.ip("link", *args)
            except AssertionError as e:
                lab.skip(f"ifb in this kernel ({e})")
        chain = Chain(node, "1.0.0", SPUR, LIMITS)
        before = node.snapshot(chain.pod)
        first = chain.call("ADD", SPUR, None)
        named = {**first.json, "interfaces": [*first.json["interfaces"], {"name": "eth1p", "mac": node.net.link("eth1p")["address"]}]}
        got = chain.call("ADD", LIMITS, named)
        assert got.returncode == 0, got
        chain.result = got.json
        assert "tbf" in node.net.sh("tc", "qdisc", "show", "dev", "eth1p")
        assert len(chain.result["interfaces"]) == 3, chain.result
        chain.is_good()
        chain.delete()
        node.net.sh("tc", "qdisc", "del", "dev", "eth1p", "root")
        lab.same(before, node.snapshot(chain.pod))


# -- all of them, by libcni


def test_by_libcni():
    with cnitool.Libcni() as node:
        for name in ("tuning", "sbr"):
            shutil.copy(lab.plugin(name), node.plugins)
        node.rail("eth1")
        node.daemon(pools=[lab.pool("train", routes=ROUTES)])
        pod = node.pod("a")
        for version in ("0.4.0", "1.0.0"):
            node.network(f"{node.label}-rails", node.spur("eth1"), tuning(node, mtu=1400, mac=OTHER_MAC),
                         {"type": "sbr"}, version=version)
            before = pod.snapshot()
            with node.as_before():
                result = json.loads(node.libcni("add", pod))
                assert result["interfaces"][0]["mac"] == OTHER_MAC, result
                assert pod.link("net1")["mtu"] == 1400 and "default" in pod.ip("route", "show", "table", "100")
                node.libcni("check", pod)
                pod.ip("link", "set", "net1", "down")
                assert cnitool.check_fails(node, pod), "CHECK does not see that it is down"
                pod.ip("link", "set", "net1", "up")
                node.libcni("del", pod)
            lab.same(before, pod.snapshot())


if __name__ == "__main__":
    lab.main(globals())
