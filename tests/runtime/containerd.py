# SPDX-License-Identifier: Apache-2.0
"""containerd 1.6 (Debian 12) and 2 (sid) through their CRI, as kubelet would drive them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import peer
from peer import lab

DEBIAN = f"{peer.DEBIAN}/usr/bin"
SID = f"{peer.SID}/usr/bin"

# Where containerd may neither raise a limit nor lower its OOM score, it must be told not to try.
COMMON = """
root = "{dir}/ctd/root"
state = "{dir}/ctd/state"
oom_score = 0
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
"""

CONFIG_1 = """
version = 2
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
""" + COMMON + """
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = {no_oom}
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{dir}/cni/bin"
    conf_dir = "{dir}/cni/net.d"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
"""

CONFIG_2 = """
version = 3
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
""" + COMMON + """
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "{snapshotter}"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{image}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = {no_oom}
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{dir}/cni/bin"]
    conf_dir = "{dir}/cni/net.d"
    max_conf_num = 1
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
"""


class Containerd(peer.Host):
    def __init__(self, programs, config, label):
        peer.need(f"{programs}/containerd")
        peer.own_etc()
        global cri  # it needs the unpacked grpcio
        import cri

        super().__init__(label)
        self.programs = programs
        self.cri_socket = f"{self.dir}/c.sock"
        self.server = None
        self.client = None
        peer.write(f"{self.dir}/config.toml", config.format(
            dir=self.dir, socket=self.cri_socket, image=peer.IMAGE, runc=f"{peer.DEBIAN}/usr/sbin/runc",
            snapshotter="overlayfs" if peer.overlay_works(self.dir) else "native",
            no_oom=json.dumps(not peer.may_raise_limits())))
        peer.write_image(f"{self.dir}/pause.tar", ["/bin/sleep", "100000"])

    def boot(self):
        """Starts containerd; returns when its CRI answers."""
        with open(f"{self.dir}/containerd.log", "ab") as log:
            environment = peer.environment()
            environment["PATH"] = f"{self.programs}:{environment['PATH']}"
            self.server = subprocess.Popen(
                ["nsenter", f"--net={self.net.path}", f"{self.programs}/containerd", "--config", f"{self.dir}/config.toml"],
                stdout=log, stderr=log, env=environment,
            )
        self.processes.append(self.server)
        lab.wait_for(self.listens, 30, "containerd listens")
        self.ctr("--namespace", "k8s.io", "images", "import", f"{self.dir}/pause.tar")
        self.client = cri.Client(self.cri_socket)
        lab.wait_for(self.answers, 30, "the CRI answers")
        return self.client

    def listens(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.cri_socket) == 0

    def answers(self):
        with contextlib.suppress(cri.Error):
            return self.client.conditions()
        return None

    def ctr(self, *argv, **kw):
        return self.run(f"{self.programs}/ctr", "--address", self.cri_socket, *argv, **kw)

    def pod_config(self, name, attempt=0):
        return cri.pod_config(name, attempt, f"/{self.label}")

    def crash(self):
        """kill -9, as a bug or the OOM killer would; shims and plugins live on.

        Before the client goes: a call that its client gives up has its plugin killed.
        """
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        self.client.close()
        self.client = None

    def close(self):
        with contextlib.suppress(Exception):
            for pod in self.client.pods() if self.client else []:
                self.client.stop(pod["id"])
                self.client.remove(pod["id"])
        if self.client:
            self.client.close()
        if self.server and self.server.poll() is None:
            self.server.terminate()
            self.server.wait(15)
        for pid in processes_about(self.dir):
            os.kill(pid, signal.SIGKILL)
        super().close()


def processes_about(directory):
    """Shims and what hangs below them: they were started for this directory and name it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f"{directory}/".encode() in f.read() and int(pid) != os.getpid():
                    found.append(int(pid))
    return found


@contextlib.contextmanager
def containerd(programs=DEBIAN, config=CONFIG_1, version="1.0.0", boot=True):
    """A node with one rail, and a cluster network on it."""
    with Containerd(programs, config, "ctd") as node:
        node.rail("rail1", bridge="fabric")
        node.network("cluster", node.spur("rail1"), version=version)
        node.daemon(pools=[lab.pool("train")])
        if boot:
            node.boot()
        with node.as_before():
            yield node


def one(node):
    """The only attachment there is."""
    found = node.attachments()
    assert len(found) == 1, found
    return found[0]


def test_run_stop_remove():
    with containerd() as node:
        pod = node.client.run(node.pod_config("web-0"))
        record = one(node)
        assert record["containerID"] == pod and record["pod"]["uid"] == "uid-web-0", record
        assert record["state"] == "attached" and "rail1" not in node.net.links()
        seen = lab.run("nsenter", f"--net={record['netns']['path']}", "ip", "-o", "addr")
        assert record["ips"][0]["address"] in seen, seen
        node.client.stop(pod)
        assert not node.attachments() and "rail1" in node.net.links()
        node.client.remove(pod)  # a second DEL, without a namespace


def test_failing_add():
    with containerd() as node:
        before = node.snapshot()
        node.network("cluster", node.spur("no-such-rail"))
        lab.wait_for(lambda: add_is_refused(node, "no-such-rail"), 10, "the new network is refused")
        lab.same(before, node.snapshot())
        for pod in node.client.pods():
            node.client.remove(pod["id"])


def add_is_refused(node, words):
    """containerd re-reads its networks in its own time."""
    try:
        pod = node.client.run(node.pod_config("fail"))
    except cri.Error as e:
        assert words in str(e), e
        return True
    node.client.stop(pod)
    node.client.remove(pod)
    return False


def test_crash_between():
    """Pods outlive their containerd; their DEL comes after its restart."""
    with containerd() as node:
        pod = node.client.run(node.pod_config("web-0"))
        node.crash()
        assert one(node)["containerID"] == pod
        node.boot()
        node.client.stop(pod)
        node.client.remove(pod)


def stall_add(node, step):
    """From now on an ADD stops itself before @step; the returned file gets its pid."""
    pid = f"{node.dir}/stalled.pid"
    spur = f"{node.plugins}/spur"
    os.rename(spur, f"{spur}.real")
    peer.write(spur, f"""#!/bin/sh
[ "$CNI_COMMAND" != ADD ] || {{ echo $$ >{pid}; export SPUR_STALL_STEP=apply:{step}; }}
exec {spur}.real
""", 0o755)
    return pid


def unstall(node):
    os.rename(f"{node.plugins}/spur.real", f"{node.plugins}/spur")


def is_stopped(pid_file):
    with contextlib.suppress(OSError, ValueError):
        with open(pid_file, encoding="ascii") as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return pid if f.read().rsplit(")", 1)[1].split()[0] == "T" else None
    return None


def crash_during_add(node, name, step=3):
    """kill -9 of containerd while the ADD of pod @name stands still; returns the plugin's pid."""
    stalled = stall_add(node, step)
    call = node.client.start("RunPodSandbox", {"config": node.pod_config(name)})
    pid = lab.wait_for(lambda: is_stopped(stalled), 20, "the ADD stands still")
    node.crash()
    assert call.exception(), "nobody can have answered"
    unstall(node)
    assert one(node)["state"] == "unfinished"
    return pid


def attempt_again(node, name):
    """What kubelet does next: the same pod, another sandbox. It supersedes the first."""
    node.boot()
    end = time.monotonic() + 40
    while True:
        try:
            pod = node.client.run(node.pod_config(name, attempt=1))
            break
        except cri.Error:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    record = one(node)
    assert record["containerID"] == pod and record["state"] == "attached", record
    for old in node.client.pods():
        node.client.stop(old["id"])
        node.client.remove(old["id"])


def test_hooked_crash_during_add_that_dies():
    with containerd() as node:
        os.kill(crash_during_add(node, "web-0"), signal.SIGKILL)
        attempt_again(node, "web-0")


def test_hooked_crash_during_add_that_lives_on():
    """Its caller has gone: the result cannot be written, so it walks back."""
    with containerd() as node:
        os.kill(crash_during_add(node, "web-0"), signal.SIGCONT)
        attempt_again(node, "web-0")


def test_v2_run_at_1_1_0():
    with containerd(SID, CONFIG_2, version="1.1.0") as node:
        pod = node.client.run(node.pod_config("web-0"))
        assert one(node)["request"]["netconf"]["cniVersion"] == "1.1.0"
        node.client.stop(pod)
        node.client.remove(pod)


def test_v2_status():
    """containerd 2 asks STATUS: without the daemon the node has no network, with it again it has."""
    with containerd(SID, CONFIG_2, version="1.1.0") as node:
        assert node.client.conditions()["NetworkReady"]["status"]
        node.stop()
        lab.wait_for(lambda: not node.client.conditions()["NetworkReady"]["status"], 20, "NetworkReady is false")
        assert "50" in str(node.client.conditions()["NetworkReady"]) or "spur" in str(node.client.conditions()["NetworkReady"])
        node.start()
        lab.wait_for(lambda: node.client.conditions()["NetworkReady"]["status"], 20, "NetworkReady is true")


if __name__ == "__main__":
    lab.main(globals())
