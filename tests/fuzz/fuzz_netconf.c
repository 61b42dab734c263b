/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdin of the plugin: its configuration as ADD reads it strictly and as the other verbs skim it.
 * What has been accepted is also planned and printed.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cni/plan.h"
#include "cni/request.h"
#include "cni/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* DEL reads it once more, from the record and without prevResult: what ADD took it must take. */
static void read_again(const struct request *request)
{
	CLEANUP_JSON json_t *recorded = request_netconf(request);
	struct netconf conf;
	struct err err;

	if (recorded && netconf_read(recorded, &request->args, false, &conf, &err) < 0)
		abort();
}

/* An answer of a foreign IPAM, too, is whatever somebody prints. */
static void finish(struct request *request)
{
	static char ifname[] = "net1";
	struct attachment record = { .ifname = ifname,
				     .device = { .key = "pci:0000:1a:00.1",
						 .name = "eth1",
						 .mtu = 1500,
						 .mac = { .len = 6 },
						 .vf = { .is_vf = true, .pf_ifindex = 2 } },
				     .rail = { .name = "r" } };
	static struct plan plan;
	struct facts facts = { .mtu = 1500 };
	json_t *result = NULL;
	struct err err;

	if (request->conf.prev_result)
		(void)result_read(request->conf.prev_result, "x", &facts.net, &err);
	(void)plan_make(&request->conf, &record, &facts.net, NULL, &plan, &err);
	if (result_build(request, &record, &facts, NULL, &result, &err) == 0)
		json_decref(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const verbs[] = { "ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION" };
	struct request_env env = { .container_id = "c1",
				   .ifname = "net1",
				   .netns = "/run/netns/a" };
	struct request request;
	struct err err;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		env.command = verbs[i];
		if (request_read(&env, false, (const char *)data, size, &request, &err) == 0 &&
		    request.verb == VERB_ADD) {
			read_again(&request);
			finish(&request);
		}
		request_free(&request);
	}
	return 0;
}
