# SPDX-License-Identifier: Apache-2.0
"""Many clients at once, most of them dying, silent or hostile, and a disk that stalls under them."""

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import threading
import time

import lab
from daemon_serve import Node, boot_ms, generation_of, key_of, refused

STALLING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
static void stall(void)
{
	const char *stall = getenv("STALL");
	char now[4096] = "";
	int i;

	for (i = 0; stall[i]; i++)
		now[i] = stall[i];
	now[i++] = '!';
	while (access(stall, F_OK) == 0) {
		close(open(now, O_CREAT | O_WRONLY, 0600));
		usleep(5000);
	}
	unlink(now);
}
#ifdef STALL_SYNC
int fdatasync(int fd)
{
	stall();
	return (int)syscall(SYS_fdatasync, fd);
}
#else
long syscall(long number, ...)
{
	long (*next)(long, ...) = dlsym(RTLD_NEXT, "syscall"), a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_openat2 && strcmp((const char *)a[1], "/slow") == 0)
		stall();
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
#endif
"""


class StallingDisk:
    """A daemon whose commits wait while it is told so; STALL_PATH: its looks at the path /slow."""

    def __init__(self, node, what="STALL_SYNC"):
        self.trigger = f"{node.dir}/stall"
        source, library = f"{node.dir}/stall.c", f"{node.dir}/stall.so"
        with open(source, "w", encoding="utf-8") as f:
            f.write(STALLING)
        lab.run("cc", "-shared", "-fPIC", f"-D{what}", "-o", library, source)
        asan = f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": library, "STALL": self.trigger, "ASAN_OPTIONS": asan}

    def stall(self):
        open(self.trigger, "w", encoding="utf-8").close()

    def wait(self):
        """Until one stalls."""
        lab.wait_for(lambda: os.path.exists(f"{self.trigger}!"), what="a call that stalls")

    def go_on(self):
        os.unlink(self.trigger)


def wide_pool(**keys):
    return {"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.0.0.0/16"}], **keys}


def held(node):
    return node.rpc("pool.list")["pools"][0]["rails"][0]["held"]


def resting(node):
    return node.rpc("pool.list")["pools"][0]["rails"][0]["resting"]


def memory_kb(node):
    with open(f"/proc/{node.ipamd.pid}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("RssAnon")).split()[1])


def is_frugal(node, limit_kb):
    """AddressSanitizer keeps what was freed, so it has no say in this."""
    with open(lab.program("spur-ipamd"), "rb") as f:
        return b"__asan_init" in f.read() or memory_kb(node) < limit_kb


def reasons(node):
    """How many records went for which reason."""
    counts, after = {}, 0
    while events := node.rpc("history.get", after=after)["events"]:
        after = events[-1]["seq"]
        for event in events:
            if event["event"] == "released":
                counts[event["reason"]] = counts.get(event["reason"], 0) + 1
    return counts


def many_files(count):
    """Room for so many sockets in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        lab.skip(f"{count} open files, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


# -- late commits


def test_two_thousand_die_while_the_disk_stalls():
    """Whether they were in the commit or at the door: nothing stands, and no plugin runs for them."""
    many_files(2200)
    with Node() as node:
        disk = StallingDisk(node)
        node.daemon(pools=[wide_pool(cooldown_s=600)], env=disk.env)
        node.attach(container="lives")
        assert node.states() == {"lives": "attached"}
        before_kb = memory_kb(node)
        node.ipamd.send_signal(signal.SIGSTOP)
        crowd = [node.client() for _ in range(200)]
        for i, client in enumerate(crowd):
            client.send("attachment.reserve", **node.request(container=f"in{i}"))
        disk.stall()
        node.ipamd.send_signal(signal.SIGCONT)
        disk.wait()
        for i in range(1800):
            crowd.append(node.client())
            crowd[-1].send("attachment.reserve", **node.request(container=f"out{i}"))
        for client in crowd:
            client.close()
        disk.go_on()
        begun = time.monotonic()
        assert node.rpc("node.status")["attachments"]["attached"] == 1
        assert time.monotonic() - begun < 5, "it answers at once"
        lab.wait_for(lambda: node.states() == {"lives": "attached"}, what="nothing else stands")
        assert held(node) == 1, "no index is held"
        assert resting(node) == 0, "and none has been used"
        assert node.calls() == [], "the plugin never learnt of them"
        gone = reasons(node)
        assert set(gone) == {"undelivered"} and gone["undelivered"] <= 200, gone
        assert is_frugal(node, before_kb + 16 * 1024), f"{before_kb} kB, now {memory_kb(node)} kB"
        assert node.attach(container="next")["state"] == "unfinished"


def test_a_commit_that_comes_too_late():
    """A client that lives, but whose deadline has passed, is refused, and holds nothing."""
    with Node() as node:
        disk = StallingDisk(node)
        node.daemon(pools=[wide_pool(cooldown_s=600)], env=disk.env)
        standing = node.attach(container="stands")
        assert node.states() == {"stands": "attached"}
        with node.client() as new, node.client() as old:
            disk.stall()
            new.send("attachment.reserve", **node.request(container="late", wait_ms=300))
            disk.wait()
            old.send("attachment.reserve", **node.request(container="stands", wait_ms=8000))
            time.sleep(0.5)
            disk.go_on()
            answer = new.read()
            assert answer["error"]["data"]["cni"] == 11 and "deadline" in answer["error"]["message"], answer
            assert old.read()["result"]["id"] == standing["id"], "what stood before stands"
            lab.wait_for(lambda: "late" not in node.states(), what="it is taken back, though its client lives")
            assert held(node) == 1 and resting(node) == 0 and reasons(node) == {"late": 1}
            a = new.call("attachment.reserve", **node.request(container="late"))
            assert a["state"] == "unfinished" and a["generation"] > standing["generation"] + 1
            new.send("attachment.done", notify=True, facts={}, **generation_of(a))
        lab.wait_for(lambda: node.states() == {"stands": "attached", "late": "attached"}, what="both stand")
        assert node.calls() == []


def test_hooked_a_crash_before_it_is_taken_back():
    """Nobody has heard of the reservation: after the next start it is nobody's, until its DEL."""
    with Node() as node:
        disk = StallingDisk(node)
        node.daemon(pools=[wide_pool()], env=disk.env)
        disk.stall()
        with node.client() as client:
            client.send("attachment.reserve", **node.request())
            disk.wait()
        node.stop(signal.SIGKILL)
        disk.go_on()
        node.mode("lost")
        node.start()
        lab.wait_for(lambda: set(node.states().values()) <= {"unconfirmed"}, what="a look")
        node.rpc("attachment.undo", deadline=boot_ms() + 9000, **key_of())
        assert held(node) == 0 and node.states() == {}


# -- late looks


def slow_look(node):
    """An attachment of which somebody asks whether it lives, and a look at its path that stalls."""
    path = StallingDisk(node, "STALL_PATH")
    node.rail("eth1")
    node.daemon(env=path.env)
    node.attach(container="a", device="net:eth1", nsid=4711, path="/slow")
    path.stall()
    asking = node.client()
    asking.send("attachment.reserve", **node.request(container="b", device="net:eth1", nsid=4711, cookie=8))
    path.wait()
    return path, asking


def test_a_look_that_comes_too_late():
    """The container has let its device go and taken it again: the new attachment is not the dead one."""
    with Node() as node:
        path, asking = slow_look(node)
        with asking, node.client() as client:
            old = client.call("attachment.get", **key_of("a"))["attachment"]
            client.call("attachment.release", **generation_of(old), left=True, restored=True)
            a = client.call("attachment.reserve", **node.request(container="a", device="net:eth1"))
            path.go_on()
            lab.wait_for(lambda: not os.path.exists(f"{path.trigger}!"), what="the look goes on")
            time.sleep(0.3)  # it has ended; if it has not, this shows nothing
            client.send("attachment.done", notify=True, facts={}, **generation_of(a))
            client.close()
            answer = asking.read()
            assert "belongs to rail0/a/net1" in answer["error"]["message"], answer
        assert node.calls() == [] and node.states() == {"a": "attached"}


def test_the_end_waits_for_no_path():
    """A file system that hangs keeps a thread, but not the process."""
    with Node() as node:
        path, asking = slow_look(node)
        with asking:
            node.ipamd.terminate()
            assert node.ipamd.wait(timeout=20) == 0
        assert not os.path.exists(node.socket) and node.logged("something still runs")
        path.go_on()
        node.start()
        assert node.states() == {"a": "attached"}


# -- sixty thousand records

MANY = 60000
MARK = "@" * 16  # stands for a name, in tests/bench/fill.c


def filled(node, boot_id, count=MANY, **how):
    """A store with so many attachments of that boot."""
    program = os.path.join(lab.BIN, "bench", "fill")
    if not os.path.exists(program):
        lab.skip(program)
    params = node.request(container=MARK * 4, **how)
    text = json.dumps({"pools": [wide_pool()], "params": params})
    lab.run(program, node.state, boot_id, str(count), input=text)


def this_boot():
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        return f.read().strip()


def first_answer(node):
    """Starts the daemon; seconds from its start to its first answer."""
    begun = time.monotonic()
    node.daemon(pools=[wide_pool()])
    node.rpc("node.status")
    return time.monotonic() - begun


def slowest(node, is_over, seconds=120):
    """Reserves and releases until @is_over(status); the longest wait for an answer, and how many."""
    waits, end = [], time.monotonic() + seconds
    with node.client() as client:
        while not is_over(client.call("node.status")):
            assert time.monotonic() < end, "not over in time"
            time.sleep(0.01)
            for method in ("attachment.reserve", "attachment.release"):
                params = node.request(container="new") if method.endswith("reserve") else {
                    **generation_of(a), "left": True, "restored": True}
                begun = time.monotonic()
                a = client.call(method, **params)
                waits.append(time.monotonic() - begun)
    return max(waits), len(waits)


def answers_beside_a_pass(node):
    """How many requests are answered while a pass over all records goes on."""
    count = 0
    with node.client() as waiting, node.client() as client:
        waiting.send("node.reconcile")
        while not select.select([waiting.socket], [], [], 0)[0]:
            client.call("node.status")
            count += 1
        assert waiting.read()["result"]["looked"] == MANY
    return count


def test_a_reboot_with_many_records():
    """It serves at once; the old ones count as absent, go behind, and leave one event each."""
    with Node() as node:
        filled(node, "11111111-2222-3333-4444-555555555555")
        start = first_answer(node)
        status = node.rpc("node.status")
        assert status["attachments"] == {"unfinished": 0, "attached": 0, "dirty": 0, "unconfirmed": 0}, status
        rail = node.rpc("pool.list")["pools"][0]["rails"][0]
        slow, count = slowest(node, lambda status: not status["rebooted"])
        lab.wait_for(lambda: node.logged(f"{MANY} attachments of an earlier boot are dropped"), what="all are gone")
        print(f"first answer after {start * 1000:.0f} ms; {count} requests beside it, the slowest "
              f"{slow * 1000:.0f} ms; {memory_kb(node)} kB")
        assert node.attachments() == [] and held(node) == 0 and rail["held"] > 0
        assert slow < 1, f"{slow} s"
        assert is_frugal(node, 16 * 1024), f"{memory_kb(node)} kB"
        gone = reasons(node)
        assert gone["reboot"] > 30000, f"an event each, as many as the ring holds: {gone}"
        assert node.calls() == [], f"{node.calls()}"


def test_many_records_after_a_crash():
    """Nobody reads them all before it serves, nor later on the thread that serves."""
    with Node() as node:
        filled(node, this_boot(), nsid=1)
        node.net.ip("netns", "set", node.pod("a").name, "1")
        start = first_answer(node)
        status = node.rpc("node.status")
        assert status["attachments"]["attached"] == MANY, status
        report = node.rpc("node.reconcile")
        assert report == {"looked": MANY, "dead": 0, "reclaimed": 0, "alarm": False}, report
        beside = max(answers_beside_a_pass(node) for _ in range(5))
        assert beside > 5, f"a pass lets others in: {beside} at best"
        begun = time.monotonic()
        for _ in range(20):
            node.rpc("node.status")
        took = time.monotonic() - begun
        print(f"first answer after {start * 1000:.0f} ms, node.status {took * 50:.1f} ms; {memory_kb(node)} kB")
        assert took < 2, "node.status counts nothing by walking"
        assert is_frugal(node, 16 * 1024), f"{memory_kb(node)} kB"


def test_hooked_many_that_look_dead():
    """A walk, and a look at the path of each, between requests; an alarm, and nothing happens."""
    with Node() as node:
        filled(node, this_boot(), nsid=77)
        node.daemon(pools=[wide_pool()], env={"SPUR_YOUNG_MS": "0"})
        slow, count = slowest(node, lambda status: status["alarms"])
        print(f"{count} requests beside the pass, the slowest {slow * 1000:.0f} ms; {memory_kb(node)} kB")
        alarm = node.rpc("node.status")["alarms"][0]  # the pass may have met the one of slowest()
        assert any(f"{MANY} of {MANY + own} attachments look dead" in alarm for own in (0, 1)), alarm
        assert slow < 1, f"{slow} s"
        assert is_frugal(node, 16 * 1024), f"{memory_kb(node)} kB"
        assert node.calls() == [] and node.rpc("node.status")["undo"]["queued"] == 0


# -- one at a time, and places for those who ask


def test_one_request_at_a_time():
    """A peer that sends all at once is served like one that waits for each answer."""
    with Node() as node:
        node.daemon(http="127.0.0.1:9469")
        with node.client() as greedy, node.client() as modest:
            node.ipamd.send_signal(signal.SIGSTOP)
            line = b'{"jsonrpc":"2.0","id":%d,"method":"pool.list"}\n'
            greedy.socket.sendall(b"".join(line % (i + 1) for i in range(200)))
            modest.send("node.status")
            node.ipamd.send_signal(signal.SIGCONT)
            assert modest.read()["result"]["totals"]["requests"] < 10, "it is not behind all of them"
            for i in range(200):
                assert greedy.read()["id"] == i + 1, "all are answered, in order"


def test_done_and_the_next_request():
    """`done`, the next reserve and the close may come in one piece."""
    with Node() as node:
        node.daemon(pools=[wide_pool()])
        with node.client() as client:
            for i in range(20):
                a = client.call("attachment.reserve", **node.request(container=f"c{i}"))
                client.send("attachment.done", notify=True, facts={}, **generation_of(a))
        assert set(node.states().values()) == {"attached"} and len(node.states()) == 20
        assert node.calls() == []


def test_silence_and_slowness():
    """A first line has two seconds, however steadily its bytes come; a later one has ten."""
    with Node() as node:
        node.daemon()
        with node.client() as silent, node.client() as slow, node.client() as later:
            assert later.call("node.status")
            begun = time.monotonic()
            line = b'{"jsonrpc":"2.0","id":1,"method":"node.status"}\n'
            ended = {}

            def trickle(name, client):
                with contextlib.suppress(OSError):
                    for byte in line:
                        if client.is_quiet(0.25) is False:
                            break
                        client.socket.sendall(bytes([byte]))
                ended[name] = time.monotonic() - begun

            threads = [threading.Thread(target=trickle, args=pair) for pair in (("slow", slow), ("later", later))]
            for thread in threads:
                thread.start()
            assert silent.read() is None
            ended["silent"] = time.monotonic() - begun
            for thread in threads:
                thread.join()
            assert 1.5 < ended["silent"] < 9 and 1.5 < ended["slow"] < 9, ended
            assert 9 < ended["later"] < 30, ended


def spoken(node, count):
    """So many connections, each with its first answer: a slow machine would outlast their patience."""
    clients = []
    for _ in range(count):
        clients.append(node.client())
        clients[-1].call("node.status")
    return clients


def test_the_idle_give_way():
    """Beyond the limit somebody new gets the place of the one that was idle longest."""
    many_files(600)
    with Node() as node:
        node.daemon(pools=[wide_pool()])
        holder, waiting = node.client(), node.client()
        holder.call("attachment.reserve", **node.request(container="held"))
        waiting.send("attachment.get", **key_of("held"), deadline=boot_ms() + 60000)
        idle = spoken(node, 254)
        time.sleep(0.2)
        new = spoken(node, 20)
        assert new[-1].call("node.status")["connections"] == 256
        for client in idle[:20]:
            assert client.read() is None, "the idlest first"
        assert idle[-1].call("node.status"), "the others stay"
        holder.close()
        assert waiting.read()["result"]["attachment"]["containerID"] == "held", "who holds or waits is not idle"
        for client in (waiting, *idle, *new):
            client.close()


def test_all_are_busy():
    """Beyond the limit, and nobody is idle: it waits at the door until somebody goes."""
    many_files(600)
    with Node() as node:
        node.daemon(pools=[wide_pool()])
        holders = []
        for i in range(256):
            holders.append(node.client())
            holders[-1].call("attachment.reserve", **node.request(container=f"c{i}"))
        with node.client() as late:
            late.send("node.status")
            assert late.is_quiet(0.5)
            node.mode("hang")
            holders[7].close()
            assert late.read()["result"]["connections"] == 256
        for client in holders:
            client.close()


# -- hostile ones

HOSTILE = """
import contextlib, os, socket, sys, threading, time
path = sys.argv[1]

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(path)
    return s

def idle():
    with connect() as s:
        s.recv(1)

def slow():
    with connect() as s:
        for byte in b'{"jsonrpc":"2.0","id":1,"method":"node.status"}' * 10:
            s.sendall(bytes([byte]))
            time.sleep(1)

def garbage():
    with connect() as s:
        s.sendall(os.urandom(300) + b"\\n")
        s.recv(4096)

def nesting():
    with connect() as s:
        s.sendall(b"[" * 65534 + b"\\n")
        s.recv(4096)

def reconnecting():
    connect().close()

def again(what):
    while True:
        with contextlib.suppress(OSError):
            what()

for count, what in zip(sys.argv[2:], (idle, slow, garbage, nesting, reconnecting)):
    for _ in range(int(count)):
        threading.Thread(target=again, args=(what,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


def beside_hostile_ones(*counts):
    """Eight good clients reserve and release beside them: each is answered within its deadline."""
    many_files(600)
    with Node() as node:
        node.daemon(pools=[wide_pool()])
        took, failed, lock = [], [], threading.Lock()

        def good(i):
            try:
                for j in range(25):
                    begun = time.monotonic()
                    a = node.attach(container=f"c{i}-{j}")
                    with node.client() as client:
                        client.call("attachment.release", **generation_of(a), left=True, restored=True)
                    with lock:
                        took.append(time.monotonic() - begun)
            except Exception as e:  # told below, by the test's own thread
                failed.append(repr(e))

        program = ["/usr/bin/python3", "-c", HOSTILE, node.socket, *map(str, counts)]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hostile:
            try:
                assert hostile.stdout.readline() == "ready\n"
                with node.client() as client:
                    lab.wait_for(lambda: client.call("node.status")["connections"] > 100, what="they are there")
                before_kb = memory_kb(node)
                threads = [threading.Thread(target=good, args=(i,)) for i in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                after_kb, frugal = memory_kb(node), is_frugal(node, 64 * 1024)
            finally:
                hostile.kill()
        assert not failed and len(took) == 200, failed
        print(f"reserve, done and release beside {sum(counts)} hostile clients: p50 {sorted(took)[100] * 1000:.1f} ms, "
              f"max {max(took) * 1000:.1f} ms; anonymous memory {before_kb} kB, then {after_kb} kB")
        assert frugal, f"{after_kb} kB"
        assert node.attachments() == [] and node.calls() == []


def test_two_hundred_hostile_ones():
    beside_hostile_ones(60, 60, 40, 20, 20)


def test_five_hundred_hostile_ones():
    """More than there are places for."""
    beside_hostile_ones(210, 210, 40, 20, 20)


# -- who may come near


def starts_not(node, says, path):
    """It is refused, with the directory's name, and nothing has been changed."""
    before = os.stat(path).st_mode
    try:
        node.start()
        raise RuntimeError(f"{path}: taken")
    except AssertionError as ended:
        assert says in str(ended) and path in str(ended), ended
    node.ipamd = None
    assert os.stat(path).st_mode == before, path


def test_directories_are_taken_as_they_are():
    """What is made is 0700; what is root's and nobody else's to write is not touched (a hostPath of kubelet is
    0755); one that others may write, or that is sticky, or somebody else's, is refused."""
    with Node() as node:
        run = os.path.dirname(node.socket)
        os.rmdir(run)
        os.rmdir(node.state)
        dirs = (run, node.state, f"{run}/spool")
        node.daemon()
        modes = [os.stat(path).st_mode & 0o7777 for path in (*dirs, node.socket)]
        assert modes == [0o700, 0o700, 0o700, 0o600], [oct(m) for m in modes]
        for mode in (0o755, 0o750, 0o711):
            node.stop()
            for path in dirs:
                os.chmod(path, mode)
            node.start()
            assert {os.stat(path).st_mode & 0o7777 for path in dirs} == {mode}
        for path in dirs:
            for mode in (0o1777, 0o777, 0o775, 0o1755):
                node.stop()
                os.chmod(path, mode)
                starts_not(node, f"it is shared (mode {mode:04o})", path)
            os.chmod(path, 0o700)
            node.start()
        for path in (run, node.state, f"{run}/spool"):
            node.stop()
            os.chown(path, 65534, 65534)
            starts_not(node, "belongs to uid 65534", path)
            os.chown(path, 0, 0)
        node.start()
        refused("pool", lambda: node.rpc("attachment.reserve", **node.request(pool="none")), 7)


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
