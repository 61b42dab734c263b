/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of this field as text: MAC, IP, CIDR, PCI address, GUID, P_Key, names.
 * Every parser takes the whole string or returns -EINVAL, and writes its result only on success.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	MAC_MAX = 20, /* an IPoIB hardware address (linux/if_infiniband.h INFINIBAND_ALEN) */
	MAC_TEXT = 3 * MAC_MAX,
	IP_TEXT = 46,      /* INET6_ADDRSTRLEN */
	CIDR_TEXT = 50,    /* + "/128" */
	PCI_TEXT = 13,     /* "0000:1a:00.1" + NUL */
	GUID_TEXT = 24,    /* "02:00:00:00:00:00:00:01" + NUL */
	PKEY_TEXT = 7,     /* "0x8001" + NUL */
	IFNAME_MAX = 15,   /* IFNAMSIZ - 1 */
	ALTNAME_MAX = 127, /* ALTIFNAMSIZ - 1 */
};

/* A hardware address: 6 bytes for Ethernet, 20 for IPoIB; len 0 = none. */
struct mac {
	uint8_t len;
	uint8_t bytes[MAC_MAX];
};

int mac_parse(const char *text, struct mac *ret_mac);
/* Lower case, colons; "" for none. Returns @buf. */
const char *mac_format(const struct mac *mac, char buf[MAC_TEXT]);
bool mac_equal(const struct mac *a, const struct mac *b);
/* The port GUID that an IPoIB address ends with (RFC 4391, section 9.1.1); 0 for any other. */
uint64_t mac_guid(const struct mac *mac);
/* An Ethernet unicast address that is not all zero: what a device can be given. */
bool mac_is_usable(const struct mac *mac);

/* An address of either family, in network byte order; v4 in the first four bytes. */
struct ip {
	uint8_t family; /* AF_INET, AF_INET6; 0 = none */
	uint8_t bytes[16];
};

struct cidr {
	struct ip ip;
	uint8_t plen; /* prefix length, 0..32 or 0..128 */
};

int ip_parse(const char *text, struct ip *ret_ip);
const char *ip_format(const struct ip *ip, char buf[IP_TEXT]);
int ip_compare(const struct ip *a, const struct ip *b); /* by family, then bytes: <0, 0, >0 */
int ip_bits(const struct ip *ip);                       /* 32 or 128 */

/* "10.0.0.5/24" keeps its host bits; a bare address gets the full length. */
int cidr_parse(const char *text, struct cidr *ret_cidr);
const char *cidr_format(const struct cidr *cidr, char buf[CIDR_TEXT]);
struct ip cidr_network(const struct cidr *cidr); /* the address with its host bits cleared */
bool cidr_contains(const struct cidr *cidr, const struct ip *ip);
/*
 * Why no device of a pod can have an address of @cidr as its own: what it has in common with
 * 0.0.0.0, 127/8, 224/4, 255.255.255.255, ::, ::1 or ff00::/8, in a word ("loopback"); else NULL.
 */
const char *cidr_unusable(const struct cidr *cidr);
const char *ip_unusable(const struct ip *ip);
bool cidr_overlaps(const struct cidr *a, const struct cidr *b);

/*
 * Address arithmetic inside a prefix. ip_offset: base + @index (wraps inside the family).
 * ip_index: how far @ip is above @base; false if it is below, of another family, or too far for
 * 64 bits.
 */
struct ip ip_offset(const struct ip *base, uint64_t index);
bool ip_index(const struct ip *base, const struct ip *ip, uint64_t *ret_index);

struct pci_addr {
	uint32_t domain; /* VMD and Hyper-V domains have more than 16 bits */
	uint8_t bus, device, function;
};

int pci_parse(const char *text, struct pci_addr *ret_addr);
const char *pci_format(const struct pci_addr *addr, char buf[PCI_TEXT + 4]);

/* An EUI-64 as eight colon-separated bytes, either case; all-zero and all-ones are refused. */
int guid_parse(const char *text, uint64_t *ret_guid);
const char *guid_format(uint64_t guid, char buf[GUID_TEXT]);
/* Not zero, all ones or multicast (EUI-64: the lowest bit of the first byte): a port can have it.
 */
bool guid_is_usable(uint64_t guid);

/* "0x8001": 0x0001..0xffff with a partition in the low 15 bits; the top one is full membership. */
int pkey_parse(const char *text, uint16_t *ret_pkey);
const char *pkey_format(uint16_t pkey, char buf[PKEY_TEXT]);

/* 1..15 bytes, not "." or "..", no '/', ':' or white space (dev_valid_name() in net/core/dev.c). */
bool ifname_is_valid(const char *name);
/*
 * 1..63 letters, digits, '_', '.' and '-' (IB_DEVICE_NAME_MAX; the kernel would take '%' for a
 * pattern), not "." or "..".
 */
bool rdma_name_is_valid(const char *name);
/* ^[a-zA-Z0-9][a-zA-Z0-9_.-]*$, as the CNI specification has container IDs and network names. */
bool id_is_valid(const char *id);
