#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sbr makes the CHECK of the plugin before it fail, and its own CHECK sees nothing.
#
# Version: containernetworking-plugins 1.1.1 (Debian 12).
#
# Behaviour: sbr moves the routes of the interface from the main table to one of its own, and passes on
# the result, which does not name a table, as it was. The main plugin's CHECK looks for them in the main
# table. sbr's own CHECK succeeds whatever is there, even when its rule and its table are gone.
#
# Output: from host-device "Failed to find Gateway 10.9.0.254 for interface net1"; from sbr nothing.
#
# Why it matters: prevResult does not say where a route is by now. So Spur's CHECK takes one that it
# states from any table, and nobody sees what sbr has lost. `routing` in Spur's configuration does what
# sbr does, and CHECK looks at it.
. "$(dirname "$0")/lib"

main='{"cniVersion":"1.0.0","name":"rails","type":"host-device","device":"rail","ipam":{"type":"static",
  "addresses":[{"address":"10.9.0.1/24","gateway":"10.9.0.254"}],"routes":[{"dst":"10.77.0.0/16","gw":"10.9.0.254"}]}}'
sbr='{"cniVersion":"1.0.0","name":"rails","type":"sbr"}'

unpack containernetworking-plugins=1.1.1+ds1-3+b5
namespaces host a
ip -n host link add rail type veth peer name far
ip -n host link set far up

expect "the pod gets the device" cni host-device ADD a "$main"
result=$(answer)
expect "CHECK of the main plugin succeeds" cni host-device CHECK a "$(after "$main" "$result")"
expect "sbr succeeds" cni sbr ADD a "$(after "$sbr" "$result")"
result=$(answer)
expect "its result states the route" answers 10.77.0.0/16
expect "CHECK of the main plugin now fails" fails cni host-device CHECK a "$(after "$main" "$result")"
expect "for it misses what sbr moved" answers 'Failed to find Gateway 10.9.0.254'
expect "sbr's CHECK succeeds" cni sbr CHECK a "$(after "$sbr" "$result")"
ip -n a rule delete from 10.9.0.1
ip -n a route flush table 100
expect "also when its rule and its table are gone" cni sbr CHECK a "$(after "$sbr" "$result")"
