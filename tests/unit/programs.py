# SPDX-License-Identifier: Apache-2.0
"""The programs as they were linked: what the flags of CMakeLists.txt ask for is in them."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import lab  # noqa: E402  pylint: disable=wrong-import-position

PROGRAMS = ("spur", "spur-ipamd", "spurctl")
SANITIZED = b"__asan_init" in open(lab.program("spur"), "rb").read()


def readelf(options, path):
    return lab.run("readelf", "-W", options, path)


def symbols(name):
    """Also of the one that is stripped: its own are beside it."""
    path = lab.program(name)
    debug = f"{path}.debug"
    return readelf("-s", debug if os.path.exists(debug) else path)


def test_where_they_are_loaded_is_not_foretold():
    for name in PROGRAMS:
        assert re.search(r"^ +Type: +DYN ", readelf("-h", lab.program(name)), re.M), name
        assert re.search(r"FLAGS_1\).* PIE\b", readelf("-d", lab.program(name))), name


def test_nothing_of_the_loaders_stays_writable():
    for name in PROGRAMS:
        assert "GNU_RELRO" in readelf("-l", lab.program(name)), name
        assert re.search(r"FLAGS_1\).*\bNOW\b", readelf("-d", lab.program(name))), name


def test_no_memory_is_written_and_run():
    for name in PROGRAMS:
        segments = re.findall(r"^ +(LOAD|GNU_STACK) +(?:0x\w+ +){5}([RWE ]{3})", readelf("-l", lab.program(name)), re.M)
        assert {kind for kind, _ in segments} == {"LOAD", "GNU_STACK"}, (name, segments)
        assert not [s for s in segments if "W" in s[1] and "E" in s[1]], (name, segments)


def test_the_plugin_needs_no_library():
    """But a sanitizer's."""
    assert SANITIZED or "INTERP" not in readelf("-l", lab.program("spur"))
    assert SANITIZED or "NEEDED" not in readelf("-d", lab.program("spur"))


def test_overruns_are_seen():
    for name in PROGRAMS:
        found = symbols(name)
        assert "__stack_chk_fail" in found, f"{name}: -fstack-protector-strong"
        assert SANITIZED or re.search(r"__\w+_chk\b", found), f"{name}: _FORTIFY_SOURCE"


def test_jumps_land_where_they_may():
    """Of the programs as a whole the linker says it only if the C library was built so, which Debian 12's was not."""
    objects = [os.path.join(where, f) for where, _, files in os.walk(os.path.join(os.path.dirname(lab.BIN), "cni"))
               for f in files if f.endswith(".c.o")]
    assert len(objects) > 20, objects
    for path in objects:
        assert re.search(r"Properties: .*\b(IBT|BTI)\b", readelf("-n", path)), path


if __name__ == "__main__":
    lab.main(globals())
