# SPDX-License-Identifier: Apache-2.0
"""Paths that root opens because somebody else has named them, and answers of somebody else."""

import json
import os
import socket
import stat
import subprocess
import threading

import lab
from cni_attach import fake_sysfs

FUNCTION = "0000:1a:00.1"


def device_info(path):
    return lab.netconf(deviceID=FUNCTION, pool="train", runtimeConfig={"deviceID": FUNCTION, "CNIDeviceInfoFile": path})


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def test_hooked_device_info_elsewhere():
    """A path that is not where device-info belongs: refused, and what is there stays."""
    with lab.Node("paths") as node:
        node.rail("eth1")
        sysfs = fake_sysfs(node, "eth1")
        node.daemon(pools=[lab.pool()], env=sysfs)
        pod, place = node.pod("a"), node.devinfo()
        victim = f"{node.dir}/victim"
        write(victim, "precious")
        os.symlink(node.dir, f"{place}/out")
        before = node.snapshot(pod)
        for path in (victim, f"{place}/../../../..{victim}", f"/var/run/../..{victim}", f"{place}/"):
            node.refuse("ADD", 7, "/run/k8s.cni.cncf.io/devinfo", pod, device_info(path), **sysfs)
        node.refuse("ADD", 7, "CNIDeviceInfoFile", pod, device_info(f"{place}/out/victim"), **sysfs)
        lab.same(before, node.snapshot(pod))
        assert read(victim) == "precious"


def test_hooked_device_info_of_others():
    """What is there and tells of another device, or of nothing, is neither replaced nor deleted."""
    with lab.Node("paths") as node:
        node.rail("eth1")
        sysfs = fake_sysfs(node, "eth1")
        node.daemon(pools=[lab.pool()], env=sysfs)
        pod, info, victim = node.pod("a"), f"{node.devinfo()}/a.json", f"{node.dir}/victim"
        conf = device_info("/var" + info)
        other = {"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:1a:00.2"}}
        write(victim, "precious")
        before = node.snapshot(pod)
        for text in ("", "precious", json.dumps(other), "[" * 3000):
            write(info, text)
            node.refuse("ADD", 7, f"absent or the device-info of {FUNCTION}", pod, conf, **sysfs)
            assert read(info) == text
        os.unlink(info)
        for make in (lambda: os.symlink(victim, info), lambda: os.mkfifo(info)):
            make()
            node.refuse("ADD", 7, f"absent or the device-info of {FUNCTION}", pod, conf, **sysfs)
            os.unlink(info)
        lab.same(before, node.snapshot(pod))
        assert read(victim) == "precious"
        # Of this device, as a device plugin's copy is: replaced. Another one at DEL: it stays.
        write(info, json.dumps({"type": "pci", "version": "1.0.0", "pci": {"pci-address": FUNCTION}}))
        node.add(pod, conf, **sysfs)
        assert json.loads(read(info))["pci"]["rdma-device"] == "mlx5_7"
        os.unlink(info)
        write(info, json.dumps(other))
        node.delete(pod, conf, **sysfs)
        assert json.loads(read(info)) == other


def test_log_file_that_is_none():
    """A FIFO without a reader, a link, a device, a file with two names: ADD and DEL go on, and say so."""
    with lab.Node("paths") as node:
        node.rail("eth1")
        node.daemon(pools=[lab.pool()])
        pod, path, victim = node.pod("a"), f"{node.dir}/log", f"{node.dir}/victim"
        write(victim, "precious")
        conf = lab.netconf(device="eth1", pool="train", logFile=path, logLevel="debug")
        makes = (lambda: os.mkfifo(path), lambda: os.symlink(victim, path), lambda: os.link(victim, path),
                 lambda: os.mkdir(path), lambda: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)))
        for make in makes:
            make()
            for verb in ("ADD", "DEL"):
                got = node.cni(verb, pod, conf)
                assert got.returncode == 0, got
                assert 'key "logFile"' in got.stderr, got
            if os.path.isdir(path):
                os.rmdir(path)
            else:
                os.unlink(path)
        assert read(victim) == "precious"
        node.add(pod, conf)
        assert "step 1" in read(path) and stat.S_IMODE(os.stat(path).st_mode) == 0o600
        node.delete(pod, conf)


def stranger(path, served):
    """Somebody else's socket; the kernel remembers who called listen()."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.seteuid(65534)
    server.listen(8)
    os.seteuid(0)

    def serve():
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(5)
                served.append(caller.recv(65536))

    threading.Thread(target=serve, daemon=True).start()
    return server


def test_socket_of_a_stranger():
    """Neither plugin nor spurctl asks it anything."""
    with lab.Node("paths") as node:
        node.rail("eth1")
        pod, path, served = node.pod("a"), f"{node.dir}/strange.sock", []
        before = node.snapshot(pod)
        with stranger(path, served):
            conf = lab.netconf(device="eth1", pool="train", socket=path)
            node.refuse("ADD", 5, "uid 65534 listens there, not root", pod, conf)
            got = subprocess.run([lab.program("spurctl"), "--socket", path, "status"], capture_output=True, text=True, check=False)
            assert got.returncode == 1 and "uid 65534 listens there, not root" in got.stderr, got
        lab.same(before, node.snapshot(pod))
        assert not any(served), served


def test_export_behind_a_name():
    """The file that is named is replaced; no name beside it can be laid for root to follow."""
    with lab.Node("paths") as node:
        node.daemon(pools=[lab.pool()])
        victim, target = f"{node.dir}/victim", f"{node.dir}/export"
        for path in (victim, target):
            write(path, "precious")
        os.symlink(victim, f"{target}.new")
        os.umask(0)
        node.net.sh(lab.program("spurctl"), "--socket", node.socket, "export", target)
        assert read(victim) == "precious" and '"end"' in read(target)
        assert stat.S_IMODE(os.stat(target).st_mode) == 0o600
        assert sorted(n for n in os.listdir(node.dir) if n.startswith("export")) == ["export", "export.new"]


if __name__ == "__main__":
    lab.main(globals())
