# SPDX-License-Identifier: Apache-2.0
#
# The conformance table against spur, and the rows that Debian's host-device can answer against it.
add_test(NAME conformance/spur
  COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/conformance/run.py)
add_test(NAME conformance/reference
  COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/conformance/run.py --reference)
set_tests_properties(conformance/spur conformance/reference PROPERTIES
  LABELS conformance SKIP_RETURN_CODE 77 TIMEOUT 900
  ENVIRONMENT "SPUR_BUILD=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
