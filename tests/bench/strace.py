# SPDX-License-Identifier: Apache-2.0
"""One CNI call and what its daemon did meanwhile, as strace saw both."""

import collections
import contextlib
import os
import re
import struct
import subprocess

import lab

# PID TIME name(FD<what>, …
CALL = re.compile(r"^(?:\d+ +)?([\d.]+) (\w+)\((?:(\d+)<([^>]*))?")
DUMP = re.compile(r"^ \| [0-9a-f]+  ((?:[0-9a-f]{2} {1,2})+)")
STRACE = ["strace", "-f", "-ttt", "-yy", "-e", "read=all", "-e", "write=all", "-o"]
SENDS = ("sendto", "sendmsg", "sendmmsg", "write", "writev")
RECEIVES = ("recvfrom", "recvmsg", "read", "readv")
RTM_NEWLINK, RTM_SETLINK, RTM_GETLINK = 16, 19, 18
IFLA_EXT_MASK, RTEXT_FILTER_VF = 29, 1


class Call:
    def __init__(self, match):
        self.time, self.name = float(match[1]), match[2]
        self.fd = int(match[3]) if match[3] else -1
        self.on = match[4] or ""  # what the descriptor is: "NETLINK:[ROUTE:7]", "/path/data.mdb"
        self.data = b""

    def sends(self, kind):
        return self.name in SENDS and self.on.startswith(kind)

    def receives(self, kind):
        return self.name in RECEIVES and self.on.startswith(kind)


def calls_read(path):
    calls = []
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            if dump := DUMP.match(line):
                calls[-1].data += bytes.fromhex(dump[1])
            elif call := CALL.match(line):
                calls.append(Call(call))
    return calls


def netlink_messages(data):
    """(type, what follows the header) of each message."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            return
        yield kind, data[16:length]
        data = data[(length + 3) & ~3:]


def link_asks_for_vfs(body):
    """Does this link request (struct ifinfomsg, attributes) carry the VF bit?"""
    at = 16
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if length < 4:
            return False
        if kind & 0x3FFF == IFLA_EXT_MASK:
            return bool(struct.unpack_from("=I", body, at + 4)[0] & RTEXT_FILTER_VF)
        at += (length + 3) & ~3
    return False


def synchronous_fds(pid):
    """Descriptors opened with O_DSYNC: LMDB writes its meta page, once a commit, through one."""
    fds = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as f:
                flags = next(l for l in f if l.startswith("flags:")).split()[1]
            if int(flags, 8) & os.O_DSYNC:
                fds.add(int(fd))
    return fds


class Trace:
    """Runs the program under strace, with another strace on the daemon."""

    def __init__(self, node, program, env, stdin):
        ours, daemons = (os.path.join(node.dir, f"trace-{who}") for who in ("program", "daemon"))
        pid = node.ipamd.pid
        self.synchronous = synchronous_fds(pid)
        watcher = subprocess.Popen([*STRACE, daemons, "-p", str(pid)], stderr=subprocess.PIPE)
        watcher.stderr.readline()  # "strace: Process PID attached"
        try:
            done = subprocess.run(["nsenter", f"--net={node.net.path}", *STRACE, ours, program], env=env,
                                  input=stdin, capture_output=True, text=True, check=False)
        finally:
            watcher.terminate()
            watcher.communicate()
        assert done.returncode == 0, done.stdout + done.stderr
        self.program, self.daemon = calls_read(ours), calls_read(daemons)

    def system_calls(self):
        return len(self.program)

    def busiest(self):
        counts = collections.Counter(c.name for c in self.program)
        return ", ".join(f"{n} {name}" for name, n in counts.most_common(5))

    def _netlink(self):
        for call in [*self.program, *self.daemon]:
            if call.sends("NETLINK"):
                yield from netlink_messages(call.data)

    def netlink_requests(self):
        return sum(1 for _ in self._netlink())

    def vf_requests(self):
        links = (RTM_NEWLINK, RTM_GETLINK, RTM_SETLINK)
        return sum(1 for kind, body in self._netlink() if kind in links and link_asks_for_vfs(body))

    def answers(self):
        """Lines that came back on the daemon's socket."""
        return sum(c.data.count(b"\n") for c in self.program if c.receives("UNIX"))

    def commits_before_result(self):
        printed = max((c.time for c in self.program if c.name in SENDS and c.fd == 1), default=0)
        assert printed, "the program printed no result"
        return sum(1 for c in self.daemon
                   if c.name.startswith("pwrite") and c.fd in self.synchronous and c.time < printed)
