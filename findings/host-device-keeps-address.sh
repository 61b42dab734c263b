#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# host-device's DEL without a namespace leaves the address taken, for ever.
#
# Version: containernetworking-plugins 1.1.1 (Debian 12).
#
# Behaviour: once a pod's namespace is gone, as after a reboot, a runtime sends DEL with an empty
# CNI_NETNS. macvlan and ptp then release the address at their IPAM; host-device says success without
# asking its IPAM. With a path that leads nowhere, which is the other way to say it, its DEL fails
# instead. So each reboot takes addresses of host-local's range, until "no IP addresses available".
#
# Output: after DEL with exit status 0, host-local's directory of the network still holds 10.9.0.2.
#
# Why it matters: who changes from host-device with host-local to Spur finds pools that seem full. Spur's
# own DEL releases at a foreign IPAM too when there is no namespace.
. "$(dirname "$0")/lib"

# conf PLUGIN
conf() {
  printf '{"cniVersion":"1.0.0","name":"%s","type":"%s","device":"rail","master":"far","ipam":{"type":"host-local",
    "subnet":"10.9.0.0/24","dataDir":"%s"}}' "$1" "$1" "$work/ipam"
}

taken() { [ -e "$work/ipam/$1/10.9.0.2" ]; }

unpack containernetworking-plugins=1.1.1+ds1-3+b5
namespaces host a
ip -n host link add rail type veth peer name far
ip -n host link set far up

for plugin in macvlan host-device; do
  expect "$plugin: a pod gets an address" cni $plugin ADD a "$(conf $plugin)"
  expect "$plugin: it is taken" taken $plugin
  ip netns delete a
  ip netns add a
  expect "$plugin: DEL without a namespace succeeds" cni $plugin DEL a "$(conf $plugin)" ""
done
expect "macvlan's address is free" fails taken macvlan
expect "host-device's address is still taken" taken host-device
expect "host-device: DEL with a path that leads nowhere fails" fails cni host-device DEL a "$(conf host-device)" /run/netns/none
expect "host-device's address is taken even now" taken host-device
