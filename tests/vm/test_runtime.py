# SPDX-License-Identifier: Apache-2.0
"""podman starts containers in the VM: each gets a VF and its RDMA device, and gives them back."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime"))

import guest  # noqa: E402 (the line above finds the next two)
import lab  # noqa: E402
import peer  # noqa: E402
import podman  # noqa: E402

# The container's image is busybox alone: verbs programs and their libraries are the VM's own.
VERBS = [f"--volume={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64", "/etc/libibverbs.d")]
POOL = {"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.64.0.0/24"}]}


class Node(podman.Podman):
    """The VM, with podman and two VFs of two PFs, each a network of its own: rail0, rail1."""

    def __init__(self):
        guest.load_rdma()
        self.vfs = [pf.make_vfs(1)[0] for pf in guest.pfs()]
        for i, vf in enumerate(self.vfs):
            vf.soft_roce(f"rdma{i}")
        super().__init__("vm", net=guest.Host())
        for i, vf in enumerate(self.vfs):
            self.network(f"net{i}", self.vf_conf(vf))

    def close(self):
        super().close()
        for pf in guest.pfs():
            pf.num_vfs(0)

    def vf_conf(self, vf):
        conf = self.spur("")
        conf.pop("device")
        return {**conf, "deviceID": vf.pci, "rdma": "required", "trust": "on"}

    def detach(self, name, number):
        """Starts a container in the background. A device plugin would choose the uverbs device."""
        uverbs = self.vfs[number].uverbs()[0]
        self.detached(name, f"--network=net{number}", "--device=/dev/infiniband/rdma_cm",
                      f"--device=/dev/infiniband/{uverbs}", "--ulimit=memlock=-1:-1", *VERBS)

    def inside(self, name, *argv):
        return self.podman("exec", name, *argv)

    def gid_index(self, name, rdma, address):
        """Of the RoCE v2 GID of an address, as a program in the container finds it."""
        ports = f"/sys/class/infiniband/{rdma}/ports/1"
        tail = "ffff:{:02x}{:02x}:{:02x}{:02x}".format(*map(int, address.split(".")))
        script = (f"for i in 0 1 2 3 4 5 6 7; do case $(cat {ports}/gids/$i) in *:{tail}) "
                  f"case $(cat {ports}/gid_attrs/types/$i) in *v2) echo $i; esac; esac; done")
        found = self.inside(name, "/usr/bin/bash", "-c", f"PATH=/usr/bin; {script}").split()
        assert len(found) == 1, f"GIDs of {address} in {name}: {found}"
        return found[0]


def node_as_before(node):
    return {**guest.snapshot(), **node.snapshot()}


def check_seen_inside(node, name, number, told):
    """The container has its own RDMA device, which works, and sees no other; the node has neither."""
    own, other = f"rdma{number}", f"rdma{1 - number}"
    assert own in told and "PORT_ACTIVE" in told and other not in told, told
    assert not node.vfs[number].netdevs() and own not in guest.rdma_devices()
    record = next(a for a in node.attachments() if a["device"]["key"] == f"pci:{node.vfs[number].pci}")
    assert record["device"]["rdma"]["name"] == own and record["facts"]["rdma"]["moved"], record


def talk(node, mine, other):
    node.inside("a", "/bin/ping", "-c", "3", "-W", "5", other)
    pingpong = ["/usr/bin/ibv_rc_pingpong", "-n", "50", "-d"]
    server = [*pingpong, "rdma1", "-g", node.gid_index("b", "rdma1", other)]
    client = [*pingpong, "rdma0", "-g", node.gid_index("a", "rdma0", mine), other]
    node.podman("exec", "--detach", "b", *server)
    said = lab.wait_for(lambda: node.podman("exec", "a", *client, check=False), 60, "pingpong")
    assert "50 iters" in said, said


def die(node, name):
    """Nobody calls DEL: the daemon finds the dead namespace, and the VF that came home by itself."""
    [record] = node.attachments()
    peer.end_cgroup(f"/{node.label}")
    lab.run("umount", record["netns"]["path"])
    lab.wait_for(lambda: node.rpc("node.reconcile", timeout=30) and not node.attachments(), 40, "the record goes")
    lab.wait_for(lambda: guest.rdma_devices() == ["rdma0", "rdma1"], 10, "the RDMA device is back")
    node.podman("rm", "--force", "--time", "0", name, check=False)


def test_containers_with_vf_and_rdma():
    with Node() as node:
        node.daemon(pools=[POOL])
        before = node_as_before(node)
        with node.as_before():
            for i, name in enumerate("ab"):
                node.detach(name, i)
                check_seen_inside(node, name, i, node.inside(name, "/usr/bin/ibv_devinfo", "-v"))
            mine, other = (podman.address_of(node.see(n), "eth0").split("/")[0] for n in "ab")
            talk(node, mine, other)
            assert len(node.spurctl("attachments")) == 2 and guest.rdma_devices() == []
            node.podman("rm", "--force", "--time", "0", "a", "b")
        lab.same(before, node_as_before(node))
        node.detach("c", 0)
        die(node, "c")
        lab.same(before, node_as_before(node))


if __name__ == "__main__":
    guest.main(globals())
