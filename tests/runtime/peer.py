# SPDX-License-Identifier: Apache-2.0
"""What real runtimes need of a test machine: the unpacked programs, an image, a CNI directory, limits.

Runtimes are started with nsenter --net, not `ip netns exec`, which would hide /sys/fs/cgroup.
"""

import contextlib
import ctypes
import functools
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))

import lab  # noqa: E402 (the line above finds it)

CACHE = os.environ.get("SPUR_CACHE", "/var/cache/spur-dev")
DEBIAN = os.path.join(CACHE, "debian")
SID = os.path.join(CACHE, "sid")
IMAGE = "spur.test/busybox:1"
CAP_SYS_RESOURCE = 24
CLONE_NEWNS = 0x20000


def need(*paths):
    """Skips unless Spur is built and these programs are unpacked."""
    lab.need("spurctl")
    for path in paths:
        if not os.path.exists(path):
            lab.skip(f"{path}: `tests/runtime/peers get` could not fetch or build it")


def environment(**extra):
    """Finds the unpacked programs before the machine's own."""
    return {**os.environ, "PATH": f"{DEBIAN}/usr/sbin:{DEBIAN}/usr/bin:{os.environ['PATH']}", **extra}


def may_raise_limits():
    with open("/proc/self/status", encoding="ascii") as f:
        caps = next(int(l.split()[1], 16) for l in f if l.startswith("CapEff"))
    return bool(caps >> CAP_SYS_RESOURCE & 1)


def limits():
    """The rlimits that a runtime may ask for on this machine, as podman writes them; [] = any."""
    if may_raise_limits():
        return []
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    tasks = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    tasks = 32768 if tasks == resource.RLIM_INFINITY else min(tasks, 32768)
    return [f"nofile={files}:{files}", f"nproc={tasks}:{tasks}"]


def overlay_works(directory):
    """Overlays do not stack: where the test machine is itself a container there may be none."""
    for name in ("lower", "upper", "work", "merged"):
        os.makedirs(f"{directory}/probe/{name}")
    mount = "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", mount], cwd=f"{directory}/probe", capture_output=True)
    shutil.rmtree(f"{directory}/probe")
    return done.returncode == 0


@functools.cache
def own_etc():
    """From now on this process and those that it starts see a copy of /etc, with a hosts file: containerd copies
    it and resolv.conf into each pod, and a minimal root has none. What they mount is theirs, and ends with them.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    lab.run("mount", "--make-rprivate", "/")
    etc = tempfile.mkdtemp()
    lab.run("mount", "-t", "tmpfs", "etc", etc)
    lab.run("cp", "--archive", "/etc/.", etc)
    write(f"{etc}/hosts", "127.0.0.1 localhost\n")
    write(f"{etc}/resolv.conf", "")
    lab.run("mount", "--move", etc, "/etc")
    os.rmdir(etc)


def write(path, content, mode=0o644):
    """Whole or not at all: a runtime may be reading it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(content)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def conflist(name, *plugins, version="1.0.0"):
    return json.dumps({"cniVersion": version, "name": name, "plugins": list(plugins)})


def write_image(path, command):
    """An OCI archive: busybox, and nothing else, started with @command."""
    blobs = {}

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    layer = _layer()
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    media = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2, "mediaType": f"{media}.manifest.v1+json",
        "config": {"mediaType": f"{media}.config.v1+json", **blob(json.dumps(config).encode())},
        "layers": [{"mediaType": f"{media}.layer.v1.tar", **blob(layer)}],
    }
    names = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": IMAGE}
    described = {"mediaType": f"{media}.manifest.v1+json", **blob(json.dumps(manifest).encode()), "annotations": names}
    with tarfile.open(path, "w") as tar:
        _put(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _put(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [described]}).encode())
        for digest, data in blobs.items():
            _put(tar, f"blobs/sha256/{digest}", data)


def _layer():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        with open(f"{DEBIAN}/bin/busybox", "rb") as f:
            _put(tar, "bin/busybox", f.read(), 0o755)
        for name in ("sh", "ip", "ping", "sleep", "true"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def _put(tar, name, data, mode=0o644):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


class Host(lab.Node):
    """A node with a CNI directory that a runtime reads: plugins in cni/bin, networks in cni/net.d.

    A runtime puts its containers below the cgroup /LABEL, by which they are found at the end.
    """

    def __init__(self, label, net=None):
        super().__init__(label, net)
        self.plugins = f"{self.dir}/cni/bin"
        self.networks = f"{self.dir}/cni/net.d"
        os.makedirs(self.plugins)
        os.makedirs(self.networks)
        for name in ("spur", "spur-ipam"):
            shutil.copy(lab.program(name), f"{self.plugins}/{name}")
        for name in ("loopback", "host-local"):
            shutil.copy(f"{DEBIAN}/usr/lib/cni/{name}", self.plugins)

    def close(self):
        end_cgroup(f"/{self.label}")
        unmount_below(self.dir)
        super().close()

    def daemon(self, pools=(), env=None, **settings):
        return super().daemon(pools, env, plugin=f"{self.plugins}/spur", **settings)

    def spur(self, device, **keys):
        """The plugin's entry of a conflist: a device, addresses of the pool "train"."""
        conf = lab.netconf(device=device, pool="train", socket=self.socket, **keys)
        return {k: v for k, v in conf.items() if k not in ("cniVersion", "name")}

    def network(self, name, *plugins, version="1.0.0"):
        write(f"{self.networks}/{name}.conflist", conflist(name, *plugins, version=version))

    def run(self, *argv, check=True, timeout=120, **extra):
        return lab.run(
            "nsenter", f"--net={self.net.path}", *argv, check=check, timeout=timeout, env=environment(**extra)
        )

    def spurctl(self, *argv):
        return json.loads(self.run(lab.program("spurctl"), "--socket", self.socket, "--json", *argv))

    @contextlib.contextmanager
    def as_before(self):
        """What the block does leaves no trace in the node, the ledger, or the files that calls leave."""
        before = {**self.snapshot(), "files": leftovers()}
        yield
        lab.wait_for(lambda: not self.attachments(), what="the ledger is empty")
        lab.same(before, {**self.snapshot(), "files": leftovers()})


def leftovers():
    """Namespaces and cached CNI results; other tests run beside us, so only runtimes' own names."""
    names = []
    for directory, mark in (("/run/netns", ("netns-", "cni-")), ("/var/lib/cni/results", ("",))):
        with contextlib.suppress(FileNotFoundError):
            names += [f"{directory}/{n}" for n in os.listdir(directory) if n.startswith(mark)]
    return sorted(names)


def end_cgroup(name):
    """Ends what still runs in a cgroup, in each hierarchy of v1 or in the only one of v2; removes it."""
    roots = [top for top, _, _ in os.walk("/sys/fs/cgroup") if top.endswith(name)]
    for cgroup in (top for root in roots for top, _, _ in os.walk(root, topdown=False)):
        lab.wait_for(lambda path=cgroup: _cgroup_is_gone(path), what=f"{cgroup} is empty")


def _cgroup_is_gone(cgroup):
    try:
        with open(f"{cgroup}/cgroup.procs", encoding="ascii") as f:
            for pid in f.read().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        os.rmdir(cgroup)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def unmount_below(directory):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        points = [l.split()[1] for l in f]
    for point in reversed(points):
        if point.startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", point], check=False)
