/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/request.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cni/result.h"

/* What a verb needs (CNI specification, section "CNI operations"). */
static const struct {
	const char *name;
	bool attachment;       /* CNI_CONTAINERID and CNI_IFNAME */
	bool netns;            /* CNI_NETNS */
	enum cni_version from; /* the first version that has it */
} verbs[] = {
	[VERB_ADD] = { "ADD", true, true, CNI_0_3_0 },
	[VERB_DEL] = { "DEL", true, false, CNI_0_3_0 },
	[VERB_CHECK] = { "CHECK", true, true, CNI_0_4_0 },
	[VERB_STATUS] = { "STATUS", false, false, CNI_1_1_0 },
	[VERB_GC] = { "GC", false, false, CNI_1_1_0 },
	[VERB_VERSION] = { "VERSION", false, false, CNI_0_3_0 },
};

static int read_verb(const char *command, enum verb *ret_verb, struct err *err)
{
	if (!command || !command[0])
		return err_set(err, EINVAL, ERR_ENV, "CNI_COMMAND: is not set");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(command, verbs[i].name) == 0) {
			*ret_verb = (enum verb)i;
			return 0;
		}
	}
	return err_set(err, EINVAL, ERR_ENV,
		       "CNI_COMMAND: \"%.32s\": must be ADD, DEL, CHECK, "
		       "STATUS, GC or VERSION",
		       command);
}

/*
 * Beyond what a device may be called: the kernel takes '%' for a pattern, and moves a device called
 * as one of the directories in /proc/sys/net/ipv4/conf without its IPv4. The record is JSON.
 */
static bool ifname_is_usable(const char *name)
{
	return ifname_is_valid(name) && utf8_is_valid(name) && !strchr(name, '%') &&
	       strcmp(name, "all") != 0 && strcmp(name, "default") != 0;
}

static int check_netns(const char *netns, enum verb verb, struct err *err)
{
	if (!verbs[verb].netns)
		return 0;
	if (!netns || !netns[0])
		return err_set(err, EINVAL, ERR_ENV, "CNI_NETNS: is not set");
	if (netns[0] != '/') /* the record outlives our working directory */
		return err_set(err, EINVAL, ERR_ENV, "CNI_NETNS: %.64s: must be an absolute path",
			       netns);
	return 0;
}

/* What ADD writes into the record, which is JSON. What no ADD has taken, DEL need not know. */
static int check_text(const struct request_env *env, enum verb verb, struct err *err)
{
	const struct {
		const char *name, *value;
	} kept[] = {
		{ "CNI_ARGS", env->args },
		{ "CNI_NETNS", env->netns },
		{ "CNI_PATH", env->path },
	};

	for (size_t i = 0; verb == VERB_ADD && i < ARRAY_SIZE(kept); i++) {
		if (kept[i].value && !utf8_is_valid(kept[i].value))
			return err_set(err, EILSEQ, ERR_ENV, "%s: \"%.64s\": must be UTF-8",
				       kept[i].name, kept[i].value);
	}
	return 0;
}

static int check_env(const struct request_env *env, enum verb verb, struct err *err)
{
	int r;

	if (!verbs[verb].attachment)
		return 0;
	if (!env->container_id || !id_is_valid(env->container_id))
		return err_set(err, EINVAL, ERR_ENV,
			       "CNI_CONTAINERID: \"%.64s\": must match [a-zA-Z0-9][a-zA-Z0-9_.-]*",
			       env->container_id ? env->container_id : "");
	if (!env->ifname || !ifname_is_usable(env->ifname))
		return err_set(err, EINVAL, ERR_ENV,
			       "CNI_IFNAME: \"%.64s\": must be 1 to %d bytes of UTF-8 without '/', "
			       "':', '%%' "
			       "and white space, and not \".\", \"..\", \"all\" or \"default\"",
			       env->ifname ? env->ifname : "", IFNAME_MAX);
	r = check_netns(env->netns, verb, err);
	return r < 0 ? r : check_text(env, verb, err);
}

static int check_key(const struct request *request, struct err *err)
{
	struct attachment_key key = request_key(request);
	size_t len;

	if (!verbs[request->verb].attachment)
		return 0;
	len = strlen(key.network) + strlen(key.container_id) + strlen(key.ifname);
	if (len > PROTO_KEY_MAX)
		return err_set(err, ENAMETOOLONG, ERR_ENV,
			       "CNI_CONTAINERID: with the network's name and CNI_IFNAME %zu bytes, "
			       "must be at most %d",
			       len, PROTO_KEY_MAX);
	return 0;
}

/* The version before all else: how an error is printed depends on it. */
static int check_version(struct request *request, struct err *err)
{
	json_t *json = json_object_get(request->json, "cniVersion");
	const char *text = json_string_value(json);

	if (request->verb == VERB_DEL) /* whoever wrote it: it must be possible to delete */
		return 0;
	if (!json)
		return err_set(err, EINVAL, ERR_VERSION, "key \"cniVersion\": is required");
	if (!text || cni_version_parse(text, &request->conf.version) < 0) {
		struct json_reader r;

		json_read(&r, request->json, "", err);
		json_bad(&r, "cniVersion", "must be 0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0");
		err->code = ERR_VERSION;
		return r.r;
	}
	if (request->conf.version < verbs[request->verb].from)
		return err_set(err, EINVAL, ERR_VERSION, "%s: begins with cniVersion %s, not %s",
			       verbs[request->verb].name,
			       cni_version_names[verbs[request->verb].from], text);
	return 0;
}

/* What the chain has made already decides what there is left to do. */
static int read_chain(const struct request *request, struct netconf *conf, struct err *err)
{
	size_t ignored;

	if (request->ipam_only ||
	    !result_interface(conf->prev_result, request->env.ifname, request->env.netns, &ignored))
		return 0;
	return netconf_rdma_only(conf, err);
}

static int read_conf(struct request *request, struct err *err)
{
	struct netconf conf;
	int r;

	if (request->verb == VERB_ADD) {
		r = args_parse(request->env.args, &request->args, err);
		if (r == 0)
			r = netconf_read(request->json, &request->args, request->ipam_only, &conf,
					 err);
		if (r == 0)
			r = netconf_refuse(&conf, err);
		if (r == 0)
			r = read_chain(request, &conf, err);
	} else {
		r = netconf_skim(request->json, &conf, err);
	}
	if (r < 0)
		return r;
	request->conf = conf;
	return check_key(request, err);
}

/* Whatever else is wrong: the answer has the shape of the version asked for, if there is one. */
static void note_version(struct request *request)
{
	const char *text = json_string_value(json_object_get(request->json, "cniVersion"));

	if (text)
		(void)cni_version_parse(text, &request->conf.version);
}

int request_read(const struct request_env *env, bool ipam_only, const char *text, size_t len,
		 struct request *ret_request, struct err *err)
{
	struct request *request = ret_request;
	struct err bad_json;
	int r, parsed;

	*request = (struct request) {
		.ipam_only = ipam_only,
		.env = *env,
		.conf = { .version = CNI_1_1_0 },
	};
	parsed = json_parse(text, len, &request->json, &bad_json);
	note_version(request);
	r = read_verb(env->command, &request->verb, err);
	if (r < 0 || request->verb == VERB_VERSION) /* of which nothing else can be wrong */
		return r;
	r = check_env(env, request->verb, err);
	if (r == 0 && parsed < 0) {
		*err = bad_json;
		r = parsed;
	}
	if (r == 0)
		r = check_version(request, err);
	if (r == 0)
		r = read_conf(request, err);
	return r;
}

void request_free(struct request *request)
{
	args_free(&request->args);
	json_decref(request->json);
	request->json = NULL;
}

struct attachment_key request_key(const struct request *request)
{
	return (struct attachment_key) { .network = request->conf.network,
					 .container_id = request->env.container_id,
					 .ifname = request->env.ifname };
}

const char *request_program(const struct request *request)
{
	return request->ipam_only ? "spur-ipam" : "spur";
}

/* NULL leaves the key out, as what no JSON can hold is: of a DEL, ADD has refused it. */
static const char *kept(const char *value)
{
	return value && utf8_is_valid(value) ? value : NULL;
}

json_t *request_env_encode(const struct request *request)
{
	const struct request_env *env = &request->env;

	return json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*}", "CNI_CONTAINERID", env->container_id,
			 "CNI_IFNAME", env->ifname, "CNI_NETNS", kept(env->netns), "CNI_ARGS",
			 kept(env->args), "CNI_PATH", kept(env->path));
}

json_t *request_netconf(const struct request *request)
{
	json_t *netconf = json_copy(request->json);

	if (netconf)
		(void)json_object_del(netconf, "prevResult"); /* absent: as well */
	return netconf;
}
