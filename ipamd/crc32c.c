/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight bytes a step: by the processor's own instruction, or by eight tables. LMDB's writes stay
 * the dear part of a commit.
 */
#include "ipamd/crc32c.h"

#include <endian.h>
#include <string.h>

enum { CRC32C_POLY = 0x82f63b78 };

/* table[k][b]: the CRC of byte b followed by k zero bytes. */
static uint32_t table[8][256];

static void tables_init(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ (uint32_t)CRC32C_POLY : crc >> 1;
		table[0][b] = crc;
	}
	for (int k = 1; k < 8; k++) {
		for (int b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
	}
}

uint32_t crc32c_by_tables(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; len >= 8; len -= 8, p += 8) {
		uint64_t word, mixed = 0;

		memcpy(&word, p, sizeof(word));
		word = le64toh(word) ^ crc;
		for (int k = 0; k < 8; k++)
			mixed ^= table[7 - k][word >> 8 * k & 0xff];
		crc = (uint32_t)mixed;
	}
	for (; len > 0; len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
	return ~crc;
}

static uint32_t (*best)(uint32_t crc, const void *data, size_t len) = crc32c_by_tables;

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *data,
								 size_t len)
{
	const uint8_t *p = data;
	uint64_t wide = ~crc;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	for (; len > 0; len--)
		wide = __builtin_ia32_crc32qi((uint32_t)wide, *p++);
	return ~(uint32_t)wide;
}

static void best_init(void)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("sse4.2"))
		best = by_instruction;
}
#else
static void best_init(void)
{
}
#endif

/* Before there are threads. */
__attribute__((constructor)) static void crc32c_init(void)
{
	tables_init();
	best_init();
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	return best(crc, data, len);
}

uint32_t crc32c_value(uint8_t number, const void *key, size_t key_len, const void *data, size_t len)
{
	return crc32c(crc32c(crc32c(0, &number, 1), key, key_len), data, len);
}
