/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools as the configuration has them; rail.c does the arithmetic. The ledger asks; nothing here
 * knows who holds what.
 */
#include "ipamd/pool.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/pkey.h"

enum {
	POOL_COOLDOWN_S = 120, /* longer than peers keep an ARP entry or a path record */
	POOL_COOLDOWN_MAX_S = 86400,
	POOL_STICKY_S = 3600, /* longer than a job takes to come back */
	POOL_STICKY_MAX_S = 30 * 86400,
	POOL_CLAIM_S = 120, /* longer than a runtime takes from a pod's first ADD to its last */
	POOLS_MAX = 64,     /* every rail is compared with every other */
	POOL_RAILS_MAX = 32,
	POOL_FIXED_EXCLUSIONS = 5, /* two networks, one broadcast, two gateways */
	POOL_PFS_MAX = 64,         /* of one rail, by name or by address */
	POOL_BLOCK_BITS_MAX = 16,
	POOL_SLOT_EXCLUDE_MAX = 64,
};

/* The store's key has 32 bits for an index: more hosts than any rail has. */
static uint64_t cidr_last_index(const struct cidr *cidr)
{
	int bits = ip_bits(&cidr->ip) - cidr->plen;

	return bits >= 32 ? UINT32_MAX : (UINT64_C(1) << bits) - 1;
}

static struct ip cidr_last(const struct cidr *cidr)
{
	struct ip last = cidr->ip;

	for (int bit = cidr->plen; bit < ip_bits(&last); bit++)
		last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return last;
}

static bool cidr_is_network(const struct cidr *cidr)
{
	struct ip network = cidr_network(cidr);

	return ip_compare(&network, &cidr->ip) == 0;
}

static const struct cidr *rail_cidr(const struct rail *rail, int family)
{
	return family == AF_INET6 ? &rail->cidr6 : &rail->cidr;
}

static void read_prefix(struct json_reader *r, const char *key, int family, struct cidr *cidr)
{
	struct cidr value;
	const char *text;

	if (!json_str(r, key, &text))
		return;
	if (!strchr(text, '/') || cidr_parse(text, &value) < 0 || value.ip.family != family)
		json_bad(r, key, "must be an %s prefix such as \"%s\"",
			 family == AF_INET ? "IPv4" : "IPv6",
			 family == AF_INET ? "10.0.0.0/24" : "fd00::/64");
	else if (!cidr_is_network(&value))
		json_bad(r, key, "has host bits set");
	else
		*cidr = value;
}

static void read_prefixes(struct json_reader *r, struct rail *rail)
{
	read_prefix(r, "cidr", AF_INET, &rail->cidr);
	read_prefix(r, "cidr6", AF_INET6, &rail->cidr6);
	if (!rail->cidr.ip.family && !rail->cidr6.ip.family)
		json_missing(r, "cidr");
	rail->last = UINT32_MAX;
	if (rail->cidr.ip.family)
		rail->last = cidr_last_index(&rail->cidr);
	if (rail->cidr6.ip.family && cidr_last_index(&rail->cidr6) < rail->last)
		rail->last = cidr_last_index(&rail->cidr6);
	if (r->r == 0 && rail->slots.bits < RAIL_ONE_SLOT && rail->last >> rail->slots.bits == 0 &&
	    rail->last + 1 < UINT64_C(1) << rail->slots.bits)
		r->r = err_set(r->err, EINVAL, ERR_VALUE,
			       "key \"%s\": rail \"%s\" has %llu indexes, fewer than a slot of "
			       "\"blockBits\" %d",
			       r->path, rail->name, (unsigned long long)rail->last + 1,
			       rail->slots.bits);
}

/* The highest index of the prefix that a host sees: the rail's, or the slot's. */
static uint64_t subnet_last(const struct rail *rail)
{
	return rail->slots.subnets ? (UINT64_C(1) << rail->slots.bits) - 1 : rail->last;
}

/* One that a v4 host can have. (In v6 the first one is the routers' anycast address.) */
static bool index_is_host(const struct rail *rail, const struct cidr *cidr, uint64_t index)
{
	int plen = rail_subnet_plen(rail, cidr);

	return cidr->ip.family != AF_INET || plen >= 31 ||
	       (index != 0 && index != (UINT64_C(1) << (32 - plen)) - 1);
}

static void read_gateway(struct json_reader *r, const char *key, const struct rail *rail,
			 const struct cidr *cidr, struct ip *gateway)
{
	const char *text;
	uint64_t index;
	struct ip ip;

	if (!json_str(r, key, &text))
		return;
	if (rail->slots.subnets)
		json_bad(r, key,
			 "is one address, and with \"subnet\": \"slot\" each slot has a "
			 "gateway of its own: use \"gatewayIndex\"");
	else if (ip_parse(text, &ip) < 0 || !cidr_contains(cidr, &ip) ||
		 (ip_index(&cidr->ip, &ip, &index) && !index_is_host(rail, cidr, index)))
		json_bad(r, key, "must be a host's address inside the rail's prefix");
	else
		*gateway = ip;
}

static void read_gateway_index(struct json_reader *r, struct rail *rail)
{
	int64_t index;

	if (!json_int(r, "gatewayIndex", 0, UINT32_MAX, &index))
		return;
	if (rail->gateway.family || rail->gateway6.family) {
		json_bad(r, "gatewayIndex", "excludes \"gateway\" and \"gateway6\"");
		return;
	}
	if (rail->cidr.ip.family)
		rail->gateway = ip_offset(&rail->cidr.ip, (uint64_t)index);
	if (rail->cidr6.ip.family)
		rail->gateway6 = ip_offset(&rail->cidr6.ip, (uint64_t)index);
	if ((uint64_t)index > subnet_last(rail) ||
	    (rail->cidr.ip.family && !index_is_host(rail, &rail->cidr, (uint64_t)index)))
		json_bad(r, "gatewayIndex", "is not a host's index in this %s",
			 rail->slots.subnets ? "rail's slots" : "rail");
}

/* "address", "prefix" or "address-address" as its first and last address. */
static int span_parse(const char *text, struct ip *ret_first, struct ip *ret_last)
{
	const char *dash = strchr(text, '-');
	char first[IP_TEXT];
	struct cidr cidr;

	if (!dash) {
		if (cidr_parse(text, &cidr) < 0 || !cidr_is_network(&cidr))
			return -EINVAL;
		*ret_first = cidr.ip;
		*ret_last = cidr_last(&cidr);
		return 0;
	}
	if ((size_t)(dash - text) >= sizeof(first))
		return -EINVAL;
	memcpy(first, text, (size_t)(dash - text));
	first[dash - text] = '\0';
	if (ip_parse(first, ret_first) < 0 || ip_parse(dash + 1, ret_last) < 0)
		return -EINVAL;
	return ret_first->family == ret_last->family && ip_compare(ret_first, ret_last) <= 0
		       ? 0
		       : -EINVAL;
}

/* Is it a prefix that is spelt by one of its hosts? Its own spelling in @buf. */
static bool span_has_host_bits(const char *text, char buf[CIDR_TEXT])
{
	struct cidr cidr;

	if (!text || cidr_parse(text, &cidr) < 0 || cidr_is_network(&cidr))
		return false;
	cidr.ip = cidr_network(&cidr);
	(void)cidr_format(&cidr, buf);
	return true;
}

static void ranges_add(struct index_ranges *ranges, uint64_t first, uint64_t last)
{
	ranges->at[ranges->count++] = (struct index_range) { first, last };
}

/* Addresses past the highest index need no exclusion: nobody gets them. */
static void rail_exclude(struct rail *rail, const struct ip *first, const struct ip *last)
{
	const struct ip *base = &rail_cidr(rail, first->family)->ip;
	uint64_t from, to;

	if (!ip_index(base, first, &from) || from > rail->last)
		return;
	if (!ip_index(base, last, &to) || to > rail->last)
		to = rail->last;
	ranges_add(&rail->excluded, from, to);
}

/* What no host of a prefix has: it is the rail's, or every slot's. */
static void rail_exclude_subnet(struct rail *rail, const struct cidr *cidr,
				const struct ip *gateway)
{
	struct index_ranges *ranges = rail->slots.subnets ? &rail->slot_excluded : &rail->excluded;
	uint64_t last = subnet_last(rail), index;
	int bits;

	if (!cidr->ip.family)
		return;
	bits = ip_bits(&cidr->ip) - rail_subnet_plen(rail, cidr);
	if (bits > 1)
		ranges_add(ranges, 0, 0);
	if (bits > 1 && cidr->ip.family == AF_INET && (UINT64_C(1) << bits) - 1 <= last)
		ranges_add(ranges, (UINT64_C(1) << bits) - 1, (UINT64_C(1) << bits) - 1);
	if (ip_index(&cidr->ip, gateway, &index) && index <= last)
		ranges_add(ranges, index, index);
}

static void rail_exclude_slots(struct rail *rail)
{
	const struct slots *slots = &rail->slots;

	for (size_t i = 0; i < slots->reserved.count; i++) {
		const struct index_range *range = &slots->reserved.at[i];

		ranges_add(&rail->excluded, range->first << slots->bits,
			   ((range->last + 1) << slots->bits) - 1);
	}
	for (size_t i = 0; i < slots->excluded.count; i++)
		ranges_add(&rail->slot_excluded, slots->excluded.at[i].first,
			   slots->excluded.at[i].last);
}

static void ranges_alloc(struct json_reader *r, struct index_ranges *ranges, size_t max)
{
	ranges->at = calloc(max + 1, sizeof(*ranges->at));
	if (!ranges->at && r->r == 0)
		r->r = err_nomem(r->err);
}

static void read_exclusion(struct json_reader *r, struct rail *rail, json_t *element, size_t i)
{
	const char *text = json_string_value(element);
	char prefix[CIDR_TEXT];
	struct ip first, last;

	if (span_has_host_bits(text, prefix))
		json_bad(r, "exclude", "element %zu has host bits set: the prefix is %s", i,
			 prefix);
	else if (!text || span_parse(text, &first, &last) < 0 ||
		 !cidr_contains(rail_cidr(rail, first.family), &first) ||
		 !cidr_contains(rail_cidr(rail, first.family), &last))
		json_bad(r, "exclude",
			 "element %zu must be an address, prefix or range \"from-to\" inside the "
			 "rail's prefix",
			 i);
	else
		rail_exclude(rail, &first, &last);
}

static void read_exclude(struct json_reader *r, struct rail *rail)
{
	json_t *array = NULL, *element;
	size_t i;

	(void)json_arr(r, "exclude", &array);
	ranges_alloc(r, &rail->excluded,
		     json_array_size(array) + rail->slots.reserved.count + POOL_FIXED_EXCLUSIONS);
	ranges_alloc(r, &rail->slot_excluded, rail->slots.excluded.count + POOL_FIXED_EXCLUSIONS);
	if (r->r < 0)
		return;
	json_array_foreach (array, i, element)
		read_exclusion(r, rail, element, i);
	if (r->r < 0)
		return;
	rail_exclude_subnet(rail, &rail->cidr, &rail->gateway);
	rail_exclude_subnet(rail, &rail->cidr6, &rail->gateway6);
	rail_exclude_slots(rail);
	rail_finish(rail);
}

/* route_decode() lets unknown members pass, as a record may have them; here they are errors. */
static int route_check_keys(json_t *json, const char *path, struct err *err)
{
	static const char *const keys[] = { "dst",      "gw",    "mtu",  "advmss",
					    "priority", "table", "scope" };
	struct json_reader r;
	json_t *value;

	json_read(&r, json, path, err);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		(void)json_any(&r, keys[i], &value);
	return json_finish(&r, READ_STRICT);
}

static int route_read(json_t *json, const char *path, struct route *route, struct err *err)
{
	int r;

	r = route_check_keys(json, path, err);
	if (r < 0)
		return r;
	r = route_decode(json, path, route, err);
	if (r < 0)
		return r;
	if (!cidr_is_network(&route->dst))
		return err_set(err, EINVAL, ERR_VALUE, "key \"%s.dst\": has host bits set", path);
	return 0;
}

static void read_routes(struct json_reader *r, struct rail *rail)
{
	char path[JSON_PATH_MAX + 32];
	json_t *array, *element;
	size_t i;

	if (!json_arr(r, "routes", &array))
		return;
	if (json_array_size(array) > PROTO_ROUTES_MAX)
		json_bad(r, "routes", "must have at most %d elements", PROTO_ROUTES_MAX);
	rail->routes = calloc(json_array_size(array) + 1, sizeof(*rail->routes));
	if (!rail->routes && r->r == 0)
		r->r = err_nomem(r->err);
	json_array_foreach (array, i, element) {
		if (r->r < 0)
			return;
		(void)snprintf(path, sizeof(path), "%s.routes[%zu]", r->path, i);
		r->r = route_read(element, path, &rail->routes[i], r->err);
	}
	rail->route_count = json_array_size(array);
}

/* An array of PFs in "match"; false: there is none, or an error. */
static bool read_match_array(struct json_reader *r, const char *key, json_t **ret_array)
{
	if (!json_arr(r, key, ret_array))
		return false;
	if (json_array_size(*ret_array) < 1 || json_array_size(*ret_array) > POOL_PFS_MAX)
		json_bad(r, key, "must have 1..%d elements", POOL_PFS_MAX);
	return r->r == 0;
}

static void read_match_names(struct json_reader *r, struct rail *rail)
{
	json_t *array, *element;
	size_t i;

	if (!read_match_array(r, "pf", &array))
		return;
	rail->pf_names = calloc(json_array_size(array), sizeof(*rail->pf_names));
	if (!rail->pf_names) {
		r->r = err_nomem(r->err);
		return;
	}
	rail->pf_name_count = json_array_size(array);
	json_array_foreach (array, i, element) {
		const char *name = json_string_value(element);

		if (name && ifname_is_valid(name))
			(void)snprintf(rail->pf_names[i], sizeof(rail->pf_names[i]), "%s", name);
		else
			json_bad(r, "pf", "element %zu must be the name of a PF's netdev", i);
	}
}

static void read_match_addrs(struct json_reader *r, struct rail *rail)
{
	json_t *array, *element;
	size_t i;

	if (!read_match_array(r, "pci", &array))
		return;
	rail->pf_addrs = calloc(json_array_size(array), sizeof(*rail->pf_addrs));
	if (!rail->pf_addrs) {
		r->r = err_nomem(r->err);
		return;
	}
	rail->pf_addr_count = json_array_size(array);
	json_array_foreach (array, i, element) {
		const char *text = json_string_value(element);

		if (!text || pci_parse(text, &rail->pf_addrs[i]) < 0)
			json_bad(r, "pci", "element %zu must be a PF's address (0000:1a:00.0)", i);
	}
}

static void read_match(struct json_reader *r, struct rail *rail)
{
	char path[JSON_PATH_MAX + 8];
	struct json_reader match;
	json_t *json;

	if (!json_obj(r, "match", &json))
		return;
	(void)snprintf(path, sizeof(path), "%s.match", r->path);
	json_read(&match, json, path, r->err);
	read_match_names(&match, rail);
	read_match_addrs(&match, rail);
	json_leave(r, &match, READ_STRICT);
	if (!rail_has_match(rail))
		json_bad(r, "match", "must have \"pf\" or \"pci\"");
}

/* Of a whole block the first byte is the same or the next one, so that both ends tell of all. */
static void read_guid_base(struct json_reader *r, struct rail *rail)
{
	uint64_t count = rail->slots.bits < RAIL_ONE_SLOT ? rail->last + 1 : RAIL_GUIDS;
	const char *text;
	uint64_t base;

	if (!json_str(r, "guidBase", &text))
		return;
	if (guid_parse(text, &base) < 0 || !guid_is_usable(base) ||
	    !guid_is_usable(base + count - 1)) {
		json_bad(r, "guidBase",
			 "must be the first of %llu GUIDs (02:00:00:00:00:00:00:00) that are not "
			 "zero, all ones or multicast",
			 (unsigned long long)count);
		return;
	}
	rail->guid_base = base;
	rail->guid_count = count;
}

static void read_name(struct json_reader *r, char name[PROTO_POOL_MAX + 1])
{
	const char *text;

	if (!json_str(r, "name", &text))
		json_missing(r, "name");
	else if (!id_is_valid(text) || strlen(text) > PROTO_POOL_MAX)
		json_bad(r, "name", "must be letters, digits, '_', '.', '-', at most %d",
			 PROTO_POOL_MAX);
	else
		(void)snprintf(name, PROTO_POOL_MAX + 1, "%s", text);
}

static void rail_read(struct json_reader *outer, json_t *json, const char *path, struct rail *rail)
{
	struct json_reader r;

	json_read(&r, json, path, outer->err);
	read_name(&r, rail->name);
	read_prefixes(&r, rail);
	read_gateway(&r, "gateway", rail, &rail->cidr, &rail->gateway);
	read_gateway(&r, "gateway6", rail, &rail->cidr6, &rail->gateway6);
	read_gateway_index(&r, rail);
	read_exclude(&r, rail);
	read_routes(&r, rail);
	read_match(&r, rail);
	read_guid_base(&r, rail);
	pkey_read(&r, &rail->pkey);
	json_leave(outer, &r, READ_STRICT);
}

static void read_rails(struct json_reader *r, struct pool *pool)
{
	char path[JSON_PATH_MAX + 32];
	json_t *array, *element;
	size_t i;

	if (!json_arr(r, "rails", &array)) {
		json_missing(r, "rails");
		return;
	}
	if (json_array_size(array) < 1 || json_array_size(array) > POOL_RAILS_MAX) {
		json_bad(r, "rails", "must have 1..%d elements", POOL_RAILS_MAX);
		return;
	}
	pool->rails = calloc(json_array_size(array), sizeof(*pool->rails));
	if (!pool->rails) {
		r->r = err_nomem(r->err);
		return;
	}
	pool->rail_count = json_array_size(array);
	json_array_foreach (array, i, element) {
		(void)snprintf(path, sizeof(path), "%s.rails[%zu]", r->path, i);
		pool->rails[i].slots = pool->slots;
		if (r->r == 0)
			rail_read(r, element, path, &pool->rails[i]);
	}
}

/* 7 or "4-7", as its first and last number. */
static bool numbers_parse(const json_t *json, uint64_t max, struct index_range *ret_range)
{
	unsigned long first, last;
	const char *text = json_string_value(json);
	int end = 0;

	if (json_is_integer(json)) {
		ret_range->first = ret_range->last = (uint64_t)json_integer_value(json);
		return json_integer_value(json) >= 0 && ret_range->last <= max;
	}
	if (!text || strspn(text, "0123456789-") != strlen(text) || !isdigit(text[0]) ||
	    sscanf(text, "%10lu-%10lu%n", &first, &last, &end) != 2 || text[end] ||
	    strchr(text, '-') != strrchr(text, '-'))
		return false;
	*ret_range = (struct index_range) { first, last };
	return first <= last && last <= max;
}

static void read_numbers(struct json_reader *r, const char *key, uint64_t max,
			 struct index_ranges *ranges)
{
	json_t *array, *element;
	size_t i;

	if (!json_arr(r, key, &array))
		return;
	ranges_alloc(r, ranges, json_array_size(array));
	json_array_foreach (array, i, element) {
		if (r->r < 0)
			return;
		if (numbers_parse(element, max, &ranges->at[i]))
			ranges->count++;
		else
			json_bad(r, key,
				 "element %zu must be a number or a range \"from-to\" in "
				 "0..%llu",
				 i, (unsigned long long)max);
	}
	ranges_merge(ranges);
}

static void read_subnet(struct json_reader *r, struct slots *slots)
{
	const char *text;

	if (!json_str(r, "subnet", &text))
		return;
	slots->subnets = strcmp(text, "slot") == 0;
	if (!slots->subnets && strcmp(text, "rail") != 0)
		json_bad(r, "subnet", "must be \"rail\" or \"slot\"");
}

static void read_slots(struct json_reader *r, struct slots *slots)
{
	static const char *const keys[] = { "subnet", "reservedSlots", "slotExclude" };
	int64_t bits = RAIL_ONE_SLOT;
	json_t *unused;

	slots->bits = RAIL_ONE_SLOT;
	if (!json_int(r, "blockBits", 0, POOL_BLOCK_BITS_MAX, &bits)) {
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
			if (json_any(r, keys[i], &unused))
				json_bad(r, keys[i], "is of slots: \"blockBits\" is required");
		}
		return;
	}
	slots->bits = (int)bits;
	read_subnet(r, slots);
	read_numbers(r, "reservedSlots", UINT32_MAX >> bits, &slots->reserved);
	read_numbers(r, "slotExclude", (UINT64_C(1) << bits) - 1, &slots->excluded);
	if (slots->excluded.count > POOL_SLOT_EXCLUDE_MAX)
		json_bad(r, "slotExclude", "must have at most %d ranges", POOL_SLOT_EXCLUDE_MAX);
}

/* A slot is the same indexes on every rail, so every rail has it. */
static void pool_check_slots(struct json_reader *r, const struct pool *pool)
{
	const struct index_ranges *reserved = &pool->slots.reserved;
	uint64_t slots;

	if (r->r < 0 || pool->slots.bits == RAIL_ONE_SLOT)
		return;
	slots = rail_slot_count(&pool->rails[0]);
	for (size_t i = 1; r->r == 0 && i < pool->rail_count; i++) {
		const struct rail *rail = &pool->rails[i];

		if (rail_slot_count(rail) != slots)
			r->r = err_set(
				r->err, EINVAL, ERR_VALUE,
				"key \"%s.rails[%zu]\": rail \"%s\" has %llu slots, and rail "
				"\"%s\" has %llu: with \"blockBits\" all have as many",
				r->path, i, rail->name, (unsigned long long)rail_slot_count(rail),
				pool->rails[0].name, (unsigned long long)slots);
	}
	if (reserved->count && reserved->at[reserved->count - 1].last >= slots)
		json_bad(r, "reservedSlots", "the rails have %llu slots, from 0 on",
			 (unsigned long long)slots);
}

static const char *const rest_for_names[] = {
	[POOL_REST_FOR_NAMESPACE] = "namespace",
	[POOL_REST_FOR_POD] = "pod",
	[POOL_REST_FOR_ANY] = "any",
};

const char *pool_rest_for_name(enum pool_rest_for rest_for)
{
	return rest_for_names[rest_for];
}

static const char *const rebind_names[] = {
	[POOL_REBIND_AUTO] = "auto",
	[POOL_REBIND_ALWAYS] = "always",
	[POOL_REBIND_NEVER] = "never",
};

const char *pool_rebind_name(enum pool_rebind rebind)
{
	return rebind_names[rebind];
}

/* One of three words, by its number; the first if there is none. */
static int read_word(struct json_reader *r, const char *key, const char *const names[3])
{
	const char *text;

	if (!json_str(r, key, &text))
		return 0;
	for (int i = 0; i < 3; i++) {
		if (strcmp(text, names[i]) == 0)
			return i;
	}
	json_bad(r, key, "must be \"%s\", \"%s\" or \"%s\"", names[0], names[1], names[2]);
	return 0;
}

static int pool_read(json_t *json, const char *path, struct pool *pool, struct err *err)
{
	int64_t cooldown_s = POOL_COOLDOWN_S, sticky_s = POOL_STICKY_S, claim_s = POOL_CLAIM_S;
	struct json_reader r;

	json_read(&r, json, path, err);
	read_name(&r, pool->name);
	(void)json_int(&r, "cooldown_s", 0, POOL_COOLDOWN_MAX_S, &cooldown_s);
	(void)json_int(&r, "sticky_s", 0, POOL_STICKY_MAX_S, &sticky_s);
	(void)json_int(&r, "claim_s", 1, POOL_CLAIM_MAX_S, &claim_s);
	pool->cooldown_ms = cooldown_s * 1000;
	pool->sticky_ms = sticky_s * 1000;
	pool->claim_ms = claim_s * 1000;
	pool->rest_for = (enum pool_rest_for)read_word(&r, "restFor", rest_for_names);
	pool->rebind = (enum pool_rebind)read_word(&r, "rebind", rebind_names);
	read_slots(&r, &pool->slots);
	read_rails(&r, pool);
	pool_check_slots(&r, pool);
	return json_finish(&r, READ_STRICT);
}

static bool prefixes_overlap(const struct cidr *a, const struct cidr *b)
{
	return a->ip.family && b->ip.family && cidr_overlaps(a, b);
}

static bool guids_overlap(const struct rail *a, const struct rail *b)
{
	return a->guid_count && b->guid_count && a->guid_base < b->guid_base + b->guid_count &&
	       b->guid_base < a->guid_base + a->guid_count;
}

static bool pci_equal(const struct pci_addr *a, const struct pci_addr *b)
{
	return a->domain == b->domain && a->bus == b->bus && a->device == b->device &&
	       a->function == b->function;
}

static bool rail_names_pf(const struct rail *rail, const char *pf_netdev)
{
	for (size_t i = 0; i < rail->pf_name_count; i++) {
		if (strcmp(rail->pf_names[i], pf_netdev) == 0)
			return true;
	}
	return false;
}

static bool rail_addresses_pf(const struct rail *rail, const struct pci_addr *pf)
{
	for (size_t i = 0; i < rail->pf_addr_count; i++) {
		if (pci_equal(&rail->pf_addrs[i], pf))
			return true;
	}
	return false;
}

bool rails_share_pf(const struct rail *a, const struct rail *b)
{
	for (size_t i = 0; i < a->pf_name_count; i++) {
		if (rail_names_pf(b, a->pf_names[i]))
			return true;
	}
	for (size_t i = 0; i < a->pf_addr_count; i++) {
		if (rail_addresses_pf(b, &a->pf_addrs[i]))
			return true;
	}
	return false;
}

/* What no two rails may have in common: the key that is to blame, and what to say of it. */
static const char *rails_clash(const struct rail *rail, const struct rail *other, bool same_pool,
			       const char **ret_why)
{
	*ret_why = "overlaps";
	if (prefixes_overlap(&rail->cidr, &other->cidr))
		return "cidr";
	if (prefixes_overlap(&rail->cidr6, &other->cidr6))
		return "cidr6";
	*ret_why = "has GUIDs of";
	if (guids_overlap(rail, other))
		return "guidBase";
	*ret_why = "names a PF of";
	return same_pool && rails_share_pf(rail, other) ? "match" : NULL;
}

/* Rail @y of pool @q must clash with no rail read before it. */
static int rail_check_unique(const struct pool_set *set, size_t q, size_t y, struct err *err)
{
	const struct rail *rail = &set->pools[q].rails[y];
	const char *key, *why;

	for (size_t p = 0; p <= q; p++) {
		size_t before = p == q ? y : set->pools[p].rail_count;

		for (size_t x = 0; x < before; x++) {
			const struct rail *other = &set->pools[p].rails[x];

			if (p == q && strcmp(rail->name, other->name) == 0)
				return err_set(
					err, EINVAL, ERR_VALUE,
					"key \"pools[%zu].rails[%zu].name\": \"%s\": is used "
					"twice in this pool",
					q, y, rail->name);
			key = rails_clash(rail, other, p == q, &why);
			if (key)
				return err_set(err, EINVAL, ERR_VALUE,
					       "key \"pools[%zu].rails[%zu].%s\": rail \"%s\" %s "
					       "rail \"%s\" of pool \"%s\"",
					       q, y, key, rail->name, why, other->name,
					       set->pools[p].name);
		}
	}
	return 0;
}

static int pool_check_unique(const struct pool_set *set, size_t q, struct err *err)
{
	int r = 0;

	for (size_t p = 0; p < q; p++) {
		if (strcmp(set->pools[p].name, set->pools[q].name) == 0)
			return err_set(err, EINVAL, ERR_VALUE,
				       "key \"pools[%zu].name\": \"%s\": is used twice", q,
				       set->pools[q].name);
	}
	for (size_t y = 0; r == 0 && y < set->pools[q].rail_count; y++)
		r = rail_check_unique(set, q, y, err);
	return r;
}

int pool_set_read(json_t *array, struct pool_set *ret_set, struct err *err)
{
	CLEANUP(pool_set_free) struct pool_set set = { 0 };
	char path[32];
	int r = 0;

	if (!json_is_array(array))
		return err_set(err, EINVAL, ERR_VALUE, "key \"pools\": must be an array");
	if (json_array_size(array) > POOLS_MAX)
		return err_set(err, EINVAL, ERR_VALUE,
			       "key \"pools\": must have at most %d elements", POOLS_MAX);
	set.pools = calloc(json_array_size(array) + 1, sizeof(*set.pools));
	if (!set.pools)
		return err_nomem(err);
	set.count = json_array_size(array);
	set.source = json_incref(array);
	for (size_t i = 0; r == 0 && i < set.count; i++) {
		(void)snprintf(path, sizeof(path), "pools[%zu]", i);
		r = pool_read(json_array_get(array, i), path, &set.pools[i], err);
		if (r == 0)
			r = pool_check_unique(&set, i, err);
	}
	if (r < 0)
		return r;
	*ret_set = set;
	set = (struct pool_set) { 0 };
	return 0;
}

void pool_set_free(struct pool_set *set)
{
	for (size_t p = 0; p < set->count; p++) {
		for (size_t x = 0; x < set->pools[p].rail_count; x++) {
			free(set->pools[p].rails[x].excluded.at);
			free(set->pools[p].rails[x].slot_excluded.at);
			free(set->pools[p].rails[x].routes);
			free(set->pools[p].rails[x].pf_names);
			free(set->pools[p].rails[x].pf_addrs);
		}
		free(set->pools[p].rails);
		free(set->pools[p].slots.reserved.at);
		free(set->pools[p].slots.excluded.at);
	}
	free(set->pools);
	json_decref(set->source);
	*set = (struct pool_set) { 0 };
}

const struct pool *pool_find(const struct pool_set *set, const char *name)
{
	for (size_t i = 0; i < set->count; i++) {
		if (strcmp(set->pools[i].name, name) == 0)
			return &set->pools[i];
	}
	return NULL;
}

const struct rail *pool_rail(const struct pool *pool, const char *name)
{
	if (!name)
		return pool->rail_count == 1 ? &pool->rails[0] : NULL;
	for (size_t i = 0; i < pool->rail_count; i++) {
		if (strcmp(pool->rails[i].name, name) == 0)
			return &pool->rails[i];
	}
	return NULL;
}

bool rail_has_match(const struct rail *rail)
{
	return rail->pf_name_count > 0 || rail->pf_addr_count > 0;
}

static bool rail_match_names(const struct rail *rail, const char *pf_netdev,
			     const struct pci_addr *pf)
{
	return rail_names_pf(rail, pf_netdev) || (pf && rail_addresses_pf(rail, pf));
}

bool rail_matches(const struct rail *rail, const char *pf_netdev, const struct pci_addr *pf)
{
	return !rail_has_match(rail) || rail_match_names(rail, pf_netdev, pf);
}

const struct rail *pool_rail_of(const struct pool *pool, const char *pf_netdev,
				const struct pci_addr *pf)
{
	for (size_t i = 0; i < pool->rail_count; i++) {
		if (rail_match_names(&pool->rails[i], pf_netdev, pf))
			return &pool->rails[i];
	}
	return NULL;
}

const struct rail *pool_set_rail_of(const struct pool_set *set, const char *pf_netdev,
				    const struct pci_addr *pf)
{
	const struct rail *rail = NULL;

	for (size_t i = 0; !rail && i < set->count; i++)
		rail = pool_rail_of(&set->pools[i], pf_netdev, pf);
	return rail;
}

const struct rail *pool_set_guid_rail(const struct pool_set *set, const char *pf_netdev,
				      const struct pci_addr *pf)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct rail *rail = pool_rail_of(&set->pools[i], pf_netdev, pf);

		if (rail && rail->guid_count)
			return rail;
	}
	return NULL;
}
