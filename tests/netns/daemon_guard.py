# SPDX-License-Identifier: Apache-2.0
"""What the daemon has given up, and what is left to the plugin that it starts."""

import ctypes
import errno
import json
import os
import re
import socket
import subprocess

import lab
from daemon_serve import PLUGIN, Node, boot_ms

CAPS = {"NET_ADMIN": 12, "SYS_PTRACE": 19, "SYS_ADMIN": 21}
KEPT = sum(1 << bit for bit in CAPS.values())

# Beside the plugin's work: what it is allowed. Each of these calls, let through, would not end with ENOSYS.
PROBE = PLUGIN.replace("key = {", """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def calls():
    numbers = {"ptrace": 101, "pivot_root": 155, "mount": 165, "kexec_load": 246, "init_module": 175,
               "add_key": 248, "keyctl": 250, "unshare": 272, "perf_event_open": 298, "open_by_handle_at": 304,
               "process_vm_writev": 311, "finit_module": 313, "seccomp": 317, "bpf": 321, "userfaultfd": 323,
               "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "clone3": 435,
               "x32 getpid": 0x40000027, "a call of tomorrow": 9999}
    for name, number in numbers.items():
        ctypes.set_errno(0)
        libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
        yield name, ctypes.get_errno()
def parts():
    for name, number, args in (("clone into a user namespace", 56, (0x10000000, 0, 0, 0, 0)),
                               ("setns into any namespace", 308, (0, 0)), ("a packet socket", 41, (17, 3, 0)),
                               ("a socket of the crypto API", 41, (38, 5, 0))):
        ctypes.set_errno(0)
        if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args]) == 0:
            os._exit(0)
        yield name, ctypes.get_errno()
with open(here + "/probe", "w") as probe:
    json.dump({"status": open("/proc/self/status").read(), "calls": dict(calls()), "parts": dict(parts()),
               "alarm": libc.alarm(0), "parent": open(f"/proc/{os.getppid()}/comm").read().strip()}, probe)
key = {""", 1)


def status(text):
    return dict(re.findall(r"^(\w+):\t(.*)$", text, re.M))


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return status(f.read())


def threads_of(pid):
    return [status_of(f"{pid}/task/{t}") for t in os.listdir(f"/proc/{pid}/task")]


def words(found, effective):
    assert int(found["CapEff"], 16) == effective, found
    assert int(found["CapPrm"], 16) == int(found["CapBnd"], 16) == KEPT, found
    assert int(found["CapAmb"], 16) == 0 and found["NoNewPrivs"] == "1" and found["Seccomp"] == "2", found


def daemon_pid(node):
    """nsenter has become spur-ipamd."""
    assert status_of(node.ipamd.pid)["Name"] == "spur-ipamd"
    return node.ipamd.pid


def test_what_the_daemon_keeps():
    """In every thread: those of libuv's pool and the one that serves HTTP, too."""
    with Node() as node:
        node.daemon(http="127.0.0.1:9469")
        node.attach(nsid=4711)
        node.attach(nsid=4711, cookie=8)  # a look whether the first is dead
        threads = threads_of(daemon_pid(node))
        assert len(threads) > 2, threads
        for thread in threads:
            words(thread, effective=0)


def sockets_of(pid):
    """Those of another process, as sockets of this one."""
    pidfd = os.pidfd_open(pid)
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
            copy = ctypes.CDLL(None).syscall(ctypes.c_long(438), pidfd, int(fd), 0)  # pidfd_getfd
            yield socket.socket(fileno=copy)
    os.close(pidfd)


def test_its_watches_have_room():
    """A burst of events needs more than is given to a process without capabilities: they are opened before."""
    with Node() as node:
        node.daemon()
        rooms = []
        for s in sockets_of(daemon_pid(node)):
            with s:
                if s.family == socket.AF_NETLINK and s.getsockname()[1]:
                    rooms.append(s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        assert len(rooms) == 3 and min(rooms) >= 1 << 20, f"namespaces, devices and links: {rooms}"


def test_what_its_plugin_may():
    with Node() as node:
        with open(node.plugin, "w", encoding="utf-8") as f:
            f.write(PROBE)
        node.daemon()
        with node.client() as client:
            client.call("attachment.reserve", **node.request())
        node.gone()
        with open(f"{node.dir}/plugin/probe", encoding="utf-8") as f:
            probe = json.load(f)
        words(status(probe["status"]), effective=KEPT)
        assert probe["parent"] == "spur-ipamd"
        assert probe["alarm"] == 0, "no call that fails without a word"
        let_through = {n for n, e in {**probe["calls"], **probe["parts"]}.items() if e != errno.ENOSYS}
        assert not let_through - ({"ptrace"} if sanitized() else set()), let_through


def sanitized():
    with open(lab.program("spur-ipamd"), "rb") as f:
        return b"__asan_init" in f.read()


def test_it_ends_a_plugin_that_hangs():
    """The plugin has capabilities that the daemon has not: it is of the same user."""
    with Node() as node:
        node.mode("hang")
        node.daemon()
        with node.client() as client:
            client.call("attachment.reserve", **node.request())
        pid = lab.wait_for(lambda: children_of(node.ipamd.pid), what="the plugin runs")[0]
        node.stop()
        lab.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="the plugin is ended")


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return f.read().split()


def undo(node):
    """Attaches a pod by the path of a process that is another user's, and has spur undo it."""
    node.rail("eth1")
    node.daemon(pools=[lab.pool("train")])
    pod = node.pod("a")
    before = node.net.snapshot()
    process = subprocess.Popen(["nsenter", f"--net={pod.path}", "setpriv", "--reuid=65534", "sleep", "600"])
    node.processes.append(process)
    lab.wait_for(lambda: status_of(process.pid)["Name"] == "sleep", what="a process runs in the pod")
    pod.path = f"/proc/{process.pid}/ns/net"
    node.add(pod, lab.netconf(device="eth1", pool="train", routing={"table": 100, "rules": True}))
    lab.wait_for(lambda: node.attachments()[0]["state"] == "attached", what="done has come")
    assert node.net.snapshot() != before
    key = {k: node.attachments()[0][k] for k in ("network", "containerID", "ifname")}
    node.rpc("attachment.undo", deadline=boot_ms() + 20000, **key)
    return before


def test_a_real_undo():
    with lab.Node("guard") as node:
        before = undo(node)
        assert not node.attachments()
        lab.same(before, node.net.snapshot())


def test_none_of_them_is_too_much():
    """The same undo with one capability less: it fails for want of each."""
    for cap in CAPS:
        with lab.Node("guard") as node:
            wrapper = os.path.join(node.dir, "less-ipamd")
            with open(wrapper, "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\nexec setpriv --bounding-set=-{cap.lower()} {lab.program('spur-ipamd')} \"$@\"\n")
            os.chmod(wrapper, 0o755)
            os.environ["SPUR_IPAMD_BIN"] = wrapper
            try:
                undo(node)
            except lab.RpcError as e:
                assert "the device is not restored" in str(e), e
            else:
                raise AssertionError(f"nobody needs {cap}")
            finally:
                del os.environ["SPUR_IPAMD_BIN"]


if __name__ == "__main__":
    lab.main(globals())
