# SPDX-License-Identifier: Apache-2.0
"""Every step of ADD and of DEL fails once, and is killed once; afterwards everything is as before.

"Everything": the node, the pod and the ledger, compared whole. The hooks of base/hook.h choose the
step; the daemon's own undo never has them in its environment.
"""

import itertools
import signal

import lab

RICH = dict(
    device="eth1", pool="train", mtu=1450, mac="02:00:00:00:00:77", routing={"table": "auto"},
)


class Case:
    """A node with one rail that has something to lose: up, altnames, an MTU of its own."""

    def __enter__(self):
        self.node = lab.Node("sweep").__enter__()
        self.node.rail("eth1", mtu=1400, mac="02:00:00:00:01:01", up=True, altnames=("enp5", "net1"))
        # 0: the daemon leaves a young record to the runtime that has just made it
        self.node.daemon(pools=[lab.pool(v6=True, routes=[{"dst": "10.64.0.0/10"}])], env={"SPUR_YOUNG_MS": "0"})
        self.pod = self.node.pod("a", uid="uid-a")
        self.conf = lab.netconf(**RICH)
        self.before = self.node.snapshot(self.pod)
        return self

    def __exit__(self, *why):
        return self.node.__exit__(*why)

    def is_as_before(self):
        lab.same(self.before, self.node.snapshot(self.pod))

    def last_event(self):
        events, page = [], [{"seq": 0}]
        while page:
            events = page
            page = self.node.rpc("history.get", after=events[-1]["seq"])["events"]
        return events[-1]["event"], events[-1]["reason"]

    def settles(self, seconds=20):
        """The daemon undoes what was left, then everything is as before."""
        lab.wait_for(lambda: not self.node.attachments(), seconds, "the record goes")
        self.is_as_before()


def until_success(case, verb, variable, phase):
    """Calls verb with step 1, 2, … chosen, until a call has no such step; yields each other answer."""
    for k in itertools.count(1):
        assert k < 100, "there are not so many steps"
        got = case.node.cni(verb, case.pod, case.conf, **{variable: f"{phase}:{k}"})
        if got.returncode == 0 and not hit(case, verb, got):
            assert k > 1, "no step was ever chosen"
            return
        yield k, got


def hit(case, verb, got):
    """Did a call that succeeded nevertheless come past the hook? Only a DEL may, and leaves a trace."""
    return verb == "DEL" and bool(case.node.attachments())


def test_hooked_add_fails():
    with Case() as case:
        for k, got in until_success(case, "ADD", "SPUR_FAIL_STEP", "apply"):
            assert got.returncode == 1 and got.code == 100 and got.msg.startswith(f"step {k}: "), (k, got)
            assert not got.json["details"], ("nothing is left over", got)
            case.is_as_before()
            assert case.last_event() == ("released", f"ADD failed: {got.msg}"), "undone by ADD itself"
        assert k >= 15, f"{k} steps: the case is too poor"


def test_hooked_add_killed_then_del():
    with Case() as case:
        for k, got in until_success(case, "ADD", "SPUR_KILL_STEP", "apply"):
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.node.delete(case.pod, case.conf)
            case.is_as_before()


def test_hooked_add_killed_and_no_del():
    with Case() as case:
        for k, got in until_success(case, "ADD", "SPUR_KILL_STEP", "apply"):
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.settles()


def test_hooked_add_killed_and_the_namespace_dies():
    """The veth dies with it: nothing is left but the node without the rail."""
    for k in (1, 4, 8, 12):
        with Case() as case:
            got = case.node.cni("ADD", case.pod, case.conf, SPUR_KILL_STEP=f"apply:{k}")
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.pod.close()
            lab.wait_for(lambda: not case.node.attachments(), 20, "the record goes")
            # The kernel takes the two ends of a veth away one after the other.
            lab.wait_for(lambda: case.node.net.links() in ([], ["eth1", "eth1p"]), 10, "both ends or neither")
            case.node.delete(case.pod, case.conf)


def test_hooked_add_killed_before_it_says_done():
    with Case() as case:
        got = case.node.cni("ADD", case.pod, case.conf, SPUR_KILL_STEP="done:1")
        assert got.returncode == -signal.SIGKILL, got
        case.settles()


def test_hooked_add_killed_before_it_prints():
    """`done` has been said: the attachment stands, and the runtime's DEL takes it back."""
    with Case() as case:
        got = case.node.cni("ADD", case.pod, case.conf, SPUR_KILL_STEP="print:1")
        assert got.returncode == -signal.SIGKILL and not got.stdout, got
        case.node.delete(case.pod, case.conf)
        case.is_as_before()


def test_hooked_add_fails_and_its_undo_is_killed():
    with Case() as case:
        for k in itertools.count(1):
            got = case.node.cni("ADD", case.pod, case.conf, SPUR_FAIL_STEP="apply:18", SPUR_KILL_STEP=f"revert:{k}")
            if got.returncode == 1:
                break
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.settles()
        assert k > 4, f"only {k - 1} steps were undone"
        case.is_as_before()


def test_hooked_del_fails():
    """DEL succeeds; what it could not restore is dirty, and the daemon restores it."""
    with Case() as case:
        case.node.add(case.pod, case.conf)
        for k in range(1, 100):
            got = case.node.cni("DEL", case.pod, case.conf, SPUR_FAIL_STEP=f"revert:{k}")
            assert got.returncode == 0 and not got.stdout, (k, got)
            left = case.node.attachments()
            if not left:
                break
            assert left[0]["state"] == "dirty", left
            assert "the test hook fails it" in got.stderr, got
            case.node.rpc("node.reconcile", timeout=30)
            case.settles()
            case.node.add(case.pod, case.conf)
        assert k > 4, f"only {k - 1} steps were undone"
        case.is_as_before()


def test_hooked_del_killed_then_del():
    with Case() as case:
        for k in itertools.count(1):
            case.node.add(case.pod, case.conf)
            got = case.node.cni("DEL", case.pod, case.conf, SPUR_KILL_STEP=f"revert:{k}")
            if got.returncode == 0:
                break
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.node.delete(case.pod, case.conf)
            case.is_as_before()
        assert k > 4, f"only {k - 1} steps were undone"
        case.is_as_before()


def test_hooked_del_killed_before_it_releases():
    with Case() as case:
        case.node.add(case.pod, case.conf)
        got = case.node.cni("DEL", case.pod, case.conf, SPUR_KILL_STEP="release:1")
        assert got.returncode == -signal.SIGKILL, got
        case.node.delete(case.pod, case.conf)
        case.is_as_before()


def test_hooked_del_killed_and_the_namespace_dies():
    for k in (1, 3, 5):
        with Case() as case:
            case.node.add(case.pod, case.conf)
            got = case.node.cni("DEL", case.pod, case.conf, SPUR_KILL_STEP=f"revert:{k}")
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.pod.close()
            lab.wait_for(lambda: not case.node.attachments(), 20, "the record goes")
            links = case.node.net.links()
            assert links in ([], ["eth1", "eth1p"]), links


def test_hooked_daemon_killed_at_each_step():
    """ADD stops, the daemon crashes and comes back, ADD goes on: all or nothing."""
    for k in (1, 5, 9, 13):
        with Case() as case:
            call = case.node.popen("ADD", case.pod, case.conf, SPUR_STALL_STEP=f"apply:{k}")
            lab.wait_stopped(call)
            case.node.stop(signal.SIGKILL)
            case.node.start()
            call.send_signal(signal.SIGCONT)
            got = case.node.finish(call)
            assert got.returncode == 0, ("`done` is delivered on another connection", got)
            lab.wait_for(lambda: case.node.attachments()[0]["state"] == "attached", 15, "it is attached")
            assert case.node.cni("CHECK", case.pod, {**case.conf, "prevResult": got.json}).returncode == 0
            case.node.delete(case.pod, case.conf)
            case.is_as_before()


def test_hooked_both_killed():
    """A power cut for the processes: nothing is taken from the pod, and the DEL that comes undoes it."""
    for k in (1, 5, 9, 13):
        with Case() as case:
            call = case.node.popen("ADD", case.pod, case.conf, SPUR_STALL_STEP=f"apply:{k}")
            lab.wait_stopped(call)
            case.node.stop(signal.SIGKILL)
            call.kill()
            case.node.finish(call)
            case.node.start()
            lab.wait_for(lambda: case.node.attachments()[0]["state"] in ("attached", "unconfirmed"), 15, "a look")
            assert (case.node.attachments()[0]["state"] == "attached") == ("net1" in case.pod.links())
            case.node.delete(case.pod, case.conf)
            case.is_as_before()


if __name__ == "__main__":
    lab.need(hooks=True)
    lab.main(globals())
