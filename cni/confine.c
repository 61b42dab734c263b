/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/confine.h"

#include <errno.h>
#include <sys/prctl.h>

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/cleanup.h"
#include "host/caps.h"

/* docs/operations.md says what each is for. */
#define CAPS_LOOK (CAPS_BIT(CAP_SYS_ADMIN) | CAPS_BIT(CAP_SYS_PTRACE))
#define CAPS_WORK (CAPS_LOOK | CAPS_BIT(CAP_NET_ADMIN))

/* VERSION is not here: it looks at nothing. */
static const uint64_t needed[] = {
	[VERB_ADD] = CAPS_WORK,   [VERB_DEL] = CAPS_WORK, [VERB_GC] = CAPS_WORK,
	[VERB_CHECK] = CAPS_LOOK, [VERB_STATUS] = 0,
};

#ifdef SPUR_SANITIZED /* cni/CMakeLists.txt says why */
static int filter_load(struct err *err)
{
	(void)err;
	return 0;
}
#else
static const struct sock_filter filter[] = {
#include "cni/filter_bpf.inc"
};

/* By prctl(2): under the filter of spur-ipamd there is no seccomp(2). */
static int filter_load(struct err *err)
{
	const struct sock_fprog program = { ARRAY_SIZE(filter), (struct sock_filter *)filter };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0
		       ? err_sys(err, errno, ERR_KERNEL, "load the filter of system calls")
		       : 0;
}
#endif

static int seal(uint64_t caps, struct err *err)
{
	int r = caps_seal(caps, err);

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, ERR_KERNEL, "renounce new privileges");
	return filter_load(err);
}

int confine_lower(enum verb verb, struct err *err)
{
	return caps_lower(needed[verb], err);
}

int confine(enum verb verb, const struct netconf *conf, struct err *err)
{
	return conf->ipam == IPAM_FOREIGN ? confine_lower(verb, err) : seal(needed[verb], err);
}

int confine_prepare(struct err *err)
{
	return seal(CAPS_BIT(CAP_NET_ADMIN), err);
}
