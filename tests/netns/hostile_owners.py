# SPDX-License-Identifier: Apache-2.0
"""What has an owner is given to nobody else, whatever a pod, or who writes its annotations, asks for."""

import time

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


# -- what is not found is not gone, and what a pod made is never carried home


def hide(node, pod, ifname="net1"):
    """Into a namespace that the pod has made, or got from a friend."""
    inner = node.pod("inner")
    pod.ip("link", "set", ifname, "netns", inner.path)
    inner.ip("link", "set", ifname, "up")
    return inner


def record_of(node, pod):
    return next((a for a in node.attachments() if a["containerID"] == pod.container), None)


def look_again(node):
    node.rpc("node.reconcile", timeout=60)


def test_hidden_where_the_pod_is_outlived():
    """As long as it lives anywhere its address is nobody else's; then it goes, or comes home."""
    for comes_home in (False, True):
        with lab.Node("owners") as node:
            for device in ("eth1", "eth2", "eth3"):
                node.rail(device)
            node.daemon(pools=[{**POOL, "cooldown_s": 0}], env={"SPUR_YOUNG_MS": "0"})
            pod, late = node.pod("a"), node.pod("late")
            mine = address(node.add(pod, conf("eth1")))
            inner = hide(node, pod)
            node.delete(pod, conf("eth1"))
            assert address(record_of(node, pod)) == mine, "the pod lives"
            pod.close()
            for _ in range(3):
                look_again(node)
                time.sleep(1)
                assert record_of(node, pod)["state"] == "dirty" and address(record_of(node, pod)) == mine, node.attachments()
            assert address(node.add(late, by_name("eth2", "10.0.0.9"))) == "10.0.0.9"
            node.refuse("ADD", 11, "is held by attachment", node.pod("third"), by_name("eth3", mine))
            if comes_home:
                inner.ip("link", "set", "net1", "netns", node.net.path)
            else:
                inner.close()
            lab.wait_for(lambda: look_again(node) or not record_of(node, pod), 30, "the record goes")
            assert ("eth1" in node.net.links()) == comes_home


def test_hidden_veth_in_the_pod_that_was_not_deleted():
    """No DEL comes: the daemon finds the pod dead, and its device alive."""
    with lab.Node("owners") as node:
        node.rail("eth1")
        node.daemon(pools=[{**POOL, "cooldown_s": 0}], env={"SPUR_YOUNG_MS": "0"})
        pod = node.pod("a")
        mine = address(node.add(pod, conf("eth1")))
        inner = hide(node, pod)
        pod.close()
        lab.wait_for(lambda: look_again(node) or record_of(node, pod)["state"] == "dirty", 30, "it is found dead")
        assert address(record_of(node, pod)) == mine
        inner.close()
        lab.wait_for(lambda: look_again(node) or not record_of(node, pod), 30, "the record goes")


def test_another_veth_in_the_place_of_one_that_is_gone():
    """The pod deletes its device and makes another with its name, number and address: that one is left to it."""
    with lab.Node("owners") as node:
        node.rail("eth1")
        node.daemon(pools=[POOL])
        pod = node.pod("a")
        node.add(pod, conf("eth1"))
        link = pod.link("net1")
        pod.ip("link", "del", "net1")
        pod.ip("link", "add", "net1", "index", str(link["ifindex"]), "address", link["address"],
               "type", "veth", "peer", "name", "wire")
        node.delete(pod, conf("eth1"))
        assert not node.attachments() and node.net.links() == [], "nothing has come into the host"
        assert pod.links() == ["net1", "wire"]


def test_macvlan_that_looks_like_it():
    """On the same lower device, with the name, number and address of the one that the pod has hidden:
    all that netlink says is the same, and only the kernel's own number of the device is not."""
    with lab.Node("owners") as node:
        node.rail("eth1")
        node.net.ip("link", "set", "eth1", "up")
        node.net.ip("link", "add", "link", "eth1", "name", "mv1", "type", "macvlan")
        node.daemon(pools=[POOL], env={"SPUR_YOUNG_MS": "0"})
        pod = node.pod("a")
        mine = address(node.add(pod, conf("mv1")))
        real = pod.link("net1")
        pod.ip("link", "add", "link", "net1", "name", "x", "index", "777", "type", "macvlan")
        pod.ip("link", "set", "net1", "down")
        inner = node.pod("inner")
        pod.ip("link", "set", "net1", "netns", inner.path)
        pod.ip("link", "add", "link", "x", "name", "net1", "index", str(real["ifindex"]), "address", real["address"],
               "type", "macvlan")
        same = [{k: link.get(k) for k in ("ifindex", "ifname", "address", "link_index", "link_netnsid")}
                for link in (real, pod.link("net1"))]
        assert same[0] == same[1], same
        node.delete(pod, conf("mv1"))
        assert record_of(node, pod)["state"] == "dirty" and address(record_of(node, pod)) == mine, node.attachments()
        assert node.net.links() == ["eth1", "eth1p"] and pod.links() == ["net1", "x"]
        inner.ip("link", "set", "net1", "netns", pod.path, "name", "found")
        lab.wait_for(lambda: look_again(node) or not record_of(node, pod), 30, "it is found beside the other, and comes home")
        assert node.net.links() == ["eth1", "eth1p", "mv1"] and pod.links() == ["net1", "x"]


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
