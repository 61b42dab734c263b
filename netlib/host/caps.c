/* SPDX-License-Identifier: Apache-2.0 */
#include "host/caps.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

typedef struct __user_cap_data_struct cap_words[_LINUX_CAPABILITY_U32S_3];

static int caps_get(cap_words words, struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &header, words) < 0
		       ? err_sys(err, errno, ERR_KERNEL, "read capabilities")
		       : 0;
}

static int caps_set(const cap_words words, struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &header, words) < 0
		       ? err_sys(err, errno, ERR_KERNEL, "set capabilities")
		       : 0;
}

/* Without CAP_SETPCAP it stays as it is: no_new_privs then does what it is for. */
static int bounding_keep(uint64_t set, struct err *err)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (!(set & CAPS_BIT(cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return errno == EPERM ? 0
					      : err_sys(err, errno, ERR_KERNEL,
							"drop capability %lu", cap);
	}
	return 0;
}

int caps_keep(uint64_t set, struct err *err)
{
	cap_words words = { 0 };
	int r = bounding_keep(set, err);

	if (r == 0)
		r = caps_get(words, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		words[i].permitted &= (uint32_t)(set >> (32 * i));
		words[i].effective = words[i].inheritable = 0; /* and with that no ambient one */
	}
	return caps_set(words, err);
}

int caps_lower(uint64_t set, struct err *err)
{
	cap_words words = { 0 };
	int r = caps_get(words, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		words[i].effective &= (uint32_t)(set >> (32 * i));
	return caps_set(words, err);
}

int caps_seal(uint64_t set, struct err *err)
{
	cap_words words = { 0 };
	int r = caps_get(words, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		words[i].permitted &= (uint32_t)(set >> (32 * i));
		words[i].effective &= words[i].permitted;
		words[i].inheritable &= words[i].permitted; /* and with that the ambient ones */
	}
	return caps_set(words, err);
}

int caps_raise(struct err *err)
{
	cap_words words = { 0 };
	int r = caps_get(words, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		words[i].effective = words[i].permitted;
	return caps_set(words, err);
}
