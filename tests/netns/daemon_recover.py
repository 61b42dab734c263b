# SPDX-License-Identifier: Apache-2.0
"""What the daemon does after a restart, a reboot, a DEL without it, and when namespaces die."""

import json
import os
import signal
import time

import lab
from daemon_serve import Node, boot_ms, generation_of, key_of, refused

ALWAYS = {"SPUR_YOUNG_MS": "0"}


def live(node, name):
    """A namespace that lives, as a reservation names it: it has an nsid in the node."""
    pod = node.pod(name)
    node.net.ip("netns", "set", pod.name, "auto")
    for line in node.net.ip("netns", "list-id").splitlines():
        if f"name: {pod.name}" in line:
            return pod, int(line.split()[1])
    raise AssertionError(f"{pod.name} has no nsid")


def cookie_of(pod):
    """SO_NETNS_COOKIE of a socket inside."""
    code = ("import socket, struct; s = socket.socket(socket.AF_UNIX); "
            "print(struct.unpack('Q', s.getsockopt(socket.SOL_SOCKET, 71, 8))[0])")
    return int(pod.sh("/usr/bin/python3", "-c", code))


# -- restart


def test_unfinished_and_good():
    """Its `done` was lost with the daemon: CHECK finds it good, and it stays."""
    with Node() as node:
        node.daemon()
        with node.client() as client:
            client.call("attachment.reserve", **node.request())
            node.stop(signal.SIGKILL)
        node.start()
        lab.wait_for(lambda: node.states() == {"c1": "attached"}, 5, "CHECKed at once and finished")
        assert [c["env"]["CNI_COMMAND"] for c in node.calls()] == ["CHECK"]


def interrupted(node, mode):
    """A daemon that went in the middle of an ADD, and is back."""
    node.daemon()
    with node.client() as client:
        client.call("attachment.reserve", **node.request())
        node.stop(signal.SIGKILL)
    node.mode(mode)
    node.start()


def commands(node):
    return [c["env"]["CNI_COMMAND"] for c in node.calls()]


def test_unfinished_and_drifted():
    """Somebody has changed the device since: it is the pod's all the same."""
    with Node() as node:
        interrupted(node, "drift")
        lab.wait_for(lambda: node.states() == {"c1": "attached"}, what="it is settled")
        assert commands(node) == ["CHECK"]


def test_unconfirmed():
    """Nobody knows: nothing is taken, nothing is given to others; a look, or DEL, settles it."""
    with Node() as node:
        interrupted(node, "lost")
        lab.wait_for(lambda: node.states() == {"c1": "unconfirmed"}, what="it is looked at")
        status = node.rpc("node.status")["attachments"]
        assert status["unconfirmed"] == 1 and status["unfinished"] == 0, status
        node.rpc("node.reconcile", deadline=boot_ms() + 9000)
        lab.wait_for(lambda: len(node.calls()) == 2, what="a second look")
        assert node.states() == {"c1": "unconfirmed"} and commands(node) == ["CHECK"] * 2
        mine = node.attachments()[0]["ips"][0]["address"]
        assert node.attach(container="c2", cookie=8)["ips"][0]["address"] != mine
        assert node.rpc("ledger.check")["ok"]
        node.stop(signal.SIGKILL)
        node.start()
        assert node.states()["c1"] == "unconfirmed", "a restart changes nothing"
        node.mode("")
        node.rpc("node.reconcile", deadline=boot_ms() + 9000)
        lab.wait_for(lambda: node.states()["c1"] == "attached", what="a look that finds it")


def test_unconfirmed_and_asked_for():
    """The key's own verbs have their turn at once; another pod is refused; the pod's successor is not."""
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        pod, nsid = live(node, "a")
        there = {"nsid": nsid, "cookie": cookie_of(pod), "path": pod.path}
        with node.client() as client:
            first = client.call("attachment.reserve", **node.request(device="net:eth1", uid="u1", **there))
            node.stop(signal.SIGKILL)
        node.mode("lost")
        node.start()
        lab.wait_for(lambda: node.states() == {"c1": "unconfirmed"}, what="it is looked at")
        again = node.rpc("attachment.reserve", **node.request(device="net:eth1", uid="u1", **there))
        assert again["id"] == first["id"] and again["state"] == "unconfirmed", again
        assert node.rpc("attachment.get", **key_of())["attachment"]["id"] == first["id"]
        refused("belongs to", lambda: node.attach(container="c2", device="net:eth1", cookie=8))
        assert node.states() == {"c1": "unconfirmed"} and set(commands(node)) == {"CHECK"}
        node.mode("")
        other = node.attach(container="c3", device="net:eth1", uid="u1", cookie=9)
        assert other["containerID"] == "c3" and list(node.states()) == ["c3"]
        assert commands(node)[-1] == "DEL"


def test_a_successor_does_not_wait():
    """What cannot be undone keeps what it has: the pod gets another index, but no device twice."""
    with Node() as node:
        node.rail("eth1")
        node.rail("eth2")
        node.daemon()
        first = node.attach(device="net:eth1", uid="u1")
        node.mode("fail")
        with node.client() as client:
            refused("cannot be undone", lambda: client.call(
                "attachment.reserve", **node.request(container="c2", device="net:eth1", uid="u1", cookie=8)))
        second = node.attach(container="c2", device="net:eth2", uid="u1", cookie=8)
        assert second["ips"] != first["ips"] and node.states() == {"c1": "attached", "c2": "attached"}
        node.mode("")
        node.gone()
        assert node.rpc("ledger.check")["ok"] and node.states() == {"c2": "attached"}


def test_done_on_another_connection():
    """That of the ADD broke, and somebody else may have the lock."""
    with Node() as node:
        interrupted(node, "lost")
        lab.wait_for(lambda: node.states() == {"c1": "unconfirmed"}, what="it is looked at")
        a = node.attachments()[0]
        with node.client() as holder, node.client() as client:
            holder.call("attachment.get", **key_of())
            client.send("attachment.done", notify=True, facts={"ifindex": 7}, **{**generation_of(a), "generation": a["generation"] - 1})
            client.send("attachment.done", notify=True, facts={"ifindex": 9}, **generation_of(a))
            lab.wait_for(lambda: node.states() == {"c1": "attached"}, what="it is done")
        assert node.attachments()[0]["facts"]["ifindex"] == 9
        assert set(commands(node)) == {"CHECK"}


def test_check_of_an_old_version():
    """CHECK came with 0.4.0."""
    with Node() as node:
        node.daemon()
        request = node.request()
        request["request"]["netconf"]["cniVersion"] = "0.3.1"
        with node.client() as client:
            client.call("attachment.reserve", **request)
            node.stop(signal.SIGKILL)
        node.start()
        lab.wait_for(lambda: node.states() == {"c1": "attached"}, what="CHECKed and finished")
        assert node.calls()[0]["conf"]["cniVersion"] == "0.4.0"


def test_the_end_of_a_check_is_no_failed_add():
    with Node() as node:
        interrupted(node, "linger")
        lab.wait_for(node.calls, what="a first CHECK")
        time.sleep(1)
        assert commands(node) == ["CHECK"] and node.states() == {"c1": "unconfirmed"}


def test_a_real_add_whose_daemon_crashes():
    """`done` was not on disk yet: the attachment is found good, and the DEL that comes is served."""
    with lab.Node("daemon") as node:
        node.rail("eth1")
        node.daemon(pools=[lab.pool("train")])
        pod = node.pod("a")
        conf = lab.netconf(device="eth1", pool="train")
        before = node.snapshot(pod)
        node.add(pod, conf)
        node.stop(signal.SIGKILL)
        node.start()
        lab.wait_for(lambda: [a["state"] for a in node.attachments()] == ["attached"], 5, "it is found good")
        node.delete(pod, conf)
        lab.same(before, node.snapshot(pod))


def test_hooked_reboot():
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        a = node.attach(device="net:eth1")
        node.stop()
        node.start({"SPUR_BOOT_ID": "11111111-2222-3333-4444-555555555555"})
        assert node.attachments() == [] and node.calls() == [], "dropped, nothing touched"
        last = lab.wait_for(lambda: [e for e in node.rpc("history.get")["events"] if e["event"] == "released"],
                            what="it is dropped behind")
        assert [e["reason"] for e in last] == ["reboot"] and last[0]["id"] == a["id"], last


def test_dirty_is_tried_after_a_restart():
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        node.attach(device="net:eth1")
        node.rpc("attachment.release", **generation_of(node.attachments()[0]), left=True, restored=False)
        node.stop()
        node.start()
        node.gone()
        assert len(node.calls()) == 1


# -- the spool


def spool(node, name, container="c1", boot_id=None, boot_time=None, text=None):
    path = os.path.join(os.path.dirname(node.socket), "spool")
    os.makedirs(path, mode=0o700, exist_ok=True)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        boot_id = boot_id or f.read().strip()
    request = node.request(container=container)["request"]
    request["env"]["CNI_NETNS"] = "/spooled"
    time.sleep(0.002)  # an entry is of what is older, by the millisecond
    entry = {"key": key_of(container), "bootID": boot_id, "request": request,
             "bootTime": boot_ms() if boot_time is None else boot_time,
             "netns": {"path": "", "cookie": 0, "nsid": -1}}
    with open(f"{path}/.{name}", "w", encoding="utf-8") as f:
        f.write(json.dumps(entry) if text is None else text)
    os.rename(f"{path}/.{name}", f"{path}/{name}")
    return path


def test_spool_at_start_and_while_it_runs():
    with Node() as node:
        node.daemon()
        for i in range(3):
            node.attach(container=f"c{i}")
        node.stop()
        path = spool(node, "1.json", "c0")
        node.start()
        node.gone("c0")
        assert node.calls()[0]["env"]["CNI_NETNS"] == "/spooled", "the request of the DEL, not of the ADD"
        spool(node, "2.json", "c1")
        node.gone("c1")
        lab.wait_for(lambda: os.listdir(path) == [], what="the files are gone")
        assert node.states() == {"c2": "attached"}


def test_spool_of_something_else():
    """Older than the record, of another boot, of nothing that is known, unreadable."""
    with Node() as node:
        node.daemon()
        before = boot_ms() - 60000
        node.attach()
        path = spool(node, "1.json", boot_time=before)
        spool(node, "2.json", boot_id="11111111-2222-3333-4444-555555555555")
        spool(node, "3.json", "unknown")
        spool(node, "4.json", text="{")
        spool(node, "5.json", text='{"key": {"network": "../x"}, "bootID": "", "bootTime": 1, "request": {}}')
        lab.wait_for(lambda: sorted(os.listdir(path)) == ["4.json.bad", "5.json.bad"], what="only what is bad stays")
        assert node.states() == {"c1": "attached"} and node.calls() == []


def test_a_spool_of_thousands():
    """It keeps no start waiting, and no more are in hand than the daemon can hold."""
    with Node() as node:
        node.daemon(pools=[{"name": "train", "cooldown_s": 0, "rails": [{"name": "rail0", "cidr": "10.0.0.0/16"}]}])
        with node.client() as client:
            for i in range(600):
                a = client.call("attachment.reserve", **node.request(container=f"c{i}"))
                client.send("attachment.done", notify=True, facts={}, **generation_of(a))
        assert len(node.attachments()) == 600
        node.stop()
        node.mode("hang")
        for i in range(600):
            path = spool(node, f"{i}.json", f"c{i}")
        for i in range(600, 3000):
            spool(node, f"{i}.json", "unknown")
        begun = time.monotonic()
        node.start()
        status = node.rpc("node.status")
        assert time.monotonic() - begun < 3, "it does not read all before it serves"
        assert status["spooled"] <= 512, status
        lab.wait_for(lambda: len(os.listdir(path)) <= 600 or node.rpc("node.status")["spooled"] == 512, 60,
                     "what is of nothing goes, and what is of something is in hand")
        assert node.rpc("node.status")["spooled"] <= 512 and len(node.attachments()) == 600


def test_spool_waits_for_the_undo():
    with Node() as node:
        node.daemon()
        node.attach()
        node.mode("fail")
        path = spool(node, "1.json")
        lab.wait_for(lambda: len(node.calls()) >= 2, 40, "a second try")
        assert os.listdir(path) == ["1.json"]
        node.mode("")
        node.gone()
        lab.wait_for(lambda: os.listdir(path) == [], what="then it goes")


def test_spooled_del_and_a_new_add():
    """The ADD that follows waits until the spooled DEL is done."""
    with Node() as node:
        node.rail("eth1")
        node.daemon()
        node.attach(device="net:eth1")
        node.stop()
        spool(node, "1.json")
        node.start()
        a = node.attach(container="c2", device="net:eth1", cookie=8)
        assert a["containerID"] == "c2" and len(node.calls()) == 1


# -- the dead


def test_spooled_del_of_an_unfinished_add():
    """The daemon went in the middle of an ADD, and its DEL found none."""
    with Node() as node:
        node.daemon()
        with node.client() as client:
            client.call("attachment.reserve", **node.request())
            node.stop(signal.SIGKILL)
        path = spool(node, "1.json", boot_time=boot_ms() + 1)
        node.start()
        node.gone()
        lab.wait_for(lambda: not os.listdir(path), what="the entry goes")
        assert commands(node) == ["DEL"], node.calls()


def test_spooled_done():
    """An ADD lost the daemon, and says in the spool that it is done; of another generation or boot: nothing."""
    def done(generation, ifindex, boot=None):
        entry = json.loads(spooled)
        entry.update({"bootID": boot or entry["bootID"], "done": {"generation": generation, "facts": {"ifindex": ifindex}}})
        del entry["request"]
        return json.dumps(entry)
    with Node() as node:
        interrupted(node, "lost")
        a = lab.wait_for(lambda: [a for a in node.attachments() if a["state"] == "unconfirmed"], what="a look")[0]
        path = spool(node, "0.bad")
        with open(f"{path}/0.bad", encoding="utf-8") as f:
            spooled = f.read()
        os.unlink(f"{path}/0.bad")
        spool(node, "1.json", text=done(a["generation"] + 1, 1))
        spool(node, "2.json", text=done(a["generation"], 2, "11111111-2222-3333-4444-555555555555"))
        lab.wait_for(lambda: not os.listdir(path), what="they go")
        assert node.states() == {"c1": "unconfirmed"}
        node.stop()
        spool(node, "3.json", text=done(a["generation"], 3))
        spool(node, "4.json", text='{"key": 1, "done": {}}')
        node.start()
        assert node.states() == {"c1": "attached"}, "before anybody is served"
        assert node.attachments()[0]["facts"]["ifindex"] == 3 and os.listdir(path) == ["4.json.bad"]
        assert set(commands(node)) == {"CHECK"}


def test_spool_of_what_is_no_entry():
    """Too large, and a link: set aside, beside one that is served."""
    with Node() as node:
        node.daemon()
        node.attach()
        node.stop()
        spool(node, "0.json", text="x" * (1024 * 1024 + 1))
        path = spool(node, "1.json")
        os.symlink("0.json.bad", os.path.join(path, "2.json"))
        node.start()
        node.gone()
        lab.wait_for(lambda: sorted(os.listdir(path)) == ["0.json.bad", "2.json.bad"], what="two are set aside")


def test_hooked_a_namespace_that_dies():
    with Node() as node:
        node.daemon(env=ALWAYS)
        pod, nsid = live(node, "a")
        other, other_nsid = live(node, "b")
        node.attach(nsid=nsid, cookie=cookie_of(pod), path=pod.path)
        node.attach(container="c2", nsid=other_nsid, cookie=cookie_of(other), path=other.path)
        report = node.rpc("node.reconcile")
        assert report["looked"] == 2 and report["dead"] == 0, report
        pod.close()
        node.gone()
        assert node.states() == {"c2": "attached"}


def test_hooked_a_path_that_vanishes_is_not_a_death():
    """A process still lives in the namespace: its nsid stands."""
    with Node() as node:
        node.daemon(env=ALWAYS)
        pod, nsid = live(node, "a")
        node.attach(nsid=nsid, cookie=cookie_of(pod), path=pod.path)
        keep = os.open(pod.path, os.O_RDONLY)
        try:
            pod.close()
            time.sleep(1.5)
            assert node.rpc("node.reconcile")["dead"] == 0 and node.states() == {"c1": "attached"}
        finally:
            os.close(keep)
        node.gone()


def test_hooked_an_nsid_that_is_used_again():
    """Somebody else's namespace has the old one's nsid: that does not bring the old one back."""
    with Node() as node:
        node.daemon(env=ALWAYS)
        pod, nsid = live(node, "a")
        node.attach(nsid=nsid, cookie=cookie_of(pod), path=pod.path)
        node.ipamd.send_signal(signal.SIGSTOP)
        pod.close()
        lab.wait_for(lambda: "nsid" not in node.net.ip("netns", "list-id"), what="the id goes")
        _, other_nsid = live(node, "b")
        assert other_nsid == nsid, "the kernel gives the lowest free one"
        node.ipamd.send_signal(signal.SIGCONT)
        node.gone()


def test_hooked_an_nsid_that_was_used_again_meanwhile():
    """As before, but nobody watched: a younger record with that nsid tells."""
    with Node() as node:
        node.daemon()
        pod, nsid = live(node, "a")
        for ifname in ("net1", "net2"):
            node.attach(ifname=ifname, nsid=nsid, cookie=cookie_of(pod), path=pod.path)
        node.stop()
        pod.close()
        lab.wait_for(lambda: "nsid" not in node.net.ip("netns", "list-id"), what="the id goes")
        other, other_nsid = live(node, "b")
        assert other_nsid == nsid, "the kernel gives the lowest free one"
        node.start(ALWAYS)
        assert node.rpc("node.reconcile")["dead"] == 0, "nobody can tell yet"
        for ifname in ("net1", "net2"):
            node.attach(container="c2", ifname=ifname, nsid=other_nsid, cookie=cookie_of(other), path=other.path)
        assert node.rpc("node.reconcile")["dead"] == 2, "both of its attachments, and none of the other's"
        node.gone()
        assert node.states() == {"c2": "attached"}


def test_hooked_a_lost_nsid_is_known_as_long_as_its_record():
    """A dirty one is undone later and later: passes go by, and somebody else has the id."""
    with Node() as node:
        node.rail("eth1")
        node.daemon(env=ALWAYS)
        node.mode("fail")
        pod, nsid = live(node, "a")
        node.attach(device="net:eth1", nsid=nsid, cookie=cookie_of(pod), path=pod.path)
        node.rpc("attachment.release", **generation_of(node.attachments()[0]), left=False, restored=False)
        assert "lost" not in node.rpc("attachment.get", **key_of())
        node.ipamd.send_signal(signal.SIGSTOP)
        pod.close()
        lab.wait_for(lambda: "nsid" not in node.net.ip("netns", "list-id"), what="the id goes")
        _, other_nsid = live(node, "b")
        assert other_nsid == nsid, "the kernel gives the lowest free one"
        node.ipamd.send_signal(signal.SIGCONT)
        lab.wait_for(lambda: node.rpc("attachment.get", **key_of()).get("lost"), what="the daemon hears of it")
        for _ in range(3):
            node.rpc("node.reconcile")
        assert node.rpc("attachment.get", **key_of())["lost"]


def test_young_records_are_left_alone():
    with Node() as node:
        node.daemon()
        node.attach(nsid=77)
        report = node.rpc("node.reconcile")
        assert report["looked"] == 1 and report["dead"] == 0, report


def test_hooked_the_grace_time():
    """What looks dead is left alone until it is old enough, and then goes with the reason."""
    with Node() as node:
        node.daemon(env={"SPUR_YOUNG_MS": "4000"})
        begun = boot_ms()
        a = node.attach(nsid=77)
        while boot_ms() < a["bootTime"] + 3000:
            report = node.rpc("node.reconcile")
            assert boot_ms() > begun + 4000 or report["dead"] == 0, report
            time.sleep(0.2)
        assert node.calls() == []
        lab.wait_for(lambda: node.rpc("node.reconcile")["dead"], what="it is old enough")
        node.gone()
        last = node.rpc("history.get")["events"][-1]
        assert last["event"] == "released" and last["reason"] == "dead", last


def test_hooked_few_that_are_dead():
    """Three of three are too few for an alarm."""
    with Node() as node:
        node.daemon(env=ALWAYS)
        for i in range(3):
            node.attach(container=f"c{i}", nsid=100 + i, cookie=50 + i)
        report = node.rpc("node.reconcile")
        assert report == {"looked": 3, "dead": 3, "reclaimed": 3, "alarm": False}, report
        lab.wait_for(lambda: not node.attachments(), what="undone")


def test_hooked_a_hundred_that_are_dead():
    """More than wait at once for the plugin: all go in the end."""
    with Node() as node:
        node.daemon(env=ALWAYS, pools=[{"name": "train", "cooldown_s": 0, "rails": [
            {"name": "rail0", "cidr": "10.0.0.0/16"}]}])
        for i in range(100):
            node.attach(container=f"c{i}", nsid=100 + i, cookie=50 + i)
        report = node.rpc("node.reconcile", force=True)
        assert report["reclaimed"] == 100, report
        assert node.rpc("node.status")["undo"]["queued"] <= 64
        lab.wait_for(lambda: not node.attachments(), 120, "undone")
        assert len(node.calls()) == 100


def test_hooked_many_that_look_dead():
    with Node() as node:
        node.daemon(env=ALWAYS, http="127.0.0.1:9469")
        for i in range(7):
            node.attach(container=f"c{i}", nsid=100 + i if i < 4 else -1, cookie=50 + i)
        report = node.rpc("node.reconcile")
        assert report == {"looked": 7, "dead": 4, "reclaimed": 0, "alarm": True}, report
        assert len(node.attachments()) == 7 and node.calls() == []
        assert "4 of 7" in node.rpc("node.status")["alarms"][0]
        report = node.rpc("node.reconcile", force=True)
        assert report["reclaimed"] == 4 and not report["alarm"], report
        lab.wait_for(lambda: len(node.attachments()) == 3, what="undone after all")
        assert node.rpc("node.status")["alarms"] == []


def test_hooked_half_that_are_dead():
    """Four of eight are not more than half: no alarm."""
    with Node() as node:
        node.daemon(env=ALWAYS)
        for i in range(8):
            node.attach(container=f"c{i}", nsid=100 + i if i < 4 else -1, cookie=50 + i)
        report = node.rpc("node.reconcile")
        assert report == {"looked": 8, "dead": 4, "reclaimed": 4, "alarm": False}, report
        lab.wait_for(lambda: len(node.attachments()) == 4, what="undone")


def test_hooked_reconcile_beside_a_verb():
    """What a verb has in hand is not undone under it."""
    with Node() as node:
        node.daemon(env=ALWAYS)
        node.attach(nsid=77)
        with node.client() as client:
            client.call("attachment.get", **key_of())
            assert node.rpc("node.reconcile")["dead"] == 1
            time.sleep(0.5)
            assert node.calls() == []
        node.rpc("node.reconcile")
        node.gone()


if __name__ == "__main__":
    lab.need()
    lab.main(globals())
