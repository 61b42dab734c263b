# SPDX-License-Identifier: Apache-2.0
"""How the demos speak to a person."""

import contextlib
import json
import os
import sys
import textwrap
import traceback

BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
REPORT = "demo-failure.log"
_steps = ["the preparations"]
_logs = []


def step(title, why):
    print(f"\n{BOLD}{len(_steps)}. {title}{PLAIN}")
    _steps.append(f'step {len(_steps)}, "{title}"')
    tell(why)


def tell(text):
    print(f"\n{textwrap.indent(textwrap.fill(text, 96), chr(32) * 3)}\n")


def show(command, output):
    print(f"   $ {command}")
    for line in output.rstrip().splitlines():
        print(f"     {line}")


def pretty(text):
    return json.dumps(json.loads(text), indent=2)


@contextlib.contextmanager
def kept(node):
    """A node (lab.Node) whose daemon's log becomes part of the report when the demo fails."""
    try:
        yield node
    except BaseException:
        with contextlib.suppress(OSError), open(node.log, encoding="utf-8", errors="replace") as f:
            _logs.append(f.read())
        raise
    finally:
        node.close()


def perform(play, directory, quiet=False):
    """Runs a demo. What goes wrong is told in one sentence, the rest is in a report in that directory.

    quiet: only the report, for tell_failure(). Returns the exit status."""
    try:
        return play() or 0
    except KeyboardInterrupt:
        return 130
    except Exception as why:  # whatever it is
        reason = next(iter(str(why).strip().splitlines()), "") or type(why).__name__
        with open(os.path.join(directory, REPORT), "w", encoding="utf-8") as f:
            f.write(f"{_steps[-1]}: {reason[:300]}\n\n{traceback.format_exc()}")
            f.writelines(f"\nLog of spur-ipamd:\n\n{log}" for log in _logs)
    if not quiet:
        tell_failure(directory)
    return 1


def tell_failure(directory):
    path = os.path.join(directory, REPORT)
    with open(path, encoding="utf-8") as f:
        print(f"\nThe demo failed in {f.readline().strip()} (the rest, and the log of spur-ipamd: {path})", file=sys.stderr)
