# SPDX-License-Identifier: Apache-2.0
"""What a driver lets be set, by the ioctl that is older than ethtool netlink: another way in than the
one that Spur takes.

    settings(ns, "net1")                             # {"features": […], "ring": […], …}
    change(ns, "net1", "tso=0", "ring rx=128")       # by the names of CHANGES
"""

import json
import struct
import sys

import lab

SIOCETHTOOL = 0x8946
GET = {  # name: command, numbers that follow it
    "ring": (0x10, 8), "channels": (0x3C, 8), "coalesce": (0x0E, 22), "pause": (0x12, 3), "message level": (0x07, 1),
}
GFEATURES, FEATURE_BLOCKS = 0x3A, 2
SWITCHES = {"rx": 0x15, "tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C, "message level": 0x08}
CHANGES = {  # name: read, write, which of the numbers
    "ring rx": ("ring", 0x11, 4), "ring tx": ("ring", 0x11, 7), "coalesce rx-usecs": ("coalesce", 0x0F, 0),
    "channels rx": ("channels", 0x3D, 4), "channels tx": ("channels", 0x3D, 5),
}


def settings(ns, name):
    return json.loads(_inside(ns, name))


def change(ns, name, *words):
    return _inside(ns, name, *words)


def _inside(ns, *words):
    """ns None: here."""
    where = ("nsenter", f"--net={ns.path}") if ns else ()
    return lab.run(*where, sys.executable, __file__, *words)


def main(name, *words):
    import ctypes
    import fcntl
    import socket

    sock = socket.socket()

    def call(command, *numbers, room=0):
        buf = ctypes.create_string_buffer(struct.pack(f"<I{len(numbers)}I", command, *numbers) + bytes(4 * room))
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("<16sQ16x", name.encode(), ctypes.addressof(buf)))
        return list(struct.unpack(f"<{(len(buf) - 1) // 4}I", buf.raw[:-1]))[1:]

    def read(kind):
        command, count = GET[kind]
        try:
            return call(command, room=count)
        except OSError:
            return None

    for word in words:
        what, value = word.split("=")
        if what in SWITCHES:
            call(SWITCHES[what], int(value))
            continue
        kind, command, at = CHANGES[what]
        numbers = read(kind)
        numbers[at] = int(value)
        call(command, *numbers)
    if not words:
        blocks = call(GFEATURES, FEATURE_BLOCKS, room=4 * FEATURE_BLOCKS)[1:]
        wanted = [blocks[4 * i] & blocks[4 * i + 1] for i in range(FEATURE_BLOCKS)]
        print(json.dumps({"features": wanted, **{kind: read(kind) for kind in GET}}))


if __name__ == "__main__":
    main(*sys.argv[1:])
