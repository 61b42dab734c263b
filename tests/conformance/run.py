# SPDX-License-Identifier: Apache-2.0
"""Plays the conformance table (table.py) against the plugin that $SPUR_BIN names.

    run.py [--reference] [PREFIX…]   the rows whose names begin so; --reference: the rows that Debian's
                                     host-device + host-local can answer, against those
    run.py --list                    the table as text, one row a line
"""

import os
import re
import sys
import time
import traceback

import shape
import world
from table import ADD, ROWS, VERSION, VERSIONS, as_text, header
from world import LOST, SITUATIONS, lab


def fail(complaints):
    if complaints:
        raise AssertionError("\n".join(complaints))


def play(w, row, expect, strict):
    """One row; raises AssertionError. strict: not the reference's own way, but ours."""
    prepare, then = SITUATIONS[row.before]
    if prepare:
        prepare(w)
        w.baseline = w.snapshot()
    if then:
        then(w, row)
    changes = dict(row.conf)
    if w.result and row.verb != ADD and row.program == "spur":
        changes = {"prevResult": w.result, **changes}
    before = w.snapshot()
    answer = w.call(row.verb, changes, row.env, row.stdin, row.program)
    judge_answer(w, row, expect, answer, strict)
    if strict:
        judge_world(w, row, expect, before, answer)
    restore(w, row, expect, strict)


def judge_answer(w, row, expect, answer, strict):
    asked = row.conf.get("cniVersion", "1.0.0")
    known = asked if asked in VERSIONS and not row.stdin else None
    if answer.code not in expect.codes:
        fail([f"code {answer.code}, expected {expect}: {answer}"])
    if answer.seconds > expect.within:
        fail([f"took {answer.seconds:.1f} s, may take {expect.within} s: {answer}"])
    if not strict:
        return
    if answer.code != 0:
        text = f"{answer.msg} {answer.json.get('details', '')}"
        fail([f"does not say {word!r}: {answer}" for word in expect.words if w.plugin.ledger and word not in text])
        fail(shape.error(answer.json, known) if w.plugin.ledger else [])
    elif row.verb == VERSION:
        fail(shape.versions(answer.json, known if row.stdin is None else None if not row.stdin(b"{}") else "1.0.0"))
    elif row.verb == ADD:
        env = w.env(row.verb, row.env)
        fail(shape.result(answer.json, asked, env["CNI_IFNAME"], env["CNI_NETNS"], row.program == "spur-ipam"))
    elif answer.stdout:
        fail([f"{row.verb} prints nothing: {answer}"])


def judge_world(w, row, expect, before, answer):
    after = expect.after or ("moved" if row.verb == ADD else "unchanged")
    now = w.snapshot()
    if after == "moved":
        fail(moved(w, row, expect, answer))
    elif after == "unchanged":
        if expect.facts.get("ipam"):
            now.pop("ledger"), before.pop("ledger")
        lab.same(before, now)
    elif after == "as before":
        lab.same(w.baseline, now)
    elif after == "gone":
        assert not now.get("ledger"), f"still in the ledger: {now['ledger']}"
    elif after == "spooled":
        assert w.spool(), "nothing in the spool"
        lab.same(before, now)


def moved(w, row, expect, answer):
    """The device is where it should be, as the result and the row say."""
    ifname = row.env.get("CNI_IFNAME", "net1")
    device = w.conf(row.conf).get("device", "eth1")
    if device in w.node.net.links():
        return [f"{device} is still in the node"]
    link = w.pod.link(ifname)
    addresses = w.pod.addresses(ifname)
    result = answer.json
    index, ours = next((i, e) for i, e in enumerate(result["interfaces"]) if e.get("sandbox") and e["name"] == ifname)
    ips = {mine: sorted(ip["address"] for ip in result.get("ips", []) if (ip["interface"] == index) == mine) for mine in (True, False)}
    rules = [r for r in w.pod.snapshot()["rules"] if r not in w.baseline["pod"]["rules"]]
    is_now = {
        "mac": link["address"], "mtu": link["mtu"], "up": "UP" in link["flags"], "addresses": len(addresses), "ips": addresses,
        "rules": len(rules), "dns": result.get("dns"), "table": next((int(t) for r in rules for t in re.findall(r"lookup (\d+)", r)), None),
        "interfaces": [i["name"] for i in result["interfaces"]], "others": ips[False],
    }
    bad = [f"{key} is {is_now[key]!r}, expected {value!r}" for key, value in expect.facts.items() if is_now[key] != value]
    if ips[True] != addresses:
        bad.append(f"the result's addresses are not the device's: {result.get('ips')}, {addresses}")
    if ours.get("mac") != link["address"] or ours.get("mtu", link["mtu"]) != link["mtu"]:
        bad.append(f"the result's interface is not the device: {ours}")
    bad += [f"tentative: {a}" for a in link["addr_info"] if a.get("tentative") and a["scope"] != "link"]
    return bad


def restore(w, row, expect, strict):
    """Ends the attachment; everything must be as before then."""
    if expect.after in ("gone", "not as before"):
        return
    w.resume()
    if row.before in LOST:
        answer = w.delete(env={"CNI_NETNS": None})
        assert answer.code == 0 and not (w.plugin.ledger and w.node.attachments()), f"the DEL afterwards: {answer}"
        w.pristine = None
        return
    if expect.after == "spooled":
        lab.wait_for(lambda: not w.spool() and w.snapshot() == w.baseline, 15, "the daemon drains the spool and all is as before")
    env = {k: v for k, v in row.env.items() if k in ("CNI_CONTAINERID", "CNI_IFNAME") and expect.codes == (0,)}
    for ids in (env, {}):
        if w.snapshot() != w.baseline:
            w.delete({k: row.conf[k] for k in ("name",) if k in row.conf and expect.codes == (0,) and ids}, ids, program=row.program)
    if strict:
        lab.same(w.baseline, w.snapshot())


def expectation(row, reference):
    """What to expect of this plugin, and whether all of it has to hold; None: not for it."""
    if not reference or row.reference == "same":
        return row.expect, True
    return (row.reference, False) if row.reference is not None else None


def run(rows, plugin, reference):
    w, failed = None, 0
    for row in rows:
        expect, strict = expectation(row, reference)
        begun = time.monotonic()
        w = w or world.World(plugin)
        try:
            play(w, row, expect, strict)
            print(f"ok   {row.name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception as e:  # one failed row does not hide the others
            failed += 1
            why = str(e) if isinstance(e, AssertionError) else traceback.format_exc()
            print(f"FAIL {row.name}: {why}", flush=True)
            strict = False
        w = reusable(w, strict)
    if w:
        w.close()
    print(f"{len(rows) - failed} of {len(rows)} rows hold")
    return 1 if failed else 0


def reusable(w, strict):
    """The world for the next row, or None if this one is not as it was made."""
    if strict and w.baseline is w.pristine and w.pod in w.node.pods and w.snapshot() == w.pristine:
        w.result = None
        return w
    w.close()
    return None


def print_table():
    lines = [header(), *map(as_text, ROWS)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header()) - 1)] + [0]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main(arguments):
    if arguments == ["--list"]:
        return print_table()
    reference = "--reference" in arguments
    prefixes = tuple(a for a in arguments if a != "--reference") or ("",)
    if reference and not world.reference_plugins():
        lab.skip("containernetworking-plugins of Debian (tests/runtime/peers get debian)")
    if os.geteuid() != 0:
        lab.skip("root, to make network namespaces")
    if not reference:
        lab.need("spur-ipam")
    rows = [r for r in ROWS if r.name.startswith(prefixes) and expectation(r, reference)]
    return run(rows, world.Reference if reference else world.Spur, reference)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
