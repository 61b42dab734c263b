# SPDX-License-Identifier: Apache-2.0
"""The few calls of the Kubernetes runtime interface (CRI v1) that make and end pods.

Messages are written by hand from tables of field numbers (k8s.io/cri-api, runtime/v1/api.proto):
a client of six calls needs no compiler. Debian's grpcio carries them.
"""

import sys

import peer

sys.path.append(f"{peer.DEBIAN}/usr/lib/python3/dist-packages")

import grpc  # noqa: E402 (the line above finds it)

# name -> (field number, kind). A kind is str, int, bool, a table, or [kind] for a repeated one;
# dict is map<string, string>.
METADATA = {"name": (1, str), "uid": (2, str), "namespace": (3, str), "attempt": (4, int)}
LINUX = {"cgroup_parent": (1, str)}
POD = {
    "metadata": (1, METADATA), "hostname": (2, str), "log_directory": (3, str),
    "labels": (6, dict), "annotations": (7, dict), "linux": (8, LINUX),
}
CONDITION = {"type": (1, str), "status": (2, bool), "reason": (3, str), "message": (4, str)}
SANDBOX = {"id": (1, str), "metadata": (2, METADATA), "state": (3, int)}
NOTHING = {}
POD_ID = {"pod_sandbox_id": (1, str)}
CALLS = {
    "Status": (NOTHING, {"status": (1, {"conditions": (1, [CONDITION])})}),
    "RunPodSandbox": ({"config": (1, POD)}, POD_ID),
    "StopPodSandbox": (POD_ID, NOTHING),
    "RemovePodSandbox": (POD_ID, NOTHING),
    "ListPodSandbox": (NOTHING, {"items": (1, [SANDBOX])}),
}
PAIR = {"key": (1, str), "value": (2, str)}


def encode(table, message):
    out = b""
    for name, value in message.items():
        number, kind = table[name]
        for one_kind, one in _each(kind, value):
            out += _encode_field(number, one_kind, one)
    return out


def _each(kind, value):
    if kind is dict:
        return [(PAIR, {"key": k, "value": v}) for k, v in value.items()]
    if isinstance(kind, list):
        return [(kind[0], v) for v in value]
    return [(kind, value)]


def _encode_field(number, kind, value):
    if kind in (int, bool):
        return _varint(number << 3) + _varint(int(value))
    data = value.encode() if kind is str else encode(kind, value)
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def decode(table, data):
    """Fields that the table does not name are skipped; absent ones are ""; 0, {} or []."""
    fields = {number: (name, kind) for name, (number, kind) in table.items()}
    out = {name: [] if isinstance(kind, list) else _empty(kind) for name, (_, kind) in table.items()}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        if key & 7 == 0:
            value, at = _read_varint(data, at)
        elif key & 7 == 2:
            size, at = _read_varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f"wire type {key & 7}: CRI has none of these")
        if key >> 3 in fields:
            name, kind = fields[key >> 3]
            if isinstance(kind, list):
                out[name].append(_decode_value(kind[0], value))
            else:
                out[name] = _decode_value(kind, value)
    return out


def _empty(kind):
    return {} if isinstance(kind, dict) else kind()


def _decode_value(kind, value):
    if kind is str:
        return value.decode()
    return kind(value) if kind in (int, bool) else decode(kind, value)


def _read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


class Error(Exception):
    """What the runtime refused, in its words."""


class Client:
    def __init__(self, socket):
        # gRPC refuses a path as the authority of its requests.
        self.channel = grpc.insecure_channel(f"unix://{socket}", [("grpc.default_authority", "localhost")])

    def close(self):
        self.channel.close()

    def start(self, name, message, timeout=60):
        """Begins a call; the future's result() is its answer, as bytes."""
        request, _ = CALLS[name]
        method = self.channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")
        return method.future(encode(request, message), timeout=timeout)

    def call(self, name, timeout=60, **message):
        try:
            return decode(CALLS[name][1], self.start(name, message, timeout).result())
        except grpc.RpcError as e:
            raise Error(f"{e.code().name}: {e.details()}") from None

    def conditions(self):
        return {c["type"]: c for c in self.call("Status")["status"]["conditions"]}

    def run(self, config):
        return self.call("RunPodSandbox", config=config)["pod_sandbox_id"]

    def stop(self, pod):
        self.call("StopPodSandbox", pod_sandbox_id=pod)

    def remove(self, pod):
        self.call("RemovePodSandbox", pod_sandbox_id=pod)

    def pods(self):
        return self.call("ListPodSandbox")["items"]


def pod_config(name, attempt, cgroup):
    """What kubelet says of a pod."""
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "tenant-a", "attempt": attempt},
        "hostname": name, "log_directory": "/tmp", "labels": {}, "annotations": {"spur.test/why": "test"},
        "linux": {"cgroup_parent": cgroup},
    }
