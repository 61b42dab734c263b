# SPDX-License-Identifier: Apache-2.0
#
# Tests in VMs: vm/README.md. Each file is a test per kernel; without the lab, or with a kernel that
# could not be had, it is skipped and says why. A VM takes a processor and 2.6 GB.
#
# spur_vm_test(NAME OPTION…): tests/vm/test_NAME.py, run inside a VM with these options of vm.py.
# spur_vm_host_test(NAME): tests/vm/test_NAME.py KERNEL, run out here: it boots VMs itself.
set(vm_kernels 6.12 7)

function(spur_vm_test name)
  foreach(kernel IN LISTS vm_kernels)
    add_test(NAME vm/${name}/${kernel} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/vm/vm.py
      test -k ${kernel} ${ARGN} ${CMAKE_CURRENT_SOURCE_DIR}/vm/test_${name}.py)
    spur_vm_properties(vm/${name}/${kernel})
  endforeach()
endfunction()

function(spur_vm_host_test name)
  foreach(kernel IN LISTS vm_kernels)
    add_test(NAME vm/${name}/${kernel}
      COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/vm/test_${name}.py ${kernel})
    spur_vm_properties(vm/${name}/${kernel})
  endforeach()
endfunction()

# Those that need test hooks exist only with them, as everywhere: call this under if(SPUR_HOOKS).
function(spur_vm_properties test)
  set(labels vm)
  if(SPUR_HOOKS)
    list(APPEND labels hooks)
  endif()
  set_tests_properties(${test} PROPERTIES LABELS "${labels}" SKIP_RETURN_CODE 77 TIMEOUT 900
    ENVIRONMENT SPUR_BUILD=${CMAKE_BINARY_DIR})
endfunction()

if(NOT SPUR_SANITIZE AND NOT SPUR_HOOKS)
  spur_vm_test(lab --mode exclusive)
  spur_vm_host_test(machine)
  spur_vm_test(vf --mode exclusive --timeout 800)
  spur_vm_test(settings --mode exclusive)
  spur_vm_test(rdma --mode exclusive --timeout 800)
  spur_vm_test(hostile_uppers --mode exclusive --timeout 800)
  spur_vm_test(hostile_rdma --mode exclusive --timeout 800)
  spur_vm_test(hostile_names --mode exclusive --timeout 800)
  spur_vm_test(ib --mode exclusive --timeout 800)
  spur_vm_test(modes --mode exclusive --timeout 600)
  spur_vm_test(hostile_rebind --mode exclusive --timeout 600)
endif()

# What is about crashes, not about kernels, is run on one of them: all of it takes a quarter of an hour.
set(vm_kernels 6.12)
if(SPUR_HOOKS)
  spur_vm_test(crash --mode exclusive --timeout 850)
  spur_vm_test(ib --mode exclusive --timeout 800)
elseif(NOT SPUR_SANITIZE)
  spur_vm_test(runtime --mode exclusive --timeout 600)
  spur_vm_host_test(power)
  spur_vm_test(unit --mode exclusive --timeout 500)
  # What of docs/performance.md is counted, not timed.
  add_test(NAME vm/figures COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/bench/vm.py exact)
  spur_vm_properties(vm/figures)
endif()
