/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the audit share: audit_records.c, audit_owners.c, audit_rails.c, audit.c. */
#pragma once

#include <stdbool.h>

#include "ipamd/audit.h"
#include "ipamd/history.h"
#include "ipamd/lease.h"
#include "ipamd/pool.h"
#include "ipamd/proto/proto.h"

enum { WHO_MAX = PROTO_KEY_MAX + 64 };

struct owned_address {
	uint8_t bytes[16]; /* v4 as ::ffff:a.b.c.d */
	uint64_t id;
};

struct auditor {
	struct store *store;
	const atomic_bool *cancel;
	struct audit *audit;
	struct pool_set pools;
	uint64_t next_id, first_id, states[ATTACHMENT_STATES]; /* as meta has them */
	uint64_t seen_states[ATTACHMENT_STATES];
	uint64_t accounted[STORE_TABLES]; /* entries that something accounts for */
	uint64_t claimed;                 /* of by_index: by claims */
	uint64_t guids;                   /* of by_guid: by records */
	struct owned_address *addresses;
	size_t address_count, address_size;
	bool damaged;
	int r; /* 0, -ENOMEM or -ECANCELED */
};

/* Once the store is known to be damaged, nothing more is found. */
__attribute__((format(printf, 2, 3))) void audit_find(struct auditor *a, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void audit_note(struct auditor *a, const char *fmt, ...);
/* store_seek(), until the audit is not wanted any more. */
bool audit_walk(struct auditor *a, enum store_table table, const struct store_key *key,
		size_t prefix, struct store_view *ret_key, struct store_view *ret_value);
/* A record in the words of a finding. */
const char *audit_who(const struct attachment *rec, char buf[WHO_MAX]);
bool audit_view_is(const struct store_view *view, const struct store_key *bytes);

/* audit_records.c: forth… */
void audit_records(struct auditor *a);
void audit_claims(struct auditor *a);
/* …and back: @count entries are in the table. */
void audit_back(struct auditor *a, enum store_table table, uint64_t count);

/* audit_owners.c */
void audit_add_address(struct auditor *a, const struct ip *ip, uint64_t id);
void audit_addresses(struct auditor *a); /* after all were added */
void audit_mapping(struct auditor *a, const struct attachment *rec, const struct ip *ip);
void audit_guids(struct auditor *a); /* after the records */

/* audit_rails.c: after the records and claims */
void audit_indexes(struct auditor *a);
