/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/filter.h"

#include <errno.h>

/* Below zero: a call that this architecture has not. */
static int allow(scmp_filter_ctx filter, const char *call, unsigned int count,
		 const struct scmp_arg_cmp *arguments)
{
	int number = seccomp_syscall_resolve_name(call);

	return number < 0
		       ? 0
		       : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, count, arguments);
}

static int fill(scmp_filter_ctx filter, const struct filter_list *list)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));

	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
	for (size_t i = 0; r == 0 && i < list->call_count; i++)
		r = allow(filter, list->calls[i], 0, NULL);
	for (size_t i = 0; r == 0 && i < list->part_count; i++)
		r = allow(filter, list->parts[i].call, 1, &list->parts[i].argument);
	return r;
}

int filter_make(const struct filter_list *list, scmp_filter_ctx *ret_filter, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r;

	if (!filter)
		return err_nomem(err);
	r = fill(filter, list);
	if (r < 0) {
		seccomp_release(filter);
		return err_sys(err, -r, ERR_INTERNAL, "make the filter of system calls");
	}
	*ret_filter = filter;
	return 0;
}
