/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rest is counted in the ledger's own time, and an index that is asked for by name does not wait
 * for it: whoever names an address knows its peers.
 */
#include "ipamd/lease.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

void lease_encode(const struct lease *lease, uint8_t buf[LEASE_BYTES])
{
	bool rests = lease->state == LEASE_RESTING;
	uint64_t number = htobe64(rests ? (uint64_t)lease->since_ms : lease->holder);

	buf[0] = (uint8_t)lease->state;
	memcpy(buf + 1, &number, sizeof(number));
}

int lease_decode(const uint8_t *buf, size_t len, struct lease *ret_lease)
{
	struct lease lease = { 0 };
	uint64_t number;

	if (len != LEASE_BYTES || buf[0] == LEASE_UNUSED || buf[0] > LEASE_CLAIMED)
		return -EINVAL;
	memcpy(&number, buf + 1, sizeof(number));
	number = be64toh(number);
	lease.state = (enum lease_state)buf[0];
	if (lease.state == LEASE_RESTING)
		lease.since_ms = (int64_t)number;
	else
		lease.holder = number;
	*ret_lease = lease;
	return 0;
}

int64_t lease_rest_left_ms(int64_t since_ms, int64_t cooldown_ms, int64_t now_ms)
{
	int64_t left = since_ms + cooldown_ms - now_ms;

	return left > 0 ? left : 0;
}

int lease_choose(const struct lease_offer *offer, int64_t cooldown_ms, int64_t now_ms,
		 uint32_t *ret_index, struct err *err)
{
	int64_t left = 0;

	if (offer->has_oldest)
		left = lease_rest_left_ms(offer->oldest_since_ms, cooldown_ms, now_ms);
	if (offer->has_oldest && left == 0) {
		*ret_index = offer->oldest;
		return 0;
	}
	if (offer->has_unused) {
		*ret_index = offer->unused;
		return 0;
	}
	if (!offer->has_oldest)
		return err_set(err, EAGAIN, ERR_AGAIN, "no address is free: all are held");
	return err_set(err, EAGAIN, ERR_AGAIN,
		       "no address is free: the next one has rested in %lld s",
		       (long long)(left + 999) / 1000);
}

int lease_requested(const struct rail *rail, const struct cidr *ips, size_t count,
		    uint32_t *ret_index, struct err *err)
{
	char text[IP_TEXT], first[IP_TEXT];
	uint64_t index = 0, chosen = 0;

	for (size_t i = 0; i < count; i++) {
		(void)ip_format(&ips[i].ip, text);
		if (!rail_index_of(rail, &ips[i].ip, &index))
			return err_set(err, EINVAL, ERR_VALUE,
				       "requested address %s: is not in rail \"%s\"", text,
				       rail->name);
		if (rail_refusal(rail, index))
			return err_set(err, EINVAL, ERR_VALUE,
				       "requested address %s: %s rail \"%s\"", text,
				       rail_refusal(rail, index), rail->name);
		for (size_t k = 0; k < i; k++) {
			if (ips[k].ip.family == ips[i].ip.family)
				return err_set(err, EINVAL, ERR_VALUE,
					       "requested address %s: a rail gives one address of "
					       "each family",
					       text);
		}
		if (i > 0 && index != chosen)
			return err_set(err, EINVAL, ERR_VALUE,
				       "requested addresses %s and %s: have different host indexes "
				       "(%llu and %llu) on rail \"%s\"",
				       ip_format(&ips[0].ip, first), text,
				       (unsigned long long)chosen, (unsigned long long)index,
				       rail->name);
		chosen = index;
	}
	*ret_index = (uint32_t)chosen;
	return 0;
}
