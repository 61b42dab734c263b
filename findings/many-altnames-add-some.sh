#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# "ip link property add" of many altnames adds the first of them, and succeeds.
#
# Version: iproute2 6.1.0 (Debian 12).
#
# Behaviour: all altnames of a call go into a message of about 1 KiB. What has no room there is left out with a
# word on stderr for each, and the rest is sent; the exit status is 0. So of 50 long altnames 7 are added, one
# call each adds all 50, and one call deletes as few.
#
# Output: "addattr_l ERROR: message exceeded bound of 1056"
#
# Why it matters: a script that names VFs by rail, slot and path gives each several long altnames, believes the
# exit status, and a network that asks for its device by one of the last finds none. One call for each, or look
# at what is there. (What Spur takes from a device that comes home it takes in one message of any length.)
. "$(dirname "$0")/lib"

altname() { printf 'rail%02d-%0118d' "$1" 0; }

# property add|del NUMBER…
property() {
  local verb=$1 number words=()
  shift
  for number; do
    words+=(altname "$(altname "$number")")
  done
  ip netns exec host "$work"/root/bin/ip link property "$verb" dev rail "${words[@]}" 2>"$work/words"
}

count() { ip -n host -o -d link show dev rail | grep -o 'altname rail' | wc -l; }

has() { [ "$(count)" -eq "$1" ]; }

unpack iproute2=6.1.0-3
namespaces host
ip -n host link add rail type veth peer name far

# shellcheck disable=SC2046 # a number each
expect "one call adds 50 long altnames, by its exit status" property add $(seq 50)
expect "it has added 7" has 7
expect "and said so on stderr alone" grep -q 'message exceeded bound' "$work/words"
for number in $(seq 8 50); do
  property add "$number"
done
expect "a call for each of the others adds them" has 50
# shellcheck disable=SC2046
expect "one call deletes all 50, by its exit status" property del $(seq 50)
expect "it has deleted 7" has 43
