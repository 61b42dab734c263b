# SPDX-License-Identifier: Apache-2.0
"""What the CNI specification says a plugin's stdout must look like, version by version.

Strict in both directions: what must be there, and what must not. Each function returns a list of
complaints; an empty list is conformity.
"""

import ipaddress
import re

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(:[0-9a-f]{2}){19}")

# Result keys by the version that brought them (SPEC.md "Result", "Well-known Structures").
INTERFACE = {"name": str, "mac": str, "sandbox": str}
INTERFACE_1_1 = {**INTERFACE, "mtu": int, "socketPath": str, "pciID": str}
ROUTE = {"dst": str, "gw": str}
ROUTE_1_1 = {**ROUTE, "mtu": int, "advmss": int, "priority": int, "table": int, "scope": int}
IP = {"address": str, "gateway": str, "interface": int}
IP_0 = {**IP, "version": str}  # "4" or "6"; gone in 1.0.0
DNS = {"nameservers": list, "domain": str, "search": list, "options": list}


def error(answer, asked_version):
    """The error object; asked_version None: the request had none that is known."""
    if not isinstance(answer, dict):
        return [f"an error is one JSON object on stdout, not {answer!r}"]
    bad = members("error", answer, {"cniVersion": str, "code": int, "msg": str, "details": str}, ("code", "msg"))
    version = answer.get("cniVersion")
    if asked_version and version != asked_version:
        bad.append(f"error: cniVersion is {version!r}, asked was {asked_version!r}")
    if not asked_version and version not in VERSIONS:
        bad.append(f"error: cniVersion is {version!r}")
    msg = answer.get("msg")
    if not isinstance(msg, str) or not msg.strip():
        bad.append(f"error: msg is {msg!r}")
    return bad


def versions(answer, asked_version):
    if not isinstance(answer, dict):
        return [f"VERSION prints one JSON object, not {answer!r}"]
    bad = members("version", answer, {"cniVersion": str, "supportedVersions": list}, ("cniVersion", "supportedVersions"))
    if answer.get("supportedVersions") != list(VERSIONS):
        bad.append(f"supportedVersions is {answer.get('supportedVersions')}")
    if answer.get("cniVersion") != (asked_version or VERSIONS[-1]):
        bad.append(f"version: cniVersion is {answer.get('cniVersion')!r}, asked was {asked_version!r}")
    return bad


def result(answer, version, ifname, sandbox, ipam_only=False):
    """An ADD result, of a main plugin or (ipam_only) of an IPAM plugin."""
    if not isinstance(answer, dict):
        return [f"ADD prints one JSON object, not {answer!r}"]
    new = version == "1.1.0"
    known = {"cniVersion": str, "ips": list, "routes": list, "dns": dict}
    if not ipam_only:
        known["interfaces"] = list
    bad = members("result", answer, known, ("cniVersion",) if ipam_only else ("cniVersion", "interfaces"))
    if answer.get("cniVersion") != version:
        bad.append(f"cniVersion is {answer.get('cniVersion')!r}, asked was {version!r}")
    interfaces = answer.get("interfaces", [])
    for i, entry in enumerate(interfaces):
        bad += members(f"interfaces[{i}]", entry, INTERFACE_1_1 if new else INTERFACE, ("name",))
        if "mac" in entry and not MAC.fullmatch(str(entry["mac"])):
            bad.append(f"interfaces[{i}]: mac {entry['mac']!r}")
    if not ipam_only and not any(e.get("name") == ifname and e.get("sandbox") == sandbox for e in interfaces):
        bad.append(f"interfaces: no {ifname} in {sandbox}")
    for i, entry in enumerate(answer.get("ips", [])):
        bad += _ip(f"ips[{i}]", entry, version, interfaces, ipam_only)
    for i, entry in enumerate(answer.get("routes", [])):
        bad += members(f"routes[{i}]", entry, ROUTE_1_1 if new else ROUTE, ("dst",))
        bad += address(f"routes[{i}].dst", entry.get("dst"), ipaddress.ip_network)
        bad += address(f"routes[{i}].gw", entry.get("gw"), ipaddress.ip_address)
    return bad + members("dns", answer.get("dns", {}), DNS, ())


def _ip(where, entry, version, interfaces, ipam_only):
    old = version.startswith("0.")
    bad = members(where, entry, IP_0 if old else IP, ("address", "version") if old else ("address",))
    text = str(entry.get("address"))
    bad += address(f"{where}.address", text, ipaddress.ip_interface)
    if "/" not in text:
        bad.append(f"{where}: address without a prefix length: {text}")
    bad += address(f"{where}.gateway", entry.get("gateway"), ipaddress.ip_address)
    if old and not bad and entry["version"] != str(ipaddress.ip_interface(text).version):
        bad.append(f"{where}: version {entry['version']} of {text}")
    if ipam_only and "interface" in entry:
        bad.append(f"{where}: an IPAM plugin knows no interface")
    if not ipam_only and not 0 <= entry.get("interface", -1) < len(interfaces):
        bad.append(f"{where}: interface {entry.get('interface')} of {len(interfaces)}")
    return bad


def members(where, obj, known, required):
    """Unknown, missing and mistyped members of one object."""
    if not isinstance(obj, dict):
        return [f"{where} is not an object: {obj!r}"]
    bad = [f"{where}: lacks {key}" for key in required if key not in obj]
    for key, value in obj.items():
        if key not in known:
            bad.append(f"{where}: {key} is not a key of this version")
        elif not isinstance(value, known[key]) or isinstance(value, bool):
            bad.append(f"{where}: {key} is {value!r}")
    return bad


def address(where, text, parse):
    if text is None:
        return []
    try:
        parse(text)
    except ValueError:
        return [f"{where}: {text!r}"]
    return []
