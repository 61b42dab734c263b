/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/about.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ipamd/batch.h"
#include "ipamd/method.h"

static void print_pod(char *buf, size_t size, const char *namespace, const char *name)
{
	(void)snprintf(buf, size, "%s%s%s", namespace, namespace[0] && name[0] ? "/" : "", name);
}

void about_attachment(struct about *about, const struct attachment *a)
{
	char text[IP_TEXT];
	size_t len = 0;

	about->known = true;
	print_pod(about->pod, sizeof(about->pod), a->pod.namespace, a->pod.name);
	memcpy(about->device, a->device.key, sizeof(about->device));
	about->addresses[0] = '\0';
	for (size_t i = 0; i < a->net.ip_count && len < sizeof(about->addresses); i++)
		len += (size_t)snprintf(about->addresses + len, sizeof(about->addresses) - len,
					"%s%s", i ? "," : "",
					ip_format(&a->net.ips[i].cidr.ip, text));
}

static const char *param(const struct request *q, const char *name)
{
	return json_string_value(json_object_get(q->rpc.params, name));
}

/* One that was refused has made nothing: its pod and device are those that it names. */
static const char *pod_of(const struct request *q, char *buf, size_t size)
{
	json_t *pod = json_object_get(q->rpc.params, "pod");
	const char *namespace = json_string_value(json_object_get(pod, "namespace"));
	const char *name = json_string_value(json_object_get(pod, "name"));

	if (q->about.pod[0])
		return q->about.pod;
	print_pod(buf, size, namespace ? namespace : "", name ? name : "");
	return buf;
}

static bool is_of_attachments(const struct method *method)
{
	static const char room[] = "attachment.";

	return method && strncmp(method->name, room, strlen(room)) == 0;
}

static void log_request(const struct request *q, uint64_t now_ns)
{
	char pod[sizeof(q->about.pod)], duration[32], code[16] = "";
	const struct log_field fields[] = {
		{ "code", code },
		{ "pod", pod_of(q, pod, sizeof(pod)) },
		{ "network", param(q, "network") },
		{ "containerID", param(q, "containerID") },
		{ "ifname", param(q, "ifname") },
		{ "device", q->about.device[0] ? q->about.device : param(q, "device") },
		{ "address", q->about.addresses },
		{ "duration_ms", duration },
	};

	(void)snprintf(duration, sizeof(duration), "%.1f", (double)(now_ns - q->begun_ns) / 1e6);
	if (q->code)
		(void)snprintf(code, sizeof(code), "%d", q->code);
	log_fields(LOG_LEVEL_INFO, fields, ARRAY_SIZE(fields), "%s",
		   q->why ? q->why : q->method->name);
}

void about_log(const struct request *q, uint64_t now_ns)
{
	if (q->about.known || (q->why && is_of_attachments(q->method)))
		log_request(q, now_ns);
}
