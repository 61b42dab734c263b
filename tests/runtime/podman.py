# SPDX-License-Identifier: Apache-2.0
"""Debian's podman with network_backend = "cni": it calls spur for each container."""

import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import peer
from peer import lab

PODMAN = f"{peer.DEBIAN}/usr/bin/podman"
ADDRESSES = "ip -o addr; ip route"

CONTAINERS = """
[network]
network_backend = "cni"
cni_plugin_dirs = ["{dir}/cni/bin"]
network_config_dir = "{dir}/cni/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
tmp_dir = "{dir}/podman/tmp"
conmon_path = ["{debian}/usr/bin/conmon"]
[engine.runtimes]
runc = ["{debian}/usr/sbin/runc"]
[containers]
log_driver = "k8s-file"
default_ulimits = {limits}
"""

STORAGE = """
[storage]
driver = "{driver}"
graphroot = "{dir}/podman/root"
runroot = "{dir}/podman/run"
"""


class Podman(peer.Host):
    def __init__(self, label="podman", net=None):
        peer.need(PODMAN)
        super().__init__(label, net)
        home = f"{self.dir}/home"
        driver = "overlay" if peer.overlay_works(self.dir) else "vfs"
        peer.write(f"{home}/containers.conf", CONTAINERS.format(
            dir=self.dir, debian=peer.DEBIAN, limits=json.dumps(peer.limits())))
        peer.write(f"{home}/storage.conf", STORAGE.format(dir=self.dir, driver=driver))
        peer.write(f"{home}/.config/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        self.settings = {
            "HOME": home,
            "CONTAINERS_CONF": f"{home}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{home}/storage.conf",
        }
        peer.write_image(f"{self.dir}/image.tar", ["/bin/sleep", "1000"])
        self.podman("load", "--quiet", "--input", f"{self.dir}/image.tar")

    def podman(self, *argv, **kw):
        return self.run(PODMAN, *argv, **self.settings, **kw)

    def close(self):
        self.podman("rm", "--all", "--force", "--time", "0", check=False)
        super().close()

    def run_container(self, *argv):
        return self.podman("run", "--pull=never", f"--cgroup-parent=/{self.label}", *argv)

    def once(self, network, *options, script=ADDRESSES):
        """Runs a container to its end; returns what it saw."""
        return self.run_container("--rm", f"--network={network}", *options, peer.IMAGE, "sh", "-c", script)

    def detached(self, name, *options):
        self.run_container("--detach", "--name", name, *options, peer.IMAGE)

    def see(self, name):
        return self.podman("exec", name, "sh", "-c", ADDRESSES)


@contextlib.contextmanager
def podman(rails=1):
    """A node with rails rail1…, each a network of the same name."""
    with Podman() as node:
        for i in range(1, rails + 1):
            node.rail(f"rail{i}", bridge="fabric")
            node.network(f"rail{i}", node.spur(f"rail{i}"))
        node.daemon(pools=[lab.pool("train")])
        with node.as_before():
            yield node


def address_of(seen, ifname):
    found = re.search(rf"{ifname} +inet ([0-9./]+)", seen)
    assert found, f"no address on {ifname}:\n{seen}"
    return found.group(1)


def test_run():
    with podman() as node:
        seen = node.once("rail1")
        assert address_of(seen, "eth0").startswith("10.0.0."), seen


def test_two_networks():
    with podman(rails=2) as node:
        node.detached("two", "--network=rail1", "--network=rail2")
        seen = node.see("two")
        assert address_of(seen, "eth0") != address_of(seen, "eth1")
        listed = node.spurctl("attachments")
        assert sorted(a["ifname"] for a in node.attachments()) == ["eth0", "eth1"], listed
        node.podman("rm", "--force", "--time", "0", "two")


def test_connect_disconnect():
    with podman(rails=2) as node:
        node.detached("hot", "--network=rail1")
        assert "eth1" not in node.see("hot")
        node.podman("network", "connect", "rail2", "hot")
        address_of(node.see("hot"), "eth1")
        assert len(node.attachments()) == 2
        node.podman("network", "disconnect", "rail2", "hot")
        assert "eth1" not in node.see("hot")
        assert len(node.attachments()) == 1
        assert "rail2" in node.net.links()
        node.podman("rm", "--force", "--time", "0", "hot")


def test_static_ip_and_mac():
    with podman() as node:
        seen = node.once("rail1:ip=10.0.0.77,mac=02:11:22:33:44:55", script="ip -o addr; ip link show eth0")
        assert address_of(seen, "eth0") == "10.0.0.77/24", seen
        assert "02:11:22:33:44:55" in seen, seen


def test_ping_between_containers():
    with podman(rails=2) as node:
        node.detached("a", "--network=rail1")
        address = address_of(node.see("a"), "eth0").split("/")[0]
        node.once("rail2", script=f"ping -c 1 -W 5 {address}")
        node.podman("rm", "--force", "--time", "0", "a")


def test_twenty_side_by_side():
    with podman(rails=20) as node:
        with ThreadPoolExecutor(20) as at_once:
            seen = list(at_once.map(lambda i: node.once(f"rail{i}", script="sleep 1; ip -o addr"), range(1, 21)))
        addresses = {address_of(s, "eth0") for s in seen}
        assert len(addresses) == 20, sorted(addresses)


if __name__ == "__main__":
    lab.main(globals())
