# SPDX-License-Identifier: Apache-2.0
foreach(test cni_request_test cni_plan_test cni_refusal_test cni_result_test cni_devinfo_test cni_device_test
        cni_rdma_turn_test)
  spur_unit_test(${test} cni_core)
endforeach()
# The kernel of cni_guid_test is of its own making.
spur_unit_test(cni_guid_test cni_core)
foreach(function sysfs_pci_function sysfs_rebind sysfs_may_probe link_get addr_find_global vf_set)
  target_link_options(cni_guid_test PRIVATE -Wl,--wrap=${function})
endforeach()
# The kernel's events of cni_await_test are of its own making.
spur_unit_test(cni_await_test cni_core)
foreach(function link_watch link_watch_read netns_enter)
  target_link_options(cni_await_test PRIVATE -Wl,--wrap=${function})
endforeach()
# The pod of cni_device_find_test is of its own making.
spur_unit_test(cni_device_find_test cni_core)
foreach(function sysfs_pci_function link_get link_get_index link_list)
  target_link_options(cni_device_find_test PRIVATE -Wl,--wrap=${function})
endforeach()
foreach(file cni_attach cni_living cni_rest cni_settings cni_several cni_sweep cni_trouble hostile_confine hostile_names hostile_text hostile_paths)
  spur_python_tests(netns ${file})
endforeach()
spur_python_tests(netns hostile_owners)
# A build with sanitizers has no filter (cni/CMakeLists.txt).
if(NOT SPUR_SANITIZE AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  spur_python_tests(netns hostile_filter)
endif()
# How the programs were linked.
spur_python_tests(unit programs)
spur_python_tests(netns hostile_uppers)
