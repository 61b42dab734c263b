# SPDX-License-Identifier: Apache-2.0
#
# What ./dev bench measures against, static: bin/bench/*. The figures that are counted, not timed,
# are a test.
foreach(name driver empty floor floor_server vm_floor load replay fan hostile)
  add_executable(bench_${name} bench/${name}.c)
  target_link_options(bench_${name} PRIVATE -static)
  set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name}
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/bench)
endforeach()
target_link_libraries(bench_floor_server PRIVATE lmdb)
target_link_libraries(bench_replay PRIVATE lmdb)

add_library(bench_puts MODULE bench/puts.c)
set_target_properties(bench_puts PROPERTIES PREFIX "" OUTPUT_NAME puts
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/bench)

add_test(NAME bench/exact COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/bench/run.py exact)
add_test(NAME bench/ledger COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/bench/ledger.py exact)
set_tests_properties(bench/exact bench/ledger PROPERTIES LABELS bench SKIP_RETURN_CODE 77 TIMEOUT 120
  ENVIRONMENT SPUR_BUILD=${CMAKE_BINARY_DIR})
