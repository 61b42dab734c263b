# SPDX-License-Identifier: Apache-2.0
"""The daemon under valgrind: a day in its life without a wrong access or a lost byte."""

import os
import re
import shutil
import signal
import time

import lab
from daemon_serve import boot_ms


def valgrind_wrapper(node, log):
    """A program that is spur-ipamd, watched. Its children are not: they are spur, which is static."""
    path = os.path.join(node.dir, "watched-ipamd")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\nexec valgrind --leak-check=full --log-file={log} {lab.program('spur-ipamd')} \"$@\"\n")
    os.chmod(path, 0o755)
    return path


def live_a_day(node):
    """Attaches, repeats, asks, reloads, restarts, loses a pod: most of what the daemon can do."""
    conf = lab.netconf(device="eth1", pool="train")
    pod = node.pod("a")
    for _ in range(3):
        node.add(pod, conf)
        node.add(pod, conf)
        assert node.cni("CHECK", pod, conf).returncode == 0
        node.delete(pod, conf)
    node.add(pod, conf)
    for method in ("pool.list", "node.status", "history.get", "node.reconcile"):
        node.rpc(method)
    node.ipamd.send_signal(signal.SIGHUP)
    time.sleep(1)
    node.stop()
    node.start()
    # Not by the pod's death: valgrind 3.19 does not know openat2, so no look at a path succeeds.
    key = {k: node.attachments()[0][k] for k in ("network", "containerID", "ifname")}
    node.rpc("attachment.undo", timeout=60, deadline=boot_ms() + 60000, **key)
    assert not node.attachments()
    node.stop()


def test_a_day_under_valgrind():
    if not shutil.which("valgrind"):
        lab.skip("valgrind")
    with lab.Node("valgrind") as node:
        log = os.path.join(node.dir, "valgrind.%p")
        os.environ["SPUR_IPAMD_BIN"] = valgrind_wrapper(node, log)
        try:
            node.rail("eth1")
            node.daemon(pools=[lab.pool()])
            live_a_day(node)
        finally:
            del os.environ["SPUR_IPAMD_BIN"]
        logs = sorted(n for n in os.listdir(node.dir) if n.startswith("valgrind."))
        assert logs, "valgrind wrote nothing"
        ended = 0
        for name in logs:
            with open(os.path.join(node.dir, name), encoding="utf-8") as f:
                text = f.read()
            summary = re.search(r"ERROR SUMMARY: (\d+) errors", text)
            if summary:  # a child that became spur has none
                ended += 1
                assert summary.group(1) == "0", text
                assert "definitely lost" not in text or "definitely lost: 0 bytes" in text, text
        assert ended >= 2, "both lives of the daemon came to their end under valgrind"


lab.main(globals())
