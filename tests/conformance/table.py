# SPDX-License-Identifier: Apache-2.0
"""The conformance table: what is asked, and what must come of it.

The expectations come from the CNI specification and docs/architecture.md, not from what spur
happens to do. `run.py --list` prints the rows, one a line. The columns of a Row:

    name       area/case
    verb       CNI_COMMAND; None: not set
    expect     ok(…) or refused(CODE, words of the message…); `after` says how the world looks then
    before     what has happened already: a situation of world.py
    conf       changes to the network configuration of `before` (a value ABSENT removes the key)
    stdin      a function that damages the configuration's bytes
    env        changes to the environment (None removes the variable)
    reference  how Debian's host-device + host-local answers: "same", None (it has nothing like it:
               not run), or another expectation, and then …
    why_different  … says why ours is another

Everywhere different: error objects of the plugins 1.1.1 have no cniVersion, and no words of ours.

The world afterwards is compared whole (links, addresses, routes, rules of the node and the pod;
the ledger):  "as before" = as before anything was attached, and nothing in the ledger; "unchanged" =
as it was when the call came; "moved" = the device is in the pod as `ok(…)` says, gone from the node.
After each row the attachment is deleted, and then everything must be as before.
"""

from dataclasses import dataclass, field
from typing import Callable, Optional

ADD, DEL, CHECK, STATUS, GC, VERSION = "ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
ABSENT = object()


@dataclass
class Expect:
    codes: tuple  # CNI codes that are right; (0,) = success
    words: tuple = ()  # in msg or details
    facts: dict = field(default_factory=dict)  # of the device in the pod
    after: Optional[str] = None
    within: float = 30.0  # seconds

    def __str__(self):
        if self.codes == (0,):
            return " ".join(["ok", *(f"{k}={v}" for k, v in self.facts.items())])
        return " ".join(["refused", "/".join(map(str, self.codes)), *map(repr, self.words)])


@dataclass
class Row:
    name: str
    verb: Optional[str]
    expect: Expect
    before: str = "free"
    conf: dict = field(default_factory=dict)
    stdin: Optional[Callable[[bytes], bytes]] = None
    env: dict = field(default_factory=dict)
    reference: object = None
    why_different: str = ""
    program: str = "spur"


def ok(after=None, within=30.0, **facts):
    return Expect((0,), (), facts, after, within)


def refused(codes, *words, after="unchanged", within=30.0):
    return Expect(codes if isinstance(codes, tuple) else (codes,), words, {}, after, within)


ROWS = []


def row(name, verb, expect, **columns):
    ROWS.append(Row(name, verb, expect, **columns))


# ---- Every verb in every version -----------------------------------------------------------------

NO_1_1 = "plugins 1.1.1 end at 1.0.0"
for v in VERSIONS:
    new = v == "1.1.0"
    of_reference = {"reference": refused(1), "why_different": NO_1_1} if new else {"reference": "same"}
    row(f"verb/ADD/{v}", ADD, ok(addresses=1, up=True), conf={"cniVersion": v}, **of_reference)
    row(f"verb/DEL/{v}", DEL, ok("as before"), before="added", conf={"cniVersion": v}, reference=None if new else "same")
    if v >= "0.4.0":
        row(f"verb/CHECK/{v}", CHECK, ok("unchanged"), before="added", conf={"cniVersion": v}, reference=None if new else "same")
    else:
        row(f"verb/CHECK/{v}", CHECK, refused(1), before="added", conf={"cniVersion": v}, reference="same")
    row(f"verb/STATUS/{v}", STATUS, ok("unchanged") if new else refused(1), conf={"cniVersion": v},
        reference=refused(4), why_different="plugins 1.1.1 have no STATUS")
    row(f"verb/GC/{v}", GC, ok("unchanged") if new else refused(1), conf={"cniVersion": v, "cni.dev/valid-attachments": []},
        reference=refused(4), why_different="plugins 1.1.1 have no GC")
    row(f"verb/VERSION/{v}", VERSION, ok("unchanged"), conf={"cniVersion": v},
        reference=ok("unchanged"), why_different="plugins 1.1.1 always answer as 1.0.0 and list other versions")
    row(f"verb/ipam-ADD/{v}", ADD, ok("unchanged", ipam=True), conf={"cniVersion": v}, program="spur-ipam")
    row(f"verb/ipam-DEL/{v}", DEL, ok("as before"), before="ipam added", conf={"cniVersion": v}, program="spur-ipam")
row("verb/VERSION/no environment", VERSION, ok("unchanged"),
    env={"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None, "CNI_PATH": None, "CNI_ARGS": None},
    reference=ok("unchanged"), why_different="as verb/VERSION")
row("verb/VERSION/as podman asks", VERSION, ok("unchanged"), stdin=lambda b: b'{"cniVersion":"1.0.0"}',
    env={"CNI_CONTAINERID": "", "CNI_NETNS": "dummy", "CNI_IFNAME": "dummy", "CNI_PATH": "dummy"},
    reference=ok("unchanged"), why_different="as verb/VERSION")
row("verb/VERSION/no stdin", VERSION, ok("unchanged"), stdin=lambda b: b"")
row("verb/unknown", "FROB", refused(4, "CNI_COMMAND"), reference="same")
row("verb/lower case", "add", refused(4, "CNI_COMMAND"), reference="same")
row("verb/empty", "", refused(4, "CNI_COMMAND"), reference=ok(), why_different="plugins 1.1.1 introduce themselves on stderr")
row("verb/absent", None, refused(4, "CNI_COMMAND"), reference=ok(), why_different="as verb/empty")

# ---- Every key of the network configuration ------------------------------------------------------
# A line a key: what it needs beside it, then its cells. NONE: there is no such cell (a boolean has no
# range). A cell is a value, or (value, expectation) where the column's own does not hold. Columns:
#   absent        taken: ADD serves without the key
#   lowest, highest   the least and the greatest value that is allowed: taken as `good` says
#   wrong type, out of range   code 7, and the message names the key
#   misspelt      code 2, and the message names the key

NONE = object()
NO_VF = refused(102, "ffff:ff:1f.7")  # right, but no machine of ours has that function; tests/vm has some


@dataclass
class Key:
    key: str
    lowest: object
    highest: object
    wrong_type: object
    out_of_range: object
    misspelt: str
    good: Expect = field(default_factory=lambda: ok(up=True))
    beside: dict = field(default_factory=dict)
    absent: Expect = field(default_factory=lambda: ok(up=True))


RAILS = {"ipam": {"type": "spur-ipam", "pool": "two", "rail": "b"}}
VF = {"device": ABSENT, "deviceID": "ffff:ff:1f.7"}
VLAN = {"vlan": 5, **VF}
LONG_SOCKET = "/" + "s" * 107  # one more than sockaddr_un holds

KEYS = (
    #   key                     lowest               highest                 wrong type   out of range           misspelt
    Key("device",               ("eth1", ok()),      NONE,                   7,           "sixteen-bytes-xx",    "devise", absent=refused(7, "device")),
    Key("deviceID",             ("0000:00:00.0", refused(102)), ("ffff:ff:1f.7", refused(102)), 7, "0000:1a:20.0", "deviceId", beside={"device": ABSENT}, absent=refused(7, "device")),
    Key("pciBusID",             ("0000:00:00.0", refused(102)), ("ffff:ff:1f.7", refused(102)), 7, "0000:1a:00.8", "pciBusId", beside={"device": ABSENT}, absent=refused(7, "device")),
    Key("rail",                 "a",                 "b",                    1,           ("c", refused((7, 11), "rail")), "rials", beside={"ipam": {"type": "spur-ipam", "pool": "two"}}, absent=refused(7, "rail")),
    Key("mac",                  ("00:00:00:00:00:01", ok(mac="00:00:00:00:00:01")), ("fe:ff:ff:ff:ff:ff", ok(mac="fe:ff:ff:ff:ff:ff")), 1, "01:00:00:00:00:01", "Mac"),
    Key("mtu",                  (68, ok(mtu=68)),    (65535, ok(mtu=65535)), "1500",      67,                    "mtU", beside={"ipam": ABSENT}),
    Key("vlan",                 0,                   4094,                   "1",         4095,                  "vlanID", NO_VF, VF, NO_VF),
    Key("vlanQoS",              0,                   7,                      "0",         8,                     "vlanQos", NO_VF, VLAN, NO_VF),
    Key("vlanProto",            "802.1q",            "802.1ad",              1,           "802.1x",              "vlanproto", NO_VF, VLAN, NO_VF),
    Key("spoofchk",             "off",               "on",                   True,        "ture",                "spoofChk", NO_VF, VF, NO_VF),
    Key("trust",                "off",               "on",                   True,        "yes",                 "Trust", NO_VF, VF, NO_VF),
    Key("link_state",           "auto",              "disable",              1,           "up",                  "linkState", NO_VF, VF, NO_VF),
    Key("min_tx_rate",          0,                   2**31 - 1,              "0",         -1,                    "min_rate", NO_VF, VF, NO_VF),
    Key("max_tx_rate",          0,                   2**31 - 1,              "0",         2**31,                 "max_rate", NO_VF, VF, NO_VF),
    Key("rdma",                 ("none", ok()),      "auto",                 True,        "on",                  "Rdma"),
    Key("rdmaIsolation",        False,               True,                   "true",      NONE,                  "rdmaisolation", NO_VF, VF, NO_VF),
    Key("rdmaName",             "a",                 "m" * 63,               0,           "m" * 64,              "rdmaname", NO_VF, VF, NO_VF),
    Key("ibKubernetesEnabled",  False,               (True, refused(11, "mellanox.infiniband.app")), "true", NONE, "ibkubernetes", NO_VF, VF, NO_VF),
    Key("vfioPciMode",          False,               True,                   "true",      NONE,                  "vfioPCIMode", NO_VF, VF, NO_VF),
    Key("guid",                 "00:00:00:00:00:00:00:01", "fe:ff:ff:ff:ff:ff:ff:ff", 1,  "ff:ff:ff:ff:ff:ff:ff:ff", "GUID", NO_VF, VF, NO_VF),
    Key("pkey",                 "0x0001",            "0xfffe",               1,           "0x8000",              "pKey", NO_VF, VF, NO_VF),
    Key("pkeyMembership",       "limited",           "full",                 1,           "half",                "pkeymembership", NO_VF, {"pkey": "0x10", **VF}, NO_VF),
    Key("routing",              {"table": 1},        {"table": 2**32 - 1},   "auto",      {"table": 0},          "route"),
    Key("routing.table",        1,                   2**32 - 1,              True,        2**32,                 "tables", absent=refused(7, "table")),
    Key("routing.rules",        (False, ok(rules=0)), (True, ok(rules=1)),   "true",      NONE,                  "rule", beside={"routing": {"table": 100}}),
    Key("arp",                  "strict",            "kernel",               True,        "loose",               "ARP"),
    Key("dad",                  False,               True,                   0,           NONE,                  "DAD"),
    Key("ready",                {},                  {"timeout_ms": 30000},  200,         {"timeout_ms": 30001}, "readyness"),
    Key("ready.timeout_ms",     0,                   30000,                  "1s",        -1,                    "timeout"),
    Key("ipam",                 ({}, ok(addresses=0)), NONE,                 "spur-ipam", NONE,                  "ipams", absent=ok(addresses=0)),
    Key("ipam.type",            NONE,                NONE,                   1,           "../spur-ipam",        "typ", beside={"ipam": {"pool": "train"}}, absent=refused(7, "type")),
    Key("ipam.pool",            "train",             NONE,                   1,           "p" * 64,              "Pool", beside={"ipam": {"type": "spur-ipam"}}, absent=refused(7, "pool")),
    Key("ipam.rail",            "a",                 "b",                    1,           "r" * 64,              "rial", beside={"ipam": {"type": "spur-ipam", "pool": "two"}}, absent=refused(7, "rail")),
    Key("ipam.claim",           "all",               ["a", "b"],             1,           ["a", "a"],            "claims", beside={"ipam": {"type": "spur-ipam", "pool": "two", "rail": "a"}}),
    Key("socket",               NONE,                NONE,                   1,           LONG_SOCKET,           "sockets", absent=refused(11, "/run/spur/ipamd.sock")),
    Key("logLevel",             "panic",             "debug",                3,           "loud",                "loglevel"),
    Key("logFile",              "/dev/null",         NONE,                   1,           "relative.log",        "logfile"),
)


def key_conf(key, value):
    """The change that gives a key, with its outer object, this value."""
    outer, dot, inner = key.key.partition(".")
    conf = dict(key.beside)
    if dot:
        conf[outer] = {**conf.get(outer, {}), inner: value} if value is not ABSENT else conf.get(outer, {})
    else:
        conf[outer] = value
    return conf


WHOLE = {"ipam": {"type": "spur-ipam", "pool": "train"}, "routing": {"table": 100}, "ready": {}}


def misspelt_conf(key):
    """A whole configuration, and the misspelt key."""
    outer, dot, _ = key.key.partition(".")
    if dot:
        return {outer: {**WHOLE[outer], key.misspelt: 1}}
    return {key.misspelt: 1}


def cell(key, column, value, default):
    if value is NONE:
        return
    value, expect = value if isinstance(value, tuple) else (value, default)
    row(f"key/{key.key}/{column}", ADD, expect, conf=key_conf(key, value))


for k in KEYS:
    named = k.key.rpartition(".")[2]
    cell(k, "absent", ABSENT, k.absent)
    cell(k, "lowest", k.lowest, k.good)
    cell(k, "highest", k.highest, k.good)
    cell(k, "wrong type", k.wrong_type, refused(7, named))
    cell(k, "out of range", k.out_of_range, refused(7, named))
    row(f"key/{k.key}/misspelt", ADD, refused(2, k.misspelt), conf=misspelt_conf(k))

for near, k, more in (("deviceID", "deviceId", VF), ("pciBusID", "pciBusId", VF), ("mac", "hwaddr", {}), ("pool", "ipam.poolName", {})):
    outer, _, inner = k.rpartition(".")
    bad = {**more, "deviceID": ABSENT, k: "0000:1a:00.1"} if not outer else {outer: {"type": "spur-ipam", inner: "train"}}
    row(f"key/{k} before what is required", ADD, refused(2, k, f'did you mean "{near}"'), conf=bad)
row("key/cniVersion/absent", ADD, refused(1, '"cniVersion": is required'), conf={"cniVersion": ABSENT}, reference=None)
row("key/name/misspelt", ADD, refused(2, "names", 'did you mean "name"'), conf={"name": ABSENT, "names": "rail0"}, reference=None)
NOT_OURS = "the plugins take any key"
row("key/x-own", ADD, ok(up=True), conf={"x-own": {"a": [1]}}, reference="same")
row("key/unknown", ADD, refused(2, "fast"), conf={"fast": True}, reference=ok(), why_different=NOT_OURS)
row("key/cni.dev", ADD, ok(up=True), conf={"cni.dev/whatever": 1}, reference="same")
row("key/capabilities", ADD, ok(up=True), conf={"capabilities": {"ips": True, "mac": True}}, reference="same")
row("key/args unknown", ADD, ok(up=True), conf={"args": {"labels": {"a": "b"}}}, reference="same")
row("key/runtimeConfig unknown", ADD, ok(up=True), conf={"runtimeConfig": {"portMappings": [], "aliases": {}}}, reference="same")
row("key/dns", ADD, ok(up=True, dns={"nameservers": ["10.1.1.1"], "search": ["a.example"]}),
    conf={"dns": {"nameservers": ["10.1.1.1"], "search": ["a.example"]}},
    reference=ok(), why_different="host-device gives the IPAM's dns only")
THROUGH_PF = {"vlan": 0, "spoofchk": "on", "trust": "off", "link_state": "auto", "min_tx_rate": 1, "max_tx_rate": 0,
              "guid": "02:00:00:00:00:00:00:01", "vfioPciMode": True}
for k, value in THROUGH_PF.items():
    row(f"key/{k}/of a netdev", ADD, refused(7, k, "needs a VF"), conf={k: value})
    row(f"key/{k}/of an auxiliary device", ADD, refused(7, k, "auxiliary"), conf={"device": ABSENT, "deviceID": "mlx5_core.sf.99", k: value})
row("key/spoofchk case", ADD, NO_VF, conf={"spoofchk": "ON", **VF})
row("key/vlan 0 with QoS", ADD, refused(7, "vlanQoS"), conf={"vlan": 0, "vlanQoS": 3, **VF})
row("key/vlan 0 with 802.1ad", ADD, refused(7, "vlanProto"), conf={"vlan": 0, "vlanProto": "802.1ad", **VF})
row("key/vlanQoS alone", ADD, refused(7, "vlanQoS"), conf={"vlanQoS": 3, **VF})
row("key/vlanProto alone", ADD, refused(7, "vlanProto"), conf={"vlanProto": "802.1q", **VF})
row("key/min over max rate", ADD, refused(7, "min_tx_rate"), conf={"min_tx_rate": 10, "max_tx_rate": 5, **VF})
row("key/min rate without a limit", ADD, NO_VF, conf={"min_tx_rate": 10, "max_tx_rate": 0, **VF})
row("key/link_state enable", ADD, NO_VF, conf={"link_state": "enable", **VF})
row("key/rdma required", ADD, NO_VF, conf={"rdma": "required", **VF})
row("key/rdma of an auxiliary device", ADD, refused(102, "mlx5_core.sf.99"), conf={"device": ABSENT, "deviceID": "mlx5_core.sf.99", "rdma": "required"})
row("key/rdmaIsolation and rdma required", ADD, NO_VF, conf={"rdmaIsolation": True, "rdma": "required", **VF})
for wish in ("none", "auto"):
    row(f"key/rdmaIsolation and rdma {wish}", ADD, refused(7, "rdmaIsolation", '"rdma"', wish), conf={"rdmaIsolation": True, "rdma": wish, **VF})
row("key/rdmaName and rdma none", ADD, refused(7, "rdmaName"), conf={"rdmaName": "mlx5_0", "rdma": "none", **VF})
row("key/rdmaName a slash", ADD, refused(7, "rdmaName"), conf={"rdmaName": "mlx5/0", **VF})
row("key/vfioPciMode and rdma required", ADD, refused(7, "vfioPciMode"), conf={"vfioPciMode": True, "rdma": "required", **VF})
row("key/guid multicast", ADD, refused(7, "guid"), conf={"guid": "03:00:00:00:00:00:00:01", **VF})
for bad in ("0x0000", "0x10000", "8001", "0x", "0x7fff", "0xffff"):
    row(f"key/pkey {bad}", ADD, refused(7, "pkey"), conf={"pkey": bad, **VF})
row("key/pkeyMembership alone", ADD, refused(7, "pkeyMembership", "needs"), conf={"pkeyMembership": "limited", **VF})
row("key/pkeyMembership of a full key", ADD, refused(7, "pkeyMembership", "contradicts"), conf={"pkey": "0x8010", "pkeyMembership": "limited", **VF})
GUID_GIVEN = {"mellanox.infiniband.app": "configured", "guid": "02:00:00:00:00:00:00:01"}
row("key/ibKubernetesEnabled, prepared", ADD, NO_VF, conf={"ibKubernetesEnabled": True, "args": {"cni": GUID_GIVEN}, **VF})
row("key/ibKubernetesEnabled, no GUID", ADD, refused(11, "GUID"),
    conf={"ibKubernetesEnabled": True, "args": {"cni": {"mellanox.infiniband.app": "configured"}}, **VF})
row("key/device and deviceID", ADD, NO_VF, conf={"deviceID": "ffff:ff:1f.7"})
row("key/deviceID and pciBusID differ", ADD, refused(7, "0000:1a:00"), conf={"device": ABSENT, "deviceID": "0000:1a:00.1", "pciBusID": "0000:1a:00.2"})
row("key/runtimeConfig.deviceID", ADD, refused(102), conf={"device": ABSENT, "runtimeConfig": {"deviceID": "0000:ff:00.1"}},
    reference=refused(999), why_different="the plugins have one code for everything")
row("key/runtimeConfig.deviceID empty", ADD, ok(up=True), conf={"runtimeConfig": {"deviceID": ""}}, reference="same")
row("key/runtimeConfig.infinibandGUID", ADD, NO_VF, conf={"runtimeConfig": {"infinibandGUID": "02:00:00:00:00:00:00:01"}, **VF})
row("key/runtimeConfig.infinibandGUID of a netdev", ADD, refused(7, "runtimeConfig.infinibandGUID", "needs a VF"),
    conf={"runtimeConfig": {"infinibandGUID": "02:00:00:00:00:00:00:01"}})
row("key/runtimeConfig.infinibandGUID all ones", ADD, refused(7, "runtimeConfig.infinibandGUID"),
    conf={"runtimeConfig": {"infinibandGUID": "ff:ff:ff:ff:ff:ff:ff:ff"}, **VF})
row("key/args.cni.guid", ADD, NO_VF, conf={"args": {"cni": {"guid": "02:00:00:00:00:00:00:01"}}, **VF})
row("key/args.cni.guid all zeros", ADD, refused(7, "args.cni.guid"), conf={"args": {"cni": {"guid": "00:00:00:00:00:00:00:00"}}, **VF})
row("key/runtimeConfig.CNIDeviceInfoFile relative", ADD, refused(7, "CNIDeviceInfoFile"), conf={"runtimeConfig": {"CNIDeviceInfoFile": "info.json"}})
row("key/runtimeConfig.CNIDeviceInfoFile of another type", ADD, refused(7, "CNIDeviceInfoFile"), conf={"runtimeConfig": {"CNIDeviceInfoFile": 1}})
row("key/ipam.socket", ADD, refused(11, "/nowhere/s"), conf={"socket": ABSENT, "ipam": {"type": "spur-ipam", "pool": "train", "socket": "/nowhere/s"}})
row("key/ipam.socket relative", ADD, refused(7, "socket"), conf={"ipam": {"type": "spur-ipam", "pool": "train", "socket": "s"}})
row("key/routing.table auto", ADD, ok(table=101, rules=1), conf={"routing": {"table": "auto"}, **RAILS})
row("key/routing.table auto, no rail", ADD, refused(7, "table"), conf={"routing": {"table": "auto"}, "ipam": ABSENT})
row("key/ipam unknown pool", ADD, refused(7, "nopool"), conf={"ipam": {"type": "spur-ipam", "pool": "nopool"}})
row("key/ipam.claim of a rail that is not there", ADD, refused(7, "claim", "nosuchrail"), conf={"ipam": {"type": "spur-ipam", "pool": "two", "rail": "a", "claim": ["nosuchrail"]}})
row("key/args.cni.sticky", ADD, ok(addresses=1), conf={"args": {"cni": {"sticky": "job/worker-3"}}})
row("key/args.cni.sticky of another type", ADD, refused(7, "args.cni.sticky"), conf={"args": {"cni": {"sticky": 3}}})
row("key/args.cni.claim wins", ADD, refused(7, "claim", "nosuchrail"), conf={"args": {"cni": {"claim": ["nosuchrail"]}}, "ipam": {"type": "spur-ipam", "pool": "two", "rail": "a", "claim": "all"}})
row("key/args.cni.allocateIPWithIndex", ADD, ok(addresses=1), conf={"args": {"cni": {"allocateIPWithIndex": 77}}})
row("key/args.cni.allocateIPWithIndex of the network", ADD, refused(7, "index 0"), conf={"args": {"cni": {"allocateIPWithIndex": 0}}})
# nv-ipam's, which a pod brings from there: taken as they mean it, or refused, by both programs.
for of, program in (("key", {}), ("ipam", {"program": "spur-ipam"})):
    gateway = {"allocateDefaultGateway": True}
    row(f"{of}/args.cni.allocateDefaultGateway", ADD, ok("unchanged", ipam=True) if program else ok(addresses=1),
        conf={"args": {"cni": gateway}}, **program)
    row(f"{of}/args.cni.allocateDefaultGateway and an index", ADD, refused(7, "allocateDefaultGateway", "allocateIPWithIndex"),
        conf={"args": {"cni": {**gateway, "allocateIPWithIndex": 5}}}, **program)
    for named, good in ((["train"], True), (["other"], False), (["train", "other"], False), ("train", False)):
        row(f"{of}/args.cni.poolNames {named}", ADD,
            (ok("unchanged", ipam=True) if program else ok(addresses=1)) if good else refused(7, "args.cni.poolNames"),
            conf={"args": {"cni": {"poolNames": named, "poolType": "ippool"}}}, **program)
    row(f"{of}/args.cni.poolType", ADD, refused(7, "args.cni.poolType"), conf={"args": {"cni": {"poolType": "other"}}}, **program)
row("ipam/args.cni.sticky", ADD, ok("unchanged", ipam=True), conf={"args": {"cni": {"sticky": "job/worker-3", "claim": "all"}}}, program="spur-ipam")
row("key/ipam no such plugin", ADD, refused(4, "no-such-ipam"), conf={"ipam": {"type": "no-such-ipam"}},
    reference=refused(999), why_different="the plugins have one code for everything")
row("key/ipam v4 and v6", ADD, ok(addresses=2, up=True), conf={"ipam": {"type": "spur-ipam", "pool": "dual"}})
row("key/ipam host-local", ADD, ok(addresses=1, up=True), conf={"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]}}, before="free, foreign ipam")

# ---- Precedence ----------------------------------------------------------------------------------

M1, M2, M3 = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
row("precedence/mac runtimeConfig", ADD, ok(mac=M3), conf={"mac": M1, "runtimeConfig": {"mac": M3}}, env={"CNI_ARGS": f"MAC={M2}"})
row("precedence/mac CNI_ARGS", ADD, ok(mac=M2), conf={"mac": M1}, env={"CNI_ARGS": f"IgnoreUnknown=1;MAC={M2}"})
row("precedence/mac upper case", ADD, ok(mac="0a:bb:cc:dd:ee:ff"), conf={"mac": "0A:BB:CC:DD:EE:FF"})
row("precedence/ips runtimeConfig", ADD, ok(ips=["10.0.0.33/24"]),
    conf={"runtimeConfig": {"ips": ["10.0.0.33/24"]}, "args": {"cni": {"ips": ["10.0.0.34"]}}}, env={"CNI_ARGS": "IP=10.0.0.35"})
row("precedence/ips args.cni", ADD, ok(ips=["10.0.0.34/24"]), conf={"args": {"cni": {"ips": ["10.0.0.34"]}}}, env={"CNI_ARGS": "IP=10.0.0.35"})
row("precedence/ips CNI_ARGS", ADD, ok(ips=["10.0.0.35/24"]), env={"CNI_ARGS": "IgnoreUnknown=1;IP=10.0.0.35"})
row("precedence/ip outside the rail", ADD, refused(7, "10.77.0.1"), env={"CNI_ARGS": "IP=10.77.0.1"})
row("precedence/ip is the gateway", ADD, refused(7, "10.0.0.1"), env={"CNI_ARGS": "IP=10.0.0.1"})
row("precedence/ip is the network", ADD, refused(7, "10.0.0.0"), env={"CNI_ARGS": "IP=10.0.0.0"})
row("precedence/ip is the broadcast", ADD, refused(7, "10.0.0.255"), env={"CNI_ARGS": "IP=10.0.0.255"})
row("precedence/ips not a list", ADD, refused(7, "ips"), conf={"runtimeConfig": {"ips": "10.0.0.3"}})
row("precedence/mac multicast", ADD, refused(4, "MAC"), env={"CNI_ARGS": "MAC=01:00:5e:00:00:01"})
row("precedence/mac zero", ADD, refused(7, "mac"), conf={"runtimeConfig": {"mac": "00:00:00:00:00:00"}})

# ---- Malformed stdin -----------------------------------------------------------------------------


def padded(size):
    return lambda b: b[:-1] + b',"x-pad":"' + b"a" * size + b'"}'


def insert(text):
    """Another member, as it stands."""
    return lambda b: b[:-1] + b"," + text + b"}"


def replaced(old, new):
    def damage(b):
        assert old in b
        return b.replace(old, new)
    return damage


DECODE = (6, 7)  # "decode failure" or "invalid configuration": both are the specification's words for it
GO = "Go's decoder takes it"
ONE_CODE = "the plugins have one code for everything"
REF_6 = {"reference": refused(6)}
row("stdin/none", ADD, refused(6), stdin=lambda b: b"", **REF_6)
row("stdin/closed", ADD, refused((5, 6)), stdin=lambda b: None)
row("stdin/white space", ADD, refused(6), stdin=lambda b: b" \n\t ", **REF_6)
row("stdin/10 MB value", ADD, refused((5, 6, 7)), stdin=padded(10 << 20), reference=ok(), why_different="a daemon's line ends at 64 KiB; the plugins read it all")
row("stdin/10 MB white space", ADD, refused((5, 6, 7)), stdin=lambda b: b + b" " * (10 << 20), reference=ok(), why_different="as the 10 MB value")
row("stdin/10 MB of {", ADD, refused((5, 6, 7)), stdin=lambda b: b"{" * (10 << 20), **REF_6)
row("stdin/64 KB value", ADD, refused(7), stdin=padded(64 << 10), reference=ok(), why_different="the record, with the configuration in it, is to fit a daemon's line of 64 KiB")
row("stdin/30 KB value", ADD, ok(up=True), stdin=padded(30 << 10), reference="same")
row("stdin/cut after 1 byte", ADD, refused(6), stdin=lambda b: b[:1], **REF_6)
row("stdin/cut in the middle", ADD, refused(6), stdin=lambda b: b[: len(b) // 2], **REF_6)
row("stdin/last byte missing", ADD, refused(6), stdin=lambda b: b[:-1], **REF_6)
row("stdin/text behind", ADD, refused(6), stdin=lambda b: b + b"x", **REF_6)
row("stdin/two objects", ADD, refused(6), stdin=lambda b: b + b, **REF_6)
row("stdin/white space around", ADD, ok(up=True), stdin=lambda b: b"\r\n " + b + b"\r\n", reference="same")
row("stdin/array", ADD, refused(6), stdin=lambda b: b"[" + b + b"]", **REF_6)
for text in (b'"spur"', b"7", b"null", b"true"):
    row(f"stdin/{text.decode()}", ADD, refused(DECODE), stdin=lambda b, text=text: text,
        reference=refused((4, 6, 7, 1, 999)), why_different="null is an empty configuration for Go" if text == b"null" else "")
row("stdin/{}", ADD, refused((1, 7)), stdin=lambda b: b"{}", reference=refused((1, 4, 7)), why_different="the plugins miss the name first, with the code of the environment")
row("stdin/duplicate key", ADD, refused(6, "uplicate"), stdin=insert(b'"device":"eth1"'), reference=ok(), why_different=GO + ", the last one wins")
row("stdin/duplicate key inside", ADD, refused(6, "uplicate"), stdin=insert(b'"x-a":{"b":1,"b":2}'), reference=ok(), why_different=GO)
row("stdin/nested 100000 deep", ADD, refused(6), stdin=insert(b'"x-a":' + b"[" * 100000 + b"]" * 100000), **REF_6)
row("stdin/nested 500 deep", ADD, ok(up=True), stdin=insert(b'"x-a":' + b"[" * 500 + b"]" * 500), reference="same")
row("stdin/NUL byte", ADD, refused(6), stdin=replaced(b'"eth1"', b'"eth1\0"'), **REF_6)
row("stdin/NUL byte between", ADD, refused(6), stdin=lambda b: b[:1] + b"\0" + b[1:], **REF_6)
row("stdin/NUL byte behind", ADD, refused(6), stdin=lambda b: b + b"\0", **REF_6)
row("stdin/NUL escaped", ADD, refused(DECODE), stdin=replaced(b'"eth1"', b'"eth1\\u0000"'), reference=ok(), why_different="the kernel reads the name up to the NUL")
row("stdin/NUL in a key", ADD, refused(DECODE), stdin=insert(b'"x-\\u0000":1'), reference=ok(), why_different=GO)
row("stdin/not UTF-8", ADD, refused(6), stdin=insert(b'"x-a":"\xff\xfe"'), reference=ok(), why_different=GO + " and replaces the bytes")
row("stdin/overlong UTF-8", ADD, refused(6), stdin=insert(b'"x-a":"\xc0\xaf"'), reference=ok(), why_different=GO + " and replaces the bytes")
row("stdin/lone surrogate", ADD, refused(6), stdin=insert(b'"x-a":"\\ud800"'), reference=ok(), why_different=GO + " and replaces it")
row("stdin/UTF-8 surrogate", ADD, refused(6), stdin=insert(b'"x-a":"\xed\xa0\x80"'), reference=ok(), why_different=GO + " and replaces the bytes")
row("stdin/byte order mark", ADD, refused(6), stdin=lambda b: b"\xef\xbb\xbf" + b, **REF_6)
row("stdin/UTF-16", ADD, refused(6), stdin=lambda b: b.decode().encode("utf-16"), **REF_6)
row("stdin/control character", ADD, refused(6), stdin=insert(b'"x-a":"\x01"'), **REF_6)
row("stdin/comment", ADD, refused(6), stdin=lambda b: b"// c\n" + b, **REF_6)
row("stdin/single quotes", ADD, refused(6), stdin=lambda b: b.replace(b'"', b"'"), **REF_6)
row("stdin/comma behind", ADD, refused(6), stdin=lambda b: b[:-1] + b",}", **REF_6)
row("stdin/NaN", ADD, refused(6), stdin=insert(b'"x-a":NaN'), **REF_6)
row("stdin/1e400", ADD, refused(6), stdin=insert(b'"x-a":1e400'), reference=ok(), why_different="Go does not look at a number that nobody asks for")
row("stdin/integer of 30 digits", ADD, refused(6), stdin=insert(b'"x-a":' + b"9" * 30), reference=ok(), why_different="as 1e400")
row("stdin/leading zero", ADD, refused(6), stdin=insert(b'"x-a":01'), **REF_6)
row("stdin/mtu 1.5e3", ADD, refused(7, "mtu"), stdin=insert(b'"mtu":1.5e3'))
row("stdin/mtu null", ADD, refused(7, "mtu"), stdin=insert(b'"mtu":null'))
row("stdin/10 MB at DEL", DEL, refused((5, 6, 7)), before="added", stdin=padded(10 << 20), reference=ok("as before"), why_different="as the 10 MB value")

for text, bad in (("absent", ABSENT), ("empty", ""), ("..", ".."), ("a slash", "a/b"), ("a space", "a b"), ("a leading dash", "-a"), ("not ASCII", "näme"), ("a number", 7)):
    row(f"name/{text}", ADD, refused(7, "name"), conf={"name": bad},
        reference=refused((4, 6, 7)), why_different="the plugins count some of it to the environment (4)")
row("name/600 bytes", ADD, refused((4, 7)), conf={"name": "n" * 600}, reference=refused(999), why_different=ONE_CODE)
row("version/absent", ADD, refused((1, 7), "cniVersion"), conf={"cniVersion": ABSENT},
    reference=ok(), why_different="for libcni no version is 0.1.0, which the plugins still speak")
row("version/0.1.0", ADD, refused(1), conf={"cniVersion": "0.1.0"}, reference=ok(), why_different="the plugins still speak 0.1.0 and 0.2.0")
row("version/0.2.0", ADD, refused(1), conf={"cniVersion": "0.2.0"}, reference=ok(), why_different="the plugins still speak 0.1.0 and 0.2.0")
for bad in ("2.0.0", "1.0", "v1.0.0", " 1.0.0", "1.0.0-rc1", "1.1.1"):
    row(f"version/{bad}", ADD, refused(1), conf={"cniVersion": bad}, reference=refused((1, 4, 7)), why_different="")
row("version/empty", ADD, refused((1, 7)), conf={"cniVersion": ""}, reference=ok(), why_different="as no version")
row("version/number", ADD, refused((1, 6, 7)), conf={"cniVersion": 1.0}, **REF_6)

# ---- Malformed environment -----------------------------------------------------------------------

for text, bad in (("absent", None), ("empty", ""), ("..", ".."), ("a slash", "a/b"), ("../x", "../x"), ("a space", "a b"), ("a leading dash", "-a"),
                  ("not ASCII", "cöntainer"), ("a newline", "a\n")):
    row(f"containerID/{text}", ADD, refused(4, "CNI_CONTAINERID"), env={"CNI_CONTAINERID": bad}, reference=refused(4))
row("containerID/600 bytes", ADD, refused(4), env={"CNI_CONTAINERID": "c" * 600}, reference=ok(), why_different="our ledger's keys end at 490 bytes")
row("containerID/one byte", ADD, ok(up=True), env={"CNI_CONTAINERID": "7"}, reference="same")
row("containerID/longest", ADD, ok(up=True), env={"CNI_CONTAINERID": "c" * (490 - len("rail0") - len("net1"))})
row("containerID/one byte too long", ADD, refused(4), env={"CNI_CONTAINERID": "c" * (490 - len("rail0") - len("net1") + 1)})
for text, bad in (("absent", None), ("empty", ""), ("16 bytes", "i" * 16), (".", "."), ("..", ".."), ("a slash", "a/b"), ("a colon", "a:b"), ("a space", "a b"),
                  ("a tab", "a\tb"), ("a newline", "a\nb")):
    row(f"ifname/{text}", ADD, refused(4, "CNI_IFNAME"), env={"CNI_IFNAME": bad}, reference=refused(4))
row("ifname/15 bytes", ADD, ok(up=True), env={"CNI_IFNAME": "i" * 15}, reference="same")
row("ifname/a pattern for the kernel", ADD, refused((4, 103), "net%d"), env={"CNI_IFNAME": "net%d"},
    reference=refused(999), why_different=ONE_CODE)
row("ifname/lo", ADD, refused((4, 103), "lo"), env={"CNI_IFNAME": "lo"}, reference=refused(999), why_different=ONE_CODE)
row("ifname/as in the node", ADD, ok(up=True), env={"CNI_IFNAME": "eth1"}, reference="same")
row("ifname/default", ADD, refused((4, 101, 103), "default"), env={"CNI_IFNAME": "default"}, reference=refused(999),
    why_different="a name that net.ipv4.conf has for itself: the kernel moves such a device without IPv4")
row("ifname/all", ADD, refused((4, 101, 103), "all"), env={"CNI_IFNAME": "all"}, reference=refused(999), why_different="as default")
for text, bad in (("absent", None), ("empty", "")):
    row(f"netns/{text}", ADD, refused(4, "CNI_NETNS"), env={"CNI_NETNS": bad}, reference=refused(4))
for text in ("nothing", "a file", "a directory", "a symlink loop", "a fifo", "a socket", "a mount namespace", "5000 bytes", "a character device", "below a file"):
    row(f"netns/{text}", ADD, refused(4, "CNI_NETNS", within=5), env={"CNI_NETNS": f"<{text}>"},
        reference=refused((4, 999)) if text != "a fifo" else None,
        why_different="the plugins open a fifo and wait" if text == "a fifo" else ONE_CODE)
row("netns/our own", ADD, refused(4, "CNI_NETNS"), env={"CNI_NETNS": "<our own>"}, reference=ok(),
    why_different="plugins 1.1.1 rename the node's own device")
row("netns/our own by /proc/self", ADD, refused(4, "CNI_NETNS"), env={"CNI_NETNS": "/proc/self/ns/net"}, reference=ok(),
    why_different="plugins 1.1.1 rename the node's own device")
row("netns/relative", ADD, refused(4, "CNI_NETNS"), env={"CNI_NETNS": "<relative>"}, reference=ok(), why_different="the path is kept for later, when another program looks from another directory")
row("netns/by a symlink", ADD, ok(up=True), env={"CNI_NETNS": "<a symlink>"}, reference="same")
for bad in ("MAC", "=x", "MAC=02:00:00:00:00:01=x", "MAC=nonsense", "IP=10.0.0", "IP=", "FOO=bar", "IgnoreUnknown=maybe", "IP=10.0.0.5,10.0.0.6,x"):
    row(f"args/{bad}", ADD, refused(4, "CNI_ARGS"), env={"CNI_ARGS": bad}, reference=None)
for variable in ("CNI_IFNAME", "CNI_ARGS", "CNI_NETNS", "CNI_PATH"):
    value = {"CNI_IFNAME": "n\udcff", "CNI_ARGS": "K8S_POD_NAME=\udcff", "CNI_NETNS": "/n\udcff"}.get(variable, "/opt/cni/\udcff")
    row(f"text/{variable}", ADD, refused(4, variable, "UTF-8"), env={variable: value})
    if variable != "CNI_IFNAME":
        row(f"text/{variable} at DEL", DEL, ok("as before"), before="added", env={variable: value})
row("text/DEL with the daemon down", DEL, ok("spooled", within=5), before="added, daemon down", env={"CNI_ARGS": "A=\udcff", "CNI_PATH": "\udcff"})
for pad in ("", "x"):  # texts that are shown up to some byte: that is inside a character once
    wide = pad + "ö" * 300
    row(f"text/name cut{pad}", ADD, refused(7, "name", "öö"), conf={"name": wide})
    row(f"text/cniVersion cut{pad}", ADD, refused(1, "cniVersion", "öö"), conf={"cniVersion": wide})
    row(f"text/CNI_COMMAND cut{pad}", wide, refused(4, "CNI_COMMAND", "öö"))
    row(f"text/CNI_NETNS cut{pad}", ADD, refused(4, "CNI_NETNS", "öö"), env={"CNI_NETNS": wide})
    row(f"text/key cut{pad}", ADD, refused(2, "öö"), conf={wide: 1})
row("args/unknown, ignored", ADD, ok(up=True), env={"CNI_ARGS": "FOO=bar;IgnoreUnknown=true"}, reference="same")
row("args/empty", ADD, ok(up=True), env={"CNI_ARGS": ""}, reference="same")
row("args/absent", ADD, ok(up=True), env={"CNI_ARGS": None}, reference="same")

# ---- ADD against what it finds -------------------------------------------------------------------

row("add/no such device", ADD, refused(102, "eth9"), conf={"device": "eth9"}, reference=refused(999), why_different=ONE_CODE)
row("add/device lo", ADD, refused(102, "lo"), conf={"device": "lo"}, reference=refused(999), why_different=ONE_CODE)
row("add/device has a master", ADD, refused(102, "master"), before="enslaved", reference=ok(),
    why_different="host-device takes it out of its bridge and forgets that")
row("add/device has addresses", ADD, refused(102, "10.50.0.1"), before="addressed", reference=ok(),
    why_different="host-device lets the move delete the address")
row("add/ifname taken in the pod", ADD, refused((4, 103), "net1"), before="name taken", reference=refused(999), why_different=ONE_CODE)
row("add/ifname is an altname in the pod", ADD, refused((4, 103), "net1"), before="altname taken", reference=refused(999), why_different=ONE_CODE)
row("add/ifname is our own altname", ADD, ok(up=True), before="own altname",
    reference=refused(999), why_different="host-device 1.1.1 knows no altnames: the rename clashes")
row("add/device up in the node", ADD, ok(up=True), before="device up",
    reference=ok(), why_different="host-device gives a device back down that was up")
row("add/device with MTU 9000", ADD, ok(up=True, mtu=9000), before="mtu 9000", reference="same")
row("add/twice", ADD, ok("unchanged"), before="added", reference=refused(999), why_different="one answer for one question: the attachment stands as asked")
row("add/another container has the device", ADD, refused(11, "ctr-a"), before="added", env={"CNI_CONTAINERID": "other", "CNI_IFNAME": "net2"},
    reference=refused(999), why_different=ONE_CODE)
row("add/pool full", ADD, refused(11, "tiny"), before="tiny pool full", conf={"ipam": {"type": "spur-ipam", "pool": "tiny"}, "device": "eth2"}, env={"CNI_CONTAINERID": "other", "CNI_IFNAME": "net2"})
row("add/address held by another", ADD, refused(11, "10.0.0.77"), before="address held", conf={"device": "eth2", "runtimeConfig": {"ips": ["10.0.0.77"]}},
    env={"CNI_CONTAINERID": "other", "CNI_IFNAME": "net2"})

PREV = {"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "mac": M1, "sandbox": "<pod>"}],
        "ips": [{"address": "10.9.9.9/24", "interface": 0}], "dns": {"nameservers": ["10.1.1.1"]}}
OTHERS = {**PREV, "interfaces": [{"name": "br0"}, {"name": "eth0", "mac": M1, "sandbox": "<pod>"}], "ips": [{"address": "10.9.9.9/24", "interface": 1}]}
row("chained/behind another interface", ADD, ok(interfaces=["br0", "eth0", "net1"], others=["10.9.9.9/24"], dns=PREV["dns"], addresses=1), conf={"prevResult": OTHERS})
row("chained/behind nothing", ADD, ok(interfaces=["net1"]), conf={"prevResult": {"cniVersion": "1.0.0"}})
MADE = refused(7, "main plugin has made the interface")
row("chained/our interface is there", ADD, MADE, conf={"prevResult": PREV}, before="name taken")
row("chained/our interface is there, with addresses", ADD, MADE, conf={"prevResult": PREV, **VF}, before="name taken")
row("chained/our interface is there, nothing to do", ADD, MADE, conf={"prevResult": PREV, "ipam": ABSENT, "rdma": "none", **VF}, before="name taken")
row("chained/our interface is there, with its RDMA device", ADD, NO_VF, conf={"prevResult": PREV, "ipam": ABSENT, **VF}, before="name taken")
for k, value in {"mac": M1, "mtu": 1500, "dad": True, "routing": {"table": 1}, **THROUGH_PF, "pkey": "0x8001"}.items():
    row(f"chained/our interface is there, {k}", ADD, refused(7, k, "main plugin"), conf={"prevResult": PREV, "ipam": ABSENT, k: value, **VF}, before="name taken")
row("chained/not an object", ADD, refused(7, "prevResult"), conf={"prevResult": "x"})
row("chained/not a result", ADD, refused(7, "prevResult"), conf={"prevResult": {**PREV, "ips": [{"address": "10.0.0.300/24"}]}})

# ---- DEL in every state --------------------------------------------------------------------------

row("del/before any ADD", DEL, ok("unchanged"), reference=refused(999), why_different="host-device wants the device, against the specification")
row("del/twice", DEL, ok("unchanged"), before="added, deleted", reference=refused(999), why_different="as before any ADD")
row("del/no prevResult", DEL, ok("as before"), before="added", conf={"prevResult": ABSENT}, reference="same")
LEAKS = "host-device gives up without the namespace and leaves the device in the pod"
row("del/no CNI_NETNS", DEL, ok("as before"), before="added", env={"CNI_NETNS": None}, reference=ok("unchanged"), why_different=LEAKS)
row("del/empty CNI_NETNS", DEL, ok("as before"), before="added", env={"CNI_NETNS": ""}, reference=ok("unchanged"), why_different=LEAKS)
row("del/netns path is a file", DEL, ok("as before"), before="added", env={"CNI_NETNS": "<a file>"}, reference=refused(999), why_different=LEAKS)
row("del/netns path is nothing", DEL, ok("as before"), before="added", env={"CNI_NETNS": "<nothing>"}, reference=refused(999), why_different=LEAKS)
row("del/namespace is gone", DEL, ok("gone"), before="added, pod gone", reference=refused(999), why_different="host-device wants the namespace")
row("del/namespace is gone, CNI_NETNS empty", DEL, ok("gone"), before="added, pod gone", env={"CNI_NETNS": ""})
row("del/never there, namespace gone", DEL, ok("unchanged"), env={"CNI_NETNS": "<nothing>"}, reference=refused(999), why_different="host-device wants the namespace")
row("del/another container", DEL, ok("unchanged"), before="added", env={"CNI_CONTAINERID": "other"}, reference=ok("as before"),
    why_different="host-device keeps no record: whoever asks gets the device back")
row("del/another network", DEL, ok("unchanged"), before="added", conf={"name": "rail9"}, reference=ok("as before"), why_different="host-device keeps no record")
row("del/another ifname", DEL, ok("unchanged"), before="added", env={"CNI_IFNAME": "net9"}, reference=refused(999), why_different="host-device wants the device")
row("del/device deleted in the pod", DEL, ok("gone"), before="added, device deleted", reference=refused(999), why_different="host-device wants the device")
row("del/device renamed in the pod", DEL, ok("as before"), before="added, device renamed", reference=refused(999), why_different="host-device finds a device by its name only")
row("del/device changed in the pod", DEL, ok("as before"), before="added, device changed",
    reference=ok(after="not as before"), why_different="host-device gives back the name only: MTU and MAC stay as the pod left them")
row("del/own altname comes back", DEL, ok("as before"), before="own altname, added")
for text, edit in (("an unknown key", {"fast": True}), ("wrong values", {"mtu": "x", "dad": 7, "routing": []}), ("another device", {"device": "eth9"}),
                   ("no device", {"device": ABSENT}), ("no ipam", {"ipam": ABSENT}), ("wrong ipam", {"ipam": 7}), ("a foreign ipam", {"ipam": {"type": "no-such-ipam"}}),
                   ("another pool", {"ipam": {"type": "spur-ipam", "pool": "nopool"}}), ("an unknown version", {"cniVersion": "9.9.9"}), ("no version", {"cniVersion": ABSENT}),
                   ("a wrong prevResult", {"prevResult": 7}), ("a wrong runtimeConfig", {"runtimeConfig": []}), ("wrong args", {"args": 1})):
    row(f"del/edited: {text}", DEL, ok("as before"), before="added", conf=edit)
row("del/edited: CNI_ARGS", DEL, ok("as before"), before="added", env={"CNI_ARGS": "MAC=nonsense"})
row("del/no name", DEL, refused(7, "name"), before="added", conf={"name": ABSENT}, reference=refused((4, 7)), why_different="")
row("del/bad containerID", DEL, refused(4), before="added", env={"CNI_CONTAINERID": "../x"}, reference="same")
row("del/bad ifname", DEL, refused(4), before="added", env={"CNI_IFNAME": "i" * 16}, reference="same")
row("del/not JSON", DEL, refused(6), before="added", stdin=lambda b: b[:-1], reference="same")

# ---- CHECK ---------------------------------------------------------------------------------------

DRIFT = refused((104,), after="unchanged")
row("check/no prevResult", CHECK, ok("unchanged"), before="added", conf={"prevResult": ABSENT}, reference=refused(999), why_different="our record knows what prevResult would say")
row("check/never added", CHECK, refused((3, 104)), conf={"prevResult": PREV}, reference=refused(999), why_different=ONE_CODE)
row("check/address gone", CHECK, DRIFT, before="added, address gone", reference=refused(999), why_different=ONE_CODE)
row("check/device gone", CHECK, DRIFT, before="added, device deleted", reference=refused(999), why_different=ONE_CODE)
row("check/device down", CHECK, DRIFT, before="added, device down", reference=refused(999), why_different=ONE_CODE)
row("check/another address too", CHECK, ok("unchanged"), before="added, address more", reference="same")
row("check/rule gone", CHECK, DRIFT, before="routed, rule gone")
row("check/route gone", CHECK, DRIFT, before="routed, route gone")
row("check/edited configuration", CHECK, ok("unchanged"), before="added", conf={"fast": True})
row("check/daemon down", CHECK, refused(11), before="added, daemon down")

# ---- GC and STATUS -------------------------------------------------------------------------------

V = {"cniVersion": "1.1.0"}
ALIVE = {"containerID": "ctr-a", "ifname": "net1"}
row("gc/no list", GC, ok("unchanged"), before="added", conf=V)
row("gc/no list, pod gone", GC, ok("unchanged"), before="added, pod gone", conf=V)
row("gc/in the list", GC, ok("unchanged"), before="added", conf={**V, "cni.dev/valid-attachments": [ALIVE]})
row("gc/in the list, pod gone", GC, ok("unchanged"), before="added, pod gone", conf={**V, "cni.dev/valid-attachments": [ALIVE]})
row("gc/not in the list, alive", GC, ok("unchanged"), before="added", conf={**V, "cni.dev/valid-attachments": []})
row("gc/not in the list, pod gone", GC, ok("gone"), before="added, pod gone", conf={**V, "cni.dev/valid-attachments": []})
row("gc/the old name of the list", GC, ok("gone"), before="added, pod gone", conf={**V, "cni.dev/attachments": []})
row("gc/another network", GC, ok("unchanged"), before="added, pod gone", conf={**V, "name": "rail9", "cni.dev/valid-attachments": []})
row("gc/list of the wrong type", GC, ok("unchanged"), before="added, pod gone", conf={**V, "cni.dev/valid-attachments": "all"})
row("gc/entry of the wrong type", GC, ok("gone"), before="added, pod gone", conf={**V, "cni.dev/valid-attachments": [7]})
row("gc/entry without ifname", GC, ok("gone"), before="added, pod gone", conf={**V, "cni.dev/valid-attachments": [{"containerID": "ctr-a"}]})
row("gc/daemon down", GC, refused(11), before="daemon down", conf={**V, "cni.dev/valid-attachments": []})
row("status/unknown pool", STATUS, refused(50, "nopool"), conf={**V, "ipam": {"type": "spur-ipam", "pool": "nopool"}})
row("status/no ipam", STATUS, ok("unchanged"), conf={**V, "ipam": ABSENT})
row("status/foreign ipam is not there", STATUS, refused((4, 50)), conf={**V, "ipam": {"type": "no-such-ipam"}})
row("status/pool full", STATUS, ok("unchanged"), before="tiny pool full", conf={**V, "ipam": {"type": "spur-ipam", "pool": "tiny"}})
row("status/daemon down", STATUS, refused(50, within=5), before="daemon down", conf=V)
row("status/no environment", STATUS, ok("unchanged"), conf=V, env={"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None})

# ---- A daemon that is not there, or not well -----------------------------------------------------
# "rude" daemons are sockets of the test: accept and never answer, hang up, talk nonsense …

row("daemon/down: ADD", ADD, refused(11, within=5), before="daemon down")
row("daemon/down: DEL", DEL, ok("spooled", within=5), before="added, daemon down")
row("daemon/down: DEL before ADD", DEL, ok("spooled", within=5), before="daemon down")
row("daemon/down: DEL twice", DEL, ok("spooled", within=5), before="added, daemon down, deleted")
row("daemon/down: VERSION", VERSION, ok("unchanged"), before="daemon down")
row("daemon/stalls: ADD", ADD, refused(11, within=13), before="daemon stalls")
row("daemon/stalls: DEL", DEL, Expect((0, 11), within=13, after="unchanged"), before="added, daemon stalls")
row("daemon/stalls: CHECK", CHECK, refused(11, within=13), before="added, daemon stalls")
row("daemon/stalls: STATUS", STATUS, refused(50, within=13), before="daemon stalls", conf=V)
row("daemon/stalls: GC", GC, refused(11, within=13), before="daemon stalls", conf={**V, "cni.dev/valid-attachments": []})
for rude in ("does not accept", "hangs up", "talks nonsense", "answers another question", "answers without end", "answers null", "answers an empty record", "is a file"):
    row(f"daemon/{rude}: ADD", ADD, refused((11, 5, 6, 7, 100), within=13), before=f"daemon {rude}")


def as_text(r):
    """One line a row."""
    asked = [f"{k}={'(absent)' if v in (None, ABSENT) else v}" for k, v in {**r.env, **r.conf}.items()]
    asked = " ".join(asked) + (" (bytes damaged)" if r.stdin else "")
    reference = "-" if r.reference is None else str(r.reference)
    return (r.name, f"{r.program} {r.verb}", r.before, asked if len(asked) < 100 else asked[:97] + "...",
            str(r.expect), r.expect.after or "moved", reference, r.why_different)


def header():
    return ("name", "call", "before", "asked", "answer", "world after", "reference", "why different")


assert len({r.name for r in ROWS}) == len(ROWS), "a name twice"
assert all(not isinstance(r.reference, Expect) or r.why_different or r.reference.codes == r.expect.codes or set(r.reference.codes) & set(r.expect.codes)
           for r in ROWS), "a difference without a reason"
