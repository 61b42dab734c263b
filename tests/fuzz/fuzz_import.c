/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of an export, as somebody has changed them, into an empty store; and what was taken. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipamd/audit.h"
#include "ipamd/dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char head[] = "{\"ledger\":{\"format\":1,\"bootID\":\"boot\",\"clock\":500000,"
			   "\"firstID\":1,\"nextID\":100}}\n";
static char dir[] = "/tmp/fuzz_import.XXXXXX";
static struct store *store;

static void remove_dir(void)
{
	char path[64];

	store_close(store);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { "data.mdb", "lock.mdb", "lock" };

		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(dir);
}

static void open_store(void)
{
	struct err err;

	if (!mkdtemp(dir) || store_open(dir, &store, &err) < 0)
		abort();
	(void)atexit(remove_dir);
}

/* Behind a head of ours the fuzzer need not find one. */
static void load(const uint8_t *data, size_t size, bool with_head)
{
	struct era era = { .next_id = 1, .first_id = 1 };
	struct dump_report report;
	struct audit audit;
	struct err err;
	FILE *file = tmpfile();

	if (!file)
		abort();
	if (with_head)
		(void)fputs(head, file);
	(void)fwrite(data, 1, size, file);
	rewind(file);
	if (store_begin(store, STORE_WRITE, &err) < 0)
		abort();
	(void)dump_load(store, file, "boot", &era, &report, &err);
	if (store_check(store, &err) == 0 && audit_store(store, NULL, &audit, &err) == 0)
		audit_free(&audit);
	store_abort(store);
	(void)fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!store)
		open_store();
	load(data, size, false);
	load(data, size, true);
	return 0;
}
