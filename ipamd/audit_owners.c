/* SPDX-License-Identifier: Apache-2.0 */
/* No address, GUID or VF has two owners. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "ipamd/audit_inside.h"

/* --- addresses --- */

void audit_add_address(struct auditor *a, const struct ip *ip, uint64_t id)
{
	struct owned_address *entry;

	if (a->address_count == a->address_size) {
		size_t size = a->address_size ? a->address_size * 2 : 256;
		struct owned_address *more = reallocarray(a->addresses, size, sizeof(*more));

		if (!more) {
			a->r = -ENOMEM;
			return;
		}
		a->addresses = more;
		a->address_size = size;
	}
	entry = &a->addresses[a->address_count++];
	*entry = (struct owned_address) { .bytes = { [10] = 0xff, [11] = 0xff }, .id = id };
	if (ip->family == AF_INET)
		memcpy(entry->bytes + 12, ip->bytes, 4);
	else
		memcpy(entry->bytes, ip->bytes, sizeof(entry->bytes));
}

static int compare_addresses(const void *a, const void *b)
{
	const struct owned_address *x = a, *y = b;
	int order = memcmp(x->bytes, y->bytes, sizeof(x->bytes));

	return order ? order : (x->id > y->id) - (x->id < y->id);
}

void audit_addresses(struct auditor *a)
{
	char text[IP_TEXT];

	if (a->address_count)
		qsort(a->addresses, a->address_count, sizeof(*a->addresses), compare_addresses);
	for (size_t i = 1; i < a->address_count; i++) {
		const struct owned_address *x = &a->addresses[i - 1], *y = x + 1;
		struct ip ip = { .family = AF_INET6 };

		if (memcmp(x->bytes, y->bytes, sizeof(x->bytes)) != 0)
			continue;
		memcpy(ip.bytes, x->bytes, sizeof(ip.bytes));
		if (x->bytes[10] == 0xff && x->bytes[0] == 0) {
			ip.family = AF_INET;
			memmove(ip.bytes, ip.bytes + 12, 4);
		}
		audit_find(a, "address %s: attachments %" PRIu64 " and %" PRIu64 " both have it",
			   ip_format(&ip, text), x->id, y->id);
	}
}

/* What today's rails make of an address: that of its index in its own rail, none in the others. */
void audit_mapping(struct auditor *a, const struct attachment *rec, const struct ip *ip)
{
	char text[IP_TEXT], name[WHO_MAX];

	for (size_t p = 0; p < a->pools.count; p++) {
		const struct pool *pool = &a->pools.pools[p];

		for (size_t x = 0; x < pool->rail_count; x++) {
			const struct rail *rail = &pool->rails[x];
			const struct cidr *cidr =
				ip->family == AF_INET6 ? &rail->cidr6 : &rail->cidr;
			bool own = strcmp(pool->name, rec->pool) == 0 &&
				   strcmp(rail->name, rec->rail.name) == 0;
			uint64_t index;
			bool inside = rail_index_of(rail, ip, &index);

			if (inside ? own && index == rec->rail.index
				   : !own || !cidr->ip.family || rec->rail.index > rail->last)
				continue;
			audit_find(a,
				   "%s: its address %s is not index %u of pool \"%s\" rail \"%s\"",
				   audit_who(rec, name), ip_format(ip, text), rec->rail.index,
				   rec->pool, rec->rail.name);
		}
	}
}

/* --- GUIDs --- */

static int compare_owners(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No VF owns two. What @owners points to lies in the store. */
static void check_owners(struct auditor *a, const char **owners, size_t count)
{
	if (count)
		qsort(owners, count, sizeof(*owners), compare_owners);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(owners[i - 1], owners[i]) == 0)
			audit_find(a, "table by_guid: %s owns two GUIDs", owners[i]);
	}
}

/* The VF leads back to its GUID. */
static void check_guid_of(struct auditor *a, const struct store_view *guid, const char *owner)
{
	struct store_key key = { 0 }, number = { 0 };
	struct store_view value;

	store_key_text(&key, owner);
	store_key_set(&number, guid);
	if (!store_get(a->store, STORE_GUID_OF, &key, &value) || !audit_view_is(&value, &number))
		audit_find(a, "table guid_of: %s does not lead to its GUID", owner);
}

void audit_guids(struct auditor *a)
{
	static const char of_record[] = "record:";
	uint64_t size = store_count(a->store, STORE_BY_GUID), records = 0;
	CLEANUP_FREE const char **owners = calloc(size + 1, sizeof(*owners));
	struct store_view found, value;
	struct store_key key = { 0 };
	size_t count = 0;

	if (!owners) {
		a->r = -ENOMEM;
		return;
	}
	while (audit_walk(a, STORE_BY_GUID, &key, 0, &found, &value)) {
		store_key_set(&key, &found);
		store_key_next(&key);
		a->audit->guids++;
		if (found.len != sizeof(uint64_t) || value.len < 2 ||
		    value.data[value.len - 1] != '\0')
			audit_find(a, "table by_guid: an entry is malformed");
		else if (strncmp((const char *)value.data, of_record, strlen(of_record)) == 0)
			records++;
		else if (count < size) {
			owners[count++] = (const char *)value.data;
			check_guid_of(a, &found, (const char *)value.data);
		}
	}
	if (store_count(a->store, STORE_GUID_OF) > count)
		audit_find(a, "table guid_of: %" PRIu64 " VFs have a GUID, by table by_guid %zu",
			   store_count(a->store, STORE_GUID_OF), count);
	if (records > a->guids)
		audit_find(a,
			   "table by_guid: %" PRIu64
			   " GUIDs are owned by attachments, of which %" PRIu64 " know of it",
			   records, a->guids);
	check_owners(a, owners, count);
}
