/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

static char no_text[] = "";

struct reading {
	struct args *args;
	const char *unknown; /* the first key that nobody knows */
	bool ignore_unknown;
};

static int take_mac(struct reading *reading, char *value, struct err *err)
{
	if (mac_parse(value, &reading->args->mac) < 0 || !mac_is_usable(&reading->args->mac))
		return err_set(err, EINVAL, ERR_ENV,
			       "CNI_ARGS: MAC=%s: must be an Ethernet unicast address", value);
	return 0;
}

static int take_ips(struct reading *reading, char *value, struct err *err)
{
	struct args *args = reading->args;
	char *rest = value, *one;

	args->ip_count = 0;
	while ((one = strsep(&rest, ","))) {
		if (args->ip_count == PROTO_IPS_MAX)
			return err_set(err, EINVAL, ERR_ENV, "CNI_ARGS: IP: more than %d addresses",
				       PROTO_IPS_MAX);
		if (cidr_parse(one, &args->ips[args->ip_count]) < 0)
			return err_set(err, EINVAL, ERR_ENV, "CNI_ARGS: IP: %s: is no address",
				       one);
		args->ip_count++;
	}
	return 0;
}

static int take_ignore_unknown(struct reading *reading, char *value, struct err *err)
{
	reading->ignore_unknown = strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0;
	if (!reading->ignore_unknown && strcmp(value, "0") != 0 && strcasecmp(value, "false") != 0)
		return err_set(err, EINVAL, ERR_ENV,
			       "CNI_ARGS: IgnoreUnknown=%s: must be 1, true, 0 or false", value);
	return 0;
}

static int take_pod_namespace(struct reading *reading, char *value, struct err *err)
{
	(void)err;
	reading->args->pod.namespace = value;
	return 0;
}

static int take_pod_name(struct reading *reading, char *value, struct err *err)
{
	(void)err;
	reading->args->pod.name = value;
	return 0;
}

static int take_pod_uid(struct reading *reading, char *value, struct err *err)
{
	(void)err;
	reading->args->pod.uid = value;
	return 0;
}

static int take_nothing(struct reading *reading, char *value, struct err *err)
{
	(void)reading;
	(void)value;
	(void)err;
	return 0;
}

static const struct {
	const char *key;
	int (*take)(struct reading *reading, char *value, struct err *err);
} known[] = {
	{ "IgnoreUnknown", take_ignore_unknown },
	{ "K8S_POD_NAMESPACE", take_pod_namespace },
	{ "K8S_POD_NAME", take_pod_name },
	{ "K8S_POD_UID", take_pod_uid },
	/* Always the container id: cri-o and containerd send it beside CNI_CONTAINERID. */
	{ "K8S_POD_INFRA_CONTAINER_ID", take_nothing },
	{ "MAC", take_mac },
	{ "IP", take_ips },
};

static int take_pair(struct reading *reading, char *pair, struct err *err)
{
	char *value = strchr(pair, '=');

	if (!value || value == pair || strchr(value + 1, '='))
		return err_set(err, EINVAL, ERR_ENV, "CNI_ARGS: \"%s\": must be KEY=VALUE", pair);
	*value++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(pair, known[i].key) == 0)
			return known[i].take(reading, value, err);
	}
	if (!reading->unknown)
		reading->unknown = pair;
	return 0;
}

static int args_split(struct args *args, struct err *err)
{
	struct reading reading = { .args = args };
	char *rest = args->text, *pair;
	int r;

	while ((pair = strsep(&rest, ";"))) {
		r = take_pair(&reading, pair, err);
		if (r < 0)
			return r;
	}
	if (reading.unknown && !reading.ignore_unknown)
		return err_set(err, EINVAL, ERR_ENV,
			       "CNI_ARGS: \"%s\": is not known, and IgnoreUnknown is not set",
			       reading.unknown);
	return 0;
}

int args_parse(const char *text, struct args *ret_args, struct err *err)
{
	struct args args = { .pod = { no_text, no_text, no_text } };
	int r;

	if (text && text[0]) {
		args.text = strdup(text);
		if (!args.text)
			return err_nomem(err);
		r = args_split(&args, err);
		if (r < 0) {
			args_free(&args);
			return r;
		}
	}
	*ret_args = args;
	return 0;
}

void args_free(struct args *args)
{
	free(args->text);
	args->text = NULL;
}
