/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the words have in common: their names, who frees them, and errors on the wire. The forms
 * themselves are in encode.c and decode.c.
 */
#include "ipamd/proto/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/rtnetlink.h>

#include "base/cleanup.h"
#include "base/json.h"

enum { JSONRPC_SERVER_ERROR = -32000 };

const char *attachment_state_name(enum attachment_state state)
{
	static const char *const names[] = {
		[ATTACHMENT_UNFINISHED] = "unfinished",
		[ATTACHMENT_ATTACHED] = "attached",
		[ATTACHMENT_DIRTY] = "dirty",
		[ATTACHMENT_UNCONFIRMED] = "unconfirmed",
	};

	return names[state];
}

struct attachment_key attachment_key(const struct attachment *a)
{
	return (struct attachment_key) { a->network, a->container_id, a->ifname };
}

enum { TABLES_FIRST = 100, TABLES_MORE = 1000, TABLES_STEP = 100 };

_Static_assert((int)PROTO_RAILS_MAX <= (int)TABLES_STEP &&
		       (int)TABLES_FIRST + (int)PROTO_RAILS_MAX <= (int)RT_TABLE_COMPAT,
	       "each series has a table for every rail, and none of them is one of the kernel's");

uint32_t rail_table(int number, int nth)
{
	return (uint32_t)number + (nth == 0 ? (uint32_t)TABLES_FIRST
					    : TABLES_MORE + TABLES_STEP * ((uint32_t)nth - 1));
}

bool sticky_is_valid(const char *identity)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789/._-:";
	size_t len = strlen(identity);

	return len > 0 && len <= PROTO_STICKY_MAX && strspn(identity, allowed) == len;
}

void baseline_free(struct baseline *device)
{
	for (size_t i = 0; i < device->altname_count; i++)
		free(device->altnames[i]);
	*device = (struct baseline) { 0 };
}

void attachment_free(struct attachment *a)
{
	if (!a)
		return;
	free(a->network);
	free(a->container_id);
	free(a->ifname);
	free(a->pod.namespace);
	free(a->pod.name);
	free(a->pod.uid);
	free(a->netns.path);
	free(a->boot_id);
	free(a->program);
	json_decref(a->env);
	json_decref(a->netconf);
	baseline_free(&a->device);
	*a = (struct attachment) { 0 };
}

/* Copies every text, whatever fails, so that attachment_free() may have what comes out. */
int attachment_copy(const struct attachment *a, struct attachment *ret_copy, struct err *err)
{
	struct attachment copy = *a;
	char **const texts[] = { &copy.network,  &copy.container_id, &copy.ifname,
				 &copy.pod.name, &copy.pod.uid,      &copy.pod.namespace,
				 &copy.boot_id,  &copy.netns.path,   &copy.program };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		*texts[i] = strdup(*texts[i]);
		ok = ok && *texts[i];
	}
	for (size_t i = 0; i < copy.device.altname_count; i++) {
		copy.device.altnames[i] = strdup(copy.device.altnames[i]);
		ok = ok && copy.device.altnames[i];
	}
	json_incref(copy.env);
	json_incref(copy.netconf);
	if (ok) {
		*ret_copy = copy;
		return 0;
	}
	attachment_free(&copy);
	return err_nomem(err);
}

json_t *error_encode(const struct err *err)
{
	return json_pack("{s:i, s:s, s:{s:i, s:s}}", "code", JSONRPC_SERVER_ERROR, "message",
			 err->msg, "data", "cni", err->code, "details", err->details);
}

int error_decode(json_t *error, struct err *err)
{
	json_t *data = json_object_get(error, "data");
	json_t *cni = json_object_get(data, "cni");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *details = json_string_value(json_object_get(data, "details"));

	(void)err_set(err, EREMOTEIO, json_cni_code(cni), "%s",
		      message ? message : "the daemon answered with an error without a message");
	if (details)
		err_details(err, "%s", details);
	return -EREMOTEIO;
}

bool baseline_function(const struct baseline *device, struct pci_addr *ret_addr)
{
	static const char key[] = "pci:", parent[] = "pci/";

	if (strncmp(device->key, key, strlen(key)) == 0)
		return pci_parse(device->key + strlen(key), ret_addr) == 0;
	return strncmp(device->parent, parent, strlen(parent)) == 0 &&
	       pci_parse(device->parent + strlen(parent), ret_addr) == 0;
}
