#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A move to another namespace that fails may have moved the device.
#
# Version: iproute2 6.1.0 (Debian 12) on Linux 6.18; the kernel's own doing.
#
# Behaviour: one `ip link set` can move a device, rename it and set its MTU. When the name is taken over
# there, or the MTU is too large, it fails. By then the device is in the other namespace, under its old name.
#
# Output: "RTNETLINK answers: File exists" or "Error: mtu greater than device maximum.", exit status 2,
# and the device is gone from where it was.
#
# Why it matters: a script or plugin that takes the error for "nothing was done" has lost the device. Spur
# looks for it in both namespaces when a move has failed; by hand: `ip -n POD link`.
. "$(dirname "$0")/lib"

unpack iproute2=6.1.0-3
PATH=$work/root/bin:$work/root/sbin:$PATH
ip -V >/dev/null 2>&1 || skip "the libraries of iproute2"
namespaces host pod
ip -n pod link add net1 type veth peer name far1
ip -n host link add rail type veth peer name far

expect "a move to a name that is taken fails" fails ip -n host link set rail netns pod name net1
expect "the device has left" fails ip -n host link show rail
expect "it is in the pod under its old name" ip -n pod link show rail
ip -n pod link set rail netns host
expect "a move with an MTU that is too large fails" fails ip -n host link set rail netns pod mtu 70000
expect "the device is in the pod" ip -n pod link show rail
