/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "ipamd/http_host.h"
#include "ipamd/pool.h"
#include "ipamd/pool_check.h"
#include "ipamd/proto/proto.h"

static int port_parse(const char *text, in_port_t *ret_port)
{
	unsigned int port = 0;

	if (strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
		return -EINVAL;
	for (const char *p = text; *p; p++)
		port = port * 10 + (unsigned int)(*p - '0');
	if (port < 1 || port > UINT16_MAX)
		return -EINVAL;
	*ret_port = htons((in_port_t)port);
	return 0;
}

int http_address_parse(const char *text, struct sockaddr_storage *ret_addr)
{
	static const char v6[] = "[::1]:";
	struct sockaddr_storage addr = { 0 };
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr;
	struct sockaddr_in *in = (struct sockaddr_in *)&addr;
	char host[INET_ADDRSTRLEN];
	const char *colon = strrchr(text, ':');
	int r;

	if (strncmp(text, v6, strlen(v6)) == 0) {
		in6->sin6_family = AF_INET6;
		in6->sin6_addr = in6addr_loopback;
		r = port_parse(text + strlen(v6), &in6->sin6_port);
	} else {
		if (!colon || (size_t)(colon - text) >= sizeof(host))
			return -EINVAL;
		(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
		in->sin_family = AF_INET;
		if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
			return -EINVAL;
		if (ntohl(in->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
			return -EINVAL;
		r = port_parse(colon + 1, &in->sin_port);
	}
	if (r < 0)
		return r;
	*ret_addr = addr;
	return 0;
}

static bool is_path(const char *text)
{
	return text[0] == '/' && strlen(text) < 4096;
}

static bool is_socket(const char *text)
{
	return text[0] == '/' && strlen(text) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

static bool is_http(const char *text)
{
	struct sockaddr_storage unused;

	return !text[0] || http_address_parse(text, &unused) == 0;
}

static bool is_node(const char *text)
{
	return text[0] && strlen(text) <= 253;
}

static bool is_engine(const char *text)
{
	return strcmp(text, "local") == 0;
}

static bool is_level(const char *text)
{
	enum log_level unused;

	return log_level_parse(text, &unused) == 0;
}

bool config_is_log_format(const char *text)
{
	return strcmp(text, "text") == 0 || strcmp(text, "json") == 0;
}

/* Every key but "pools"; a section is an object of its own. Beside each its default. */
static const struct config_key {
	const char *section, *name, *otherwise;
	bool (*is_good)(const char *text);
	const char *must; /* be, when it is not good */
	size_t offset;    /* of its text in struct config */
	bool at_start;    /* not at a reload */
} config_keys[] = {
	{ NULL, "socket", PROTO_SOCKET, is_socket, "an absolute path of at most 107 bytes",
	  offsetof(struct config, socket), true },
	{ NULL, "state", "/var/lib/spur", is_path, "an absolute path",
	  offsetof(struct config, state), true },
	{ NULL, "plugin", "/opt/cni/bin/spur", is_path, "an absolute path",
	  offsetof(struct config, plugin), false },
	{ NULL, "http", "127.0.0.1:9469", is_http, "\"127.x.x.x:PORT\", \"[::1]:PORT\" or \"\"",
	  offsetof(struct config, http), true },
	{ NULL, "node", "", is_node, "a name of 1..253 bytes", offsetof(struct config, node),
	  true },
	{ "engine", "type", "local", is_engine, "\"local\"", offsetof(struct config, engine),
	  true },
	{ "log", "level", "info", is_level, "error, warning, info or debug",
	  offsetof(struct config, log_level), false },
	{ "log", "format", "text", config_is_log_format, "text or json",
	  offsetof(struct config, log_format), false },
};

static const char **config_text(struct config *config, const struct config_key *key)
{
	return (void *)((char *)config + key->offset);
}

/* Reads the keys of one section, NULL: those at top level. */
static void read_section(struct json_reader *r, const char *section, struct config *config)
{
	for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++) {
		const struct config_key *key = &config_keys[i];
		const char **text = config_text(config, key);

		if (section != key->section &&
		    (!section || !key->section || strcmp(section, key->section) != 0))
			continue;
		if (json_str(r, key->name, text) && !key->is_good(*text))
			json_bad(r, key->name, "must be %s", key->must);
	}
}

static int read_object(json_t *parent, const char *section, struct config *config, struct err *err)
{
	json_t *obj = json_object_get(parent, section);
	struct json_reader r;

	if (!obj)
		return 0;
	json_read(&r, obj, section, err);
	read_section(&r, section, config);
	return json_finish(&r, READ_STRICT);
}

static int read_http_hosts(struct json_reader *r, struct config *config)
{
	const json_t *name;
	size_t i;

	if (json_arr(r, "httpHosts", &config->http_hosts) &&
	    json_array_size(config->http_hosts) > CONFIG_HOSTS_MAX)
		json_bad(r, "httpHosts", "must be at most %d names", CONFIG_HOSTS_MAX);
	json_array_foreach (config->http_hosts, i, name) {
		if (!json_is_string(name) || !http_host_is_name(json_string_value(name)))
			json_bad(r, "httpHosts", "must be an array of DNS names, without a port");
	}
	config->http_hosts_line = config->http_hosts ? json_line(config->http_hosts) : strdup("[]");
	return config->http_hosts_line ? 0 : err_nomem(r->err);
}

static int config_read(json_t *json, struct config *config, struct err *err)
{
	struct json_reader r;
	json_t *unused;
	int ret;

	json_read(&r, json, "", err);
	read_section(&r, NULL, config);
	(void)json_obj(&r, "engine", &unused);
	(void)json_obj(&r, "log", &unused);
	(void)json_arr(&r, "pools", &config->pools);
	if (read_http_hosts(&r, config) < 0)
		return -ENOMEM;
	ret = json_finish(&r, READ_STRICT);
	if (ret == 0)
		ret = read_object(json, "engine", config, err);
	if (ret == 0)
		ret = read_object(json, "log", config, err);
	return ret;
}

int config_decode(json_t *json, struct config *ret_config, struct err *err)
{
	struct config config = { 0 };
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++)
		*config_text(&config, &config_keys[i]) = config_keys[i].otherwise;
	r = config_read(json, &config, err);
	if (r < 0) {
		config_free(&config);
		return r;
	}
	config.json = json_incref(json);
	*ret_config = config;
	return 0;
}

int config_parse(const char *text, size_t len, struct config *ret_config, struct err *err)
{
	CLEANUP_JSON json_t *json = NULL;
	int r;

	r = json_parse(text, len, &json, err);
	return r < 0 ? r : config_decode(json, ret_config, err);
}

int config_pools(const struct config *config, struct pool_set *ret_set, struct err *err)
{
	struct pool_set set = { 0 };
	int r;

	if (!config->pools)
		return err_set(err, EINVAL, ERR_VALUE, "key \"pools\": is required");
	r = pool_set_read(config->pools, &set, err);
	if (r == 0)
		r = pool_set_check(&set, err);
	if (r < 0) {
		pool_set_free(&set);
		return r;
	}
	*ret_set = set;
	return 0;
}

int config_load(const char *path, struct config *ret_config, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t len;
	int r;

	r = fs_read_file(path, CONFIG_MAX, &text, &len, err);
	if (r < 0)
		return r;
	r = config_parse(text, len, ret_config, err);
	if (r < 0)
		err_prefix(err, "%s", path);
	return r;
}

static const char *key_value(const struct config *config, const struct config_key *key)
{
	const void *member = (const char *)config + key->offset;

	return *(const char *const *)member;
}

size_t config_compare(const struct config *old, const struct config *new,
		      struct config_change ret_changes[CONFIG_CHANGES_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(config_keys); i++) {
		const struct config_key *key = &config_keys[i];
		const char *was = key_value(old, key), *is = key_value(new, key);

		if (key->at_start && strcmp(was, is) != 0)
			ret_changes[count++] = (struct config_change) { key->name, was, is };
	}
	if (strcmp(old->http_hosts_line, new->http_hosts_line) != 0)
		ret_changes[count++] = (struct config_change) { "httpHosts", old->http_hosts_line,
								new->http_hosts_line };
	return count;
}

void config_free(struct config *config)
{
	json_decref(config->json);
	free(config->http_hosts_line);
	*config = (struct config) { 0 };
}
