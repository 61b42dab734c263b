# SPDX-License-Identifier: Apache-2.0
"""Exclusive mode, and a pod that harms itself only: moves that hang, names that others need."""

import contextlib

import guest
import lab
from guest import wait_for

POOL = {"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.64.0.0/24"}]}


# -- a move that hangs in the kernel


class Ib(guest.Node):
    """The VM with VFs of the lab's own InfiniBand driver, whose moves can be made to hang."""

    def __init__(self, count):
        guest.load_rdma()
        self.pf = guest.pfs()[0]
        self.vfs = guest.fake(self.pf, count)
        super().__init__("ib")

    def __enter__(self):
        # 0: the daemon leaves a young record to the runtime that has just made it
        self.daemon(pools=[POOL], env={"SPUR_YOUNG_MS": "0"})
        self.all_free()
        return self

    def close(self):
        super().close()
        guest.unfake(self.pf)

    def state_of(self, vf):
        return {d["device"]: d["state"] for d in self.rpc("device.list")["devices"]}.get(f"pci:{vf.pci}")

    def all_free(self):
        wait_for(lambda: not self.attachments() and all(self.state_of(vf) == "free" for vf in self.vfs), 60, "all VFs free")

    def conf(self, vf, **keys):
        return lab.netconf("ib", pool="train", deviceID=vf.pci, **keys)


@contextlib.contextmanager
def held(vf):
    """Whoever moves its RDMA device hangs in the kernel, where nobody can end him."""
    guest.write(vf.pci, "/sys/module/fakeib/parameters/hold")
    try:
        yield
    finally:
        guest.write("none", "/sys/module/fakeib/parameters/hold")


def test_others_go_on_behind_a_move_that_hangs():
    with Ib(3) as node:
        bad, good, late = node.vfs
        names = [vf.rdma_dev() for vf in node.vfs]
        pods = [node.pod(name) for name in ("bad", "good", "late")]
        confs = [node.conf(vf, rdma="required", ready={"timeout_ms": 0}) for vf in node.vfs]
        for i in (0, 2):
            node.add(pods[i], confs[i])
        with held(bad):
            hangs = node.popen("DEL", pods[0], confs[0])
            wait_for(lambda: not guest.rdma_devices(pods[0]), 30, "the move has begun")
            node.add(pods[1], confs[1])
            assert guest.rdma_devices(pods[1]) == [names[1]]
            got = node.cni("DEL", pods[2], confs[2])
            assert got.returncode == 0 and late.rdma_devs() == [names[2]], got
            wait_for(lambda: node.state_of(late) == "free", 10, "what the others gave back is free")
            assert not good.rdma_devs() and not bad.rdma_devs(), "the move still hangs"
            got = node.finish(hangs)
            assert got.returncode == 0, got
            node.rpc("node.reconcile", timeout=60)
            [record] = [a for a in node.attachments() if a["containerID"] == pods[0].container]
            assert record["state"] == "dirty" and node.state_of(bad) == "held", (record, node.state_of(bad))
        node.delete(pods[1], confs[1])
        node.all_free()
        assert [vf.rdma_dev() for vf in node.vfs] == names


def test_an_add_that_hangs():
    """Its ADD fails and is told; the device is given back once the kernel lets go of it."""
    with Ib(2) as node:
        bad, good = node.vfs
        names = [vf.rdma_dev() for vf in node.vfs]
        pods, confs = [node.pod("bad"), node.pod("good")], [node.conf(vf, rdma="required", ready={"timeout_ms": 0}) for vf in node.vfs]
        with held(bad):
            hangs = node.popen("ADD", pods[0], confs[0])
            wait_for(lambda: names[0] not in guest.rdma_devices(), 30, "the move has begun")
            node.add(pods[1], confs[1])
            node.delete(pods[1], confs[1])
            wait_for(lambda: node.state_of(good) == "free", 10, "the other is free again")
            got = node.finish(hangs)
            assert got.code == 11 and "not done it in time" in got.msg, got
        node.all_free()
        assert [vf.rdma_dev() for vf in node.vfs] == names


if __name__ == "__main__":
    guest.main(globals())
