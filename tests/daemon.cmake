# SPDX-License-Identifier: Apache-2.0
foreach(test daemon_config_test daemon_rpc_test daemon_turn_test)
  spur_unit_test(${test} ipamd_core)
endforeach()
