#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator watches: probes, logs, figures, spurctl top."""

import json
import os

import lab
from daemon_serve import Node, fetch

HTTP = "127.0.0.1:9469"


def log_lines(node):
    with open(node.log, encoding="utf-8") as f:
        return f.read().splitlines()


def test_readiness_says_why_not():
    with Node() as node:
        node.daemon(http=HTTP)
        assert fetch(node, "/readyz") == (200, "ok\n")
        os.rename(node.plugin, node.plugin + ".away")
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 503, what="the probe notices")
        assert fetch(node, "/readyz")[1] == f"not ready: the plugin {node.plugin}: No such file or directory\n"
        assert fetch(node, "/healthz")[0] == 200  # it lives: a restart would not help
        os.rename(node.plugin + ".away", node.plugin)
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 200, what="the probe notices")


def test_readiness_without_pools():
    with Node() as node:
        node.daemon(http=HTTP, pools=[])
        assert fetch(node, "/readyz") == (503, "not ready: no pool is configured\n")


def test_log_format():
    with Node() as node:
        node.daemon(options=["--log-format", "json"], log={"format": "text"})
        node.stop()
        lines = [json.loads(line) for line in log_lines(node)]
        assert any("serves node" in line["msg"] and line["level"] == "info" for line in lines), lines
    done = lab.subprocess.run([lab.program("spur-ipamd"), "--log-format", "xml"], capture_output=True, text=True)
    assert done.returncode == 2 and "must be json or text" in done.stderr, done


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
