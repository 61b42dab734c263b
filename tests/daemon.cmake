# SPDX-License-Identifier: Apache-2.0
foreach(test daemon_config_test daemon_http_test daemon_mark_test daemon_rpc_test daemon_seat_test daemon_turn_test daemon_picture_test daemon_owners_test)
  spur_unit_test(${test} ipamd_core)
endforeach()
spur_unit_test(daemon_client_test ipamd_client)

# A program of the test stands in for the plugin.
foreach(file daemon_serve daemon_recover daemon_crowd daemon_ctl daemon_vf daemon_watch daemon_guard daemon_dump daemon_socket
    hostile_http hostile_rebind)
  spur_python_tests(netns ${file})
endforeach()

# Fills a store, for the bench too.
add_executable(bench_fill bench/fill.c)
target_link_libraries(bench_fill PRIVATE ipamd_ledger)
set_target_properties(bench_fill PROPERTIES OUTPUT_NAME fill
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/bench)

# valgrind cannot watch what AddressSanitizer watches already.
if(NOT SPUR_SANITIZE)
  spur_python_tests(netns daemon_valgrind)
endif()
