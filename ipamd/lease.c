/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rest is counted in the ledger's own time. It keeps an index from other pods than the one that had
 * it, for their peers may have cached whose it was. Whoever names an address may know its peers;
 * for whom that is believed the pool says ("restFor").
 */
#include "ipamd/lease.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* State, and the holder or the moment; then, of what is held or claimed, the moment before; then
 * the pod; then its namespace, if that is known. */
size_t lease_encode(const struct lease *lease, uint8_t buf[LEASE_BYTES_MAX])
{
	bool rests = lease->state == LEASE_RESTING;
	uint64_t since = htobe64((uint64_t)lease->since_ms), holder = htobe64(lease->holder);
	size_t len = LEASE_BYTES_MIN, pod_len = strlen(lease->pod) + 1;

	buf[0] = (uint8_t)lease->state;
	memcpy(buf + 1, rests ? &since : &holder, sizeof(since));
	if (!rests) {
		memcpy(buf + len, &since, sizeof(since));
		len += sizeof(since);
	}
	memcpy(buf + len, lease->pod, pod_len);
	len += pod_len;
	if (!lease->has_namespace)
		return len;
	memcpy(buf + len, lease->namespace, strlen(lease->namespace) + 1);
	return len + strlen(lease->namespace) + 1;
}

static int64_t take_number(const uint8_t **at)
{
	uint64_t number;

	memcpy(&number, *at, sizeof(number));
	*at += sizeof(number);
	return (int64_t)be64toh(number);
}

/* A text with its NUL, into @buf of @size bytes. */
static bool take_text(const uint8_t **at, const uint8_t *end, char *buf, size_t size)
{
	size_t len = strnlen((const char *)*at, (size_t)(end - *at));

	if (*at + len == end || len >= size)
		return false;
	memcpy(buf, *at, len + 1);
	*at += len + 1;
	return true;
}

int lease_decode(const uint8_t *buf, size_t len, struct lease *ret_lease)
{
	struct lease lease = { .since_ms = LEASE_UNKNOWN };
	const uint8_t *at = buf + 1, *end = buf + len;
	int64_t number;

	if (len < LEASE_BYTES_MIN || buf[0] == LEASE_UNUSED || buf[0] > LEASE_CLAIMED)
		return -EINVAL;
	lease.state = (enum lease_state)buf[0];
	number = take_number(&at);
	if (lease.state == LEASE_RESTING) {
		lease.since_ms = number;
	} else {
		lease.holder = (uint64_t)number;
		if (at < end && (size_t)(end - at) <= sizeof(number))
			return -EINVAL;
		if (at < end)
			lease.since_ms = take_number(&at);
	}
	if (at < end && !take_text(&at, end, lease.pod, sizeof(lease.pod)))
		return -EINVAL;
	lease.has_namespace = at < end;
	if (at < end && !take_text(&at, end, lease.namespace, sizeof(lease.namespace)))
		return -EINVAL;
	if (at < end)
		return -EINVAL;
	*ret_lease = lease;
	return 0;
}

const char *lease_pod(const struct pod_ref *pod, char buf[LEASE_POD_MAX + 1])
{
	bool has_name = pod->namespace[0] && pod->name[0];
	int len = 0;

	buf[0] = '\0';
	if (pod->uid[0])
		len = snprintf(buf, LEASE_POD_MAX + 1, "%s", pod->uid);
	else if (has_name)
		len = snprintf(buf, LEASE_POD_MAX + 1, "%s/%s", pod->namespace, pod->name);
	if (len > LEASE_POD_MAX)
		buf[0] = '\0';
	return buf;
}

void lease_set_pod(struct lease *lease, const struct pod_ref *pod)
{
	(void)lease_pod(pod, lease->pod);
	lease->has_namespace = strlen(pod->namespace) <= LEASE_NAMESPACE_MAX;
	(void)snprintf(lease->namespace, sizeof(lease->namespace), "%s",
		       lease->has_namespace ? pod->namespace : "");
}

int64_t lease_rest_left_ms(int64_t since_ms, int64_t cooldown_ms, int64_t now_ms)
{
	int64_t left = since_ms + cooldown_ms - now_ms;

	return since_ms != LEASE_NEVER && left > 0 ? left : 0;
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
