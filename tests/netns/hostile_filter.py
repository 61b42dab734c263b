# SPDX-License-Identifier: Apache-2.0
"""The filter of system calls that spur loads. Numbers are those of x86-64."""

import ctypes
import errno
import os
import struct

import lab
from hostile_confine import filter_of_the_build

DENIED = {"x86_64": {"execve": 59, "execveat": 322, "ptrace": 101, "mount": 165, "unshare": 272, "bpf": 321, "clone3": 435,
                     "init_module": 175, "finit_module": 313, "keyctl": 250, "io_uring_setup": 425, "move_mount": 429,
                     "open_by_handle_at": 304, "perf_event_open": 298, "process_vm_writev": 311, "capset": 126, "setuid": 105,
                     "chmod": 90, "chown": 92, "link": 86, "symlink": 88, "mknod": 133, "reboot": 169, "seccomp": 317,
                     "x32 getpid": 0x40000027, "a call of tomorrow": 9999}}
# CLONE_NEWUSER; setns into any namespace; AF_PACKET, AF_INET; TIOCSTI, SIOCDEVPRIVATE; PR_CAPBSET_DROP; PROT_EXEC
PARTS = {"x86_64": {"clone": (56, 0x10000000, 0), "setns": (308, 0, 0), "packet": (41, 17, 3), "inet": (41, 2, 1),
                    "TIOCSTI": (16, 0, 0x5412), "private": (16, 0, 0x89f0), "prctl": (157, 24, 0), "mmap": (9, 0, 4096, 5, 0x22, -1, 0)}}


def test_what_the_filter_denies():
    """The very program that spur loads, and nothing that could let a stranger out."""
    program = filter_of_the_build()
    pid = os.fork()
    if pid == 0:
        os._exit(denies(program))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "let through, or ended otherwise: see above"


def denies(program):
    libc = ctypes.CDLL(None, use_errno=True)
    text = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *i) for i in program))
    header = ctypes.create_string_buffer(struct.pack("<H6xQ", len(program), ctypes.addressof(text)))
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.prctl(22, 2, header) == 0
    calls = {**{n: (c,) for n, c in DENIED["x86_64"].items()}, **PARTS["x86_64"]}
    passed = []
    for name, (number, *arguments) in calls.items():
        ctypes.set_errno(0)
        if libc.syscall(*(ctypes.c_long(a) for a in (number, *arguments, 0, 0, 0))) != -1 or ctypes.get_errno() != errno.ENOSYS:
            passed.append(name)
    for family in (1, 16):  # unix, netlink
        if libc.syscall(ctypes.c_long(41), ctypes.c_long(family), ctypes.c_long(3), ctypes.c_long(0)) < 0:
            passed.append(f"not family {family}")
    if passed:
        os.write(2, f"{passed}\n".encode())
    return bool(passed)


def test_made_again_it_is_the_same():
    """A build can be repeated to the byte."""
    made = lab.run(os.path.join(os.path.dirname(lab.BIN), "cni/filter_bpf"))
    with open(os.path.join(os.path.dirname(lab.BIN), "cni/filter_bpf.inc"), encoding="ascii") as f:
        assert made == f.read()


if __name__ == "__main__":
    lab.main(globals())
