/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cmd.h"

#include "base/cleanup.h"
#include "cni/result.h"

int cmd_version(const struct request *request, struct err *err)
{
	CLEANUP_JSON json_t *versions = json_array();
	CLEANUP_JSON json_t *answer = NULL;

	for (int i = 0; i < CNI_VERSIONS; i++)
		(void)json_array_append_new(versions, json_string(cni_version_names[i]));
	answer = json_pack("{s:s, s:O}", "cniVersion", cni_version_names[request->conf.version],
			   "supportedVersions", versions);
	return answer ? result_print(answer, err) : err_nomem(err);
}
