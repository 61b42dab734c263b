# SPDX-License-Identifier: Apache-2.0
spur_unit_test(base_test base)
spur_unit_test(host_sysfs_test host)
spur_unit_test(rt_messages_test rt)
target_link_options(rt_messages_test PRIVATE -Wl,--wrap=wire_query,--wrap=wire_request,--wrap=wire_make_room)
spur_unit_test(rdma_messages_test rdma)
target_link_options(rdma_messages_test PRIVATE -Wl,--wrap=wire_query,--wrap=wire_request)
spur_unit_test(host_uevent_test host)
spur_unit_test(wire_test wire)
target_link_options(wire_test PRIVATE -Wl,--wrap=send,--wrap=recvfrom)

# The real kernel, in namespaces of the test's own.
foreach(test rt netns)
  add_executable(${test}_test netns/${test}_test.c)
  target_link_libraries(${test}_test PRIVATE rt host cmocka)
  add_test(NAME netns/${test} COMMAND ${test}_test)
  set_tests_properties(netns/${test} PROPERTIES LABELS netns SKIP_RETURN_CODE 77 TIMEOUT 120)
endforeach()
