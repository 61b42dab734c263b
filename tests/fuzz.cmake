# SPDX-License-Identifier: Apache-2.0
#
# Each tests/fuzz/fuzz_NAME.c has an LLVMFuzzerTestOneInput. With -DSPUR_FUZZ=ON (clang) it becomes
# a libFuzzer program, bin/fuzz_NAME; in any other build a test that runs it over each file of
# tests/fuzz/corpus/NAME.
#
# What each entry links:
set(fuzz_netconf cni_core)
set(fuzz_rpc ipamd_core)
set(fuzz_config ipamd_core)
set(fuzz_sysfs host)
set(fuzz_uevent host)
set(fuzz_store ipamd_ledger)
set(fuzz_spool ipamd_core)
set(fuzz_mark ipamd_core)
set(fuzz_netlink rt ethtool rdma)
set(fuzz_import ipamd_ledger)
set(fuzz_text base)

file(GLOB fuzz_sources CONFIGURE_DEPENDS fuzz/fuzz_*.c)
foreach(source IN LISTS fuzz_sources)
  cmake_path(GET source STEM name)
  if(NOT DEFINED ${name})
    message(FATAL_ERROR "${source}: tests/fuzz.cmake does not say what ${name} links")
  endif()
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ${${name}})
  if(SPUR_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE fuzz/driver.c)
    string(REPLACE fuzz_ "" corpus ${name})
    add_test(NAME fuzz/${corpus} COMMAND ${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${corpus})
    set_tests_properties(fuzz/${corpus} PROPERTIES LABELS fuzz TIMEOUT 120)
  endif()
endforeach()
target_link_options(fuzz_store PRIVATE -Wl,--wrap=verify_file)
target_link_options(fuzz_netlink PRIVATE -Wl,--wrap=wire_query,--wrap=wire_request,--wrap=wire_make_room,--wrap=wire_open,--wrap=wire_close)
