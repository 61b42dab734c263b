#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# CHECK fails right after ADD when a route takes the address's gateway.
#
# Version: containernetworking-plugins 1.1.1 (Debian 12).
#
# Behaviour: a route of an IPAM may leave out "gw": the gateway of the address is meant, and ADD makes
# the route so. CHECK then looks for a route without any gateway, and does not find it. So do host-device
# and ptp, with static and host-local. With "gw" written out CHECK succeeds.
#
# Output: "Expected Route {Dst:{IP:10.77.0.0 Mask:ffff0000} GW:<nil>} not found in routing table"
#
# Why it matters: a CHECK that fails is no proof that anything in the pod has changed. In a chain beside
# Spur, write the gateway into the IPAM's routes. (Spur's own CHECK means the address's, as ADD does.)
. "$(dirname "$0")/lib"

# conf ROUTE
conf() {
  printf '{"cniVersion":"1.0.0","name":"rails","type":"host-device","device":"rail","ipam":{"type":"static",
    "addresses":[{"address":"10.9.0.1/24","gateway":"10.9.0.254"}],"routes":[%s]}}' "$1"
}

there() { ip -n a route show | grep '10.77.0.0/16 via 10.9.0.254'; }

stated=$(conf '{"dst":"10.77.0.0/16","gw":"10.9.0.254"}')
meant=$(conf '{"dst":"10.77.0.0/16"}')

unpack containernetworking-plugins=1.1.1+ds1-3+b5
namespaces host a
ip -n host link add rail type veth peer name far
ip -n host link set far up

expect "a pod gets a route whose gateway is stated" cni host-device ADD a "$stated"
expect "the route is there" there
expect "CHECK succeeds" cni host-device CHECK a "$(after "$stated" "$(answer)")"
cni host-device DEL a "$stated"
expect "a pod gets a route without one" cni host-device ADD a "$meant"
expect "the same route is there" there
expect "CHECK fails" fails cni host-device CHECK a "$(after "$meant" "$(answer)")"
expect "for it misses a route without a gateway" answers 'Expected Route .* not found'
