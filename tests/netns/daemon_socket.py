#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whose socket it is, and which ledger serves there: daemons against each other, against leftovers
and other programs, hand-overs, ledgers that are missing."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import lab
from daemon_serve import Node, boot_ms, fetch, generation_of, key_of

HTTP = "127.0.0.1:9469"


def start_another(node, options=(), env=None, **settings):
    """A daemon beside the node's own, by the same file or one with other settings."""
    path = node.config
    if settings:
        path = f"{node.dir}/other-{time.monotonic_ns()}.json"
        with open(node.config, encoding="utf-8") as f:
            config = json.load(f)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config | settings, f)
    words = tempfile.TemporaryFile("w+", dir=node.dir)  # a pipe that nobody empties would stop it
    p = subprocess.Popen(
        ["nsenter", f"--net={node.net.path}", lab.program("spur-ipamd"), "--config", path, *options],
        stdout=subprocess.DEVNULL, stderr=words, env={**os.environ, **(env or {})})
    p.words = words
    node.processes.append(p)
    return p


def words_of(p):
    """What it has said by its end."""
    p.wait(20)
    p.words.seek(0)
    return p.words.read()


def refused_start(node, words, **how):
    p = start_another(node, **how)
    err = words_of(p)
    assert p.returncode == 1 and all(w in err for w in words), (p.returncode, words, err)
    return err


def place(node):
    there = os.lstat(node.socket)
    return there.st_dev, there.st_ino


def still_serves(node, container):
    node.attach(container=container)
    assert container in node.states()


# -- whose socket it is


def test_second_daemon_leaves_the_socket():
    with Node() as node:
        node.daemon()
        before = place(node)
        who = f"a spur-ipamd (pid {node.ipamd.pid}) serves there already"
        for i in range(3):
            refused_start(node, [f"listen at {node.socket}: {who}"])
            assert place(node) == before
            still_serves(node, f"c{i}")


def test_other_state_is_refused_and_not_made():
    with Node() as node:
        node.daemon()
        before, other = place(node), f"{node.dir}/other"
        refused_start(node, [f"a spur-ipamd (pid {node.ipamd.pid}) serves there already"], state=other)
        assert place(node) == before and not os.path.exists(other)
        still_serves(node, "c1")


def test_other_socket_of_the_same_store():
    with Node() as node:
        node.daemon()
        os.mkdir(f"{node.dir}/run2", 0o700)
        refused_start(node, ["another spur-ipamd has this store"], socket=f"{node.dir}/run2/ipamd.sock")
        assert not os.path.exists(f"{node.dir}/run2/ipamd.sock")
        still_serves(node, "c1")


def test_other_socket_beside_the_spool():
    """It would take the other's spooled DELs for old ones."""
    with Node() as node:
        node.daemon()
        other = f"{os.path.dirname(node.socket)}/other.sock"
        refused_start(node, ["ledger.mark: another spur-ipamd has this directory"], socket=other, state=f"{node.dir}/other")
        assert not os.path.exists(other) and not os.path.exists(f"{node.dir}/other")
        still_serves(node, "c1")


def test_stale_socket_is_taken():
    with Node() as node:
        node.daemon()
        node.stop(signal.SIGKILL)
        assert os.path.exists(node.socket)
        node.start()
        still_serves(node, "c1")


def test_what_others_have_at_the_path():
    with Node() as node:
        node.daemon()
        node.stop()
        with open(node.socket, "w", encoding="utf-8") as f:
            f.write("not ours")
        refused_start(node, ["what is there is no socket"])
        with open(node.socket, encoding="utf-8") as f:
            assert f.read() == "not ours"
        os.remove(node.socket)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(node.socket)
            other.listen(1)
            refused_start(node, ["serves there already", f"(pid {os.getpid()})"])
            others = []
            for _ in range(4):  # one that does not accept, and whose queue is full
                s = socket.socket(socket.AF_UNIX)
                s.setblocking(False)
                others.append(s)
                if s.connect_ex(node.socket):
                    break
            refused_start(node, ["takes no connection"])
            for s in others:
                s.close()
        os.remove(node.socket)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(node.socket)
            refused_start(node, ["a socket of another kind"])
        assert os.path.exists(node.socket)  # dead now, but not a daemon's to say
        node.start()
        still_serves(node, "c1")


def test_end_leaves_what_it_has_not_bound():
    with Node() as node:
        node.daemon()
        os.remove(node.socket)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(node.socket)
            other.listen(1)
            before = place(node)
            assert node.stop() == 0
            assert place(node) == before


def test_race_of_many_states():
    """All find the same leftover; one takes it, and no other takes it from that."""
    with Node() as node:
        node.daemon()
        node.stop(signal.SIGKILL)
        for _ in range(4):
            crowd = [start_another(node, state=f"{node.dir}/state-{i}") for i in range(5)]
            lab.wait_for(lambda: sum(p.poll() is None for p in crowd) <= 1, 30, "all but one are refused")
            winner = next(p for p in crowd if p.poll() is None)
            for p in crowd:
                if p is not winner:
                    assert "serves there already" in words_of(p)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(node.socket)
                pid = int.from_bytes(s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
            assert pid == winner.pid
            winner.kill()
            winner.wait()


class Load:
    """Attaches and releases; counts what fails while a daemon is known to serve."""

    def __init__(self, node):
        self.node, self.rounds, self.failures, self.serving = node, 0, [], 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            before = self.serving
            try:
                with self.node.client() as client:
                    a = client.call("attachment.reserve", **self.node.request(container="load"))
                    client.call("attachment.release", **generation_of(a), left=True, restored=True)
                self.rounds += 1
            except (OSError, TypeError, ValueError) as e:  # the daemon has gone in the middle
                if before and before == self.serving:
                    self.failures.append(repr(e))
                time.sleep(0.001)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def test_hand_over():
    """Each daemon is told to end while its successor waits. Nobody removes the other's socket, and
    while one is known to serve no call fails for a missing one."""
    with Node() as node:
        node.daemon()
        current = node.ipamd
        node.ipamd = None
        with Load(node) as load:
            for turn in range(1, 13):
                load.serving = turn
                seen = load.rounds
                lab.wait_for(lambda: load.rounds > seen or load.failures, 20, f"turn {turn} serves")
                load.serving = 0
                follower = start_another(node)
                time.sleep(0.02 * (turn % 4))
                current.terminate()
                if turn % 2:  # also a third, that must lose against one of them
                    third = start_another(node)
                assert current.wait(20) == 0
                racers = [follower, third] if turn % 2 else [follower]
                lab.wait_for(lambda: sum(p.poll() is None for p in racers) <= 1, 20, "one is left")
                alive = [p for p in racers if p.poll() is None]
                current = alive[0] if alive else start_another(node)
                lab.wait_for(lambda: socket.socket(socket.AF_UNIX).connect_ex(node.socket) == 0, 20, "it serves")
            assert not load.failures, load.failures
        current.terminate()
        assert current.wait(20) == 0
        assert not os.path.exists(node.socket)


def test_add_and_del_in_a_restart():
    """An ADD that meets the gap fails with 11 and changes nothing; a DEL never fails."""
    with lab.Node("restart") as node:
        node.rail("eth1")
        node.daemon([lab.pool("train")])
        conf = lab.netconf(device="eth1", pool="train")
        for i in range(6):
            pod = node.pod(f"p{i}")
            adding = node.popen("ADD", pod, conf)
            node.stop()
            node.start()
            got = node.finish(adding)
            assert got.code in (0, 11), got
            if got.code:
                node.add(pod, conf)
            deleting = node.popen("DEL", pod, conf)
            node.stop()
            node.start()
            got = node.finish(deleting)
            assert got.returncode == 0, got
            lab.wait_for(lambda: not node.attachments(), 20, "the DEL is done, by itself or from the spool")
        assert "eth1" in node.net.links()


# -- which ledger serves there


MISSING = ["there is no ledger, and the one that served in this boot", "is its file system mounted", "--new-ledger"]


def hide(node):
    shutil.move(node.state, node.state + ".away")


def show(node):
    shutil.rmtree(node.state, ignore_errors=True)
    shutil.move(node.state + ".away", node.state)


def test_missing_ledger_is_refused():
    with Node() as node:
        node.daemon()
        node.attach(container="lives")
        for how in (signal.SIGTERM, signal.SIGKILL):
            node.stop(how)
            hide(node)
            refused_start(node, MISSING)
            assert not os.path.exists(node.state), "nothing was made"
            os.mkdir(node.state, 0o700)  # the mount point is there, what is mounted on it is not
            refused_start(node, MISSING)
            assert os.listdir(node.state) == []
            show(node)
            node.start()
            assert node.states() == {"lives": "attached"}


def test_new_ledger():
    with Node() as node:
        node.daemon()
        node.attach(container="lives")
        node.stop()
        hide(node)
        node.start(options=["--new-ledger"])
        assert node.states() == {}
        node.stop(signal.SIGKILL)
        node.start()  # it is the one that serves in this boot now
        node.attach(container="new")
        node.stop()
        shutil.move(node.state, node.state + ".new")
        show(node)
        refused_start(node, ["it is another ledger", "holds attachments"])
        node.start(options=["--new-ledger"])
        assert node.states() == {"lives": "attached"}


def test_empty_ledger_may_go():
    """Nobody's attachment is lost with it."""
    with Node() as node:
        node.daemon()
        a = node.attach(container="c1")
        with node.client() as client:
            client.call("attachment.get", **key_of())
            client.call("attachment.release", **generation_of(a), left=True, restored=True)
        node.stop()
        hide(node)
        node.start()
        assert node.states() == {}


def test_killed_as_soon_as_it_answers():
    """The mark is right before the answer is."""
    with Node() as node:
        node.daemon()
        for _ in range(5):
            with node.client() as client:
                client.call("attachment.reserve", **node.request(container="c1"))
                node.stop(signal.SIGKILL)
            hide(node)
            refused_start(node, MISSING)
            show(node)
            node.start()
            node.rpc("attachment.undo", **key_of(), deadline=boot_ms() + 20000)
            assert node.states() == {}


def test_imported_attachments_count():
    with Node() as node:
        node.daemon()
        node.attach(container="c1")
        dump = f"{node.dir}/dump"
        lab.run(lab.program("spurctl"), "--socket", node.socket, "export", dump)
        node.stop()
        hide(node)
        node.start(options=["--new-ledger"])
        lab.run(lab.program("spurctl"), "--socket", node.socket, "import", dump)
        node.stop(signal.SIGKILL)
        shutil.move(node.state, node.state + ".imported")
        refused_start(node, MISSING)
        shutil.move(node.state + ".imported", node.state)
        node.start()
        assert list(node.states()) == ["c1"]


def test_edited_state():
    with Node() as node:
        node.daemon()
        node.attach(container="c1")
        node.stop()
        refused_start(node, MISSING, state=f"{node.dir}/elsewhere")
        refused_start(node, MISSING, state=f"{node.dir}/elsewhere", socket=node.socket + "2")
        assert not os.path.exists(f"{node.dir}/elsewhere")
        shutil.copytree(node.state, f"{node.dir}/moved")  # the same ledger at another place is no other one
        node.daemon(state=f"{node.dir}/moved")
        assert node.states() == {"c1": "attached"}


def test_mark_that_nobody_understands():
    with Node() as node:
        node.daemon()
        node.stop()
        for words in (b"\n", b"{}\n", b'{"bootID":1}\n', b"\xff\xfe\n", bytes(20000), b'{"bootID":"x"'):
            with open(os.path.dirname(node.socket) + "/ledger.mark", "wb") as f:
                f.write(words)
            node.start()
            assert node.logged("what it said is not known")
            node.stop()


# -- what a restart would change


def edit(on, **settings):
    with open(on.config, encoding="utf-8") as f:
        config = json.load(f)
    with open(on.config + ".new", "w", encoding="utf-8") as f:
        json.dump(config | settings, f)
    os.rename(on.config + ".new", on.config)


def ctl(node, *argv):
    return lab.run(lab.program("spurctl"), "--socket", node.socket, *argv)


def check_config(node, path=None):
    done = subprocess.run([lab.program("spur-ipamd"), "--check-config", "--config", path or node.config],
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_restart_is_foretold():
    with Node() as node:
        node.daemon()
        node.attach(container="c1")
        assert node.rpc("node.status")["restart"] == {"changes": []}
        assert check_config(node) == (0, f"{node.config}: good\n")
        edit(node, state=f"{node.dir}/gone", node="other", log={"level": "debug"})
        for _ in range(2):  # reloaded or not, that is what a restart would meet
            changes = {c["key"]: c for c in node.rpc("node.status")["restart"]["changes"]}
            assert set(changes) == {"state", "node"}, changes
            assert changes["state"]["old"] == node.state and changes["state"]["new"] == f"{node.dir}/gone"
            assert "the start would be refused" in changes["state"]["why"], changes
            node.ipamd.send_signal(signal.SIGHUP)
            lab.wait_for(lambda: node.logged('key "state"'), what="it has been read again")
        line = f'at a restart key "state": "{node.state}" -> "{node.dir}/gone" (there is no ledger'
        assert line in ctl(node, "status") and line in ctl(node, "pools", "--diff", node.config)
        code, said = check_config(node)
        assert code == 1 and all(w in said for w in MISSING), said
        with open(node.config, "a", encoding="utf-8") as f:
            f.write("}")
        assert "at a restart it would not start: " in ctl(node, "status")
        os.remove(node.config)
        assert "No such file" in node.rpc("node.status")["restart"]["error"]
        with open(node.config, "w", encoding="utf-8") as f:
            f.write("{}")
        edit(node, socket=node.socket, state=node.state, plugin=node.plugin, http="", node=node.label, pools=[])
        assert node.rpc("node.status")["restart"] == {"changes": []}


def test_ledger_that_goes_under_the_daemon():
    with Node() as node:
        node.daemon(http=HTTP)
        assert fetch(node, "/readyz") == (200, "ok\n")
        hide(node)
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 503, what="the probe notices")
        assert f"the ledger in {node.state} has gone" in fetch(node, "/readyz")[1]
        assert fetch(node, "/healthz")[0] == 200, "a restart would not help"
        assert "a restart would not find it" in node.rpc("node.status")["alarms"][0]
        lab.wait_for(lambda: 'spur_alarm{alarm="ledger_gone"} 1' in fetch(node, "/metrics")[1], 30, "an alarm")
        show(node)
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 200, what="it is there again")


# -- readiness is proven through the socket


def test_readiness_with_the_socket_gone():
    with Node() as node:
        node.daemon(http=HTTP)
        assert fetch(node, "/readyz") == (200, "ok\n") and fetch(node, "/healthz") == (200, "ok\n")
        os.rename(node.socket, node.socket + ".away")
        code, why = fetch(node, "/readyz")
        assert code == 503 and node.socket in why, "at once, not when the loop has looked"
        lab.wait_for(lambda: fetch(node, "/healthz")[0] == 503, what="a restart would help")
        assert fetch(node, "/healthz")[1] == f"not well: the socket {node.socket} has gone, or is another's; restart the daemon\n"
        lab.wait_for(lambda: 'spur_alarm{alarm="socket_gone"} 1' in fetch(node, "/metrics")[1], 30, "an alarm")
        os.rename(node.socket + ".away", node.socket)
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 200, what="it is there again")
        assert fetch(node, "/healthz")[0] == 200


def test_readiness_with_another_at_the_socket():
    with Node() as node:
        node.daemon(http=HTTP)
        os.remove(node.socket)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(node.socket)
            other.listen(8)
            code, why = fetch(node, "/readyz")
            assert code == 503, why
            lab.wait_for(lambda: fetch(node, "/healthz")[0] == 503, what="a restart would help")


def test_readiness_when_nobody_comes_in():
    """Every place is taken by one that holds a lock: so it would be for a plugin."""
    with Node() as node:
        node.daemon(http=HTTP)
        with contextlib.ExitStack() as stack:
            for i in range(256):
                client = stack.enter_context(node.client())
                client.call("attachment.get", **key_of(f"c{i}"))
            begun = time.monotonic()
            code, why = fetch(node, "/readyz")
            assert code == 503 and "timed out" in why, why
            assert time.monotonic() - begun < 15
            assert fetch(node, "/healthz")[0] == 200
        lab.wait_for(lambda: fetch(node, "/readyz")[0] == 200, what="there is room again")


def attach_and_die(node, step):
    """A daemon that kills itself before that step of its store. Returns whether it came to it."""
    p = start_another(node, env={"SPUR_KILL_STEP": f"store:{step}"})
    lab.wait_for(lambda: p.poll() is not None or socket.socket(socket.AF_UNIX).connect_ex(node.socket) == 0, 20, "it serves or dies")
    with contextlib.suppress(OSError, TypeError, ValueError):  # it dies in the middle
        node.attach(container="c1", pool=None)
        return False
    assert p.wait(20) == -signal.SIGKILL
    return True


def test_hooked_mark_is_never_too_late():
    """Killed at any step of a start on a new ledger, and of its first ADD: if a record is there, the mark tells of it."""
    seen = set()
    for step in range(1, 200):
        with Node() as node:
            node.daemon()
            node.stop()
            shutil.rmtree(node.state)
            died = attach_and_die(node, step)
            with open(f"{os.path.dirname(node.socket)}/ledger.mark", encoding="utf-8") as f:
                told = json.loads(f.readline())["attachments"]
            if died:
                node.start()
                assert told or not node.states(), (step, node.states())
                seen.add((told, bool(node.states())))
            else:
                assert told
                break
    assert {(False, False), (True, False), (True, True)} <= seen, seen


def test_hooked_other_boot():
    with Node() as node:
        node.daemon(env={"SPUR_BOOT_ID": "11111111-2222-3333-4444-555555555555"})
        node.attach(container="c1")
        node.stop()
        hide(node)
        node.start()
        assert node.states() == {}


lab.main(globals())
