#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# DEL and CHECK run the plugins that the network's file names today, not those that ADD ran.
#
# Version: cnitool of libcni 1.3.0, with containernetworking-plugins 1.1.1 (Debian 12).
#
# Behaviour: libcni keeps the result of an ADD, and the network's configuration beside it. cnitool takes the
# result from there but the plugins from the file as it is now. A plugin that was taken out of the file while
# the pod ran gets no DEL, CHECK does not miss it, and what libcni kept is removed all the same.
#
# Output: with host-device and tuning (mtu 1300) in the file at ADD, host-device alone at DEL: exit status 0,
# nothing is left in /var/lib/cni/results, and the host's device has "mtu 1300".
#
# Why it matters: whoever edits a chain on a node with running pods ends them by the new chain. Spur's DEL gives
# back what it finds changed of its own device, in whatever chain it stands; other plugins' work stays.
. "$(dirname "$0")/lib"

# network PLUGIN…: the file, with these behind host-device.
network() {
  local main='{"type":"host-device","device":"rail","ipam":{"type":"static","addresses":[{"address":"10.9.0.1/24"}]}}'
  local IFS=,
  printf '{"cniVersion":"1.0.0","name":"rails","plugins":[%s]}' "$main${*:+,$*}" >"$work/rails.conflist"
}

cnitool() {
  ip netns exec host env CNI_PATH="$work/root/usr/lib/cni" NETCONFPATH="$work" CNI_IFNAME=net1 \
    "$work/cnitool" "$1" rails /run/netns/a
}

kept() { compgen -G '/var/lib/cni/results/rails-*'; }
has_mtu() { ip -n "$1" link show "$2" | grep " mtu $3 "; }

command -v go >/dev/null || skip "go, to build cnitool"
unpack containernetworking-plugins=1.1.1+ds1-3+b5
GOPATH=$work/go GOCACHE=$work/go/cache GOFLAGS=-modcacherw GOBIN=$work \
  go install github.com/containernetworking/cni/cnitool@v1.3.0 || skip "cnitool: go cannot build it"
namespaces host a
ip -n host link add rail type veth peer name far
ip -n host link set far up

network '{"type":"tuning","mtu":1300}'
expect "ADD runs both plugins" cnitool add
expect "the pod has the MTU of the second" has_mtu a net1 1300
expect "libcni keeps the result" kept
network
expect "CHECK succeeds without the second" cnitool check
expect "DEL too" cnitool del
expect "nothing is kept" fails kept
expect "the second has not given back the MTU" has_mtu host rail 1300
