/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Colon-separated two-digit bytes; returns their number (at most @max) or -EINVAL. */
static int parse_colon_bytes(const char *text, uint8_t *bytes, int max)
{
	int n = 0;

	for (;;) {
		int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0 || n == max)
			return -EINVAL;
		bytes[n++] = (uint8_t)(high << 4 | low);
		text += 2;
		if (*text == '\0')
			return n;
		if (*text++ != ':')
			return -EINVAL;
	}
}

int mac_parse(const char *text, struct mac *ret_mac)
{
	struct mac mac = { 0 };
	int n = parse_colon_bytes(text, mac.bytes, MAC_MAX);

	if (n != 6 && n != MAC_MAX)
		return -EINVAL;
	mac.len = (uint8_t)n;
	*ret_mac = mac;
	return 0;
}

const char *mac_format(const struct mac *mac, char buf[MAC_TEXT])
{
	buf[0] = '\0';
	for (int i = 0; i < mac->len; i++)
		(void)snprintf(buf + 3 * i, MAC_TEXT - 3 * (size_t)i, "%02x%s", mac->bytes[i],
			       i + 1 < mac->len ? ":" : "");
	return buf;
}

bool mac_equal(const struct mac *a, const struct mac *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

uint64_t mac_guid(const struct mac *mac)
{
	uint64_t guid = 0;

	for (int i = MAC_MAX - 8; mac->len == MAC_MAX && i < MAC_MAX; i++)
		guid = guid << 8 | mac->bytes[i];
	return guid;
}

bool mac_is_usable(const struct mac *mac)
{
	static const uint8_t zero[6];

	return mac->len == 6 && !(mac->bytes[0] & 1) && memcmp(mac->bytes, zero, 6) != 0;
}

int ip_parse(const char *text, struct ip *ret_ip)
{
	struct ip ip = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	if (inet_pton(ip.family, text, ip.bytes) != 1)
		return -EINVAL;
	*ret_ip = ip;
	return 0;
}

const char *ip_format(const struct ip *ip, char buf[IP_TEXT])
{
	if (!inet_ntop(ip->family, ip->bytes, buf, IP_TEXT))
		buf[0] = '\0';
	return buf;
}

int ip_compare(const struct ip *a, const struct ip *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int ip_bits(const struct ip *ip)
{
	return ip->family == AF_INET6 ? 128 : 32;
}

/* A decimal number without sign, space or leading zero, at most @max. */
static int parse_decimal(const char *text, long max, long *ret_value)
{
	char *end;
	long value;

	if (!isdigit((unsigned char)text[0]) || (text[0] == '0' && text[1] != '\0'))
		return -EINVAL;
	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || *end || value > max)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int cidr_parse(const char *text, struct cidr *ret_cidr)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char addr[IP_TEXT];
	struct cidr cidr;
	long plen;

	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (ip_parse(addr, &cidr.ip) < 0)
		return -EINVAL;
	plen = ip_bits(&cidr.ip);
	if (slash && parse_decimal(slash + 1, plen, &plen) < 0)
		return -EINVAL;
	cidr.plen = (uint8_t)plen;
	*ret_cidr = cidr;
	return 0;
}

const char *cidr_format(const struct cidr *cidr, char buf[CIDR_TEXT])
{
	char ip[IP_TEXT];

	(void)snprintf(buf, CIDR_TEXT, "%s/%u", ip_format(&cidr->ip, ip), cidr->plen);
	return buf;
}

struct ip cidr_network(const struct cidr *cidr)
{
	struct ip net = cidr->ip;

	for (int bit = cidr->plen; bit < ip_bits(&net); bit++)
		net.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return net;
}

bool cidr_contains(const struct cidr *cidr, const struct ip *ip)
{
	struct cidr other = { .ip = *ip, .plen = cidr->plen };
	struct ip mine, its;

	if (cidr->ip.family != ip->family)
		return false;
	mine = cidr_network(cidr);
	its = cidr_network(&other);
	return ip_compare(&mine, &its) == 0;
}

bool cidr_overlaps(const struct cidr *a, const struct cidr *b)
{
	return a->plen <= b->plen ? cidr_contains(a, &b->ip) : cidr_contains(b, &a->ip);
}

static const struct {
	struct cidr cidr;
	const char *what;
} unusable[] = {
	{ { { AF_INET, { 0 } }, 32 }, "unspecified" },
	{ { { AF_INET, { 127 } }, 8 }, "loopback" },
	{ { { AF_INET, { 224 } }, 4 }, "multicast" },
	{ { { AF_INET, { 255, 255, 255, 255 } }, 32 }, "broadcast" },
	{ { { AF_INET6, { 0 } }, 128 }, "unspecified" },
	{ { { AF_INET6, { [15] = 1 } }, 128 }, "loopback" },
	{ { { AF_INET6, { 0xff } }, 8 }, "multicast" },
};

const char *cidr_unusable(const struct cidr *cidr)
{
	for (size_t i = 0; i < ARRAY_SIZE(unusable); i++) {
		if (cidr_overlaps(&unusable[i].cidr, cidr))
			return unusable[i].what;
	}
	return NULL;
}

const char *ip_unusable(const struct ip *ip)
{
	const struct cidr cidr = { *ip, (uint8_t)ip_bits(ip) };

	return cidr_unusable(&cidr);
}

struct ip ip_offset(const struct ip *base, uint64_t index)
{
	struct ip ip = *base;
	unsigned int sum = 0;

	for (int i = ip_bits(&ip) / 8 - 1; i >= 0; i--, index >>= 8) {
		sum = (sum >> 8) + ip.bytes[i] + (uint8_t)index;
		ip.bytes[i] = (uint8_t)sum;
	}
	return ip;
}

bool ip_index(const struct ip *base, const struct ip *ip, uint64_t *ret_index)
{
	int n = ip_bits(base) / 8, borrow = 0;
	uint64_t index = 0;

	if (ip_compare(base, ip) > 0 || base->family != ip->family)
		return false;
	for (int i = n - 1; i >= 0; i--) {
		int diff = ip->bytes[i] - base->bytes[i] - borrow;

		borrow = diff < 0;
		if (n - 1 - i < 8)
			index |= (uint64_t)(uint8_t)diff << 8 * (n - 1 - i);
		else if ((uint8_t)diff)
			return false;
	}
	*ret_index = index;
	return true;
}

/* @min to @max digits, without a zero before more than @min, and @end; returns what is behind. */
static const char *parse_hex(const char *text, int min, int max, char end, uint32_t *ret_value)
{
	uint32_t value = 0;
	int n = 0;

	for (; n < max && hex_digit(text[n]) >= 0; n++)
		value = value << 4 | (uint32_t)hex_digit(text[n]);
	if (n < min || (n > min && text[0] == '0') || text[n] != end)
		return NULL;
	*ret_value = value;
	return text + n + 1;
}

int pci_parse(const char *text, struct pci_addr *ret_addr)
{
	uint32_t domain, bus, device, function;

	if (!(text = parse_hex(text, 4, 8, ':', &domain)) ||
	    !(text = parse_hex(text, 2, 2, ':', &bus)) ||
	    !(text = parse_hex(text, 2, 2, '.', &device)) ||
	    !parse_hex(text, 1, 1, '\0', &function) || device > 31 || function > 7)
		return -EINVAL;
	*ret_addr = (struct pci_addr) { domain, (uint8_t)bus, (uint8_t)device, (uint8_t)function };
	return 0;
}

const char *pci_format(const struct pci_addr *addr, char buf[PCI_TEXT + 4])
{
	(void)snprintf(buf, PCI_TEXT + 4, "%04x:%02x:%02x.%x", addr->domain, addr->bus,
		       addr->device & 31, addr->function & 7);
	return buf;
}

int guid_parse(const char *text, uint64_t *ret_guid)
{
	uint64_t guid = 0;
	uint8_t bytes[8];

	if (parse_colon_bytes(text, bytes, 8) != 8)
		return -EINVAL;
	for (int i = 0; i < 8; i++)
		guid = guid << 8 | bytes[i];
	if (guid == 0 || guid == UINT64_MAX)
		return -EINVAL;
	*ret_guid = guid;
	return 0;
}

const char *guid_format(uint64_t guid, char buf[GUID_TEXT])
{
	for (int i = 0; i < 8; i++)
		(void)snprintf(buf + 3 * i, GUID_TEXT - 3 * (size_t)i, "%02x%s",
			       (unsigned int)(guid >> (56 - 8 * i) & 0xff), i < 7 ? ":" : "");
	return buf;
}

bool guid_is_usable(uint64_t guid)
{
	return guid != 0 && guid != UINT64_MAX && !(guid >> 56 & 1);
}

int pkey_parse(const char *text, uint16_t *ret_pkey)
{
	size_t digits = strlen(text) < 3 ? 0 : strspn(text + 2, "0123456789abcdefABCDEF");
	unsigned long value;

	if (strncasecmp(text, "0x", 2) != 0 || digits < 1 || digits > 4 || text[2 + digits])
		return -EINVAL;
	value = strtoul(text, NULL, 16);
	if (!(value & 0x7fff))
		return -EINVAL;
	*ret_pkey = (uint16_t)value;
	return 0;
}

const char *pkey_format(uint16_t pkey, char buf[PKEY_TEXT])
{
	(void)snprintf(buf, PKEY_TEXT, "0x%04x", pkey);
	return buf;
}

bool rdma_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > 63 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("_.-", *name))
			return false;
	}
	return true;
}

bool ifname_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > IFNAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (*name == '/' || *name == ':' || isspace((unsigned char)*name))
			return false;
	}
	return true;
}

bool id_is_valid(const char *id)
{
	if (!isalnum((unsigned char)*id))
		return false;
	for (; *id; id++) {
		if (!isalnum((unsigned char)*id) && !strchr("_.-", *id))
			return false;
	}
	return true;
}
