#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# host-device hands a pod's settings of the device on to the host, and to the next pod.
#
# Version: containernetworking-plugins 1.1.1 (Debian 12), seen on Linux 6.18.
#
# Behaviour: a pod with NET_ADMIN turns ARP off, or changes MTU, queue length or flags. The kernel keeps
# all of them when the device moves, and DEL gives none of them back. The next pod's ADD succeeds, its
# CHECK too, and it has no network.
#
# Output: after DEL, on the host
#   rail@far: <BROADCAST,MULTICAST,NOARP,PROMISC> mtu 1400 … qlen 7 … alias rail
# and in the next pod "1 packets transmitted, 0 received".
#
# Why it matters: on a node that ran host-device before Spur (or runs both) a device may come with what
# some pod left. Spur gives such a device back as it came, so look at `ip -d link` first.
. "$(dirname "$0")/lib"

conf='{"cniVersion":"1.0.0","name":"rails","type":"host-device","device":"rail",
  "ipam":{"type":"static","addresses":[{"address":"10.9.0.1/24"}]}}'

reaches() { ip netns exec "$1" ping -q -c 1 -W 2 10.9.0.254; }
shows() { ip -n "$1" link show "$2" | tr '\n' ' ' | grep -E "$3"; }

unpack containernetworking-plugins=1.1.1+ds1-3+b5
namespaces host a b
ip -n host link add rail type veth peer name far
ip -n host link set far up
ip -n host address add 10.9.0.254/24 dev far

expect "a pod gets the device" cni host-device ADD a "$conf"
expect "it has a network" reaches a
ip -n a link set net1 arp off promisc on mtu 1400 txqueuelen 7
expect "DEL succeeds" cni host-device DEL a "$conf"
expect "the host has the device with what the pod set" shows host rail 'NOARP,PROMISC.* mtu 1400 .* qlen 7'
expect "the next pod gets the device" cni host-device ADD b "$conf"
expect "it still has what the pod before set" shows b net1 'NOARP,PROMISC.* mtu 1400 .* qlen 7'
expect "its CHECK succeeds" cni host-device CHECK b "$(after "$conf" "$(answer)")"
expect "it has no network" fails reaches b
