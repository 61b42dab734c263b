# SPDX-License-Identifier: Apache-2.0
"""The power goes while pods come and go, and the node boots again with the store that it left.

    test_power.py KERNEL [SEED]   out here: boots VMs on one disk, and kills QEMU
    test_power.py guest CUT       in there: looks at what the boot before left, then works on

Four workers add and delete pods on VFs of two PFs, two of them on VFs that the daemon chooses. They
write down what was answered; the store's history has to agree with that.
"""

import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import guest
import lab
import vm

DISK = "/run/disk"
CUTS = 3
VFS = 2  # of each PF
# Six addresses a rail: a lost one would be missed.
POOL = {"name": "train", "cooldown_s": 0, "rails": [
    {"name": "rail0", "cidr": "10.64.0.0/29", "match": {"pci": ["0000:01:00.0"]}},
    {"name": "rail1", "cidr": "10.64.1.0/29", "match": {"pci": ["0000:02:00.0"]}},
]}
ADDRESSES = 6


# -- in the VM


class Node(guest.Node):
    """The VM, with the store on the disk that lasts."""

    def __init__(self):
        guest.load_rdma()
        self.vfs = [pf.make_vfs(VFS) for pf in guest.pfs()]
        for vf in (vf for vfs in self.vfs for vf in vfs):
            vf.soft_roce(f"rdma{vf.pf.pci[6]}{vf.index}")
        super().__init__("power")
        self.state = f"{DISK}/state"
        os.makedirs(self.state, mode=0o700, exist_ok=True)

    def history(self):
        events, page = [], [{"seq": 0}]
        while page:
            page = self.rpc("history.get", after=page[-1]["seq"])["events"]
            events += page
        return events

    def conf(self, rail, number):
        """Of the first PF the daemon chooses a VF."""
        keys = {"deviceID": self.vfs[rail][number].pci} if rail else {}
        conf = lab.netconf(f"net{rail}", pool="train", rdma="required", trust="on", ready={"timeout_ms": 0}, **keys)
        return {**conf, "rail": f"rail{rail}"}


def say(journal, **what):
    """To the machine outside, which has it when the write returns."""
    os.write(journal, json.dumps(what).encode() + b"\n")


def work(node, journal, rail, number, cut):
    """A worker: one pod after the other, until the power goes."""
    conf, moods = node.conf(rail, number), random.Random(f"{cut} {rail} {number}")
    for turn in range(1000):
        pod = node.pod(f"{cut}-{rail}-{number}-{turn}", uid=f"uid-{cut}-{rail}-{number}-{turn}")
        got = node.cni("ADD", pod, conf)
        if got.returncode:
            say(journal, event="wrong", what=repr(got))
            return
        say(journal, event="added", container=pod.container, address=got.json["ips"][0]["address"])
        time.sleep(moods.random())
        say(journal, event="deleting", container=pod.container)
        got = node.cni("DEL", pod, conf)
        if got.returncode:
            say(journal, event="wrong", what=repr(got))
            return
        say(journal, event="deleted", container=pod.container)
        pod.close()


def check_booted(node):
    """What the boot before left is gone, at once for all who ask, soon in the figures of its rail;
    and was forgotten, not undone."""
    assert not node.attachments(), node.attachments()
    for vf in node.rpc("device.list")["devices"]:
        assert vf["state"] == "free" and not vf.get("drift") and not vf.get("owner"), vf

    def rails():
        return node.rpc("pool.list")["pools"][0]["rails"]
    lab.wait_for(lambda: not any(rail["held"] for rail in rails()), 20, "it is dropped")
    for rail in rails():
        assert rail["resting"] == 0 and rail["capacity"] == ADDRESSES, rail


def check_all_serve(node, before):
    """Each VF can be given at once, and each address is there exactly once."""
    jobs = [(node.pod(f"all-{rail}-{number}"), node.conf(rail, number), "spur")
            for rail in (0, 1) for number in range(VFS)]
    for rail in (0, 1):
        conf = lab.netconf(f"more{rail}", pool="train", rail=f"rail{rail}")
        conf.update(type="other", ipam={**conf["ipam"], "socket": node.socket})
        jobs += [(node.pod(f"more-{rail}-{i}"), conf, "spur-ipam") for i in range(ADDRESSES - VFS)]
    with ThreadPoolExecutor(len(jobs)) as at_once:
        given = list(at_once.map(lambda job: node.cni("ADD", *job[:2], binary=job[2]), jobs))
        taken = list(at_once.map(lambda job: node.cni("DEL", *job[:2], binary=job[2]), jobs))
    wrong = [got for got in given + taken if got.returncode]
    assert not wrong, wrong
    addresses = {got.json["ips"][0]["address"] for got in given}
    assert len(addresses) == 2 * ADDRESSES, sorted(addresses)
    for pod in node.pods:
        pod.close()
    node.pods = []
    assert not node.attachments()
    lab.same(before, guest.snapshot())


def in_guest(cut):
    journal = os.open("/run/lab/journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with Node() as node:
        before = guest.snapshot()
        node.daemon(pools=[POOL])
        check_booted(node)
        with open("/run/lab/history", "w", encoding="utf-8") as f:
            json.dump(node.history(), f)
        if cut:
            check_all_serve(node, before)
        if cut == CUTS:
            return
        workers = [threading.Thread(target=work, args=(node, journal, rail, number, cut), daemon=True)
                   for rail in (0, 1) for number in range(VFS)]
        for worker in workers:
            worker.start()
        guest.mark("working")
        for worker in workers:
            worker.join()
        raise AssertionError("the workers ended before the power went")


# -- out here


def lines(text):
    """A last line that was cut is none."""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def standing(journal):
    """(containers that stood for certain, those that may have stood) when the power went."""
    events = {}
    for line in journal:
        assert line["event"] != "wrong", line["what"]
        events[line["container"]] = line["event"]
    return {c for c, e in events.items() if e == "added"}, {c for c, e in events.items() if e != "deleted"}


def check_history(journal, history):
    """The store has what was answered, and forgot all of it at the next boot."""
    added = {line["container"]: line["address"] for line in journal if line["event"] == "added"}
    reserved = {e["containerID"]: e["ips"] for e in history if e["event"] == "reserved"}
    for container, address in added.items():
        assert container in reserved, f"{container} was answered {address}; the store knows nothing of it"
        assert address.split("/")[0] in json.dumps(reserved[container]), (address, reserved[container])
    rebooted = {e["containerID"] for e in history if e["event"] == "released" and e["reason"] == "reboot"}
    stood, _ = standing(journal)
    assert stood <= rebooted, f"stood, and not forgotten at the boot: {stood - rebooted}"
    deleted = {line["container"] for line in journal if line["event"] == "deleted"}
    assert not deleted & rebooted, f"deleted, and still in the store at the boot: {deleted & rebooted}"


def check_never_doubled(history):
    """No address and no VF was given to a second attachment before the first one's end."""
    held = {}
    for event in history:
        things = [event["device"], *map(str, event["ips"])]
        for thing in filter(None, things):
            if event["event"] == "reserved":
                assert thing not in held, f"{thing}: given to {event['containerID']}, held by {held[thing]}"
                held[thing] = event["containerID"]
            elif event["event"] == "released":
                held.pop(thing, None)


def boot(kernel, disk, cut):
    command = f"/usr/bin/python3 {os.path.abspath(__file__)} guest {cut}"
    return vm.boot(command, kernel=kernel, mode="exclusive", disk=disk)


def cut_power(kernel, disk, cut, moods):
    """One boot, ended in the middle; returns what was written down."""
    with boot(kernel, disk, cut) as machine:
        try:
            machine.wait_mark("working", 120)
        except vm.Died as died:
            raise AssertionError(f"boot {cut}: {died}\n{machine.output.decode()}") from died
        wait = moods.uniform(0.3, 3)
        machine.wait(wait)
        complaints = machine.complaints()
        assert not complaints, complaints
        journal = lines(machine.read("journal"))
        history = json.loads(machine.read("history"))
    stood, may = standing(journal)
    print(f"     cut {cut}: after {wait:.1f} s, {len(journal)} answers, {len(stood)} to {len(may)} pods stood")
    return journal, history


def test_power(kernel, disk, seed):
    print(f"     seed {seed}")
    moods, journal = random.Random(seed), []
    for cut in range(CUTS):
        written, history = cut_power(kernel, disk, cut, moods)
        check_history(journal, history)
        check_never_doubled(history)
        journal = written
    with boot(kernel, disk, CUTS) as machine:
        result = machine.wait(120)
        assert result.good, f"last boot: {result.status} {result.complaints}\n{result.output}"
        history = json.loads(machine.read("history"))
    check_history(journal, history)
    check_never_doubled(history)


def main(kernel, seed=None):
    why = vm.why_not(kernel)
    if why:
        lab.skip(why)
    disk = vm.make_disk(f"/tmp/spur-power-{os.getpid()}", 256)
    try:
        lab.main({"test_power": lambda: test_power(kernel, disk, seed or random.randrange(1 << 30))})
    finally:
        os.unlink(disk)


if __name__ == "__main__":
    if sys.argv[1] == "guest":
        in_guest(int(sys.argv[2]))
    else:
        arguments, sys.argv = sys.argv, sys.argv[:1]
        main(*arguments[1:])
