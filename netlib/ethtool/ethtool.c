/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generic netlink: the family's id is asked for by its name, once a boot. All of a kind (rings,
 * channels, …) is one message of flat attributes; a set message holds those that differ and nothing
 * else, for a driver refuses some by their presence.
 */
#include "ethtool/ethtool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "base/cleanup.h"
#include "wire/wire.h"

enum {
	HEADER = 1,        /* ETHTOOL_A_RINGS_HEADER, …: the same of all kinds */
	FEATURE_BITS = 64, /* of netdev_features_t */
	ATTRS = 32,        /* more than any of our kinds has; later ones are not ours */
	FLAGS = ETHTOOL_FLAG_COMPACT_BITSETS | ETHTOOL_FLAG_OMIT_REPLY, /* beside the ack */
};

struct ethtool {
	struct wire *wire;
	uint16_t family;
};

static const struct kind {
	const char *name;
	uint8_t get, set; /* ETHTOOL_MSG_* */
	int first, last;  /* enum ethtool_number */
	bool is_bitset;   /* one attribute, of up to 32 bits */
} kinds[] = {
	{ "features", ETHTOOL_MSG_FEATURES_GET, ETHTOOL_MSG_FEATURES_SET, ETHTOOL_FEATURES,
	  ETHTOOL_FEATURES, false },
	{ "rings", ETHTOOL_MSG_RINGS_GET, ETHTOOL_MSG_RINGS_SET, RINGS_RX, RINGS_TX_PUSH, false },
	{ "channels", ETHTOOL_MSG_CHANNELS_GET, ETHTOOL_MSG_CHANNELS_SET, CHANNELS_RX,
	  CHANNELS_COMBINED, false },
	{ "coalescing", ETHTOOL_MSG_COALESCE_GET, ETHTOOL_MSG_COALESCE_SET, COALESCE_FIRST,
	  COALESCE_LAST, false },
	{ "pause", ETHTOOL_MSG_PAUSE_GET, ETHTOOL_MSG_PAUSE_SET, PAUSE_AUTONEG, PAUSE_TX, false },
	{ "private flags", ETHTOOL_MSG_PRIVFLAGS_GET, ETHTOOL_MSG_PRIVFLAGS_SET, PRIVATE_FLAGS,
	  PRIVATE_FLAGS, true },
	{ "message level", ETHTOOL_MSG_DEBUG_GET, ETHTOOL_MSG_DEBUG_SET, MESSAGE_LEVEL,
	  MESSAGE_LEVEL, true },
};

/* The attribute that the first number of a kind has; the others follow. */
static int first_attr(const struct kind *kind)
{
	switch (kind->first) {
	case RINGS_RX:
		return ETHTOOL_A_RINGS_RX;
	case CHANNELS_RX:
		return ETHTOOL_A_CHANNELS_RX_COUNT;
	default: /* behind the header */
		return HEADER + 1;
	}
}

/* --- the family --- */

static int take_family(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct nlattr *attrs[CTRL_ATTR_MAX + 1];

	if (nlmsg_parse(header, GENL_HDRLEN, attrs, CTRL_ATTR_MAX, NULL) < 0 ||
	    !attrs[CTRL_ATTR_FAMILY_ID] ||
	    nla_len(attrs[CTRL_ATTR_FAMILY_ID]) < (int)sizeof(uint16_t))
		return err_set(err, EBADMSG, ERR_KERNEL, "find ethtool netlink: malformed answer");
	*(uint16_t *)arg = nla_get_u16(attrs[CTRL_ATTR_FAMILY_ID]);
	return 1;
}

static int find_family(struct ethtool *ethtool, struct err *err)
{
	const struct genlmsghdr body = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 };
	struct nl_msg *msg = wire_message(GENL_ID_CTRL, 0, &body, sizeof(body));

	if (!msg || nla_put_string(msg, CTRL_ATTR_FAMILY_NAME, ETHTOOL_GENL_NAME) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	return wire_query(ethtool->wire, msg, take_family, &ethtool->family, NULL, err,
			  "find ethtool netlink");
}

int ethtool_open(uint16_t family, struct ethtool **ret_ethtool, struct err *err)
{
	struct ethtool *ethtool = calloc(1, sizeof(*ethtool));
	int r;

	if (!ethtool)
		return err_nomem(err);
	ethtool->family = family;
	r = wire_open(NETLINK_GENERIC, &ethtool->wire, err);
	if (r == 0 && !family)
		r = find_family(ethtool, err);
	if (r < 0) {
		ethtool_close(ethtool);
		return r;
	}
	*ret_ethtool = ethtool;
	return 0;
}

void ethtool_close(struct ethtool *ethtool)
{
	if (!ethtool)
		return;
	wire_close(ethtool->wire);
	free(ethtool);
}

/* --- reading --- */

/* NULL: out of memory. */
static struct nl_msg *device_message(const struct ethtool *ethtool, uint8_t command, int flags,
				     int ifindex)
{
	const struct genlmsghdr body = { .cmd = command, .version = ETHTOOL_GENL_VERSION };
	struct nl_msg *msg = wire_message(ethtool->family, flags, &body, sizeof(body));
	struct nlattr *header = msg ? nla_nest_start(msg, HEADER) : NULL;

	if (!header || nla_put_u32(msg, ETHTOOL_A_HEADER_DEV_INDEX, (uint32_t)ifindex) < 0 ||
	    nla_put_u32(msg, ETHTOOL_A_HEADER_FLAGS, FLAGS) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	(void)nla_nest_end(msg, header);
	return msg;
}

/* The bits that are set; false: it is none, or not a compact one. */
static bool get_bits(struct nlattr *bitset, uint64_t *ret_bits)
{
	struct nlattr *attrs[ETHTOOL_A_BITSET_MAX + 1], *value;
	uint32_t words[FEATURE_BITS / 32] = { 0 };

	if (!bitset || nla_parse_nested(attrs, ETHTOOL_A_BITSET_MAX, bitset, NULL) < 0)
		return false;
	value = attrs[ETHTOOL_A_BITSET_VALUE];
	if (!value)
		return false;
	(void)nla_memcpy(words, value, sizeof(words));
	*ret_bits = words[0] | (uint64_t)words[1] << 32;
	return true;
}

struct reading {
	const struct kind *kind;
	struct ethtool_settings *settings;
	uint64_t changeable; /* features */
};

static void read_features(struct reading *reading, struct nlattr *attrs[])
{
	uint64_t changeable, wanted;

	if (!get_bits(attrs[ETHTOOL_A_FEATURES_HW], &changeable) ||
	    !get_bits(attrs[ETHTOOL_A_FEATURES_WANTED], &wanted))
		return;
	reading->changeable = changeable;
	reading->settings->features = wanted & changeable;
	reading->settings->known |= ETHTOOL_BIT(ETHTOOL_FEATURES);
}

static bool get_number(const struct kind *kind, struct nlattr *attr, uint32_t *ret_number)
{
	uint64_t bits;

	if (!attr)
		return false;
	if (kind->is_bitset) {
		if (!get_bits(attr, &bits))
			return false;
		*ret_number = (uint32_t)bits;
		return true;
	}
	if (nla_len(attr) == sizeof(uint8_t))
		*ret_number = nla_get_u8(attr);
	else if (nla_len(attr) == sizeof(uint32_t))
		*ret_number = nla_get_u32(attr);
	else
		return false;
	return true;
}

static int take_answer(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct reading *reading = arg;
	const struct kind *kind = reading->kind;
	struct ethtool_settings *settings = reading->settings;
	struct nlattr *attrs[ATTRS];

	if (nlmsg_parse(header, GENL_HDRLEN, attrs, ATTRS - 1, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read %s: malformed answer", kind->name);
	if (kind->first == ETHTOOL_FEATURES) {
		read_features(reading, attrs);
		return 1;
	}
	for (int i = kind->first; i <= kind->last; i++) {
		struct nlattr *attr = attrs[first_attr(kind) + i - kind->first];

		if (get_number(kind, attr, &settings->numbers[i]))
			settings->known |= ETHTOOL_BIT(i);
	}
	return 1;
}

/* What the driver does not have is not known, and no error. */
static int read_kind(struct ethtool *ethtool, int ifindex, struct reading *reading, struct err *err)
{
	struct nl_msg *msg = device_message(ethtool, reading->kind->get, 0, ifindex);
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_query(ethtool->wire, msg, take_answer, reading, NULL, err, "read %s of device %d",
		       reading->kind->name, ifindex);
	return r == -EOPNOTSUPP ? 0 : r;
}

static int read_kinds(struct ethtool *ethtool, int ifindex, size_t count,
		      struct ethtool_settings *ret_settings, struct err *err)
{
	struct ethtool_settings settings = { .family = ethtool->family };
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct reading reading = { &kinds[i], &settings, 0 };

		r = read_kind(ethtool, ifindex, &reading, err);
	}
	if (r == 0)
		*ret_settings = settings;
	return r;
}

int ethtool_read_features(struct ethtool *ethtool, int ifindex,
			  struct ethtool_settings *ret_settings, struct err *err)
{
	return read_kinds(ethtool, ifindex, 1, ret_settings, err);
}

int ethtool_read(struct ethtool *ethtool, int ifindex, struct ethtool_settings *ret_settings,
		 struct err *err)
{
	return read_kinds(ethtool, ifindex, ARRAY_SIZE(kinds), ret_settings, err);
}

/* --- giving back --- */

static int put_bits(struct nl_msg *msg, int attr, uint32_t size, uint64_t bits, uint64_t mask)
{
	const uint32_t value_words[] = { (uint32_t)bits, (uint32_t)(bits >> 32) };
	const uint32_t mask_words[] = { (uint32_t)mask, (uint32_t)(mask >> 32) };
	struct nlattr *bitset = nla_nest_start(msg, attr);
	int len = (int)(size / 8);

	if (!bitset || nla_put_u32(msg, ETHTOOL_A_BITSET_SIZE, size) < 0 ||
	    nla_put(msg, ETHTOOL_A_BITSET_VALUE, len, value_words) < 0 ||
	    nla_put(msg, ETHTOOL_A_BITSET_MASK, len, mask_words) < 0)
		return -ENOMEM;
	(void)nla_nest_end(msg, bitset);
	return 0;
}

static bool is_u8(int number)
{
	const int adaptive =
		COALESCE_FIRST + ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX - ETHTOOL_A_COALESCE_RX_USECS;

	return number == RINGS_TCP_DATA_SPLIT || number == RINGS_TX_PUSH ||
	       (number >= adaptive && number <= adaptive + 1) ||
	       (number >= COALESCE_LAST - 1 && number <= PAUSE_TX);
}

/* Those of a kind that differ. *@ret_any: there are such. */
static int put_differences(struct nl_msg *msg, const struct reading *now,
			   const struct ethtool_settings *was, bool *ret_any)
{
	const struct kind *kind = now->kind;

	*ret_any = false;
	for (int i = kind->first; i <= kind->last; i++) {
		int attr = first_attr(kind) + i - kind->first, r;

		if (ethtool_setting_equal(was, now->settings, i))
			continue;
		*ret_any = true;
		if (i == ETHTOOL_FEATURES)
			r = put_bits(msg, ETHTOOL_A_FEATURES_WANTED, FEATURE_BITS, was->features,
				     (was->features ^ now->settings->features) & now->changeable);
		else if (kind->is_bitset)
			r = put_bits(msg, attr, 32, was->numbers[i],
				     was->numbers[i] ^ now->settings->numbers[i]);
		else if (is_u8(i))
			r = nla_put_u8(msg, attr, (uint8_t)was->numbers[i]);
		else
			r = nla_put_u32(msg, attr, was->numbers[i]);
		if (r < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool knows(const struct ethtool_settings *settings, const struct kind *kind)
{
	for (int i = kind->first; i <= kind->last; i++) {
		if (settings->known & ETHTOOL_BIT(i))
			return true;
	}
	return false;
}

static int restore_kind(struct ethtool *ethtool, int ifindex, const struct kind *kind,
			const struct ethtool_settings *was, struct err *err)
{
	struct ethtool_settings settings = { 0 };
	struct reading now = { kind, &settings, 0 };
	struct nl_msg *msg;
	bool any;
	int r = read_kind(ethtool, ifindex, &now, err);

	if (r < 0)
		return r;
	msg = device_message(ethtool, kind->set, NLM_F_ACK, ifindex);
	if (!msg || put_differences(msg, &now, was, &any) < 0) {
		nlmsg_free(msg);
		return err_nomem(err);
	}
	if (any)
		return wire_request(ethtool->wire, msg, err, "restore %s of device %d", kind->name,
				    ifindex);
	nlmsg_free(msg);
	return 0;
}

int ethtool_restore(struct ethtool *ethtool, int ifindex, const struct ethtool_settings *was,
		    struct err *err)
{
	struct err later;
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int r = 0;

		if (knows(was, &kinds[i]))
			r = restore_kind(ethtool, ifindex, &kinds[i], was, failed ? &later : err);
		if (r < 0 && !failed)
			failed = r;
	}
	return failed;
}
