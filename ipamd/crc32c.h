/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, reflected 0x82f63b78): what tells a damaged value from a good one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Continues @crc (0 at first) over @len bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* What crc32c() does on a processor that has no instruction for it. */
uint32_t crc32c_by_tables(uint32_t crc, const void *data, size_t len);

/* Of a value of the store: of its table's number, its key and its bytes. */
uint32_t crc32c_value(uint8_t table, const void *key, size_t key_len, const void *data, size_t len);
