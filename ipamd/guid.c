/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VF keeps its GUID while it is used and while it is not: the fabric learns a port once. What it
 * had before an edit of its rail is free as soon as it has another.
 */
#include "ipamd/guid.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct store_key guid_key(uint64_t guid)
{
	struct store_key key = { 0 };

	store_key_u64(&key, guid);
	return key;
}

/* The owner is kept with its NUL. */
static bool owner_read(struct store *store, const struct store_view *value,
		       char owner[GUID_OWNER_MAX])
{
	if (value->len < 2 || value->len > GUID_OWNER_MAX || value->data[value->len - 1] != '\0') {
		store_fail(store, STORE_BY_GUID, "an owner is malformed");
		return false;
	}
	memcpy(owner, value->data, value->len);
	return true;
}

static bool is_record(const char *owner)
{
	return strncmp(owner, "record:", strlen("record:")) == 0;
}

/* The other way round: of a VF, which has one at most. */
static struct store_key device_key_of(const char *owner)
{
	struct store_key key = { 0 };

	store_key_text(&key, owner);
	return key;
}

static void owner_put(struct store *store, uint64_t guid, const char *owner)
{
	struct store_key key = guid_key(guid), device = device_key_of(owner);
	uint64_t number = htobe64(guid);

	store_put(store, STORE_BY_GUID, &key, owner, strlen(owner) + 1);
	if (!is_record(owner))
		store_put(store, STORE_GUID_OF, &device, &number, sizeof(number));
}

static bool owner_get(struct store *store, uint64_t guid, char owner[GUID_OWNER_MAX])
{
	struct store_key key = guid_key(guid);
	struct store_view value;

	return store_get(store, STORE_BY_GUID, &key, &value) && owner_read(store, &value, owner);
}

static const char *owner_name(uint64_t id, char owner[GUID_OWNER_MAX])
{
	(void)snprintf(owner, GUID_OWNER_MAX, "record:%llu", (unsigned long long)id);
	return owner;
}

bool guid_next(struct store *store, uint64_t *guid, char owner[GUID_OWNER_MAX])
{
	struct store_key key = guid_key(*guid);
	struct store_view found, value;

	if (!store_seek(store, STORE_BY_GUID, &key, 0, &found, &value))
		return false;
	if (found.len != sizeof(uint64_t)) {
		store_fail(store, STORE_BY_GUID, "a key has another length");
		return false;
	}
	*guid = store_view_u64(&found, 0);
	return owner_read(store, &value, owner);
}

uint64_t guid_of(struct store *store, const char *device_key)
{
	struct store_key key = device_key_of(device_key);
	struct store_view value;

	if (!store_get(store, STORE_GUID_OF, &key, &value))
		return 0;
	if (value.len == sizeof(uint64_t))
		return store_view_u64(&value, 0);
	store_fail(store, STORE_GUID_OF, "a GUID has another length");
	return 0;
}

void guid_migrate(struct store *store)
{
	char owner[GUID_OWNER_MAX];

	/* No GUID is all ones, so this ends. */
	for (uint64_t guid = 0; guid_next(store, &guid, owner); guid++)
		owner_put(store, guid, owner);
}

/* The lowest of the rail's block that nobody owns. */
static int guid_choose(struct store *store, const struct rail *rail, uint64_t *ret_guid,
		       struct err *err)
{
	char owner[GUID_OWNER_MAX];
	uint64_t guid, taken;

	for (guid = 0; rail_next_guid(rail, guid, &guid); guid++) {
		taken = guid;
		if (!guid_next(store, &taken, owner) || taken != guid)
			break;
	}
	if (!rail_next_guid(rail, guid, &guid))
		return err_set(err, EAGAIN, ERR_AGAIN,
			       "rail \"%s\": each of its %llu GUIDs has an owner", rail->name,
			       (unsigned long long)rail->guid_count);
	*ret_guid = guid;
	return store_check(store, err);
}

int guid_assign(struct store *store, const struct rail *rail, const char *device_key,
		uint64_t *ret_guid, struct err *err)
{
	uint64_t own = guid_of(store, device_key), guid = own;
	struct store_key key = guid_key(own);
	int r;

	r = store_check(store, err);
	if (r < 0)
		return r;
	if (!rail->guid_count)
		return err_set(err, ENOENT, ERR_VALUE, "rail \"%s\": has no \"guidBase\"",
			       rail->name);
	if (own < rail->guid_base || own - rail->guid_base >= rail->guid_count) {
		r = guid_choose(store, rail, &guid, err);
		if (r < 0)
			return r;
		if (own)
			store_delete(store, STORE_BY_GUID, &key);
		owner_put(store, guid, device_key);
		r = store_check(store, err);
	}
	if (r == 0)
		*ret_guid = guid;
	return r;
}

int guid_check(struct store *store, uint64_t guid, const char *device_key, struct err *err)
{
	char text[GUID_TEXT], owner[GUID_OWNER_MAX];

	if (!guid_is_usable(guid))
		return err_set(err, EINVAL, ERR_VALUE,
			       "requested GUID %s: is zero, all ones or multicast",
			       guid_format(guid, text));
	if (!owner_get(store, guid, owner) || strcmp(owner, device_key) == 0)
		return store_check(store, err);
	if (is_record(owner))
		return err_set(err, EEXIST, ERR_AGAIN,
			       "requested GUID %s: is held by attachment %s",
			       guid_format(guid, text), owner + strlen("record:"));
	return err_set(err, EEXIST, ERR_AGAIN, "requested GUID %s: belongs to %s",
		       guid_format(guid, text), owner);
}

void guid_take(struct store *store, uint64_t guid, uint64_t id)
{
	char owner[GUID_OWNER_MAX];

	if (!owner_get(store, guid, owner))
		owner_put(store, guid, owner_name(id, owner));
}

void guid_release(struct store *store, uint64_t guid, uint64_t id)
{
	char owner[GUID_OWNER_MAX], name[GUID_OWNER_MAX];
	struct store_key key = guid_key(guid);

	if (owner_get(store, guid, owner) && strcmp(owner, owner_name(id, name)) == 0)
		store_delete(store, STORE_BY_GUID, &key);
}

bool guid_restore(struct store *store, uint64_t guid, const char *owner)
{
	char other[GUID_OWNER_MAX];

	if (owner_get(store, guid, other))
		return false;
	owner_put(store, guid, owner);
	return true;
}
