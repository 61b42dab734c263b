# SPDX-License-Identifier: Apache-2.0
#
# spur_torture_test(NAME LIBS…): tests/torture/NAME.c, a cmocka program on the kit of the ledger's
# tests, which stops the clock. Some seconds each; `./dev torture` lets them run longer.
function(spur_torture_test name)
  add_executable(torture_${name} torture/${name}.c)
  target_link_libraries(torture_${name} PRIVATE ${ARGN} cmocka)
  target_link_options(torture_${name} PRIVATE -Wl,--wrap=clock_boot_ms)
  add_test(NAME torture/${name} COMMAND torture_${name})
  set_tests_properties(torture/${name} PROPERTIES LABELS torture SKIP_RETURN_CODE 77 TIMEOUT 600)
endfunction()

spur_torture_test(power ipamd_ledger)

if(SPUR_HOOKS)
  spur_torture_test(steps ipamd_ledger)
  target_link_options(torture_steps PRIVATE -Wl,--wrap=clock_wall_ms)
  target_compile_definitions(torture_steps PRIVATE
    SPUR_FIXTURES="${CMAKE_CURRENT_SOURCE_DIR}/fixture")
  set_property(TEST torture/steps APPEND PROPERTY LABELS hooks)
endif()

# Against the real daemon; a program stands in for the plugin.
add_executable(torture_stand_in torture/stand_in.c)
target_link_libraries(torture_stand_in PRIVATE ipamd_client)
spur_python_tests(torture crowd)
spur_python_tests(torture flush)

# Against real pods.
spur_python_tests(torture hostile)
