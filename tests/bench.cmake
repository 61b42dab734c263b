# SPDX-License-Identifier: Apache-2.0
#
# What ./dev bench measures against, static: bin/bench/*. The figures that are counted, not timed,
# are a test.
foreach(name driver empty floor floor_server vm_floor)
  add_executable(bench_${name} bench/${name}.c)
  target_link_options(bench_${name} PRIVATE -static)
  set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name}
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/bench)
endforeach()
target_link_libraries(bench_floor_server PRIVATE lmdb)

add_test(NAME bench/exact COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/bench/run.py exact)
set_tests_properties(bench/exact PROPERTIES LABELS bench SKIP_RETURN_CODE 77 TIMEOUT 120
  ENVIRONMENT SPUR_BUILD=${CMAKE_BINARY_DIR})
