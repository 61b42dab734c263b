# SPDX-License-Identifier: Apache-2.0
#
# Real runtimes, each in a node namespace of its own. They are heavy: one at a time.
foreach(runtime podman containerd cnitool multus chain demo)
  spur_python_tests(runtime ${runtime} RESOURCE_LOCK runtime)
endforeach()
