# SPDX-License-Identifier: Apache-2.0
"""Gives a device of a pod its carrier, so many milliseconds after it came up there.

    carrier.py POD IFNAME PEER MS      from the namespace of the peer, which is down

Says "ready" when it watches, and then when the carrier came (CLOCK_MONOTONIC, ns).
"""

import ctypes
import os
import socket
import struct
import sys
import time

RTM_NEWLINK, RTNLGRP_LINK, IFLA_IFNAME, IFF_UP = 16, 1, 3, 1
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
NLM_F_REQUEST, NLM_F_ACK = 1, 4
HEADER, LINK = "=IHHII", "=BxHiII"


def watch_in(path):
    """A socket that hears of the devices of that namespace."""
    libc, here = ctypes.CDLL(None), os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    assert libc.setns(there, 0) == 0
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    events.bind((0, 0))
    events.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK)
    assert libc.setns(here, 0) == 0
    return events


def is_up(message, ifname):
    _, kind, _, _, _ = struct.unpack_from(HEADER, message)
    _, _, _, flags, _ = struct.unpack_from(LINK, message, 16)
    length, attr = struct.unpack_from("=HH", message, 32)
    name = message[36:32 + length].rstrip(b"\0").decode()
    return kind == RTM_NEWLINK and attr == IFLA_IFNAME and name == ifname and flags & IFF_UP


def main(pod, ifname, peer, wait_ms):
    events, rt = watch_in(pod), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    up = struct.pack(HEADER, 32, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
    up += struct.pack(LINK, 0, 0, socket.if_nametoindex(peer), IFF_UP, IFF_UP)
    print("ready", flush=True)
    while not is_up(events.recv(65536), ifname):
        pass
    time.sleep(int(wait_ms) / 1000)
    rt.send(up)
    answer = rt.recv(65536)
    print(time.monotonic_ns(), flush=True)
    assert struct.unpack_from("=i", answer, 16) == (0,)


main(*sys.argv[1:])
