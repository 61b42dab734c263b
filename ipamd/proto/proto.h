/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words that plugin and daemon share: an attachment, its parts, and their JSON form, the same
 * on the socket and in the store (docs/architecture.md, "Records" and "The socket").
 *
 * Decoding is strict about types and values and lenient about unknown members, so that an older
 * program can read a newer record. Structs own what they point to; *_free() takes half-built ones.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "base/settings.h"
#include "base/text.h"
#include "base/vf.h"

enum {
	PROTO_LINE_MAX = 64 * 1024, /* one request or answer, with its newline */
	PROTO_IPS_MAX = 16,         /* addresses of one attachment */
	PROTO_ROUTES_MAX = 32,
	PROTO_ALTNAMES_MAX = 16,
	PROTO_KEY_MAX = 490,       /* network + containerID + ifname: LMDB keys end at 511 bytes */
	PROTO_DEVICE_MAX = 128,    /* "net:NAME", "pci:ADDRESS", "aux:NAME" */
	PROTO_POOL_MAX = 63,       /* a pool's or rail's name */
	PROTO_RAILS_MAX = 32,      /* of a pool */
	PROTO_NAMESPACE_MAX = 63,  /* a Kubernetes namespace's */
	PROTO_STICKY_MAX = 253,    /* an identity's name */
	PROTO_WAIT_MS = 10 * 1000, /* how long a verb waits for its turn at the daemon */
	PROTO_ADD_MS = 60 * 1000,  /* how long an ADD may take in all */
	PROTO_CONNECT_MS = 1000,   /* after this the daemon counts as unreachable */
};

#define PROTO_DIRECTORY "/run/spur"
#define PROTO_SOCKET    PROTO_DIRECTORY "/ipamd.sock"
/* Set for a plugin that the daemon has started: it is asked again, and leaves nothing in the spool.
 */
#define PROTO_UNDO_ENV "SPUR_UNDO"

/* Which attachment: the key of the CNI specification. Strings are borrowed. */
struct attachment_key {
	const char *network;
	const char *container_id;
	const char *ifname;
};

struct route {
	struct cidr dst;
	struct ip gw; /* family 0: on link */
	uint32_t mtu; /* 0: not set; likewise below */
	uint32_t advmss;
	uint32_t priority;
	uint32_t table; /* 0: main */
	int16_t scope;  /* -1: not set */
};

struct address {
	struct cidr cidr;
	struct ip gateway; /* family 0: none */
};

/* What an IPAM gives: addresses and routes. Fixed arrays: an attachment is small. */
struct ip_config {
	struct address ips[PROTO_IPS_MAX];
	size_t ip_count;
	struct route routes[PROTO_ROUTES_MAX];
	size_t route_count;
};

/* A network namespace. Path is "" when unknown, nsid -1 when the host has none for it. */
struct netns_ref {
	char *path;
	uint64_t cookie; /* SO_NETNS_COOKIE; 0 = unknown */
	int32_t nsid;
	bool lost; /* told with a record, no part of it: the id has gone since
		    */
};

struct pod_ref {
	char *namespace; /* "" where the runtime gave none */
	char *name;
	char *uid;
};

/* A VF as its PF showed it while it was free: what DEL gives back of it. */
struct vf_baseline {
	bool is_vf;
	struct pci_addr pf;
	int index; /* N of the PF's virtfnN, and of "ip link set PF vf N" */
	char pf_netdev[IFNAME_MAX + 1];
	int pf_ifindex; /* at the time of the reservation */
	int64_t pf_mtu;
	struct vf_state state;
};

/* The RDMA device of the function. name "": none. */
struct rdma_baseline {
	char name[64];
	char uverbs[64]; /* "uverbs3" */
	int count;       /* of the function's RDMA devices; above 1 none of them is moved */
	enum rdma_moderation moderation;
};

/*
 * A device as it was while it was free: what DEL gives back. Without a netdev (name "", ifindex 0)
 * it is a function that user space drives (vfio-pci), or, in a chain, one whose netdev another
 * plugin has moved already.
 */
struct baseline {
	char key[PROTO_DEVICE_MAX]; /* "net:eth5"; "" = the attachment has no device (spur-ipam) */
	int ifindex;
	char name[IFNAME_MAX + 1];
	char *altnames[PROTO_ALTNAMES_MAX];
	size_t altname_count;
	int64_t mtu;
	struct mac mac;
	struct mac perm_mac; /* len 0: the driver has none */
	bool up;
	char kind[32];   /* rtnl kind: "veth", "macvlan"…; "" = physical */
	int peer;        /* of a veth: its other end, if that is in the host; 0 = none */
	uint64_t inode;  /* of its directory in sysfs; 0 = not known, or it has a parent */
	char parent[64]; /* "pci/0000:1a:00.1": IFLA_PARENT_DEV_BUS_NAME/_NAME; "" = none */
	uint16_t type;   /* ARPHRD_*; ARPHRD_INFINIBAND has its own order of moves */
	char driver[64]; /* of the function, "" = none or no function */
	int numa_node;   /* -1 = unknown */
	struct link_settings settings;
	struct ethtool_settings ethtool; /* of a boot: features have numbers */
	struct vf_baseline vf;
	struct rdma_baseline rdma;
};

/* What is asked for of a device on its wire; what is not is as the device has it. */
struct station {
	struct mac mac; /* len 0: its own */
	bool has_vlan;
	uint16_t vlan; /* 0: none */
};

/* What ADD learnt on its way; DEL and CHECK use it. All optional. */
struct facts {
	int ifindex; /* in the pod */
	int peer;    /* of its lower device or peer in another namespace, as seen there; 0 = none */
	struct mac mac;
	int64_t mtu;
	int64_t table; /* routing table that holds our rules; 0 = none */
	struct {
		char name[64];   /* in the pod; "" = none was found */
		char uverbs[64]; /* in the pod */
		bool moved;      /* exclusive mode: it is in the pod alone */
		int index;       /* that the kernel knows it by, whatever its name; -1 = unknown */
		int gid_index;   /* RoCE v2 GID of the first address; -1 = none */
	} rdma;
	struct ip_config net; /* addresses and routes as applied (also a foreign IPAM's) */
};

enum attachment_state {
	ATTACHMENT_UNFINISHED, /* reserved; `done` has not come */
	ATTACHMENT_ATTACHED,
	ATTACHMENT_DIRTY, /* DEL came; the device is not (fully) restored */
	/* The daemon has restarted meanwhile, and nobody could say yet whether its ADD succeeded.
	 */
	ATTACHMENT_UNCONFIRMED,
	ATTACHMENT_STATES,
};

struct rail_ref {
	char name[PROTO_POOL_MAX + 1]; /* "" = none */
	int number;                    /* position in its pool, from 0 */
	uint32_t index; /* the host index that it holds there, whatever the rail is by now */
	uint32_t table; /* the pod's routing table for it, chosen by the ledger; 0: not asked for */
};

/*
 * The table of the @nth attachment of one pod, from 0, to rails with this number: 100 + number,
 * then 1000 + number, 1100 + number… No two numbers of rails ever share one.
 */
uint32_t rail_table(int number, int nth);

struct attachment {
	uint64_t id;
	uint64_t generation;
	enum attachment_state state;
	char *network, *container_id, *ifname;
	struct pod_ref pod;
	struct netns_ref netns;
	char *boot_id;
	char *program;   /* "spur" or "spur-ipam": what undoes it */
	json_t *env;     /* the CNI_* variables of ADD, as strings; NULL: not read (a head) */
	json_t *netconf; /* as ADD got it, without prevResult; likewise */
	struct baseline device;
	struct station station;
	char pool[PROTO_POOL_MAX + 1];
	struct rail_ref rail;
	char sticky[PROTO_STICKY_MAX + 1]; /* the identity that is to get this index again; "" */
	struct ip_config net;              /* from the pool */
	uint64_t guid; /* InfiniBand: the explicit one, else the VF's own; 0 = none */
	uint16_t pkey; /* asked for, else the rail's; 0 = none */
	struct facts facts;
	int64_t reserved_at_ms; /* wall clock, for people */
	int64_t boot_time_ms;   /* CLOCK_BOOTTIME, for comparisons within one boot */
};

/*
 * Every encoder returns a new reference, or NULL: out of memory, or a text that is not UTF-8.
 * Every decoder writes its result only on success.
 */
void baseline_free(struct baseline *device); /* empties *device */
/* The function that it is, or that its netdev hangs from; false: it has none. */
bool baseline_function(const struct baseline *device, struct pci_addr *ret_addr);
void attachment_free(struct attachment *a); /* empties *a; NULL is fine */
/* The copy owns its texts, and shares env and netconf, which nobody changes. */
int attachment_copy(const struct attachment *a, struct attachment *ret_copy, struct err *err);
/* "request" is the last member, and "env" and "netconf" are the last of it. */
json_t *attachment_encode(const struct attachment *a);
int attachment_decode(json_t *json, struct attachment *ret_a, struct err *err);
/* The same without "env" and "netconf". */
json_t *attachment_encode_head(const struct attachment *a);
int attachment_decode_head(json_t *json, struct attachment *ret_a, struct err *err);
struct attachment_key attachment_key(const struct attachment *a);
const char *attachment_state_name(enum attachment_state state);

/* What ADD asks for. The daemon fills in the rest. Pointers are borrowed. */
struct reserve_request {
	struct attachment_key key;
	struct pod_ref pod;
	struct netns_ref netns;
	const char *program;
	json_t *env, *netconf;
	const char *device; /* device key or NULL */
	const char *netdev; /* that @device must have, by name or altname; NULL: any */
	bool choose_device; /* a free VF of @rail, whichever */
	bool rdma_only;     /* in a chain: the netdev is in the pod already */
	bool from_plugin;   /* a device plugin has chosen @device, and promised its uverbs device */
	struct station station;
	uint64_t guid;                  /* asked for by name; 0 = the VF's own */
	uint16_t pkey;                  /* 0 = the rail's */
	const char *pool;               /* NULL: no addresses from the ledger */
	const char *rail;               /* NULL: the pool's only rail */
	struct cidr ips[PROTO_IPS_MAX]; /* static requests; the prefix length is not looked at */
	size_t ip_count;
	bool gateway;   /* the address of the rail's gateway itself */
	bool has_index; /* a static request by number: the host index on its rail */
	uint32_t index;
	bool claim_all;                     /* every rail of @pool is to be the pod's, or none… */
	const char *claim[PROTO_RAILS_MAX]; /* …or these; 0: none beside its own */
	size_t claim_count;
	bool auto_table;    /* a routing table that no other attachment of this container has */
	const char *sticky; /* an identity, or NULL */
	int64_t deadline_ms;
};

/* How an attachment ends: the params of attachment.release. */
struct release {
	bool left;       /* the device has left the pod (or there was none): free the addresses */
	bool restored;   /* the device is as its baseline says, or gone for good */
	bool never_up;   /* the device was never set up in the pod: no packet has left by it */
	bool used_above; /* something was seen on the device, or may be: it is in use from above */
	const char *reason; /* for the history: "DEL", "ADD failed", "GC", … */
};

/* An identity: 1..PROTO_STICKY_MAX of letters, digits, '/', '.', '_', '-', ':'. */
bool sticky_is_valid(const char *identity);

json_t *reserve_encode(const struct reserve_request *request);
/* The result borrows its strings from @params: keep that alive. */
int reserve_decode(json_t *params, struct reserve_request *ret_request, struct err *err);

/* Parts, also used by the netconf and result readers. */
json_t *facts_encode(const struct facts *facts);
int facts_decode(json_t *json, struct facts *ret_facts, struct err *err);
json_t *route_encode(const struct route *route);
/* One route object {"dst","gw","mtu","advmss","priority","table","scope"}; @path for errors. */
int route_decode(json_t *json, const char *path, struct route *ret_route, struct err *err);
json_t *address_encode(const struct address *address);
int address_decode(json_t *json, const char *path, struct address *ret_address, struct err *err);

/*
 * The members "network", "containerID", "ifname" of the params of every attachment.* method:
 * checks lengths and characters. Borrows from @params.
 */
int key_decode(json_t *params, struct attachment_key *ret_key, struct err *err);
json_t *key_encode(const struct attachment_key *key);

/* {"code","message","data":{"cni","details"}} and back. */
json_t *error_encode(const struct err *err);
/* Always returns a negative errno: sets @err from a JSON-RPC error object. */
int error_decode(json_t *error, struct err *err);
