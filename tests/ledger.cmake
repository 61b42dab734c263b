# SPDX-License-Identifier: Apache-2.0
spur_unit_test(ledger_proto_test ipamd_proto)
spur_unit_test(ledger_pool_test ipamd_ledger)
spur_unit_test(ledger_slots_test ipamd_ledger)
spur_unit_test(ledger_lease_test ipamd_ledger)
spur_unit_test(ledger_store_test ipamd_ledger)
spur_unit_test(ledger_damage_test ipamd_ledger)
target_link_options(ledger_store_test PRIVATE -Wl,--wrap=mdb_env_set_mapsize,--wrap=mdb_txn_commit)

# These stop the clock.
foreach(name ledger_verbs_test ledger_claim_test ledger_rest_test ledger_model_test ledger_full_test ledger_fixture_test
    ledger_audit_test ledger_edit_test ledger_dump_test ledger_history_test ledger_rebind_test)
  spur_unit_test(${name} ipamd_ledger)
  target_link_options(${name} PRIVATE -Wl,--wrap=clock_boot_ms)
endforeach()
target_link_options(ledger_fixture_test PRIVATE -Wl,--wrap=mdb_put -Wl,--wrap=mdb_txn_commit)
target_compile_definitions(ledger_fixture_test PRIVATE
  SPUR_FIXTURES="${CMAKE_CURRENT_SOURCE_DIR}/fixture")
target_link_options(ledger_history_test PRIVATE -Wl,--wrap=clock_wall_ms)
