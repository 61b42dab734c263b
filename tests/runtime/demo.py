#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev demo, and how it fails: in one sentence that says where to look."""

import os
import subprocess

import peer
import podman
from peer import lab

DEMO = os.path.join(lab.ROOT, "tests/demo/demo.py")


def perform(**env):
    peer.need(podman.PODMAN)
    return subprocess.run(["/usr/bin/python3", DEMO], capture_output=True, text=True, env={**os.environ, **env})


def fails(words, **env):
    done = perform(**env)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr, done
    (sentence,) = done.stderr.strip().splitlines()
    assert sentence.startswith("The demo failed in ") and words in sentence, sentence
    with open(sentence.rpartition(": ")[2].rstrip(")"), encoding="utf-8") as f:
        return f.read()


def test_demo():
    done = perform()
    assert done.returncode == 0 and "are the same." in done.stdout and not done.stderr, done


def test_daemon_that_does_not_start():
    report = fails('step 2, "The node\'s ledger": spur-ipamd: exit 1', SPUR_IPAMD_BIN="/bin/false")
    assert "Traceback" in report


def test_plugin_that_fails():
    report = fails('step 3, "Pod A, attached by hand"', SPUR_BIN="/bin/false")
    assert "serves node" in report, "the log of the daemon is in it"


lab.main(globals())
