# SPDX-License-Identifier: Apache-2.0
"""How the demos speak to a person."""

import json
import os
import sys
import textwrap

BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
_steps = iter(range(1, 100))


def step(title, why):
    print(f"\n{BOLD}{next(_steps)}. {title}{PLAIN}")
    tell(why)


def tell(text):
    print(f"\n{textwrap.indent(textwrap.fill(text, 96), chr(32) * 3)}\n")


def show(command, output):
    print(f"   $ {command}")
    for line in output.rstrip().splitlines():
        print(f"     {line}")


def pretty(text):
    return json.dumps(json.loads(text), indent=2)
