/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random batches against a model in plain arrays, which foretells every answer: the index chosen,
 * each refusal, each state. Some batches are aborted, the store is reopened, the node reboots; and
 * in forked children the same is killed at a random moment: every batch that was acknowledged is
 * there, the one after it whole or absent, and every table agrees with every other.
 *
 * SPUR_SEED=N repeats a run.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "ledger_kit.h"

enum {
	KEYS = 48,
	DEVICES = 20,
	RAILS = 3,
	CONTAINERS = KEYS / RAILS, /* each with an interface on every rail */
	IDENTITIES = 5,            /* some of them are two containers' at once */
	INDEXES = 16,              /* of each rail, a /28 */
	GUIDS = 72, /* of each rail's block: more than VFs and records can ever have */
	COOLDOWN = 5000,
	STICKY = 20000,
	CLAIM = 8000,
	BATCH = 6,
	STEPS = 1500,
	KILLS = 30,
};

static const char pools_text[] =
	"[{'name': 'p', 'cooldown_s': 5, 'sticky_s': 20, 'claim_s': 8, 'rails': ["
	"  {'name': 'r0', 'cidr': '10.0.0.0/28', 'cidr6': 'fd00::/64', 'gatewayIndex': 1,"
	"   'guidBase': '02:00:00:00:00:00:00:00'},"
	"  {'name': 'r1', 'cidr': '10.0.1.0/28', 'exclude': ['10.0.1.3-10.0.1.5'],"
	"   'guidBase': '02:00:00:00:00:01:00:00'},"
	"  {'name': 'r2', 'cidr': '10.0.2.0/28', 'guidBase': '02:00:00:00:00:02:00:00'}]}]";
static const uint64_t guid_bases[RAILS] = { 0x0200000000000000, 0x0200000000010000,
					    0x0200000000020000 };

enum { OF_VF = 1 << 30 }; /* + the device's number: an owner that is no record */

struct slot {
	enum lease_state state;
	uint64_t id;
	int64_t since_ms; /* ledger time; of one that is held or claimed: of the rest before; 0:
			   * never
			   */
	int pod;          /* that it rests of, or did before; 0: none */
};

struct tenant {
	bool live;
	uint64_t id;
	enum attachment_state state;
	int index; /* -1 = none */
	uint64_t guid;
	int boot;
};

/* What a container has claimed and not bound, in the order in which the ledger has it. */
struct pledge {
	uint64_t id;
	int64_t expiry_ms;
	int boot, count;
	struct {
		int rail, index;
	} at[RAILS];
};

struct memory { /* of an identity on a rail */
	bool is_there;
	int index;
	int64_t last_ms;
};

struct model {
	unsigned int seed;
	int64_t boot_ms, offset_ms; /* BOOTTIME, and ledger time above it */
	int boot;
	uint64_t next_id, events;
	struct slot slots[RAILS][INDEXES];
	uint64_t owners[RAILS][GUIDS]; /* a record's id, OF_VF + a device, 0 = nobody */
	struct tenant tenants[KEYS];
	struct pledge pledges[CONTAINERS];
	struct memory memories[IDENTITIES][RAILS];
};

static int64_t model_now(const struct model *m)
{
	return m->offset_ms + m->boot_ms;
}

static int model_random(struct model *m, int below)
{
	return rand_r(&m->seed) % below;
}

static int tenant_rail(int key)
{
	return key % 7 == 0 ? -1 : key % RAILS; /* -1: asks for no address */
}

static int tenant_device(int key)
{
	return key % 5 == 0 ? -1 : key % DEVICES; /* -1: as spur-ipam, without one */
}

static int tenant_container(int key)
{
	return key / RAILS;
}

/* Those with a UID are all of one pod, else each container is one. */
static bool tenant_has_uid(int key)
{
	return key % 4 == 0;
}

static int tenant_pod(int key)
{
	return tenant_has_uid(key) ? CONTAINERS + 1 : tenant_container(key) + 1;
}

static int tenant_identity(int key)
{
	return tenant_container(key) % 3 == 1 ? tenant_container(key) % IDENTITIES : -1;
}

static bool slot_is_given(int rail, int index)
{
	if (rail == 0)
		return index >= 2 && index <= 14;
	return index >= 1 && index <= 14 && !(rail == 1 && index >= 3 && index <= 5);
}

/* --- the choice of an index --- */

static bool slot_is_rested(const struct model *m, const struct slot *slot)
{
	return slot->state == LEASE_RESTING &&
	       (!slot->since_ms || slot->since_ms + COOLDOWN <= model_now(m));
}

static bool slot_is_free_for(const struct model *m, int key, int rail, int index)
{
	const struct slot *slot = &m->slots[rail][index];
	const struct memory *had;

	if (!slot_is_given(rail, index))
		return false;
	if (slot->state == LEASE_UNUSED || slot_is_rested(m, slot))
		return true;
	if (slot->state == LEASE_RESTING && slot->pod == tenant_pod(key))
		return true;
	if (slot->state != LEASE_RESTING || tenant_identity(key) < 0)
		return false;
	had = &m->memories[tenant_identity(key)][rail];
	return had->is_there && had->index == index && had->last_ms == slot->since_ms;
}

static int oldest_rested(const struct model *m, int rail)
{
	int oldest = -1;

	for (int i = 0; i < INDEXES; i++) {
		const struct slot *slot = &m->slots[rail][i];

		if (slot_is_rested(m, slot) &&
		    (oldest < 0 || slot->since_ms < m->slots[rail][oldest].since_ms))
			oldest = i;
	}
	return oldest;
}

/* What the container has on another rail, by interface; else what it has claimed there. */
static int of_sibling(const struct model *m, int key, const struct pledge *others)
{
	int container = tenant_container(key);

	for (int i = container * RAILS; i < (container + 1) * RAILS; i++) {
		const struct tenant *tenant = &m->tenants[i];

		if (i != key && tenant->live && tenant->boot == m->boot && tenant->index >= 0)
			return tenant->index;
	}
	return others->count ? others->at[0].index : -1;
}

static int of_identity(const struct model *m, int key, int rail)
{
	const struct memory *had;
	int identity = tenant_identity(key), at = rail;

	if (identity < 0)
		return -1;
	if (!m->memories[identity][rail].is_there)
		for (at = 0; at < RAILS - 1 && !m->memories[identity][at].is_there;)
			at++;
	had = &m->memories[identity][at];
	return had->is_there && model_now(m) - had->last_ms < STICKY ? had->index : -1;
}

/* The first one from @index on that rests of the pod itself, and that it may have again; -1. */
static int next_own(const struct model *m, int key, int rail, int index)
{
	for (; index < INDEXES; index++) {
		const struct slot *slot = &m->slots[rail][index];

		if (slot_is_given(rail, index) && slot->state == LEASE_RESTING &&
		    slot->pod == tenant_pod(key))
			return index;
	}
	return -1;
}

struct wishes {
	int by_name, sibling, identity; /* -1: none */
};

static int choose_one(const struct model *m, int key, int rail, const struct wishes *wishes)
{
	int oldest = oldest_rested(m, rail), own = next_own(m, key, rail, 0);

	if (wishes->sibling >= 0 && slot_is_free_for(m, key, rail, wishes->sibling))
		return wishes->sibling;
	if (wishes->identity >= 0 && slot_is_free_for(m, key, rail, wishes->identity))
		return wishes->identity;
	if (own >= 0)
		return own;
	if (oldest >= 0)
		return oldest;
	for (int i = 0; i < INDEXES; i++) {
		if (slot_is_given(rail, i) && m->slots[rail][i].state == LEASE_UNUSED)
			return i;
	}
	return -EAGAIN;
}

static int choose_named(const struct model *m, int rail, int index, int mine)
{
	enum lease_state state = m->slots[rail][index].state;

	if (!slot_is_given(rail, index))
		return -EINVAL;
	return state == LEASE_HELD || (state == LEASE_CLAIMED && index != mine) ? -EBUSY : index;
}

static bool is_free_on_all(const struct model *m, int key, const bool *rails, int index)
{
	for (int rail = 0; index >= 0 && rail < RAILS; rail++) {
		if (rails[rail] && !slot_is_free_for(m, key, rail, index))
			return false;
	}
	return index >= 0;
}

/* The pod's own ones of the first rail, then the rested ones by age, then the unused ones. */
static int find_common(const struct model *m, int key, const bool *rails, int first)
{
	struct model rest = *m;
	int index = -1;

	while ((index = next_own(m, key, first, index + 1)) >= 0) {
		if (is_free_on_all(m, key, rails, index))
			return index;
	}
	while ((index = oldest_rested(&rest, first)) >= 0) {
		if (is_free_on_all(m, key, rails, index))
			return index;
		rest.slots[first][index].state = LEASE_HELD;
	}
	for (index = 0; index < INDEXES; index++) {
		if (m->slots[first][index].state == LEASE_UNUSED &&
		    is_free_on_all(m, key, rails, index))
			return index;
	}
	return -1;
}

/* An index on each of @rails, or the error that it must meet; @first is looked at first. */
static int choose_all(const struct model *m, int key, const bool *rails, int first, int mine,
		      const struct wishes *wishes, int *indexes)
{
	int count = 0, common = -1;

	for (int rail = 0; rail < RAILS; rail++)
		count += rails[rail];
	if (wishes->by_name < 0 && count > 1) {
		if (is_free_on_all(m, key, rails, wishes->sibling))
			common = wishes->sibling;
		else if (is_free_on_all(m, key, rails, wishes->identity))
			common = wishes->identity;
		else
			common = find_common(m, key, rails, first);
	}
	for (int i = 0; i < RAILS; i++) {
		int rail = i == 0 ? first : i - (i <= first);

		if (!rails[rail])
			continue;
		if (wishes->by_name >= 0)
			indexes[rail] = choose_named(m, rail, wishes->by_name,
						     rail == tenant_rail(key) ? mine : -1);
		else
			indexes[rail] = common >= 0 ? common : choose_one(m, key, rail, wishes);
		if (indexes[rail] < 0)
			return indexes[rail];
	}
	return 0;
}

/* --- claims and identities --- */

static void slot_take(struct slot *slot, enum lease_state state, uint64_t id)
{
	*slot = (struct slot) { state, id, slot->since_ms, slot->pod };
}

/* Nobody has used it: its earlier rest goes on. */
static void slot_give_back(struct slot *slot)
{
	*slot = (struct slot) { LEASE_RESTING, 0, slot->since_ms, slot->pod };
}

static void pledge_end(struct model *m, int container)
{
	struct pledge *pledge = &m->pledges[container];

	for (int i = 0; i < pledge->count; i++)
		slot_give_back(&m->slots[pledge->at[i].rail][pledge->at[i].index]);
	pledge->count = 0;
}

static void pledge_end_if_last(struct model *m, int container)
{
	for (int i = container * RAILS; i < (container + 1) * RAILS; i++) {
		const struct tenant *tenant = &m->tenants[i];

		if (tenant->live && tenant->boot == m->boot && tenant->index >= 0)
			return;
	}
	pledge_end(m, container);
}

/* Takes its place on @rail out of the claim; -1: it had none. */
static int pledge_take(struct pledge *pledge, int rail)
{
	for (int i = 0; i < pledge->count; i++) {
		int index = pledge->at[i].index;

		if (pledge->at[i].rail != rail)
			continue;
		pledge->count--;
		pledge->at[i] = pledge->at[pledge->count];
		return index;
	}
	return -1;
}

static bool is_kept(const struct model *m, int identity, const struct memory *had, int rail)
{
	const struct slot *slot = &m->slots[rail][had->index];

	if (slot->state == LEASE_RESTING)
		return slot->since_ms == had->last_ms;
	for (int i = 0; slot->state == LEASE_HELD && i < KEYS; i++) {
		if (m->tenants[i].live && m->tenants[i].id == slot->id)
			return tenant_identity(i) == identity;
	}
	return false;
}

/* The index of a tenant rests, and its identity remembers it; if it was used. */
static void tenant_rests(struct model *m, int key, int index, bool never_up)
{
	int rail = tenant_rail(key), identity = tenant_identity(key);
	struct memory *had;

	if (never_up)
		slot_give_back(&m->slots[rail][index]);
	else
		m->slots[rail][index] =
			(struct slot) { LEASE_RESTING, 0, model_now(m), tenant_pod(key) };
	if (identity >= 0 && !never_up) {
		had = &m->memories[identity][rail];
		if (!had->is_there || had->index == index || !is_kept(m, identity, had, rail))
			*had = (struct memory) { true, index, model_now(m) };
	}
	pledge_end_if_last(m, tenant_container(key));
}

/* Where @owner's GUID is; NULL: it has none. Nobody has two. */
static uint64_t *model_guid(struct model *m, uint64_t owner, uint64_t *ret_guid)
{
	uint64_t *at = NULL;

	*ret_guid = 0;
	for (int rail = 0; owner && rail < RAILS; rail++) {
		for (int i = 0; i < GUIDS; i++) {
			if (m->owners[rail][i] != owner)
				continue;
			assert_null(at);
			at = &m->owners[rail][i];
			*ret_guid = guid_bases[rail] + (uint64_t)i;
		}
	}
	return at;
}

static bool device_is_held(const struct model *m, int device)
{
	for (int i = 0; i < KEYS; i++) {
		if (m->tenants[i].live && tenant_device(i) == device)
			return true;
	}
	return false;
}

/* Its index rests, its own GUID is free. */
static void model_forget(struct model *m, int key, bool never_up)
{
	struct tenant *tenant = &m->tenants[key];
	int index = tenant->index;
	uint64_t guid;

	if (model_guid(m, tenant->id, &guid))
		*model_guid(m, tenant->id, &guid) = 0;
	*tenant = (struct tenant) { .index = -1 };
	if (index >= 0)
		tenant_rests(m, key, index, never_up);
	m->events++;
}

static bool tenant_is_rebooted(const struct model *m, int key)
{
	return m->tenants[key].live && m->tenants[key].boot != m->boot;
}

/* Whoever meets a record of an earlier boot drops it. */
static void model_meet(struct model *m, int key)
{
	if (tenant_is_rebooted(m, key))
		model_forget(m, key, false);
}

static void model_meet_device(struct model *m, int device)
{
	for (int i = 0; i < KEYS; i++) {
		if (tenant_device(i) == device)
			model_meet(m, i);
	}
}

static bool model_is_free(struct model *m, int key)
{
	model_meet(m, key);
	if (m->tenants[key].live)
		return false;
	if (tenant_device(key) < 0)
		return true;
	model_meet_device(m, tenant_device(key));
	return !device_is_held(m, tenant_device(key));
}

/* The name that a key has in the ledger: it lives as long as the next call. */
static const char *tenant_name(int key)
{
	static char name[16];

	(void)snprintf(name, sizeof(name), "c%d", tenant_container(key));
	return name;
}

static const char *const ifnames[RAILS] = { "net0", "net1", "net2" };
static const char *const rail_names[RAILS] = { "r0", "r1", "r2" };
static const char *const identities[IDENTITIES] = { "i0", "i1", "i/2", "i3", "i4" };

static struct attachment_key tenant_key(int key)
{
	return (struct attachment_key) { "net", tenant_name(key), ifnames[key % RAILS] };
}

static struct reserve_request tenant_request(int key, int wanted, bool claims)
{
	int rail = tenant_rail(key);
	struct reserve_request request = kit_request(tenant_name(key), rail < 0 ? NULL : "p");
	char text[64];

	request.key = tenant_key(key);
	request.rail = rail < 0 ? NULL : rail_names[rail];
	request.claim_all = claims;
	request.sticky = tenant_identity(key) < 0 ? NULL : identities[tenant_identity(key)];
	request.netns.nsid = key % 3 - 1;
	if (tenant_has_uid(key))
		request.pod.uid = (char *)"uid";
	if (rail >= 0 && wanted >= 0) {
		(void)snprintf(text, sizeof(text), "10.0.%d.%d", rail, wanted);
		assert_int_equal(cidr_parse(text, &request.ips[0]), 0);
		request.ip_count = 1;
	}
	return request;
}

/* What a reservation must get: an index on each of @taken, the own one among them if it is new. */
struct foretold {
	int r;     /* the error, or 0 */
	int index; /* its own; -1: none was asked for */
	bool taken[RAILS];
	int indexes[RAILS];
	struct pledge others; /* the claim without the own rail */
	int mine;             /* what was claimed there; -1: nothing */
};

static void foretell_index(struct model *m, int key, int wanted, bool claims, struct foretold *f)
{
	int container = tenant_container(key), rail = tenant_rail(key), first = rail;
	struct wishes wishes;

	if (m->pledges[container].boot != m->boot)
		pledge_end(m, container);
	f->others = m->pledges[container];
	f->mine = pledge_take(&f->others, rail);
	wishes = (struct wishes) { wanted, of_sibling(m, key, &f->others),
				   of_identity(m, key, rail) };
	f->taken[rail] = f->mine < 0 || wanted >= 0;
	for (int i = 0; claims && i < RAILS; i++) {
		struct pledge copy = f->others;
		const struct tenant *tenant = &m->tenants[container * RAILS + i];
		bool bound = tenant->live && tenant->boot == m->boot && tenant->index >= 0;

		if (i != rail)
			f->taken[i] = !bound && pledge_take(&copy, i) < 0;
	}
	for (int i = 0; !f->taken[first] && i < RAILS; i++)
		first = f->taken[i] ? i : first;
	f->r = choose_all(m, key, f->taken, first, f->mine, &wishes, f->indexes);
	f->index = f->taken[rail] ? f->indexes[rail] : f->mine;
}

static void model_take(struct model *m, int key, const struct foretold *f)
{
	int container = tenant_container(key), rail = tenant_rail(key);
	struct pledge *pledge = &m->pledges[container];
	bool is_new = pledge->count == 0, adds = false;
	uint64_t id = m->next_id++;

	if (f->mine >= 0 && f->mine != f->index)
		slot_give_back(&m->slots[rail][f->mine]);
	slot_take(&m->slots[rail][f->index], LEASE_HELD, id);
	*pledge = f->others;
	pledge->boot = m->boot;
	if (is_new)
		pledge->id = m->next_id;
	for (int i = 0; i < RAILS; i++) {
		if (i == rail || !f->taken[i])
			continue;
		adds = true;
		pledge->at[pledge->count].rail = i;
		pledge->at[pledge->count++].index = f->indexes[i];
		slot_take(&m->slots[i][f->indexes[i]], LEASE_CLAIMED, pledge->id);
	}
	if (adds)
		pledge->expiry_ms = model_now(m) + CLAIM;
	if (adds && is_new)
		m->next_id++;
}

static void step_reserve(struct model *m, struct ledger *ledger)
{
	int key = model_random(m, KEYS), rail = tenant_rail(key);
	int wanted = model_random(m, 5) == 0 ? model_random(m, INDEXES) : -1;
	int asked = model_random(m, 4) == 0 ? model_random(m, GUIDS / 2) : -1;
	bool claims = rail >= 0 && model_random(m, 3) == 0;
	uint64_t vf = tenant_device(key) < 0 ? 0 : OF_VF + (uint64_t)tenant_device(key);
	uint64_t guid, id = m->next_id, *owner = asked < 0 ? NULL : &m->owners[key % RAILS][asked];
	bool is_free = model_is_free(m, key);
	struct foretold f = { .index = -1, .mine = -1 };

	(void)model_guid(m, vf, &guid);
	if (owner)
		guid = guid_bases[key % RAILS] + (uint64_t)asked;
	if (!is_free || (owner && *owner && *owner != vf))
		f.r = -EEXIST;
	else if (rail >= 0)
		foretell_index(m, key, wanted, claims, &f);
	if (ledger) {
		struct reserve_request request = tenant_request(key, wanted, claims);
		CLEANUP(attachment_free) struct attachment a = { 0 };
		struct baseline device;
		char name[16];
		int r;

		request.guid = owner ? guid : 0;
		(void)snprintf(name, sizeof(name), "net:d%d", tenant_device(key));
		device = kit_device(name);
		r = ledger_reserve(ledger, &request, tenant_device(key) < 0 ? NULL : &device, &a,
				   &kit_err);
		assert_int_equal(r, f.r);
		if (r == 0)
			assert_true(a.id == id && a.guid == guid);
		if (r == 0 && rail >= 0)
			assert_int_equal(a.rail.index, f.index);
	}
	if (f.r < 0)
		return;
	if (rail >= 0)
		model_take(m, key, &f);
	else
		m->next_id++;
	m->tenants[key] =
		(struct tenant) { true, id, ATTACHMENT_UNFINISHED, f.index, guid, m->boot };
	if (owner && !*owner)
		*owner = id;
	m->events++;
}

static void step_sweep(struct model *m, struct ledger *ledger)
{
	size_t swept, expected = 0;

	for (int i = 0; i < CONTAINERS; i++) {
		const struct pledge *pledge = &m->pledges[i];

		if (pledge->count == 0 ||
		    (pledge->boot == m->boot && pledge->expiry_ms > model_now(m)))
			continue;
		pledge_end(m, i);
		expected++;
	}
	if (ledger) {
		assert_ok(ledger_claims_sweep(ledger, &swept, &kit_err));
		assert_int_equal(swept, expected);
	}
}

static void step_guid(struct model *m, struct ledger *ledger)
{
	int device = model_random(m, DEVICES), rail = model_random(m, RAILS), i = 0;
	uint64_t guid, *own = model_guid(m, OF_VF + (uint64_t)device, &guid);
	bool keeps;

	model_meet_device(m, device);
	keeps = own && (device_is_held(m, device) ||
			(own >= m->owners[rail] && own < m->owners[rail] + GUIDS));

	if (!keeps) {
		while (m->owners[rail][i])
			i++;
		if (own)
			*own = 0;
		m->owners[rail][i] = OF_VF + (uint64_t)device;
		guid = guid_bases[rail] + (uint64_t)i;
	}
	if (ledger) {
		uint64_t given;
		char name[16];

		(void)snprintf(name, sizeof(name), "net:d%d", device);
		assert_ok(ledger_guid_assign(ledger, &ledger_pools(ledger)->pools[0].rails[rail],
					     name, &given, &kit_err));
		assert_true(given == guid);
	}
}

static void step_done(struct model *m, struct ledger *ledger)
{
	int key = model_random(m, KEYS);
	struct tenant *tenant = &m->tenants[key];
	bool stale = model_random(m, 8) == 0, works;

	model_meet(m, key);
	works = tenant->live && tenant->state != ATTACHMENT_DIRTY && !stale;

	if (ledger) {
		struct attachment_key name = tenant_key(key);
		struct facts facts = { .ifindex = key + 1 };

		assert_int_equal(ledger_done(ledger, &name, tenant->id + stale, &facts, &kit_err),
				 works ? 0 : -ESTALE);
	}
	if (!works)
		return;
	tenant->state = ATTACHMENT_ATTACHED;
	m->events++;
}

/* A look was begun for one record, and has another before it when it ends, or none. */
static void step_unconfirm(struct model *m, struct ledger *ledger)
{
	int key = model_random(m, KEYS);
	struct tenant *tenant = &m->tenants[key];
	bool stale = model_random(m, 8) == 0;

	model_meet(m, key);
	if (ledger) {
		struct attachment_key name = tenant_key(key);

		assert_ok(ledger_unconfirm(ledger, &name, tenant->id + stale, &kit_err));
	}
	if (!tenant->live || stale || tenant->state != ATTACHMENT_UNFINISHED)
		return;
	tenant->state = ATTACHMENT_UNCONFIRMED;
	m->events++;
}

static void step_release(struct model *m, struct ledger *ledger)
{
	int key = model_random(m, KEYS);
	bool stale = model_random(m, 8) == 0, left = model_random(m, 5) > 0;
	bool restored = model_random(m, 5) > 0, never_up = model_random(m, 3) == 0;
	struct tenant *tenant = &m->tenants[key];
	bool works, goes;

	model_meet(m, key);
	works = tenant->live && !stale;
	goes = works && left && (restored || tenant_device(key) < 0);
	if (ledger) {
		const struct release how = {
			.left = left, .restored = restored, .never_up = never_up, .reason = "test"
		};
		struct attachment_key name = tenant_key(key);
		bool gone;

		assert_ok(ledger_release(ledger, &name, tenant->id + stale, &how, NULL, &gone,
					 &kit_err));
		assert_int_equal(gone, !works || goes);
	}
	if (!works)
		return;
	if (goes) {
		model_forget(m, key, never_up);
		return;
	}
	if (tenant->state != ATTACHMENT_DIRTY || (left && tenant->index >= 0))
		m->events++;
	if (left && tenant->index >= 0) {
		int index = tenant->index;

		tenant->index = -1;
		tenant_rests(m, key, index, never_up);
	}
	tenant->state = ATTACHMENT_DIRTY;
}

/* Behind the requests: the oldest first. */
static void step_reap(struct model *m, struct ledger *ledger)
{
	size_t dropped, expected = 0;
	int oldest = -1;

	for (int key = 0; key < KEYS; key++) {
		if (tenant_is_rebooted(m, key) &&
		    (oldest < 0 || m->tenants[key].id < m->tenants[oldest].id))
			oldest = key;
	}
	if (oldest >= 0) {
		model_forget(m, oldest, false);
		expected = 1;
	}
	if (ledger) {
		assert_ok(ledger_drop_rebooted(ledger, 1, &dropped, &kit_err));
		assert_int_equal(dropped, expected);
	}
}

static void step_any(struct model *m, struct ledger *ledger)
{
	switch (model_random(m, 10)) {
	case 0:
	case 1:
	case 2:
		step_reserve(m, ledger);
		break;
	case 3:
	case 4:
		step_release(m, ledger);
		break;
	case 5:
		step_guid(m, ledger);
		break;
	case 6:
		step_reap(m, ledger);
		break;
	case 7:
		step_sweep(m, ledger);
		break;
	case 8:
		step_unconfirm(m, ledger);
		break;
	default:
		step_done(m, ledger);
	}
}

/* One batch, committed or aborted. Without a ledger only the model moves. */
static void model_batch(struct model *m, struct ledger *ledger)
{
	int steps = 1 + model_random(m, BATCH);
	bool aborts = model_random(m, 10) == 0;
	struct model before;

	m->boot_ms += model_random(m, COOLDOWN / 4);
	kit_now_ms = m->boot_ms;
	before = *m;
	if (ledger)
		assert_ok(ledger_begin(ledger, &kit_err));
	for (int i = 0; i < steps; i++)
		step_any(m, ledger);
	if (ledger && aborts)
		ledger_abort(ledger);
	else if (ledger)
		assert_ok(ledger_commit(ledger, &kit_err));
	if (aborts) {
		before.seed = m->seed;
		*m = before;
	}
}

static const char *boot_name(const struct model *m)
{
	static char name[16];

	(void)snprintf(name, sizeof(name), "boot-%d", m->boot);
	return name;
}

static bool tenant_matches(struct ledger *ledger, const struct model *m, int key)
{
	const struct tenant *tenant = &m->tenants[key];
	CLEANUP(attachment_free) struct attachment a = { 0 };
	struct attachment_key name = tenant_key(key);
	int r = ledger_find(ledger, &name, &a, &kit_err);

	if (r == -ENOENT)
		return !tenant->live || tenant_is_rebooted(m, key);
	assert_int_equal(r, 0);
	return tenant->live && !tenant_is_rebooted(m, key) && a.id == tenant->id &&
	       a.state == tenant->state && a.guid == tenant->guid &&
	       (a.net.ip_count > 0) == (tenant->index >= 0) &&
	       (tenant->index < 0 || a.rail.index == (uint32_t)tenant->index) &&
	       (a.state != ATTACHMENT_ATTACHED || a.facts.ifindex == key + 1);
}

/* Each change is one event: what leaves no other trace is in the history. */
static bool history_matches(struct ledger *ledger, const struct model *m)
{
	CLEANUP_JSON json_t *last = NULL;

	assert_ok(kit_history(ledger, m->events ? m->events - 1 : 0, 2, &last));
	return json_array_size(last) == (m->events ? 1 : 0);
}

struct guid_check {
	struct model m;
	bool matches;
};

static void check_guid(uint64_t guid, const char *owner, void *arg)
{
	struct guid_check *check = arg;
	uint64_t expected, *at;
	unsigned int device;

	if (sscanf(owner, "net:d%u", &device) == 1)
		at = model_guid(&check->m, OF_VF + (uint64_t)device, &expected);
	else
		at = model_guid(&check->m, strtoull(owner + strlen("record:"), NULL, 10),
				&expected);
	if (at && expected == guid)
		*at = 0;
	else
		check->matches = false;
}

static bool guids_match(struct ledger *ledger, const struct model *m)
{
	static const uint64_t none[RAILS][GUIDS];
	struct guid_check check = { *m, true };

	assert_ok(ledger_guid_each(ledger, check_guid, &check, &kit_err));
	return check.matches && memcmp(check.m.owners, none, sizeof(none)) == 0;
}

/* Nothing but what containers have claimed is claimed. */
static bool claims_match(struct ledger *ledger, const struct model *m)
{
	const struct pool_set *pools = ledger_pools(ledger);
	uint64_t claimed = 0, expected = 0;
	struct rail_usage usage;

	for (int rail = 0; pools->count && rail < RAILS; rail++) {
		assert_ok(ledger_usage(ledger, pools->pools, &pools->pools->rails[rail], &usage,
				       &kit_err));
		claimed += usage.claimed;
	}
	for (int i = 0; i < CONTAINERS; i++)
		expected += (uint64_t)m->pledges[i].count;
	return claimed == expected;
}

static bool model_matches(struct ledger *ledger, const struct model *m)
{
	uint64_t live = 0;

	if (!history_matches(ledger, m) || !guids_match(ledger, m) || !claims_match(ledger, m))
		return false;
	for (int key = 0; key < KEYS; key++) {
		if (!tenant_matches(ledger, m, key))
			return false;
		live += m->tenants[key].live && !tenant_is_rebooted(m, key);
	}
	return kit_count(ledger) == live;
}

static void model_init(struct model *m, unsigned int seed)
{
	*m = (struct model) { .seed = seed, .boot_ms = 1000, .next_id = 1 };
	for (int key = 0; key < KEYS; key++)
		m->tenants[key].index = -1;
	kit_now_ms = m->boot_ms;
}

static unsigned int seed_of_run(void)
{
	const char *text = getenv("SPUR_SEED");
	unsigned int seed = text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);

	print_message("SPUR_SEED=%u\n", seed);
	return seed;
}

/* Boot: a change is committed at this very moment, so that the model knows what the clock says. */
static void model_reboot(struct model *m, struct ledger **ledger)
{
	struct reserve_request request = kit_request("clock", NULL);
	CLEANUP(attachment_free) struct attachment a = { 0 };

	assert_ok(kit_reserve(*ledger, &request, NULL, &a));
	assert_true(kit_release(*ledger, &a, true, true));
	m->next_id++;
	m->events += 2;
	m->offset_ms = model_now(m);
	m->boot_ms = model_random(m, 1000);
	m->boot++;
	kit_now_ms = m->boot_ms;
	ledger_close(*ledger);
	*ledger = kit_open(boot_name(m));
	kit_set_pools(*ledger, pools_text);
}

static void test_random_batches(void **state)
{
	(void)state;
	unsigned int seed = seed_of_run();
	struct ledger *ledger = kit_open("boot-0");
	struct model m;

	model_init(&m, seed);
	kit_set_pools(ledger, pools_text);
	for (int i = 0; i < STEPS; i++) {
		model_batch(&m, ledger);
		if (i % 100 == 99) {
			assert_true(model_matches(ledger, &m));
			ledger_close(ledger);
			kit_check();
			ledger = kit_open(boot_name(&m));
			kit_set_pools(ledger, pools_text);
		}
		if (i % 250 == 249)
			model_reboot(&m, &ledger);
	}
	assert_true(model_matches(ledger, &m));
	ledger_close(ledger);
	kit_check();
}

/* The child: batches without end, one byte down the pipe when it begins, and for each that is on
 * disk. */
static void run_until_killed(struct model *m, int fd)
{
	struct ledger *ledger = kit_open("boot-0");

	kit_set_pools(ledger, pools_text);
	while (write(fd, "", 1) == 1)
		model_batch(m, ledger);
	_exit(1);
}

/* Starts a child on the model as it is, kills it so long after so many bytes, and returns how many
 * batches it acknowledged. */
static int kill_after(struct model *m, int bytes, useconds_t wait_us)
{
	int fds[2], status, told = 0;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		run_until_killed(m, fds[1]);
	}
	(void)close(fds[1]);
	while (told < bytes && read(fds[0], &byte, 1) == 1)
		told++;
	(void)usleep(wait_us);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status)) /* an assertion failed in it */
		fail_msg("the child ended by itself");
	while (read(fds[0], &byte, 1) == 1)
		told++;
	(void)close(fds[0]);
	return told > 0 ? told - 1 : 0;
}

static void test_killed_at_a_random_moment(void **state)
{
	(void)state;
	unsigned int seed = seed_of_run();
	int total = 0, beyond = 0;
	struct model m, next;

	model_init(&m, seed);
	for (int i = 0; i < KILLS; i++) {
		/* While it opens, in its first batch, in a later one. */
		int count = kill_after(&m, i % 3, (useconds_t)rand_r(&seed) % 30000);
		struct ledger *ledger;

		for (int k = 0; k < count; k++)
			model_batch(&m, NULL);
		next = m;
		model_batch(&next, NULL);
		kit_check();
		ledger = kit_open("boot-0");
		if (!model_matches(ledger, &m)) {
			assert_true(model_matches(ledger, &next));
			m = next;
			beyond++;
		}
		ledger_close(ledger);
		total += count;
	}
	print_message("%d batches acknowledged, %d times one more was on disk\n", total, beyond);
	assert_true(total > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_random_batches, kit_setup),
		cmocka_unit_test_setup(test_killed_at_a_random_moment, kit_setup),
	};

	return cmocka_run_group_tests(tests, kit_make_root, kit_remove_root);
}
