# SPDX-License-Identifier: Apache-2.0
#
# The conformance table against spur, a test an area ("key", "del", …), and the rows that Debian's
# host-device can answer against that.
set(runner ${CMAKE_CURRENT_SOURCE_DIR}/conformance/run.py)
set(table ${CMAKE_CURRENT_SOURCE_DIR}/conformance/table.py)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
file(STRINGS ${table} areas REGEX "row\\(f?\"[a-zA-Z]+/")
list(TRANSFORM areas REPLACE ".*row\\(f?\"([a-zA-Z]+)/.*" "\\1")
list(REMOVE_DUPLICATES areas)
foreach(area IN LISTS areas)
  add_test(NAME conformance/${area} COMMAND /usr/bin/python3 ${runner} ${area}/)
  list(APPEND tests conformance/${area})
endforeach()
add_test(NAME conformance/reference COMMAND /usr/bin/python3 ${runner} --reference)
set_tests_properties(${tests} conformance/reference PROPERTIES
  LABELS conformance SKIP_RETURN_CODE 77 TIMEOUT 600 ENVIRONMENT SPUR_BUILD=${CMAKE_BINARY_DIR})
