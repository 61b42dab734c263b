# SPDX-License-Identifier: Apache-2.0
"""A crowd of runtimes against the real daemon, which is killed, stalled, failed and rebooted all the while.

Each client reserves, finishes, looks up, lists and releases attachments of its own, and hangs up at any
moment; an operator edits the pools; stand_in.c is the plugin by which the daemon undoes. The Model knows
what was acknowledged, and whatever contradicts it ends the run: an acknowledged attachment that is not
there, one that nobody asked for, an address, GUID or VF with two owners, an index given to another pod before its rest
was over, or outside the pools, a request that is never answered. In the end everything is released, and nothing
may be left.

    crowd.py [MINUTES]          SPUR_SEED=N repeats a run, as far as a crowd can be repeated

A kill comes at a random moment, or before step N of the store: N = 1, 2, 3…, one after the other.
"""

import asyncio
import collections
import contextlib
import errno
import ipaddress
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import daemon_vf  # noqa: E402
import lab  # noqa: E402

CLIENTS = 48
SLOTS = 4  # containers of a client
IFNAMES = ("net0", "net1", "net2")
PFS, VFS = 2, 5
COOLDOWN_S, CLAIM_S = 1, 60
ANSWER_S = 60  # beyond every deadline and every stall
ASKS = ("pool", "rail", "claim", "sticky", "device", "chooseDevice", "ips", "guid")  # what the log tells of a reserve
DROP = 0.02  # how often a connection ends at one of the moments where it can


class Contradiction(Exception):
    """The daemon did what it must not; `about` are the names to look for in the log."""

    def __init__(self, text, *about):
        super().__init__(text)
        self.about = about


class Broken(Exception):
    """The connection ended: the daemon is gone."""


# -- pools


def make_pools(rng):
    """One of the forms that the pools take; none moves what another one gave."""
    rails = []
    for i in range(4 if rng.random() < 0.7 else 3):
        rail = {"name": f"rail{i}", "cidr": f"10.{i}.0.0/24", "gatewayIndex": 1}
        if i < PFS:
            rail.update(cidr6=f"fd00:{i}::/64", match={"pf": [f"pf{i}"]}, guidBase=f"02:00:00:00:00:0{i}:00:00")
        if rng.random() < 0.3:
            first = rng.randrange(2, 40)
            rail["exclude"] = [f"10.{i}.0.{first}-10.{i}.0.{first + rng.randrange(12)}"]
        rails.append(rail)
    plain = {"name": "only", "cidr": f"10.9.0.0/{rng.choice((25, 26, 27))}"}
    pools = [{"name": "train", "cooldown_s": COOLDOWN_S, "claim_s": CLAIM_S, "rails": rails}]
    if rng.random() < 0.9:
        pools.append({"name": "solo", "cooldown_s": 0, "rails": [plain]})
    return pools


def gives(pools, pool, rail, address):
    """May this form of the pools hand out the address?"""
    for r in (r for p in pools if p["name"] == pool for r in p["rails"] if r["name"] == rail):
        network, ip = ipaddress.ip_network(r["cidr"]), ipaddress.ip_address(address)
        excluded = [tuple(map(ipaddress.ip_address, e.split("-"))) for e in r.get("exclude", ())]
        return (ip in network and ip not in (network[0], network[-1])
                and int(ip) - int(network[0]) != r.get("gatewayIndex")
                and not any(first <= ip <= last for first, last in excluded))
    return False


# -- what was acknowledged

ABSENT, PRESENT, LEAVING, UNSURE = "absent", "present", "leaving", "unsure"


class Entry:
    """An attachment, as its client knows it.

    PRESENT: acknowledged, and there. ABSENT: certainly not. LEAVING: there or not, and goes by itself, if the
    daemon lives on. UNSURE: there or not, and stays so until its client looks.
    """

    def __init__(self):
        self.state = ABSENT
        self.record = None
        self.restarted = False  # the daemon, since it was finished: `done` may not have been on disk


def owned(record):
    """What one holder has for itself alone."""
    if record.get("pool"):
        yield ("index", record["pool"], record["rail"]["name"], record["rail"]["index"])
    for ip in record.get("ips", ()):
        yield ("ip", ip["address"].split("/")[0])
    if record.get("guid"):
        yield ("guid", record["guid"])
    if record.get("device", {}).get("key"):
        yield ("device", record["device"]["key"])


def pod_of(key):
    """Every container of a client's slot is of the same pod."""
    return key[0].rpartition("-")[0]


def client_of(key):
    """Each client has a Kubernetes namespace of its own."""
    return key[0].partition("-")[0]


def identity_of(asked):
    """The same names in all namespaces: whoever asks, and a record, has one of its own, or None."""
    return (asked["pod"]["namespace"], asked["sticky"]) if asked.get("sticky") else None


def same_record(a, b):
    keys = ("id", "generation", "pool", "rail", "ips", "guid")
    return all(a.get(k) == b.get(k) for k in keys) and a.get("device", {}).get("key") == b.get("device", {}).get("key")


class Model:
    def __init__(self):
        self.owners = {}  # of what PRESENT entries hold
        self.rested = {}  # index -> when its holder released it, at the earliest
        self.identities = {}  # (identity, rail) -> index, and when it was released
        self.asked = set()  # indexes that somebody named
        self.forms = []  # of the pools: [pools, since when it is no more or None]
        self.jumped_s = 0  # how far BOOTTIME has gone ahead of ours
        self.log = collections.deque(maxlen=100000)
        self.answers = self.refusals = self.reserves = 0

    def note(self, *words):
        self.log.append((time.monotonic(), *words))

    def now(self):
        return time.monotonic() + self.jumped_s

    def take(self, key, record):
        for what in owned(record):
            other = self.owners.get(what)
            if other and other != key:
                raise Contradiction(f"{what} was given to {key}, and {other} has it", key, other, what)
        for what in owned(record):
            self.owners[what] = key

    def drop(self, key, record, releases=False):
        """releases: its holder gives it up just now, so that it rests from now on at the earliest."""
        for what in owned(record):
            if self.owners.get(what) == key:
                del self.owners[what]
            if what[0] == "index":
                self.rested.pop(what, None)
                if releases:
                    self.rested[what] = (self.now(), identity_of(record), key)
                    self.identities[identity_of(record), what[1], what[2]] = (what, self.now())

    def check_choice(self, key, record, asked, sent, claimed_by):
        """A reservation got an index that was free to give; by name also one that rests of its namespace."""
        index = next(owned(record), None)
        if index is None or index[0] != "index":
            return
        pool, rail, address = index[1], index[2], record["ips"][0]["address"].split("/")[0]
        if not any(gives(pools, pool, rail, address) for pools, until in self.forms if until is None or until >= sent):
            raise Contradiction(f"{key} got {address} of {pool}/{rail}, which the pools leave out", key, index)
        if asked.get("ips"):
            if asked["ips"][0] not in [ip["address"].split("/")[0] for ip in record["ips"]]:
                raise Contradiction(f"{key} asked for {asked['ips']}, and got {record['ips']}", key)
        since, identity, holder = self.rested.get(index, (None, None, None))
        its_own = identity and identity in (identity_of(record), claimed_by) or holder and pod_of(holder) == pod_of(key)
        if asked.get("ips"):
            its_own = holder and client_of(holder) == client_of(key)
        if pool == "train" and since is not None and self.now() - since < COOLDOWN_S and not its_own:
            raise Contradiction(f"{key} got {index} {self.now() - since:.3f} s after its release by {holder}", key, index, holder)

    def check_identity(self, key, record, asked):
        """An identity got what it had: so shortly after its release nobody else can have got it, unless by name,
        or as the same pod."""
        index, since = self.identities.get((identity_of(asked), record["pool"], record["rail"]["name"]), (None, 0))
        address = index and f"10.{index[2][-1]}.0.{index[3]}"
        if (index and self.now() - since < COOLDOWN_S and not asked.get("ips") and index not in self.asked
                and index[1] == "train" and all(gives(pools, *index[1:3], address) for pools, until in self.forms)
                and next(owned(record)) != index):
            raise Contradiction(f"{key} got {next(owned(record))}, and its identity had {index}", key, index)

    def forget_identities(self, record):
        """Its pod has it again, and not under the identity that it had it under."""
        held = set(owned(record))
        for name, (what, _) in list(self.identities.items()):
            if what in held and name[0] != identity_of(record):
                del self.identities[name]

    # forms of the pools

    def form_tried(self, pools):
        self.forms.append([pools, None])

    def form_settled(self, pools, taken):
        """The daemon has said whether it took the last one."""
        now = time.monotonic()
        for form in self.forms:
            if form[1] is None and (form[0] is not pools) == taken:
                form[1] = now
        self.forms = [f for f in self.forms if f[1] is None or f[1] > now - ANSWER_S]


# -- clients


class Connection:
    def __init__(self, crowd, sock):
        self.crowd, self.socket, self.buffer, self.next_id = crowd, sock, b"", 0

    def close(self):
        self.socket.close()

    async def send(self, method, params, notify=False):
        self.next_id += 1
        line = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notify:
            line["id"] = self.next_id
        try:
            await self.crowd.loop.sock_sendall(self.socket, json.dumps(line).encode() + b"\n")
        except OSError as e:
            raise Broken from e

    async def read(self):
        while b"\n" not in self.buffer:
            try:
                more = await asyncio.wait_for(self.crowd.loop.sock_recv(self.socket, 1 << 17), ANSWER_S)
            except TimeoutError as e:  # an OSError as well
                raise Contradiction(f"a request was not answered within {ANSWER_S} s") from e
            except OSError as e:
                raise Broken from e
            if not more:
                raise Broken
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        self.crowd.model.answers += 1
        return json.loads(line)

    async def call(self, method, **params):
        """The result; an answer that says no is a lab.RpcError."""
        await self.send(method, params)
        answer = await self.read()
        if "error" in answer:
            raise lab.RpcError(answer["error"])
        return answer["result"]


class Client:
    def __init__(self, crowd, number):
        self.crowd, self.number, self.model = crowd, number, crowd.model
        self.rng = random.Random(f"{crowd.seed} {number}")
        self.network = f"n{number}"
        self.serials = [0] * SLOTS
        self.entries = collections.defaultdict(Entry)  # (container, ifname)
        self.claims = {}  # container -> its claimed rails that are not bound, since when, and the identity

    def note(self, *words):
        self.model.note(self.network, *words)

    def container(self, slot):
        return f"c{self.number}-{slot}-{self.serials[slot]}"

    def maybe(self, probability):
        return self.rng.random() < probability

    def name(self, key):
        return {"network": self.network, "containerID": key[0], "ifname": key[1]}

    def deadline(self):
        wait_ms = self.rng.choice((20, 200)) if self.maybe(0.05) else 10000
        return self.crowd.boot_ms() + wait_ms

    def request(self, key, slot):
        conf = {"cniVersion": "1.0.0", "name": self.network, "type": "spur", "socket": self.crowd.node.socket}
        env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": key[0], "CNI_IFNAME": key[1], "CNI_NETNS": "/nowhere"}
        params = {
            **self.name(key), "deadline": self.deadline(),
            "pod": {"namespace": f"ns{self.number}", "name": key[0], "uid": f"u{pod_of(key)}"},
            "netns": {"path": "/nowhere", "cookie": 7, "nsid": -1},
            "request": {"program": "spur", "env": env, "netconf": conf},
        }
        self.choose_rail(params)
        return params

    def choose_rail(self, params):
        container, rail = params["containerID"], self.rng.randrange(4)
        alone = all(e.state == ABSENT for k, e in self.entries.items() if k[0] == container)
        if self.maybe(0.1) and container not in self.claims:
            params.update(pool="solo")
            return
        params.update(pool="train", rail=f"rail{rail}")
        if rail < PFS and self.maybe(0.3):
            if self.maybe(0.5):
                params["chooseDevice"] = True
            else:
                params["device"] = f"pci:{daemon_vf.vf_of(rail, self.rng.randrange(VFS))}"
        if self.maybe(0.3):
            params["sticky"] = f"job/{container.split('-')[1]}-{params['ifname']}"
        if alone and self.maybe(0.2):
            params["claim"] = ["rail0", "rail1"] if "chooseDevice" in params else ["*"]
        elif alone and self.maybe(0.1):
            params["ips"] = [f"10.{rail}.0.{self.rng.randrange(256)}"]
            self.model.asked.add(("index", "train", f"rail{rail}", int(params["ips"][0].split(".")[-1])))
        if self.maybe(0.1):
            params["guid"] = f"02:00:00:00:00:0f:00:{self.rng.randrange(32):02x}"

    async def live(self):
        while await self.crowd.gate():
            try:
                await self.act()
            except Broken:
                await asyncio.sleep(0.001)  # whoever looks after the daemon has to notice

    async def act(self):
        slot = self.rng.randrange(SLOTS)
        key = (self.container(slot), self.rng.choice(IFNAMES))
        entry = self.entries[key]
        if self.maybe(0.02):
            await self.collect()
        elif entry.state in (ABSENT, LEAVING):
            await self.add(key, slot)
        elif entry.state == PRESENT and self.maybe(0.1):
            await self.supersede(key, slot)
        else:
            await self.delete(key)

    @contextlib.asynccontextmanager
    async def connection(self):
        conn = await self.crowd.connect()
        try:
            yield conn
        finally:
            conn.close()

    def older(self, key, slot, params):
        """What an ADD ends: the same attachment of the same pod in a container that the runtime has lost; all
        such attachments, if it makes a claim."""
        return [k for k in self.entries if k[0] != key[0] and k[0].startswith(f"c{self.number}-{slot}-")
                and (k[1] == key[1] or "claim" in params)]

    async def add(self, key, slot):
        entry, params = self.entries[key], self.request(key, slot)
        older = self.older(key, slot, params)
        for k in older:
            self.lose(k)
        async with self.connection() as conn:
            self.note(key, "reserve", *(f"{k}={params[k]}" for k in ASKS if k in params))
            before, entry.state, sent = entry.state, LEAVING, time.monotonic()
            await conn.send("attachment.reserve", params)
            if self.maybe(DROP):
                self.note(key, "hangs up before the answer")
                return
            answer = await conn.read()
            if "error" in answer:
                self.refused(key, answer["error"], params)
                if "deadline has passed" not in answer["error"]["message"]:  # else it is taken back
                    entry.state = before
                return
            for k in older:  # undone; or it could not be, and this one got something else
                self.entries[k].state = UNSURE
            record = answer["result"]
            self.granted(key, entry, record, params, sent)
            await self.finish(key, entry, record, conn)

    def refused(self, key, error, params=None):
        self.note(key, "refused", error["message"])
        self.model.refusals += 1
        rails, since, _ = self.claims.get(key[0], ((), 0, None))
        if (params and params.get("rail") in rails and self.model.now() - since < CLAIM_S
                and ("rested in" in error["message"] or "are held" in error["message"])):
            raise Contradiction(f"{key} had claimed {rails}, and was refused: {error}", key)
        if error["data"]["cni"] not in (7, 11):
            raise Contradiction(f"{key} was refused with {error}", key)

    def granted(self, key, entry, record, params, sent):
        self.note(key, "granted", record["id"], *owned(record))
        self.model.reserves += 1
        if record["state"] != "unfinished" or (entry.record and record["id"] <= entry.record["id"]):
            raise Contradiction(f"{key}: what was leaving was given again: {record}", key)
        self.model.check_choice(key, record, params, sent, self.claims.get(key[0], (None,))[-1])
        if params.get("sticky") and len([k for k in self.entries if k[0] == key[0]]) == 1 and "claim" not in params:
            self.model.check_identity(key, record, params)
        self.model.take(key, record)
        self.model.forget_identities(record)
        self.note_claim(key, params)
        entry.record, entry.restarted = record, False

    def note_claim(self, key, params):
        if "claim" in params:
            named = [r["name"] for pools, until in self.model.forms for p in pools for r in p["rails"] if until is None]
            self.claims[key[0]] = (set(named if params["claim"] == ["*"] else params["claim"]), self.model.now(), identity_of(params))
        if key[0] in self.claims:
            self.claims[key[0]][0].discard(params.get("rail"))

    async def finish(self, key, entry, record, conn):
        """From the answer to the end of an ADD. Until something stands in the kernel, its end undoes it."""
        if self.maybe(DROP):
            self.note(key, "hangs up after the answer")
            self.model.drop(key, record)
            self.claims.pop(key[0], None)
            return
        self.crowd.stand(key, record)
        if self.maybe(DROP):
            self.note(key, "hangs up before it is done")
            self.model.drop(key, record)
            self.claims.pop(key[0], None)
            entry.state = UNSURE  # undone, or found good by a daemon that was started meanwhile
            return
        entry.state = PRESENT
        if self.maybe(0.05):
            await asyncio.sleep(self.rng.random() / 50)
        self.note(key, "done")
        await conn.send("attachment.done", {**self.name(key), "generation": record["generation"], "facts": {}}, True)

    def lose(self, key):
        entry = self.entries[key]
        if entry.state == PRESENT:
            self.note(key, "may be superseded")
            self.model.drop(key, entry.record)
            entry.state = UNSURE

    async def supersede(self, key, slot):
        """The runtime has lost the container, and makes the pod anew."""
        others = [k for k in self.entries if k[0] == key[0] and k != key]
        self.serials[slot] += 1
        await self.add((self.container(slot), key[1]), slot)
        for k in others:
            await self.delete(k)

    async def delete(self, key):
        entry = self.entries[key]
        async with self.connection() as conn:
            await conn.send("attachment.get", {**self.name(key), "deadline": self.deadline()})
            if self.maybe(DROP):
                return
            answer = await conn.read()
            if "error" in answer:
                self.refused(key, answer["error"])
                return
            record = answer["result"]["attachment"]
            self.check_found(key, record)
            if record:
                await self.release(key, entry, record, conn)
            else:
                self.gone(key, entry)

    def gone(self, key, entry):
        entry.state, entry.record = ABSENT, None
        if not any(key[0] == self.container(slot) for slot in range(SLOTS)):
            del self.entries[key]

    async def release(self, key, entry, record, conn):
        restored = not (record.get("device", {}).get("key") and self.maybe(0.1))
        self.claims.pop(key[0], None)  # it may be the last one
        self.crowd.fall(key, record)
        self.model.drop(key, record, releases=entry.state == PRESENT)
        self.note(key, "release", record["id"], restored, *owned(record))
        entry.state, entry.record = UNSURE, record
        await conn.send("attachment.release", {
            **self.name(key), "generation": record["generation"], "left": True, "restored": restored, "reason": "DEL",
            "deadline": self.deadline()})
        if self.maybe(DROP):
            return
        answer = await conn.read()
        if "error" in answer:
            self.refused(key, answer["error"])
        elif restored:
            self.note(key, "released")
            self.gone(key, entry)
        else:
            self.note(key, "is dirty")
            entry.state = LEAVING

    def check_found(self, key, record):
        """What a list or a look found under the key (None: nothing) against what is known of it."""
        entry = self.entries[key]
        self.note(key, "is found", record and record["id"], record and record["state"])
        if entry.state == ABSENT and record:
            raise Contradiction(f"{key} is there, and should not be: {record}", key)
        if entry.state != PRESENT:
            return
        if not record:
            raise Contradiction(f"{key} was acknowledged, and is not there", key)
        if not same_record(record, entry.record):
            raise Contradiction(f"{key} has changed from {entry.record} to {record}", key)
        if record["state"] != "attached" and not (entry.restarted and record["state"] in ("unfinished", "unconfirmed")):
            raise Contradiction(f"{key} is {record['state']}", key)

    async def collect(self):
        """As a GC: all that is there, and one by one what should not be."""
        found, after = {}, 0
        async with self.connection() as conn:
            while True:
                page = await conn.call("attachment.list", network=self.network, after=after)
                found.update({(a["containerID"], a["ifname"]): a for a in page["attachments"]})
                after = page["next"]
                if not after:
                    break
        self.check_all(found)
        current = [self.container(slot) for slot in range(SLOTS)]
        for key in [k for k, e in self.entries.items() if e.state == UNSURE or k[0] not in current]:
            await self.delete(key)

    def check_all(self, found):
        for key in {*found, *self.entries}:
            if key not in self.entries:
                raise Contradiction(f"{key} is there, and nobody has it: {found[key]}", key)
            self.check_found(key, found.get(key))

    async def leave(self):
        """In the end: releases all that it has."""
        for key in list(self.entries):
            while key in self.entries and self.entries[key].state in (PRESENT, UNSURE):
                await self.delete(key)


# -- the daemon and its fate


class Node(daemon_vf.Node):
    def __init__(self):
        super().__init__(pfs=PFS)
        os.makedirs(f"{self.dir}/plugin/standing")
        os.unlink(self.plugin)
        shutil.copy(os.path.join(lab.BIN, "torture_stand_in"), self.plugin)
        for pf in range(PFS):
            for vf in range(VFS):
                self.vf(pf, vf)

    def configure(self, pools):
        config = {"socket": self.socket, "state": self.state, "plugin": self.plugin, "http": "", "node": "torture",
                  "pools": pools, "log": {"level": "warning"}}
        with open(f"{self.config}.new", "w", encoding="utf-8") as f:
            json.dump(config, f)
        os.rename(f"{self.config}.new", self.config)

    def spawn(self, env, boottime_s):
        with open(self.log, "ab") as out:
            self.ipamd = subprocess.Popen(
                ["nsenter", f"--net={self.net.path}", "unshare", "--time", "--boottime", str(boottime_s),
                 lab.program("spur-ipamd"), "--config", self.config], stdout=out, stderr=out, env={**os.environ, **env})



class Crowd:
    def __init__(self, node, seed, seconds):
        self.node, self.seed = node, seed
        self.rng = random.Random(seed)
        self.model = Model()
        self.clients = [Client(self, i) for i in range(CLIENTS)]
        self.end = time.monotonic() + seconds
        self.loop = None
        self.open, self.parked, self.stays_shut = asyncio.Event(), 0, False
        self.boottime_s, self.boot = 0, 0
        self.kills = collections.Counter()
        self.waker = None
        self.step = 0

    def boot_ms(self):
        return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000) + self.boottime_s * 1000

    def boot_id(self):
        return f"00000000-0000-0000-0000-{self.boot:012d}"

    # what clients ask of it

    async def gate(self):
        """Waits while the daemon is down; False: it is the end."""
        while not self.open.is_set() and not self.stays_shut:
            self.parked += 1
            await self.open.wait()
            self.parked -= 1
        return not self.stays_shut

    async def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            while True:
                code = sock.connect_ex(self.node.socket)
                if code == 0:
                    return Connection(self, sock)
                if code != errno.EAGAIN:  # else more wait to be accepted than there is room for
                    raise Broken
                await asyncio.sleep(0.002)
        except BaseException:
            sock.close()
            raise

    def standing(self, key, record):
        return f"{self.node.dir}/plugin/standing/{key[0]}-{key[1]}-{record['generation']}"

    def stand(self, key, record):
        os.close(os.open(self.standing(key, record), os.O_CREAT | os.O_WRONLY, 0o600))

    def fall(self, key, record):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.standing(key, record))

    # its operator

    async def edit_pools(self):
        conn = None
        while await self.gate():
            try:
                conn = conn or await self.connect()
                await self.edit_once(conn)
                await asyncio.sleep(self.rng.random())
            except Broken:
                conn = None
                await asyncio.sleep(0.001)

    async def edit_once(self, conn):
        read_at = (await conn.call("node.status"))["config"]["time"]
        pools = make_pools(self.rng)
        self.model.form_tried(pools)
        self.node.configure(pools)
        with contextlib.suppress(ProcessLookupError):
            self.node.ipamd.send_signal(signal.SIGHUP)
        while True:
            config = (await conn.call("node.status"))["config"]
            if config["time"] != read_at:
                break
            await asyncio.sleep(0.002)
        self.model.note("pools", "taken" if config["ok"] else config["error"], pools)
        self.model.form_settled(pools, config["ok"])

    # life and death of the daemon

    async def start(self, hook=None):
        """Starts it until it serves; what it was to die of may come before that."""
        env = {"SPUR_SYSFS": self.node.sys, "SPUR_BOOT_ID": self.boot_id(), "SPUR_YOUNG_MS": "0"}
        self.node.spawn({**env, **(hook or {})}, self.boottime_s)
        self.waker = self.loop.create_task(self.wake(self.node.ipamd))
        end = time.monotonic() + ANSWER_S
        while True:
            if self.node.ipamd.poll() is not None:
                if not hook:
                    raise Contradiction(f"the daemon does not start: {self.node.ipamd.returncode}")
                self.kills["at start"] += 1
                return await self.start()
            with contextlib.suppress(Broken):
                return await self.greet(await self.connect())
            if time.monotonic() > end:
                raise Contradiction("the daemon does not serve")
            await asyncio.sleep(0.003)

    async def greet(self, conn):
        """Looks at everything before anybody else does."""
        try:
            config = (await conn.call("node.status"))["config"]
            self.model.form_settled(self.model.forms[-1][0], config["ok"])
            await self.check_everything(conn)
        finally:
            conn.close()
        self.model.note("serves")
        self.open.set()

    async def list_all(self, conn):
        found, after = {}, 0
        while True:
            page = await conn.call("attachment.list", after=after)
            found.update({(a["network"], a["containerID"], a["ifname"]): a for a in page["attachments"]})
            after = page["next"]
            if not after:
                return found

    async def check_everything(self, conn):
        found = await self.list_all(conn)
        owners = {}
        for key, record in found.items():
            for what in owned(record):
                if what in owners:
                    raise Contradiction(f"{what} is in the records of {key} and {owners[what]}", key[1:], what)
                owners[what] = key
        for client in self.clients:
            client.check_all({k[1:]: a for k, a in found.items() if k[0] == client.network})
        await self.check_ledger(conn)

    async def check_ledger(self, conn):
        try:
            verdict = await conn.call("ledger.check")
        except lab.RpcError as e:
            if "is not known" in str(e):
                return
            raise
        if not verdict["ok"]:
            raise Contradiction(f"ledger.check: {verdict}")

    async def stop_crowd(self):
        """When the daemon is dead: nobody goes on before all have noticed."""
        self.open.clear()
        end = time.monotonic() + ANSWER_S
        while self.parked < CLIENTS + 1:
            if time.monotonic() > end:
                raise Contradiction("a client hangs")
            await asyncio.sleep(0.002)
        for client in self.clients:
            for entry in client.entries.values():
                entry.restarted = True
                if entry.state == LEAVING:  # nobody has seen it end: it may be unconfirmed until its DEL
                    entry.state = UNSURE

    def spool_some(self):
        """DELs that find no daemon."""
        for client in self.clients:
            for key, entry in client.entries.items():
                if entry.state == PRESENT and self.rng.random() < 0.05:
                    self.spool(client, key, entry)

    def spool(self, client, key, entry):
        client.note(key, "is spooled")
        os.makedirs(f"{self.node.dir}/run/spool", mode=0o700, exist_ok=True)
        path = f"{self.node.dir}/run/spool/{self.boot_ms():016d}-{key[0]}-{key[1]}"
        told = {"key": client.name(key), "netns": entry.record["netns"], "bootID": self.boot_id(),
                "bootTime": self.boot_ms(), "request": {**entry.record["request"]}}
        with open(f"{path}.new", "w", encoding="utf-8") as f:
            json.dump(told, f)
        os.rename(f"{path}.new", f"{path}.json")
        self.model.drop(key, entry.record)
        client.claims.pop(key[0], None)
        entry.state = LEAVING

    def reboot(self):
        """Nothing stands any more, and no record; BOOTTIME begins anew."""
        self.boot += 1
        self.boottime_s = self.rng.randrange(1, 4) - int(time.clock_gettime(time.CLOCK_BOOTTIME))
        self.model.jumped_s += self.boot_ms() / 1000  # so long it has been up already
        self.model.note("node", "reboots", self.boot)
        for name in os.listdir(f"{self.node.dir}/plugin/standing"):
            os.unlink(f"{self.node.dir}/plugin/standing/{name}")
        for client in self.clients:
            for key, entry in list(client.entries.items()):
                if entry.record:
                    self.model.drop(key, entry.record)
                client.gone(key, entry)
            client.claims.clear()

    def hook(self):
        """One step after the other; and as many again where the crowd is at work, for a start takes some itself."""
        kind = self.rng.choices(("KILL", "FAIL", "STALL"), (6, 2, 1))[0]
        if self.rng.random() < 0.5:
            return kind, {f"SPUR_{kind}_STEP": f"store:{self.rng.randrange(200, 1500)}"}
        self.step += 1
        return kind, {f"SPUR_{kind}_STEP": f"store:{self.step}"}

    async def wake(self, process):
        """Ends a stall, after a while."""
        while process.poll() is None:
            with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "T":
                    await asyncio.sleep(self.rng.random())
                    self.kills["stalls"] += 1
                    process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.01)

    async def doom(self, kind):
        """Waits for the daemon's end, and brings it about if it does not come."""
        end = time.monotonic() + 0.2 + self.rng.random()
        while time.monotonic() < end and self.node.ipamd.poll() is None:
            await asyncio.sleep(0.005)
        ends = {"FAIL": 1, "stop": 0}
        expected = {ends.get(kind, -signal.SIGKILL)}
        if self.node.ipamd.poll() is None:
            kind = "stop" if self.rng.random() < 0.1 else "random"
            self.node.ipamd.send_signal(signal.SIGTERM if kind == "stop" else signal.SIGKILL)
            expected.add(ends.get(kind, -signal.SIGKILL))  # the step may still come, while it stops
            if kind == "stop":
                expected |= {-signal.SIGTERM, -signal.SIGHUP}  # it does not listen yet, or no more
        self.kills[kind] += 1
        while self.node.ipamd.poll() is None:
            await asyncio.sleep(0.002)
        self.model.note("daemon", "ends", kind, self.node.ipamd.returncode, "step", self.step)
        if self.node.ipamd.returncode not in expected:
            raise Contradiction(f"the daemon ended with {self.node.ipamd.returncode} ({kind})")

    async def torment(self):
        kind, hook = "random", {}
        while True:
            await self.start(hook)
            await self.doom(kind)
            await self.stop_crowd()
            if time.monotonic() > self.end:
                return
            self.spool_some()
            fate = self.rng.random()
            if fate < 0.1:
                self.reboot()
            elif fate < 0.2:  # it slept
                jump = self.rng.randrange(1, 10)
                self.boottime_s += jump
                self.model.jumped_s += jump
                self.model.note("node", "ends a sleep of", jump)
            kind, hook = self.hook() if self.rng.random() < 0.7 else ("random", {})

    async def report(self):
        begun, before = time.monotonic(), 0
        while True:
            await asyncio.sleep(5)
            m = self.model
            print(f"{time.monotonic() - begun:6.0f} s: {(m.answers - before) / 5:.0f} answers/s, {m.reserves} reserved, "
                  f"{m.refusals} refused, {len(m.owners)} things owned, step {self.step}, {dict(self.kills)}", flush=True)
            before = m.answers

    async def settle(self):
        """The end: all is released, and what leaves by itself has left."""
        open(f"{self.node.dir}/plugin/calm", "w", encoding="ascii").close()
        await self.start()
        await asyncio.gather(*(client.leave() for client in self.clients))
        conn = await self.connect()
        end = time.monotonic() + 120
        # What an earlier boot has left is nobody's, in no list, and held until it is dropped.
        while (found := await self.list_all(conn)) or (await conn.call("node.status"))["rebooted"]:
            if time.monotonic() > end:
                raise Contradiction(f"left behind: {found}", *(k[1:] for k in found))
            await conn.call("node.reconcile", deadline=self.boot_ms() + 10000)
            await asyncio.sleep(0.2)
        await self.check_ledger(conn)
        for pool in (await conn.call("pool.list"))["pools"]:
            for rail in pool["rails"]:
                if rail["held"]:
                    raise Contradiction(f"nothing is there, and of {pool['name']} is held: {rail}")
        conn.close()

    async def run(self):
        self.loop = asyncio.get_running_loop()
        self.model.form_tried(make_pools(self.rng))
        self.node.configure(self.model.forms[-1][0])
        tasks = [asyncio.create_task(t) for t in (self.torment(), self.report(), self.edit_pools(),
                                                  *(c.live() for c in self.clients))]
        try:
            done, _ = await asyncio.wait([t for t in tasks if t is not tasks[1]], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.stays_shut = True
            self.open.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.open.clear()
        await self.settle()


def tell(crowd, why):
    """What is known of a contradiction; the store is kept."""
    kept = f"/tmp/spur-torture-{crowd.seed}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(crowd.node.state, kept)
    names = [str(a[0]).rpartition("-")[0] + "-" if isinstance(a[0], str) and a[0][0] == "c" else str(a) for a in why.about]
    lines = [f"{t:.4f} {' '.join(map(str, words))}" for t, *words in crowd.model.log]
    tail = [l for l in lines if any(n in l for n in (*names, " ends ", " reboots "))][-200:]
    print("\n".join(["--- about it", *tail, "--- the last of all", *lines[-40:]]))
    print(f"CONTRADICTION: {why}\nSPUR_SEED={crowd.seed}; the store is kept in {kept}", flush=True)


def test_hooked_crowd():
    seconds = float(os.environ.get("SPUR_TORTURE_SECONDS", "60"))
    seed = int(os.environ.get("SPUR_SEED", time.time()))
    print(f"SPUR_SEED={seed}", flush=True)
    with Node() as node:
        crowd = Crowd(node, seed, seconds)
        try:
            asyncio.run(crowd.run())
        except Contradiction as why:
            tell(crowd, why)
            raise
        print(f"{crowd.model.answers / seconds:.0f} answers/s, {crowd.kills.total() - crowd.kills['stalls']} ends of the daemon: "
              f"{dict(crowd.kills)}, up to step {crowd.step}, {crowd.boot} reboots")


if __name__ == "__main__":
    lab.need(hooks=True)
    lab.main(globals())
