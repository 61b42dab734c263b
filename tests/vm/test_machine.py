# SPDX-License-Identifier: Apache-2.0
"""The lab from outside: what a run reports, what a power cut leaves. test_machine.py KERNEL"""

import os
import sys
import tempfile

import vm

KERNEL = sys.argv[1] if len(sys.argv) > 1 else "6.12"


def test_status_and_output():
    got = vm.run("echo out; echo err >&2; exit 3", kernel=KERNEL)
    assert (got.status, got.output) == (3, "out\nerr\n"), (got.status, got.output)


def test_complaint_is_seen():
    got = vm.run("echo '<4>A link change request failed with some changes committed already.' >/dev/kmsg", kernel=KERNEL)
    assert got.good, got.complaints
    got = vm.run("echo '<4>WARNING: CPU: 0 PID: 1 at nowhere' >/dev/kmsg", kernel=KERNEL)
    assert got.status == 0 and not got.good and len(got.complaints) == 1, got.complaints


def test_too_long():
    got = vm.run("echo begun; sleep 60", timeout=2, kernel=KERNEL)
    assert got.status is None and got.output == "begun\n", (got.status, got.output)


def test_power_cut():
    """What was synced is there, what was not is not; the disk of before is mounted as it was left."""
    with tempfile.TemporaryDirectory() as directory:
        disk = vm.make_disk(os.path.join(directory, "disk"))
        with vm.boot("cd /run/disk; echo a >synced; sync; echo b >not; touch /run/lab/half; sleep 60",
                     kernel=KERNEL, disk=disk) as machine:
            machine.wait_mark("half")
            machine.kill()
            assert machine.result().status is None
        got = vm.run("cd /run/disk; ls -I lost+found; touch more; sync; echo b >/proc/sysrq-trigger; sleep 60",
                     kernel=KERNEL, disk=disk)
        assert got.status is None and got.output == "synced\n", (got.status, got.output)
        got = vm.run("ls -I lost+found /run/disk", kernel=KERNEL, disk=disk)
        assert got.good and got.output == "more\nsynced\n", (got.status, got.output)


def main():
    why = vm.why_not(KERNEL)
    if why:
        print(f"SKIP: {why}")
        sys.exit(vm.SKIP)
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok  ", name, flush=True)


main()
