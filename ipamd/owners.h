/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no two attachments of a node have at once: the hardware address, on a PF and in a VLAN, and
 * the GUID. What the records own is kept here, in memory, for a look at it is in the way of each
 * ADD of a VF; what is in other hands the picture tells. Pure.
 *
 * An address that a free VF still has is nobody's: what it has on its own may be another pod's
 * meanwhile, and then it is not given away.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipamd/picture.h"
#include "ipamd/proto/proto.h"

enum { OWNED_ANY_VLAN = -1 /* not known, or all of them */ };

struct owned {
	uint64_t id; /* of the record; 0: it is only asked for */
	bool has_pf;
	struct pci_addr pf; /* that the device hangs from, or that it is */
	int vlan;
	struct mac mac; /* len 0: none, or none of an Ethernet */
	uint64_t guid;  /* 0: none */
};

struct owners {
	struct owned *at;
	size_t count, size;
};

/* What @device is to have: the rest of @guid (0: its own) and @station is the device's own. */
struct owned owned_of(const struct baseline *device, const struct station *station, uint64_t guid);
/* What a record has. */
struct owned owned_of_record(const struct attachment *a);

/* 0 or -ENOMEM; owners_add() wants room for one more. */
int owners_make_room(struct owners *owners);
void owners_add(struct owners *owners, const struct owned *owned);
void owners_remove(struct owners *owners, uint64_t id);
void owners_free(struct owners *owners); /* empties it */

/* Who stands in the way of what is wanted. */
struct owners_clash {
	bool by_guid;              /* else by the address */
	uint64_t id;               /* the record; 0: none… */
	const struct vf_entry *vf; /* …but a VF that is in use elsewhere; NULL: the PF itself… */
	const struct pf_entry *pf; /* …of which it is one */
};

/* False: nobody does. @self: the function of the device that is to have it. */
bool owners_find(const struct owners *owners, const struct picture *picture,
		 const struct pci_addr *self, const struct owned *wanted,
		 struct owners_clash *ret_clash);
