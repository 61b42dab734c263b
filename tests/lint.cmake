# SPDX-License-Identifier: Apache-2.0
#
# ./dev lint: each check of .ci/ is a test.
foreach(check format tidy cppcheck shell spelling headers includes words docs samples alerts findings)
  add_test(NAME lint/${check} COMMAND ${PROJECT_SOURCE_DIR}/.ci/check-${check} ${CMAKE_BINARY_DIR})
  set_tests_properties(lint/${check} PROPERTIES LABELS lint SKIP_RETURN_CODE 77 TIMEOUT 1200)
endforeach()
