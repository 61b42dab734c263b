# SPDX-License-Identifier: Apache-2.0
"""For tests that run inside a VM of the lab: functions of NICs, RDMA devices, namespaces.

    import guest
    guest.load_rdma()                          # first of all; the mode is the VM's (--mode)
    pf = guest.pfs()[0]
    a, b = pf.make_vfs(2)                      # igb, or guest.fake(pf, 2) for our own driver
    a.soft_roce("rdma0")                       # an RDMA device on it that moves as a NIC's would
    with guest.Node() as node:                 # lab.Node, but the host side is the VM itself
        pod = node.pod("a")
    guest.main(globals())                      # as lab.main; a test that the kernel complains of fails

Everything is found by PCI address: names change when devices move.
"""

import errno
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "netns")]
import lab  # noqa: E402
import vm  # noqa: E402
from lab import run, wait_for  # noqa: E402

DEVICES = "/sys/bus/pci/devices"
DEBUG = "/sys/kernel/debug/fakeib"
BUILT = os.environ.get("LAB_BUILT", "")
KERNEL = os.environ.get("LAB_KERNEL", "")
IGB = "0x10c9"
BOOT_SECONDS = 30  # what anything may take here that hardware does at once


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read().strip()


def write(value, *path):
    with open(os.path.join(*path), "w", encoding="utf-8") as f:
        f.write(str(value))


def entries(*path):
    try:
        return sorted(os.listdir(os.path.join(*path)))
    except FileNotFoundError:
        return []


def is_loaded(module):
    return os.path.exists(f"/sys/module/{module}")


def load_rdma(pristine=False):
    """The RDMA stack with soft-RoCE: the lab's own, which moves, or the distribution's, which cannot."""
    run("modprobe", "-a", "ib_core", "ib_uverbs", "rdma_ucm")
    if pristine:
        run("modprobe", "rdma_rxe")
    elif not is_loaded("rdma_rxe"):
        run("modprobe", "-a", "udp_tunnel", "ip6_udp_tunnel")
        run("insmod", f"{BUILT}/rdma_rxe.ko")


def rdma_mode():
    return "exclusive" if "netns exclusive" in run("rdma", "system") else "shared"


def rdma_devices(ns=None):
    """Names of the RDMA devices of a namespace; None: the VM's own."""
    return sorted(d["ifname"] for d in json.loads(within(ns, "rdma", "-j", "dev") or "[]"))


def is_moderated(rdma, ns=None):
    """Adaptive moderation of an RDMA device."""
    return "adaptive-moderation on" in within(ns, "rdma", "-d", "dev", "show", rdma)


def moderate(rdma, value, ns=None):
    within(ns, "rdma", "dev", "set", rdma, "adaptive-moderation", value)
    assert is_moderated(rdma, ns) == (value == "on")


def within(ns, *argv, **kw):
    """Runs a command in a namespace with the /sys that belongs to it, as verbs programs need."""
    return run(*_within(ns), *argv, **kw)


def _within(ns):
    return ("ip", "netns", "exec", ns.name) if ns else ()


class Function:
    """A PCI function with what its drivers made of it."""

    def __init__(self, pci):
        self.pci = pci
        self.dir = os.path.join(DEVICES, pci)

    def __repr__(self):
        return f"{type(self).__name__}({self.pci})"

    def _devices(self, kind, ns):
        if not ns:
            return entries(self.dir, kind)
        return within(ns, "ls", f"{self.dir}/{kind}", check=False).split()

    def netdevs(self, ns=None):
        return self._devices("net", ns)

    def rdma_devs(self, ns=None):
        return self._devices("infiniband", ns)

    def uverbs(self, ns=None):
        return self._devices("infiniband_verbs", ns)

    def netdev(self, ns=None):
        """The name of its net_device, waited for."""
        return wait_for(lambda: self.netdevs(ns), BOOT_SECONDS, f"net_device of {self.pci}")[0]

    def rdma_dev(self, ns=None):
        return wait_for(lambda: self.rdma_devs(ns), BOOT_SECONDS, f"RDMA device of {self.pci}")[0]

    def driver(self):
        try:
            return os.path.basename(os.readlink(f"{self.dir}/driver"))
        except FileNotFoundError:
            return None

    def unbind(self):
        if self.driver():
            write(self.pci, self.dir, "driver/unbind")

    def bind(self, driver):
        """To this driver, whatever ids it knows; None: to the one that knows its id."""
        write(driver or "\n", self.dir, "driver_override")
        write(self.pci, "/sys/bus/pci/drivers_probe")
        assert self.driver() == driver or not driver, f"{self.pci}: bound to {self.driver()}, not {driver}"

    def rebind(self):
        driver = self.driver()
        self.unbind()
        write(self.pci, "/sys/bus/pci/drivers", driver, "bind")


class Vf(Function):
    def __init__(self, pf, index):
        super().__init__(os.path.basename(os.readlink(f"{pf.dir}/virtfn{index}")))
        self.pf = pf
        self.index = index

    def soft_roce(self, name):
        """A soft-RoCE device on its net_device."""
        run("rdma", "link", "add", name, "type", "rxe", "netdev", self.netdev())
        return name

    def gid_index(self, address, ns=None):
        """The index of the RoCE v2 GID of an IPv4 address."""
        gid = "0000:0000:0000:0000:0000:ffff:" + "{:02x}{:02x}:{:02x}{:02x}".format(*map(int, address.split(".")))
        port = f"{self.dir}/infiniband/{self.rdma_dev(ns)}/ports/1"

        def find():
            lines = within(ns, "grep", "-r", gid, f"{port}/gids", check=False).splitlines()
            return [l.rsplit("/", 1)[1].split(":")[0] for l in lines]
        found = wait_for(find, BOOT_SECONDS, f"GID of {address} on {self.pci}")
        types = {i: within(ns, "cat", f"{port}/gid_attrs/types/{i}").strip() for i in found}
        return int(next(i for i in found if types[i] == "RoCE v2"))


class Pf(Function):
    def vf_infos(self):
        """What the kernel says of each VF, in order."""
        link = json.loads(run("ip", "-d", "-j", "link", "show", "dev", self.netdev()))[0]
        return link.get("vfinfo_list", [])

    def up(self):
        name = self.netdev()
        run("ip", "link", "set", name, "up")
        wait_for(lambda: read("/sys/class/net", name, "carrier") == "1", BOOT_SECONDS, f"carrier of {name}")

    def num_vfs(self, count):
        write(count, self.dir, "sriov_numvfs")

    def make_vfs(self, count):
        """VFs of igb, each with its net_device.

        igb takes its link down to make them, and resets itself again if it has something to send
        just then; a VF that is bound meanwhile does not receive. So they are bound afterwards.
        """
        run("modprobe", "-a", "igb", "igbvf")
        self.up()
        write(0, self.dir, "sriov_drivers_autoprobe")
        self.num_vfs(count)
        self.up()
        write(1, self.dir, "sriov_drivers_autoprobe")
        vfs = [Vf(self, i) for i in range(count)]
        for vf in vfs:
            vf.bind(None)
            vf.netdev()
        return vfs

    # -- only of one that is fake()

    def knob(self, op, error=None, times=0, late_ms=0):
        """How its driver answers from now on: with an errno ("EBUSY"), always or so many times; at
        once but with effect only later; or, with neither, well. op: a file of /sys/kernel/debug/fakeib."""
        text = f"error {getattr(errno, error)} {times}" if error else f"late {late_ms}" if late_ms else "ok"
        write(text, DEBUG, self.pci, op)

    def knobs_off(self):
        for op in entries(DEBUG, self.pci):
            if op != "calls":
                self.knob(op)

    def calls(self):
        """How often the driver was asked for each; "get_config" counts VFs listed."""
        return {op: int(n) for op, n in (l.split() for l in read(DEBUG, self.pci, "calls").splitlines())}

    def calls_reset(self, program=""):
        """From now on calls() counts what that program asks for; or everybody."""
        write(program + "\n", DEBUG, self.pci, "calls")


def fake(pf, count, driver="fakeib", **parameters):
    """Gives a PF the lab's own driver, "fakeib" (InfiniBand) or "fakeeth", and returns its VFs.

    parameters: those of the module, for what is bound from now on, see README.md. A VF of fakeib has
    its GUIDs at all zero.
    """
    run("modprobe", "-a", "ib_core", "ib_uverbs")
    if not is_loaded("fakeib"):
        run("insmod", f"{BUILT}/fakeib.ko")
    for name, value in parameters.items():
        parameter(name, value)
    pf.unbind()
    pf.bind(driver)
    pf.num_vfs(count)
    run("ip", "link", "set", pf.netdev(), "up")
    vfs = [Vf(pf, i) for i in range(count)]
    for vf in vfs:
        vf.netdev()
    return vfs


def unfake(pf):
    """A PF goes back to igb."""
    pf.unbind()
    pf.bind(None)
    pf.netdev()


def parameter(name, value):
    write(int(value), "/sys/module/fakeib/parameters", name)


def pfs():
    """The functions that can have VFs, by address."""
    run("modprobe", "-a", "igb", "igbvf")
    return [Pf(a) for a in entries(DEVICES) if os.path.exists(f"{DEVICES}/{a}/sriov_totalvfs")
            and read(DEVICES, a, "device") == IGB]


class Host(lab.Namespace):
    """The namespace that the VM began with."""

    def __init__(self):  # pylint: disable=super-init-not-called
        self.name = "host"
        self.path = "/proc/1/ns/net"

    def close(self):
        pass


class Node(lab.Node):
    """A node whose host side is the VM itself, so that it has PFs and VFs."""

    def __init__(self, label="vm"):
        super().__init__(label, net=Host())


def snapshot():
    """PFs with all that is set of their VFs, functions with drivers and devices, RDMA devices."""
    return {
        "rdma": rdma_devices(),
        "pfs": {pf.pci: _pf_facts(pf) for pf in pfs() if pf.netdevs()},
    }


def _pf_facts(pf):
    functions = [pf] + [Vf(pf, i) for i in range(int(read(pf.dir, "sriov_numvfs")))]
    return {
        "vfs": pf.vf_infos(),
        "functions": {f.pci: (f.driver(), f.netdevs(), f.rdma_devs(), f.uverbs()) for f in functions},
    }


def talk(server_ns, server, client_ns, client, seconds=60):
    """A server in one namespace, its client in another until they have met; returns what that one said."""
    listening = subprocess.Popen([*_within(server_ns), *server], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
    said = ""

    def met():
        nonlocal said
        done = subprocess.run([*_within(client_ns), *client], capture_output=True, text=True,
                              timeout=seconds, check=False)
        said = done.stdout + done.stderr
        return done.returncode == 0 or listening.poll() is not None
    try:
        wait_for(met, seconds, " ".join(client))
        out, _ = listening.communicate(timeout=seconds)
        assert listening.returncode == 0, f"{' '.join(server)}: exit {listening.returncode}: {out}\n{said}"
        return said
    finally:
        listening.kill()
        listening.wait()


def mark(name):
    """Tells the machine outside that we have come so far (vm.Machine.wait_mark)."""
    write("", "/run/lab", name)


def cut_power():
    """Ends the VM at this very moment, nothing written back."""
    write("b", "/proc/sysrq-trigger")


def complaints():
    return [line for line in run("dmesg").splitlines() if vm.COMPLAINTS.search(line)]


def _watched(test):
    """A test after which the kernel has said nothing bad that it had not said before."""
    def watched():
        before = len(complaints())
        test()
        bad = complaints()[before:]
        assert not bad, "the kernel complains: " + "; ".join(bad)
    return watched


def main(names):
    """As lab.main."""
    lab.main({n: _watched(f) if n.startswith("test_") else f for n, f in names.items()})
