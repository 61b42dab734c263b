# SPDX-License-Identifier: Apache-2.0
"""What has an owner is given to nobody else, whatever a pod, or who writes its annotations, asks for."""

import lab
from daemon_serve import generation_of, refused
from daemon_vf import Node as VfNode

MAC = "02:00:00:00:aa:01"
POOL = {"name": "train", "cooldown_s": 600, "rails": [{"name": "rail0", "cidr": "10.0.0.0/24"}]}


def conf(device, **more):
    return lab.netconf(device=device, pool="train", **more)


def sticky(device, name="job/worker-3"):
    return conf(device, args={"cni": {"sticky": name}})


def by_name(device, address="10.0.0.1"):
    return conf(device, capabilities={"ips": True}, runtimeConfig={"ips": [address]})


def address(result):
    return result["ips"][0]["address"].partition("/")[0]


def tenants(node, *namespaces):
    return [node.pod(f"box{i}", namespace=namespace, pod_name=f"worker-{i}", uid=f"u{i}")
            for i, namespace in enumerate(namespaces)]


# -- identities, and what rests


def test_identity_of_another_namespace():
    """tenant-b names tenant-a's identity, and gets nothing by it; tenant-a's own successor does."""
    with lab.Node("owners") as node:
        for device in ("eth1", "eth2"):
            node.rail(device)
        node.daemon(pools=[POOL])
        first, stranger, again = tenants(node, "tenant-a", "tenant-b", "tenant-a")
        assert address(node.add(first, sticky("eth1"))) == "10.0.0.1"
        node.delete(first, sticky("eth1"))
        assert address(node.add(stranger, sticky("eth1"))) == "10.0.0.2"
        assert address(node.add(again, sticky("eth2"))) == "10.0.0.1"


def test_identity_of_another_namespace_while_it_lives():
    """Neither waits for the other, and the end of one changes nothing for the other."""
    with lab.Node("owners") as node:
        for device in ("eth1", "eth2"):
            node.rail(device)
        node.daemon(pools=[POOL])
        first, stranger, again = tenants(node, "tenant-a", "tenant-b", "tenant-a")
        assert address(node.add(first, sticky("eth1"))) == "10.0.0.1"
        assert address(node.add(stranger, sticky("eth2"))) == "10.0.0.2"
        node.delete(first, sticky("eth1"))
        node.delete(stranger, sticky("eth2"))
        assert address(node.add(again, sticky("eth1"))) == "10.0.0.1"


def test_identity_of_no_namespace():
    """podman's and cnitool's containers have none: that is one of its own."""
    with lab.Node("owners") as node:
        node.rail("eth1")
        node.daemon(pools=[POOL])
        first, again, pod = node.pod("ctr1"), node.pod("ctr2"), tenants(node, "tenant-a")[0]
        for who, expected in ((first, "10.0.0.1"), (pod, "10.0.0.2"), (again, "10.0.0.1")):
            assert address(node.add(who, sticky("eth1"))) == expected, who.name
            node.delete(who, sticky("eth1"))


def test_resting_address_of_another_namespace():
    """By name: a Deployment that rolls gets its address again, another tenant waits for its rest."""
    with lab.Node("owners") as node:
        node.rail("eth1")
        node.daemon(pools=[POOL])
        first, stranger, again = tenants(node, "tenant-a", "tenant-b", "tenant-a")
        for who in (first, again):
            assert address(node.add(who, by_name("eth1"))) == "10.0.0.1"
            node.delete(who, by_name("eth1"))
        for asked in (by_name("eth1"), conf("eth1", args={"cni": {"allocateIPWithIndex": 1}})):
            refused = node.cni("ADD", stranger, asked)
            assert refused.code == 11 and "rests on rail \"rail0\" for " in refused.msg, refused
            assert "of a pod of namespace \"tenant-a\"" in refused.msg, refused
            assert '"restFor": "namespace"' in refused.json["details"], refused
        assert address(node.add(stranger, conf("eth1"))) == "10.0.0.2", "another one, it gets"


def test_resting_address_for_whom_the_pool_says():
    for rest_for, codes in (("any", (0, 0)), ("pod", (11, 11)), ("namespace", (0, 11))):
        with lab.Node("owners") as node:
            node.rail("eth1")
            node.daemon(pools=[{**POOL, "restFor": rest_for}])
            first, same, stranger = tenants(node, "tenant-a", "tenant-a", "tenant-b")
            for who, code in zip((same, stranger), codes):
                node.add(first, by_name("eth1"))
                node.delete(first, by_name("eth1"))
                got = node.cni("ADD", who, by_name("eth1"))
                assert got.code == code, (rest_for, who.namespace, got)
                node.delete(who, by_name("eth1"))
            out = node.net.sh(lab.program("spurctl"), "--socket", node.socket, "pools")
            assert out.splitlines()[1].split()[-1] == rest_for, out


# -- addresses of VFs: the VFs are a fake tree's, the daemon is real


def mac_of(node, netdev):
    return node.net.link(netdev)["address"]


def owned(node, words, **what):
    """It is refused, with the name of the owner."""
    refused(words, lambda: node.attach(**what))


def release(node, record):
    with node.client() as client:
        client.call("attachment.release", **generation_of(record), left=True, restored=True)


def test_hooked_address_of_another_pods_vf():
    """Asked for by a pod's annotation: refused with the owner's name as long as it lives, and given then."""
    with VfNode() as node:
        keys = [node.vf(0, i) for i in range(2)]
        other = node.vf(1, 0)
        node.serve()
        a = node.attach(container="c1", device=keys[0], mac=MAC)
        for _ in range(2):
            assert node.attachments()[0]["mac"] == MAC
            owned(node, f"reserve {keys[1]}: the address {MAC} belongs to rail0/c1/net1 of pod ns/pod-c1",
                  container="c2", device=keys[1], mac=MAC)
            owned(node, f"belongs to PF {node.pf(0)} itself (pf0)", container="c2", device=keys[1], mac=mac_of(node, "pf0"))
            node.stop()
            node.start({"SPUR_SYSFS": node.sys})
        node.attach(container="c3", device=other, mac=MAC)  # another PF
        release(node, a)
        node.attach(container="c2", device=keys[1], mac=MAC)


def test_hooked_address_that_another_vf_has_by_itself():
    """As long as that VF is free its address is nobody's; and then the VF is not given away with it."""
    with VfNode() as node:
        keys = [node.vf(0, i) for i in range(4)]
        node.serve()
        first = mac_of(node, "v0n0")
        a = node.attach(container="c1", device=keys[1], mac=first)
        owned(node, f"the address {first} belongs to rail0/c1/net1", container="c2", device=keys[0])
        chosen = [node.attach(container=f"c{i}", chooseDevice=True, rail="rail0")["device"]["key"] for i in (3, 4)]
        assert chosen == keys[2:], "it is passed over"
        owned(node, f"the address {first} belongs to rail0/c1/net1", container="c5", chooseDevice=True, rail="rail0")
        node.attach(container="c6", device=keys[0], mac=MAC)
        release(node, a)


def test_hooked_two_with_one_address_in_one_batch():
    with VfNode() as node:
        for i in range(2):
            node.vf(0, i)
        node.serve()
        clients = [node.client() for _ in range(2)]
        for i, client in enumerate(clients):
            node.choose(client, f"c{i}", mac=MAC)
        [error] = [a["error"] for a in [client.read() for client in clients] if "error" in a]
        assert error["data"]["cni"] == 11 and f"the address {MAC} belongs to rail0/c" in error["message"], error
        for client in clients:
            client.close()


def test_hooked_address_in_another_vlan():
    with VfNode() as node:
        keys = [node.vf(0, i) for i in range(3)]
        node.serve()
        node.attach(container="c1", device=keys[0], mac=MAC, vlan=5)
        node.attach(container="c2", device=keys[1], mac=MAC, vlan=6)
        owned(node, "belongs to rail0/c1/net1", container="c3", device=keys[2], mac=MAC, vlan=5)


if __name__ == "__main__":
    lab.main(globals())
