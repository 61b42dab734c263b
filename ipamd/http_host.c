/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/http_host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 253 };

bool http_host_is_name(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";
	size_t len = strlen(text);

	return len >= 1 && len <= NAME_MAX_LEN && strspn(text, allowed) == len;
}

static bool is_address(const char *text)
{
	const size_t len = strlen(text);
	struct in6_addr unused;
	char inner[INET6_ADDRSTRLEN];

	if (text[0] != '[')
		return inet_pton(AF_INET, text, &unused) == 1;
	if (text[len - 1] != ']' || len - 2 >= sizeof(inner))
		return false;
	(void)snprintf(inner, sizeof(inner), "%.*s", (int)len - 2, text + 1);
	return inet_pton(AF_INET6, inner, &unused) == 1;
}

static bool is_among(const char *name, const json_t *names)
{
	const json_t *element;
	size_t i;

	json_array_foreach (names, i, element) {
		if (strcasecmp(name, json_string_value(element)) == 0)
			return true;
	}
	return false;
}

bool http_host_is_ours(const char *host, const char *node, const json_t *names)
{
	const char *bracket = strrchr(host, ']');
	const char *colon = strchr(bracket ? bracket : host, ':');
	char name[NAME_MAX_LEN + 1];
	size_t len = colon ? (size_t)(colon - host) : strlen(host);

	if (len == 0 || len >= sizeof(name))
		return false;
	(void)snprintf(name, sizeof(name), "%.*s", (int)len, host);
	return is_address(name) || strcasecmp(name, "localhost") == 0 ||
	       strcasecmp(name, node) == 0 || is_among(name, names);
}
