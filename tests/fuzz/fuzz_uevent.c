/* SPDX-License-Identifier: Apache-2.0 */
/* host/uevent: any bytes as a message of the kernel. What it takes must lie within the message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/uevent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(const char *text, const char *buf, size_t size)
{
	if (text < buf || text >= buf + size || !memchr(text, '\0', size - (size_t)(text - buf)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *buf = (const char *)data;
	struct uevent event;

	if (!uevent_parse(buf, size, &event))
		return 0;
	check_within(event.action, buf, size);
	check_within(event.devpath, buf, size);
	check_within(event.subsystem, buf, size);
	if (event.has_pci && (event.pci.device > 31 || event.pci.function > 7))
		abort();
	return 0;
}
