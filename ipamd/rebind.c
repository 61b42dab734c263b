/* SPDX-License-Identifier: Apache-2.0 */
/* One entry a VF at most, of some hundred bytes: read and written whole. */
#include "ipamd/rebind.h"

#include <endian.h>
#include <string.h>

enum {
	REBIND_HEAD = sizeof(uint64_t) + 1, /* id, is it due */
	REBIND_BYTES = REBIND_HEAD + sizeof(struct rebind),
};

static struct store_key rebind_key(const char *device_key)
{
	struct store_key key = { 0 };

	store_key_text(&key, device_key);
	return key;
}

bool rebind_decode(const struct store_view *value, struct rebind *ret_rebind)
{
	size_t at = REBIND_HEAD;

	if (value->len <= REBIND_HEAD)
		return false;
	*ret_rebind = (struct rebind) {
		.id = store_view_u64(value, 0),
		.is_due = value->data[sizeof(uint64_t)],
	};
	return store_view_text(value, &at, ret_rebind->netdev, sizeof(ret_rebind->netdev)) &&
	       store_view_text(value, &at, ret_rebind->rdma, sizeof(ret_rebind->rdma)) &&
	       store_view_text(value, &at, ret_rebind->promised, sizeof(ret_rebind->promised)) &&
	       store_view_text(value, &at, ret_rebind->uverbs, sizeof(ret_rebind->uverbs)) &&
	       at == value->len;
}

static bool rebind_read(struct store *store, const struct store_view *value,
			struct rebind *ret_rebind)
{
	if (rebind_decode(value, ret_rebind))
		return true;
	*ret_rebind = (struct rebind) { 0 };
	store_fail(store, STORE_REBIND, "an entry is malformed");
	return false;
}

bool rebind_get(struct store *store, const char *device_key, struct rebind *ret_rebind)
{
	struct store_key key = rebind_key(device_key);
	struct store_view value;

	return store_get(store, STORE_REBIND, &key, &value) &&
	       rebind_read(store, &value, ret_rebind);
}

bool rebind_next(struct store *store, struct store_key *key, char device_key[PROTO_DEVICE_MAX],
		 struct rebind *ret_rebind)
{
	struct store_view found, value;
	size_t at = 0;

	if (!store_seek(store, STORE_REBIND, key, 0, &found, &value))
		return false;
	store_key_set(key, &found);
	if (store_view_text(&found, &at, device_key, PROTO_DEVICE_MAX) && at == found.len)
		return rebind_read(store, &value, ret_rebind);
	store_fail(store, STORE_REBIND, "a key is malformed");
	return false;
}

bool rebind_is_renumbered(const struct rebind *rebind)
{
	return rebind->promised[0] && rebind->uverbs[0] &&
	       strcmp(rebind->promised, rebind->uverbs) != 0;
}

static size_t put_text(char *buf, size_t len, const char *text)
{
	memcpy(buf + len, text, strlen(text) + 1);
	return len + strlen(text) + 1;
}

void rebind_put(struct store *store, const char *device_key, const struct rebind *rebind)
{
	struct store_key key = rebind_key(device_key);
	uint64_t id = htobe64(rebind->id);
	size_t len = REBIND_HEAD;
	char buf[REBIND_BYTES];

	if (!rebind->is_due && !rebind_is_renumbered(rebind)) {
		rebind_delete(store, device_key);
		return;
	}
	memcpy(buf, &id, sizeof(id));
	buf[sizeof(id)] = rebind->is_due;
	len = put_text(buf, len, rebind->netdev);
	len = put_text(buf, len, rebind->rdma);
	len = put_text(buf, len, rebind->promised);
	len = put_text(buf, len, rebind->uverbs);
	store_put(store, STORE_REBIND, &key, buf, len);
}

void rebind_delete(struct store *store, const char *device_key)
{
	struct store_key key = rebind_key(device_key);
	struct store_view value;

	if (store_get(store, STORE_REBIND, &key, &value))
		store_delete(store, STORE_REBIND, &key);
}
