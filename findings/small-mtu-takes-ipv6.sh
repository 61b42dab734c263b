#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tuning with an MTU below 1280 takes a pod's IPv6 addresses away, and nobody says so.
#
# Version: containernetworking-plugins 1.1.1 (Debian 12), seen on Linux 6.18; the kernel's own doing.
#
# Behaviour: below 1280, the least that IPv6 allows, the kernel takes IPv6 off the device with all of its
# addresses and routes. tuning succeeds, its result still states them, and its CHECK succeeds. A larger MTU
# later does not bring them back.
#
# Output: the result has fd00::1/64; `ip address show net1` has no line "inet6".
#
# Why it matters: Spur's `mtu` has the same kernel below it, and refuses such a value when there are IPv6
# addresses; it cannot refuse what a plugin behind it sets. Spur's CHECK then misses the address.
. "$(dirname "$0")/lib"

main='{"cniVersion":"1.0.0","name":"rails","type":"host-device","device":"rail","ipam":{"type":"static",
  "addresses":[{"address":"10.9.0.1/24"},{"address":"fd00::1/64"}]}}'
tuning='{"cniVersion":"1.0.0","name":"rails","type":"tuning","mtu":1200}'

has() { ip -n a address show net1 | grep "$1"; }

unpack containernetworking-plugins=1.1.1+ds1-3+b5
namespaces host a
ip -n host link add rail type veth peer name far
ip -n host link set far up

expect "a pod gets addresses" cni host-device ADD a "$main"
expect "one of them is of IPv6" has 'inet6 fd00::1/64'
expect "tuning succeeds" cni tuning ADD a "$(after "$tuning" "$(answer)")"
result=$(answer)
expect "its result states the address" answers fd00::1/64
expect "the pod has it no longer" fails has fd00::1
expect "tuning's CHECK succeeds" cni tuning CHECK a "$(after "$tuning" "$result")"
ip -n a link set net1 mtu 1500
expect "a larger MTU does not bring it back" fails has fd00::1
