# SPDX-License-Identifier: Apache-2.0
"""What the daemon has answered is on the disk: strace sees it flush, and write LMDB's meta page through a
synchronous descriptor, between a request that changes something and its answer."""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "netns"), os.path.join(HERE, "..", "bench")]
import lab  # noqa: E402
import strace  # noqa: E402
from daemon_serve import Node, generation_of  # noqa: E402


class Watch:
    """strace on the daemon, for a while."""

    def __init__(self, node):
        self.path = f"{node.dir}/watch"
        self.synchronous = strace.synchronous_fds(node.ipamd.pid)
        self.strace = subprocess.Popen([*strace.STRACE, self.path, "-p", str(node.ipamd.pid)], stderr=subprocess.PIPE)
        self.strace.stderr.readline()  # "strace: Process PID attached"

    def close(self):
        self.strace.terminate()
        self.strace.communicate()

    def step(self, call):
        if call.receives("UNIX") and b"\n" in call.data:
            return "receives"
        if call.name in ("fdatasync", "fsync") and call.on.endswith("/data.mdb"):
            return "flushes"
        if call.name.startswith("pwrite") and call.fd in self.synchronous:
            return "commits"
        return "answers" if call.sends("UNIX") and call.data else None

    def steps(self):
        return [s for s in map(self.step, strace.calls_read(self.path)) if s]


def test_flushed_before_the_answer():
    with Node() as node:
        node.daemon()
        watch = Watch(node)
        try:
            for i in range(20):
                with node.client() as client:
                    a = client.call("attachment.reserve", **node.request(container=f"c{i}"))
                    client.call("attachment.release", **generation_of(a), left=True, restored=True, reason="DEL")
        finally:
            watch.close()
        steps = watch.steps()
        assert steps.count("answers") == 40 == steps.count("receives"), steps
        for i in (i for i, step in enumerate(steps) if step == "answers"):
            assert steps[i - 3:i] == ["receives", "flushes", "commits"], steps


def test_done_whose_commit_fails():
    """It is written when the disk can be written again, and nobody has to look whether its ADD was good."""
    with Node() as node:
        node.daemon()
        with node.client() as client:
            a = client.call("attachment.reserve", **node.request())
            trouble = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,writev",
                 "-P", f"{node.state}/data.mdb", "-e", "inject=pwrite64,writev:error=ENOSPC", "-p", str(node.ipamd.pid)])
            lab.wait_for(lambda: f"TracerPid:\t{trouble.pid}" in open(f"/proc/{node.ipamd.pid}/status", encoding="ascii").read(),
                         what="the disk is full")
            client.send("attachment.done", notify=True, facts={"ifindex": 9}, **generation_of(a))
        lab.wait_for(lambda: node.logged("it is tried again"), what="a commit that fails")
        trouble.terminate()
        trouble.wait()
        lab.wait_for(lambda: node.states() == {"c1": "attached"}, 9, "it is written")
        assert node.attachments()[0]["facts"]["ifindex"] == 9 and node.calls() == []


if __name__ == "__main__":
    lab.need()
    if not shutil.which("strace"):
        lab.skip("strace")
    lab.main(globals())
