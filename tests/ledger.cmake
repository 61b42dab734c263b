# SPDX-License-Identifier: Apache-2.0
spur_unit_test(ledger_proto_test ipamd_proto)
spur_unit_test(ledger_pool_test ipamd_ledger)
spur_unit_test(ledger_lease_test ipamd_ledger)
