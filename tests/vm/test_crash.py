# SPDX-License-Identifier: Apache-2.0
"""Every step of ADD and of DEL of a VF with its RDMA device fails once, is killed once, and sees the
daemon killed once; afterwards the node, the VF's attributes and the ledger are as before.

The device is of the lab's own Ethernet driver, which has every attribute, with soft-RoCE on it.
"""

import itertools
import signal

import guest
import lab
import scene
from lab import wait_for

RICH = {
    "mac": "02:00:00:00:aa:01", "vlan": 3, "vlanQoS": 1, "vlanProto": "802.1ad", "spoofchk": "off", "trust": "on",
    "min_tx_rate": 1, "max_tx_rate": 2, "link_state": "enable", "mtu": 1400, "rdma": "required", "rdmaName": "mlx5_0",
    "routing": {"table": "auto"}, "ready": {"timeout_ms": 0},
}
STEPS = 15  # at least so many has it


class Case(scene.Scene):
    """One VF, one pod; whatever was hit, both are as before in the end."""

    def __init__(self):
        super().__init__(scene.eth(1), "crash")

    def __enter__(self):
        super().__enter__()
        self.vf = self.vfs[0]
        self.ctr = self.pod("a", uid="uid-a")
        self.request = self.conf(self.vf, **RICH)
        self.empty = self.ctr.snapshot()
        return self

    def call(self, verb, **hooks):
        return self.cni(verb, self.ctr, self.request, **hooks)

    def is_clean(self):
        """Quicker than a whole look, after each round: what Spur touches."""
        assert not self.attachments(), self.attachments()
        lab.same(self.empty, self.ctr.snapshot())
        is_now = self.facts()
        lab.same(self.before, is_now)

    def cleans_up(self):
        """Somebody else has to: the daemon."""
        wait_for(lambda: not self.attachments(), scene.SETTLE_SECONDS, "the record goes")
        self.settled()
        self.is_clean()

    def is_whole(self):
        """All addresses can be had: none was lost."""
        self.settles()
        [pool] = self.rpc("pool.list")["pools"]
        assert [rail["held"] for rail in pool["rails"]] == [0], pool

    def another_pod(self):
        self.end(self.ctr)
        self.ctr = self.pod("a", uid="uid-a")


def steps(case, verb, variable, phase):
    """Calls the verb with step 1, 2, … chosen, until it comes to its end; yields each other answer."""
    for k in itertools.count(1):
        assert k < 60, "there are not so many steps"
        if verb == "DEL":
            case.add(case.ctr, case.request)
        got = case.call(verb, **{variable: f"{phase}:{k}"})
        if got.returncode == 0 and not (verb == "DEL" and case.attachments()):
            break
        yield k, got
    if verb == "ADD":
        case.delete(case.ctr, case.request)
    assert k > (STEPS if verb == "ADD" else 4), f"{k - 1} steps: the case is too poor"
    print(f"     {k - 1} steps")
    case.is_whole()


def test_hooked_add_fails():
    with Case() as case:
        for k, got in steps(case, "ADD", "SPUR_FAIL_STEP", "apply"):
            assert got.code == 100 and got.msg.startswith(f"step {k}: ") and not got.json["details"], (k, got)
            case.is_clean()


def test_hooked_add_killed():
    """In turn the runtime calls DEL, or nobody does."""
    with Case() as case:
        for k, got in steps(case, "ADD", "SPUR_KILL_STEP", "apply"):
            assert got.returncode == -signal.SIGKILL, (k, got)
            if k % 2:
                case.delete(case.ctr, case.request)
                case.is_clean()
            else:
                case.cleans_up()


def test_hooked_add_killed_at_its_end():
    for phase in ("done", "print"):
        with Case() as case:
            got = case.call("ADD", SPUR_KILL_STEP=f"{phase}:1")
            assert got.returncode == -signal.SIGKILL and not got.stdout, got
            if phase == "print":
                case.delete(case.ctr, case.request)
            case.cleans_up()


def test_hooked_add_fails_and_its_undo_is_killed():
    """What ADD could not undo is left to the daemon."""
    with Case() as case:
        for k in itertools.count(1):
            got = case.call("ADD", SPUR_FAIL_STEP=f"apply:{STEPS}", SPUR_KILL_STEP=f"revert:{k}")
            if got.returncode == 1:
                break
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.cleans_up()
        assert k > 4, f"{k - 1} steps: the case is too poor"
        case.is_whole()


def test_hooked_del_fails():
    """DEL succeeds; what it could not restore is dirty, and the daemon restores it."""
    with Case() as case:
        for k, got in steps(case, "DEL", "SPUR_FAIL_STEP", "revert"):
            assert got.returncode == 0 and not got.stdout, (k, got)
            assert [a["state"] for a in case.attachments()] == ["dirty"], (k, case.attachments())
            case.rpc("node.reconcile", timeout=60)
            case.cleans_up()


def test_hooked_del_killed_then_del():
    with Case() as case:
        for k, got in steps(case, "DEL", "SPUR_KILL_STEP", "revert"):
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.delete(case.ctr, case.request)
            case.is_clean()


def test_hooked_del_killed_before_it_releases():
    with Case() as case:
        case.add(case.ctr, case.request)
        got = case.call("DEL", SPUR_KILL_STEP="release:1")
        assert got.returncode == -signal.SIGKILL, got
        case.delete(case.ctr, case.request)
        case.is_whole()


# -- the daemon


def crash_daemon(case):
    case.stop(signal.SIGKILL)
    case.start(env={"SPUR_YOUNG_MS": "0"})


def stalled(case, verb, phase, k):
    """The call stands before this step, or has ended because it has none."""
    call = case.popen(verb, case.ctr, case.request, **{"SPUR_STALL_STEP": f"{phase}:{k}"})
    wait_for(lambda: call.poll() is not None or is_stopped(call), 20, "the call stops")
    return call, call.poll() is None


def is_stopped(call):
    try:
        with open(f"/proc/{call.pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"
    except FileNotFoundError:
        return False


def test_hooked_daemon_killed_at_each_step_of_add():
    """ADD stops, the daemon crashes and comes back, ADD goes on: all or nothing."""
    with Case() as case:
        for k in itertools.count(1):
            call, stands = stalled(case, "ADD", "apply", k)
            if stands:
                crash_daemon(case)
                call.send_signal(signal.SIGCONT)
            got = case.finish(call)
            assert got.returncode == 0, (k, got)
            wait_for(lambda: case.attachments()[0]["state"] == "attached", 15, "it is attached")
            check = case.cni("CHECK", case.ctr, {**case.request, "prevResult": got.json})
            assert check.returncode == 0, (k, check)
            case.delete(case.ctr, case.request)
            case.settled()
            case.is_clean()
            if not stands:
                break
        assert k > STEPS, f"{k - 1} steps: the case is too poor"
        case.is_whole()


def test_hooked_both_killed_at_each_step_of_add():
    """A power cut for the processes: nothing is taken from a pod, and the DEL that comes undoes it."""
    with Case() as case:
        for k in itertools.count(1):
            call, stands = stalled(case, "ADD", "apply", k)
            if not stands:
                break
            case.stop(signal.SIGKILL)
            call.kill()
            case.finish(call)
            case.start(env={"SPUR_YOUNG_MS": "0"})
            wait_for(lambda: all(a["state"] in ("attached", "unconfirmed") for a in case.attachments()),
                     scene.SETTLE_SECONDS, "it is looked at")
            assert len(case.attachments()) == 1, (k, "a pod that lives keeps its record")
            case.delete(case.ctr, case.request)
            case.cleans_up()
        case.finish(call)
        case.delete(case.ctr, case.request)
        assert k > STEPS, f"{k - 1} steps: the case is too poor"
        case.is_whole()


def test_changed_and_the_daemon_crashes():
    """A pod that lives keeps its VF, whatever was changed of it before `done` was on disk."""
    with Case() as case:
        case.add(case.ctr, case.request)
        for words in (["down"], ["address", "02:00:00:00:bb:07"], ["mtu", "1300"], ["name", "other"]):
            case.ctr.ip("link", "set", "net1", *words)
        crash_daemon(case)
        wait_for(lambda: [a["state"] for a in case.attachments()] == ["attached"], 20, "it is settled")
        for _ in range(2):
            case.rpc("node.reconcile", timeout=60)
            wait_for(lambda: case.rpc("node.status")["undo"] == {"queued": 0, "running": 0}, 20, "nothing is undone")
        assert "other" in case.ctr.links() and guest.rdma_devices(case.ctr) == ["mlx5_0"]
        case.refuse("CHECK", 104, "", case.ctr, case.request)
        case.delete(case.ctr, case.request)
        case.is_clean()
        case.is_whole()


def test_hooked_daemon_killed_at_each_step_of_del():
    """DEL goes on, and what it could not release waits in the spool or for the next DEL."""
    with Case() as case:
        for k in itertools.count(1):
            case.add(case.ctr, case.request)
            call, stands = stalled(case, "DEL", "revert", k)
            if stands:
                crash_daemon(case)
                call.send_signal(signal.SIGCONT)
            got = case.finish(call)
            assert got.returncode == 0 or got.code == 11, (k, got)
            case.delete(case.ctr, case.request)
            case.cleans_up()
            if not stands:
                break
        assert k > 4, f"{k - 1} steps: the case is too poor"
        case.is_whole()


# -- the namespace


def some(last):
    return range(1, last + 1, 4)


def test_hooked_namespace_dies_first():
    """At a few steps ADD is killed and the namespace deleted; nobody calls DEL, or somebody does."""
    with Case() as case:
        last = STEPS
        for i, k in enumerate(some(last)):
            got = case.call("ADD", SPUR_KILL_STEP=f"apply:{k}")
            assert got.returncode == -signal.SIGKILL, (k, got)
            case.ctr.close()
            if i % 2:
                case.delete(case.ctr, case.request)
            case.settles()
            case.another_pod()


def test_hooked_del_killed_and_namespace_dies():
    with Case() as case:
        for k in (1, 3, 5, 7):
            case.add(case.ctr, case.request)
            case.call("DEL", SPUR_KILL_STEP=f"revert:{k}")
            case.ctr.close()
            case.settles()
            case.another_pod()


def test_hooked_namespace_dies_under_a_stalled_add():
    """It is deleted by name while the ADD stands in the middle; its undo finds the device wherever it is."""
    with Case() as case:
        for k in some(STEPS):
            call, stands = stalled(case, "ADD", "apply", k)
            assert stands, k
            case.ctr.close()
            call.send_signal(signal.SIGCONT)
            got = case.finish(call)
            case.delete(case.ctr, case.request)
            assert got.returncode in (0, 1), (k, got)
            case.settles()
            case.another_pod()


if __name__ == "__main__":
    lab.need(hooks=True)
    guest.main(globals())
