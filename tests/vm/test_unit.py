# SPDX-License-Identifier: Apache-2.0
"""The unit of manifests/ under systemd, in a PID and mount namespace of the VM: what its sandbox
leaves is enough to undo an attachment of a pod that came after the start, and one of a dead pod."""

import contextlib
import json
import os
import shutil
import subprocess

from guest import wait_for
import lab
import vm

SYSTEMD = "/lib/systemd/systemd"
BIN = "/usr/local/bin"
UNITS = "/run/systemd/system"
SOCKET = "/run/spur/ipamd.sock"
LOG = "/run/ipamd.log"
# Not what is tested, and not all of it runs here.
MASKED = ("dbus.service", "dbus.socket", "systemd-journald.service", "systemd-journald.socket",
          "systemd-journald-dev-log.socket", "systemd-logind.service", "systemd-modules-load.service",
          "systemd-sysctl.service", "systemd-tmpfiles-setup.service", "systemd-tmpfiles-setup-dev.service",
          "systemd-timesyncd.service", "systemd-udevd.service", "systemd-udevd-control.socket",
          "systemd-udevd-kernel.socket", "systemd-udev-trigger.service")
CONF = {"cniVersion": "1.0.0", "name": "rail0", "type": "spur", "device": "eth9",
        "ipam": {"type": "spur-ipam", "pool": "train"}, "routing": {"table": 100, "rules": True}}


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def install():
    """The unit as it was built, but for where the log goes. It does not see a checkout below /root or /home."""
    if not os.path.exists(SYSTEMD):
        lab.skip(f"{SYSTEMD}: remove {vm.LAB}/guest, and ./dev vm prepare unpacks it")
    write("/etc/machine-id", f"{1:032x}\n")  # without one systemd asks whoever boots it first for settings
    with open(f"{lab.BUILD}/manifests/spur-ipamd.service", encoding="utf-8") as f:
        lines = f.read().splitlines()
    at = next(i for i, l in enumerate(lines) if l.startswith("ExecStart="))
    for program in ("spur", "spur-ipamd"):
        shutil.copy(lab.program(program), BIN)
    lines[at:at + 1] = [f"ExecStart={BIN}/spur-ipamd --config /etc/spur/ipamd.json",
                        f"StandardOutput=file:{LOG}", f"StandardError=file:{LOG}"]
    write(f"{UNITS}/spur-ipamd.service", "\n".join(lines))
    for name in MASKED:
        os.symlink("/dev/null", f"{UNITS}/{name}")
    write("/etc/spur/ipamd.json", json.dumps({"plugin": f"{BIN}/spur", "http": "", "pools": [lab.pool("train")]}))


class Systemd:
    """systemd as process 1 of a namespace; inside() runs a program there."""

    def __enter__(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET)
        self.outer = subprocess.Popen(
            ["unshare", "--pid", "--mount", "--cgroup", "--fork", "--mount-proc", "--kill-child", "sh", "-c",
             f"mount --make-rshared / && exec env container=lab {SYSTEMD} --unit=spur-ipamd.service"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = wait_for(lambda: lab.run("pgrep", "-P", str(self.outer.pid), check=False).strip(),
                            what="systemd starts")
        wait_for(lambda: self.inside("test", "-S", SOCKET, check=False).returncode == 0,
                 what="spur-ipamd serves", seconds=200)
        return self

    def __exit__(self, *_):
        self.outer.kill()
        self.outer.wait()

    def inside(self, *argv, check=True, **kw):
        done = subprocess.run(["nsenter", "-t", self.pid, "--mount", "--pid", *argv],
                              capture_output=True, text=True, check=False, **kw)
        assert not check or done.returncode == 0, (argv, done.stdout, done.stderr, self.log())
        return done

    def log(self):
        return self.inside("cat", LOG, check=False).stdout

    def add(self, pod):
        lab.run("ip", "link", "add", "eth9", "type", "veth", "peer", "name", "eth9p")
        self.inside("ip", "netns", "add", pod)
        self.inside("env", "CNI_COMMAND=ADD", f"CNI_CONTAINERID={pod}", "CNI_IFNAME=net1", "CNI_PATH=/opt/cni/bin",
                    f"CNI_NETNS=/run/netns/{pod}", lab.program("spur"), input=json.dumps(CONF))
        assert not os.path.exists("/sys/class/net/eth9")

    def attachments(self):
        return json.loads(self.inside(lab.program("spurctl"), "--json", "attachments").stdout)


def test_undo_of_a_pod_that_came_later():
    with Systemd() as systemd:
        systemd.add("a")
        systemd.inside(lab.program("spurctl"), "--yes", "release", "--force", "eth9")
        lab.run("ip", "link", "del", "eth9")


def test_a_pod_that_dies():
    with Systemd() as systemd:
        systemd.add("b")
        systemd.inside("ip", "netns", "del", "b")
        wait_for(lambda: not systemd.attachments(), what="it is reclaimed", seconds=120)


install()
lab.main(globals())
